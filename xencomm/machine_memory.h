// A domain's memory for a hypervisor that reaches machine memory at its own addresses: in real
// mode, or in page tables that map it to itself. Guest-physical address → p2m → machine address,
// which is dereferenced as it is.
//
// An address beyond what the processor implements is refused. A page table cannot name it; real
// mode ignores the bits above and would silently reach low memory, the hypervisor's own.
//
// How many bits a processor implements is the architecture's to say: arch/*/real_address.h.
#ifndef XENCOMM_MACHINE_MEMORY_H_
#define XENCOMM_MACHINE_MEMORY_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "xencomm/address.h"
#include "xencomm/memory.h"

namespace xencomm {

// The contiguous run of machine memory behind a guest-physical address, or why there is none.
template <class P>
concept P2mLookup = requires(P& p2m, PhysicalAddress physical, std::uint64_t length) {
  { p2m.Lookup(physical, length, Access::kRead) } -> std::same_as<Run<MachineAddress>>;
};

template <P2mLookup P>
class MachineMemory {
 public:
  // `p2m` is borrowed. `address_bits`: how many the processor implements.
  MachineMemory(P& p2m, unsigned address_bits)
      : p2m_(&p2m), limit_(std::uint64_t{1} << address_bits) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const Run<MachineAddress> run = p2m_->Lookup(physical, length, access);
    if (!run.ok()) return run.fault();
    if (!Contains(0, limit_, run.start().value, run.length())) return Fault::kNoMemory;
    return {reinterpret_cast<std::byte*>(run.start().value), run.length()};
  }

 private:
  P* p2m_;
  std::uint64_t limit_;
};

}  // namespace xencomm

#endif  // XENCOMM_MACHINE_MEMORY_H_
