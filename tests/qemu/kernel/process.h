// A process: a user program's address space, its registers while it waits, its regions.

#ifndef TESTS_QEMU_KERNEL_PROCESS_H_
#define TESTS_QEMU_KERNEL_PROCESS_H_

#include <stdint.h>

#include "tests/qemu/kernel/machine.h"

namespace qemu {

class Process {
 public:
  // Loads a flat image at kUserBegin, page by page into scattered frames, with a stack; the program
  // begins at the image's first byte with `argument`.
  void Load(const char* image_begin, const char* image_end, uint64_t argument);

  // Backs the pages of [address, address + bytes) with cleared memory. False unless the range is
  // page-aligned, inside the user's half and not yet backed.
  bool Map(uint64_t address, uint64_t bytes);

  // Maps one page that the caller has allocated. Same conditions.
  bool MapPage(uint64_t address, uint64_t frame, Protection protection);

  // The guest-physical address behind `address`; false where nothing is mapped.
  bool Translate(uint64_t address, uint64_t* guest_physical) const;

  // Whether the process itself may read all of the range.
  bool Covers(uint64_t address, uint64_t bytes) const;

  const AddressSpace& space() const { return space_; }
  UserContext& context() { return context_; }

 private:
  // The frame of each page between kUserBegin and kUserEnd, 0 where none is: the kernel's own
  // book, since not every machine's tables can be searched.
  uint64_t* frames_ = nullptr;
  AddressSpace space_;
  UserContext context_ = {};
};

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_PROCESS_H_
