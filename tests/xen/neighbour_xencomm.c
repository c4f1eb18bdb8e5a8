// By this library's C interface.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "tests/xen/check.h"
#include "tests/xen/neighbour.h"
#include "xencomm/sharing.h"

const char kLibrary[] = "xencomm";
const int kWritingRefused = EACCES;

static xencomm_mapper *mapper(void) {
  static xencomm_mapper *opened;
  if (opened == NULL) opened = xencomm_mapper_open(NULL);
  if (opened == NULL) abort();
  return opened;
}
static xencomm_share *shares(void) {
  static xencomm_share *opened;
  if (opened == NULL) opened = xencomm_share_open(NULL);
  if (opened == NULL) abort();
  return opened;
}
static unsigned flags_of(bool writable) { return writable ? XENCOMM_WRITABLE : 0; }

static char *share_and_notify(int domid, int count, bool writable, uint32_t *refs, int byte,
                              int64_t port) {
  const int64_t page = xencomm_share_allocate(shares(), XENCOMM_UNSET, (uint16_t)domid,
                                              (size_t)count, flags_of(writable), refs);
  if (page < 0) return NULL;
  char *const pages = xencomm_share_map(shares(), (uint64_t)page, (size_t)count, XENCOMM_WRITABLE);
  CHECK(pages != NULL && xencomm_share_offset(shares(), pages + 5) == page * kPage + 5);
  if (port != XENCOMM_UNSET) {
    CHECK(xencomm_share_notify(shares(), (uint64_t)page, byte, port) == 0);
  }
  // They last as long as they are mapped.
  CHECK(xencomm_share_free(shares(), (uint64_t)page, (size_t)count) == 0);
  CHECK_REFUSED(xencomm_share_free(shares(), (uint64_t)page, (size_t)count), EINVAL);
  return pages;
}

char *share_pages(int domid, int count, bool writable, uint32_t *refs) {
  return share_and_notify(domid, count, writable, refs, 0, XENCOMM_UNSET);
}
char *share_with_notice(int domid, uint32_t *ref, int byte, uint32_t port) {
  return share_and_notify(domid, 1, true, ref, byte, port);
}
bool unshare_pages(char *pages, int count) {
  (void)count;
  return xencomm_share_unmap(shares(), pages) == 0;
}

// Those that are mapped, by where they are.
static xencomm_mapping *mappings[8];

static char *keep(xencomm_mapping *mapping) {
  for (int i = 0; mapping != NULL && i < 8; i++) {
    if (mappings[i] != NULL) continue;
    mappings[i] = mapping;
    return xencomm_mapping_data(mapping);
  }
  return NULL;
}
static xencomm_mapping *map(int domid, int count, const uint32_t *refs, bool writable,
                            int *errors) {
  struct xencomm_grant grants[64];
  for (int i = 0; i < count; i++) grants[i] = (struct xencomm_grant){(uint16_t)domid, refs[i]};
  return xencomm_map_grants(mapper(), (size_t)count, grants, flags_of(writable), errors);
}

char *map_grants(int domid, int count, uint32_t *refs, bool writable) {
  return keep(map(domid, count, refs, writable, NULL));
}
char *map_with_notice(int domid, uint32_t *refs, int byte, uint32_t port) {
  xencomm_mapping *const mapping = map(domid, 1, refs, true, NULL);
  if (mapping == NULL || xencomm_notify_at_unmap(mapping, byte, port) == 0) return keep(mapping);
  const int error = errno;
  xencomm_unmap(mapping);
  errno = error;
  return NULL;
}
bool unmap_grants(char *pages, int count) {
  for (int i = 0; i < 8; i++) {
    if (mappings[i] == NULL || xencomm_mapping_data(mappings[i]) != pages) continue;
    const bool is_so = xencomm_mapping_pages(mappings[i]) == (size_t)count;
    const bool is_unmapped = xencomm_unmap(mappings[i]) == 0;
    mappings[i] = NULL;
    return is_so && is_unmapped;
  }
  return false;
}

static struct xencomm_copy_side side_of(int domid, struct place place) {
  return (struct xencomm_copy_side){
      place.memory, {(uint16_t)domid, place.memory != NULL ? 0 : place.ref}, place.offset};
}

int copy_grants(int domid, int count, struct copy *copies) {
  struct xencomm_copy list[kMostCopies];
  for (int i = 0; i < count; i++) {
    list[i] = (struct xencomm_copy){.from = side_of(domid, copies[i].from),
                                    .to = side_of(domid, copies[i].to),
                                    .length = copies[i].length};
  }
  const int result = xencomm_copy_grants(mapper(), (size_t)count, list);
  for (int i = 0; i < count; i++) copies[i].status = list[i].status;
  return result;
}

static sigjmp_buf before_touch;
static void leave(int signal) {
  (void)signal;
  siglongjmp(before_touch, 1);
}
static bool can_be_read(const volatile char *byte) {
  signal(SIGBUS, leave);
  signal(SIGSEGV, leave);
  const bool read = sigsetjmp(before_touch, 1) == 0 && (*byte, true);
  signal(SIGBUS, SIG_DFL);
  signal(SIGSEGV, SIG_DFL);
  return read;
}

// What Linux's gntalloc does not have, and a machine's does.
#define CHECK_WISH(call, wished)                                                   \
  do {                                                                             \
    const int64_t answer = (call);                                                 \
    CHECK(getenv("XENCOMM_TRANSPORT") != NULL ? answer == (wished)                 \
                                              : answer == -1 && errno == ENOTSUP); \
  } while (false)
static void check_wishes(uint16_t domid) {
  uint32_t ref, other;
  struct xencomm_grant listed[2];
  const int64_t page = xencomm_share_allocate(shares(), XENCOMM_UNSET, domid, 1, 0, &ref);
  CHECK(page >= 0);
  const uint64_t at = (uint64_t)page;
  CHECK_WISH(xencomm_share_allocate(shares(), page + 7, domid, 1, 0, &other), page + 7);
  CHECK_WISH(xencomm_share_also(shares(), at, domid, 1, XENCOMM_WRITABLE, &other), 0);
  CHECK_WISH(xencomm_share_list(shares(), at, 2, listed), 2);
  CHECK_WISH(xencomm_share_revoke(shares(), ref), 0);
  CHECK(xencomm_share_free(shares(), at, 1) == 0);
}

// Some of several, and what became of each.
void check_own(int domid, uint32_t *refs) {
  const uint32_t some[] = {refs[0], 1 << 20, refs[1], refs[2], refs[3], refs[0]};
  const int expected[] = {0, EINVAL, 0, 0, EACCES, 0};
  int errors[6];
  xencomm_mapping *mapping = map(domid, 6, some, true, errors);
  CHECK(mapping != NULL);
  if (mapping == NULL) return;
  volatile char *pages = xencomm_mapping_data(mapping);  // two of them are one page
  for (int i = 0; i < 6; i++) {
    CHECK(errors[i] == expected[i]);
    CHECK(can_be_read(pages + i * kPage) == (expected[i] == 0));
  }
  pages[100] = 'm';
  CHECK(pages[5 * kPage + 100] == 'm');
  // Of a part that Linux knows as one, and then of another, which takes its place.
  CHECK(xencomm_notify_at_unmap(mapping, 2 * kPage + 9, XENCOMM_UNSET) == 0);
  CHECK_REFUSED(xencomm_notify_at_unmap(mapping, kPage, XENCOMM_UNSET), EINVAL);
  CHECK_REFUSED(xencomm_notify_at_unmap(mapping, 6 * kPage, XENCOMM_UNSET), EINVAL);
  CHECK(xencomm_notify_at_unmap(mapping, 100, XENCOMM_UNSET) == 0);
  pages[2 * kPage + 9] = pages[101] = 'n';
  CHECK(xencomm_unmap(mapping) == 0);
  mapping = map(domid, 2, refs, false, NULL);
  CHECK(mapping != NULL);
  if (mapping == NULL) return;
  pages = xencomm_mapping_data(mapping);
  CHECK(pages[100] == 0 && pages[101] == 'n' && pages[kPage + 9] == 'n');
  CHECK_REFUSED(xencomm_notify_at_unmap(mapping, 0, XENCOMM_UNSET), EINVAL);
  CHECK(xencomm_unmap(mapping) == 0);

  check_wishes((uint16_t)domid);
  // Its frames, which nobody granted, if this is domain 0.
  if (domid == 0) return;
  const uint64_t nowhere = UINT64_C(1) << 40;
  mapping = xencomm_map_frames(mapper(), (uint16_t)domid, 1, &nowhere, 0, errors);
  // Of a PV domain it is a page that is not that domain's.
  CHECK(mapping != NULL && (errors[0] == EINVAL || errors[0] == EPERM));
  CHECK(xencomm_unmap(mapping) == 0);
  CHECK(xencomm_map_frames(mapper(), (uint16_t)domid, 1, &nowhere, 0, NULL) == NULL &&
        errno == (errors[0] == EINVAL ? EINVAL : EACCES));
  mapping = xencomm_map_frames(mapper(), 0x7abc, 1, &nowhere, 0, errors);
  CHECK(mapping != NULL && errors[0] == ESRCH && xencomm_unmap(mapping) == 0);
}
