// A hypercall's registers on x86-64, as the entry code of a hypervisor finds them.
//
//   rax                      hypercall index; the answer comes back here
//   rdi, rsi, rdx, r10, r8   arguments
//   r9                       region handle (xencomm/hypercall.h)
//
// Xen's own convention (public/arch-x86/xen-x86_64.h), with its sixth register, that no hypercall
// of today's uses, given to the region. A domain's pointers are raw here: a call opts into its
// region by a bit of the index.
#ifndef ARCH_X86_64_HYPERCALL_ENTRY_H_
#define ARCH_X86_64_HYPERCALL_ENTRY_H_

#include <cstddef>
#include <cstdint>

#include "xencomm/hypercall.h"

namespace xencomm::x86_64 {

// What a kernel adds to the index of a call that names a region.
inline constexpr std::uint64_t kRegionOptIn = kRegionCall;

struct HypercallRegisters {
  std::uint64_t rax, rdi, rsi, rdx, r10, r8, r9;
  std::uint64_t cpl;  // current privilege level of the caller

  static constexpr unsigned kArguments = 5;

  std::uint64_t index() const { return rax; }
  void get_arguments(std::uint64_t (&to)[kArguments]) const {
    to[0] = rdi, to[1] = rsi, to[2] = rdx, to[3] = r10, to[4] = r8;
  }
  std::uint64_t region() const { return r9; }

  // Whether a kernel calls: programs outside ring 0 must not.
  bool from_kernel() const { return cpl == 0; }

  void set_result(std::int64_t result) { rax = static_cast<std::uint64_t>(result); }
};
static_assert(offsetof(HypercallRegisters, cpl) == 56);

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_HYPERCALL_ENTRY_H_
