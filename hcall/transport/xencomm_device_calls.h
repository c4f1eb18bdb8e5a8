// /dev/xen/xencomm: the ioctls that are asked of it, and what each takes. Source:
// hcall/linux/xencomm_device.h, which is C for a kernel.
#ifndef HCALL_TRANSPORT_XENCOMM_DEVICE_CALLS_H_
#define HCALL_TRANSPORT_XENCOMM_DEVICE_CALLS_H_

#include <linux/ioctl.h>

#include <cstdint>

#include "hcall/transport/privcmd_calls.h"

namespace xencomm {

inline constexpr char kXencommDevicePath[] = "/dev/xen/xencomm";

// The region of the file: multiples of 4096, the table included, at most 1 GiB.
struct XencommReserve {
  std::uint64_t virtual_base;
  std::uint64_t length;  // bytes
};

inline constexpr unsigned long kXencommReserve = _IOW('X', 0, XencommReserve);
// As privcmd's, for programs that know that one.
inline constexpr unsigned long kXencommHypercall = kPrivcmdHypercall;

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_XENCOMM_DEVICE_CALLS_H_
