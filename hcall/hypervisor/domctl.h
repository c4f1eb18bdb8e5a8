// domctl (36): what its ops share.
//
// One structure of fixed size. Version, domain and permission are checked in Xen's order before an
// op sees it; an op that changes something runs with the control lock held.
#ifndef HCALL_HYPERVISOR_DOMCTL_H_
#define HCALL_HYPERVISOR_DOMCTL_H_

#include <cstdint>

#include "hcall/hypervisor/argument.h"
#include "hcall/hypervisor/call.h"

namespace xencomm::hypervisor {

struct DomctlCall {
  Call& call;
  Argument<xen_domctl_t>& argument;
  Domain* target;          // of createdomain, null
  bool copy_back = false;  // the op's outputs are to be written
};

std::int64_t CreateDomainOp(DomctlCall& op);
std::int64_t DestroyDomainOp(DomctlCall& op);
std::int64_t PauseDomainOp(DomctlCall& op);
std::int64_t UnpauseDomainOp(DomctlCall& op);
std::int64_t MaxVcpusOp(DomctlCall& op);
std::int64_t MaxMemOp(DomctlCall& op);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMCTL_H_
