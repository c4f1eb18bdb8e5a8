// /dev/xen/gntdev, as a program on a machine has it: pages that other domains grant, mapped out of
// the machine's memory. What a file is about to map is kept by the machine.
//
// Not there are Linux's copies, its word to the other side when a mapping ends, and dma-bufs. A
// forked child has none of its parent's mappings.
#ifndef HCALL_DEVICES_GNTDEV_DEVICE_H_
#define HCALL_DEVICES_GNTDEV_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "hcall/devices/program.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/connection.h"
#include "xencomm/mutex.h"

namespace xencomm::devices {

// All functions answer as the system call does in the kernel: a negative errno, or a result.
class GntdevDevice {
 public:
  // For `program`, whose `mappings` are; both are borrowed.
  static absl::StatusOr<std::unique_ptr<GntdevDevice>> Create(
      std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
      Program& program);

  GntdevDevice(const GntdevDevice&) = delete;
  GntdevDevice& operator=(const GntdevDevice&) = delete;

  std::int64_t Ioctl(std::uint64_t file, unsigned long request, std::uint64_t argument)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // An address, or a negative errno.
  std::int64_t Map(std::uint64_t file, std::uint64_t address, std::size_t length, int protection,
                   int flags, std::uint64_t offset) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whatever was at these addresses is gone.
  void Unmapped(std::uint64_t start, std::size_t length) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Mapped {
    std::uint64_t offset;
    std::uint32_t pages;
  };

  GntdevDevice(std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
               Program& program, FileDescriptor empty)
      : connection_(std::move(connection)),
        mappings_(mappings),
        program_(program),
        empty_(std::move(empty)) {}

  std::int64_t MapGrants(std::uint64_t file, std::uint64_t argument);
  std::int64_t OffsetOf(std::uint64_t argument) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<machine::Connection> connection_;
  embedded::ForeignMappings& mappings_;
  Program& program_;
  const FileDescriptor empty_;  // a file without a byte
  Mutex mutex_;
  std::map<std::uint64_t, Mapped> mapped_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_GNTDEV_DEVICE_H_
