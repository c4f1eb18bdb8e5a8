// Linux's devices of Xen by open, ioctl, mmap, read, write, poll and close, without a library of
// Xen's: what they answer in dom0 of real Xen, and where they refuse.
//
// A check that only Linux's own drivers pass is a bug of the other, or of the check.
#include "tests/xen/devices.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/domctl.h>
#include <xen/features.h>
#include <xen/memory.h>
#include <xen/version.h>

#include "tests/xen/check.h"

unsigned checks_passed, checks_failed;

int privcmd;

// Of what succeeds errno says nothing: it stays.
int open_device(const char *path) {
  errno = E2BIG;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && errno == E2BIG);
  return fd;
}

long hypercall(uint64_t op, uint64_t a, uint64_t b) {
  struct hypercall call = {.op = op, .arg = {a, b}};
  errno = E2BIG;
  const int answer = ioctl(privcmd, kHypercall, &call);
  CHECK(answer < 0 || errno == E2BIG);
  return answer < 0 ? -errno : answer;
}

char *pages_before_nothing(size_t pages) {
  char *start = mmap(NULL, (pages + 1) * kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  CHECK(start != MAP_FAILED);
  CHECK(munmap(start + pages * kPage, kPage) == 0);
  return start;
}

static sigjmp_buf before_touch;
static volatile sig_atomic_t raised;

static void note_signal(int signal) {
  raised = signal;
  siglongjmp(before_touch, 1);
}

static bool touch_raises(volatile char *place, bool writes, int signal) {
  struct sigaction note = {.sa_handler = note_signal}, bus, segv;
  sigaction(SIGBUS, &note, &bus);
  sigaction(SIGSEGV, &note, &segv);
  raised = 0;
  if (sigsetjmp(before_touch, 1) == 0) {
    const char was = *place;
    if (writes) *place = was;
  }
  sigaction(SIGBUS, &bus, NULL);
  sigaction(SIGSEGV, &segv, NULL);
  return raised == signal;
}

bool read_raises(const volatile char *place, int signal) {
  return touch_raises((volatile char *)place, false, signal);
}

bool write_raises(volatile char *place, int signal) { return touch_raises(place, true, signal); }

void check_in_child(void (*check)(void *), void *argument) {
  fflush(stdout);
  unsigned *counts = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const pid_t child = fork();
  if (child == 0) {
    checks_passed = checks_failed = 0;
    check(argument);
    counts[0] = checks_passed;
    counts[1] = checks_failed;
    fflush(stdout);
    _exit(0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  checks_passed += counts[0];
  checks_failed += counts[1];
  munmap(counts, kPage);
}

static long domctl(struct xen_domctl *op) {
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  return hypercall(__HYPERVISOR_domctl, (uintptr_t)op, 0);
}

bool add_page(uint16_t domid, uint64_t gfn) {
  xen_pfn_t extent = gfn;
  struct xen_memory_reservation reservation = {.nr_extents = 1, .domid = domid};
  set_xen_guest_handle(reservation.extent_start, &extent);
  return hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, (uintptr_t)&reservation) == 1;
}

uint16_t create_domain(void) {
  struct xen_domctl create = {.cmd = XEN_DOMCTL_createdomain,
                              .u.createdomain = {
                                  .flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
                                  .max_vcpus = 1,
                                  .max_evtchn_port = 1023,
                                  .max_grant_frames = kGrantFrames,
                                  .max_maptrack_frames = 1024,
                                  .grant_opts = XEN_DOMCTL_GRANT_version(1),
                                  .arch.emulation_flags = XEN_X86_EMU_LAPIC,
                              }};
  CHECK(domctl(&create) == 0);
  const uint16_t domid = create.domain;
  struct xen_domctl vcpus = {.cmd = XEN_DOMCTL_max_vcpus, .domain = domid, .u.max_vcpus.max = 1};
  CHECK(domctl(&vcpus) == 0);
  struct xen_domctl memory = {
      .cmd = XEN_DOMCTL_max_mem, .domain = domid, .u.max_mem.max_memkb = (kPages + 64) * 4};
  CHECK(domctl(&memory) == 0);
  struct xen_domctl paging = {.cmd = XEN_DOMCTL_shadow_op,
                              .domain = domid,
                              .u.shadow_op = {.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, .mb = 2}};
  CHECK(domctl(&paging) == 0);
  for (uint64_t gfn = 0; gfn < kPages; gfn++) CHECK(add_page(domid, gfn));
  return domid;
}

void destroy_domain(uint16_t domid) {
  struct xen_domctl destroy = {.cmd = XEN_DOMCTL_destroydomain, .domain = domid};
  long answer;
  do {
    answer = domctl(&destroy);
  } while (answer == -EAGAIN || answer == -ERESTART);
  CHECK(answer == 0);
}

bool is_translated(void) {
  xen_feature_info_t features = {.submap_idx = 0};
  CHECK(hypercall(__HYPERVISOR_xen_version, XENVER_get_features, (uintptr_t)&features) == 0);
  return (features.submap & (1u << XENFEAT_auto_translated_physmap)) != 0;
}

// A domain that Xen translates for loses a page where it was once it has mapped it as another's,
// too (p2m_add_page), and domain 0 has nobody else here. A machine's keeps it.
static bool loses_own_pages(void) {
  // An ioctl of a machine's gntalloc that Linux does not know.
  enum { kShareOffset = 0x184741 };
  const int fd = open_device("/dev/xen/gntalloc");
  const bool is_linux = ioctl(fd, kShareOffset, NULL) == -1 && errno == ENOTTY;
  CHECK(close(fd) == 0);
  return is_linux && is_translated();
}

static bool is_device(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISCHR(status.st_mode) && access(path, R_OK | W_OK) == 0;
}

static void check_names(void) {
  CHECK(is_device("/dev/xen/privcmd"));
  CHECK(is_device("/dev/xen/hypercall"));
  CHECK(is_device("/dev/xen/evtchn"));
  CHECK(is_device("/dev/xen/xenbus"));
  struct stat status;
  CHECK(fstat(privcmd, &status) == 0 && S_ISCHR(status.st_mode));
  CHECK_REFUSED(open("/dev/xen/nothing", O_RDWR), ENOENT);
  CHECK_REFUSED(open("/dev/xen/privcmd/more", O_RDWR), ENOTDIR);
  CHECK_REFUSED(open("/dev/xen/privcmd", O_RDWR | O_DIRECTORY), ENOTDIR);
  CHECK_REFUSED(open("/dev/xen/privcmd", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
  CHECK((fcntl(privcmd, F_GETFL) & O_ACCMODE) == O_RDWR);
  CHECK(fcntl(privcmd, F_GETFD) == FD_CLOEXEC);
  CHECK(close(open_device("/dev/xen/xenbus")) == 0);

  // xenfs has its files by their older names.
  char capabilities[64] = "";
  const int fd = open("/proc/xen/capabilities", O_RDONLY);
  CHECK(read(fd, capabilities, sizeof(capabilities) - 1) == 10);
  CHECK(strcmp(capabilities, "control_d\n") == 0);
  CHECK(read(fd, capabilities, sizeof(capabilities)) == 0);
  CHECK(close(fd) == 0);
  CHECK(access("/proc/xen/xsd_kva", F_OK) == 0 && access("/proc/xen/xsd_port", F_OK) == 0);
  const int old_privcmd = open_device("/proc/xen/privcmd");
  struct hypercall call = {.op = __HYPERVISOR_xen_version, .arg = {XENVER_version}};
  CHECK(ioctl(old_privcmd, kHypercall, &call) >> 16 == 4);
  CHECK(close(old_privcmd) == 0);
  CHECK(close(open_device("/proc/xen/xenbus")) == 0);
}

// In a process that another program of this name has become, with a file that it inherited.
static int notify_and_end(char **words) {
  const uint32_t port = (uint32_t)atoi(words[2]);
  return ioctl(atoi(words[1]), kNotify, &port) != 0;
}

int main(int count, char **words) {
  if (count == 3) return notify_and_end(words);
  setvbuf(stdout, NULL, _IOLBF, 0);
  privcmd = open_device("/dev/xen/privcmd");
  if (privcmd < 0) return close_checks();
  check_names();
  check_hypercalls();
  check_buffers();
  check_frames();
  check_events();
  check_event_calls();
  if (!loses_own_pages()) {
    check_grants();
    check_shares();
    check_notices();
  }
  CHECK(close(privcmd) == 0);
  return close_checks();
}
