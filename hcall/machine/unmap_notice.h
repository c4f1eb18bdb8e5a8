// What the other side of a shared page is told when it is mapped here no more, however that came:
// a byte of the page becomes 0, and then an event is sent. Source: Linux,
// IOCTL_GNTDEV_SET_UNMAP_NOTIFY in include/uapi/xen/gntdev.h, and gntalloc's alike.
#ifndef HCALL_MACHINE_UNMAP_NOTICE_H_
#define HCALL_MACHINE_UNMAP_NOTICE_H_

#include <cstddef>
#include <cstdint>

#include "hcall/machine/event_device.h"

namespace xencomm::machine {

class UnmapNotice {
 public:
  static constexpr std::uint32_t kClearsByte = 1;
  static constexpr std::uint32_t kSendsEvent = 2;

  explicit UnmapNotice(EventFiles& events) : events_(events) {}
  UnmapNotice(const UnmapNotice&) = delete;
  UnmapNotice& operator=(const UnmapNotice&) = delete;
  ~UnmapNotice() { Drop(); }

  // In place of what was set before. -EINVAL: no such action, or a port that nobody has bound here.
  int Set(std::uint32_t action, std::uint64_t byte, std::uint32_t port);
  // The byte that is to be cleared; none: ~0.
  std::uint64_t byte() const { return (action_ & kClearsByte) != 0 ? byte_ : ~std::uint64_t{0}; }
  // Sends the event, if one is to be sent; once.
  void Send();

 private:
  void Drop();

  EventFiles& events_;
  std::uint32_t action_ = 0;
  std::uint64_t byte_ = 0;
  std::uint32_t port_ = 0;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_UNMAP_NOTICE_H_
