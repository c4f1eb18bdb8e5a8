// What Xen tells of a domain from its creation to its end: limits, pauses, shutdown, properties;
// and which domains it tells of when some are missing.
#include <stdlib.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

enum { kNoReason = 255 };  // of a domain that was not shut down

static xc_domaininfo_t info_of(uint32_t domid) {
  xc_domaininfo_t info;
  memset(&info, 0x5a, sizeof(info));
  CHECK(find_domain(domid, &info));
  return info;
}

static bool has(uint32_t domid, uint32_t flag) { return (info_of(domid).flags & flag) != 0; }

static unsigned shutdown_reason(uint32_t domid) {
  return (info_of(domid).flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
}

static void check_new_domain(uint32_t domid, bool hvm) {
  const xc_domaininfo_t info = info_of(domid);
  CHECK(shutdown_reason(domid) == kNoReason);
  CHECK(info.flags ==
        (0xffff0000u | XEN_DOMINF_paused | (hvm ? XEN_DOMINF_hvm_guest | XEN_DOMINF_hap : 0)));
  CHECK(info.pad1 == 0 && info.arch_config.emulation_flags == (hvm ? XEN_X86_EMU_LAPIC : 0u));
  CHECK(info.tot_pages == 0 && info.outstanding_pages == 0);
  CHECK(info.shr_pages == 0 && info.paged_pages == 0);
  CHECK(info.max_pages == 0 && info.cpu_time == 0 && info.ssidref == 0 && info.cpupool == 0);
  CHECK(info.nr_online_vcpus == 0 && info.max_vcpu_id == (unsigned)XEN_INVALID_MAX_VCPU_ID);
  CHECK(info.gpaddr_bits >= 36 && info.gpaddr_bits <= 52);
  // An HVM domain has its shared info nowhere yet; a PV domain's is a machine frame.
  CHECK((info.shared_info_frame == ~0ul) == hvm && info.shared_info_frame != 0);
}

// Given in KiB, kept in pages.
static void check_limits(uint32_t domid) {
  static const struct {
    uint64_t set, told;
  } kLimits[] = {{1023, 255}, {2049, 512}, {3, 0}, {~0ull, 0xffffffff}, {4096, 1024}};
  for (unsigned i = 0; i < sizeof(kLimits) / sizeof(kLimits[0]); i++) {
    CHECK(xc_domain_setmaxmem(xch, domid, kLimits[i].set) == 0);
    CHECK(info_of(domid).max_pages == kLimits[i].told);
  }
  CHECK_REFUSED(xc_domain_max_vcpus(xch, domid, 1), EINVAL);
  CHECK(xc_domain_max_vcpus(xch, domid, 2) == 0);
  CHECK(info_of(domid).max_vcpu_id == 1);

  // Promised, and then given up.
  CHECK(xc_domain_claim_pages(xch, domid, 10) == 0);
  CHECK(info_of(domid).outstanding_pages == 10);
  CHECK_REFUSED(xc_domain_claim_pages(xch, domid, 20), EINVAL);
  CHECK(xc_domain_claim_pages(xch, domid, 0) == 0);
  CHECK(info_of(domid).outstanding_pages == 0);
  CHECK_REFUSED(xc_domain_claim_pages(xch, domid, 1025), EINVAL);  // more than its limit
  // Nor no more than it has.
  xen_pfn_t extents[3] = {0, 1, 2};
  CHECK(xc_domain_populate_physmap_exact(xch, domid, 3, 0, 0, extents) == 0);
  CHECK_REFUSED(xc_domain_claim_pages(xch, domid, 2), EINVAL);
  CHECK_REFUSED(xc_domain_claim_pages(xch, domid, 3), EINVAL);
  CHECK(xc_domain_claim_pages(xch, domid, 4) == 0 && info_of(domid).outstanding_pages == 1);
  CHECK(xc_domain_claim_pages(xch, domid, 0) == 0);
  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 3, 0, extents) == 0);
}

static void check_pauses_and_shutdown(uint32_t domid, bool hvm) {
  CHECK(xc_domain_pause(xch, domid) == 0 && has(domid, XEN_DOMINF_paused));
  CHECK(xc_domain_unpause(xch, domid) == 0 && has(domid, XEN_DOMINF_paused));  // paused twice
  CHECK_REFUSED(xc_domain_pause(xch, 0), EINVAL);
  CHECK(xc_evtchn_reset(xch, domid) == 0);
  CHECK(xc_domain_unpause(xch, domid) == 0 && !has(domid, XEN_DOMINF_paused));
  CHECK_REFUSED(xc_evtchn_reset(xch, domid), EINVAL);  // it runs
  CHECK(xc_domain_pause(xch, domid) == 0);

  CHECK(xc_domain_shutdown(xch, domid, SHUTDOWN_suspend) == 0);
  CHECK(has(domid, XEN_DOMINF_shutdown) && shutdown_reason(domid) == SHUTDOWN_suspend);
  CHECK(xc_domain_shutdown(xch, domid, SHUTDOWN_poweroff) == 0);  // the first reason stands
  CHECK(shutdown_reason(domid) == SHUTDOWN_suspend);
  if (!hvm) {
    // Its registers would be changed, and it has none yet.
    CHECK_REFUSED(xc_domain_resume(xch, domid, 1), ENODATA);
    return;
  }
  CHECK(xc_domain_resume(xch, domid, 1) == 0);
  CHECK(!has(domid, XEN_DOMINF_shutdown) && shutdown_reason(domid) == kNoReason);
  CHECK(xc_domain_shutdown(xch, domid, SHUTDOWN_crash) == 0);
  CHECK(has(domid, XEN_DOMINF_shutdown) && shutdown_reason(domid) == SHUTDOWN_crash);
  CHECK_REFUSED(xc_domain_shutdown(xch, kNobody, SHUTDOWN_crash), ESRCH);
}

static void check_properties(uint32_t domid, bool hvm) {
  xen_domain_handle_t handle;
  memset(handle, 0x77, sizeof(handle));
  CHECK(xc_domain_sethandle(xch, domid, handle) == 0);
  CHECK(memcmp(info_of(domid).handle, handle, sizeof(handle)) == 0);
  CHECK(xc_domain_setdebugging(xch, domid, 1) == 0 && has(domid, XEN_DOMINF_debugged));
  CHECK(xc_domain_setdebugging(xch, domid, 0) == 0 && !has(domid, XEN_DOMINF_debugged));
  CHECK(xc_domain_set_time_offset(xch, domid, 3600) == 0);
  CHECK(xc_domain_subscribe_for_suspend(xch, domid, 3) == 0);

  uint32_t mode = 9, khz = 0, incarnation = 0;
  uint64_t elapsed = 0;
  CHECK(xc_domain_get_tsc_info(xch, domid, &mode, &elapsed, &khz, &incarnation) == 0);
  CHECK(mode == 0 && khz > 0 && incarnation == 1);
  CHECK(xc_domain_set_tsc_info(xch, domid, 1, 0, 0, 0) == 0);
  CHECK(xc_domain_get_tsc_info(xch, domid, &mode, &elapsed, &khz, &incarnation) == 0 && mode == 1);
  CHECK_REFUSED(xc_domain_set_tsc_info(xch, domid, 9, 0, 0, 0), EINVAL);

  unsigned width = 0;
  if (hvm) {
    CHECK(xc_domain_get_guest_width(xch, domid, &width) != 0 && errno == EOPNOTSUPP);
  } else {
    CHECK(xc_domain_get_guest_width(xch, domid, &width) == 0 && width == 8);
  }
  CHECK(xc_domain_get_cpu_usage(xch, domid, 0) == 0);
  CHECK_REFUSED(xc_domain_get_cpu_usage(xch, domid, 77), EINVAL);

  xc_nodemap_t nodes = xc_nodemap_alloc(xch);
  const size_t bytes = (size_t)xc_get_nodemap_size(xch);
  CHECK(xc_domain_node_getaffinity(xch, domid, nodes) == 0 && nodes[0] == 1);
  CHECK(xc_domain_node_setaffinity(xch, domid, nodes) == 0);
  memset(nodes, 0, bytes);
  CHECK_REFUSED(xc_domain_node_setaffinity(xch, domid, nodes), EINVAL);
  nodes[0] = 2;  // a node that there is not
  CHECK_REFUSED(xc_domain_node_setaffinity(xch, domid, nodes), EINVAL);
  free(nodes);
}

// Who is told of when some are missing: the next ones, in the order of their ids.
static void check_holes(void) {
  uint32_t domids[4];
  for (int i = 0; i < 4; i++) domids[i] = create_domain(0, 1);
  CHECK(xc_domain_destroy(xch, domids[1]) == 0);

  xc_domaininfo_t list[8];
  CHECK(xc_domain_getinfolist(xch, domids[0], 8, list) == 3);
  CHECK(list[0].domain == domids[0] && list[1].domain == domids[2] && list[2].domain == domids[3]);
  CHECK(xc_domain_getinfolist(xch, domids[1], 8, list) == 2 && list[0].domain == domids[2]);
  CHECK(xc_domain_getinfolist(xch, domids[0], 2, list) == 2 && list[1].domain == domids[2]);
  CHECK(xc_domain_getinfolist(xch, domids[3] + 1, 1, list) == 0);
  CHECK(xc_domain_getinfolist(xch, DOMID_SELF, 1, list) == 0);

  struct xen_domctl op = {.cmd = XEN_DOMCTL_getdomaininfo, .domain = (domid_t)domids[1]};
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  if (kMinor == 17) {
    CHECK(xc_domctl(xch, &op) == 0 && op.domain == domids[2]);
  } else {
    CHECK_REFUSED(xc_domctl(xch, &op), ESRCH);  // the call for one domain tells of no other
  }
  op.domain = (domid_t)(domids[3] + 1);
  CHECK_REFUSED(xc_domctl(xch, &op), ESRCH);
  op.domain = DOMID_SELF;
  CHECK_REFUSED(xc_domctl(xch, &op), kMinor == 17 ? EINVAL : ESRCH);
  // getmemlist, which Xen took back (public/domctl.h says so beside its number).
  op = (struct xen_domctl){.cmd = 6, .domain = (domid_t)domids[0]};
  CHECK_REFUSED(xc_domctl(xch, &op), ENOSYS);

  CHECK(xc_domain_destroy(xch, domids[0]) == 0);
  CHECK(xc_domain_destroy(xch, domids[2]) == 0);
  CHECK(xc_domain_destroy(xch, domids[3]) == 0);
}

// What a configuration is refused for, besides what check_creation tries.
static void check_refused_configurations(void) {
  static const struct {
    struct xen_domctl_createdomain config;
    int error;
  } kRefused[] = {
      {{.max_vcpus = 129, .flags = 3, .arch = {XEN_X86_EMU_LAPIC, 0}}, EINVAL},
      {{.max_vcpus = 1, .flags = XEN_DOMCTL_CDF_hap}, EINVAL},
      {{.max_vcpus = 1, .flags = XEN_DOMCTL_CDF_iommu}, EINVAL},
      {{.max_vcpus = 1, .flags = 3, .arch = {XEN_X86_EMU_PIT, 0}}, EOPNOTSUPP},
      {{.max_vcpus = 1, .arch = {XEN_X86_EMU_LAPIC, 0}}, EOPNOTSUPP},
      // Debian's Xen has no shadow page tables.
      {{.max_vcpus = 1, .flags = 1, .arch = {XEN_X86_EMU_LAPIC, 0}}, EOPNOTSUPP},
      // 4.17's own limit of them is a domain's, too.
      {{.max_vcpus = 1, .max_grant_frames = 65}, kMinor == 17 ? EINVAL : 0},
  };
  for (unsigned i = 0; i < sizeof(kRefused) / sizeof(kRefused[0]); i++) {
    struct xen_domctl_createdomain config = kRefused[i].config;
    config.max_evtchn_port = 1023;
    config.grant_opts = XEN_DOMCTL_GRANT_version(1);
    if (config.max_grant_frames == 0) config.max_grant_frames = 32;
    uint32_t domid = 0;
    if (kRefused[i].error != 0) {
      CHECK_REFUSED(xc_domain_create(xch, &domid, &config), kRefused[i].error);
      // An earlier Xen may have been content.
      if (domid != 0) CHECK(xc_domain_destroy(xch, domid) == 0);
    } else {
      CHECK(xc_domain_create(xch, &domid, &config) == 0 && xc_domain_destroy(xch, domid) == 0);
    }
  }
  struct xen_domctl_createdomain config = {.max_vcpus = 1, .max_grant_frames = 1};
  uint32_t domid = 0;
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);  // no grant version
  config.grant_opts = XEN_DOMCTL_GRANT_version(1);
  domid = 700;  // a number of its own
  CHECK(xc_domain_create(xch, &domid, &config) == 0 && domid == 700);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

void check_domain_state(void) {
  for (int hvm = 0; hvm < 2; hvm++) {
    const uint32_t domid = create_domain(hvm ? XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap : 0, 2);
    check_new_domain(domid, hvm);
    check_limits(domid);
    check_properties(domid, hvm);
    check_pauses_and_shutdown(domid, hvm);
    CHECK(xc_domain_destroy(xch, domid) == 0);
    xc_domaininfo_t gone;
    CHECK(!find_domain(domid, &gone));
  }
  check_holes();
  check_refused_configurations();
}
