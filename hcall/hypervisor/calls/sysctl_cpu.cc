// sysctl: what the processors can do, their pool, their scheduler and their power.

#include <array>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/calls/bitmap.h"
#include "hcall/hypervisor/calls/sysctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
std::int64_t CpuFeatureset(SysctlCall& op) {
  xen_sysctl_cpu_featureset& request = op.argument->u.cpu_featureset;
  const auto features = op.argument.Bind(schema::rows::sysctl::get_cpu_featureset::features);
  if (features.is_null()) {
    request.nr_features = kFeaturesetWords;
    return 0;
  }
  if (request.index > XEN_SYSCTL_cpu_featureset_hvm_max) return -kEINVAL;
  const std::uint32_t count =
      request.nr_features < kFeaturesetWords ? request.nr_features : kFeaturesetWords;
  if (!features.Write(0, HostFeatureset().first(count)).ok()) return -kEFAULT;
  request.nr_features = count;
  if (count == kFeaturesetWords) return 0;
  // There is more to tell, and the caller learns how much it has got.
  op.copy_back_always = true;
  return -kENOBUFS;
}

std::int64_t SystemCpuPolicy(SysctlCall& op) {
  xen_sysctl_cpu_policy& request = op.argument->u.cpu_policy;
  if (request._rsvd != 0 || request.index > XEN_SYSCTL_cpu_policy_hvm_default) return -kEINVAL;
  const auto leaves = op.argument.Bind(schema::rows::sysctl::get_cpu_policy::leaves);
  const auto msrs = op.argument.Bind(schema::rows::sysctl::get_cpu_policy::msrs);

  if (leaves.is_null()) {
    request.nr_leaves = kMaxCpuidLeaves;
  } else {
    if (request.nr_leaves < HostLeaves().size()) return -kENOBUFS;
    if (!leaves.Write(0, HostLeaves()).ok()) return -kEFAULT;
    request.nr_leaves = static_cast<std::uint32_t>(HostLeaves().size());
  }
  if (msrs.is_null()) {
    request.nr_msrs = kMaxMsrEntries;
  } else {
    if (request.nr_msrs < HostMsrs().size()) return -kENOBUFS;
    if (!msrs.Write(0, HostMsrs()).ok()) return -kEFAULT;
    request.nr_msrs = static_cast<std::uint32_t>(HostMsrs().size());
  }
  return 0;
}

std::int64_t PowerStatistics(SysctlCall& op) {
  xen_sysctl_get_pmstat& request = op.argument->u.get_pmstat;
  if (request.cpuid >= op.call.core.config.cpus) return -kEINVAL;
  // A machine whose firmware tells no power states: none of performance, and of sleep what Xen
  // assumes, running (C0) and halted (C1).
  constexpr std::uint32_t kStates = 2;
  switch (request.type) {
    case PMSTAT_get_max_cx:
      request.u.getcx.nr = kStates;
      return 0;
    case PMSTAT_get_cxstat:
      break;
    case PMSTAT_reset_cxstat:
      return 0;
    default:
      return (request.type & PMSTAT_CATEGORY_MASK) == PMSTAT_CX ? -kENOSYS : -kENODEV;
  }
  namespace rows = schema::rows::sysctl::get_pmstat;
  const auto triggers = op.argument.Bind(rows::u_getcx_triggers);
  const auto residencies = op.argument.Bind(rows::u_getcx_residencies);
  std::array<std::uint64_t, kMaxCpus> idle_times;
  const std::uint64_t now = op.call.core.schedule.Sample(op.call.vcpu, idle_times);
  const std::uint64_t idle = idle_times[request.cpuid];
  const std::uint64_t times_entered[kStates] = {1, 1};
  const std::uint64_t time_spent[kStates] = {now - idle, idle};
  const std::size_t count = request.u.getcx.nr < kStates ? request.u.getcx.nr : kStates;
  if (!triggers.Write(0, std::span(times_entered).first(count)).ok() ||
      !residencies.Write(0, std::span(time_spent).first(count)).ok()) {
    return -kEFAULT;
  }
  request.u.getcx.nr = kStates;
  request.u.getcx.last = 0;
  request.u.getcx.idle_time = idle;
  request.u.getcx.nr_pc = 0;
  request.u.getcx.nr_cc = 0;
  return 0;
}

std::int64_t PowerControl(SysctlCall& op) {
  xen_sysctl_pm_op& request = op.argument->u.pm_op;
  switch (request.cmd) {
    case XEN_SYSCTL_pm_op_set_sched_opt_smt:
      if (request.cpuid != 0) return -kEINVAL;
      request.u.set_sched_opt_smt = 0;  // what it was before, and stays without power states
      return 0;
    case XEN_SYSCTL_pm_op_get_max_cstate:
      if (request.cpuid > 1) return -kEINVAL;
      request.u.get_max_cstate = op.call.core.sleep_limit[request.cpuid];
      return 0;
    case XEN_SYSCTL_pm_op_set_max_cstate:
      if (request.cpuid > 1) return -kEINVAL;
      op.call.core.sleep_limit[request.cpuid] = request.u.set_max_cstate;
      return 0;
    default:
      break;
  }
  if (request.cpuid >= op.call.core.config.cpus) return -kEINVAL;
  if ((request.cmd & PM_PARA_CATEGORY_MASK) == CPUFREQ_PARA) return -kEINVAL;
  switch (request.cmd) {
    case XEN_SYSCTL_pm_op_enable_turbo:
    case XEN_SYSCTL_pm_op_disable_turbo:
      return -kEACCES;
    default:
      return -kENOSYS;
  }
}

std::int64_t CpuPool(SysctlCall& op) {
  xen_sysctl_cpupool_op& request = op.argument->u.cpupool_op;
  const unsigned cpus = op.call.core.config.cpus;
  switch (request.op) {
    case XEN_SYSCTL_CPUPOOL_OP_INFO: {
      // Of the first pool with this id or a higher one: there is pool 0.
      if (request.cpupool_id != 0) return -kENOENT;
      request.sched_id = XEN_SCHEDULER_CREDIT2;
      request.n_dom = op.call.core.domain_count;
      const auto cpumap = op.argument.Bind(schema::rows::sysctl::cpupool_op::cpumap_bitmap);
      if (!HasSaneSize(cpumap)) return -kE2BIG;
      return WriteCpus(cpumap, CpuMask::FirstOf(cpus), cpus) ? 0 : -kEFAULT;
    }
    case XEN_SYSCTL_CPUPOOL_OP_FREEINFO: {
      const auto cpumap = op.argument.Bind(schema::rows::sysctl::cpupool_op::cpumap_bitmap);
      if (!HasSaneSize(cpumap)) return -kE2BIG;
      return WriteCpus(cpumap, {}, cpus) ? 0 : -kEFAULT;
    }
    case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
      return request.cpupool_id == 0 ? -kEBUSY : -kENOENT;
    case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
      // Every processor is in pool 0 already.
      if (request.cpupool_id != 0) return -kENOENT;
      return request.cpu == XEN_SYSCTL_CPUPOOL_PAR_ANY || request.cpu < cpus ? -kENODEV : -kEINVAL;
    case XEN_SYSCTL_CPUPOOL_OP_RMCPU:
      return request.cpupool_id != 0 ? -kENOENT : -kEBUSY;
    case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
      if (request.domid == op.call.domain.id) return -kEPERM;
      if (op.call.core.domains.Find(request.domid) == nullptr) return -kESRCH;
      return request.cpupool_id == 0 ? 0 : -kENOENT;
    case XEN_SYSCTL_CPUPOOL_OP_CREATE:
      return -kEOPNOTSUPP;
    default:
      return -kENOSYS;
  }
}

std::int64_t SchedulerParameters(SysctlCall& op) {
  xen_sysctl_scheduler_op& request = op.argument->u.scheduler_op;
  if (request.cmd != XEN_SYSCTL_SCHEDOP_putinfo && request.cmd != XEN_SYSCTL_SCHEDOP_getinfo) {
    return -kEINVAL;
  }
  if (request.cpupool_id != 0) return -kESRCH;
  if (request.sched_id != XEN_SCHEDULER_CREDIT2) return -kEINVAL;
  Core& core = op.call.core;
  if (request.cmd == XEN_SYSCTL_SCHEDOP_getinfo) {
    request.u.sched_credit2.ratelimit_us = core.ratelimit_us;
    return 0;
  }
  const std::uint32_t limit = request.u.sched_credit2.ratelimit_us;
  if (limit != 0 &&
      (limit > XEN_SYSCTL_SCHED_RATELIMIT_MAX || limit < XEN_SYSCTL_SCHED_RATELIMIT_MIN)) {
    return -kEINVAL;
  }
  core.ratelimit_us = limit;
  return 0;
}

}  // namespace xencomm::hypervisor
