// Ports in the order in which they came, each at most once: there is room for all of them, always.
#ifndef HCALL_MACHINE_PORT_QUEUE_H_
#define HCALL_MACHINE_PORT_QUEUE_H_

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/machine/kernel_events.h"

namespace xencomm::machine {

class PortQueue {
 public:
  bool empty() const { return begin_ == end_; }

  // At the end, unless it is in there.
  void Add(std::uint32_t port) {
    if (has_[port]) return;
    has_[port] = true;
    ports_[end_++ % kSize] = port;
  }

  // The first ones, as many as there is room for; how many they are. They stay.
  std::size_t CopyTo(std::span<std::uint32_t> to) const {
    const std::size_t count = std::min(end_ - begin_, to.size());
    for (std::size_t i = 0; i < count; ++i) to[i] = ports_[(begin_ + i) % kSize];
    return count;
  }
  void DropFirst(std::size_t count) {
    for (; count != 0; --count) has_[ports_[begin_++ % kSize]] = false;
  }
  void Clear() { DropFirst(end_ - begin_); }

 private:
  static constexpr std::size_t kSize = KernelEvents::kPorts;

  std::array<std::uint32_t, kSize> ports_;
  std::bitset<kSize> has_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_PORT_QUEUE_H_
