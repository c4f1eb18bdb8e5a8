// What domains grant to domain 0, which copies and maps it. A toolstack writes their tables, as it
// does for the reserved entries.
//
// A PV domain 0 maps pages for its devices, a translated one anywhere in its physmap. Real Xen has
// either kind, and the embedded hypervisor the second. All else is the same, but that some calls
// are not an HVM domain's, which a translated domain 0 is on real Xen.
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

#include <xenforeignmemory.h>

enum { kPages = 16, kEntries = 512, kPage = 4096, kNowhere = 0x7fffff0, kUntouched = 7 };
enum { kInUse = GTF_reading | GTF_writing };
enum { kRef = 20 };
// Far above the memory of a domain 0 that is translated.
static const uint64_t kWindow = 0x7000000;

static xen_pfn_t frames[kPages];
static uint32_t domid;
static volatile grant_entry_v1_t *table;
static bool translated, is_hvm;

static void grant(unsigned ref, unsigned to, xen_pfn_t frame, unsigned flags) {
  table[ref].flags = 0;
  table[ref].frame = (uint32_t)frame;
  table[ref].domid = (domid_t)to;
  __sync_synchronize();
  table[ref].flags = (uint16_t)flags;
}
static unsigned shown(unsigned ref) { return table[ref].flags & kInUse; }

static uint8_t *map_page(unsigned page) {
  uint8_t *bytes =
      xc_map_foreign_range(xch, domid, kPage, PROT_READ | PROT_WRITE, (unsigned long)frames[page]);
  CHECK(bytes != NULL);
  return bytes;
}
static void fill(unsigned page) {
  uint8_t *bytes = map_page(page);
  for (unsigned i = 0; i < kPage; i++) bytes[i] = (uint8_t)(page * 31 + i + i / 256);
  munmap(bytes, kPage);
}
// Whether `length` bytes at `offset` of a page are another's from `from_offset` on, and the others
// its own.
static bool has_copy(unsigned page, unsigned offset, unsigned length, unsigned from,
                     unsigned from_offset) {
  uint8_t *bytes = map_page(page);
  bool same = true;
  for (unsigned i = 0; i < kPage; i++) {
    const bool inside = i >= offset && i < offset + length;
    const unsigned of = inside ? from : page, at = inside ? from_offset + i - offset : i;
    same = same && bytes[i] == (uint8_t)(of * 31 + at + at / 256);
  }
  munmap(bytes, kPage);
  return same;
}

// Copies

struct side {
  unsigned domain;  // 0: the one that grants
  uint64_t number;
  unsigned offset;
  bool is_frame;
};

static struct gnttab_copy copy_of(struct side from, struct side to, unsigned length) {
  struct gnttab_copy op = {.len = (uint16_t)length, .status = kUntouched};
  op.source.domid = (domid_t)(from.domain != 0 ? from.domain : domid);
  op.dest.domid = (domid_t)(to.domain != 0 ? to.domain : domid);
  op.source.offset = (uint16_t)from.offset;
  op.dest.offset = (uint16_t)to.offset;
  if (from.is_frame) op.source.u.gmfn = from.number;
  if (!from.is_frame) op.source.u.ref = (grant_ref_t)from.number;
  if (to.is_frame) op.dest.u.gmfn = to.number;
  if (!to.is_frame) op.dest.u.ref = (grant_ref_t)to.number;
  op.flags =
      (uint16_t)((from.is_frame ? 0 : GNTCOPY_source_gref) | (to.is_frame ? 0 : GNTCOPY_dest_gref));
  return op;
}

enum { kFrom = kRef, kTo, kReadOnly, kOthers, kNoFrame, kNothing, kTransfer, kPassed, kPart };

static void grant_all(void) {
  grant(kFrom, 0, frames[1], GTF_permit_access | GTF_readonly);
  grant(kTo, 0, frames[2], GTF_permit_access);
  grant(kReadOnly, 0, frames[2], GTF_permit_access | GTF_readonly);
  grant(kOthers, kNobody, frames[1], GTF_permit_access);
  grant(kNoFrame, 0, kNowhere, GTF_permit_access);
  grant(kNothing, 0, frames[1], GTF_invalid);
  grant(kTransfer, 0, frames[1], GTF_accept_transfer);
  grant(kPassed, 0, frames[1], GTF_transitive);
  grant(kPart, 0, frames[1], GTF_permit_access | GTF_sub_page);
}

struct copy_case {
  struct side from, to;
  unsigned length;
  int status;
};
static const struct copy_case kCopies[] = {
    {{0, kFrom, 0, false}, {0, kTo, 0, false}, kPage, GNTST_okay},
    {{0, kFrom, 100, false}, {0, kTo, 3000, false}, 1000, GNTST_okay},
    {{0, kFrom, kPage - 1, false}, {0, kTo, kPage - 1, false}, 1, GNTST_okay},
    {{0, kFrom, kPage, false}, {0, kTo, kPage, false}, 0, GNTST_okay},
    {{0, kPart, 5, false}, {0, kTo, 0, false}, 8, GNTST_okay},  // version 1 has no parts
    {{0, kFrom, kPage, false}, {0, kTo, 0, false}, 1, GNTST_bad_copy_arg},
    {{0, kFrom, 0, false}, {0, kTo, kPage - 8, false}, 9, GNTST_bad_copy_arg},
    {{0, kFrom, 0, false}, {0, kTo, 0, false}, kPage + 1, GNTST_bad_copy_arg},
    {{0, kFrom, 0xffff, false}, {0, kTo, 0xffff, false}, 0xffff, GNTST_bad_copy_arg},
    {{0, kFrom, kPage, false}, {0, kReadOnly, 0, false}, 9, GNTST_general_error},
    {{0, kFrom, kPage, false}, {0, kOthers, 0, false}, 9, GNTST_general_error},
    {{0, kFrom, kPage, false}, {0, kNothing, 0, false}, 9, GNTST_general_error},
    {{0, kFrom, kPage, false}, {0, kTransfer, 0, false}, 9, GNTST_general_error},
    {{0, kFrom, kPage, false}, {0, kPassed, 0, false}, 9, GNTST_general_error},
    {{0, kFrom, kPage, false}, {0, kNoFrame, 0, false}, 9, GNTST_bad_page},
    {{0, kFrom, kPage, false}, {0, kEntries, 0, false}, 9, GNTST_bad_gntref},
    {{0, kFrom, kPage, false}, {0, 0xffffffff, 0, false}, 9, GNTST_bad_gntref},
    {{0, kFrom, kPage, false}, {DOMID_SELF, kNowhere, 0, true}, 9, GNTST_bad_page},
    {{0, kEntries, kPage, false}, {0, kNoFrame, 0, false}, 9, GNTST_bad_gntref},
    {{0, kOthers, kPage, false}, {0, kEntries, 0, false}, 9, GNTST_general_error},
    {{0, kNoFrame, kPage, false}, {0, kEntries, 0, false}, 9, GNTST_bad_page},
    {{DOMID_SELF, kNowhere, kPage, true}, {0, kEntries, 0, false}, 9, GNTST_bad_page},
    {{DOMID_SELF, kNowhere, kPage, true}, {kNobody, kEntries, 0, false}, 9, GNTST_bad_domain},
    {{DOMID_SELF, kNowhere, kPage, true}, {0, kNowhere, 0, true}, 9, GNTST_bad_page},
    {{kNobody, kFrom, kPage, false}, {0, kNowhere, 0, true}, 9, GNTST_bad_domain},
    {{0, kNowhere, 0, true}, {kNobody, kEntries, 0, false}, 9, GNTST_bad_domain},
    {{kNobody, kNowhere, 0, true}, {kNobody, kEntries, 0, false}, 9, GNTST_bad_domain},
    {{0, kNowhere, 0, true}, {0, kEntries, 0, false}, 9, GNTST_permission_denied},
    {{0, kEntries, 0, false}, {0, kNowhere, 0, true}, 9, GNTST_bad_gntref},
    {{0, kFrom, kPage, false}, {0, kNowhere, 0, true}, 9, GNTST_permission_denied},
    {{0, kEntries, 0, false}, {0, kTo, 0, false}, 0, kMinor < 19 ? GNTST_bad_gntref : GNTST_okay},
    {{0, kFrom, 0xffff, false},
     {0, kTo, 0, false},
     0,
     kMinor < 19 ? GNTST_bad_copy_arg : GNTST_okay},
};
enum { kCopyCount = sizeof(kCopies) / sizeof(kCopies[0]) };

static void check_copies(void) {
  grant_all();
  fill(1);
  for (unsigned i = 0; i < kCopyCount; i++) {
    const struct copy_case *const each = &kCopies[i];
    fill(2);
    struct gnttab_copy op = copy_of(each->from, each->to, each->length);
    CHECK(xc_gnttab_op(xch, GNTTABOP_copy, &op, sizeof(op), 1) == 0);
    if (op.status != each->status) printf("copy %u: %d\n", i, op.status);
    CHECK(op.status == each->status);
    CHECK(has_copy(2, each->to.offset, each->status == GNTST_okay ? each->length : 0, 1,
                   each->from.offset));
    for (unsigned ref = kFrom; ref <= kPart; ref++) CHECK(shown(ref) == 0);
  }
  // A list, all of it.
  struct gnttab_copy ops[kCopyCount];
  for (unsigned i = 0; i < kCopyCount; i++) {
    ops[i] = copy_of(kCopies[i].from, kCopies[i].to, kCopies[i].length);
  }
  CHECK(xc_gnttab_op(xch, GNTTABOP_copy, ops, sizeof(ops[0]), kCopyCount) == 0);
  for (unsigned i = 0; i < kCopyCount; i++) CHECK(ops[i].status == kCopies[i].status);
  // Inside one page.
  fill(2);
  struct gnttab_copy op =
      copy_of((struct side){0, kTo, 100, false}, (struct side){0, kTo, 300, false}, 100);
  CHECK(xc_gnttab_op(xch, GNTTABOP_copy, &op, sizeof(op), 1) == 0 && op.status == GNTST_okay);
  CHECK(has_copy(2, 300, 100, 2, 100));
}

// Mappings

static struct gnttab_map_grant_ref map_of(unsigned ref, unsigned flags, unsigned place) {
  struct gnttab_map_grant_ref op = {
      .flags = flags | (translated ? GNTMAP_host_map : GNTMAP_device_map),
      .ref = ref,
      .dom = (domid_t)domid,
      .status = kUntouched,
      .handle = 4711,
      .dev_bus_addr = 4712,
      .host_addr = translated ? (kWindow + place) << 12 : 0,
  };
  return op;
}
static int map(struct gnttab_map_grant_ref *op) {
  CHECK(xc_gnttab_op(xch, GNTTABOP_map_grant_ref, op, sizeof(*op), 1) == 0);
  return op->status;
}
static struct gnttab_unmap_grant_ref unmap_of(const struct gnttab_map_grant_ref *op) {
  struct gnttab_unmap_grant_ref end = {.host_addr = op->host_addr,
                                       .dev_bus_addr = op->dev_bus_addr,
                                       .handle = op->handle,
                                       .status = kUntouched};
  return end;
}
static int unmap_by(struct gnttab_unmap_grant_ref end) {
  CHECK(xc_gnttab_op(xch, GNTTABOP_unmap_grant_ref, &end, sizeof(end), 1) == 0);
  return end.status;
}
static int unmap(const struct gnttab_map_grant_ref *op) { return unmap_by(unmap_of(op)); }

struct map_case {
  unsigned ref, flags;
  unsigned domain;  // 0: the one that grants
  int status;
};
static const struct map_case kMaps[] = {
    {kFrom, GNTMAP_readonly, 0, GNTST_okay},
    {kTo, GNTMAP_readonly, 0, GNTST_okay},
    {kTo, 0, 0, GNTST_okay},
    {kFrom, 0, 0, GNTST_general_error},
    {kOthers, GNTMAP_readonly, 0, GNTST_general_error},
    {kNothing, GNTMAP_readonly, 0, GNTST_general_error},
    {kTransfer, GNTMAP_readonly, 0, GNTST_general_error},
    {kPassed, GNTMAP_readonly, 0, GNTST_general_error},
    {kPart, GNTMAP_readonly, 0, GNTST_general_error},
    {kNoFrame, GNTMAP_readonly, 0, GNTST_bad_page},
    {kEntries, 0, 0, GNTST_bad_gntref},
    {0xffffffff, 0, 0, GNTST_bad_gntref},
    {0xffffffff, 0, kNobody, GNTST_bad_domain},
    {0xffffffff, 0, DOMID_SELF, GNTST_bad_domain},
};

static void check_maps(void) {
  grant_all();
  for (unsigned i = 0; i < sizeof(kMaps) / sizeof(kMaps[0]); i++) {
    const struct map_case *const each = &kMaps[i];
    struct gnttab_map_grant_ref op = map_of(each->ref, each->flags, 0);
    if (each->domain != 0) op.dom = (domid_t)each->domain;
    if (map(&op) != each->status) printf("map %u: %d\n", i, op.status);
    CHECK(op.status == each->status);
    if (op.status != GNTST_okay) {
      CHECK(op.handle == 4711 && op.dev_bus_addr == 4712);
      continue;
    }
    CHECK(shown(each->ref) == (each->flags != 0 ? GTF_reading : kInUse));
    CHECK((op.dev_bus_addr & (kPage - 1)) == 0 && op.dev_bus_addr != 0);
    CHECK(unmap(&op) == GNTST_okay && unmap(&op) == GNTST_bad_handle);
    CHECK(shown(each->ref) == 0);
  }
  struct gnttab_map_grant_ref op = map_of(kTo, 0, 0);
  op.flags = GNTMAP_readonly | GNTMAP_contains_pte;
  op.dom = kNobody;
  CHECK(map(&op) == GNTST_bad_gntref);
  if (translated) {
    op.flags = GNTMAP_host_map | GNTMAP_device_map;
    CHECK(map(&op) == GNTST_general_error);
    op = map_of(kTo, 1u << _GNTMAP_guest_avail0, 0);
    CHECK(map(&op) == GNTST_general_error && shown(kTo) == 0);
    op.ref = kNoFrame;
    CHECK(map(&op) == GNTST_bad_page);
  }
  // No list is a list.
  CHECK(xc_gnttab_op(xch, GNTTABOP_map_grant_ref, &op, sizeof(op), 0) == 0);
}

static void check_use(void) {
  grant_all();
  struct gnttab_map_grant_ref reads = map_of(kTo, GNTMAP_readonly, 0), writes = map_of(kTo, 0, 1);
  CHECK(map(&reads) == GNTST_okay && shown(kTo) == GTF_reading);
  CHECK(map(&writes) == GNTST_okay && shown(kTo) == kInUse);
  CHECK(reads.handle != writes.handle && reads.dev_bus_addr == writes.dev_bus_addr);
  // It is mapped as it was: the entry says nothing any more, but that it is read-only.
  grant(kTo, kNobody, kNowhere, GTF_invalid | GTF_readonly | kInUse);
  struct gnttab_map_grant_ref more = map_of(kTo, 0, 2);
  CHECK(map(&more) == GNTST_okay && more.dev_bus_addr == reads.dev_bus_addr);
  CHECK(unmap(&more) == GNTST_okay && shown(kTo) == kInUse);
  CHECK(unmap(&writes) == GNTST_okay && shown(kTo) == GTF_reading);
  more = map_of(kTo, 0, 2);
  CHECK(map(&more) == GNTST_general_error);
  // A copy that writes looks at it, one that reads does not.
  grant(kTo, 0, frames[3], GTF_permit_access | GTF_reading);
  struct gnttab_copy op =
      copy_of((struct side){0, kFrom, 0, false}, (struct side){0, kTo, 0, false}, 8);
  CHECK(xc_gnttab_op(xch, GNTTABOP_copy, &op, sizeof(op), 1) == 0);
  CHECK(op.status == GNTST_general_error && shown(kTo) == GTF_reading);
  grant(kFrom, 0, frames[4], GTF_permit_access);
  op = copy_of((struct side){0, kTo, 0, false}, (struct side){0, kFrom, 0, false}, 8);
  CHECK(xc_gnttab_op(xch, GNTTABOP_copy, &op, sizeof(op), 1) == 0 && op.status == GNTST_okay);

  // Unmapped by what it was mapped by.
  struct gnttab_unmap_grant_ref end = unmap_of(&reads);
  end.handle = 0xffffffff;
  CHECK(unmap_by(end) == GNTST_bad_handle);
  end = unmap_of(&reads);
  end.host_addr = 0;
  end.dev_bus_addr = 0;
  CHECK(unmap_by(end) == GNTST_okay && shown(kTo) == GTF_reading);
  end = unmap_of(&reads);
  if (translated) end.host_addr += kPage;
  if (!translated) end.dev_bus_addr += kPage;
  CHECK(unmap_by(end) == (translated ? GNTST_general_error : GNTST_bad_dev_addr));
  CHECK(shown(kTo) == GTF_reading && unmap(&reads) == GNTST_okay && shown(kTo) == 0);
}

static void check_counts(void) {
  enum { kMost = 128 };
  grant_all();
  static struct gnttab_map_grant_ref maps[2 * kMost + 2];
  static struct gnttab_unmap_grant_ref ends[2 * kMost + 2];
  for (unsigned i = 0; i < 2 * kMost + 2; i++) {
    maps[i] = map_of(kTo, i % 2 == 0 ? GNTMAP_readonly : 0, i);
  }
  CHECK(xc_gnttab_op(xch, GNTTABOP_map_grant_ref, maps, sizeof(maps[0]), 2 * kMost + 2) == 0);
  for (unsigned i = 0; i < 2 * kMost + 2; i++) {
    CHECK(maps[i].status == (i < 2 * kMost ? GNTST_okay : GNTST_general_error));
    ends[i] = unmap_of(&maps[i]);
  }
  CHECK(xc_gnttab_op(xch, GNTTABOP_unmap_grant_ref, ends, sizeof(ends[0]), 2 * kMost) == 0);
  for (unsigned i = 0; i < 2 * kMost; i++) CHECK(ends[i].status == GNTST_okay);
  CHECK(shown(kTo) == 0);
}

// A page table of a PV domain is not written by others.
static void check_page_table(void) {
  uint8_t *bytes = map_page(5);
  memset(bytes, 0, kPage);
  munmap(bytes, kPage);
  grant_all();
  grant(kTo, 0, frames[5], GTF_permit_access);
  struct mmuext_op op = {.cmd = MMUEXT_PIN_L1_TABLE, .arg1.mfn = frames[5]};
  CHECK(xc_mmuext_op(xch, &op, 1, (domid_t)domid) == 0);
  struct gnttab_copy copy =
      copy_of((struct side){0, kFrom, 0, false}, (struct side){0, kTo, 0, false}, 8);
  CHECK(xc_gnttab_op(xch, GNTTABOP_copy, &copy, sizeof(copy), 1) == 0);
  CHECK(copy.status == GNTST_general_error && shown(kTo) == 0);
  struct gnttab_map_grant_ref writes = map_of(kTo, 0, 0), reads = map_of(kTo, GNTMAP_readonly, 1);
  CHECK(map(&writes) == GNTST_general_error && shown(kTo) == 0);
  CHECK(map(&reads) == GNTST_okay && map(&writes) == GNTST_general_error);
  CHECK(shown(kTo) == GTF_reading);
  op.cmd = MMUEXT_UNPIN_TABLE;
  CHECK(xc_mmuext_op(xch, &op, 1, (domid_t)domid) == 0);
  writes = map_of(kTo, 0, 0);
  CHECK(map(&writes) == GNTST_okay);
  op.cmd = MMUEXT_PIN_L1_TABLE;
  CHECK_REFUSED(xc_mmuext_op(xch, &op, 1, (domid_t)domid), EINVAL);
  CHECK(unmap(&writes) == GNTST_okay);
  CHECK(xc_mmuext_op(xch, &op, 1, (domid_t)domid) == 0);
  CHECK(unmap(&reads) == GNTST_okay);
  op.cmd = MMUEXT_UNPIN_TABLE;
  CHECK(xc_mmuext_op(xch, &op, 1, (domid_t)domid) == 0);
}

// Caches

static int flush(uint64_t address, unsigned offset, unsigned length, uint32_t op) {
  struct gnttab_cache_flush request = {
      .a.dev_bus_addr = address, .offset = (uint16_t)offset, .length = (uint16_t)length, .op = op};
  return xc_gnttab_op(xch, GNTTABOP_cache_flush, &request, sizeof(request), 1);
}

static void check_caches(void) {
  grant_all();
  struct gnttab_map_grant_ref op = map_of(kTo, GNTMAP_readonly, 0);
  CHECK(map(&op) == GNTST_okay);
  const uint64_t address = op.dev_bus_addr;
  CHECK(flush(address, 0, kPage, GNTTAB_CACHE_CLEAN) == 0);
  CHECK(flush(address, kPage - 1, 1, GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL) == 0);
  CHECK(flush(address, 0, 8, GNTTAB_CACHE_INVAL) == 0);
  CHECK_REFUSED(flush(address, kPage, 0, GNTTAB_CACHE_CLEAN), EINVAL);
  CHECK_REFUSED(flush(address, kPage - 1, 2, GNTTAB_CACHE_CLEAN), EINVAL);
  CHECK_REFUSED(flush(address, 0, kPage + 1, GNTTAB_CACHE_CLEAN), EINVAL);
  CHECK_REFUSED(flush(address, 0, 8, GNTTAB_CACHE_SOURCE_GREF), EINVAL);
  CHECK_REFUSED(flush(address, 0, 8, 4), EINVAL);
  CHECK(flush(address, 0, 0, GNTTAB_CACHE_CLEAN) == 0);
  CHECK(flush((uint64_t)1 << 46, 0, 8, 0) == 0);
  CHECK_REFUSED(flush((uint64_t)1 << 46, 0, 8, GNTTAB_CACHE_CLEAN), EINVAL);
  CHECK(unmap(&op) == GNTST_okay);
  CHECK_REFUSED(flush(address, 0, 8, GNTTAB_CACHE_CLEAN), EINVAL);
}

// Of domain 0's own table, which its kernel has in use: what is refused, or changes nothing.
static void check_own_table(void) {
  const grant_ref_t far = 0x7fffffff;
  struct gnttab_swap_grant_ref swaps[] = {
      {.ref_a = far, .ref_b = 0},
      {.ref_a = 0, .ref_b = far},
      {.ref_a = far, .ref_b = far},
      {.ref_a = 0, .ref_b = 0, .status = kUntouched},
  };
  CHECK(xc_gnttab_op(xch, GNTTABOP_swap_grant_ref, swaps, sizeof(swaps[0]), 4) == 0);
  for (unsigned i = 0; i < 3; i++) CHECK(swaps[i].status == GNTST_bad_gntref);
  CHECK(swaps[3].status == GNTST_okay);
  const int version = xc_gnttab_get_version(xch, DOMID_SELF);
  CHECK(version == 1 || version == 2);
  const uint32_t kVersions[] = {0, 3, 0xffffffff};
  for (unsigned i = 0; i < 3; i++) {
    struct gnttab_set_version set = {.version = kVersions[i]};
    CHECK_REFUSED(xc_gnttab_op(xch, GNTTABOP_set_version, &set, sizeof(set), 1), EINVAL);
    CHECK(set.version == (uint32_t)version);
  }
  struct gnttab_set_version same = {.version = (uint32_t)version};
  CHECK(xc_gnttab_op(xch, GNTTABOP_set_version, &same, sizeof(same), 1) == 0);
}

static void check_status_frames(void) {
  DECLARE_HYPERCALL_BUFFER(uint64_t, list);
  list = xc_hypercall_buffer_alloc(xch, list, sizeof(*list));
  struct gnttab_get_status_frames status = {.dom = (domid_t)domid, .nr_frames = 1};
  set_xen_guest_handle_raw(status.frame_list, list);
  CHECK(xc_gnttab_op(xch, GNTTABOP_get_status_frames, &status, sizeof(status), 1) == 0);
  CHECK(status.status == GNTST_general_error);  // of version 1 there are none
  xc_hypercall_buffer_free(xch, list);
}

// Commands and counts that there are not.
static void check_commands(void) {
  struct gnttab_copy op =
      copy_of((struct side){0, kFrom, 0, false}, (struct side){0, kTo, 0, false}, 8);
  CHECK_REFUSED(xc_gnttab_op(xch, 0x1000 | GNTTABOP_copy, &op, sizeof(op), 1), EINVAL);
  CHECK_REFUSED(xc_gnttab_op(xch, 13, &op, sizeof(op), 1), ENOSYS);
  CHECK_REFUSED(xc_gnttab_op(xch, GNTTABOP_dump_table, &op, sizeof(op), 1), ENOSYS);
  CHECK(op.status == kUntouched);
}

// A domain that has ended stays for as long as a page of its is mapped; and no longer.
static void check_end(void) {
  grant_all();
  struct gnttab_map_grant_ref op = map_of(kTo, 0, 0), again = map_of(kTo, GNTMAP_readonly, 1);
  CHECK(map(&op) == GNTST_okay);
  CHECK(xc_domain_destroy(xch, domid) == 0);
  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info) && (info.flags & XEN_DOMINF_dying) != 0);
  CHECK(info.tot_pages == 1);
  CHECK(map(&again) == GNTST_okay && again.dev_bus_addr == op.dev_bus_addr);
  struct gnttab_map_grant_ref other = map_of(kFrom, GNTMAP_readonly, 2);
  CHECK(map(&other) == GNTST_bad_page);
  other = map_of(kOthers, GNTMAP_readonly, 2);
  CHECK(map(&other) == GNTST_general_error);
  other = map_of(kReadOnly, 0, 2);
  CHECK(map(&other) == GNTST_general_error);
  other = map_of(kEntries, 0, 2);
  CHECK(map(&other) == GNTST_bad_gntref);
  struct gnttab_copy copies[] = {
      copy_of((struct side){0, kTo, 0, false}, (struct side){DOMID_SELF, kNowhere, 0, true}, 8),
      copy_of((struct side){0, kFrom, 0, false}, (struct side){DOMID_SELF, kNowhere, 0, true}, 8),
  };
  CHECK(xc_gnttab_op(xch, GNTTABOP_copy, copies, sizeof(copies[0]), 2) == 0);
  CHECK(copies[0].status == GNTST_bad_domain && copies[1].status == GNTST_bad_page);
  CHECK(unmap(&again) == GNTST_okay && find_domain(domid, &info));
  CHECK(unmap(&op) == GNTST_okay && unmap(&op) == GNTST_bad_handle);
  CHECK(!find_domain(domid, &info));
  CHECK(map(&op) == GNTST_bad_domain);
}

static void check_grants_of(uint32_t flags) {
  domid = create_domain_with_pages(flags, 1, kPages, frames);
  xenforeignmemory_handle *const memory = xenforeignmemory_open(NULL, 0);
  void *address = NULL;
  xenforeignmemory_resource_handle *const resource = xenforeignmemory_map_resource(
      memory, domid, XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_shared, 0, 1,
      &address, PROT_READ | PROT_WRITE, 0);
  CHECK(resource != NULL);
  if (resource == NULL) return;
  table = address;
  check_copies();
  check_maps();
  check_use();
  check_counts();
  if (flags == 0) check_page_table();
  check_own_table();
  if (!is_hvm) {
    check_caches();
    check_status_frames();
    check_commands();
  }
  grant_all();
  CHECK(xenforeignmemory_unmap_resource(memory, resource) == 0);
  xenforeignmemory_close(memory);
  static grant_entry_v1_t last[kEntries];
  table = last;
  check_end();
}

void check_grants_in_use(void) {
  xen_feature_info_t features = {.submap_idx = 0};
  CHECK(xc_version(xch, XENVER_get_features, &features) == 0);
  translated = (features.submap & (1u << XENFEAT_auto_translated_physmap)) != 0;
  xc_domaininfo_t info;
  is_hvm = find_domain(0, &info) && (info.flags & XEN_DOMINF_hvm_guest) != 0;
  check_grants_of(0);
  check_grants_of(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap);
}
