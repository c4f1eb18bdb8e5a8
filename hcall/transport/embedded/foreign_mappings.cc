#include "hcall/transport/embedded/foreign_mappings.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

namespace xencomm::embedded {

using hypervisor::kNoFrame;
using hypervisor::kPageShift;
using hypervisor::kPageSize;

int ForeignMappings::Map(std::uint16_t domain, ForeignMemory::Placement& placement,
                         std::span<const std::uint64_t> frames, std::span<int> errors) {
  if (frames.empty()) return -EINVAL;
  // First the range, empty: what no frame fills cannot be touched.
  const std::size_t bytes = frames.size() << kPageShift;
  void* const range =
      mmap(placement.address, bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (placement.flags & MAP_FIXED), -1, 0);
  if (range == MAP_FAILED) return -errno;
  auto* const start = static_cast<std::byte*>(range);

  const Access access = (placement.protection & PROT_WRITE) != 0 ? Access::kWrite : Access::kRead;
  Frames held(frames.size(), kNoFrame);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::uint64_t mfn = kNoFrame;
    errors[i] = static_cast<int>(hypervisor_.HoldFrame(domain, frames[i], access, &mfn));
    if (errors[i] != 0) continue;
    const absl::Status mapped =
        memory_.MapAt(start + (i << kPageShift), MachineAddress{mfn << kPageShift}, kPageSize,
                      placement.protection);
    if (mapped.ok()) {
      held[i] = mfn;
    } else {
      hypervisor_.ReleaseFrame(mfn);
      errors[i] = -ENOMEM;
    }
  }
  madvise(start, bytes, MADV_DONTFORK);
  placement.address = range;

  const auto address = std::bit_cast<std::uintptr_t>(range);
  const MutexLock lock(mutex_);
  // The range was free or, with MAP_FIXED, has been replaced: what was known of it is history.
  Forget(address, address + bytes);
  mappings_.emplace(address, std::move(held));
  any_.store(true, std::memory_order_relaxed);
  return 0;
}

int ForeignMappings::Unmap(void* address, std::size_t pages) {
  const std::size_t bytes = pages << kPageShift;
  const MutexLock lock(mutex_);
  if (munmap(address, bytes) != 0) return -errno;
  const auto start = std::bit_cast<std::uintptr_t>(address);
  Forget(start, start + bytes);
  return 0;
}

void ForeignMappings::SweepAll() {
  const MutexLock lock(mutex_);
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> holes;  // start and end
  for (const auto& [start, frames] : mappings_) {
    // msync finds a hole in a range without touching the pages; then the hole is looked for.
    const std::uintptr_t end = start + (frames.size() << kPageShift);
    if (msync(std::bit_cast<void*>(start), end - start, MS_ASYNC) == 0) continue;
    for (std::uintptr_t page = start; page < end; page += kPageSize) {
      if (msync(std::bit_cast<void*>(page), kPageSize, MS_ASYNC) == 0) continue;
      if (holes.empty() || holes.back().second != page) holes.emplace_back(page, page);
      holes.back().second = page + kPageSize;
    }
  }
  for (const auto& [start, end] : holes) Forget(start, end);
}

void ForeignMappings::Forget(std::uintptr_t start, std::uintptr_t end) {
  auto mapping = mappings_.upper_bound(start);
  if (mapping != mappings_.begin()) --mapping;
  while (mapping != mappings_.end() && mapping->first < end) {
    const std::uintptr_t first = mapping->first;
    const std::size_t pages = mapping->second.size();
    const std::size_t from = start > first ? (start - first) >> kPageShift : 0;
    const std::size_t to = std::min<std::size_t>((end - first) >> kPageShift, pages);
    if (from >= to) {
      ++mapping;
      continue;
    }
    Frames frames = std::move(mapping->second);
    mapping = mappings_.erase(mapping);
    for (std::size_t i = from; i < to; ++i) {
      if (frames[i] != kNoFrame) hypervisor_.ReleaseFrame(frames[i]);
    }
    // What is left on both sides of the range.
    const auto at = [&](std::size_t i) { return frames.begin() + static_cast<std::ptrdiff_t>(i); };
    if (to < pages) mappings_.emplace(first + (to << kPageShift), Frames(at(to), frames.end()));
    frames.resize(from);
    if (from > 0) mappings_.emplace(first, std::move(frames));
  }
  any_.store(!mappings_.empty(), std::memory_order_relaxed);
}

}  // namespace xencomm::embedded
