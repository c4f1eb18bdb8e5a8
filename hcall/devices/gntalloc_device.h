// /dev/xen/gntalloc, as a program on a machine has it: pages of its domain that it grants to
// others, with what the machine has beyond Linux (hcall/transport/grant_calls.h).
#ifndef HCALL_DEVICES_GNTALLOC_DEVICE_H_
#define HCALL_DEVICES_GNTALLOC_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "hcall/devices/page_device.h"
#include "hcall/transport/grant_calls.h"

namespace xencomm::devices {

class GntallocDevice final : public PageDevice {
 public:
  static absl::StatusOr<std::unique_ptr<GntallocDevice>> Create(
      std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
      Program& program);

  std::int64_t Ioctl(std::uint64_t file, unsigned long request, std::uint64_t argument);

 private:
  using PageDevice::PageDevice;

  int MayMap(std::size_t pages, int protection, bool is_shared) const override;
  std::int64_t Allocate(std::uint64_t file, std::uint64_t argument, unsigned long request);
  std::int64_t List(std::uint64_t file, std::uint64_t argument);
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_GNTALLOC_DEVICE_H_
