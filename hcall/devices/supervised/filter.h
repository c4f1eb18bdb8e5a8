// Which system calls of a program the kernel tells its supervisor of (seccomp, user notification).
#ifndef HCALL_DEVICES_SUPERVISED_FILTER_H_
#define HCALL_DEVICES_SUPERVISED_FILTER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::devices {

// Devices are mapped at these addresses, where nothing else comes to be by itself: what else a
// program maps and unmaps is not told. 1 TiB.
inline constexpr std::uint64_t kRoomStart = 0x6800'0000'0000;
inline constexpr std::uint64_t kRoomEnd = 0x6900'0000'0000;

// In the upper half of mmap's descriptor, which the kernel does not look at: the supervisor's own.
inline constexpr std::uint32_t kOwnMapping = 0x58434d4d;

// From now on, for this process and all that it starts; they can gain no rights any more. The
// descriptor is the supervisor's. kUnavailable with a sentence when it cannot be had.
absl::StatusOr<FileDescriptor> InstallFilter();

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_FILTER_H_
