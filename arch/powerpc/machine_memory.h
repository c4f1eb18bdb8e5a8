// Machine memory in real mode (xencomm/machine_memory.h): how many address bits there are.
#ifndef ARCH_POWERPC_MACHINE_MEMORY_H_
#define ARCH_POWERPC_MACHINE_MEMORY_H_

#include "xencomm/machine_memory.h"

namespace xencomm::powerpc {

// The real address bits that the architecture lets an effective address have (Power ISA v3.0B Book
// III, 5.7.3: bits 0 to 3 are ignored), and those of the 970 (970FX User's Manual, 4.1).
inline constexpr unsigned kRealAddressBits = 60;
inline constexpr unsigned kRealAddressBits970 = 42;

template <P2mLookup P>
class MachineMemory : public xencomm::MachineMemory<P> {
 public:
  explicit MachineMemory(P& p2m, unsigned address_bits = kRealAddressBits)
      : xencomm::MachineMemory<P>(p2m, address_bits) {}
};

}  // namespace xencomm::powerpc

#endif  // ARCH_POWERPC_MACHINE_MEMORY_H_
