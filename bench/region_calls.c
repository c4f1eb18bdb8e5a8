// region_calls
//
// What hypercalls cost on a real Xen that was built for measuring (measured.patch), in ticks of the
// time stamp counter; QEMU makes them instructions. Prints a line for each row, and way: raw
// pointers by Linux's privcmd, a region by hcall/linux, this library over either.
//
//   copy/to/16: raw 4835 region 115
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#include <xenctrl.h>

#include "hcall/linux/xencomm_device.h"
#include "xencomm/xencomm.h"

enum { kPage = 4096, kTurns = 96, kDomains = 33, kCalls = 32, kPages = 4096 };

static void check(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "region_calls: %s\n", what);
  exit(1);
}

// A way by which calls are made, with memory for what they point at.
struct way {
  const char *name;
  int fd;
  char *memory;
  xencomm_context *context;  // or null: by `fd`
};
enum { kMemory = 64 * kPage };

static long call(const struct way *way, uint64_t op, uint64_t a, uint64_t b) {
  if (way->context != NULL) return xencomm_call(way->context, (unsigned)op, a, b, 0, 0, 0);
  struct xencomm_hypercall hypercall = {op, {a, b}};  // which is privcmd's, too
  return ioctl(way->fd, XENCOMM_IOC_HYPERCALL, &hypercall);
}

static struct way raw_way(void) {
  struct way way = {"raw", open("/dev/xen/privcmd", O_RDWR), NULL, NULL};
  const int memory = open("/dev/xen/hypercall", O_RDWR);
  way.memory = mmap(NULL, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  check(way.fd >= 0 && way.memory != MAP_FAILED, "privcmd cannot be had");
  return way;
}

// A region of a file, with room for `pages` pages, none of which is there yet.
static int reserve(uint64_t pages, char **payload, uint64_t *offset) {
  const int fd = open(XENCOMM_DEVICE, O_RDWR);
  const uint64_t table = (32 + 8 * pages + 2 * kPage) / kPage * kPage;
  char *const base = mmap(NULL, table + pages * kPage, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  struct xencomm_reserve place = {(uintptr_t)base, table + pages * kPage};
  check(fd >= 0 && ioctl(fd, XENCOMM_IOC_RESERVE, &place) == 0, "there is no region");
  *payload = base + table;
  *offset = table;
  return fd;
}
static struct way region_way(void) {
  struct way way = {.name = "region"};
  uint64_t offset = 0;
  way.fd = reserve(kMemory / kPage, &way.memory, &offset);
  check(mmap(way.memory, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, way.fd,
             (off_t)offset) == way.memory,
        "a region has no memory");
  return way;
}
static struct way own_way(const char *name, const char *transport) {
  struct way way = {.name = name, .context = xencomm_open(transport)};
  check(way.context != NULL, xencomm_error());
  way.memory = xencomm_calloc(way.context, 1, kMemory);
  check(way.memory != NULL, xencomm_error());
  return way;
}

// Xen's own ticks for one copy of so many bytes.
static double copy_ticks(const struct way *way, uint64_t bytes, int to_guest) {
  enum { kCopies = 200 };
  struct {
    uint64_t times, bytes, to_guest, ticks;
  } *const measure = (void *)way->memory;
  for (int warm = 0; warm < 2; warm++) {
    measure->times = kCopies;
    measure->bytes = bytes;
    measure->to_guest = (uint64_t)to_guest;
    check(call(way, __HYPERVISOR_xen_version, 100, (uintptr_t)measure) == 0,
          "Xen was not built for measuring");
  }
  return (double)measure->ticks / kCopies;
}

static void prepare_list(const struct way *way) {
  multicall_entry_t *const list = (void *)way->memory;
  for (unsigned i = 0; i < kCalls; i++) {
    list[i] = (multicall_entry_t){
        .op = __HYPERVISOR_xen_version,
        .args = {XENVER_extraversion, (uintptr_t)way->memory + 8 * kPage + 64 * i}};
  }
}
static struct xen_sysctl *sysctl_of(const struct way *way, uint32_t cmd) {
  struct xen_sysctl *const sysctl = (void *)way->memory;
  memset(sysctl, 0, sizeof(*sysctl));
  sysctl->cmd = cmd;
  sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  return sysctl;
}

static long no_pointer(const struct way *way) {
  return call(way, __HYPERVISOR_xen_version, XENVER_version, 0) <= 0;
}
static long extraversion(const struct way *way) {
  return call(way, __HYPERVISOR_xen_version, XENVER_extraversion, (uintptr_t)way->memory);
}
static long physinfo(const struct way *way) {
  sysctl_of(way, XEN_SYSCTL_physinfo);
  return call(way, __HYPERVISOR_sysctl, (uintptr_t)way->memory, 0);
}
static long infolist(const struct way *way) {
  struct xen_sysctl *const sysctl = sysctl_of(way, XEN_SYSCTL_getdomaininfolist);
  sysctl->u.getdomaininfolist.max_domains = kDomains;
  set_xen_guest_handle_raw(sysctl->u.getdomaininfolist.buffer, (void *)(way->memory + 8 * kPage));
  const long answer = call(way, __HYPERVISOR_sysctl, (uintptr_t)sysctl, 0);
  return answer != 0 || sysctl->u.getdomaininfolist.num_domains != kDomains;
}
static long multicall(const struct way *way) {
  prepare_list(way);
  return call(way, __HYPERVISOR_multicall, (uintptr_t)way->memory, kCalls);
}

static double call_ticks(const struct way *way, long (*make)(const struct way *)) {
  check(make(way) == 0 && make(way) == 0, "a call is refused");
  long failed = 0;
  const uint64_t begin = __rdtsc();
  for (unsigned i = 0; i < kTurns; i++) failed |= make(way);
  const uint64_t end = __rdtsc();
  check(failed == 0, "a call is refused");
  return (double)(end - begin) / kTurns;
}

// What a page costs when it is put into a region, and as plain memory for hypercalls.
static double page_ticks(int by_region) {
  char *memory = NULL;
  uint64_t offset = 0;
  const int fd =
      by_region ? reserve(kPages + 1, &memory, &offset) : open("/dev/xen/hypercall", O_RDWR);
  // The table's pages and the region's beginning are not a page's.
  if (by_region) {
    check(mmap(memory, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) ==
              memory,
          "a region has no memory");
    memory += kPage;
    offset += kPage;
  }
  const uint64_t begin = __rdtsc();
  char *const mapped = mmap(memory, (size_t)kPages * kPage, PROT_READ | PROT_WRITE,
                            MAP_SHARED | (by_region ? MAP_FIXED : 0), fd, (off_t)offset);
  const uint64_t end = __rdtsc();
  check(mapped != MAP_FAILED, "no memory for hypercalls");
  munmap(mapped, (size_t)kPages * kPage);
  close(fd);
  return (double)(end - begin) / kPages;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  xc_interface *const xch = xc_interface_open(NULL, NULL, 0);
  check(xch != NULL, "libxenctrl cannot be opened");
  uint32_t domains[kDomains] = {0};
  for (unsigned i = 1; i < kDomains; i++) {
    struct xen_domctl_createdomain config = {.max_vcpus = 1,
                                             .max_evtchn_port = 1023,
                                             .max_grant_frames = 4,
                                             .max_maptrack_frames = 4,
                                             .grant_opts = XEN_DOMCTL_GRANT_version(1)};
    check(xc_domain_create(xch, &domains[i], &config) == 0, "a domain cannot be created");
  }
  const int has_regions = access(XENCOMM_DEVICE, R_OK) == 0;
  struct way ways[4] = {raw_way()};
  unsigned count = 1;
  if (has_regions) {
    ways[count++] = region_way();
    ways[count++] = own_way("own-raw", "privcmd");
    ways[count++] = own_way("own", "xencomm-device");
  }
  static const unsigned kSizes[] = {16, 64, 144, 1024, 4096, 65536};
  for (unsigned to_guest = 0; to_guest < 2; to_guest++) {
    for (unsigned i = 0; i < sizeof(kSizes) / sizeof(kSizes[0]); i++) {
      printf("copy/%s/%u:", to_guest ? "to" : "from", kSizes[i]);
      for (unsigned way = 0; way < count && way < 2; way++) {
        printf(" %s %.1f", ways[way].name, copy_ticks(&ways[way], kSizes[i], (int)to_guest));
      }
      printf("\n");
    }
  }
  static const struct {
    const char *name;
    long (*make)(const struct way *);
  } kRows[] = {{"no pointer", no_pointer},
               {"extraversion", extraversion},
               {"physinfo", physinfo},
               {"list of 33 domains", infolist},
               {"multicall of 32", multicall}};
  for (unsigned i = 0; i < sizeof(kRows) / sizeof(kRows[0]); i++) {
    printf("call/%s:", kRows[i].name);
    for (unsigned way = 0; way < count; way++) {
      printf(" %s %.1f", ways[way].name, call_ticks(&ways[way], kRows[i].make));
    }
    printf("\n");
  }
  printf("page: raw %.1f", page_ticks(0));
  if (has_regions) printf(" region %.1f", page_ticks(1));
  printf("\n");
  for (unsigned i = 1; i < kDomains; i++) xc_domain_destroy(xch, domains[i]);
  return 0;
}
