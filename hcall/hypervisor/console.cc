#include "hcall/hypervisor/console.h"

#include "hcall/hypervisor/machine.h"

namespace xencomm::hypervisor {

void Console::Print(Machine& machine, std::string_view text) {
  machine.WriteConsole(text);
  SpinGuard guard(lock_);
  for (const char c : text) ring_[produced_++ % kRingSize] = c;
  if (produced_ - consumed_ > kRingSize) consumed_ = produced_ - kRingSize;
}

std::uint32_t Console::Read(std::uint32_t from, char* to, std::uint32_t room,
                            std::uint32_t* position) {
  SpinGuard guard(lock_);
  std::uint32_t at = produced_ - from > produced_ - consumed_ ? consumed_ : from;
  std::uint32_t copied = 0;
  while (at != produced_ && copied < room) to[copied++] = ring_[at++ % kRingSize];
  *position = at;
  return copied;
}

std::uint32_t Console::Oldest() {
  SpinGuard guard(lock_);
  return consumed_;
}

void Console::Clear() {
  SpinGuard guard(lock_);
  consumed_ = produced_;
}

}  // namespace xencomm::hypervisor
