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
  mappings_[address] = std::move(held);
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
  for (auto mapping = mappings_.begin(); mapping != mappings_.end();) {
    const std::uintptr_t start = mapping->first;
    const std::size_t pages = mapping->second.size();
    ++mapping;  // Forget may erase the one that is looked at
    // msync finds a hole in a range without touching the pages; then the hole is looked for.
    if (msync(std::bit_cast<void*>(start), pages << kPageShift, MS_ASYNC) == 0) continue;
    for (std::size_t i = 0; i < pages; ++i) {
      const std::uintptr_t page = start + (i << kPageShift);
      if (msync(std::bit_cast<void*>(page), kPageSize, MS_ASYNC) != 0) {
        Forget(page, page + kPageSize);
      }
    }
  }
}

void ForeignMappings::Forget(std::uintptr_t start, std::uintptr_t end) {
  auto mapping = mappings_.upper_bound(start);
  if (mapping != mappings_.begin()) --mapping;
  while (mapping != mappings_.end() && mapping->first < end) {
    Frames& frames = mapping->second;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const std::uintptr_t page = mapping->first + (i << kPageShift);
      if (page < start || page >= end || frames[i] == kNoFrame) continue;
      hypervisor_.ReleaseFrame(frames[i]);
      frames[i] = kNoFrame;
    }
    const bool empty = std::all_of(frames.begin(), frames.end(),
                                   [](std::uint64_t frame) { return frame == kNoFrame; });
    mapping = empty ? mappings_.erase(mapping) : std::next(mapping);
  }
  any_.store(!mappings_.empty(), std::memory_order_relaxed);
}

}  // namespace xencomm::embedded
