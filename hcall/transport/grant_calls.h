// Linux's gntdev: the ioctls that are asked of it, and what each takes. Source: Linux,
// include/uapi/xen/gntdev.h.
#ifndef HCALL_TRANSPORT_GRANT_CALLS_H_
#define HCALL_TRANSPORT_GRANT_CALLS_H_

#include <linux/ioctl.h>

#include <cstdint>

namespace xencomm {

struct GrantRef {
  std::uint32_t domid;
  std::uint32_t ref;
};

// So many grants, for a mapping at an offset of the device that is the answer. Behind it they
// follow, GrantRef each, of which the number's size counts one.
struct GrantMap {
  std::uint32_t count;
  std::uint32_t pad;
  std::uint64_t index;
};
struct GrantUnmap {
  std::uint64_t index;
  std::uint32_t count;
  std::uint32_t pad;
};
struct GrantOffset {
  std::uint64_t vaddr;
  std::uint64_t offset;
  std::uint32_t count;
  std::uint32_t pad;
};

inline constexpr unsigned long kGrantMap =
    _IOC(_IOC_NONE, 'G', 0, sizeof(GrantMap) + sizeof(GrantRef));
inline constexpr unsigned long kGrantUnmap = _IOC(_IOC_NONE, 'G', 1, sizeof(GrantUnmap));
inline constexpr unsigned long kGrantOffset = _IOC(_IOC_NONE, 'G', 2, sizeof(GrantOffset));

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_GRANT_CALLS_H_
