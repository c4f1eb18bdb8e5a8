// The console: what Xen prints, kept in a ring that readconsole reads, and passed to the machine.
#ifndef HCALL_HYPERVISOR_BASE_CONSOLE_H_
#define HCALL_HYPERVISOR_BASE_CONSOLE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hcall/hypervisor/base/spin_lock.h"

namespace xencomm::hypervisor {

class Machine;

// A position counts the characters printed since the start. It wraps at 2^32, as Xen's do.
class Console {
 public:
  static constexpr std::uint32_t kRingSize = 16384;  // characters, as Xen's without an option

  void Print(Machine& machine, std::string_view text);

  // Where a reader begins: at the oldest character that is kept, or when it reads on from `index`
  // and that is still there, at `index`.
  std::uint32_t StartFor(bool incremental, std::uint32_t index);

  // Copies up to `room` characters from position `from` on; what is no longer kept is skipped.
  // `*next` becomes the position after the last one.
  std::uint32_t Read(std::uint32_t from, char* to, std::uint32_t room, std::uint32_t* next);

  // What lies before `position` is not kept for later readers.
  void ForgetUpTo(std::uint32_t position);

 private:
  SpinLock lock_;
  std::uint32_t end_ = 0;
  std::uint32_t begin_ = 0;  // at most kRingSize before the end
  char ring_[kRingSize] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_CONSOLE_H_
