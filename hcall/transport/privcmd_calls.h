// Linux's privcmd: the ioctls that are asked of it, and what each takes. Source: Linux,
// include/uapi/xen/privcmd.h, which only compiles beside the headers of a Xen.
#ifndef HCALL_TRANSPORT_PRIVCMD_CALLS_H_
#define HCALL_TRANSPORT_PRIVCMD_CALLS_H_

#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace xencomm {

struct PrivcmdHypercall {
  std::uint64_t op;
  std::uint64_t arg[5];
};

// Frames into a range of addresses, with an error for each.
struct PrivcmdMapBatch {
  std::uint32_t num;
  std::uint16_t dom;
  std::uint64_t addr;
  const std::uint64_t* arr;  // frame numbers
  int* err;
};

// The same before it: frame i that failed has an error's bits in arr[i].
struct PrivcmdMapBatchV1 {
  std::int32_t num;
  std::uint16_t dom;
  std::uint64_t addr;
  std::uint64_t* arr;
};

struct PrivcmdMap {
  std::int32_t num;
  std::uint16_t dom;
  const void* entry;
};

struct PrivcmdDmOpBuffer {
  void* uptr;
  std::size_t size;
};
struct PrivcmdDmOp {
  std::uint16_t dom;
  std::uint16_t num;
  const PrivcmdDmOpBuffer* ubufs;
};

struct PrivcmdMapResource {
  std::uint16_t dom;
  std::uint32_t type;
  std::uint32_t id;
  std::uint32_t idx;
  std::uint64_t num;
  std::uint64_t addr;
};

inline constexpr unsigned long kPrivcmdHypercall =
    _IOC(_IOC_NONE, 'P', 0, sizeof(PrivcmdHypercall));
inline constexpr unsigned long kPrivcmdMap = _IOC(_IOC_NONE, 'P', 2, sizeof(PrivcmdMap));
inline constexpr unsigned long kPrivcmdMapBatchV1 =
    _IOC(_IOC_NONE, 'P', 3, sizeof(PrivcmdMapBatchV1));
inline constexpr unsigned long kPrivcmdDmOp = _IOC(_IOC_NONE, 'P', 5, sizeof(PrivcmdDmOp));
inline constexpr unsigned long kPrivcmdMapBatch = _IOC(_IOC_NONE, 'P', 4, sizeof(PrivcmdMapBatch));
// Takes a domain's number.
inline constexpr unsigned long kPrivcmdRestrict = _IOC(_IOC_NONE, 'P', 6, sizeof(std::uint16_t));
inline constexpr unsigned long kPrivcmdMapResource =
    _IOC(_IOC_NONE, 'P', 7, sizeof(PrivcmdMapResource));

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_PRIVCMD_CALLS_H_
