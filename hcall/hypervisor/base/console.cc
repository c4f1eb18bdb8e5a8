#include "hcall/hypervisor/base/console.h"

#include "hcall/hypervisor/base/machine.h"

namespace xencomm::hypervisor {

void Console::Print(Machine& machine, std::string_view text) {
  machine.WriteConsole(text);
  SpinGuard guard(lock_);
  for (const char c : text) ring_[end_++ % kRingSize] = c;
  if (end_ - begin_ > kRingSize) begin_ = end_ - kRingSize;
}

std::uint32_t Console::StartFor(bool incremental, std::uint32_t index) {
  SpinGuard guard(lock_);
  const bool kept = index - begin_ <= end_ - begin_;
  return incremental && kept ? index : begin_;
}

std::uint32_t Console::Read(std::uint32_t from, char* to, std::uint32_t room, std::uint32_t* next) {
  SpinGuard guard(lock_);
  std::uint32_t at = from - begin_ <= end_ - begin_ ? from : begin_;
  std::uint32_t copied = 0;
  while (at != end_ && copied < room) to[copied++] = ring_[at++ % kRingSize];
  *next = at;
  return copied;
}

void Console::ForgetUpTo(std::uint32_t position) {
  SpinGuard guard(lock_);
  if (position - begin_ <= end_ - begin_) begin_ = position;
}

}  // namespace xencomm::hypervisor
