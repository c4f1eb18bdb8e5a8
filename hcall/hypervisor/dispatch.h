// Dispatch: from a vcpu's registers to a hypercall's handler.
#ifndef HCALL_HYPERVISOR_DISPATCH_H_
#define HCALL_HYPERVISOR_DISPATCH_H_

#include <cstdint>

#include "hcall/hypervisor/calls/hypercall_frame.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/memory/domain_memory.h"

namespace xencomm::hypervisor {

inline DomainMemory CallMemory(Vcpu& vcpu) {
  return {vcpu.domain->p2m, vcpu.domain->dirty_log, vcpu.slot->writes};
}

// One leg of a call: refuses a caller that may not call, opens the space that the call's pointers
// are in and runs the handler. The caller is inside its quiescence section.
std::int64_t Dispatch(Core& core, Vcpu& vcpu, HypercallFrame& frame);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DISPATCH_H_
