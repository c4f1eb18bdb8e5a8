// The system calls (runtime/system_call.h) that do not choose which process runs.

#ifndef TESTS_QEMU_KERNEL_SYSTEM_CALLS_H_
#define TESTS_QEMU_KERNEL_SYSTEM_CALLS_H_

#include <stdint.h>

#include "tests/qemu/kernel/process.h"

namespace qemu {

// Serves the call in process.context, whose address space is active. Answers its result.
int64_t ServeSystemCall(Process& process);

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_SYSTEM_CALLS_H_
