#include "hcall/devices/gntdev_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <span>
#include <utility>
#include <vector>

#include "hcall/transport/grant_calls.h"

namespace xencomm::devices {
namespace {

constexpr unsigned kPageShift = 12;
// Of one mapping (drivers/xen/gntdev.c, its parameter `limit`).
constexpr std::uint32_t kMostGrants = 64 << 10;

// Holds the frames that are granted at one offset of a file.
class HolderOfGrants final : public embedded::FrameHolder {
 public:
  HolderOfGrants(machine::Connection& connection, std::uint64_t file, std::uint64_t page)
      : connection_(connection), file_(file), page_(page) {}

  int Hold(std::uint16_t, std::span<const std::uint64_t>, Access access,
           std::span<std::uint64_t> mfns, std::span<int> errors) override {
    std::ranges::fill(errors, 0);
    return connection_.HoldGrants(file_, page_, access, mfns);
  }
  int HoldResource(const ForeignMemory::Resource&, std::span<std::uint64_t>) override {
    return -EINVAL;
  }
  std::int64_t CountResource(const ForeignMemory::Resource&) override { return -EINVAL; }
  void Release(std::span<const std::uint64_t> mfns) override { connection_.Release(mfns); }

 private:
  machine::Connection& connection_;
  const std::uint64_t file_;
  const std::uint64_t page_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GntdevDevice>> GntdevDevice::Create(
    std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
    Program& program) {
  FileDescriptor empty(memfd_create("xencomm-gntdev", MFD_CLOEXEC));
  if (!empty.is_open()) return absl::ErrnoToStatus(errno, "room for granted frames");
  return std::unique_ptr<GntdevDevice>(
      new GntdevDevice(std::move(connection), mappings, program, std::move(empty)));
}

std::int64_t GntdevDevice::Ioctl(std::uint64_t file, unsigned long request,
                                 std::uint64_t argument) {
  switch (request) {
    case kGrantMap:
      return MapGrants(file, argument);
    case kGrantUnmap: {
      GrantUnmap unmap;
      if (!program_.Fetch(argument, &unmap)) return -EFAULT;
      if (unmap.index % (1u << kPageShift) != 0) return -ENOENT;
      return connection_->RemoveGrants(file, unmap.index >> kPageShift, unmap.count);
    }
    case kGrantOffset:
      return OffsetOf(argument);
    default:
      return -ENOTTY;
  }
}

std::int64_t GntdevDevice::MapGrants(std::uint64_t file, std::uint64_t argument) {
  GrantMap map;
  if (!program_.Fetch(argument, &map)) return -EFAULT;
  if (map.count == 0 || map.count > kMostGrants) return -EINVAL;
  const std::uint64_t list = argument + sizeof(map);
  // As much as is not there is not fetched either.
  if (!program_.CanTouch(list, map.count * sizeof(GrantRef), Access::kRead)) return -EFAULT;
  std::vector<GrantRef> refs(map.count);
  if (!program_.Read(list, refs.data(), refs.size() * sizeof(GrantRef))) return -EFAULT;
  const std::int64_t page = connection_->AddGrants(file, refs);
  if (page < 0) return page;
  map.index = static_cast<std::uint64_t>(page) << kPageShift;
  return program_.Store(argument, map) ? 0 : -EFAULT;
}

std::int64_t GntdevDevice::OffsetOf(std::uint64_t argument) {
  GrantOffset asked;
  if (!program_.Fetch(argument, &asked)) return -EFAULT;
  {
    const MutexLock lock(mutex_);
    const auto mapped = mapped_.find(asked.vaddr);
    if (mapped == mapped_.end()) return -EINVAL;
    asked.offset = mapped->second.offset;
    asked.count = mapped->second.pages;
  }
  return program_.Store(argument, asked) ? 0 : -EFAULT;
}

std::int64_t GntdevDevice::Map(std::uint64_t file, std::uint64_t address, std::size_t length,
                               int protection, int flags, std::uint64_t offset) {
  const std::size_t pages = (length + (1u << kPageShift) - 1) >> kPageShift;
  const bool is_shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  if (pages == 0 || pages > kMostGrants || ((protection & PROT_WRITE) != 0 && !is_shared)) {
    return -EINVAL;
  }
  const std::int64_t place = program_.Map(address, length, protection, flags, empty_.get(), 0);
  if (place < 0) return place;
  const auto start = static_cast<std::uint64_t>(place);
  HolderOfGrants holder(*connection_, file, offset >> kPageShift);
  const std::vector<std::uint64_t> none(pages);
  std::vector<int> errors(pages);
  const int error = mappings_.Fill(holder, 0,
                                   {.address = std::bit_cast<void*>(start),
                                    .protection = protection,
                                    .empty_file = empty_.get()},
                                   none, errors);
  if (error != 0) {
    program_.Unmap(start, length);
    return error;
  }
  const MutexLock lock(mutex_);
  mapped_[start] = {.offset = offset, .pages = static_cast<std::uint32_t>(pages)};
  return place;
}

void GntdevDevice::Unmapped(std::uint64_t start, std::size_t length) {
  {
    const MutexLock lock(mutex_);
    std::erase_if(mapped_, [&](const auto& mapping) {
      return mapping.first >= start && mapping.first - start < length;
    });
  }
  mappings_.Sweep();
}

}  // namespace xencomm::devices
