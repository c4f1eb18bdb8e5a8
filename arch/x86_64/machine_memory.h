// A domain's memory for a hypervisor whose page tables map physical memory to itself:
// guest-physical address → p2m → machine address, which is dereferenced as it is.
//
// An address beyond what the processor implements is refused: a page table cannot name it.
#ifndef ARCH_X86_64_MACHINE_MEMORY_H_
#define ARCH_X86_64_MACHINE_MEMORY_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "xencomm/address.h"
#include "xencomm/memory.h"

namespace xencomm::x86_64 {

// The contiguous run of machine memory behind a guest-physical address, or why there is none.
template <class P>
concept P2mLookup = requires(P& p2m, PhysicalAddress physical, std::uint64_t length) {
  { p2m.Lookup(physical, length, Access::kRead) } -> std::same_as<Run<MachineAddress>>;
};

// The most that the architecture has (Intel SDM volume 3A, 4.1.4: MAXPHYADDR).
inline constexpr unsigned kRealAddressBits = 52;

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
    // What the tables are for: a machine address is its own pointer.
    return {reinterpret_cast<std::byte*>(run.start().value), run.length()};
  }

 private:
  P* p2m_;
  std::uint64_t limit_;
};

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_MACHINE_MEMORY_H_
