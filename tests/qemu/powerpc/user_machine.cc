// PowerPC: system calls and clock of a user program.

#include "tests/qemu/user/machine.h"

#include "tests/qemu/powerpc/kernel_call.h"

namespace qemu {

uint64_t SystemCall(SystemCallNumber number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                    uint64_t a5, uint64_t a6, uint64_t a7) {
  register uint64_t r0 asm("r0") = number;
  register uint64_t r3 asm("r3") = a1;
  register uint64_t r4 asm("r4") = a2;
  register uint64_t r5 asm("r5") = a3;
  register uint64_t r6 asm("r6") = a4;
  register uint64_t r7 asm("r7") = a5;
  register uint64_t r8 asm("r8") = a6;
  register uint64_t r9 asm("r9") = a7;
  asm volatile("sc"
               : "+r"(r0), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7), "+r"(r8), "+r"(r9)
               :
               : "r10", "r11", "r12", "cr0", "memory");
  return r3;
}

uint64_t Ticks() {
  uint64_t ticks;
  asm volatile("mftb %0" : "=r"(ticks));
  return ticks;
}

void Spin(uint64_t instructions) {
  asm volatile("mtctr %0; 1: bdnz 1b" : : "r"(instructions) : "ctr");
}

const bool kRawPointersWork = false;

#ifdef SHARED_VECTOR
const bool kCanCallHypervisorDirectly = false;
int64_t HypercallWithoutKernel(uint64_t, uint64_t) { return 0; }
#else
const bool kCanCallHypervisorDirectly = true;
int64_t HypercallWithoutKernel(uint64_t index, uint64_t a1) {
  return static_cast<int64_t>(HypervisorCall<1>(index, a1, 0, 0, 0, 0, 0));
}
#endif

}  // namespace qemu
