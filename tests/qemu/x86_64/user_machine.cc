// x86-64: system calls and clock of a user program.

#include "tests/qemu/user/machine.h"

namespace qemu {

uint64_t SystemCall(SystemCallNumber number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                    uint64_t a5, uint64_t a6, uint64_t a7) {
  uint64_t result = number;
  register uint64_t r10 asm("r10") = a4;
  register uint64_t r8 asm("r8") = a5;
  register uint64_t r9 asm("r9") = a6;
  asm volatile("syscall"
               : "+a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8), "+r"(r9), "+b"(a7)
               :
               : "rcx", "r11", "memory");
  return result;
}

uint64_t Ticks() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return uint64_t{high} << 32 | low;
}

void Spin(uint64_t instructions) {
  uint64_t turns = instructions / 2;
  asm volatile("1: dec %0; jnz 1b" : "+r"(turns));
}

const bool kRawPointersWork = true;

const bool kCanCallHypervisorDirectly = true;

int64_t HypercallWithoutKernel(uint64_t index, uint64_t a1) {
  asm volatile("vmmcall" : "+a"(index) : "D"(a1) : "memory");
  return static_cast<int64_t>(index);
}

}  // namespace qemu
