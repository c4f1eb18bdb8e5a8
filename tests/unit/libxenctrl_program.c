// The main job's calls through stock libxenctrl, in success and refusal.
//
// It prints what it was answered, so that the answers by every way of reaching arguments can be
// compared, and closes with its counts.
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// With the older names of the calls that map foreign memory (xenctrl_compat.h).
#define XC_WANT_COMPAT_MAP_FOREIGN_API
#include <xenctrl.h>

#include "tests/xen/check.h"

unsigned checks_passed, checks_failed;
static xc_interface *xch;

// Nobody's: DOMID_FIRST_RESERVED is 0x7ff0.
enum { kNobody = 0x7abc };

static void check_version(void) {
  const int version = xc_version(xch, XENVER_version, NULL);
  CHECK(version == (4 << 16 | 17));

  xen_extraversion_t extraversion = "";
  CHECK(xc_version(xch, XENVER_extraversion, extraversion) == 0);
  xen_compile_info_t compile;
  memset(&compile, '?', sizeof(compile));
  CHECK(xc_version(xch, XENVER_compile_info, &compile) == 0);
  xen_capabilities_info_t capabilities = "";
  CHECK(xc_version(xch, XENVER_capabilities, capabilities) == 0);
  CHECK(strstr(capabilities, "xen-3.0-x86_64") != NULL);
  xen_changeset_info_t changeset = "";
  CHECK(xc_version(xch, XENVER_changeset, changeset) == 0);
  xen_platform_parameters_t platform = {0};
  CHECK(xc_version(xch, XENVER_platform_parameters, &platform) == 0 && platform.virt_start != 0);
  xen_feature_info_t features = {.submap_idx = 0};
  CHECK(xc_version(xch, XENVER_get_features, &features) == 0 && features.submap != 0);
  CHECK(xc_version(xch, XENVER_pagesize, NULL) == 4096);
  xen_domain_handle_t handle;
  CHECK(xc_version(xch, XENVER_guest_handle, &handle) == 0);
  xen_commandline_t command_line = "";
  CHECK(xc_version(xch, XENVER_commandline, command_line) == 0);
  CHECK(xc_version(xch, 999, NULL) < 0);
  printf("version %d.%d%s, %s, %s, %s, features %x\n", version >> 16, version & 0xffff,
         extraversion, compile.compiler, capabilities, changeset, features.submap);
}

static void check_host(void) {
  xc_physinfo_t host;
  memset(&host, 0x5a, sizeof(host));
  CHECK(xc_physinfo(xch, &host) == 0);
  CHECK(host.nr_cpus >= 1 && host.total_pages > host.free_pages && host.free_pages > 0);

  int scheduler = 0;
  CHECK(xc_sched_id(xch, &scheduler) == 0 && scheduler == XEN_SCHEDULER_CREDIT2);

  xc_cpuinfo_t cpus[64];
  int nr_cpus = 0;
  CHECK(xc_getcpuinfo(xch, 64, cpus, &nr_cpus) == 0 && nr_cpus == (int)host.nr_cpus);
  CHECK(xc_getcpuinfo(xch, 1, cpus, &nr_cpus) == 0 && nr_cpus == 1);
  CHECK(xc_getcpuinfo(xch, 0, cpus, &nr_cpus) == 0 && nr_cpus == 0);
  printf("host: %u cpus, %u nodes, %lu pages, scheduler %d\n", host.nr_cpus, host.nr_nodes,
         (unsigned long)host.total_pages, scheduler);
}

static long reservation(unsigned op, uint32_t domid) {
  domid_t id = (domid_t)domid;
  return xc_memory_op(xch, op, &id, sizeof(id));
}

static void check_memory(uint32_t domid) {
  enum { kExtents = 3000 };
  static xen_pfn_t extents[kExtents];
  CHECK(xc_domain_setmaxmem(xch, domid, kExtents * 4) == 0);
  CHECK(reservation(XENMEM_current_reservation, domid) == 0);
  for (unsigned i = 0; i < kExtents; i++) extents[i] = i;
  CHECK(xc_domain_populate_physmap_exact(xch, domid, 0, 0, 0, extents) == 0);
  CHECK(xc_domain_populate_physmap_exact(xch, domid, kExtents, 0, 0, extents) == 0);
  CHECK(reservation(XENMEM_current_reservation, domid) == kExtents);
  CHECK(reservation(XENMEM_maximum_reservation, domid) == kExtents);

  // Over the limit: nothing is given, and it is said.
  xen_pfn_t more = kExtents;
  CHECK_REFUSED(xc_domain_populate_physmap_exact(xch, domid, 1, 0, 0, &more), EBUSY);
  CHECK(reservation(XENMEM_current_reservation, domid) == kExtents);
  CHECK(xc_domain_populate_physmap(xch, domid, 1, 60, 0, &more) <= 0);

  uint64_t given = 0;
  for (unsigned i = 0; i < kExtents; i++) given += extents[i];
  CHECK(given != 0);

  // getmemlist, which Xen took back (public/domctl.h says so beside its number).
  struct xen_domctl getmemlist = {.cmd = 6, .domain = (domid_t)domid};
  CHECK_REFUSED(xc_domctl(xch, &getmemlist), ENOSYS);
  CHECK_REFUSED(reservation(XENMEM_current_reservation, kNobody), ESRCH);
  CHECK(xc_domain_populate_physmap(xch, kNobody, 1, 0, 0, &more) == 0);
  printf("memory: %d extents\n", kExtents);
}

static void print_domain(const xc_dominfo_t *info) {
  printf("domain %u: %lu pages, at most %lu KiB, vcpus to %u%s%s%s\n", info->domid, info->nr_pages,
         info->max_memkb, info->max_vcpu_id, info->paused ? ", paused" : "",
         info->dying ? ", dying" : "", info->hvm ? ", hvm" : "");
}

static void check_domain(void) {
  xc_physinfo_t before, after;
  CHECK(xc_physinfo(xch, &before) == 0);
  struct xen_domctl_createdomain config = {
      .max_vcpus = 2,
      .max_evtchn_port = 1023,
      .max_grant_frames = 32,
      .max_maptrack_frames = 1024,
      .grant_opts = XEN_DOMCTL_GRANT_version(1),
  };
  uint32_t domid = 0;
  CHECK(xc_domain_create(xch, &domid, &config) == 0 && domid != 0);
  uint32_t again = domid;
  CHECK_REFUSED(xc_domain_create(xch, &again, &config), EEXIST);
  config.max_vcpus = 0;
  again = 0;  // of 0 Xen chooses a number
  CHECK_REFUSED(xc_domain_create(xch, &again, &config), EINVAL);

  CHECK(xc_domain_max_vcpus(xch, domid, 2) == 0);
  CHECK_REFUSED(xc_domain_max_vcpus(xch, domid, 3), EINVAL);
  check_memory(domid);

  xc_dominfo_t info[4];
  CHECK(xc_domain_getinfo(xch, 0, 4, info) == 2 && info[1].domid == domid);
  print_domain(&info[1]);
  CHECK(info[1].paused && info[1].nr_pages == 3000);
  CHECK(xc_domain_unpause(xch, domid) == 0 || errno == EINVAL);  // no vcpu has a context
  CHECK(xc_domain_pause(xch, domid) == 0);
  CHECK_REFUSED(xc_domain_pause(xch, kNobody), ESRCH);
  CHECK_REFUSED(xc_domain_unpause(xch, kNobody), ESRCH);
  CHECK_REFUSED(xc_domain_setmaxmem(xch, kNobody, 4), ESRCH);
  CHECK_REFUSED(xc_domain_destroy(xch, kNobody), ESRCH);
  CHECK_REFUSED(xc_domain_destroy(xch, 0), EINVAL);

  xc_domaininfo_t list[2];
  CHECK(xc_domain_getinfolist(xch, 1, 2, list) == 1 && list[0].domain == domid);
  CHECK(xc_domain_getinfolist(xch, domid + 1, 2, list) == 0);

  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK_REFUSED(xc_domain_getinfo(xch, domid, 1, info), ESRCH);
  CHECK(xc_physinfo(xch, &after) == 0 && after.free_pages == before.free_pages);
}

// A mapping that the program ends by munmap, as toolstacks do: the frame is the domain's until
// then, and free after.
static void check_foreign_memory(void) {
  xc_physinfo_t before, after;
  CHECK(xc_physinfo(xch, &before) == 0);
  struct xen_domctl_createdomain config = {.max_vcpus = 1,
                                           .max_evtchn_port = 1023,
                                           .max_grant_frames = 32,
                                           .max_maptrack_frames = 1024,
                                           .grant_opts = XEN_DOMCTL_GRANT_version(1)};
  uint32_t domid = 0;
  CHECK(xc_domain_create(xch, &domid, &config) == 0);
  CHECK(xc_domain_setmaxmem(xch, domid, 64) == 0);
  xen_pfn_t frames[4] = {0, 1, 2, 3};
  CHECK(xc_domain_populate_physmap_exact(xch, domid, 4, 0, 0, frames) == 0);
  unsigned char *mapped = xc_map_foreign_range(xch, domid, 4096, PROT_READ | PROT_WRITE, frames[2]);
  CHECK(mapped != NULL);
  if (mapped != NULL) {
    CHECK(mapped[0] == 0 && mapped[4095] == 0);
    mapped[17] = 'x';
    unsigned char *again = xc_map_foreign_range(xch, domid, 4096, PROT_READ, frames[2]);
    CHECK(again != NULL && again[17] == 'x');
    CHECK(munmap(again, 4096) == 0);
    CHECK(xc_domain_destroy(xch, domid) == 0);
    CHECK(mapped[17] == 'x');  // held
    CHECK(munmap(mapped, 4096) == 0);
  }
  CHECK(xc_map_foreign_range(xch, kNobody, 4096, PROT_READ, 0) == NULL);
  xc_domaininfo_t list[2];
  CHECK(xc_domain_getinfolist(xch, 1, 2, list) == 0);
  CHECK(xc_physinfo(xch, &after) == 0 && after.free_pages == before.free_pages);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  xch = xc_interface_open(NULL, NULL, 0);
  CHECK(xch != NULL);
  if (xch != NULL) {
    check_version();
    check_host();
    check_domain();
    check_foreign_memory();
    CHECK(xc_interface_close(xch) == 0);
  }
  return close_checks();
}
