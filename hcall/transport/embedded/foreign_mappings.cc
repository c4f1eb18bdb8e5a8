#include "hcall/transport/embedded/foreign_mappings.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"

namespace xencomm::embedded {

using hypervisor::kNoFrame;
using hypervisor::kPageShift;
using hypervisor::kPageSize;

namespace {

// Of mmap's flags those that say where.
constexpr int kPlaceFlags = MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT;
constexpr std::size_t kMostPages = std::numeric_limits<std::size_t>::max() >> kPageShift;

}  // namespace

int ForeignMappings::Map(std::uint16_t domain, ForeignMemory::Placement& placement,
                         std::span<const std::uint64_t> frames, std::span<int> errors) {
  if (frames.empty()) return -EINVAL;
  if (frames.size() > kMostPages) return -ENOMEM;
  // First the range, empty: what no frame fills cannot be touched.
  const std::size_t bytes = frames.size() << kPageShift;
  void* const range =
      mmap(placement.address, bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (placement.flags & kPlaceFlags), -1, 0);
  if (range == MAP_FAILED) return -errno;
  const auto start = std::bit_cast<std::uintptr_t>(range);

  // A frame is held once there is a place to note it.
  Pages held;
  auto undo = absl::MakeCleanup([&] {
    munmap(range, bytes);
    for (const auto& [address, mfn] : held) {
      if (mfn != kNoFrame) hypervisor_.ReleaseFrame(mfn);
    }
  });
  const Access access = (placement.protection & PROT_WRITE) != 0 ? Access::kWrite : Access::kRead;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const std::uintptr_t address = start + (i << kPageShift);
    const auto page = held.emplace_hint(held.end(), address, kNoFrame);
    std::uint64_t mfn = kNoFrame;
    errors[i] = static_cast<int>(hypervisor_.HoldFrame(domain, frames[i], access, &mfn));
    if (errors[i] != 0) {
      held.erase(page);
      continue;
    }
    page->second = mfn;
    if (!ram_.MapAt(std::bit_cast<std::byte*>(address), MachineAddress{mfn << kPageShift},
                    kPageSize, placement.protection)
             .ok()) {
      return -ENOMEM;
    }
  }
  madvise(range, bytes, MADV_DONTFORK);
  // As privcmd's mappings; and by it they are told from the other mappings of the memory.
  madvise(range, bytes, MADV_DONTDUMP);
  std::move(undo).Cancel();
  placement.address = range;

  const MutexLock lock(mutex_);
  // The range was free or, with MAP_FIXED, has been replaced: what was known of it is history.
  Lose(start, start + bytes);
  pages_.merge(held);
  if (!lost_.empty()) FindLost();
  any_.store(true, std::memory_order_relaxed);
  return 0;
}

int ForeignMappings::Unmap(void* address, std::size_t pages) {
  const auto start = std::bit_cast<std::uintptr_t>(address);
  if (pages > kMostPages || Overflows(start, pages << kPageShift)) return -EINVAL;
  const std::size_t bytes = pages << kPageShift;
  const MutexLock lock(mutex_);
  // What was moved away does not end here.
  LoseWhatIsGone(start, start + bytes);
  if (munmap(address, bytes) != 0) return -errno;
  auto page = pages_.lower_bound(start);
  while (page != pages_.end() && page->first < start + bytes) {
    hypervisor_.ReleaseFrame(page->second);
    page = pages_.erase(page);
  }
  any_.store(!pages_.empty() || !lost_.empty(), std::memory_order_relaxed);
  return 0;
}

void ForeignMappings::SweepAll() {
  const MutexLock lock(mutex_);
  LoseWhatIsGone(0, std::numeric_limits<std::uintptr_t>::max());
  if (!lost_.empty()) FindLost();
  any_.store(!pages_.empty() || !lost_.empty(), std::memory_order_relaxed);
}

void ForeignMappings::Lose(std::uintptr_t start, std::uintptr_t end) {
  auto page = pages_.lower_bound(start);
  while (page != pages_.end() && page->first < end) page = LosePage(page);
}

void ForeignMappings::LoseWhatIsGone(std::uintptr_t start, std::uintptr_t end) {
  auto page = pages_.lower_bound(start);
  const auto in = [&](std::uintptr_t limit) {
    return page != pages_.end() && page->first < end && page->first < limit;
  };
  if (!in(end) || !maps_.Look()) return;
  while (in(end)) {
    const ProcessMaps::Area area = maps_.AtOrBehind(page->first);
    while (in(area.start)) page = LosePage(page);
    while (in(area.end)) {
      const bool same = area.OffsetOf(page->first) == page->second << kPageShift;
      page = same ? std::next(page) : LosePage(page);
    }
  }
}

ForeignMappings::Pages::iterator ForeignMappings::LosePage(Pages::iterator page) {
  const auto next = std::next(page);
  Pages::node_type node = pages_.extract(page);
  std::swap(node.key(), node.mapped());
  lost_.insert(std::move(node));
  return next;
}

void ForeignMappings::FindLost() {
  ProcessMaps::Areas areas;
  if (!maps_.List(areas)) return;
  bool mapped = false;
  for (const ProcessMaps::Area& area : areas) {
    ForEachFound(area, [&](Lost::iterator page, std::uintptr_t) {
      mapped = true;
      return std::next(page);
    });
  }
  // Regions map domain 0's frames, too. Which mapping is whose takes longer to find out.
  if (mapped) {
    if (!maps_.ListWithFlags(areas)) return;
    for (const ProcessMaps::Area& area : areas) {
      if (area.in_dumps) continue;
      ForEachFound(area, [&](Lost::iterator page, std::uintptr_t address) {
        const auto next = std::next(page);
        Lost::node_type node = lost_.extract(page);
        node.mapped() = node.key();
        node.key() = address;
        pages_.insert(std::move(node));
        return next;
      });
    }
  }
  for (const auto& [mfn, address] : lost_) hypervisor_.ReleaseFrame(mfn);
  lost_.clear();
}

template <class Visitor>
void ForeignMappings::ForEachFound(const ProcessMaps::Area& area, Visitor visit) {
  // The hypervisor's own mapping is of all frames.
  const std::byte* const data = ram_.data();
  if (area.Contains(std::bit_cast<std::uintptr_t>(data))) return;
  const std::uint64_t end = area.OffsetOf(area.end) >> kPageShift;
  auto page = lost_.lower_bound(area.offset >> kPageShift);
  while (page != lost_.end() && page->first < end) {
    const std::uintptr_t address = area.start + ((page->first << kPageShift) - area.offset);
    page = pages_.contains(address) ? std::next(page) : visit(page, address);
  }
}

}  // namespace xencomm::embedded
