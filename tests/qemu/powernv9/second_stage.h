#ifndef TESTS_QEMU_POWERNV9_SECOND_STAGE_H_
#define TESTS_QEMU_POWERNV9_SECOND_STAGE_H_

#include <stdint.h>

namespace qemu {

// Installs the kernel's process table: guest-physical, 64 KiB, aligned to its size.
void SetProcessTable(uint64_t guest);

}  // namespace qemu

#endif  // TESTS_QEMU_POWERNV9_SECOND_STAGE_H_
