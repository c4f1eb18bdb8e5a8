// A domain's memory for a hypervisor in real mode: guest-physical address → p2m → machine address,
// which is dereferenced as it is, without an MMU.
//
// Real mode ignores the address bits above those that the processor implements. A machine address
// with one of them set would silently reach low memory, the hypervisor's own: it is refused.
#ifndef ARCH_POWERPC_MACHINE_MEMORY_H_
#define ARCH_POWERPC_MACHINE_MEMORY_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "xencomm/address.h"
#include "xencomm/memory.h"

namespace xencomm::powerpc {

// The contiguous run of machine memory behind a guest-physical address, or why there is none.
template <class P>
concept P2mLookup = requires(P& p2m, PhysicalAddress physical, std::uint64_t length) {
  { p2m.Lookup(physical, length, Access::kRead) } -> std::same_as<Run<MachineAddress>>;
};

// The real address bits that the architecture lets an effective address have (Power ISA v3.0B Book
// III, 5.7.3: bits 0 to 3 are ignored), and those of the 970 (970FX User's Manual, 4.1).
inline constexpr unsigned kRealAddressBits = 60;
inline constexpr unsigned kRealAddressBits970 = 42;

template <P2mLookup P>
class MachineMemory {
 public:
  // `p2m` is borrowed. `address_bits`: how many the processor does not ignore.
  explicit MachineMemory(P& p2m, unsigned address_bits = kRealAddressBits)
      : p2m_(&p2m), limit_(std::uint64_t{1} << address_bits) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const Run<MachineAddress> run = p2m_->Lookup(physical, length, access);
    if (!run.ok()) return run.fault();
    if (!Contains(0, limit_, run.start().value, run.length())) return Fault::kNoMemory;
    // What translation is off for: a machine address is its own pointer.
    return {reinterpret_cast<std::byte*>(run.start().value), run.length()};
  }

 private:
  P* p2m_;
  std::uint64_t limit_;
};

}  // namespace xencomm::powerpc

#endif  // ARCH_POWERPC_MACHINE_MEMORY_H_
