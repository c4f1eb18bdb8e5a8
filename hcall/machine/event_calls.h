// Linux's event channel device: the ioctls that are asked of it, and what each takes. Source:
// Linux, include/uapi/xen/evtchn.h.
//
// Nothing is written back: a call that binds returns its port.
#ifndef HCALL_MACHINE_EVENT_CALLS_H_
#define HCALL_MACHINE_EVENT_CALLS_H_

#include <linux/ioctl.h>

#include <cstdint>

namespace xencomm::machine {

struct EventBindVirq {
  std::uint32_t virq;
};
struct EventBindInterdomain {
  std::uint32_t remote_domain;
  std::uint32_t remote_port;
};
struct EventBindUnbound {
  std::uint32_t remote_domain;
};
struct EventPort {
  std::uint32_t port;
};
struct EventRestrict {
  std::uint16_t domain;
};

inline constexpr std::uint32_t kEventBindVirq = _IOC(_IOC_NONE, 'E', 0, sizeof(EventBindVirq));
inline constexpr std::uint32_t kEventBindInterdomain =
    _IOC(_IOC_NONE, 'E', 1, sizeof(EventBindInterdomain));
inline constexpr std::uint32_t kEventBindUnbound =
    _IOC(_IOC_NONE, 'E', 2, sizeof(EventBindUnbound));
inline constexpr std::uint32_t kEventUnbind = _IOC(_IOC_NONE, 'E', 3, sizeof(EventPort));
inline constexpr std::uint32_t kEventNotify = _IOC(_IOC_NONE, 'E', 4, sizeof(EventPort));
inline constexpr std::uint32_t kEventReset = _IOC(_IOC_NONE, 'E', 5, 0);
inline constexpr std::uint32_t kEventRestrict = _IOC(_IOC_NONE, 'E', 6, sizeof(EventRestrict));

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_EVENT_CALLS_H_
