// A process: a user program's memory, its registers while it waits, its regions.

#ifndef TESTS_QEMU_KERNEL_PROCESS_H_
#define TESTS_QEMU_KERNEL_PROCESS_H_

#include <stdint.h>

#include "tests/qemu/kernel/process_memory.h"
#include "tests/qemu/kernel/region.h"
#include "tests/qemu/kernel/restriction.h"

namespace qemu {

struct Process {
  static constexpr uint64_t kMaxRegions = 16;

  ProcessMemory memory;
  UserContext context = {};
  Region regions[kMaxRegions];
  Restriction restriction;
  bool ended = false;

  // The program's own number of a region; null when it has none of that number.
  Region* FindRegion(uint64_t number) {
    return number < kMaxRegions && regions[number].exists() ? &regions[number] : nullptr;
  }
};

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_PROCESS_H_
