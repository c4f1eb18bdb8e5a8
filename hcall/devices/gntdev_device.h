// /dev/xen/gntdev, as a program on a machine has it: pages that other domains grant. Not there are
// dma-bufs, as in a Linux that was built without them.
#ifndef HCALL_DEVICES_GNTDEV_DEVICE_H_
#define HCALL_DEVICES_GNTDEV_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "hcall/devices/page_device.h"
#include "hcall/transport/grant_calls.h"

namespace xencomm::devices {

class GntdevDevice final : public PageDevice {
 public:
  static absl::StatusOr<std::unique_ptr<GntdevDevice>> Create(
      std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
      Program& program);

  std::int64_t Ioctl(std::uint64_t file, unsigned long request, std::uint64_t argument);

 private:
  using PageDevice::PageDevice;

  int MayMap(std::size_t pages, int protection, bool is_shared) const override;
  std::int64_t MapGrants(std::uint64_t file, std::uint64_t argument);
  std::int64_t Copy(std::uint64_t file, std::uint64_t argument);
  // A positive status is an errno.
  std::int64_t CopySegment(std::uint64_t file, const GrantCopySegment& segment);
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_GNTDEV_DEVICE_H_
