// The program's memory, as the kernel sees it: what cannot be touched is a fault, not a signal.
#ifndef HCALL_DEVICES_PROGRAM_MEMORY_H_
#define HCALL_DEVICES_PROGRAM_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "xencomm/space.h"

namespace xencomm::devices {

// Whether all of [address, address + bytes) can be touched in this way. What a thread unmaps
// meanwhile ends the program, as it would without us.
bool CanTouch(std::uint64_t address, std::uint64_t bytes, Access access);

// For the walk of a call (hcall/schema/walk.h).
class ProgramMemory final : public Space {
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address) ||
        !CanTouch(address, length, access)) {
      return Fault::kNotPresent;
    }
    // An address of the program's own.
    return {reinterpret_cast<std::byte*>(address), length};
  }
};

// One object that an ioctl's argument leads to; false: it leads nowhere.
template <class T>
bool Fetch(const void* from, T* to) {
  if (!CanTouch(reinterpret_cast<std::uintptr_t>(from), sizeof(T), Access::kRead)) return false;
  std::memcpy(to, from, sizeof(T));
  return true;
}
template <class T>
bool Store(void* to, const T& from) {
  if (!CanTouch(reinterpret_cast<std::uintptr_t>(to), sizeof(T), Access::kWrite)) return false;
  std::memcpy(to, &from, sizeof(T));
  return true;
}

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_PROGRAM_MEMORY_H_
