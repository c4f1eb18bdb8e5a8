// From the assembly of hypervisor_vectors.S into the hypervisor's C++, for both PowerPC machines.

#include "tests/qemu/powerpc/hypervisor_calls.h"

#include <stddef.h>
#include <string.h>

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/powerpc/registers.h"
#include "tests/qemu/runtime/startup.h"

namespace qemu {
namespace {

extern "C" const char vectors_begin[];
extern "C" const char vectors_end[];
extern "C" [[noreturn]] void EnterGuestAssembly(uint64_t pc, uint64_t msr, uint64_t argument0,
                                                uint64_t argument1);

}  // namespace

// The registers as CallEntry stores them.
extern "C" void PowerPcGuestCall(arch::HypercallRegisters* registers) {
  HandleGuestCall(*registers);
}

extern "C" [[noreturn]] void PowerPcCrash(uint64_t vector, uint64_t srr0, uint64_t srr1,
                                          uint64_t dar, uint64_t hsrr0, uint64_t hsrr1) {
  // The vectors that save in HSRR0 and HSRR1 (Power ISA v3.0B Book III, 6.5).
  const bool hypervisor_saved = vector == 0x980 || (vector >= 0xe00 && vector < 0xf00);
  HandleCrash({.what = "interrupt taken by the hypervisor",
               .vector = vector,
               .pc = hypervisor_saved ? hsrr0 : srr0,
               .state = hypervisor_saved ? hsrr1 : srr1,
               .address = dar});
}

void InstallVectors() {
  // Physical 0 is not a null pointer here; the compiler must not think so.
  void* vectors = nullptr;
  asm("" : "+r"(vectors));
  memcpy(vectors, vectors_begin, static_cast<size_t>(vectors_end - vectors_begin));
  FlushInstructions(0, static_cast<uint64_t>(vectors_end - vectors_begin));
}

void FlushInstructions(uint64_t address, uint64_t size) {
  constexpr uint64_t kLine = 128;  // both processors' cache line
  for (uint64_t line = address; line < address + size; line += kLine) {
    asm volatile("dcbst 0, %0; sync; icbi 0, %0" : : "r"(line) : "memory");
  }
  asm volatile("sync; isync" : : : "memory");
}

void EnterGuest(uint64_t pc, uint64_t msr, uint64_t argument0, uint64_t argument1) {
  EnterGuestAssembly(pc, msr, argument0, argument1);
}

}  // namespace qemu
