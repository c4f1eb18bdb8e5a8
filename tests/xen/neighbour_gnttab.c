// By Debian's libxengnttab.
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xengnttab.h>

#include "tests/xen/check.h"
#include "tests/xen/neighbour.h"

const char kLibrary[] = "libxengnttab";
const int kWritingRefused = EINVAL;

static xengnttab_handle *grants(void) {
  static xengnttab_handle *opened;
  if (opened == NULL) opened = xengnttab_open(NULL, 0);
  if (opened == NULL) abort();
  return opened;
}
static xengntshr_handle *shares(void) {
  static xengntshr_handle *opened;
  if (opened == NULL) opened = xengntshr_open(NULL, 0);
  if (opened == NULL) abort();
  return opened;
}

char *share_pages(int domid, int count, bool writable, uint32_t *refs) {
  return xengntshr_share_pages(shares(), (uint32_t)domid, count, refs, writable);
}
bool unshare_pages(char *pages, int count) {
  return xengntshr_unshare(shares(), pages, (uint32_t)count) == 0;
}
char *share_with_notice(int domid, uint32_t *ref, int byte, uint32_t port) {
  return xengntshr_share_page_notify(shares(), (uint32_t)domid, ref, 1, (uint32_t)byte, port);
}

static int protection_of(bool writable) { return PROT_READ | (writable ? PROT_WRITE : 0); }

char *map_grants(int domid, int count, uint32_t *refs, bool writable) {
  const int protection = protection_of(writable);
  if (count == 1) return xengnttab_map_grant_ref(grants(), (uint32_t)domid, refs[0], protection);
  return xengnttab_map_domain_grant_refs(grants(), (uint32_t)count, (uint32_t)domid, refs,
                                         protection);
}
// The library has it for one page.
char *map_with_notice(int domid, uint32_t *refs, int byte, uint32_t port) {
  return xengnttab_map_grant_ref_notify(grants(), (uint32_t)domid, refs[0], protection_of(true),
                                        (uint32_t)byte, port);
}
bool unmap_grants(char *pages, int count) {
  return xengnttab_unmap(grants(), pages, (uint32_t)count) == 0;
}

int copy_grants(int domid, int count, struct copy *copies) {
  xengnttab_grant_copy_segment_t segments[kMostCopies] = {0};
  for (int i = 0; i < count; i++) {
    const struct place *const places[2] = {&copies[i].from, &copies[i].to};
    union xengnttab_copy_ptr *const sides[2] = {&segments[i].source, &segments[i].dest};
    for (int side = 0; side < 2; side++) {
      if (places[side]->memory != NULL) {
        sides[side]->virt = places[side]->memory;
        continue;
      }
      sides[side]->foreign.ref = places[side]->ref;
      sides[side]->foreign.offset = places[side]->offset;
      sides[side]->foreign.domid = (uint16_t)domid;
      segments[i].flags |= side == 0 ? 1 : 2;  // GNTCOPY_source_gref, GNTCOPY_dest_gref
    }
    segments[i].len = copies[i].length;
  }
  const int result = xengnttab_grant_copy(grants(), (uint32_t)count, segments);
  for (int i = 0; i < count; i++) copies[i].status = segments[i].status;
  return result;
}

// Of several domains at once, in an order of the caller's.
void check_own(int domid, uint32_t *refs) {
  uint32_t domids[3] = {(uint32_t)domid, (uint32_t)domid, (uint32_t)domid};
  char *pages = xengnttab_map_grant_refs(grants(), 3, domids, refs, PROT_READ | PROT_WRITE);
  CHECK(pages != NULL);
  CHECK_REFUSED(xengnttab_unmap(grants(), pages, 2), EINVAL);
  CHECK_REFUSED(xengnttab_unmap(grants(), NULL, 1), EINVAL);
  CHECK(unmap_grants(pages, 3));
  domids[1] = 0x7abc;
  CHECK(xengnttab_map_grant_refs(grants(), 3, domids, refs, PROT_READ) == NULL && errno == EINVAL);
}
