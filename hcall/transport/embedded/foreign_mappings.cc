#include "hcall/transport/embedded/foreign_mappings.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "hcall/hypervisor/base/machine.h"

namespace xencomm::embedded {

using hypervisor::kNoFrame;
using hypervisor::kPageShift;
using hypervisor::kPageSize;

namespace {

// Of mmap's flags those that say where.
constexpr int kPlaceFlags = MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT;
constexpr std::size_t kMostPages = std::numeric_limits<std::size_t>::max() >> kPageShift;

std::uint64_t MfnOf(std::uint64_t held) { return HeldFrame::FromWord(held).mfn(); }

}  // namespace

class ForeignMappings::Releasing {
 public:
  explicit Releasing(FrameHolder& holder) : holder_(holder) {}
  Releasing(const Releasing&) = delete;
  Releasing& operator=(const Releasing&) = delete;
  ~Releasing() { Flush(); }

  void Add(std::uint64_t word) {
    held_[count_++] = word;
    if (count_ == std::size(held_)) Flush();
  }

 private:
  void Flush() {
    if (count_ != 0) holder_.Release({held_, std::exchange(count_, 0)});
  }

  FrameHolder& holder_;
  std::size_t count_ = 0;
  std::uint64_t held_[256];
};

int ForeignMappings::Map(std::uint16_t domain, ForeignMemory::Placement& placement,
                         std::span<const std::uint64_t> frames, std::span<int> errors) {
  return MapAnew(placement, frames.size(), [&](Access access, std::span<std::uint64_t> mfns) {
    return holder_.Hold(domain, frames, access, mfns, errors);
  });
}

int ForeignMappings::MapResource(const ForeignMemory::Resource& resource,
                                 ForeignMemory::Placement& placement) {
  return MapAnew(placement, resource.count, [&](Access, std::span<std::uint64_t> mfns) {
    return holder_.HoldResource(resource, mfns);
  });
}

int ForeignMappings::Fill(FrameHolder& holder, std::uint16_t domain, const Place& place,
                          std::span<const std::uint64_t> frames, std::span<int> errors) {
  return FillPlace(holder, place, frames.size(), [&](Access access, std::span<std::uint64_t> mfns) {
    return holder.Hold(domain, frames, access, mfns, errors);
  });
}

int ForeignMappings::FillWithResource(FrameHolder& holder, const ForeignMemory::Resource& resource,
                                      const Place& place) {
  return FillPlace(holder, place, resource.count, [&](Access, std::span<std::uint64_t> mfns) {
    return holder.HoldResource(resource, mfns);
  });
}

template <class Hold>
int ForeignMappings::MapAnew(ForeignMemory::Placement& placement, std::size_t pages,
                             const Hold& hold) {
  if (pages == 0) return -EINVAL;
  if (pages > kMostPages) return -ENOMEM;
  // First the range, empty: what no frame fills cannot be touched.
  const std::size_t bytes = pages << kPageShift;
  void* const range =
      mmap(placement.address, bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (placement.flags & kPlaceFlags), -1, 0);
  if (range == MAP_FAILED) return -errno;
  const int error = MapInto(holder_, range, pages, placement.protection, hold,
                            [range, bytes] { munmap(range, bytes); });
  if (error == 0) placement.address = range;
  return error;
}

template <class Hold>
int ForeignMappings::FillPlace(FrameHolder& holder, const Place& place, std::size_t pages,
                               const Hold& hold) {
  return MapInto(holder, place.address, pages, place.protection, hold, [this, &place, pages] {
    process_.Map(std::bit_cast<std::uintptr_t>(place.address), pages << kPageShift,
                 place.protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, place.empty_file, 0);
  });
}

template <class Hold, class Empty>
int ForeignMappings::MapInto(FrameHolder& holder, void* range, std::size_t pages, int protection,
                             const Hold& hold, const Empty& empty) {
  const auto start = std::bit_cast<std::uintptr_t>(range);
  // A frame is held once there is a place to note it.
  Pages held;
  std::vector<std::uint64_t> mfns(pages, kNoFrame);
  auto undo = absl::MakeCleanup([&] {
    empty();
    Releasing releasing(holder);
    for (const std::uint64_t mfn : mfns) {
      if (mfn != kNoFrame) releasing.Add(HeldFrame(mfn, holder.tag()).word());
    }
  });
  for (std::size_t i = 0; i < pages; ++i) {
    held.emplace_hint(held.end(), start + (i << kPageShift), kNoFrame);
  }
  int error = hold((protection & PROT_WRITE) != 0 ? Access::kWrite : Access::kRead, mfns);
  if (error == 0) error = MapHeld(start, protection, mfns, holder.tag(), held);
  if (error != 0) return error;
  std::move(undo).Cancel();
  Note(start, pages << kPageShift, held);
  return 0;
}

int ForeignMappings::MapHeld(std::uintptr_t start, int protection,
                             std::span<const std::uint64_t> mfns, std::uint32_t tag, Pages& held) {
  auto page = held.begin();
  for (std::size_t i = 0; i < mfns.size();) {
    if (mfns[i] == kNoFrame) {
      page = held.erase(page);
      ++i;
      continue;
    }
    // As many as follow one another in the machine are one mapping.
    std::size_t count = 0;
    for (; i + count < mfns.size() && mfns[i + count] == mfns[i] + count; ++count, ++page) {
      page->second = HeldFrame(mfns[i + count], tag).word();
    }
    if (process_.Map(start + (i << kPageShift), count << kPageShift, protection,
                     MAP_SHARED | MAP_FIXED | MAP_NORESERVE, ram_.fd(),
                     mfns[i] << kPageShift) < 0) {
      return -ENOMEM;
    }
    i += count;
  }
  return 0;
}

void ForeignMappings::Note(std::uintptr_t start, std::size_t bytes, Pages& held) {
  process_.Advise(start, bytes, MADV_DONTFORK);
  // As privcmd's mappings; and by it they are told from the other mappings of the memory.
  process_.Advise(start, bytes, MADV_DONTDUMP);
  const MutexLock lock(mutex_);
  // The range was free or has been replaced: what was known of it is history.
  Lose(start, start + bytes);
  pages_.merge(held);
  if (!lost_.empty()) FindLost();
  any_.store(true, std::memory_order_relaxed);
}

int ForeignMappings::Unmap(void* address, std::size_t pages) {
  const auto start = std::bit_cast<std::uintptr_t>(address);
  if (pages > kMostPages || Overflows(start, pages << kPageShift)) return -EINVAL;
  const std::size_t bytes = pages << kPageShift;
  const MutexLock lock(mutex_);
  // What was moved away does not end here.
  LoseWhatIsGone(start, start + bytes);
  if (munmap(address, bytes) != 0) return -errno;
  Releasing releasing(holder_);
  auto page = pages_.lower_bound(start);
  while (page != pages_.end() && page->first < start + bytes) {
    releasing.Add(page->second);
    page = pages_.erase(page);
  }
  any_.store(!pages_.empty() || !lost_.empty(), std::memory_order_relaxed);
  return 0;
}

void ForeignMappings::SweepWhenDue() {
  // Of calls that come together one may be counted for several.
  const std::size_t to_go_by = to_go_by_.load(std::memory_order_relaxed);
  if (to_go_by != 0) {
    to_go_by_.store(to_go_by - 1, std::memory_order_relaxed);
    return;
  }
  Sweep();
  const MutexLock lock(mutex_);
  to_go_by_.store(pages_.size() / kPagesOfACall, std::memory_order_relaxed);
}

void ForeignMappings::SweepRange(std::uintptr_t start, std::size_t bytes) {
  const MutexLock lock(mutex_);
  LoseWhatIsGone(start, start + bytes);
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
      const bool same = area.OffsetOf(page->first) == MfnOf(page->second) << kPageShift;
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
  Releasing releasing(holder_);
  for (const auto& [held, address] : lost_) releasing.Add(held);
  lost_.clear();
}

template <class Visitor>
void ForeignMappings::ForEachFound(const ProcessMaps::Area& area, Visitor visit) {
  // The hypervisor's own mapping is of all frames.
  const std::byte* const data = ram_.data();
  if (area.Contains(std::bit_cast<std::uintptr_t>(data))) return;
  const std::uint64_t end = area.OffsetOf(area.end) >> kPageShift;
  auto page = lost_.lower_bound(HeldFrame(area.offset >> kPageShift, 0).word());
  while (page != lost_.end() && MfnOf(page->first) < end) {
    const std::uintptr_t address = area.start + ((MfnOf(page->first) << kPageShift) - area.offset);
    page = pages_.contains(address) ? std::next(page) : visit(page, address);
  }
}

}  // namespace xencomm::embedded
