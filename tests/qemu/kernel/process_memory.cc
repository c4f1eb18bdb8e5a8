#include "tests/qemu/kernel/process_memory.h"

#include <string.h>

#include "tests/qemu/kernel/frames.h"

namespace qemu {
namespace {

// Eight bytes for each page of the user half, were all pages small; a power of two that suffices.
constexpr uint64_t kFrameListBytes = 2 << 20;
static_assert((kUserEnd - kUserBegin) / 4096 * sizeof(uint64_t) <= kFrameListBytes);

constexpr uint64_t kStackBytes = 256 << 10;

}  // namespace

void ProcessMemory::Load(const char* image_begin, const char* image_end) {
  frames_ = KernelPointer<uint64_t>(AllocateContiguous(kFrameListBytes));
  space_.Create();
  const auto size = static_cast<uint64_t>(image_end - image_begin);
  for (uint64_t done = 0; done < size; done += PageSize()) {
    const uint64_t frame = AllocateFrame();
    const uint64_t part = size - done < PageSize() ? size - done : PageSize();
    memcpy(KernelPointer(frame), image_begin + done, part);
    MapPage(kUserBegin + done, frame, Protection::kReadWrite);
  }
  Map(kStackTop - kStackBytes, kStackBytes);
}

bool ProcessMemory::Map(uint64_t address, uint64_t bytes) {
  if (bytes % PageSize() != 0) return false;
  for (uint64_t done = 0; done < bytes; done += PageSize()) {
    if (!MapPage(address + done, AllocateFrame(), Protection::kReadWrite)) return false;
  }
  return true;
}

bool ProcessMemory::MapPage(uint64_t address, uint64_t frame, Protection protection) {
  if (address % PageSize() != 0 || address < kUserBegin || address >= kUserEnd) return false;
  uint64_t& known = frames_[(address - kUserBegin) >> PageShift()];
  if (known != 0) return false;
  known = frame;
  space_.Map(address, frame, protection);
  return true;
}

bool ProcessMemory::Translate(uint64_t address, uint64_t* guest_physical) const {
  if (address < kUserBegin || address >= kUserEnd) return false;
  const uint64_t frame = frames_[(address - kUserBegin) >> PageShift()];
  *guest_physical = frame + (address & (PageSize() - 1));
  return frame != 0;
}

bool ProcessMemory::IsFree(uint64_t address, uint64_t bytes) const {
  if (address < kUserBegin || address > kUserEnd || bytes > kUserEnd - address) return false;
  for (uint64_t page = address & ~(PageSize() - 1); page < address + bytes; page += PageSize()) {
    uint64_t unused;
    if (Translate(page, &unused)) return false;
  }
  return true;
}

bool ProcessMemory::Covers(uint64_t address, uint64_t bytes) const {
  if (address + bytes < address) return false;
  for (uint64_t page = address & ~(PageSize() - 1); page < address + bytes; page += PageSize()) {
    uint64_t unused;
    if (!Translate(page, &unused)) return false;
  }
  return true;
}

}  // namespace qemu
