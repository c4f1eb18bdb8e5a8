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

// Nanoseconds of the machine's clock. Under -icount shift=0 the emulator executes one instruction
// in each.
uint64_t Clock();

// The program itself. True: passed.
bool UserMain(const BootOptions& options);

}  // namespace qemu

#endif  // TESTS_QEMU_USER_MACHINE_H_
