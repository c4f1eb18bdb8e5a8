// HvmState: the parameters of an HVM domain and the saved state of its hardware.
#ifndef HCALL_HYPERVISOR_DOMAIN_HVM_CONTEXT_H_
#define HCALL_HYPERVISOR_DOMAIN_HVM_CONTEXT_H_

#include <cstdint>
#include <span>

#include "hcall/hypervisor/memory/overhead.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {

// A saved state is a list of records, each with a descriptor in front; the first is the header, the
// last one has no contents (public/hvm/save.h).
struct HvmState {
  // 32 KiB for each of the vcpus that an HVM domain can have. What gethvmcontext gives is less.
  static constexpr std::uint32_t kMaxContextBytes = 4 << 20;

  std::uint64_t params[HVM_NR_PARAMS] = {};
  std::uint32_t context_bytes = 0;  // 0: none was set
  std::uint8_t* context = nullptr;  // in pages of the domain's, as many as it takes

  std::span<const std::uint8_t> given() const { return {context, context_bytes}; }

  // With its context; null is nothing.
  static void Delete(HvmState* state, OverheadPages& pages) {
    if (state == nullptr) return;
    pages.Delete(state->context, state->context_bytes);
    pages.Delete(state);
  }
};

class Domain;

// Made when it is first needed; null when there is no room. With the control lock held.
HvmState* HvmStateOf(Domain& domain);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_HVM_CONTEXT_H_
