// The memory of a process: its address space, and the kernel's own list of what is mapped where.

#ifndef TESTS_QEMU_KERNEL_PROCESS_MEMORY_H_
#define TESTS_QEMU_KERNEL_PROCESS_MEMORY_H_

#include <stdint.h>

#include "tests/qemu/kernel/machine.h"

namespace qemu {

inline constexpr uint64_t kStackTop = 0x18000000;

class ProcessMemory {
 public:
  // Loads a flat image at kUserBegin, page by page into scattered frames, and makes a stack that
  // ends at kStackTop. Called once.
  void Load(const char* image_begin, const char* image_end);

  // Backs the pages of [address, address + bytes) with cleared memory. False unless the range is
  // page-aligned, inside the user's half and not yet backed.
  bool Map(uint64_t address, uint64_t bytes);

  // Maps one page that the caller has allocated. Same conditions.
  bool MapPage(uint64_t address, uint64_t frame, Protection protection);

  // The guest-physical address behind `address`; false where nothing is mapped.
  bool Translate(uint64_t address, uint64_t* guest_physical) const;

  // Whether all of the range is the process's to map something at.
  bool IsFree(uint64_t address, uint64_t bytes) const;

  // Whether all of the range is mapped.
  bool Covers(uint64_t address, uint64_t bytes) const;

  const AddressSpace& space() const { return space_; }

 private:
  // The frame of each page between kUserBegin and kUserEnd, 0 where none is: the kernel's own list,
  // since not every machine's tables can be searched.
  uint64_t* frames_ = nullptr;
  AddressSpace space_;
};

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_PROCESS_MEMORY_H_
