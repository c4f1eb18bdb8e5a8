// sysctl (35): what is checked for every op, and dispatch to them.

#include "hcall/hypervisor/calls/sysctl.h"

#include "hcall/hypervisor/calls/domain_info.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

std::int64_t SchedulerId(SysctlCall& op) {
  op.argument->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
  return 0;
}

std::int64_t CpuLevellingCaps(SysctlCall& op) {
  op.argument->u.cpu_levelling_caps.caps = 0;
  return 0;
}

// Xen 4.17 without CONFIG_COVERAGE; on a processor without PSR, nothing to monitor or to allocate.
constexpr OpTable<SysctlCall, 30> kOps = {
    {XEN_SYSCTL_sched_id, SchedulerId},
    {XEN_SYSCTL_physinfo, PhysInfo},
    {XEN_SYSCTL_getcpuinfo, GetCpuInfo},
    {XEN_SYSCTL_getdomaininfolist, GetDomainInfoList},
    {XEN_SYSCTL_availheap, AvailHeap},
    {XEN_SYSCTL_cputopoinfo, CpuTopology},
    {XEN_SYSCTL_numainfo, NumaInfo},
    {XEN_SYSCTL_pcitopoinfo, PciTopology},
    {XEN_SYSCTL_get_cpu_featureset, CpuFeatureset},
    {XEN_SYSCTL_get_cpu_policy, SystemCpuPolicy},
    {XEN_SYSCTL_get_cpu_levelling_caps, CpuLevellingCaps},
    {XEN_SYSCTL_get_pmstat, PowerStatistics},
    {XEN_SYSCTL_pm_op, PowerControl},
    {XEN_SYSCTL_cpupool_op, CpuPool},
    {XEN_SYSCTL_scheduler_op, SchedulerParameters},
    {XEN_SYSCTL_readconsole, ReadConsole},
    {XEN_SYSCTL_debug_keys, DebugKeys},
    {XEN_SYSCTL_page_offline_op, PageOffline},
    {XEN_SYSCTL_livepatch_op, LivePatch},
    {XEN_SYSCTL_psr_cmt_op, nullptr, -kENODEV},
    {XEN_SYSCTL_psr_alloc, nullptr, -kENODEV},
    {XEN_SYSCTL_coverage_op, nullptr, -kEOPNOTSUPP},
};

}  // namespace

std::int64_t GetDomainInfoList(SysctlCall& op) {
  xen_sysctl_getdomaininfolist& list = op.argument->u.getdomaininfolist;
  const auto buffer = op.argument.Bind(schema::rows::sysctl::getdomaininfolist::buffer);
  ExpireWatchdogs(op.call.core);
  op.call.core.schedule.Sample(op.call.vcpu);
  std::uint32_t count = 0;
  std::uint64_t next = list.first_domain;
  while (count < list.max_domains) {
    const Domain* domain = op.call.core.domains.FindFrom(next);
    if (domain == nullptr) break;
    if (!buffer.Write(count, DescribeDomain(op.call.core, *domain)).ok()) return -kEFAULT;
    ++count;
    next = std::uint64_t{domain->id} + 1;
  }
  list.num_domains = count;
  return 0;
}

OpAnswer AskSysctl(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t Sysctl(Call& call) {
  Argument<xen_sysctl_t> argument(call, call.frame.arguments[0]);
  if (!argument.Fetch()) return -kEFAULT;
  if (!argument.StatesVersion(__HYPERVISOR_sysctl)) return -kEACCES;
  if (!call.domain.privileged) return -kEPERM;
  if (!argument.Select()) return -kENOSYS;

  SysctlCall op = {.call = call, .argument = argument};
  std::int64_t answer;
  {
    SpinGuard guard(call.core.control);
    answer = kOps.Run(op.argument->cmd, op);
  }
  if ((answer == 0 || op.copy_back_always) && !argument.Store()) return -kEFAULT;
  return answer;
}

}  // namespace xencomm::hypervisor
