// The kernel's own memory as xencomm::Memory: guest-physical addresses, by its linear map.

#ifndef TESTS_QEMU_KERNEL_MEMORY_H_
#define TESTS_QEMU_KERNEL_MEMORY_H_

#include "tests/qemu/kernel/frames.h"
#include "xencomm/memory.h"

namespace qemu {

class KernelMemory {
 public:
  xencomm::Mapping Map(xencomm::PhysicalAddress physical, uint64_t length, xencomm::Access) {
    if (!xencomm::Contains(0, MemorySize(), physical.value, length)) {
      return xencomm::Fault::kNoMemory;
    }
    return {KernelPointer<std::byte>(physical.value), length};
  }
};
static_assert(xencomm::Memory<KernelMemory>);

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_MEMORY_H_
