#include "hcall/transport/embedded/descriptor_memory.h"

#include <sys/mman.h>

#include <bit>
#include <optional>

namespace xencomm::embedded {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

DescriptorMemory::~DescriptorMemory() {
  for (const Window& window : windows_) Drop(window);
}

bool DescriptorMemory::Find(const std::byte* address, PhysicalAddress* physical) {
  const auto at = std::bit_cast<std::uint64_t>(address);
  for (const Window& window : windows_) {
    const auto start = std::bit_cast<std::uint64_t>(window.start);
    if (!Contains(start, window.frames.count << kPageShift, at, 1)) continue;
    *physical = {(window.frames.gfn << kPageShift) + (at - start)};
    return true;
  }
  const Result<PhysicalAddress> found = region_.PhysicalOf({at});
  if (found.ok()) *physical = *found;
  return found.ok();
}

std::byte* DescriptorMemory::Allocate(std::uint64_t bytes) {
  const std::uint64_t rounded = AlignUp(bytes, alignof(std::uint64_t));
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (Window& window : windows_) {
      if (rounded > (window.frames.count << kPageShift) - window.used) continue;
      std::byte* const place = window.start + window.used;
      window.used += rounded;
      return place;
    }
    if (!AddWindow(rounded)) break;
  }
  return nullptr;
}

void DescriptorMemory::Reset() {
  // One window is enough for nearly every call.
  while (windows_.size() > 1) {
    Drop(windows_.back());
    windows_.pop_back();
  }
  if (!windows_.empty()) windows_.front().used = 0;
}

bool DescriptorMemory::AddWindow(std::uint64_t bytes) {
  const std::uint64_t blocks =
      AlignUp(bytes, kBlockFrames * kPageSize) / (kBlockFrames * kPageSize);
  const std::optional<FrameRun> frames = kernel_.frames().TakeBlocks(blocks);
  if (!frames) return false;
  const std::uint64_t length = frames->count << kPageShift;
  void* const range =
      mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    kernel_.frames().GiveBack(*frames);
    return false;
  }
  const Window window = {.start = static_cast<std::byte*>(range), .frames = *frames};
  for (std::uint64_t i = 0; i < frames->count; ++i) {
    const MachineAddress machine = kernel_.MachineOf({(frames->gfn + i) << kPageShift});
    if (!ram_.MapAt(window.start + (i << kPageShift), machine, kPageSize, PROT_READ | PROT_WRITE)
             .ok()) {
      Drop(window);
      return false;
    }
  }
  madvise(range, length, MADV_DONTFORK);
  windows_.push_back(window);
  return true;
}

void DescriptorMemory::Drop(const Window& window) {
  munmap(window.start, window.frames.count << kPageShift);
  for (std::uint64_t i = 0; i < window.frames.count; i += kBlockFrames) {
    kernel_.Recycle({window.frames.gfn + i, kBlockFrames});
  }
}

}  // namespace xencomm::embedded
