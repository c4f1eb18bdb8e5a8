// How far physical addresses reach (xencomm/machine_memory.h).
#ifndef ARCH_X86_64_REAL_ADDRESS_H_
#define ARCH_X86_64_REAL_ADDRESS_H_

#include "xencomm/language.h"

namespace xencomm::x86_64 {

// The most that the architecture has (Intel SDM volume 3A, 4.1.4: MAXPHYADDR).
inline constexpr unsigned kRealAddressBits = 52;

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_REAL_ADDRESS_H_
