// Machine memory in page tables that map it to itself (xencomm/machine_memory.h): how many address
// bits there are.
#ifndef ARCH_X86_64_MACHINE_MEMORY_H_
#define ARCH_X86_64_MACHINE_MEMORY_H_

#include "xencomm/machine_memory.h"

namespace xencomm::x86_64 {

// The most that the architecture has (Intel SDM volume 3A, 4.1.4: MAXPHYADDR).
inline constexpr unsigned kRealAddressBits = 52;

template <P2mLookup P>
class MachineMemory : public xencomm::MachineMemory<P> {
 public:
  explicit MachineMemory(P& p2m, unsigned address_bits = kRealAddressBits)
      : xencomm::MachineMemory<P>(p2m, address_bits) {}
};

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_MACHINE_MEMORY_H_
