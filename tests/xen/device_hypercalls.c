// privcmd's hypercalls, from memory of every kind, its restriction, and the hypercall device, whose
// memory is for their buffers.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/domctl.h>
#include <xen/memory.h>
#include <xen/sysctl.h>
#include <xen/version.h>

#include "tests/xen/check.h"
#include "tests/xen/devices.h"

static long extraversion(const void *place) {
  return hypercall(__HYPERVISOR_xen_version, XENVER_extraversion, (uintptr_t)place);
}

static bool has_extraversion(char *place) {
  memset(place, '?', sizeof(xen_extraversion_t));
  return extraversion(place) == 0 && place[0] == '.' &&
         memchr(place, 0, sizeof(xen_extraversion_t)) != NULL;
}

static void check_pointers(void) {
  static char data[sizeof(xen_extraversion_t)];
  char stack[sizeof(xen_extraversion_t)];
  char *heap = malloc(sizeof(xen_extraversion_t));
  CHECK(has_extraversion(data));
  CHECK(has_extraversion(stack));
  CHECK(has_extraversion(heap));
  free(heap);
  char *pages = pages_before_nothing(2);
  CHECK(has_extraversion(pages + kPage - 5));
  CHECK(has_extraversion(pages + 2 * kPage - sizeof(xen_extraversion_t)));

  CHECK(extraversion(NULL) == -EFAULT);
  CHECK(extraversion(pages + 2 * kPage - sizeof(xen_extraversion_t) + 1) == -EFAULT);
  CHECK(extraversion(pages + 2 * kPage) == -EFAULT);
  CHECK(extraversion((void *)0x8000000000000000) == -EFAULT);
  CHECK(extraversion((void *)0xffff800000000000) == -EFAULT);
  CHECK(extraversion((void *)-8) == -EFAULT);
  // What is only read may be read-only.
  CHECK(mprotect(pages, kPage, PROT_READ) == 0);
  CHECK(extraversion(pages) == -EFAULT);
  CHECK(hypercall(__HYPERVISOR_memory_op, XENMEM_current_reservation, (uintptr_t)pages) > 0);
  CHECK(extraversion(pages + kPage - 5) == -EFAULT);
  CHECK(mprotect(pages, kPage, PROT_NONE) == 0);
  CHECK(extraversion(pages) == -EFAULT);
  CHECK(hypercall(__HYPERVISOR_memory_op, XENMEM_current_reservation, (uintptr_t)pages) == -EFAULT);
  munmap(pages, 2 * kPage);
}

static void check_nested_pointers(void) {
  xen_domctl_t domctl = {.cmd = XEN_DOMCTL_getdomaininfo,
                         .interface_version = XEN_DOMCTL_INTERFACE_VERSION};
  CHECK(hypercall(__HYPERVISOR_domctl, (uintptr_t)&domctl, 0) == 0);
  CHECK(domctl.domain == 0 && domctl.u.getdomaininfo.domain == 0);
  CHECK(domctl.u.getdomaininfo.tot_pages > 0);
  domctl.interface_version++;
  CHECK(hypercall(__HYPERVISOR_domctl, (uintptr_t)&domctl, 0) == -EACCES);

  xen_domctl_getdomaininfo_t *list = calloc(4, sizeof(*list));
  xen_sysctl_t sysctl = {.cmd = XEN_SYSCTL_getdomaininfolist,
                         .interface_version = XEN_SYSCTL_INTERFACE_VERSION,
                         .u.getdomaininfolist = {.max_domains = 4}};
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, list);
  CHECK(hypercall(__HYPERVISOR_sysctl, (uintptr_t)&sysctl, 0) == 0);
  CHECK(sysctl.u.getdomaininfolist.num_domains >= 1 && list[0].tot_pages > 0);
  CHECK(sysctl.u.getdomaininfolist.buffer.p == list);
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, (void *)8);
  CHECK(hypercall(__HYPERVISOR_sysctl, (uintptr_t)&sysctl, 0) == -EFAULT);
  sysctl.u.getdomaininfolist.max_domains = 0;
  CHECK(hypercall(__HYPERVISOR_sysctl, (uintptr_t)&sysctl, 0) == 0);
  free(list);

  multicall_entry_t entries[3] = {
      {.op = __HYPERVISOR_xen_version, .args = {XENVER_version}},
      {.op = __HYPERVISOR_xen_version, .args = {XENVER_extraversion, 8}},
      {.op = 60},
  };
  CHECK(hypercall(__HYPERVISOR_multicall, (uintptr_t)entries, 3) == 0);
  CHECK(entries[0].result >> 16 == 4);
  CHECK((long)entries[1].result == -EFAULT && (long)entries[2].result == -ENOSYS);
}

void check_hypercalls(void) {
  CHECK(hypercall(__HYPERVISOR_xen_version, XENVER_version, 0) >> 16 == 4);
  CHECK(hypercall(__HYPERVISOR_xen_version, 999, 0) == -ENOSYS);
  CHECK(hypercall(60, 0, 0) == -ENOSYS);
  CHECK(hypercall(100, 0, 0) == -ENOSYS);
  CHECK(hypercall(128, 0, 0) == -ENOSYS);
  // A number has 64 bits, and none of them opts in to anything.
  for (int bit = 6; bit < 64; bit++) {
    const uint64_t number = __HYPERVISOR_xen_version | (uint64_t)1 << bit;
    CHECK(hypercall(number, XENVER_version, 0) == -ENOSYS);
  }
  check_pointers();
  check_nested_pointers();

  // The structure of the ioctl itself, anywhere.
  char *pages = pages_before_nothing(1);
  struct hypercall *call = (struct hypercall *)(pages + kPage - sizeof(*call));
  *call = (struct hypercall){.op = __HYPERVISOR_xen_version, .arg = {XENVER_version}};
  CHECK(ioctl(privcmd, kHypercall, call) >> 16 == 4);
  CHECK_REFUSED(ioctl(privcmd, kHypercall, (char *)call + 8), EFAULT);
  CHECK_REFUSED(ioctl(privcmd, kHypercall, NULL), EFAULT);
  CHECK_REFUSED(ioctl(privcmd, kHypercall, -1), EFAULT);
  memmove(pages + 1, call, sizeof(*call));
  CHECK(ioctl(privcmd, kHypercall, pages + 1) >> 16 == 4);
  CHECK(mprotect(pages, kPage, PROT_READ) == 0);
  CHECK(ioctl(privcmd, kHypercall, call) >> 16 == 4);
  // Who may open it at all may call.
  const int read_only = open("/dev/xen/privcmd", O_RDONLY);
  CHECK(ioctl(read_only, kHypercall, call) >> 16 == 4);
  CHECK(close(read_only) == 0);
  const int copy = dup(privcmd);
  CHECK(ioctl(copy, kHypercall, call) >> 16 == 4);
  CHECK(close(copy) == 0);
  CHECK_REFUSED(ioctl(copy, kHypercall, call), EBADF);
  munmap(pages, kPage);

  CHECK_REFUSED(ioctl(privcmd, _IOC(_IOC_NONE, 'P', 0xff, 0), 0), ENOTTY);
  CHECK_REFUSED(ioctl(privcmd, _IOC(_IOC_NONE, 'P', 0, 8), 0), ENOTTY);
  CHECK_REFUSED(ioctl(privcmd, kNotify, 0), ENOTTY);
  CHECK_REFUSED(ioctl(privcmd, TCGETS, 0), ENOTTY);
  // Linux before 6.6 does not know them, and Debian's later ones are built without.
  errno = 0;
  CHECK(ioctl(privcmd, kIrqFd, 0) == -1 && (errno == ENOTTY || errno == EOPNOTSUPP));
  errno = 0;
  CHECK(ioctl(privcmd, kIoEventFd, 0) == -1 && (errno == ENOTTY || errno == EOPNOTSUPP));

  const int idle = open("/dev/xen/privcmd", O_RDWR | O_NONBLOCK);
  char byte = 0;
  CHECK_REFUSED(read(idle, &byte, 1), EINVAL);
  CHECK_REFUSED(write(idle, &byte, 1), EINVAL);
  CHECK_REFUSED(lseek(idle, 0, SEEK_SET), ESPIPE);
  CHECK(close(idle) == 0);
}

static void check_dm_op(void) {
  struct dm_op_buffer buffers[17];
  char *pages = pages_before_nothing(2);
  for (int i = 0; i < 17; i++) buffers[i] = (struct dm_op_buffer){pages, 8};
  struct dm_op op = {.dom = kNobody, .num = 0, .bufs = NULL};
  CHECK(ioctl(privcmd, kDmOp, &op) == 0);
  CHECK_REFUSED(ioctl(privcmd, kDmOp, NULL), EFAULT);
  op.num = 1;
  CHECK_REFUSED(ioctl(privcmd, kDmOp, &op), EFAULT);
  op = (struct dm_op){.dom = kNobody, .num = 17, .bufs = buffers};
  CHECK_REFUSED(ioctl(privcmd, kDmOp, &op), E2BIG);
  op.bufs = NULL;
  CHECK_REFUSED(ioctl(privcmd, kDmOp, &op), E2BIG);
  op = (struct dm_op){.dom = kNobody, .num = 16, .bufs = buffers};
  buffers[15].size = 4097;
  CHECK_REFUSED(ioctl(privcmd, kDmOp, &op), E2BIG);
  buffers[15] = (struct dm_op_buffer){(void *)0xffff800000000000, 8};
  CHECK_REFUSED(ioctl(privcmd, kDmOp, &op), EFAULT);
  munmap(pages, 2 * kPage);
}

static void check_restriction(void) {
  const int fd = open_device("/dev/xen/privcmd");
  const int copy = dup(fd);
  struct hypercall call = {.op = __HYPERVISOR_xen_version, .arg = {XENVER_version}};
  struct mmap_batch_v2 batch = {.num = 1, .dom = kNobody - 1};
  struct dm_op dm = {.dom = kNobody - 1};
  struct mmap_resource resource = {.dom = kNobody - 1, .num = 1};
  struct mmap_frames frames = {.dom = kNobody - 1};

  CHECK_REFUSED(ioctl(fd, kRestrict, NULL), EFAULT);
  uint16_t domid = 0x7ff4;  // DOMID_INVALID: to nobody
  CHECK(ioctl(fd, kRestrict, &domid) == 0);
  CHECK(ioctl(fd, kHypercall, &call) >> 16 == 4);
  domid = kNobody;
  CHECK(ioctl(fd, kRestrict, &domid) == 0);
  CHECK(ioctl(fd, kRestrict, &domid) == 0);
  CHECK_REFUSED(ioctl(fd, kHypercall, &call), EPERM);
  CHECK_REFUSED(ioctl(fd, kHypercall, NULL), EPERM);
  CHECK_REFUSED(ioctl(copy, kHypercall, &call), EPERM);
  // Whatever else is wrong with a call, and nothing of it is written.
  char extraversion[sizeof(xen_extraversion_t)] = "";
  multicall_entry_t list[2] = {
      {.op = __HYPERVISOR_xen_version, .result = 7, .args = {XENVER_extraversion}},
      {.op = __HYPERVISOR_multicall, .result = 7},
  };
  list[0].args[1] = (uintptr_t)extraversion;
  call.arg[0] = XENVER_extraversion;
  call.arg[1] = (uintptr_t)extraversion;
  CHECK_REFUSED(ioctl(fd, kHypercall, &call), EPERM);
  call.arg[1] = 8;
  CHECK_REFUSED(ioctl(fd, kHypercall, &call), EPERM);
  struct hypercall lists = {.op = __HYPERVISOR_multicall, .arg = {(uintptr_t)list, 2}};
  CHECK_REFUSED(ioctl(fd, kHypercall, &lists), EPERM);
  lists.arg[0] = (uintptr_t)(list + 1);
  lists.arg[1] = 1;
  CHECK_REFUSED(ioctl(fd, kHypercall, &lists), EPERM);
  lists.arg[0] = 8;
  CHECK_REFUSED(ioctl(fd, kHypercall, &lists), EPERM);
  lists.arg[1] = 0;
  CHECK_REFUSED(ioctl(fd, kHypercall, &lists), EPERM);
  CHECK(list[0].result == 7 && list[1].result == 7 && extraversion[0] == '\0');
  call.arg[0] = XENVER_version;
  CHECK_REFUSED(ioctl(fd, kMmap, &frames), is_translated() ? ENOSYS : EPERM);
  CHECK_REFUSED(ioctl(fd, kMmapBatch, &batch), EPERM);
  CHECK_REFUSED(ioctl(fd, kMmapBatchV2, &batch), EPERM);
  CHECK_REFUSED(ioctl(fd, kMmapBatchV2, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, kDmOp, &dm), EPERM);
  dm.num = 17;
  CHECK_REFUSED(ioctl(fd, kDmOp, &dm), EPERM);
  dm.num = 1;
  CHECK_REFUSED(ioctl(fd, kDmOp, &dm), EPERM);
  dm.num = 0;
  CHECK_REFUSED(ioctl(fd, kMmapResource, &resource), EPERM);
  batch.dom = dm.dom = resource.dom = kNobody;
  batch.num = 0;
  CHECK_REFUSED(ioctl(fd, kMmapBatchV2, &batch), EINVAL);
  CHECK(ioctl(fd, kDmOp, &dm) == 0);
  CHECK_REFUSED(ioctl(fd, kMmapResource, &resource), EINVAL);
  CHECK_REFUSED(ioctl(fd, _IOC(_IOC_NONE, 'P', 0xff, 0), 0), ENOTTY);
  domid = kNobody + 1;
  CHECK_REFUSED(ioctl(fd, kRestrict, &domid), EINVAL);
  CHECK_REFUSED(ioctl(copy, kRestrict, &domid), EINVAL);
  domid = 0x7ff4;
  CHECK_REFUSED(ioctl(fd, kRestrict, &domid), EINVAL);
  CHECK(ioctl(privcmd, kHypercall, &call) >> 16 == 4);
  CHECK(close(fd) == 0 && close(copy) == 0);
}

static void write_as_child(void *page) {
  CHECK(strcmp(page, "parent") == 0);
  strcpy(page, "child");
  CHECK(has_extraversion((char *)page + 64));
}

static void find_no_page(void *page) { CHECK(read_raises(page, SIGSEGV)); }

static void check_buffer_mappings(int fd) {
  char *pages = mmap(NULL, 3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(pages != MAP_FAILED);
  bool is_zero = true;
  for (int i = 0; i < 3 * kPage; i++) is_zero = is_zero && pages[i] == 0;
  CHECK(is_zero);
  CHECK(has_extraversion(pages));
  CHECK(has_extraversion(pages + kPage - 5));
  CHECK(has_extraversion(pages + 2 * kPage - 5));

  // Each mapping has pages of its own, whatever its place in the file.
  strcpy(pages, "parent");
  char *others = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(others != MAP_FAILED && others[0] == 0);
  CHECK(munmap(others, kPage) == 0);
  others = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * kPage);
  CHECK(others != MAP_FAILED && others[0] == 0 && has_extraversion(others));
  CHECK_NO_MAPPING(mremap(others, kPage, 2 * kPage, MREMAP_MAYMOVE), EFAULT);
  CHECK(munmap(others, kPage) == 0);

  check_in_child(write_as_child, pages);
  CHECK(strcmp(pages, "child") == 0);
  CHECK(madvise(pages, 3 * kPage, MADV_DONTFORK) == 0);
  check_in_child(find_no_page, pages);
  CHECK(mprotect(pages, 3 * kPage, PROT_READ) == 0 && extraversion(pages) == -EFAULT);
  CHECK(mprotect(pages, 3 * kPage, PROT_READ | PROT_WRITE) == 0 && has_extraversion(pages));
  CHECK(munmap(pages + kPage, kPage) == 0);
  CHECK(read_raises(pages + kPage, SIGSEGV));
  CHECK(has_extraversion(pages) && has_extraversion(pages + 2 * kPage));
  CHECK(extraversion(pages + kPage - 5) == -EFAULT);
  CHECK(munmap(pages, 3 * kPage) == 0);
}

static void close_one_by_one(void) {
  for (int fd = 3; fd < 1024; ++fd) close(fd);
}
static void close_by_range(void) { CHECK(close_range(3, ~0U, 0) == 0); }
static void close_by_number(void) { CHECK(syscall(SYS_close_range, 3, ~0U, 0) == 0); }
static void close_from(void) { closefrom(3); }

// As daemons do at their start. What is opened then has the lowest number, and works.
static void use_after_closing(void *close_all) {
  for (int time = 0; time < 2; ++time) {
    CHECK(hypercall(__HYPERVISOR_xen_version, XENVER_version, 0) > 0);
    (*(void (**)(void))close_all)();
    CHECK_REFUSED(ioctl(privcmd, kHypercall, NULL), EBADF);
    privcmd = open_device("/dev/xen/privcmd");
    CHECK(privcmd == 3);
    const int fd = open_device("/dev/xen/hypercall");
    char *page = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(fd == 4 && page != MAP_FAILED && has_extraversion(page));
    CHECK(close(fd) == 0);
  }
}

void check_buffers(void) {
  void (*const ways[])(void) = {close_one_by_one, close_by_range, close_by_number, close_from};
  for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); ++i) {
    void (*way)(void) = ways[i];
    check_in_child(use_after_closing, &way);
  }
  check_dm_op();
  check_restriction();

  const int fd = open_device("/dev/xen/hypercall");
  check_buffer_mappings(fd);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 8), EINVAL);
  char *pages = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(pages != MAP_FAILED && has_extraversion(pages + kPage - sizeof(xen_extraversion_t)));
  CHECK(munmap(pages, 10) == 0);
  pages = mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(pages != MAP_FAILED && pages[0] == 0 && write_raises(pages, SIGSEGV));
  CHECK(extraversion(pages) == -EFAULT);
  CHECK(munmap(pages, kPage) == 0);
  pages = mmap(NULL, kPage, PROT_NONE, MAP_SHARED, fd, 0);
  CHECK(pages != MAP_FAILED && read_raises(pages, SIGSEGV));
  // At a place that is taken.
  CHECK(mmap(pages, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == pages);
  CHECK(has_extraversion(pages));

  struct hypercall call = {.op = __HYPERVISOR_xen_version, .arg = {XENVER_version}};
  CHECK_REFUSED(ioctl(fd, kHypercall, &call), ENOTTY);
  CHECK_REFUSED(ioctl(fd, _IOC(_IOC_NONE, 'P', 0xff, 0), 0), ENOTTY);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  CHECK_REFUSED(read(fd, &call, 1), EINVAL);
  CHECK_REFUSED(write(fd, &call, 1), EINVAL);
  CHECK(close(fd) == 0);
  // A mapping outlives its descriptor.
  CHECK(has_extraversion(pages));
  CHECK(munmap(pages, kPage) == 0);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 0), EBADF);

  const int read_only = open("/dev/xen/hypercall", O_RDONLY);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, read_only, 0), EACCES);
  // To Linux, what can never be written is not shared.
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_SHARED, read_only, 0), EINVAL);
  CHECK(close(read_only) == 0);
}
