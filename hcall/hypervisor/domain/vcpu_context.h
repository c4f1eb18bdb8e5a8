// The registers that setvcpucontext gave a vcpu. They are kept in pages of the domain.
#ifndef HCALL_HYPERVISOR_DOMAIN_VCPU_CONTEXT_H_
#define HCALL_HYPERVISOR_DOMAIN_VCPU_CONTEXT_H_

#include <new>

#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/schema/generated/types.h"
#include "xencomm/guest_handle.h"

namespace xencomm::hypervisor {

static_assert(sizeof(vcpu_guest_context_t) <= kPageSize << kContextOrder);

// Its padding is clear, since it leaves the hypervisor again.
using KeptContext = Cleared<vcpu_guest_context_t>;

// In pages of the heap, which are clear.
inline KeptContext* KeptContextIn(std::byte* pages) {
  return std::launder(reinterpret_cast<KeptContext*>(pages));
}

// Made when it is first needed; null when there is no room. With the control lock held.
inline KeptContext* MakeKeptContext(Core& core, Domain& domain, Vcpu& vcpu) {
  if (vcpu.context == nullptr) {
    const std::uint64_t mfn = domain.overhead.Allocate(kContextOrder);
    if (mfn == kNoFrame) return nullptr;
    vcpu.context = core.frames.Bytes(mfn);
  }
  return KeptContextIn(vcpu.context);
}

// Null for a vcpu that was given none.
inline const vcpu_guest_context_t* KeptContextOf(const Core&, const Vcpu& vcpu) {
  if (vcpu.context == nullptr) return nullptr;
  return &**std::launder(reinterpret_cast<const KeptContext*>(vcpu.context));
}

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_VCPU_CONTEXT_H_
