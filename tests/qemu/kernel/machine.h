// What the kernel needs of a machine; every machine folder implements it under the same file names:
//
//   user_context.h       UserContext: the registers of a user program that waits in the kernel
//   kernel_machine.cc    the rest
//
// The kernel runs translated, its memory at virtual address = guest-physical address, and reaches
// the memory of the process whose address space is active by its virtual addresses too.

#ifndef TESTS_QEMU_KERNEL_MACHINE_H_
#define TESTS_QEMU_KERNEL_MACHINE_H_

#include <stdint.h>

#include "user_context.h"

namespace qemu {

// User programs live between these virtual addresses.
inline constexpr uint64_t kUserBegin = 0x10000000;
inline constexpr uint64_t kUserEnd = 0x40000000;

enum class Protection { kReadOnly, kReadWrite };  // for user programs; the kernel may always write

// One process's translation.
class AddressSpace {
 public:
  // Called once. Spaces share the kernel's own mappings.
  void Create();

  // Maps the page at `address` to the frame at guest-physical `frame`; both aligned to PageSize().
  void Map(uint64_t address, uint64_t frame, Protection protection);

  // From now on the user half of the address space is this one.
  void Activate() const;

 private:
  // By which the machine finds the rest: a number of its own.
  uint64_t id_ = 0;
};

// Enters a call of the hypervisor.
uint64_t Hypercall(uint64_t index, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                   uint64_t a4 = 0, uint64_t a5 = 0, uint64_t region = 0);

// Called once, before any AddressSpace: what the machine's translation needs. The kernel is
// translated when the first space is activated.
void StartTranslation(uint64_t memory_size);

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_MACHINE_H_
