// Hypercalls of the kernel on PowerPC: `sc` with the level that reaches the hypervisor.

#ifndef TESTS_QEMU_POWERPC_KERNEL_CALL_H_
#define TESTS_QEMU_POWERPC_KERNEL_CALL_H_

#include <stdint.h>

namespace qemu {

// `kLevel`: 1 sets hypervisor state (powernv9); 0 where the machine has none (mac99).
template <int kLevel>
uint64_t HypervisorCall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5, uint64_t region) {
  register uint64_t r3 asm("r3") = index;
  register uint64_t r4 asm("r4") = a1;
  register uint64_t r5 asm("r5") = a2;
  register uint64_t r6 asm("r6") = a3;
  register uint64_t r7 asm("r7") = a4;
  register uint64_t r8 asm("r8") = a5;
  register uint64_t r9 asm("r9") = region;
  asm volatile("sc %7"
               : "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7), "+r"(r8), "+r"(r9)
               : "i"(kLevel)
               : "r0", "r10", "r11", "r12", "ctr", "xer", "cr0", "memory");
  return r3;
}

// Turns MSR[IR] and MSR[DR] on and goes on behind the call.
extern "C" void TurnTranslationOnAssembly();

}  // namespace qemu

#endif  // TESTS_QEMU_POWERPC_KERNEL_CALL_H_
