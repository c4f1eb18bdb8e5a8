// /dev/xen/xencomm (hcall/linux), as processes use it, and as they should not.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/sysctl.h>
#include <xen/version.h>
#include <xen/xen.h>

#include "tests/xen/check.h"
#include "tests/xen/region_device.h"

unsigned checks_passed, checks_failed;

enum { kTable = 8 };  // pages of the table of 1024 … 4000 granules: 3 … 8
static const uint64_t kLength = 4000ull * kPage;

static long hypercall(int fd, uint64_t op, uint64_t a, uint64_t b) {
  return call3(fd, op, a, b, 0);
}
static long extraversion(int fd, const void *pointer) {
  return hypercall(fd, __HYPERVISOR_xen_version, XENVER_extraversion, (uintptr_t)pointer);
}

// An open file with a region, whose payload's first `pages` pages are there.
struct region {
  int fd;
  char *base, *payload;
};
static struct region make_region(unsigned pages) {
  struct region region = {.fd = open(XENCOMM_DEVICE, O_RDWR | O_CLOEXEC)};
  CHECK(region.fd >= 0);
  region.base = take_addresses(kLength);
  region.payload = region.base + kTable * kPage;
  CHECK(reserve(region.fd, region.base, kLength) == 0);
  CHECK(map_payload(region.fd, region.base, kTable * kPage, pages * kPage) == region.payload);
  return region;
}
static void end_region(struct region *region) {
  CHECK(munmap(region->base, kLength) == 0);
  CHECK(close(region->fd) == 0);
}

static void check_reserve(void) {
  const int fd = open(XENCOMM_DEVICE, O_RDWR);
  // With a page behind it, which an mmap takes away before it fails.
  char *const base = take_addresses(kLength + kPage);
  CHECK_REFUSED(reserve(fd, base + 1, kLength), EINVAL);
  CHECK_REFUSED(reserve(fd, base, kLength + 1), EINVAL);
  CHECK_REFUSED(reserve(fd, base, 0), EINVAL);
  CHECK_REFUSED(reserve(fd, NULL, kLength), EINVAL);
  CHECK_REFUSED(reserve(fd, base, (1 << 30) + kPage), EINVAL);
  CHECK_REFUSED(reserve(fd, base, -(uint64_t)kPage), EINVAL);
  CHECK_REFUSED(reserve(fd, (void *)-kLength, kLength), EINVAL);
  CHECK_REFUSED(reserve(fd, (void *)0xffff800000000000, kLength), EINVAL);
  CHECK_REFUSED(ioctl(fd, XENCOMM_IOC_RESERVE, 8), EFAULT);
  CHECK_REFUSED(ioctl(fd, XENCOMM_IOC_HYPERCALL, 8), EFAULT);
  CHECK_REFUSED(ioctl(fd, _IO('P', 6), 0), ENOTTY);
  // Calls without pointers, and with, before there is any memory.
  CHECK(hypercall(fd, __HYPERVISOR_xen_version, XENVER_version, 0) >> 16 == 4);
  CHECK(extraversion(fd, base) == -EFAULT);
  CHECK_REFUSED((long)map_payload(fd, base, kTable * kPage, kPage), EINVAL);
  CHECK(reserve(fd, base, kLength) == 0);
  CHECK_REFUSED(reserve(fd, base, kLength), EBUSY);
  CHECK(extraversion(fd, base + kTable * kPage) == -EFAULT);

  // The place of a page in the region is its place in the process.
  CHECK_REFUSED((long)map_payload(fd, base, (kTable - 1) * kPage, kPage), EINVAL);
  CHECK_REFUSED((long)map_payload(fd, base, 0, kPage), EINVAL);
  CHECK_REFUSED((long)map_payload(fd, base + kPage, kTable * kPage, kPage), EINVAL);
  CHECK_REFUSED((long)map_payload(fd, base, kLength - kPage, 2 * kPage), EINVAL);
  CHECK_REFUSED((long)mmap(base + kTable * kPage, kPage, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_FIXED, fd, kTable * kPage),
                EINVAL);
  CHECK_REFUSED((long)mmap(base + kTable * kPage, kPage, PROT_READ | PROT_EXEC,
                           MAP_SHARED | MAP_FIXED, fd, kTable * kPage),
                EACCES);
  CHECK(map_payload(fd, base, kLength - kPage, kPage) == base + kLength - kPage);
  CHECK(extraversion(fd, base + kLength - 16) == 0 && base[kLength - 16] == '.');
  CHECK(extraversion(fd, base + kLength - 15) == -EFAULT);
  CHECK(map_payload(fd, base, kTable * kPage, 4 * kPage) == base + kTable * kPage);
  CHECK(extraversion(fd, base + kTable * kPage) == 0);
  CHECK(munmap(base, kLength) == 0 && close(fd) == 0);
}

static void check_calls(void) {
  struct region region = make_region(8), other = make_region(8);
  for (unsigned i = 0; i < 8 * kPage; i++) CHECK(region.payload[i] == 0);
  CHECK(extraversion(region.fd, region.payload + kPage - 8) == 0);
  CHECK(region.payload[kPage - 8] == '.');
  // Not of this region: the table, what is not there yet, the stack, another file's.
  static char buffer[64];
  char on_stack[64];
  const void *kElsewhere[] = {
      region.base, region.payload - 1, region.payload + 8 * kPage, other.payload, buffer,
      on_stack,    (void *)0x1000,     (void *)0xffff888000000000};
  for (unsigned i = 0; i < sizeof(kElsewhere) / sizeof(kElsewhere[0]); i++) {
    CHECK(extraversion(region.fd, kElsewhere[i]) == -EFAULT);
  }
  struct xen_sysctl *const sysctl = (void *)(region.payload + kPage);
  for (unsigned i = 0; i < 3; i++) {
    char *const places[] = {region.payload + 3 * kPage - 32, other.payload, buffer};
    memset(sysctl, 0, sizeof(*sysctl));
    sysctl->cmd = XEN_SYSCTL_readconsole;
    sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    sysctl->u.readconsole.count = 64;
    set_xen_guest_handle_raw(sysctl->u.readconsole.buffer, places[i]);
    CHECK(hypercall(region.fd, __HYPERVISOR_sysctl, (uintptr_t)sysctl, 0) == (i ? -EFAULT : 0));
  }
  CHECK(region.payload[3 * kPage - 32] != 0 && region.payload[3 * kPage + 31] != 0);

  // A kernel's calls.
  const uint64_t kForged[] = {kXencommOp, kXencommOp | kRegionCall, kXencommOp | 1ull << 32,
                              kXencommOp | 0xffffffffull << 32};
  for (unsigned i = 0; i < 4; i++) CHECK(hypercall(region.fd, kForged[i], 2, 1) == -EPERM);
  CHECK(hypercall(region.fd, __HYPERVISOR_iret, 0, 0) == -ENOSYS);
  CHECK(hypercall(region.fd, 1000, 0, 0) == -ENOSYS);
  CHECK(hypercall(region.fd, 0x80000000, 0, 0) == -ENOSYS);
  struct multicall_entry *const list = (void *)(region.payload + 4 * kPage);
  for (uint64_t op = 0; op < 3; op++) {
    list[op] = (struct multicall_entry){.op = kXencommOp, .args = {op, 1, 1}};
  }
  list[3] = (struct multicall_entry){.op = __HYPERVISOR_xen_version,
                                     .args = {XENVER_extraversion, (uintptr_t)other.payload}};
  list[4] = (struct multicall_entry){
      .op = __HYPERVISOR_xen_version,
      .args = {XENVER_extraversion, (uintptr_t)(region.payload + 5 * kPage)}};
  CHECK(hypercall(region.fd, __HYPERVISOR_multicall, (uintptr_t)list, 5) == 0);
  for (unsigned i = 0; i < 3; i++) CHECK((long)list[i].result == -EPERM);
  CHECK((long)list[3].result == -EFAULT && list[4].result == 0);
  CHECK(region.payload[5 * kPage] == '.');

  // What a process does with its mappings makes no difference to where Xen writes.
  CHECK(munmap(region.payload + 6 * kPage, kPage) == 0);
  CHECK(extraversion(region.fd, region.payload + 6 * kPage) == 0);
  CHECK(mmap(region.payload + 6 * kPage, kPage, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == region.payload + 6 * kPage);
  CHECK(extraversion(region.fd, region.payload + 6 * kPage) == 0);
  CHECK(region.payload[6 * kPage] == 0);
  CHECK(map_payload(region.fd, region.base, (kTable + 6) * kPage, kPage) ==
        region.payload + 6 * kPage);
  CHECK(region.payload[6 * kPage] == '.');
  CHECK(mprotect(region.payload, kPage, PROT_READ) == 0);
  CHECK(extraversion(region.fd, region.payload) == 0 && region.payload[0] == '.');
  CHECK_REFUSED((long)mremap(region.payload, kPage, 2 * kPage, MREMAP_MAYMOVE), EFAULT);
  end_region(&region);
  end_region(&other);
}

// A descriptor that a process has from before, or from another, is good for nothing.
static bool is_good_for_nothing(int fd, const struct region *region) {
  return extraversion(fd, region->payload) == -EPERM &&
         hypercall(fd, __HYPERVISOR_xen_version, 0, 0) == -EPERM &&
         reserve(fd, region->base, kLength) == -1 && errno == EPERM &&
         map_payload(fd, region->base, kTable * kPage, kPage) == MAP_FAILED && errno == EPERM;
}
static void check_child(void) {
  struct region region = make_region(4);
  const pid_t child = fork();
  if (child == 0) {
    // The descriptor is good for nothing, and the memory is not there.
    const bool good = is_good_for_nothing(region.fd, &region) &&
                      msync(region.payload + kPage, kPage, MS_ASYNC) == -1 && errno == ENOMEM;
    // One of its own is.
    struct region own = make_region(4);
    _exit(good && extraversion(own.fd, own.payload) == 0 && own.payload[0] == '.' &&
                  extraversion(own.fd, region.payload) == -EFAULT
              ? 0
              : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(extraversion(region.fd, region.payload) == 0);
  end_region(&region);
}

// The same process with another program: what it had is gone, but for the descriptor.
static void check_exec(void) {
  const pid_t child = fork();
  if (child == 0) {
    struct region region = make_region(4);
    char fd[16];
    snprintf(fd, sizeof(fd), "%d", dup(region.fd));
    if (extraversion(region.fd, region.payload) == 0) {
      execl("/proc/self/exe", "region_device", "--inherited", fd, NULL);
    }
    _exit(1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}
static int use_inherited(int fd) {
  struct region own = make_region(4);
  return is_good_for_nothing(fd, &own) && extraversion(own.fd, own.payload) == 0 ? 0 : 1;
}

// What Xen and Linux have free, in pages.
static uint64_t free_pages(void) {
  struct region region = make_region(1);
  struct xen_sysctl *const sysctl = (void *)region.payload;
  sysctl->cmd = XEN_SYSCTL_physinfo;
  sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  CHECK(hypercall(region.fd, __HYPERVISOR_sysctl, (uintptr_t)sysctl, 0) == 0);
  const uint64_t in_xen = sysctl->u.physinfo.free_pages;
  end_region(&region);
  return in_xen;
}

// Calls that are long, until it is killed.
static void *call_on(void *data) {
  struct region *const region = data;
  enum { kEntries = 400 };
  struct multicall_entry *const list = (void *)region->payload;
  for (;;) {
    for (unsigned i = 0; i < kEntries; i++) {
      list[i] = (struct multicall_entry){
          .op = __HYPERVISOR_xen_version,
          .args = {XENVER_commandline, (uintptr_t)(region->payload + 10 * kPage)}};
    }
    hypercall(region->fd, __HYPERVISOR_multicall, (uintptr_t)list, kEntries);
  }
  return NULL;
}
static void check_kill(void) {
  const uint64_t before = free_pages();
  for (unsigned turn = 0; turn < 100; turn++) {
    const pid_t child = fork();
    if (child == 0) {
      struct region region = make_region(12 + turn);
      pthread_t threads[2];
      for (unsigned i = 0; i < 2; i++) pthread_create(&threads[i], NULL, call_on, &region);
      for (unsigned pages = 1;; pages++) {
        map_payload(region.fd, region.base, (kTable + 200 + pages) * kPage, kPage);
      }
    }
    usleep(1000 + turn % 10 * 700);
    kill(child, SIGKILL);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
  }
  const uint64_t after = free_pages();
  if (after < before) printf("Xen has %d pages less\n", (int)(before - after));
  CHECK(after >= before);
}

// The region ends when the last that uses the file is gone, and not before.
static void *close_soon(void *data) {
  usleep(2000);
  close(*(int *)data);
  return NULL;
}
static void check_close(void) {
  for (unsigned turn = 0; turn < 50; turn++) {
    struct region region = make_region(2);
    CHECK(extraversion(region.fd, region.payload) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, close_soon, &region.fd) == 0);
    long answer = 0;
    while ((answer = extraversion(region.fd, region.payload)) == 0) {
    }
    CHECK(answer == -EBADF);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(region.payload[0] == '.');
    CHECK(munmap(region.base, kLength) == 0);
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--inherited") == 0) return use_inherited(atoi(argv[2]));
  setvbuf(stdout, NULL, _IOLBF, 0);
  static const struct {
    const char *name;
    void (*check)(void);
  } kChecks[] = {{"reserve", check_reserve}, {"calls", check_calls}, {"child", check_child},
                 {"exec", check_exec},       {"kill", check_kill},   {"close", check_close}};
  for (unsigned i = 0; i < sizeof(kChecks) / sizeof(kChecks[0]); i++) {
    const unsigned failed = checks_failed;
    kChecks[i].check();
    if (checks_failed != failed) printf("failed: %s\n", kChecks[i].name);
  }
  return close_checks();
}
