// A hypercall's registers on PowerPC, as the entry code of a hypervisor finds them.
//
//   r3        hypercall index; the answer comes back here
//   r4 … r8   arguments
//   r9        region handle (xencomm/hypercall.h)
//
// The index before its arguments is PAPR's order too, so that both kinds of call can share a
// vector. PowerPC domains have no raw pointers: a call needs no bit to opt into its region.
#ifndef ARCH_POWERPC_HYPERCALL_ENTRY_H_
#define ARCH_POWERPC_HYPERCALL_ENTRY_H_

#include <cstddef>
#include <cstdint>

#include "xencomm/language.h"

namespace xencomm::powerpc {

// MSR[PR], problem state, as SRR1 keeps it across the system call interrupt (Power ISA v3.0B Book
// III, 4.2.1).
inline constexpr std::uint64_t kMsrProblemState = 0x4000;

// What a kernel adds to the index of a call that names a region.
inline constexpr std::uint64_t kRegionOptIn = 0;

struct HypercallRegisters {
  std::uint64_t r3, r4, r5, r6, r7, r8, r9;
  std::uint64_t srr0;  // where the caller goes on
  std::uint64_t srr1;  // its machine state

  static constexpr unsigned kArguments = 5;

  std::uint64_t index() const { return r3; }
  void get_arguments(std::uint64_t (&to)[kArguments]) const {
    to[0] = r4, to[1] = r5, to[2] = r6, to[3] = r7, to[4] = r8;
  }
  std::uint64_t region() const { return r9; }

  // Whether a kernel calls: programs in problem state must not.
  bool from_kernel() const { return (srr1 & kMsrProblemState) == 0; }

  void set_result(std::int64_t result) { r3 = static_cast<std::uint64_t>(result); }
};
static_assert(offsetof(HypercallRegisters, srr0) == 56 && sizeof(HypercallRegisters) == 72);

}  // namespace xencomm::powerpc

#endif  // ARCH_POWERPC_HYPERCALL_ENTRY_H_
