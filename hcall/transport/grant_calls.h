// Linux's gntdev and gntalloc: the ioctls that are asked of them, and what each takes. Source:
// Linux, include/uapi/xen/gntdev.h and gntalloc.h. What begins at 0x40 is this library's own, and
// asked of a machine's gntalloc only.
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

struct UnmapNotify {
  std::uint64_t index;  // of a byte
  std::uint32_t action;
  std::uint32_t port;
};
struct GrantCopySide {
  union {
    std::uint64_t address;
    struct {
      std::uint32_t ref;
      std::uint16_t offset;
      std::uint16_t domid;
    } foreign;
  };
};
struct GrantCopySegment {
  GrantCopySide source;
  GrantCopySide dest;
  std::uint16_t length;
  std::uint16_t flags;  // kCopyFromGrant, kCopyToGrant
  std::int16_t status;
  std::uint16_t pad;
};
static_assert(sizeof(GrantCopySegment) == 24);
inline constexpr std::uint16_t kCopyFromGrant = 1;
inline constexpr std::uint16_t kCopyToGrant = 2;
// What is of a grant lies in its page.
constexpr bool IsPossible(const GrantCopySegment& segment) {
  constexpr unsigned kPageSize = 4096;
  const auto fits = [&](const GrantCopySide& side) {
    return side.foreign.offset + segment.length <= kPageSize;
  };
  const bool from_grant = (segment.flags & kCopyFromGrant) != 0;
  const bool to_grant = (segment.flags & kCopyToGrant) != 0;
  return (from_grant || to_grant) && (!from_grant || fits(segment.source)) &&
         (!to_grant || fits(segment.dest));
}
struct GrantCopy {
  std::uint32_t count;
  std::uint32_t pad;
  std::uint64_t segments;
};

// So many pages for a domain, at an offset of the file that is the answer. Behind it follow their
// entries in the grant table, of which the number's size counts one.
struct ShareAllocate {
  std::uint16_t domid;
  std::uint16_t flags;  // kShareWritable
  std::uint32_t count;
  std::uint64_t index;
};
inline constexpr std::uint16_t kShareWritable = 1;
struct ShareFree {
  std::uint64_t index;
  std::uint32_t count;
  std::uint32_t pad;
};

// One grant of a page.
struct ShareListed {
  std::uint32_t ref;
  std::uint16_t domid;
  std::uint16_t flags;
};
// Up to `count` ShareListed follow; then it is how many there are.
struct ShareList {
  std::uint64_t index;
  std::uint32_t count;
  std::uint32_t pad;
};
struct ShareRevoke {
  std::uint32_t ref;
};

inline constexpr unsigned long kGrantMap =
    _IOC(_IOC_NONE, 'G', 0, sizeof(GrantMap) + sizeof(GrantRef));
inline constexpr unsigned long kGrantUnmap = _IOC(_IOC_NONE, 'G', 1, sizeof(GrantUnmap));
inline constexpr unsigned long kGrantOffset = _IOC(_IOC_NONE, 'G', 2, sizeof(GrantOffset));
inline constexpr unsigned long kGrantCopy = _IOC(_IOC_NONE, 'G', 8, sizeof(GrantCopy));
inline constexpr unsigned long kUnmapNotify = _IOC(_IOC_NONE, 'G', 7, sizeof(UnmapNotify));

inline constexpr unsigned long kShareAllocate =
    _IOC(_IOC_NONE, 'G', 5, sizeof(ShareAllocate) + sizeof(std::uint64_t));
inline constexpr unsigned long kShareFree = _IOC(_IOC_NONE, 'G', 6, sizeof(ShareFree));

// The same at an offset that the caller says (-EEXIST: something is there already); where an
// address was mapped from, as kGrantOffset; the same pages for one domain more, at their offset;
// a page's grants; one of which is taken back (-EBUSY: it is in use).
inline constexpr unsigned long kShareAllocateAt =
    _IOC(_IOC_NONE, 'G', 0x40, sizeof(ShareAllocate) + sizeof(std::uint64_t));
inline constexpr unsigned long kShareOffset = _IOC(_IOC_NONE, 'G', 0x41, sizeof(GrantOffset));
inline constexpr unsigned long kShareAlso =
    _IOC(_IOC_NONE, 'G', 0x42, sizeof(ShareAllocate) + sizeof(std::uint64_t));
inline constexpr unsigned long kShareList = _IOC(_IOC_NONE, 'G', 0x43, sizeof(ShareList));
inline constexpr unsigned long kShareRevoke = _IOC(_IOC_NONE, 'G', 0x44, sizeof(ShareRevoke));

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_GRANT_CALLS_H_
