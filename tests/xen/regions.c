// Regions in real Xen, as a guest's kernel uses them, and as a hostile one would: by /dev/forge
// (forge/forge.h). Xen's answers are those of public/xencomm_op.h in hcall/xen.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/xen.h>

#include "hcall/xen/xen/include/public/xencomm_op.h"
#include "tests/xen/check.h"
#include "tests/xen/forge/forge.h"

unsigned checks_passed, checks_failed;

enum { kPage = 4096, kExtraVersion = sizeof(xen_extraversion_t) };
// Where regions of tests lie: a number like any other, as nothing is mapped there.
static const uint64_t kBase = 0x5500000000;

// A region over pages of the kernel's own. Page 0 begins with the table.
struct region {
  int fd;
  uint64_t pages;
  struct xencomm_header header;
  int64_t handle;
};

static int forge;  // for calls alone
static bool is_pvh;
static bool is_control;  // the domain may make the toolstack's calls

static struct forge_call call7(uint64_t index, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                               uint64_t e, uint64_t region) {
  struct forge_call call = {index, a, b, c, d, e, region};
  CHECK(ioctl(forge, FORGE_CALL, &call) == 0);
  return call;
}
static int64_t call(uint64_t index, uint64_t a, uint64_t b, uint64_t c, uint64_t region) {
  return (int64_t)call7(index, a, b, c, 0, 0, region).rax;
}
static int64_t xencomm_op(uint64_t op, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return (int64_t)call7(__HYPERVISOR_xencomm_op, op, a, b, c, d, 0).rax;
}
// With a region.
static int64_t in_region(const struct region *region, unsigned number, uint64_t a, uint64_t b) {
  return call(number | XENCOMM_CALL, a, b, 0, (uint64_t)region->handle);
}

static uint64_t page_address(const struct region *region, uint64_t page) {
  struct forge_page found = {.number = page};
  CHECK(ioctl(region->fd, FORGE_PAGE, &found) == 0);
  return found.address;
}
static void put(const struct region *region, uint64_t at, const void *bytes, size_t size) {
  CHECK(pwrite(region->fd, bytes, size, (off_t)at) == (ssize_t)size);
}
static void get(const struct region *region, uint64_t at, void *bytes, size_t size) {
  CHECK(pread(region->fd, bytes, size, (off_t)at) == (ssize_t)size);
}
static void put_base(const struct region *region, uint64_t index, uint64_t base) {
  put(region, sizeof(region->header) + 8 * index, &base, sizeof(base));
}

// Over `pages` pages, in order, all backed, with a table that is not larger than one of them; not
// registered.
static struct region make_table(uint64_t pages) {
  struct region region = {.fd = open(FORGE_DEVICE, O_RDWR), .pages = pages};
  struct forge_allocate allocate = {.count = pages};
  CHECK(ioctl(region.fd, FORGE_ALLOCATE, &allocate) == 0);
  region.header = (struct xencomm_header){.magic = XENCOMM_REGION_MAGIC,
                                          .version = XENCOMM_REGION_VERSION,
                                          .granule_shift = 12,
                                          .virtual_base = kBase,
                                          .length = pages * kPage,
                                          .base_count = (uint32_t)pages};
  put(&region, 0, &region.header, sizeof(region.header));
  for (uint64_t i = 0; i < pages; i++) put_base(&region, i, page_address(&region, i));
  return region;
}
static int64_t try_register(const struct region *region, uint64_t access) {
  return xencomm_op(XENCOMM_register, page_address(region, 0), access, 0, 0);
}
static struct region make_region(uint64_t pages) {
  struct region region = make_table(pages);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0 && (region.handle & 1) == 1);
  return region;
}
static void end_table(struct region *region) {
  CHECK(ioctl(region->fd, FORGE_FREE) == 0);
  CHECK(close(region->fd) == 0);
}
static void end_region(struct region *region) {
  CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region->handle, 0, 0, 0) == 0);
  end_table(region);
}

static int64_t extraversion(const struct region *region, uint64_t pointer) {
  return in_region(region, __HYPERVISOR_xen_version, XENVER_extraversion, pointer);
}
// What extraversion writes begins so.
static bool has_extraversion(const struct region *region, uint64_t at) {
  char text[kExtraVersion];
  get(region, at, text, sizeof(text));
  return text[0] == '.';
}

static void check_probe(void) {
  CHECK(call(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_version, 0, 0, 0) >> 16 == 4);
  // No region: pointers lead nowhere; where nothing is wanted none is looked at.
  CHECK(call(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_extraversion, kBase, 0, 0) == -EFAULT);
  CHECK(call(__HYPERVISOR_console_io | XENCOMM_CALL, CONSOLEIO_write, 0, kBase, 0) ==
        (is_control ? 0 : -EPERM));
  CHECK(call(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_extraversion, kBase, 0, 12345) ==
        -EFAULT);
  CHECK(call(60 | XENCOMM_CALL, 0, 0, 0, 0) == -ENOSYS);
  CHECK(xencomm_op(3, 0, 0, 0, 0) == -ENOSYS);
}

static void check_pointers(void) {
  struct region region = make_region(8);
  CHECK(extraversion(&region, kBase + kPage) == 0 && has_extraversion(&region, kPage));
  // Registers come back as they went, but for the answer.
  const struct forge_call after =
      call7(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_extraversion, kBase + 2 * kPage, 3, 4,
            5, (uint64_t)region.handle);
  CHECK(after.rax == 0 && after.r10 == 4 && after.r8 == 5 && after.r9 == (uint64_t)region.handle);
  // At the end, over it, before the payload, in the table, outside.
  CHECK(extraversion(&region, kBase + 8 * kPage - kExtraVersion) == 0);
  CHECK(has_extraversion(&region, 8 * kPage - kExtraVersion));
  CHECK(extraversion(&region, kBase + 8 * kPage - kExtraVersion + 1) == -EFAULT);
  CHECK(extraversion(&region, kBase + 8 * kPage) == -EFAULT);
  CHECK(extraversion(&region, kBase + kPage - 1) == -EFAULT);
  CHECK(extraversion(&region, kBase) == -EFAULT);
  CHECK(extraversion(&region, kBase + 64) == -EFAULT);
  CHECK(extraversion(&region, kBase - 1) == -EFAULT);
  CHECK(extraversion(&region, 0) == -EFAULT && extraversion(&region, ~0ull) == -EFAULT);
  CHECK(extraversion(&region, ~0ull - kExtraVersion + 1) == -EFAULT);
  struct xencomm_header header;
  get(&region, 0, &header, sizeof(header));
  CHECK(memcmp(&header, &region.header, sizeof(header)) == 0);

  // Over two pages, in both directions.
  char line[1024], other[1024];
  CHECK(in_region(&region, __HYPERVISOR_xen_version, XENVER_commandline, kBase + kPage) == 0);
  CHECK(in_region(&region, __HYPERVISOR_xen_version, XENVER_commandline, kBase + 3 * kPage - 512) ==
        0);
  get(&region, kPage, line, sizeof(line));
  get(&region, 3 * kPage - 512, other, sizeof(other));
  CHECK(line[0] != 0 && memcmp(line, other, sizeof(line)) == 0);
  const domid_t self = DOMID_SELF;
  put(&region, 5 * kPage - 1, &self, sizeof(self));
  CHECK(in_region(&region, __HYPERVISOR_memory_op, XENMEM_current_reservation,
                  kBase + 5 * kPage - 1) > 0);
  if (!is_control) return end_region(&region);
  struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_physinfo,
                              .interface_version = XEN_SYSCTL_INTERFACE_VERSION};
  put(&region, 5 * kPage - 12, &sysctl, sizeof(sysctl));
  CHECK(in_region(&region, __HYPERVISOR_sysctl, kBase + 5 * kPage - 12, 0) == 0);
  get(&region, 5 * kPage - 12, &sysctl, sizeof(sysctl));
  CHECK(sysctl.u.physinfo.nr_cpus >= 1 && sysctl.u.physinfo.total_pages > 0);
  end_region(&region);
}

// A pointer that stands in memory is one of the region's, too: so many bytes are written there.
static uint64_t nested_size(void) { return is_control ? 64 : 8; }
static uint64_t nested_argument(void) {
  return is_control ? sizeof(struct xen_sysctl) : sizeof(struct gnttab_setup_table);
}
static int64_t write_nested(const struct region *region, uint64_t at, uint64_t buffer) {
  if (!is_control) {
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle_raw(setup.frame_list, (void *)buffer);
    put(region, at, &setup, sizeof(setup));
    const int64_t answer = call(__HYPERVISOR_grant_table_op | XENCOMM_CALL, GNTTABOP_setup_table,
                                kBase + at, 1, (uint64_t)region->handle);
    get(region, at, &setup, sizeof(setup));
    return answer != 0 || setup.status != GNTST_bad_virt_addr ? answer : -EFAULT;
  }
  struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_readconsole,
                              .interface_version = XEN_SYSCTL_INTERFACE_VERSION};
  sysctl.u.readconsole.count = 64;
  set_xen_guest_handle_raw(sysctl.u.readconsole.buffer, (void *)buffer);
  put(region, at, &sysctl, sizeof(sysctl));
  return in_region(region, __HYPERVISOR_sysctl, kBase + at, 0);
}
static void check_nested(void) {
  struct region region = make_region(8);
  CHECK(write_nested(&region, kPage, kBase + 4 * kPage - 4) == 0);
  uint32_t halves[2];
  get(&region, 4 * kPage - 4, halves, sizeof(halves));
  CHECK(halves[0] != 0 && (!is_control || halves[1] != 0));
  struct forge_page raw = {.number = 3};
  CHECK(ioctl(region.fd, FORGE_PAGE, &raw) == 0);
  CHECK(write_nested(&region, kPage, raw.virtual_address) == -EFAULT);
  CHECK(write_nested(&region, kPage, kBase + 8) == -EFAULT);
  CHECK(write_nested(&region, kPage, kBase + 8 * kPage - nested_size() + 1) == -EFAULT);

  // What would be kept beyond the call.
  struct vcpu_register_runstate_memory_area area = {0};
  area.addr.p = kBase + kPage;
  put(&region, kPage, &area, sizeof(area));
  const uint64_t index = __HYPERVISOR_vcpu_op | XENCOMM_CALL;
  CHECK(call(index, VCPUOP_register_runstate_memory_area, 0, kBase + kPage,
             (uint64_t)region.handle) == -EOPNOTSUPP);
  CHECK(call(index, VCPUOP_register_vcpu_time_memory_area, 0, kBase + kPage,
             (uint64_t)region.handle) == -EOPNOTSUPP);
  end_region(&region);
}

static void check_headers(void) {
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

// Frames that are Xen's, though a domain may have them.
static void check_xen_frames(void) {
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

static void check_read_only(void) {
  struct region region = make_table(4);
  region.handle = try_register(&region, XENCOMM_READ);
  CHECK(region.handle > 0);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT && !has_extraversion(&region, kPage));
  const char kText[] = "regions: read\n";
  put(&region, kPage, kText, sizeof(kText));
  const int64_t written = call(__HYPERVISOR_console_io | XENCOMM_CALL, CONSOLEIO_write,
                               sizeof(kText) - 1, kBase + kPage, (uint64_t)region.handle);
  CHECK(written == (is_control ? 0 : -EPERM));
  end_region(&region);
}

static void check_extend(void) {
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

static void check_ids(void) {
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

static void check_arguments(void) {
  struct region region = make_table(8);
  const uint64_t bases[] = {page_address(&region, 5), page_address(&region, 6)};
  put_base(&region, 5, XENCOMM_NO_BASE);
  put_base(&region, 6, XENCOMM_NO_BASE);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  put_base(&region, 5, bases[0]);
  put_base(&region, 6, bases[1]);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 5, 2, XENCOMM_ARGUMENTS_ONLY) == 0);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 5, 2, XENCOMM_ANY_POINTER) == -EEXIST);

  // The argument is reached, in a page and over two; what stands in it is not, wherever it points.
  const uint64_t places[] = {5 * kPage, 6 * kPage - 64};
  for (unsigned i = 0; i < 2; i++) {
    const uint64_t at = places[i];
    CHECK(write_nested(&region, at, kBase + 2 * kPage) == 0);
    uint64_t result;
    get(&region, 2 * kPage, &result, sizeof(result));
    CHECK(result != 0);
    CHECK(write_nested(&region, at, kBase + 5 * kPage + 2048) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + 6 * kPage + 2048) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + at + nested_argument()) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + at + nested_argument() - 8) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + at) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + 5 * kPage - 4) == -EFAULT);
  }
  CHECK(extraversion(&region, kBase + 5 * kPage + 16) == 0);
  CHECK(has_extraversion(&region, 5 * kPage + 16));

  // A list of calls there, whose entries point elsewhere, there, and at the list itself.
  const uint64_t pointers[] = {kBase + 3 * kPage, kBase + 6 * kPage, kBase + 5 * kPage + 128,
                               kBase + 5 * kPage, kBase + 4 * kPage};
  const int64_t results[] = {0, -EFAULT, -EFAULT, -EFAULT, 0};
  struct multicall_entry list[5] = {{0}};
  for (unsigned i = 0; i < 5; i++) {
    list[i].op = __HYPERVISOR_xen_version;
    list[i].args[0] = XENVER_extraversion;
    list[i].args[1] = pointers[i];
  }
  put(&region, 5 * kPage, list, sizeof(list));
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + 5 * kPage, 5) == 0);
  get(&region, 5 * kPage, list, sizeof(list));
  for (unsigned i = 0; i < 5; i++) CHECK((int64_t)list[i].result == results[i]);
  CHECK(has_extraversion(&region, 3 * kPage) && has_extraversion(&region, 4 * kPage));
  end_region(&region);
}

// What is for reading is so for arguments, too: a page that is a page table may be read.
static void check_arguments_read_only(void) {
  struct region region = make_table(8);
  const uint64_t base = page_address(&region, 5);
  put_base(&region, 5, XENCOMM_NO_BASE);
  region.handle = try_register(&region, XENCOMM_READ);
  put_base(&region, 5, base);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 5, 1, XENCOMM_ARGUMENTS_ONLY) == 0);
  CHECK(extraversion(&region, kBase + 5 * kPage) == -EFAULT);
  CHECK(!has_extraversion(&region, 5 * kPage));
  const domid_t self = DOMID_SELF;
  put(&region, 5 * kPage, &self, sizeof(self));
  CHECK(in_region(&region, __HYPERVISOR_memory_op, XENMEM_current_reservation, kBase + 5 * kPage) >
        0);
  end_region(&region);
}

// A process's list could have the kernel return to where it likes.
static void check_iret_in_list(void) {
  if (is_pvh) return;
  struct region region = make_region(4);
  struct multicall_entry entry = {.op = __HYPERVISOR_iret};
  put(&region, kPage, &entry, sizeof(entry));
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + kPage, 1) == 0);
  get(&region, kPage, &entry, sizeof(entry));
  CHECK((int64_t)entry.result == -EPERM);
  end_region(&region);
}

static void check_multicall(void) {
  struct region region = make_region(20);
  struct multicall_entry list[4] = {{0}};
  list[0].op = __HYPERVISOR_xencomm_op;
  list[0].args[0] = XENCOMM_unregister;
  list[0].args[1] = (uint64_t)region.handle;
  list[1].op = __HYPERVISOR_xen_version | XENCOMM_CALL;
  list[2].op = __HYPERVISOR_xen_version;
  list[2].args[0] = XENVER_extraversion;
  list[2].args[1] = kBase + 3 * kPage;
  const struct multicall_entry good = list[2];
  list[3] = good;
  list[3].args[1] = kBase;
  put(&region, 2 * kPage - 64, list, sizeof(list));
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + 2 * kPage - 64, 4) == 0);
  get(&region, 2 * kPage - 64, list, sizeof(list));
  CHECK((int64_t)list[0].result == -EPERM && (int64_t)list[1].result == -ENOSYS);
  CHECK(list[2].result == 0 && has_extraversion(&region, 3 * kPage));
  CHECK((int64_t)list[3].result == -EFAULT);
  // A list that leaves the region is done up to there.
  put(&region, 20 * kPage - 64, &good, 64);
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + 20 * kPage - 64, 2) == -EFAULT);

  // One that is stopped often keeps the region and the bit.
  enum { kEntries = 16 * kPage / 64 };
  static struct multicall_entry many[kEntries];
  for (unsigned i = 0; i < kEntries; i++) {
    many[i] = good;
    many[i].result = 77;
    many[i].args[1] = kBase + 19 * kPage;
  }
  for (unsigned turn = 0; turn < 50; turn++) {
    put(&region, kPage, many, sizeof(many));
    CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + kPage, kEntries) == 0);
  }
  get(&region, kPage, many, sizeof(many));
  unsigned done = 0;
  for (unsigned i = 0; i < kEntries; i++) done += many[i].result == 0;
  CHECK(done == kEntries);
  end_region(&region);
}

// 1 GiB, of which only single pages are there, the last one behind three bases.
static void check_large(void) {
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
static void check_many_pages(void) {
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

// Granules of 64 KiB want pages in a row, which a PV domain's are not.
static void check_granules(void) {
  struct region region = make_table(4);
  struct xencomm_header header = region.header;
  header.granule_shift = 16;
  header.length = 2 << 16;
  header.base_count = 2;
  put(&region, 0, &header, sizeof(header));
  const uint64_t base = page_address(&region, 0);
  put_base(&region, 1, base & ~0xffffull);
  const int64_t handle = try_register(&region, XENCOMM_READ_WRITE);
  // The header's page is not the first of a granule but by chance.
  CHECK((base & 0xffff) == 0 || handle == -EINVAL);
  if (handle > 0) CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)handle, 0, 0, 0) == 0);

  // The page form: table and payload share a page.
  header = region.header;
  header.length = kPage;
  header.base_count = 1;
  put(&region, 0, &header, sizeof(header));
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0);
  CHECK(extraversion(&region, kBase + 40) == 0 && has_extraversion(&region, 40));
  CHECK(extraversion(&region, kBase + 39) == -EFAULT && extraversion(&region, kBase) == -EFAULT);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT);
  end_region(&region);
}

// A frame that is given away while a region has it stays the domain's until the region ends.
static void check_balloon(void) {
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

// Calls by one processor, while the other ends their region and begins it anew.
struct caller {
  pthread_t thread;
  const struct region *region;
  atomic_bool stop;
  uint64_t calls, faults, others;
};
static void *call_on(void *data) {
  struct caller *const caller = data;
  while (!caller->stop) {
    const int64_t answer = extraversion(caller->region, kBase + kPage);
    caller->calls++;
    if (answer == -EFAULT) caller->faults++;
    if (answer != 0 && answer != -EFAULT) caller->others++;
  }
  return NULL;
}
static void check_ends_under_calls(void) {
  struct region region = make_table(3);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  struct caller caller = {.region = &region};
  CHECK(pthread_create(&caller.thread, NULL, call_on, &caller) == 0);
  for (unsigned turn = 0; turn < 300; turn++) {
    usleep(500);
    CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);
    region.handle = try_register(&region, XENCOMM_READ_WRITE);
    CHECK(region.handle > 0);
  }
  caller.stop = true;
  CHECK(pthread_join(caller.thread, NULL) == 0);
  CHECK(caller.others == 0 && caller.calls > caller.faults);
  end_region(&region);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  forge = open(FORGE_DEVICE, O_RDWR);
  CHECK(forge >= 0);
  if (forge < 0) return close_checks();
  char kind[16] = "";
  int fd = open("/proc/xen/capabilities", O_RDONLY);
  is_control = read(fd, kind, sizeof(kind) - 1) > 0 && strncmp(kind, "control_d", 9) == 0;
  close(fd);
  fd = open("/sys/hypervisor/guest_type", O_RDONLY);
  CHECK(read(fd, kind, sizeof(kind) - 1) > 0);
  is_pvh = strncmp(kind, "PVH", 3) == 0;
  close(fd);
  printf("the domain is %s\n", is_pvh ? "PVH" : "PV");
  static const struct {
    const char *name;
    void (*check)(void);
  } kChecks[] = {
      {"probe", check_probe},
      {"pointers", check_pointers},
      {"nested", check_nested},
      {"headers", check_headers},
      {"read only", check_read_only},
      {"extend", check_extend},
      {"ids", check_ids},
      {"arguments", check_arguments},
      {"arguments, read only", check_arguments_read_only},
      {"iret in a list", check_iret_in_list},
      {"multicall", check_multicall},
      {"large", check_large},
      {"many pages", check_many_pages},
      {"granules", check_granules},
      {"balloon", check_balloon},
      {"ends under calls", check_ends_under_calls},
      {"Xen's frames", check_xen_frames},
  };
  for (unsigned i = 0; i < sizeof(kChecks) / sizeof(kChecks[0]); i++) {
    const unsigned failed = checks_failed;
    kChecks[i].check();
    if (checks_failed != failed) printf("failed: %s\n", kChecks[i].name);
  }
  return close_checks();
}
