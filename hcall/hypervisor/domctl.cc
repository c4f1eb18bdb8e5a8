// domctl (36): the way in, the same for all its ops.

#include "hcall/hypervisor/domctl.h"

#include "hcall/hypervisor/domain_info.h"

namespace xencomm::hypervisor {
namespace {

// Who is asked about when a domain does not exist: the next one.
std::int64_t GetDomainInfo(DomctlCall& op) {
  const std::uint16_t wanted = op.argument->domain;
  const Domain* domain = op.target;
  if (domain == nullptr) {
    if (wanted >= DOMID_FIRST_RESERVED) return -kEINVAL;
    domain = op.call.core.domains.FindFrom(wanted);
    if (domain == nullptr) return -kESRCH;
  }
  op.argument->u.getdomaininfo = *DescribeDomain(op.call.core, *domain);
  op.argument->domain = domain->id;
  op.copy_back = true;
  return 0;
}

std::int64_t RunOp(DomctlCall& op) {
  switch (op.argument->cmd) {
    case XEN_DOMCTL_createdomain:
      return CreateDomainOp(op);
    case XEN_DOMCTL_destroydomain:
      return DestroyDomainOp(op);
    case XEN_DOMCTL_pausedomain:
      return PauseDomainOp(op);
    case XEN_DOMCTL_unpausedomain:
      return UnpauseDomainOp(op);
    case XEN_DOMCTL_max_vcpus:
      return MaxVcpusOp(op);
    case XEN_DOMCTL_max_mem:
      return MaxMemOp(op);
    case XEN_DOMCTL_getvcpuinfo:
      return GetVcpuInfoOp(op);
    case XEN_DOMCTL_setvcpucontext:
      return SetVcpuContextOp(op);
    case XEN_DOMCTL_getvcpucontext:
      return GetVcpuContextOp(op);
    case XEN_DOMCTL_setvcpuaffinity:
    case XEN_DOMCTL_getvcpuaffinity:
      return VcpuAffinityOp(op);
    case XEN_DOMCTL_scheduler_op:
      return SchedulerOp(op);
    case XEN_DOMCTL_setdomainhandle:
      return SetHandleOp(op);
    case XEN_DOMCTL_setdebugging:
      return SetDebuggingOp(op);
    case XEN_DOMCTL_settimeoffset:
      return SetTimeOffsetOp(op);
    case XEN_DOMCTL_subscribe:
      return SubscribeOp(op);
    case XEN_DOMCTL_resumedomain:
      return ResumeOp(op);
    case XEN_DOMCTL_set_address_size:
    case XEN_DOMCTL_get_address_size:
      return AddressSizeOp(op);
    case XEN_DOMCTL_settscinfo:
    case XEN_DOMCTL_gettscinfo:
      return TscInfoOp(op);
    case XEN_DOMCTL_setnodeaffinity:
    case XEN_DOMCTL_getnodeaffinity:
      return NodeAffinityOp(op);
    case XEN_DOMCTL_getpageframeinfo3:
      return GetPageFrameInfoOp(op);
    case XEN_DOMCTL_shadow_op:
      return ShadowOp(op);
    case XEN_DOMCTL_get_paging_mempool_size:
    case XEN_DOMCTL_set_paging_mempool_size:
      return PagingMempoolOp(op);
    case XEN_DOMCTL_get_cpu_policy:
      return GetCpuPolicyOp(op);
    case XEN_DOMCTL_set_cpu_policy:
      return SetCpuPolicyOp(op);
    case XEN_DOMCTL_setvnumainfo:
      return SetVnumaOp(op);
    case XEN_DOMCTL_gethvmcontext:
      return GetHvmContextOp(op);
    case XEN_DOMCTL_sethvmcontext:
      return SetHvmContextOp(op);
    default:
      return -kENOSYS;
  }
}

}  // namespace

std::int64_t Domctl(Call& call) {
  Argument<xen_domctl_t> argument(call, call.frame.arguments[0]);
  if (!argument.Fetch()) return -kEFAULT;
  if (argument.Raw(argument->interface_version) != XEN_DOMCTL_INTERFACE_VERSION) return -kEACCES;

  const std::uint32_t cmd = argument.Raw(argument->cmd);
  Domain* target = nullptr;
  if (cmd != XEN_DOMCTL_createdomain) {
    target = call.core.domains.Find(argument.Raw(argument->domain));
    if (target == nullptr && cmd != XEN_DOMCTL_getdomaininfo) return -kESRCH;
  }
  if (!call.domain.privileged) return -kEPERM;
  if (!argument.Select(__HYPERVISOR_domctl, cmd)) return -kENOSYS;

  DomctlCall op = {.call = call, .argument = argument, .target = target};
  std::int64_t answer;
  if (cmd == XEN_DOMCTL_getdomaininfo) {
    answer = GetDomainInfo(op);
  } else {
    SpinGuard guard(call.core.control);
    // It may have gone while the lock was waited for.
    if (target != nullptr && call.core.domains.Find(argument->domain) != target) return -kESRCH;
    answer = RunOp(op);
  }
  if (op.copy_back && !argument.Store()) return -kEFAULT;
  return answer;
}

}  // namespace xencomm::hypervisor
