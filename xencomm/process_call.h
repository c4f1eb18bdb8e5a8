// The kernel's part: a hypercall that a process asks for, as its kernel passes it on.
//
//   const std::optional<PassedCall> call = PassOn(index, arguments, region, kRegionCall);
//   if (!call) return -EPERM;
//   return Hypercall(*call);
//
// The one way from userland's registers to the hypervisor's. A kernel knows no op; what it must
// know stands here:
//
// 1. Calls that are for kernels alone (IsForKernels) are not made for a process: a process that
//    registered a region, or ended one, would choose the hypervisor's way to its neighbours'
//    memory.
// 2. The region, and the bit that opts into it, are the kernel's to say. What a process has put
//    there means nothing.
// 3. Entries of a multicall are not looked at: a process could change them afterwards. The
//    hypervisor makes none of the calls of rule 1 from a list.
#ifndef XENCOMM_PROCESS_CALL_H_
#define XENCOMM_PROCESS_CALL_H_

#include <cstdint>
#include <optional>
#include <span>

#include "xencomm/hypercall.h"

namespace xencomm {

// What the registers of the call hold.
struct PassedCall {
  std::uint64_t index = 0;
  std::uint64_t arguments[5] = {};
  std::uint64_t region = 0;
};

// The call, or nothing: it is not for a process to make. `region` is the process's, or
// RegionHandle::None(); `opt_in` is kRegionCall in a domain whose pointers are raw without it, and
// 0 in others.
constexpr std::optional<PassedCall> PassOn(std::uint64_t index,
                                           std::span<const std::uint64_t, 5> arguments,
                                           RegionHandle region, std::uint64_t opt_in) {
  if (IsForKernels(index)) return std::nullopt;
  PassedCall call = {.index = index & ~kRegionCall, .region = region.value()};
  if (!region.is_none()) call.index |= opt_in;
  for (unsigned i = 0; i < 5; ++i) call.arguments[i] = arguments[i];
  return call;
}

}  // namespace xencomm

#endif  // XENCOMM_PROCESS_CALL_H_
