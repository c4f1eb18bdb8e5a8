// sysctl (35): the way in, the same for all its ops.

#include "hcall/hypervisor/sysctl.h"

#include "hcall/hypervisor/domain_info.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

std::int64_t RunOp(SysctlCall& op) {
  switch (op.argument->cmd) {
    case XEN_SYSCTL_sched_id:
      op.argument->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
      return 0;
    case XEN_SYSCTL_physinfo:
      return PhysInfo(op);
    case XEN_SYSCTL_getcpuinfo:
      return GetCpuInfo(op);
    case XEN_SYSCTL_getdomaininfolist:
      return GetDomainInfoList(op);
    case XEN_SYSCTL_availheap:
      return AvailHeap(op);
    case XEN_SYSCTL_cputopoinfo:
      return CpuTopology(op);
    case XEN_SYSCTL_numainfo:
      return NumaInfo(op);
    case XEN_SYSCTL_pcitopoinfo:
      return PciTopology(op);
    case XEN_SYSCTL_get_cpu_featureset:
      return CpuFeatureset(op);
    case XEN_SYSCTL_get_cpu_policy:
      return SystemCpuPolicy(op);
    case XEN_SYSCTL_get_cpu_levelling_caps:
      op.argument->u.cpu_levelling_caps.caps = 0;
      return 0;
    case XEN_SYSCTL_get_pmstat:
      return PowerStatistics(op);
    case XEN_SYSCTL_pm_op:
      return PowerControl(op);
    case XEN_SYSCTL_cpupool_op:
      return CpuPool(op);
    case XEN_SYSCTL_scheduler_op:
      return SchedulerParameters(op);
    case XEN_SYSCTL_readconsole:
      return ReadConsole(op);
    case XEN_SYSCTL_debug_keys:
      return DebugKeys(op);
    case XEN_SYSCTL_psr_cmt_op:
      return -kENODEV;  // a processor without monitoring
    case XEN_SYSCTL_psr_alloc:
    case XEN_SYSCTL_coverage_op:
      return -kEOPNOTSUPP;
    default:
      return -kENOSYS;
  }
}

}  // namespace

std::int64_t GetDomainInfoList(SysctlCall& op) {
  xen_sysctl_getdomaininfolist& list = op.argument->u.getdomaininfolist;
  const auto buffer = op.argument.Bind(schema::rows::sysctl::getdomaininfolist::buffer);
  if (!buffer.ok()) return -kEFAULT;
  std::uint32_t count = 0;
  const Domain* domain = op.call.core.domains.FindFrom(list.first_domain);
  while (domain != nullptr && count < list.max_domains) {
    if (!buffer->Write(count, DescribeDomain(op.call.core, *domain)).ok()) return -kEFAULT;
    ++count;
    domain = op.call.core.domains.FindFrom(std::uint64_t{domain->id} + 1);
  }
  list.num_domains = count;
  return 0;
}

std::int64_t Sysctl(Call& call) {
  Argument<xen_sysctl_t> argument(call, call.frame.arguments[0]);
  if (!argument.Fetch()) return -kEFAULT;
  if (argument.Raw(argument->interface_version) != XEN_SYSCTL_INTERFACE_VERSION) return -kEACCES;
  if (!call.domain.privileged) return -kEPERM;
  if (!argument.Select(__HYPERVISOR_sysctl, argument.Raw(argument->cmd))) return -kENOSYS;

  SysctlCall op = {.call = call, .argument = argument};
  std::int64_t answer;
  {
    SpinGuard guard(call.core.control);
    answer = RunOp(op);
  }
  if ((answer == 0 || op.copy_back_always) && !argument.Store()) return -kEFAULT;
  return answer;
}

}  // namespace xencomm::hypervisor
