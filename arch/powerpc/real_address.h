// How far real addresses reach: the bits that real mode ignores must be zero, or they alias low
// memory (xencomm/machine_memory.h).
#ifndef ARCH_POWERPC_REAL_ADDRESS_H_
#define ARCH_POWERPC_REAL_ADDRESS_H_

#include "xencomm/language.h"

namespace xencomm::powerpc {

// The real address bits that the architecture lets an effective address have (Power ISA v3.0B Book
// III, 5.7.3: bits 0 to 3 are ignored), and those of the 970 (970FX User's Manual, 4.1).
inline constexpr unsigned kRealAddressBits = 60;
inline constexpr unsigned kRealAddressBits970 = 42;

}  // namespace xencomm::powerpc

#endif  // ARCH_POWERPC_REAL_ADDRESS_H_
