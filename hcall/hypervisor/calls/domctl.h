// domctl (36): what its ops share.
//
// One structure of fixed size. Version, domain and permission are checked in Xen's order before an
// op sees it; an op that changes something runs with the control lock held.
#ifndef HCALL_HYPERVISOR_CALLS_DOMCTL_H_
#define HCALL_HYPERVISOR_CALLS_DOMCTL_H_

#include <cstdint>

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"

namespace xencomm::hypervisor {

struct DomctlCall {
  Call& call;
  Argument<xen_domctl_t>& argument;
  Domain* target;          // of createdomain, null
  bool copy_back = false;  // the op's outputs are to be written
};

// domctl_domain.cc
std::int64_t CreateDomainOp(DomctlCall& op);
std::int64_t DestroyDomainOp(DomctlCall& op);
std::int64_t PauseDomainOp(DomctlCall& op);
std::int64_t UnpauseDomainOp(DomctlCall& op);
std::int64_t MaxVcpusOp(DomctlCall& op);
std::int64_t MaxMemOp(DomctlCall& op);

// domctl_vcpu.cc
std::int64_t GetVcpuInfoOp(DomctlCall& op);
std::int64_t SetVcpuContextOp(DomctlCall& op);
std::int64_t GetVcpuContextOp(DomctlCall& op);
std::int64_t VcpuAffinityOp(DomctlCall& op);
std::int64_t SchedulerOp(DomctlCall& op);
std::int64_t SendTriggerOp(DomctlCall& op);

// domctl_settings.cc
std::int64_t SetHandleOp(DomctlCall& op);
std::int64_t SetDebuggingOp(DomctlCall& op);
std::int64_t SetTimeOffsetOp(DomctlCall& op);
std::int64_t SubscribeOp(DomctlCall& op);
std::int64_t ResumeOp(DomctlCall& op);
std::int64_t AddressSizeOp(DomctlCall& op);
std::int64_t TscInfoOp(DomctlCall& op);
std::int64_t NodeAffinityOp(DomctlCall& op);

// domctl_paging.cc
std::int64_t GetPageFrameInfoOp(DomctlCall& op);
std::int64_t ShadowOp(DomctlCall& op);
std::int64_t PagingMempoolOp(DomctlCall& op);

// domctl_hypercall_page.cc
std::int64_t HypercallInitOp(DomctlCall& op);

// domctl_log_dirty.cc: parts of ShadowOp.
std::int64_t EnableLogDirty(DomctlCall& op);
std::int64_t ReadDirty(DomctlCall& op);

// domctl_policy.cc
std::int64_t GetCpuPolicyOp(DomctlCall& op);
std::int64_t SetCpuPolicyOp(DomctlCall& op);

// domctl_vnuma.cc
std::int64_t SetVnumaOp(DomctlCall& op);

// domctl_hvm.cc
std::int64_t GetHvmContextOp(DomctlCall& op);
std::int64_t GetHvmContextPartialOp(DomctlCall& op);
std::int64_t SetHvmContextOp(DomctlCall& op);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_DOMCTL_H_
