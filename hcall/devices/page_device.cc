#include "hcall/devices/page_device.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <iterator>
#include <span>
#include <vector>

#include "hcall/transport/grant_calls.h"
#include "hcall/transport/machine/page_holder.h"

namespace xencomm::devices {

absl::StatusOr<FileDescriptor> PageDevice::EmptyFile() {
  FileDescriptor empty(memfd_create("xencomm-pages", MFD_CLOEXEC));
  if (!empty.is_open()) return absl::ErrnoToStatus(errno, "room for shared pages");
  return empty;
}

std::int64_t PageDevice::Map(std::uint64_t file, std::uint64_t address, std::size_t length,
                             int protection, int flags, std::uint64_t offset) {
  const std::size_t pages = (length + (1u << kPageShift) - 1) >> kPageShift;
  const int refused = MayMap(pages, protection, (flags & MAP_TYPE) != MAP_PRIVATE);
  if (refused != 0) return refused;
  const std::int64_t place = program_.Map(address, length, protection, flags, empty_.get(), 0);
  if (place < 0) return place;
  const auto start = static_cast<std::uint64_t>(place);
  machine::PageHolder holder(*connection_, file, offset >> kPageShift);
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
  mapped_[start] = {.end = start + (pages << kPageShift),
                    .offset = offset,
                    .pages = static_cast<std::uint32_t>(pages)};
  return place;
}

void PageDevice::Unmapped(std::uint64_t start, std::size_t length) {
  {
    const MutexLock lock(mutex_);
    constexpr std::uint64_t kInPage = (1u << kPageShift) - 1;
    const std::uint64_t end = (start + length + kInPage) & ~kInPage;
    auto next = mapped_.lower_bound(start);
    if (next != mapped_.begin() && std::prev(next)->second.end > start) --next;
    while (next != mapped_.end() && next->first < end) {
      const auto [first, mapping] = *next;
      next = mapped_.erase(next);
      if (first < start) {
        mapped_[first] = mapping;
        mapped_[first].end = start;
      }
      if (mapping.end > end) mapped_[end] = mapping;
    }
  }
  mappings_.Sweep(start, length);
}

std::int64_t PageDevice::OffsetOf(std::uint64_t argument) {
  GrantOffset asked;
  if (!program_.Fetch(argument, &asked)) return -EFAULT;
  {
    const MutexLock lock(mutex_);
    auto mapped = mapped_.upper_bound(asked.vaddr);
    if (mapped == mapped_.begin() || (--mapped)->second.end <= asked.vaddr) return -EINVAL;
    asked.offset = mapped->second.offset;
    asked.count = mapped->second.pages;
  }
  return program_.Store(argument, asked) ? 0 : -EFAULT;
}

std::int64_t PageDevice::SetNotice(std::uint64_t file, std::uint64_t argument) {
  UnmapNotify notify;
  if (!program_.Fetch(argument, &notify)) return -EFAULT;
  return connection_->SetNotice(file, notify.index, notify.action, notify.port);
}

}  // namespace xencomm::devices
