// domctl (36): what is checked for every op, and dispatch to them.

#include "hcall/hypervisor/calls/domctl.h"

#include "hcall/hypervisor/calls/domain_info.h"
#include "hcall/hypervisor/domain/domain_life.h"

namespace xencomm::hypervisor {
namespace {

// Of a domain that does not exist, the next one is described, in Xen 4.17.
std::int64_t GetDomainInfo(DomctlCall& op) {
  const std::uint16_t wanted = op.argument->domain;
  const Domain* domain = op.target;
  if (domain == nullptr) {
    if ((op.call.core.config.release & schema::kSince4_18) != 0) return -kESRCH;
    if (wanted >= DOMID_FIRST_RESERVED) return -kEINVAL;
    domain = op.call.core.domains.FindFrom(wanted);
    if (domain == nullptr) return -kESRCH;
  }
  op.call.core.schedule.Sample(op.call.vcpu);
  op.argument->u.getdomaininfo = *DescribeDomain(op.call.core, *domain);
  op.argument->domain = domain->id;
  op.copy_back = true;
  return 0;
}

// By the number of the interrupt's line on the machine's only I/O APIC.
std::int64_t GsiPermission(DomctlCall& op) {
  constexpr std::uint32_t kLines = 24;
  const auto& request = op.argument.Part<xen_domctl_gsi_permission>();
  if ((request.flags & ~std::uint32_t{XEN_DOMCTL_GSI_ACTION_MASK}) != 0) return -kEINVAL;
  // The timer's line, by either of its numbers, is the hypervisor's own.
  if (request.gsi == 0 || request.gsi == 2) return -kEINVAL;
  return request.gsi < kLines ? 0 : -kERANGE;
}

// For machines that are started with parts of their last level cache set aside.
std::int64_t SetLlcColors(DomctlCall& op) {
  return op.argument.Part<xen_domctl_set_llc_colors>().pad != 0 ? -kEINVAL : -kEOPNOTSUPP;
}

// The op whose interface is stable. That a domain has changed is not kept: DOMID_INVALID, which
// asks for one that has, is nobody.
std::int64_t GetDomainState(DomctlCall& op) {
  auto& state = op.argument.Part<xen_domctl_get_domain_state>();
  if (state.pad0 != 0) return -kEINVAL;
  const Domain& domain = *op.target;
  state = {};
  state.state = XEN_DOMCTL_GETDOMSTATE_STATE_EXIST;
  if (domain.dying()) state.state |= XEN_DOMCTL_GETDOMSTATE_STATE_DYING;
  if (domain.privileged) {
    state.caps = XEN_DOMCTL_GETDOMSTATE_CAP_CONTROL | XEN_DOMCTL_GETDOMSTATE_CAP_HARDWARE;
  }
  if ((domain.options & XEN_DOMCTL_CDF_xs_domain) != 0) {
    state.caps |= XEN_DOMCTL_GETDOMSTATE_CAP_XENSTORE;
  }
  state.unique_id = std::uint64_t{domain.id} + 1;
  op.copy_back = true;
  return 0;
}

// As Xen's dummy policy has it (xsm/dummy.h): the domain of xenstore may ask who is there.
bool MayMake(const Domain& caller, std::uint32_t cmd) {
  const bool is_xenstore = (caller.options & XEN_DOMCTL_CDF_xs_domain) != 0;
  return caller.privileged ||
         (is_xenstore && (cmd == XEN_DOMCTL_getdomaininfo || cmd == XEN_DOMCTL_get_domain_state));
}

// Xen 4.17 without an IOMMU has nothing to assign; without PSR, nothing to monitor or to allocate.
constexpr OpTable<DomctlCall, XEN_DOMCTL_get_domain_state + 1> kOps = {
    {XEN_DOMCTL_createdomain, CreateDomainOp},
    {XEN_DOMCTL_destroydomain, DestroyDomainOp},
    {XEN_DOMCTL_pausedomain, PauseDomainOp},
    {XEN_DOMCTL_unpausedomain, UnpauseDomainOp},
    {XEN_DOMCTL_getdomaininfo, GetDomainInfo},
    {XEN_DOMCTL_max_vcpus, MaxVcpusOp},
    {XEN_DOMCTL_max_mem, MaxMemOp},
    {XEN_DOMCTL_getvcpuinfo, GetVcpuInfoOp},
    {XEN_DOMCTL_setvcpucontext, SetVcpuContextOp},
    {XEN_DOMCTL_getvcpucontext, GetVcpuContextOp},
    {XEN_DOMCTL_setvcpuaffinity, VcpuAffinityOp},
    {XEN_DOMCTL_getvcpuaffinity, VcpuAffinityOp},
    {XEN_DOMCTL_scheduler_op, SchedulerOp},
    {XEN_DOMCTL_sendtrigger, SendTriggerOp},
    {XEN_DOMCTL_setdomainhandle, SetHandleOp},
    {XEN_DOMCTL_setdebugging, SetDebuggingOp},
    {XEN_DOMCTL_settimeoffset, SetTimeOffsetOp},
    {XEN_DOMCTL_subscribe, SubscribeOp},
    {XEN_DOMCTL_resumedomain, ResumeOp},
    {XEN_DOMCTL_set_address_size, AddressSizeOp},
    {XEN_DOMCTL_get_address_size, AddressSizeOp},
    {XEN_DOMCTL_settscinfo, TscInfoOp},
    {XEN_DOMCTL_gettscinfo, TscInfoOp},
    {XEN_DOMCTL_setnodeaffinity, NodeAffinityOp},
    {XEN_DOMCTL_getnodeaffinity, NodeAffinityOp},
    {XEN_DOMCTL_getpageframeinfo3, GetPageFrameInfoOp},
    {XEN_DOMCTL_shadow_op, ShadowOp},
    {XEN_DOMCTL_hypercall_init, HypercallInitOp},
    {XEN_DOMCTL_get_paging_mempool_size, PagingMempoolOp},
    {XEN_DOMCTL_set_paging_mempool_size, PagingMempoolOp},
    {XEN_DOMCTL_get_cpu_policy, GetCpuPolicyOp},
    {XEN_DOMCTL_set_cpu_policy, SetCpuPolicyOp},
    {XEN_DOMCTL_setvnumainfo, SetVnumaOp},
    {XEN_DOMCTL_gethvmcontext, GetHvmContextOp},
    {XEN_DOMCTL_gethvmcontext_partial, GetHvmContextPartialOp},
    {XEN_DOMCTL_sethvmcontext, SetHvmContextOp},
    {XEN_DOMCTL_gsi_permission, GsiPermission},
    {XEN_DOMCTL_set_llc_colors, SetLlcColors},
    {XEN_DOMCTL_get_domain_state, GetDomainState},
    {XEN_DOMCTL_assign_device, nullptr, -kEOPNOTSUPP},
    {XEN_DOMCTL_test_assign_device, nullptr, -kEOPNOTSUPP},
    {XEN_DOMCTL_deassign_device, nullptr, -kEOPNOTSUPP},
    {XEN_DOMCTL_get_device_group, nullptr, -kEOPNOTSUPP},
    {XEN_DOMCTL_psr_cmt_op, nullptr, -kENODEV},
    {XEN_DOMCTL_psr_alloc, nullptr, -kENODEV},
};

}  // namespace

OpAnswer AskDomctl(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t Domctl(Call& call) {
  Argument<xen_domctl_t> argument(call, call.frame.arguments[0]);
  if (!argument.Fetch()) return -kEFAULT;
  if (!argument.StatesVersion(__HYPERVISOR_domctl)) return -kEACCES;

  const std::uint32_t cmd = argument.Raw(argument->cmd);
  Domain* target = nullptr;
  if (cmd != XEN_DOMCTL_createdomain) {
    target = call.core.domains.Find(argument.Raw(argument->domain));
    if (target == nullptr && cmd != XEN_DOMCTL_getdomaininfo) return -kESRCH;
  }
  if (!MayMake(call.domain, cmd)) return -kEPERM;
  if (!argument.Select()) return -kENOSYS;

  DomctlCall op = {.call = call, .argument = argument, .target = target};
  std::int64_t answer;
  if (cmd == XEN_DOMCTL_getdomaininfo) {
    if (call.core.watchdog_due.load(std::memory_order_relaxed) != Domain::Watchdog::kNever) {
      SpinGuard guard(call.core.control);
      ExpireWatchdogs(call.core);
    }
    answer = kOps.Run(cmd, op);
  } else {
    SpinGuard guard(call.core.control);
    // It may have gone while the lock was waited for.
    if (target != nullptr && call.core.domains.Find(argument->domain) != target) return -kESRCH;
    answer = kOps.Run(cmd, op);
  }
  answer = call.UnlessMemoryIsDue(answer);
  // A call that goes on has no outputs yet.
  if (op.copy_back && !call.frame.continued && !argument.Store()) return -kEFAULT;
  return answer;
}

}  // namespace xencomm::hypervisor
