#include "hcall/devices/gntalloc_device.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace xencomm::devices {
namespace {

// Of all files together (drivers/xen/gntalloc.c, its parameter `limit`).
constexpr std::uint32_t kMostPages = 1024;
constexpr std::uint64_t kPageSize = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<GntallocDevice>> GntallocDevice::Create(
    std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
    Program& program) {
  absl::StatusOr<FileDescriptor> empty = EmptyFile();
  if (!empty.ok()) return empty.status();
  return std::unique_ptr<GntallocDevice>(
      new GntallocDevice(std::move(connection), mappings, program, *std::move(empty)));
}

std::int64_t GntallocDevice::Ioctl(std::uint64_t file, unsigned long request,
                                   std::uint64_t argument) {
  switch (request) {
    case kShareAllocate:
    case kShareAllocateAt:
    case kShareAlso:
      return Allocate(file, argument, request);
    case kShareFree: {
      ShareFree gone;
      if (!program().Fetch(argument, &gone)) return -EFAULT;
      if (gone.index % kPageSize != 0) return -EINVAL;
      return connection().Unshare(file, gone.index >> kPageShift, gone.count);
    }
    case kUnmapNotify:
      return SetNotice(file, argument);
    case kShareOffset:
      return OffsetOf(argument);
    case kShareList:
      return List(file, argument);
    case kShareRevoke: {
      ShareRevoke revoke;
      if (!program().Fetch(argument, &revoke)) return -EFAULT;
      return connection().RevokeShare(file, revoke.ref);
    }
    default:
      return -ENOTTY;
  }
}

int GntallocDevice::MayMap(std::size_t pages, int, bool is_shared) const {
  if (!is_shared || pages == 0) return -EINVAL;
  return pages <= kMostPages ? 0 : -ENOENT;
}

std::int64_t GntallocDevice::Allocate(std::uint64_t file, std::uint64_t argument,
                                      unsigned long request) {
  ShareAllocate share;
  if (!program().Fetch(argument, &share)) return -EFAULT;
  if (request != kShareAllocate && share.index % kPageSize != 0) return -EINVAL;
  if (share.count > kMostPages) return -ENOSPC;
  const std::uint64_t list = argument + sizeof(share);
  if (!program().CanTouch(list, share.count * sizeof(std::uint32_t), Access::kWrite)) {
    return -EFAULT;
  }
  std::vector<std::uint32_t> refs(share.count);
  const bool writable = (share.flags & kShareWritable) != 0;
  const std::uint64_t page = share.index >> kPageShift;
  std::int64_t answer;
  if (request == kShareAlso) {
    answer = connection().ShareAlso(file, page, share.domid, writable, refs);
  } else {
    answer = connection().Share(file, request == kShareAllocate ? ~std::uint64_t{0} : page,
                                share.domid, writable, refs);
    if (answer >= 0) share.index = static_cast<std::uint64_t>(answer) << kPageShift;
  }
  if (answer < 0) return answer;
  const bool is_told =
      program().Store(argument, share) &&
      (refs.empty() || program().Write(list, refs.data(), refs.size() * sizeof(std::uint32_t)));
  return is_told ? 0 : -EFAULT;
}

std::int64_t GntallocDevice::List(std::uint64_t file, std::uint64_t argument) {
  ShareList list;
  if (!program().Fetch(argument, &list)) return -EFAULT;
  if (list.index % kPageSize != 0) return -EINVAL;
  std::vector<ShareListed> grants;
  const int error = connection().ListShares(file, list.index >> kPageShift, &grants);
  if (error != 0) return error;
  const std::size_t told = std::min<std::size_t>(list.count, grants.size());
  list.count = static_cast<std::uint32_t>(grants.size());
  const bool is_told = program().Store(argument, list) &&
                       (told == 0 || program().Write(argument + sizeof(list), grants.data(),
                                                     told * sizeof(ShareListed)));
  return is_told ? 0 : -EFAULT;
}

}  // namespace xencomm::devices
