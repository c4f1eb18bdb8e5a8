// A toolstack's calls through stock libxenctrl: what real Xen answers, line by line: 4.17 on
// Debian 12, 4.20 on Debian 13.
//
// The same program runs on real Xen under Debian's libxencall and under ours, and on the embedded
// hypervisor in every space. A check that only one of them passes is a bug of the other, or of the
// check.
#include "tests/xen/toolstack.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/xen/check.h"

xc_interface *xch;
unsigned checks_passed, checks_failed;

uint32_t create_domain(uint32_t flags, unsigned max_vcpus) {
  struct xen_domctl_createdomain config = {
      .flags = flags,
      .max_vcpus = max_vcpus,
      .max_evtchn_port = 1023,
      .max_grant_frames = 32,
      .max_maptrack_frames = 1024,
      .grant_opts = XEN_DOMCTL_GRANT_version(1),
  };
  memset(config.handle, 0xa5, sizeof(config.handle));
  if (flags & XEN_DOMCTL_CDF_hvm) config.arch.emulation_flags = XEN_X86_EMU_LAPIC;
  uint32_t domid = 0;
  CHECK(xc_domain_create(xch, &domid, &config) == 0);
  return domid;
}

uint32_t create_domain_with_pages(uint32_t flags, unsigned max_vcpus, unsigned pages,
                                  xen_pfn_t *frames) {
  const uint32_t domid = create_domain(flags, max_vcpus);
  CHECK(xc_domain_max_vcpus(xch, domid, max_vcpus) == 0);
  CHECK(xc_domain_setmaxmem(xch, domid, (pages + 64) * 4) == 0);
  if (flags & XEN_DOMCTL_CDF_hap) {
    unsigned megabytes = 2;
    CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0) == 0);
  }
  xen_pfn_t *extents = calloc(pages, sizeof(*extents));
  for (unsigned i = 0; i < pages; i++) extents[i] = i;
  CHECK(xc_domain_populate_physmap_exact(xch, domid, pages, 0, 0, extents) == 0);
  if (frames != NULL) memcpy(frames, extents, pages * sizeof(*extents));
  free(extents);
  return domid;
}

bool find_domain(uint32_t domid, xc_domaininfo_t *info) {
  // Xen answers with the next domain that there is.
  return xc_domain_getinfolist(xch, domid, 1, info) == 1 && info->domain == domid;
}

static void check_version(void) {
  const int version = xc_version(xch, XENVER_version, NULL);
  CHECK(version >> 16 == 4 && (version & 0xffff) == kMinor);

  xen_extraversion_t extraversion;
  memset(extraversion, '?', sizeof(extraversion));
  CHECK(xc_version(xch, XENVER_extraversion, &extraversion) == 0);
  CHECK(memchr(extraversion, 0, sizeof(extraversion)) != NULL && extraversion[0] == '.');

  xen_compile_info_t compile_info;
  memset(&compile_info, '?', sizeof(compile_info));
  CHECK(xc_version(xch, XENVER_compile_info, &compile_info) == 0);
  CHECK(memchr(compile_info.compiler, 0, sizeof(compile_info.compiler)) != NULL);
  CHECK(memchr(compile_info.compile_date, 0, sizeof(compile_info.compile_date)) != NULL);

  xen_capabilities_info_t capabilities;
  CHECK(xc_version(xch, XENVER_capabilities, &capabilities) == 0);
  CHECK(strstr(capabilities, "xen-3.0-x86_64") != NULL);

  xen_changeset_info_t changeset;
  CHECK(xc_version(xch, XENVER_changeset, &changeset) == 0);

  xen_platform_parameters_t parameters = {0};
  CHECK(xc_version(xch, XENVER_platform_parameters, &parameters) == 0);
  CHECK(parameters.virt_start != 0);

  xen_feature_info_t features = {.submap_idx = 0};
  CHECK(xc_version(xch, XENVER_get_features, &features) == 0);
  CHECK((features.submap & (1u << XENFEAT_dom0)) != 0);
  CHECK(xc_version(xch, XENVER_pagesize, NULL) == 4096);
  CHECK(xc_version(xch, 999, NULL) < 0);

  xen_domain_handle_t handle;
  CHECK(xc_version(xch, XENVER_guest_handle, &handle) == 0);

  xen_commandline_t command_line;
  CHECK(xc_version(xch, XENVER_commandline, &command_line) == 0);
  CHECK(memchr(command_line, 0, sizeof(command_line)) != NULL);

  struct {
    xen_build_id_t head;
    char bytes[64];
  } build_id = {.head = {.len = sizeof(build_id.bytes)}};
  const int length = xc_version(xch, XENVER_build_id, &build_id.head);
  CHECK(length == 20 || (length < 0 && errno == ENODATA));
}

static void check_host_basics(void) {
  xc_physinfo_t physinfo;
  memset(&physinfo, 0x5a, sizeof(physinfo));
  CHECK(xc_physinfo(xch, &physinfo) == 0);
  CHECK(physinfo.nr_cpus >= 1 && physinfo.threads_per_core >= 1);
  CHECK(physinfo.max_cpu_id + 1 >= physinfo.nr_cpus && physinfo.nr_nodes == 1);
  CHECK(physinfo.total_pages > physinfo.free_pages && physinfo.free_pages > 0);
  CHECK(physinfo.cpu_khz > 0);
  CHECK((physinfo.capabilities & XEN_SYSCTL_PHYSCAP_pv) != 0);

  int scheduler = 0;
  CHECK(xc_sched_id(xch, &scheduler) == 0);
  CHECK(scheduler == XEN_SCHEDULER_CREDIT2);

  xc_cpuinfo_t cpus[8];
  int nr_cpus = 0;
  CHECK(xc_getcpuinfo(xch, 8, cpus, &nr_cpus) == 0);
  CHECK(nr_cpus == (physinfo.nr_cpus < 8 ? (int)physinfo.nr_cpus : 8));
  CHECK(xc_getcpuinfo(xch, 1, cpus, &nr_cpus) == 0 && nr_cpus == 1);
  nr_cpus = 5;
  CHECK(xc_getcpuinfo(xch, 0, cpus, &nr_cpus) == 0 && nr_cpus == 0);
}

// Domain 0 and what stands for a domain that is not there.
static void check_domain_info(void) {
  xc_domaininfo_t list[4];
  CHECK(xc_domain_getinfolist(xch, 0, 4, list) == 1);
  CHECK(list[0].domain == 0 && list[0].nr_online_vcpus >= 1 && list[0].tot_pages > 0);
  CHECK((list[0].flags & (XEN_DOMINF_dying | XEN_DOMINF_hvm_guest)) == 0);
  CHECK(xc_domain_getinfolist(xch, kNobody, 4, list) == 0);
  CHECK(xc_domain_getinfolist(xch, 0, 0, list) == 0);

  CHECK_REFUSED(xc_domain_pause(xch, kNobody), ESRCH);
  CHECK_REFUSED(xc_domain_unpause(xch, kNobody), ESRCH);
  CHECK_REFUSED(xc_domain_destroy(xch, kNobody), ESRCH);
  CHECK_REFUSED(xc_domain_destroy(xch, 0), EINVAL);
  CHECK_REFUSED(xc_domain_setmaxmem(xch, kNobody, 4096), ESRCH);
  CHECK_REFUSED(xc_domain_max_vcpus(xch, kNobody, 1), ESRCH);
  CHECK_REFUSED(xc_get_tot_pages(xch, kNobody), ESRCH);
}

static void check_creation(void) {
  uint32_t domid = 0;
  struct xen_domctl_createdomain config = {.max_vcpus = 1,
                                           .max_evtchn_port = 1023,
                                           .max_grant_frames = 32,
                                           .max_maptrack_frames = 1024,
                                           .grant_opts = XEN_DOMCTL_GRANT_version(1)};

  config.max_vcpus = 0;
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);
  config.max_vcpus = 100000;
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);
  config.max_vcpus = 1;
  config.flags = 1u << 30;
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);
  config.flags = XEN_DOMCTL_CDF_s3_integrity;  // of a machine that tboot started
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);
  config.flags = 0;
  config.cpupool_id = 77;
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), ESRCH);
  config.cpupool_id = 0;

  domid = 0;  // of 0 Xen chooses a number
  CHECK(xc_domain_create(xch, &domid, &config) == 0);
  CHECK(domid != 0);
  uint32_t taken = domid;
  CHECK_REFUSED(xc_domain_create(xch, &taken, &config), EEXIST);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

// A PV domain from its creation to its end.
static void check_domain(void) {
  xc_physinfo_t before, after;
  CHECK(xc_physinfo(xch, &before) == 0);

  const uint32_t domid = create_domain(0, 4);
  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info) && (info.flags & XEN_DOMINF_paused) != 0);
  CHECK((info.flags & (XEN_DOMINF_running | XEN_DOMINF_hvm_guest)) == 0);
  CHECK(info.tot_pages == 0 && info.nr_online_vcpus == 0);
  CHECK(info.handle[0] == 0xa5 && info.handle[15] == 0xa5);

  CHECK(xc_domain_max_vcpus(xch, domid, 4) == 0);
  CHECK_REFUSED(xc_domain_max_vcpus(xch, domid, 2), EINVAL);
  CHECK_REFUSED(xc_domain_max_vcpus(xch, domid, 5), EINVAL);
  CHECK(xc_domain_setmaxmem(xch, domid, 4096) == 0);  // KiB: 1024 pages

  // Memory: 256 extents, then more than the limit allows.
  enum { kPages = 256 };
  xen_pfn_t *extents = calloc(4096, sizeof(*extents));
  for (unsigned i = 0; i < kPages; i++) extents[i] = i;
  CHECK(xc_domain_populate_physmap_exact(xch, domid, kPages, 0, 0, extents) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages);
  bool all_given = true, all_different = true;
  for (unsigned i = 0; i < kPages; i++) {
    all_given = all_given && extents[i] != 0 && extents[i] != ~(xen_pfn_t)0;
    for (unsigned j = 0; j < i; j++) all_different = all_different && extents[i] != extents[j];
  }
  CHECK(all_given && all_different);

  for (unsigned i = 0; i < 1024; i++) extents[i] = kPages + i;
  CHECK(xc_domain_populate_physmap(xch, domid, 1024, 0, 0, extents) == 1024 - kPages);
  CHECK(xc_get_tot_pages(xch, domid) == 1024);
  CHECK(xc_domain_populate_physmap(xch, domid, 1, 0, 0, extents) == 0);
  CHECK_REFUSED(xc_domain_populate_physmap_exact(xch, domid, 1, 0, 0, extents), EBUSY);

  CHECK(find_domain(domid, &info) && info.max_vcpu_id == 3);
  CHECK(info.tot_pages == 1024 && info.max_pages == 1024);

  xc_domaininfo_t list[4];
  const int listed = xc_domain_getinfolist(xch, 0, 4, list);
  CHECK(listed == 2 && list[1].domain == domid && list[1].tot_pages == 1024);
  CHECK(xc_domain_getinfolist(xch, 1, 4, list) == 1 && list[0].domain == domid);
  CHECK(xc_domain_getinfolist(xch, 0, 1, list) == 1 && list[0].domain == 0);

  CHECK(xc_domain_unpause(xch, domid) == 0 || errno == EINVAL);
  CHECK(xc_domain_pause(xch, domid) == 0);

  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK(!find_domain(domid, &info));
  // Xen gives memory back behind the call's back, and its own heap may keep a few pages of it.
  const uint64_t kept = 16;
  for (int i = 0; i < 100; i++) {
    if (xc_physinfo(xch, &after) != 0) break;
    if (after.free_pages + after.scrub_pages + kept >= before.free_pages) break;
    usleep(10000);
  }
  CHECK(after.free_pages + after.scrub_pages + kept >= before.free_pages);
  free(extents);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  xch = xc_interface_open(NULL, NULL, 0);
  CHECK(xch != NULL);
  if (xch == NULL) return close_checks();
  xc_domaininfo_t domain_0;
  if (find_domain(0, &domain_0) && (domain_0.flags & XEN_DOMINF_hvm_guest) != 0) {
    // All else is compared with a PV domain 0.
    check_grants_in_use();
    check_many_pages();
    CHECK(xc_interface_close(xch) == 0);
    return close_checks();
  }
  check_version();
  check_host_basics();
  check_domain_info();
  check_creation();
  check_domain();
  check_domain_state();
  check_host_calls();
  check_domain_calls();
  if (getenv("XEN_IS_DEBUG") == NULL) {
    check_hvm_state();
  } else {
    printf("skipped: state of HVM vcpus, at some of which a Xen with CONFIG_DEBUG stops\n");
  }
  check_memory_calls();
  check_page_tables();
  check_builder();
  check_grants_in_use();
  check_many_pages();
  check_restriction();
  CHECK(xc_interface_close(xch) == 0);
  return close_checks();
}
