// What the two PowerPC machines' hypervisor parts share.

#ifndef TESTS_QEMU_POWERPC_HYPERVISOR_CALLS_H_
#define TESTS_QEMU_POWERPC_HYPERVISOR_CALLS_H_

#include <stdint.h>

namespace qemu {

// Makes instructions written by stores visible to the processor (Power ISA Book II, 1.8).
void FlushInstructions(uint64_t address, uint64_t size);

// Begins at `pc` in machine state `msr`, with r3 and r4 as given and all else cleared.
[[noreturn]] void EnterGuest(uint64_t pc, uint64_t msr, uint64_t argument0, uint64_t argument1);

// Byte access past the caches, for device registers. Real-mode accesses with the guarded attribute
// are what both machines give to these addresses.
inline uint8_t ReadDevice8(uint64_t address) {
  uint8_t value;
  asm volatile("lbz%U1%X1 %0, %1; sync"
               : "=r"(value)
               : "m"(*reinterpret_cast<volatile uint8_t*>(address)));
  return value;
}

inline void WriteDevice8(uint64_t address, uint8_t value) {
  asm volatile("stb%U0%X0 %1, %0; sync"
               : "=m"(*reinterpret_cast<volatile uint8_t*>(address))
               : "r"(value));
}

}  // namespace qemu

#endif  // TESTS_QEMU_POWERPC_HYPERVISOR_CALLS_H_
