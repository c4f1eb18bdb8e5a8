#include "hcall/machine/unmap_notice.h"

#include <cerrno>

namespace xencomm::machine {

int UnmapNotice::Set(std::uint32_t action, std::uint64_t byte, std::uint32_t port) {
  if ((action & ~(kClearsByte | kSendsEvent)) != 0) return -EINVAL;
  // Kept before the old one is dropped, which may be the same.
  if ((action & kSendsEvent) != 0 && !events_.Keep(port)) return -EINVAL;
  Drop();
  action_ = action;
  byte_ = byte;
  port_ = port;
  return 0;
}

void UnmapNotice::Send() {
  if ((action_ & kSendsEvent) != 0) events_.Send(port_);
  Drop();
}

void UnmapNotice::Drop() {
  if ((action_ & kSendsEvent) != 0) events_.LetGo(port_);
  action_ = 0;
}

}  // namespace xencomm::machine
