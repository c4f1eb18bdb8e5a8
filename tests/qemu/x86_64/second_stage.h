#ifndef TESTS_QEMU_X86_64_SECOND_STAGE_H_
#define TESTS_QEMU_X86_64_SECOND_STAGE_H_

#include <stdint.h>

namespace qemu {

// The second stage's top table, for the VMCB.
uint64_t SecondStageRoot();

}  // namespace qemu

#endif  // TESTS_QEMU_X86_64_SECOND_STAGE_H_
