#include "hcall/devices/gntdev_device.h"

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "hcall/schema/generated/xen.h"

namespace xencomm::devices {
namespace {

// Of one mapping (drivers/xen/gntdev.c, its parameter `limit`).
constexpr std::uint32_t kMostGrants = 64 << 10;
constexpr std::size_t kPageSize = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<GntdevDevice>> GntdevDevice::Create(
    std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
    Program& program) {
  absl::StatusOr<FileDescriptor> empty = EmptyFile();
  if (!empty.ok()) return empty.status();
  return std::unique_ptr<GntdevDevice>(
      new GntdevDevice(std::move(connection), mappings, program, *std::move(empty)));
}

std::int64_t GntdevDevice::Ioctl(std::uint64_t file, unsigned long request,
                                 std::uint64_t argument) {
  switch (request) {
    case kGrantMap:
      return MapGrants(file, argument);
    case kGrantUnmap: {
      GrantUnmap unmap;
      if (!program().Fetch(argument, &unmap)) return -EFAULT;
      return connection().RemoveGrants(file, unmap.index >> kPageShift, unmap.count);
    }
    case kGrantOffset:
      return OffsetOf(argument);
    case kUnmapNotify:
      return SetNotice(file, argument);
    case kGrantCopy:
      return Copy(file, argument);
    default:
      return -ENOTTY;
  }
}

int GntdevDevice::MayMap(std::size_t pages, int protection, bool is_shared) const {
  const bool is_fit =
      pages != 0 && pages <= kMostGrants && ((protection & PROT_WRITE) == 0 || is_shared);
  return is_fit ? 0 : -EINVAL;
}

std::int64_t GntdevDevice::MapGrants(std::uint64_t file, std::uint64_t argument) {
  GrantMap map;
  if (!program().Fetch(argument, &map)) return -EFAULT;
  if (map.count == 0 || map.count > kMostGrants) return -EINVAL;
  const std::uint64_t list = argument + sizeof(map);
  // As much as is not there is not fetched either.
  if (!program().CanTouch(list, map.count * sizeof(GrantRef), Access::kRead)) return -EFAULT;
  std::vector<GrantRef> refs(map.count);
  if (!program().Read(list, refs.data(), refs.size() * sizeof(GrantRef))) return -EFAULT;
  const std::int64_t page = connection().AddGrants(file, refs);
  if (page < 0) return page;
  map.index = static_cast<std::uint64_t>(page) << kPageShift;
  return program().Store(argument, map) ? 0 : -EFAULT;
}

std::int64_t GntdevDevice::Copy(std::uint64_t file, std::uint64_t argument) {
  GrantCopy copy;
  if (!program().Fetch(argument, &copy)) return -EFAULT;
  for (std::uint32_t i = 0; i < copy.count; ++i) {
    const std::uint64_t at = copy.segments + i * sizeof(GrantCopySegment);
    GrantCopySegment segment;
    if (!program().Fetch(at, &segment)) return -EFAULT;
    const std::int64_t status = CopySegment(file, segment);
    if (status > 0) return -status;
    segment.status = static_cast<std::int16_t>(status);
    if (!program().Write(at + offsetof(GrantCopySegment, status), &segment.status,
                         sizeof(segment.status))) {
      return -EFAULT;
    }
  }
  return 0;
}

std::int64_t GntdevDevice::CopySegment(std::uint64_t file, const GrantCopySegment& segment) {
  const bool from_grant = (segment.flags & kCopyFromGrant) != 0;
  const bool to_grant = (segment.flags & kCopyToGrant) != 0;
  if (!IsPossible(segment)) return EINVAL;
  if (segment.length == 0) return GNTST_okay;
  std::array<std::byte, kPageSize> storage;
  const std::span<std::byte> bytes = std::span(storage).first(segment.length);
  if (!from_grant && !program().Read(segment.source.address, bytes.data(), bytes.size())) {
    return EFAULT;
  }
  const std::int64_t status = connection().CopyGrant(file, segment, bytes);
  if (status == 0 && !to_grant &&
      !program().Write(segment.dest.address, bytes.data(), bytes.size())) {
    return EFAULT;
  }
  return status;
}

}  // namespace xencomm::devices
