// What a user program needs of a machine: entry, system calls, and a counter of instructions.
// Implemented by user_machine.cc and user_entry.S of each machine.

#ifndef TESTS_QEMU_USER_MACHINE_H_
#define TESTS_QEMU_USER_MACHINE_H_

#include <stdint.h>

#include "tests/qemu/runtime/boot_options.h"
#include "tests/qemu/runtime/system_call.h"

namespace qemu {

uint64_t SystemCall(SystemCallNumber number, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                    uint64_t a4 = 0, uint64_t a5 = 0, uint64_t a6 = 0, uint64_t a7 = 0);

// The machine's counter of time.
uint64_t Ticks();

// Executes `instructions` instructions, about.
void Spin(uint64_t instructions);

// How many instructions take so many ticks. Only an emulator that lets time pass with instructions
// (-icount) gives an answer that means something.
uint64_t InstructionsOf(uint64_t ticks);

// Whether the machine's hypervisor takes the program's own pointers.
extern const bool kRawPointersWork;

// Whether a program can reach the hypervisor's entry past its kernel. Where it cannot, the call
// below does nothing.
extern const bool kCanCallHypervisorDirectly;

// A hypercall by the program itself, which the hypervisor must refuse.
int64_t HypercallWithoutKernel(uint64_t index, uint64_t a1);

// The program itself. True: passed.
bool UserMain(const BootOptions& options);

}  // namespace qemu

#endif  // TESTS_QEMU_USER_MACHINE_H_
