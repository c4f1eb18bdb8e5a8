// HypercallFrame: what a guest calls with, and is answered by.
#ifndef HCALL_HYPERVISOR_CALLS_HYPERCALL_FRAME_H_
#define HCALL_HYPERVISOR_CALLS_HYPERCALL_FRAME_H_

#include <cstdint>

namespace xencomm::hypervisor {

// The registers of a call. `index` may carry kRegionCall; `arguments` end before the register that
// holds `region` (xencomm/hypercall.h).
struct HypercallFrame {
  std::uint64_t index = 0;
  std::uint64_t arguments[5] = {};
  std::uint64_t region = 0;
  bool from_kernel = true;  // CPL 0, MSR[PR] = 0; others are refused

  // Set when the call stopped half way: the frame was changed as Xen changes a guest's registers,
  // and is to be called again as it is. The answer says nothing yet.
  bool continued = false;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_HYPERCALL_FRAME_H_
