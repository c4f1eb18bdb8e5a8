// The console: what Xen prints, kept in a ring that readconsole reads, and passed to the machine.
#ifndef HCALL_HYPERVISOR_CONSOLE_H_
#define HCALL_HYPERVISOR_CONSOLE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hcall/hypervisor/spin_lock.h"

namespace xencomm::hypervisor {

class Machine;

class Console {
 public:
  static constexpr std::uint32_t kRingSize = 16384;  // bytes; Xen's conring_size

  void Print(Machine& machine, std::string_view text);

  // Copies up to `room` characters from position `from` on, or from the oldest kept if that is
  // later. `*position` becomes the position after the last one copied.
  std::uint32_t Read(std::uint32_t from, char* to, std::uint32_t room, std::uint32_t* position);
  // The oldest position that is kept and not cleared.
  std::uint32_t Oldest();
  void Clear();

 private:
  SpinLock lock_;
  std::uint32_t produced_ = 0;  // positions wrap at 2^32, as Xen's do
  std::uint32_t consumed_ = 0;
  char ring_[kRingSize] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CONSOLE_H_
