// Calls about one domain that are not about its memory: vcpus, events, parameters, policies.
#include <stdlib.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

static void check_vcpus(uint32_t domid) {
  xc_vcpuinfo_t info;
  CHECK(xc_vcpu_getinfo(xch, domid, 1, &info) == 0);
  CHECK(info.vcpu == 1 && !info.online && !info.running);
  CHECK_REFUSED(xc_vcpu_getinfo(xch, domid, 2, &info), EINVAL);
  CHECK_REFUSED(xc_vcpu_getinfo(xch, kNobody, 0, &info), ESRCH);

  xc_cpumap_t hard = xc_cpumap_alloc(xch), soft = xc_cpumap_alloc(xch);
  CHECK(xc_vcpu_getaffinity(xch, domid, 0, hard, soft,
                            XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT) == 0);
  CHECK(xc_cpumap_testcpu(0, hard) && xc_cpumap_testcpu(0, soft));
  const int size = xc_get_cpumap_size(xch);
  memset(hard, 0, (size_t)size);
  memset(soft, 0, (size_t)size);
  xc_cpumap_setcpu(0, hard);
  xc_cpumap_setcpu(0, soft);
  CHECK(xc_vcpu_setaffinity(xch, domid, 0, hard, soft,
                            XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT) == 0);
  CHECK(xc_cpumap_testcpu(0, hard) && xc_cpumap_testcpu(0, soft));
  memset(hard, 0, (size_t)size);
  CHECK_REFUSED(xc_vcpu_setaffinity(xch, domid, 0, hard, soft, XEN_VCPUAFFINITY_HARD), EINVAL);
  CHECK_REFUSED(xc_vcpu_setaffinity(xch, domid, 0, hard, soft, 0), EINVAL);
  CHECK_REFUSED(xc_vcpu_getaffinity(xch, domid, 9, hard, soft, XEN_VCPUAFFINITY_HARD), EINVAL);
  free(hard);
  free(soft);

  struct xen_domctl_sched_credit2 credit = {0};
  CHECK(xc_sched_credit2_domain_get(xch, domid, &credit) == 0 && credit.weight == 256);
  credit.weight = 512;
  CHECK(xc_sched_credit2_domain_set(xch, domid, &credit) == 0);
  credit.weight = 0;
  CHECK(xc_sched_credit2_domain_get(xch, domid, &credit) == 0 && credit.weight == 512);
}

static void check_events(uint32_t domid) {
  const int port = xc_evtchn_alloc_unbound(xch, domid, 0);
  CHECK(port > 0);
  CHECK(xc_evtchn_alloc_unbound(xch, domid, 0) == port + 1);
  xc_evtchn_status_t status = {.dom = (domid_t)domid, .port = (evtchn_port_t)port};
  CHECK(xc_evtchn_status(xch, &status) == 0);
  CHECK(status.status == EVTCHNSTAT_unbound && status.u.unbound.dom == 0);
  status.port = (evtchn_port_t)port + 2;
  CHECK(xc_evtchn_status(xch, &status) == 0 && status.status == EVTCHNSTAT_closed);
  status.port = 100000;
  CHECK_REFUSED(xc_evtchn_status(xch, &status), EINVAL);
  CHECK_REFUSED(xc_evtchn_alloc_unbound(xch, kNobody, 0), ESRCH);
}

static void check_grants(uint32_t domid) {
  struct gnttab_query_size query = {.dom = 0};
  CHECK(xc_gnttab_query_size(xch, &query) == 0 && query.status == GNTST_okay);
  CHECK(query.nr_frames <= query.max_nr_frames && query.max_nr_frames > 0);
  CHECK(xc_gnttab_get_version(xch, domid) == 1);
  CHECK_REFUSED(xc_gnttab_get_version(xch, kNobody), ESRCH);
}

static void check_hvm(uint32_t domid) {
  uint64_t value = 1;
  CHECK(xc_hvm_param_set(xch, domid, HVM_PARAM_STORE_PFN, 0x1234) == 0);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_STORE_PFN, &value) == 0 && value == 0x1234);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_CONSOLE_PFN, &value) == 0 && value == 0);
  CHECK_REFUSED(xc_hvm_param_get(xch, domid, 1000, &value), EINVAL);
  CHECK_REFUSED(xc_hvm_param_set(xch, kNobody, HVM_PARAM_STORE_PFN, 1), ESRCH);

  const int size = xc_domain_hvm_getcontext(xch, domid, NULL, 0);
  CHECK(size > 0);
  if (size > 0) {
    uint8_t *context = calloc(1, (size_t)size);
    CHECK(xc_domain_hvm_getcontext(xch, domid, context, (uint32_t)size) > 0);
    // It begins with the descriptor of a header: type 1, and Xen's magic.
    CHECK(context[0] == 1 && context[1] == 0 && context[8] == 0x86 && context[9] == 0x12);
    CHECK_REFUSED(xc_domain_hvm_getcontext(xch, domid, context, 8), ENOSPC);
    free(context);
  }
}

static void check_pv_context(uint32_t domid) {
  vcpu_guest_context_any_t *context = calloc(1, sizeof(*context));
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 0, context), ENODATA);
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 7, context), EINVAL);
  free(context);
}

static void check_policy(uint32_t domid) {
  uint32_t max_leaves = 0, max_msrs = 0;
  CHECK(xc_cpu_policy_get_size(xch, &max_leaves, &max_msrs) == 0);
  CHECK(max_leaves > 0 && max_msrs > 0);
  xc_cpu_policy_t *policy = xc_cpu_policy_init();
  CHECK(policy != NULL && xc_cpu_policy_get_domain(xch, domid, policy) == 0);
  CHECK(xc_cpu_policy_get_system(xch, XEN_SYSCTL_cpu_policy_host, policy) == 0);
  CHECK_REFUSED(xc_cpu_policy_get_domain(xch, kNobody, policy), ESRCH);
  xc_cpu_policy_destroy(policy);
}

static void check_vnuma(uint32_t domid) {
  xen_vmemrange_t range[1] = {{.start = 0, .end = 4 << 20, .flags = 0, .nid = 0}};
  unsigned distance[1] = {10}, vcpu_to_vnode[2] = {0, 0}, vnode_to_pnode[1] = {0};
  uint32_t nodes = 1, ranges = 1, vcpus = 2;
  xen_vmemrange_t got[1];
  unsigned got_distance[1], got_vcpus[2];
  CHECK_REFUSED(
      xc_domain_getvnuma(xch, domid, &nodes, &ranges, &vcpus, got, got_distance, got_vcpus),
      EOPNOTSUPP);
  CHECK(xc_domain_setvnuma(xch, domid, 1, 1, 2, range, distance, vcpu_to_vnode, vnode_to_pnode) ==
        0);
  memset(got, 0x5a, sizeof(got));
  CHECK(xc_domain_getvnuma(xch, domid, &nodes, &ranges, &vcpus, got, got_distance, got_vcpus) == 0);
  CHECK(nodes == 1 && ranges == 1 && vcpus == 2);
  CHECK(got[0].start == 0 && got[0].end == 4 << 20 && got_distance[0] == 10 && got_vcpus[1] == 0);
}

void check_domain_calls(void) {
  const uint32_t pv = create_domain_with_pages(0, 2, 16, NULL);
  check_vcpus(pv);
  check_events(pv);
  check_grants(pv);
  check_pv_context(pv);
  check_policy(pv);
  check_vnuma(pv);
  CHECK(xc_domain_destroy(xch, pv) == 0);

  const uint32_t hvm =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2, 16, NULL);
  check_vcpus(hvm);
  check_events(hvm);
  check_hvm(hvm);
  check_policy(hvm);
  CHECK(xc_domain_destroy(xch, hvm) == 0);
}
