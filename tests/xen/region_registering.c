// Registering a region, extending it and ending it.
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/domctl.h>
#include <xen/memory.h>
#include <xen/version.h>

#include "tests/xen/regions.h"

void check_headers(void) {
  struct region region = make_table(4);
  const struct xencomm_header good = region.header;
  const struct {
    size_t at, size;
    uint64_t value;
  } kBad[] = {
      {0, 4, 0x47524358},
      {0, 4, 0},
      {4, 2, 2},
      {6, 1, 11},
      {6, 1, 31},
      {6, 1, 13},
      {7, 1, 1},
      {8, 8, kBase + 1},
      {8, 8, -kPage},
      {16, 8, 0},
      {16, 8, 4 * kPage + 1},
      {16, 8, 5 * kPage},
      {16, 8, -kPage},
      {24, 4, 3},
      {24, 4, 0},
      {28, 4, 1},
      {32, 8, 0},
      {32, 8, XENCOMM_NO_BASE},
  };
  for (unsigned i = 0; i < sizeof(kBad) / sizeof(kBad[0]); i++) {
    put(&region, kBad[i].at, &kBad[i].value, kBad[i].size);
    CHECK(try_register(&region, XENCOMM_READ_WRITE) == -EINVAL);
    put(&region, 0, &good, sizeof(good));
    put_base(&region, 0, page_address(&region, 0));
  }
  CHECK(try_register(&region, 2) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_register, page_address(&region, 0) + 8, 1, 0, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_register, ~0ull << 12, 1, 0, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_register, page_address(&region, 0), 1, 12345, 0) == -ENOENT);

  // Bases that name nothing that is fit. The local APIC is no memory in either kind of domain.
  const uint64_t kBadBases[] = {1, kPage + 8, 0xfee00000, 1ull << 51, ~0ull << 12, 1ull << 63};
  for (unsigned i = 0; i < sizeof(kBadBases) / sizeof(kBadBases[0]); i++) {
    put_base(&region, 2, kBadBases[i]);
    CHECK(try_register(&region, XENCOMM_READ_WRITE) == -EFAULT);
    CHECK(try_register(&region, XENCOMM_READ) == -EFAULT);
  }
  put_base(&region, 2, page_address(&region, 2));

  struct xencomm_header large = good;
  large.length = (1ull << 32) + kPage;
  large.base_count = (uint32_t)(large.length >> 12);
  put(&region, 0, &large, sizeof(large));
  CHECK(try_register(&region, XENCOMM_READ_WRITE) == -E2BIG);
  end_table(&region);
}

void check_extend(void) {
  struct region region = make_table(8);
  const uint64_t bases[] = {page_address(&region, 5), page_address(&region, 6)};
  put_base(&region, 5, XENCOMM_NO_BASE);
  put_base(&region, 6, XENCOMM_NO_BASE);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0);
  const uint64_t handle = (uint64_t)region.handle;
  CHECK(extraversion(&region, kBase + 5 * kPage) == -EFAULT);
  CHECK(extraversion(&region, kBase + 5 * kPage - 1) == -EFAULT);
  // Nothing new yet; a base that is there without being taken in is not there.
  CHECK(xencomm_op(XENCOMM_extend, handle, 1, 7, 0) == 0);
  put_base(&region, 5, bases[0]);
  CHECK(extraversion(&region, kBase + 5 * kPage) == -EFAULT);
  CHECK(xencomm_op(XENCOMM_extend, handle, 1, 7, 0) == 0);
  CHECK(extraversion(&region, kBase + 5 * kPage) == 0 && has_extraversion(&region, 5 * kPage));
  // What is in stays, whatever its base says now.
  put_base(&region, 5, page_address(&region, 0));
  CHECK(xencomm_op(XENCOMM_extend, handle, 5, 1, 0) == 0);
  CHECK(extraversion(&region, kBase + 5 * kPage + 64) == 0);
  CHECK(has_extraversion(&region, 5 * kPage + 64));

  put_base(&region, 6, 0xfee00000);
  CHECK(xencomm_op(XENCOMM_extend, handle, 6, 1, 0) == -EFAULT);
  put_base(&region, 6, bases[1]);
  CHECK(xencomm_op(XENCOMM_extend, handle, 6, 1, 2) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_extend, handle, 0, 1, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_extend, handle, 6, 3, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_extend, handle, 6, ~0ull - 5, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_extend, handle, ~0ull, 1, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_extend, handle, 1, 1, XENCOMM_ARGUMENTS_ONLY) == -EEXIST);
  CHECK(xencomm_op(XENCOMM_extend, handle + 2, 6, 1, 0) == -ENOENT);
  CHECK(xencomm_op(XENCOMM_extend, handle - 1, 6, 1, 0) == -ENOENT);
  struct xencomm_header other = region.header;
  other.virtual_base += kPage;
  put(&region, 0, &other, sizeof(other));
  CHECK(xencomm_op(XENCOMM_extend, handle, 6, 1, 0) == -EINVAL);
  CHECK(extraversion(&region, kBase + kPage) == 0);
  end_region(&region);
}

void check_ids(void) {
  struct region region = make_region(2);
  const uint64_t handle = (uint64_t)region.handle;
  CHECK(xencomm_op(XENCOMM_unregister, handle + 2, 0, 0, 0) == -ENOENT);
  CHECK(xencomm_op(XENCOMM_unregister, handle, 0, 0, 0) == 0);
  CHECK(xencomm_op(XENCOMM_unregister, handle, 0, 0, 0) == -ENOENT);
  CHECK(xencomm_op(XENCOMM_extend, handle, 1, 1, 0) == -ENOENT);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT);
  const int64_t again = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(again > 0 && again != (int64_t)handle);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT);
  CHECK(xencomm_op(XENCOMM_unregister, handle, 0, 0, 0) == -ENOENT);
  region.handle = again;
  CHECK(extraversion(&region, kBase + kPage) == 0);
  // A call may end the region that it came with.
  CHECK(call7(__HYPERVISOR_xencomm_op | XENCOMM_CALL, XENCOMM_unregister, (uint64_t)again, 0, 0, 0,
              (uint64_t)again)
            .rax == 0);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT);

  // As many as there may be, and one more.
  static int64_t handles[5000];
  unsigned count = 0;
  while (count < 5000 && (handles[count] = try_register(&region, XENCOMM_READ_WRITE)) > 0) count++;
  CHECK(count == 1024 && handles[count] == -ENOSPC);
  while (count != 0) {
    CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)handles[--count], 0, 0, 0) == 0);
  }
  end_table(&region);
}

// 1 GiB, of which only single pages are there, the last one behind three bases.
void check_large(void) {
  enum { kGranules = 262144, kTable = 513, kPayload = 3 };
  struct region region = make_table(8);
  const uint64_t pages[] = {page_address(&region, 0), page_address(&region, 1),
                            page_address(&region, 2), page_address(&region, 3),
                            page_address(&region, 4), page_address(&region, 5)};
  struct xencomm_header header = region.header;
  header.length = (uint64_t)kGranules * kPage;
  header.base_count = kGranules;
  uint64_t none[kPage / 8];
  memset(none, 0xff, sizeof(none));
  for (unsigned i = 0; i < 8; i++) put(&region, i * kPage, none, kPage);
  put(&region, 0, &header, sizeof(header));
  put_base(&region, 0, pages[0]);
  // Base 262143 lies in granule 512, whose base lies in granule 1.
  put_base(&region, 1, pages[1]);
  const uint64_t at_512 = 32 + 8 * 512 - kPage, at_last = 32 + 8ull * 262143 - 512 * kPage;
  put(&region, kPage + at_512, &pages[2], 8);
  put(&region, 2 * kPage + at_last, &pages[3], 8);
  // And the first of the payload, base 513, in granule 1.
  put(&region, kPage + 32 + 8 * kTable - kPage, &pages[4], 8);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0);
  CHECK(extraversion(&region, kBase + 262143ull * kPage) == 0);
  CHECK(has_extraversion(&region, 3 * kPage));
  CHECK(extraversion(&region, kBase + (uint64_t)kTable * kPage) == 0);
  CHECK(has_extraversion(&region, 4 * kPage));
  CHECK(extraversion(&region, kBase + 262142ull * kPage) == -EFAULT);
  CHECK(extraversion(&region, kBase + 262144ull * kPage) == -EFAULT);
  CHECK(extraversion(&region, kBase + 512ull * kPage) == -EFAULT);
  CHECK(extraversion(&region, kBase + 100000ull * kPage) == -EFAULT);
  CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);

  // One page as the base of all: more than the domain has.
  put(&region, kPage, none, kPage);
  for (unsigned i = 0; i < kPage / 8; i++) none[i] = pages[5];
  put(&region, 2 * kPage, none, kPage);
  uint64_t tables[kPage / 8];
  for (unsigned i = 0; i < kPage / 8; i++) tables[i] = pages[2];
  put(&region, 40, tables, kPage - 40);
  CHECK(try_register(&region, XENCOMM_READ_WRITE) < 0);  // granule 1 is its own table
  end_table(&region);
}

// Long ones stop and go on, and give all back.
void check_many_pages(void) {
  enum { kPages = 500 };
  for (unsigned turn = 0; turn < 20; turn++) {
    struct region region = make_region(kPages);
    CHECK(extraversion(&region, kBase + (kPages - 1) * kPage) == 0);
    CHECK(has_extraversion(&region, (kPages - 1) * kPage));
    put_base(&region, kPages - 1, 0xfee00000);
    CHECK(try_register(&region, XENCOMM_READ_WRITE) == -EFAULT);
    end_region(&region);
  }
}

// Granules of several pages are in a row in the guest's physical memory: rows among pages that are
// there, or fewer. Each by its first page's number.
static unsigned find_rows(const struct region *region, uint64_t size, uint64_t *rows,
                          unsigned wanted) {
  unsigned found = 0;
  uint64_t in_row = 0, next = 0;
  for (uint64_t page = 0; page < region->pages && found < wanted; page++) {
    const uint64_t address = page_address(region, page);
    if ((address & (size - 1)) == 0) {
      in_row = 1;
    } else if (in_row != 0) {
      in_row = address == next ? in_row + 1 : 0;
    }
    next = address + kPage;
    if (in_row == size / kPage) rows[found++] = page + 1 - size / kPage;
  }
  return found;
}

// Such a region: the table in a granule of its own, and two of payload.
static void check_rows(unsigned shift) {
  const uint64_t size = 1ull << shift;
  enum { kGranules = 3 };
  // What is in a row for a PV domain need not be so for the machine, nor begin where it may.
  struct region region = {.fd = open(FORGE_DEVICE, O_RDWR),
                          .pages = is_pvh ? 3 * size / kPage : 8192};
  struct forge_allocate allocate = {.count = region.pages, .order = shift - 12};
  uint64_t rows[kGranules];
  CHECK(ioctl(region.fd, FORGE_ALLOCATE, &allocate) == 0);
  const unsigned found = find_rows(&region, size, rows, kGranules);
  CHECK(found == kGranules || !is_pvh);
  if (found != kGranules) {
    // A Xen with CONFIG_DEBUG gives domain 0 pages that are in no order.
    printf("skipped: granules of 2^%u bytes: the machine has no such rows\n", shift);
    return end_table(&region);
  }

  const struct xencomm_header header = {.magic = XENCOMM_REGION_MAGIC,
                                        .version = XENCOMM_REGION_VERSION,
                                        .granule_shift = (uint8_t)shift,
                                        .virtual_base = kBase,
                                        .length = kGranules * size,
                                        .base_count = kGranules};
  const uint64_t table = rows[0] * kPage, bases = table + sizeof(header);
  put(&region, table, &header, sizeof(header));
  for (unsigned i = 0; i < kGranules; i++) {
    const uint64_t base = page_address(&region, rows[i]);
    put(&region, bases + 8 * i, &base, 8);
  }
  const uint64_t first = page_address(&region, rows[0]);
  region.handle = xencomm_op(XENCOMM_register, first, XENCOMM_READ_WRITE, 0, 0);
  CHECK(region.handle > 0);
  for (uint64_t page = 0; page < size / kPage; page++) {
    CHECK(extraversion(&region, kBase + page * kPage + 64) == -EFAULT);
    CHECK(extraversion(&region, kBase + size + page * kPage + 8) == 0);
    CHECK(has_extraversion(&region, (rows[1] + page) * kPage + 8));
    CHECK(extraversion(&region, kBase + 2 * size + page * kPage) == 0);
    CHECK(has_extraversion(&region, (rows[2] + page) * kPage));
  }
  CHECK(extraversion(&region, kBase + 2 * size - 1) == 0);
  CHECK(has_extraversion(&region, rows[1] * kPage + size - 1));
  CHECK(extraversion(&region, kBase + 3 * size - kExtraVersion + 1) == -EFAULT);
  CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);

  // A base in the middle of a row; none, and one that comes later.
  uint64_t base = page_address(&region, rows[2]) + kPage;
  put(&region, bases + 16, &base, 8);
  CHECK(xencomm_op(XENCOMM_register, first, XENCOMM_READ_WRITE, 0, 0) == -EFAULT);
  base = XENCOMM_NO_BASE;
  put(&region, bases + 16, &base, 8);
  region.handle = xencomm_op(XENCOMM_register, first, XENCOMM_READ_WRITE, 0, 0);
  CHECK(region.handle > 0);
  CHECK(extraversion(&region, kBase + 2 * size) == -EFAULT);
  CHECK(extraversion(&region, kBase + 2 * size - kExtraVersion) == 0);
  base = page_address(&region, rows[2]);
  put(&region, bases + 16, &base, 8);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 0, 3, 0) == -EINVAL);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 1, 2, 0) == 0);
  CHECK(extraversion(&region, kBase + 3 * size - kExtraVersion) == 0);
  CHECK(has_extraversion(&region, rows[2] * kPage + size - kExtraVersion));
  end_region(&region);
}
void check_granules(void) {
  check_rows(16);
  // So many pages that it stops in the middle of a granule, and goes on.
  if (is_pvh) check_rows(21);

  // The header is to be in the first page of its granule.
  struct region region = make_table(4);
  struct xencomm_header header = region.header;
  header.granule_shift = 16;
  header.length = 2 << 16;
  header.base_count = 2;
  for (unsigned page = 0; page < 2; page++) {
    put(&region, page * kPage, &header, sizeof(header));
    const uint64_t address = page_address(&region, page);
    if ((address & 0xffff) == 0) continue;
    CHECK(xencomm_op(XENCOMM_register, address, XENCOMM_READ_WRITE, 0, 0) == -EINVAL);
  }
  end_table(&region);
}

// Table and payload share a page.
void check_page_form(void) {
  struct region region = make_table(1);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0);
  CHECK(extraversion(&region, kBase + 40) == 0 && has_extraversion(&region, 40));
  CHECK(extraversion(&region, kBase + 39) == -EFAULT && extraversion(&region, kBase) == -EFAULT);
  CHECK(extraversion(&region, kBase + kPage - kExtraVersion) == 0);
  CHECK(extraversion(&region, kBase + kPage - kExtraVersion + 1) == -EFAULT);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT);
  end_region(&region);
}

// A frame that is given away while a region has it stays the domain's until the region ends.
void check_balloon(void) {
  struct region region = make_region(8);
  const uint64_t frame = page_address(&region, 3) >> 12;
  struct xen_memory_reservation reservation = {.nr_extents = 1, .domid = DOMID_SELF};
  set_xen_guest_handle_raw(reservation.extent_start, (void *)(kBase + 2 * kPage));
  put(&region, kPage, &reservation, sizeof(reservation));
  put(&region, 2 * kPage, &frame, sizeof(frame));
  CHECK(in_region(&region, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, kBase + kPage) ==
        1);
  CHECK(extraversion(&region, kBase + 3 * kPage) == 0);
  CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);
  // Of a PV domain's frame its kernel has a mapping yet.
  if (is_pvh) CHECK(try_register(&region, XENCOMM_READ_WRITE) == -EFAULT);
  CHECK(close(region.fd) == 0);  // the pages stay: one is not there any more
}

// By two processors. Who finds Xen's list of regions in use is called again.
struct registrar {
  pthread_t thread;
  unsigned failed;
};
static void *register_on(void *data) {
  struct registrar *const registrar = data;
  enum { kPages = 100 };
  struct region region = make_table(kPages);
  for (unsigned turn = 0; turn < 100; turn++) {
    region.handle = try_register(&region, XENCOMM_READ_WRITE);
    const uint64_t handle = (uint64_t)region.handle;
    if (region.handle <= 0 || xencomm_op(XENCOMM_extend, handle, 1, kPages - 1, 0) != 0 ||
        extraversion(&region, kBase + (kPages - 1) * kPage) != 0 ||
        xencomm_op(XENCOMM_unregister, handle, 0, 0, 0) != 0) {
      registrar->failed++;
    }
  }
  end_table(&region);
  return NULL;
}
void check_registering_at_once(void) {
  struct registrar registrars[4] = {0};
  for (unsigned i = 0; i < 4; i++) {
    CHECK(pthread_create(&registrars[i].thread, NULL, register_on, &registrars[i]) == 0);
  }
  for (unsigned i = 0; i < 4; i++) {
    CHECK(pthread_join(registrars[i].thread, NULL) == 0);
    CHECK(registrars[i].failed == 0);
  }
}

// Frames that are Xen's, though a domain may have them.
void check_xen_frames(void) {
  // A PV domain is told where it is by the toolstack's call.
  if (!is_pvh && !is_control) return;
  struct region region = make_table(8);
  uint64_t frame = 0;
  if (is_pvh) {
    struct forge_page place = {.number = 6};
    CHECK(ioctl(region.fd, FORGE_PAGE, &place) == 0);
    frame = place.address;
    struct xen_add_to_physmap add = {
        .domid = DOMID_SELF, .space = XENMAPSPACE_shared_info, .gpfn = frame >> 12};
    put(&region, kPage, &add, sizeof(add));
    struct forge_page argument = {.number = 1};
    CHECK(ioctl(region.fd, FORGE_PAGE, &argument) == 0);
    // Linux finds it where it had it no more: this is the last that is asked of this domain.
    CHECK(call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, argument.virtual_address, 0, 0) == 0);
  } else {
    struct xen_domctl *domctl = calloc(1, sizeof(*domctl));
    domctl->cmd = XEN_DOMCTL_getdomaininfo;
    domctl->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    put(&region, kPage, domctl, sizeof(*domctl));
    struct forge_page argument = {.number = 1};
    CHECK(ioctl(region.fd, FORGE_PAGE, &argument) == 0);
    CHECK(call(__HYPERVISOR_domctl, argument.virtual_address, 0, 0, 0) == 0);
    get(&region, kPage, domctl, sizeof(*domctl));
    frame = domctl->u.getdomaininfo.shared_info_frame << 12;
    free(domctl);
  }
  CHECK(frame != 0);
  put_base(&region, 6, frame);
  CHECK(try_register(&region, XENCOMM_READ_WRITE) == -EFAULT);
  CHECK(try_register(&region, XENCOMM_READ) == -EFAULT);
  put_base(&region, 6, XENCOMM_NO_BASE);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0);
  CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);
  CHECK(close(region.fd) == 0);  // the pages stay: one is not theirs any more
}
