// /dev/xen/xencomm of a module in lockdown (hcall/linux/lockdown.c). It is loaded anew for that,
// from where a machine of run.py has it, and as it was in the end.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xen/hvm/dm_op.h>
#include <xen/memory.h>
#include <xen/sysctl.h>
#include <xen/version.h>
#include <xen/xen.h>

#include "tests/xen/check.h"
#include "tests/xen/region_device.h"

unsigned checks_passed, checks_failed;

// Pages: of the table, of the kernel's scratch, and of its slots, one for a call each.
enum { kTable = 2, kScratch = 16, kSlot = 4, kPages = 512 };
static const uint64_t kLength = kPages * kPage;

// --- The module ---

static int load(const char *parameters) {
  const int fd = open("/modules/xencomm.ko", O_RDONLY | O_CLOEXEC);
  const long answer = syscall(SYS_finit_module, fd, parameters, 0);
  const int error = errno;
  close(fd);
  errno = error;
  return (int)answer;
}
static bool load_anew(const char *parameters) {
  CHECK(syscall(SYS_delete_module, "xencomm", O_NONBLOCK) == 0);
  const int answer = load(parameters);
  CHECK(answer == 0);
  return answer == 0;
}

// --- Calls ---

struct region {
  int fd;
  char *base, *payload, *scratch;
};

static long hypercall(const struct region *region, uint64_t op, uint64_t a, uint64_t b) {
  return call3(region->fd, op, a, b, 0);
}
static long extraversion(const struct region *region, const void *pointer) {
  return hypercall(region, __HYPERVISOR_xen_version, XENVER_extraversion, (uintptr_t)pointer);
}
static long do_sysctl(const struct region *region, const struct xen_sysctl *sysctl) {
  return hypercall(region, __HYPERVISOR_sysctl, (uintptr_t)sysctl, 0);
}
static long multicall(const struct region *region, const struct multicall_entry *list,
                      uint64_t count) {
  return hypercall(region, __HYPERVISOR_multicall, (uintptr_t)list, count);
}

static void *map(const struct region *region, uint64_t page, uint64_t pages) {
  return map_payload(region->fd, region->base, page * kPage, pages * kPage);
}

static struct region open_region(void) {
  struct region region = {.fd = open(XENCOMM_DEVICE, O_RDWR | O_CLOEXEC)};
  CHECK(region.fd >= 0);
  region.base = take_addresses(kLength);
  region.payload = region.base + kTable * kPage;
  region.scratch = region.base + (kPages - kScratch) * kPage;
  return region;
}
static struct region make_region(unsigned pages) {
  struct region region = open_region();
  CHECK(reserve(region.fd, region.base, kLength) == 0);
  CHECK(map(&region, kTable, pages) == region.payload);
  return region;
}
static void end_region(struct region *region) {
  CHECK(munmap(region->base, kLength) == 0);
  CHECK(close(region->fd) == 0);
}

static struct xen_sysctl *new_sysctl(char *place, uint32_t cmd) {
  struct xen_sysctl *const sysctl = (void *)place;
  memset(sysctl, 0, sizeof(*sysctl));
  sysctl->cmd = cmd;
  sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  return sysctl;
}
static struct xen_sysctl *list_domains(char *place, const void *buffer, uint32_t count) {
  struct xen_sysctl *const sysctl = new_sysctl(place, XEN_SYSCTL_getdomaininfolist);
  sysctl->u.getdomaininfolist.max_domains = count;
  set_xen_guest_handle_raw(sysctl->u.getdomaininfolist.buffer, (void *)buffer);
  return sysctl;
}
static struct xen_sysctl *read_console(char *place, const void *buffer, uint32_t count) {
  struct xen_sysctl *const sysctl = new_sysctl(place, XEN_SYSCTL_readconsole);
  sysctl->u.readconsole.count = count;
  set_xen_guest_handle_raw(sysctl->u.readconsole.buffer, (void *)buffer);
  return sysctl;
}
static struct multicall_entry entry_of(uint64_t op, uint64_t a, const void *b) {
  return (struct multicall_entry){.op = op, .result = 77, .args = {a, (uintptr_t)b}};
}

// --- What each of the checks below is loaded for ---

static void check_parameters(void) {
  CHECK(syscall(SYS_delete_module, "xencomm", O_NONBLOCK) == 0);
  static const char *const kBad[] = {
      "lockdown=1 lockdown_ops=35", "lockdown=1 lockdown_ops=35:", "lockdown=1 lockdown_ops=:6",
      "lockdown=1 lockdown_ops=35:6,", "lockdown=1 lockdown_ops=35:6:7",
      "lockdown=1 lockdown_ops=35:-6", "lockdown=1 lockdown_ops=sysctl:6",
      // Meant to restrict, it would not.
      "lockdown_ops=35:6"};
  for (unsigned i = 0; i < sizeof(kBad) / sizeof(kBad[0]); i++)
    CHECK_REFUSED(load(kBad[i]), EINVAL);
  CHECK(load("") == 0);
}

static void check_place(void) {
  struct region region = open_region();
  // Before it has a place, a process has no calls.
  CHECK(hypercall(&region, __HYPERVISOR_xen_version, XENVER_version, 0) == -EPERM);
  // There is to be payload beside the scratch.
  CHECK_REFUSED(reserve(region.fd, region.base, (1 + kScratch) * kPage), EINVAL);
  CHECK_REFUSED(reserve(region.fd, region.base, kPage), EINVAL);
  CHECK(reserve(region.fd, region.base, kLength) == 0);
  CHECK_REFUSED(reserve(region.fd, region.base, kLength), EBUSY);
  CHECK(hypercall(&region, __HYPERVISOR_xen_version, XENVER_version, 0) >> 16 == 4);
  CHECK(extraversion(&region, region.payload) == -EFAULT);
  CHECK(do_sysctl(&region, (void *)region.payload) == -EPERM);
  // The scratch, or a part of it, before Xen has it and after.
  for (unsigned turn = 0; turn < 2; turn++) {
    for (unsigned page = kPages - kScratch; page < kPages; page++) {
      CHECK_REFUSED((long)map(&region, page, 1), EINVAL);
      CHECK_REFUSED((long)map(&region, page, kPages - page), EINVAL);
    }
    CHECK_REFUSED((long)map(&region, kPages - kScratch - 1, 2), EINVAL);
    CHECK_REFUSED((long)map(&region, kTable, kPages - kTable), EINVAL);
    CHECK(map(&region, kPages - kScratch - 1, 1) == region.scratch - kPage);
  }
  CHECK(extraversion(&region, region.scratch - 16) == 0 && region.scratch[-16] == '.');
  end_region(&region);

  // As small as one can be.
  region = open_region();
  CHECK(reserve(region.fd, region.base, (2 + kScratch) * kPage) == 0);
  CHECK(map(&region, 1, 1) == region.base + kPage);
  CHECK_REFUSED((long)map(&region, 2, 1), EINVAL);
  CHECK(extraversion(&region, region.base + kPage) == 0 && region.base[kPage] == '.');
  CHECK(do_sysctl(&region, new_sysctl(region.base + kPage, XEN_SYSCTL_physinfo)) == 0);
  end_region(&region);

  // As large: its table has pages of its own for the scratch.
  region.fd = open(XENCOMM_DEVICE, O_RDWR | O_CLOEXEC);
  const uint64_t pages = (1 << 30) / kPage;
  region.base = mmap(NULL, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(reserve(region.fd, region.base, 1 << 30) == 0);
  CHECK(map(&region, 600, 2) == region.base + 600 * kPage);
  CHECK_REFUSED((long)map(&region, pages - kScratch, 1), EINVAL);
  CHECK(do_sysctl(&region, list_domains(region.base + 600 * kPage, region.base + 601 * kPage, 1)) ==
        0);
  CHECK(munmap(region.base, 1 << 30) == 0 && close(region.fd) == 0);
}

static void check_calls(void) {
  struct region region = make_region(8);
  CHECK(extraversion(&region, region.payload + kPage - 8) == 0);
  CHECK(region.payload[kPage - 8] == '.');
  // The argument is over the end of a page, and so are the results.
  char *const place = region.payload + 2 * kPage - 60;
  struct xen_domctl_getdomaininfo *const infos = (void *)(region.payload + 4 * kPage - 16);
  struct xen_sysctl *sysctl = list_domains(place, infos, 4);
  memset(infos, 0xff, 4 * sizeof(*infos));
  sysctl->u.getdomaininfolist.num_domains = 77;
  CHECK(do_sysctl(&region, sysctl) == 0);
  CHECK(sysctl->u.getdomaininfolist.num_domains == 1);
  CHECK(infos[0].domain == 0 && infos[0].tot_pages != 0 && infos[0].nr_online_vcpus != 0);
  CHECK(infos[1].domain == 0xffff);
  CHECK(sysctl->cmd == XEN_SYSCTL_getdomaininfolist &&
        sysctl->u.getdomaininfolist.max_domains == 4);

  sysctl = new_sysctl(place, XEN_SYSCTL_physinfo);
  CHECK(do_sysctl(&region, sysctl) == 0);
  CHECK(sysctl->u.physinfo.nr_cpus != 0 && sysctl->u.physinfo.total_pages != 0 &&
        sysctl->u.physinfo.free_pages != 0 && sysctl->u.physinfo.cpu_khz != 0);
  // What Xen itself refuses.
  sysctl = new_sysctl(place, XEN_SYSCTL_physinfo);
  sysctl->interface_version--;
  CHECK(do_sysctl(&region, sysctl) == -EACCES);
  CHECK(do_sysctl(&region, read_console(place, region.payload, 0)) == 0);

  // Not of this region: the table, another's, what is not a process's.
  struct region other = make_region(4);
  static char buffer[64];
  char on_stack[64];
  const void *kElsewhere[] = {
      region.base, region.payload - 1,    other.payload,  buffer,
      on_stack,    region.base + kLength, (void *)0x1000, (void *)0xffff888000000000};
  for (unsigned i = 0; i < sizeof(kElsewhere) / sizeof(kElsewhere[0]); i++) {
    CHECK(extraversion(&region, kElsewhere[i]) == -EPERM);
    CHECK(do_sysctl(&region, read_console(place, kElsewhere[i], 64)) == -EPERM);
    CHECK(do_sysctl(&region, kElsewhere[i]) == -EPERM);
    CHECK(multicall(&region, kElsewhere[i], 1) == -EPERM);
  }
  CHECK(do_sysctl(&region, NULL) == -EPERM);
  // In the payload, and not there.
  CHECK(extraversion(&region, region.payload + 8 * kPage) == -EFAULT);
  CHECK(do_sysctl(&region, (void *)(region.payload + 8 * kPage)) == -EPERM);
  CHECK(do_sysctl(&region, (void *)(region.payload + 8 * kPage - 8)) == -EPERM);
  CHECK(do_sysctl(&region, read_console(place, region.payload + 8 * kPage, 64)) == -EFAULT);

  // Unknown, or nothing that a copy settles.
  CHECK(hypercall(&region, __HYPERVISOR_xen_version, 1000, (uintptr_t)region.payload) == -EPERM);
  CHECK(do_sysctl(&region, new_sysctl(place, 1000)) == -EPERM);
  CHECK(hypercall(&region, 100, 0, 0) == -EPERM);
  CHECK(hypercall(&region, 1000, 0, 0) == -ENOSYS);
  CHECK(hypercall(&region, __HYPERVISOR_iret, 0, 0) == -ENOSYS);
  struct xen_dm_op *const op = (void *)(region.payload + 2 * kPage);
  struct xen_dm_op_buf *const buffers = (void *)(region.payload + 3 * kPage);
  memset(op, 0, sizeof(*op));
  op->op = XEN_DMOP_set_mem_type;
  set_xen_guest_handle_raw(buffers->h, op);
  buffers->size = sizeof(*op);
  CHECK(call3(region.fd, __HYPERVISOR_dm_op, 0, 1, (uintptr_t)buffers) == -EPERM);
  // A kernel's.
  const uint64_t kForged[] = {kXencommOp, kXencommOp | kRegionCall, kXencommOp | 1ull << 32};
  for (unsigned i = 0; i < 3; i++) CHECK(hypercall(&region, kForged[i], 2, 1) == -EPERM);
  end_region(&region);
  end_region(&other);
}

static void check_scratch(void) {
  struct region region = make_region(8);
  CHECK(map(&region, kPages - kScratch - 1, 1) == region.scratch - kPage);
  char *const last = region.scratch - kPage;
  char *const place = region.payload + kPage;
  // Where a slot begins, in one, at their end, and what runs into them.
  char *const kInside[] = {region.scratch, region.scratch + 8, region.scratch + kSlot * kPage,
                           region.scratch + kScratch * kPage - 16, last + kPage - 8};
  for (unsigned i = 0; i < sizeof(kInside) / sizeof(kInside[0]); i++) {
    CHECK(extraversion(&region, kInside[i]) == -EPERM);
    CHECK(do_sysctl(&region, (void *)kInside[i]) == -EPERM);
    CHECK(do_sysctl(&region, read_console(place, kInside[i], 16)) == -EPERM);
    CHECK(multicall(&region, (void *)kInside[i], 1) == -EPERM);
    struct multicall_entry *const list = (void *)place;
    list[0] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, kInside[i]);
    CHECK(multicall(&region, list, 1) == -EPERM && list[0].result == 77);
    // As a number, too: Xen would take it for a pointer.
    const long answer =
        call3(region.fd, __HYPERVISOR_xen_version, XENVER_version, 0, (uintptr_t)kInside[i]);
    CHECK(answer == (kInside[i] < region.scratch ? answer : -EPERM));
  }
  // Up to it.
  CHECK(extraversion(&region, last + kPage - 16) == 0);
  // What was not looked at by then: a length in memory, where the hypervisor writes behind it.
  *(uint32_t *)(last + kPage - 8) = 4;
  CHECK(hypercall(&region, __HYPERVISOR_xen_version, XENVER_build_id,
                  (uintptr_t)(last + kPage - 8)) < 0);
  end_region(&region);
}

static void check_multicall(void) {
  struct region region = make_region(16);
  struct multicall_entry *const list = (void *)(region.payload + kPage - 32);
  char *const text = region.payload + 8 * kPage;
  list[0] = entry_of(__HYPERVISOR_xen_version, XENVER_version, NULL);
  list[1] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, text);
  CHECK(multicall(&region, list, 2) == 0);
  CHECK(list[0].result >> 16 == 4 && list[1].result == 0 && text[0] == '.');
  CHECK(multicall(&region, list, 0) == 0);

  // As many as there is room for, and one more.
  enum { kMost = kSlot * kPage / sizeof(struct multicall_entry) };
  for (unsigned i = 0; i <= kMost; i++) {
    list[i] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, text + 16 * i);
  }
  CHECK(multicall(&region, list, kMost) == 0);
  for (unsigned i = 0; i < kMost; i++) CHECK(list[i].result == 0 && text[16 * i] == '.');
  CHECK(list[kMost].result == 77);
  CHECK(multicall(&region, list, kMost + 1) == -E2BIG);
  CHECK(multicall(&region, list, 1ull << 31) == -E2BIG);

  // One that may not pass, and nothing of the list is done.
  struct xen_sysctl *const sysctl = new_sysctl(region.payload + 7 * kPage, XEN_SYSCTL_physinfo);
  const struct multicall_entry kRefused[] = {
      entry_of(kXencommOp, 2, (void *)1),
      entry_of(kXencommOp | kRegionCall, 2, (void *)1),
      entry_of(kXencommOp | 1ull << 32, 2, (void *)1),
      entry_of(__HYPERVISOR_iret, 0, NULL),
      entry_of(__HYPERVISOR_fpu_taskswitch, 0, NULL),
      entry_of(__HYPERVISOR_sysctl, (uintptr_t)sysctl, NULL),
      entry_of(__HYPERVISOR_multicall, (uintptr_t)list, (void *)1),
      entry_of(__HYPERVISOR_dm_op, 0, NULL),
      entry_of(__HYPERVISOR_xen_version, 1000, text),
      entry_of(100, 0, NULL),
      entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, &region),
  };
  for (unsigned i = 0; i < sizeof(kRefused) / sizeof(kRefused[0]); i++) {
    memset(text, 0, 16);
    list[0] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, text);
    list[1] = kRefused[i];
    CHECK(multicall(&region, list, 2) == -EPERM);
    CHECK(list[0].result == 77 && list[1].result == 77 && text[0] == 0);
  }
  end_region(&region);
}

// --- What changes meanwhile ---

static atomic_bool is_done;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void *flip_op(void *data) {
  volatile struct xen_sysctl *const sysctl = data;
  while (!atomic_load(&is_done)) {
    sysctl->cmd = XEN_SYSCTL_readconsole;
    sysctl->cmd = XEN_SYSCTL_getdomaininfolist;
  }
  return NULL;
}
// Both structures have the buffer in one place, and other numbers that both can have.
static void flip_ops(bool may_read_console) {
  struct region region = make_region(4);
  volatile uint16_t *const start = (void *)(region.payload + kPage);
  struct xen_sysctl *const sysctl = list_domains(region.payload, (void *)start, 1);
  _Static_assert(offsetof(struct xen_sysctl, u.getdomaininfolist.buffer) ==
                     offsetof(struct xen_sysctl, u.readconsole.buffer),
                 "");
  atomic_store(&is_done, false);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, flip_op, sysctl) == 0);
  unsigned lists = 0, texts = 0, refused = 0, others = 0;
  const double end = now() + 5;
  for (unsigned i = 0; i < 100000 && now() < end; i++) {
    sysctl->u.readconsole.count = 64;
    *start = 0xffff;
    const long answer = do_sysctl(&region, sysctl);
    // The text begins with no zero, and a domain 0 with its number.
    if (answer == -EPERM) {
      refused++;
      others += *start != 0xffff;
    } else if (answer != 0) {
      others++;
    } else if (*start == 0) {
      lists++;
    } else if (*start != 0xffff) {
      texts++;
    }
  }
  atomic_store(&is_done, true);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(lists != 0 && others == 0);
  CHECK(may_read_console ? texts != 0 && refused == 0 : texts == 0 && refused != 0);
  printf("an op that changes: %u lists, %u texts, %u refused\n", lists, texts, refused);
  end_region(&region);
}

struct aim {
  volatile uint64_t *pointer;
  uint64_t good, bad;
};
static void *flip_aim(void *data) {
  const struct aim *const aim = data;
  while (!atomic_load(&is_done)) {
    *aim->pointer = aim->bad;
    *aim->pointer = aim->good;
  }
  return NULL;
}
// A pointer of a structure that an entry points at, which is not copied: to the copy of the list,
// whose next entry Xen would write over.
static void check_flipped_pointer(void) {
  struct region region = make_region(4);
  struct multicall_entry *const list = (void *)region.payload;
  struct xen_machphys_mfn_list *const frames = (void *)(region.payload + kPage);
  char *const text = region.payload + 2 * kPage;
  frames->max_extents = 1;
  struct aim aim = {(void *)&frames->extent_start, (uintptr_t)(region.payload + 3 * kPage),
                    (uintptr_t)(region.scratch + sizeof(*list))};
  *aim.pointer = aim.good;
  atomic_store(&is_done, false);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, flip_aim, &aim) == 0);
  unsigned made = 0, faults = 0, refused = 0, others = 0;
  const double end = now() + 5;
  for (unsigned i = 0; i < 100000 && now() < end; i++) {
    list[0] = entry_of(__HYPERVISOR_memory_op, XENMEM_machphys_mfn_list, frames);
    list[1] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, text);
    text[0] = 0;
    const long answer = multicall(&region, list, 2);
    if (answer == -EPERM) {
      refused++;
      others += list[0].result != 77 || list[1].result != 77 || text[0] != 0;
    } else if (answer == 0 && list[1].result == 0 && text[0] == '.') {
      made += list[0].result == 0;
      faults += (long)list[0].result == -EFAULT;
      others += list[0].result != 0 && (long)list[0].result != -EFAULT;
    } else {
      others++;
    }
  }
  atomic_store(&is_done, true);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(made != 0 && refused != 0 && others == 0);
  printf("a pointer that changes: %u made, %u faults, %u refused\n", made, faults, refused);
  end_region(&region);
}

// More calls at once than there are slots.
struct caller {
  const struct region *region;
  char *place;
  unsigned good;
};
enum { kCallers = 12, kRounds = 300 };
static void *call_often(void *data) {
  struct caller *const caller = data;
  struct xen_domctl_getdomaininfo *const info = (void *)(caller->place + 2048);
  for (unsigned i = 0; i < kRounds; i++) {
    memset(info, 0xff, sizeof(*info));
    struct xen_sysctl *const sysctl = list_domains(caller->place, info, 1);
    const bool is_list = do_sysctl(caller->region, sysctl) == 0 &&
                         sysctl->u.getdomaininfolist.num_domains == 1 && info->domain == 0;
    struct multicall_entry *const list = (void *)caller->place;
    char *const text = caller->place + 2048;
    text[0] = 0;
    list[0] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, text);
    caller->good +=
        is_list && multicall(caller->region, list, 1) == 0 && list[0].result == 0 && text[0] == '.';
  }
  return NULL;
}
static void check_many(void) {
  struct region region = make_region(kCallers);
  struct caller callers[kCallers];
  pthread_t threads[kCallers];
  for (unsigned i = 0; i < kCallers; i++) {
    callers[i] = (struct caller){&region, region.payload + i * kPage, 0};
    CHECK(pthread_create(&threads[i], NULL, call_often, &callers[i]) == 0);
  }
  for (unsigned i = 0; i < kCallers; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(callers[i].good == kRounds);
  }
  end_region(&region);
}

// --- Ends ---

static uint64_t free_pages(void) {
  struct region region = make_region(1);
  struct xen_sysctl *const sysctl = new_sysctl(region.payload, XEN_SYSCTL_physinfo);
  CHECK(do_sysctl(&region, sysctl) == 0);
  const uint64_t in_xen = sysctl->u.physinfo.free_pages;
  end_region(&region);
  return in_xen;
}
static void *call_on(void *data) {
  struct region *const region = data;
  struct multicall_entry *const list = (void *)region->payload;
  for (;;) {
    for (unsigned i = 0; i < 200; i++) {
      list[i] =
          entry_of(__HYPERVISOR_xen_version, XENVER_commandline, region->payload + 10 * kPage);
    }
    multicall(region, list, 200);
  }
  return NULL;
}
static void check_kill(void) {
  const uint64_t before = free_pages();
  for (unsigned turn = 0; turn < 50; turn++) {
    const pid_t child = fork();
    if (child == 0) {
      struct region region = make_region(12 + turn);
      pthread_t threads[6];
      for (unsigned i = 0; i < 6; i++) pthread_create(&threads[i], NULL, call_on, &region);
      for (unsigned page = 200;; page++) map(&region, page, 1);
    }
    usleep(2000 + turn % 10 * 700);
    kill(child, SIGKILL);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
  }
  const uint64_t after = free_pages();
  if (after < before) printf("Xen has %d pages less\n", (int)(before - after));
  CHECK(after >= before);
}

// --- Some ops alone ---

static void check_ops(void) {
  struct region region = make_region(8);
  char *const place = region.payload, *const text = region.payload + 4 * kPage;
  CHECK(extraversion(&region, text) == 0 && text[0] == '.');
  CHECK(do_sysctl(&region, list_domains(place, text, 1)) == 0);
  CHECK(hypercall(&region, __HYPERVISOR_xen_version, XENVER_version, 0) == -EPERM);
  CHECK(do_sysctl(&region, new_sysctl(place, XEN_SYSCTL_physinfo)) == -EPERM);
  CHECK(do_sysctl(&region, read_console(place, text, 64)) == -EPERM);
  struct multicall_entry *const list = (void *)place;
  list[0] = entry_of(__HYPERVISOR_xen_version, XENVER_extraversion, text);
  CHECK(multicall(&region, list, 1) == 0 && list[0].result == 0);
  list[0] = entry_of(__HYPERVISOR_xen_version, XENVER_version, text);
  CHECK(multicall(&region, list, 1) == -EPERM && list[0].result == 77);
  end_region(&region);
  flip_ops(false);
}

// Of a module that is not locked down: there is no scratch.
static void check_none(void) {
  struct region region = make_region(2);
  CHECK(map(&region, kPages - kScratch, kScratch) == region.scratch);
  CHECK(extraversion(&region, region.scratch) == 0 && region.scratch[0] == '.');
  CHECK(extraversion(&region, &region) == -EFAULT);
  end_region(&region);
}

static void check(const char *name, void (*run)(void)) {
  const unsigned failed = checks_failed;
  run();
  if (checks_failed != failed) printf("failed: %s\n", name);
}

static void flip_any_op(void) { flip_ops(true); }

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  check("parameters", check_parameters);
  if (load_anew("lockdown=1")) {
    check("place", check_place);
    check("calls", check_calls);
    check("scratch", check_scratch);
    check("multicall", check_multicall);
    check("changing op", flip_any_op);
    check("changing pointer", check_flipped_pointer);
    check("many", check_many);
    check("kill", check_kill);
  }
  if (load_anew("lockdown=1 lockdown_ops=17:1,0x23:6,13:0")) check("some ops", check_ops);
  if (load_anew("")) check("none", check_none);
  return close_checks();
}
