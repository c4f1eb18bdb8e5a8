// The registers of a PowerPC user program that waits in the kernel, as kernel_entry.S stores them.
//
// Convention of a system call: number in r0, arguments in r3 to r9, answer in r3; r10 to r12 are
// lost.

#ifndef TESTS_QEMU_POWERPC_USER_CONTEXT_H_
#define TESTS_QEMU_POWERPC_USER_CONTEXT_H_

#include <stddef.h>
#include <stdint.h>

#include "tests/qemu/powerpc/registers.h"

namespace qemu {

struct UserContext {
  uint64_t general[32];
  uint64_t pc;
  uint64_t msr;
  uint64_t lr;
  uint64_t ctr;
  uint64_t cr;
  uint64_t xer;

  // A program that has not begun yet.
  void Start(uint64_t entry, uint64_t stack_top, uint64_t argument) {
    *this = {};
    general[1] = stack_top - STACK_HEADER;
    general[3] = argument;
    pc = entry;
    msr = uint64_t{1} << MSR_SF_SHIFT | MSR_ME | MSR_PR | MSR_IR | MSR_DR | MSR_RI | MSR_ENDIAN;
  }

  uint64_t number() const { return general[0]; }
  uint64_t argument(size_t index) const { return general[3 + index]; }
  void set_result(uint64_t result) { general[3] = result; }
};
static_assert(offsetof(UserContext, pc) == 256 && offsetof(UserContext, xer) == 296);

}  // namespace qemu

#endif  // TESTS_QEMU_POWERPC_USER_CONTEXT_H_
