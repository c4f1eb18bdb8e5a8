#include "hcall/hypervisor/domain/held_area.h"

#include <cstring>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/memory/physmap.h"

namespace xencomm::hypervisor {

std::int64_t HeldArea::Replace(Pool& pool, DomainPages& domain, Space& space,
                               VirtualAddress pointer, const void* from, std::uint64_t bytes) {
  Part found[2];
  unsigned count = 0;
  bool is_memory = true;
  const FrameTable& frames = pool.frames;
  const auto collect = [&](std::byte* run, std::uint64_t, std::uint64_t length) {
    while (length != 0) {
      const std::uint64_t mfn = frames.MfnOfPointer(run);
      const std::uint64_t rest = kPageSize - static_cast<std::uint64_t>(run - frames.Bytes(mfn));
      const std::uint64_t part = length < rest ? length : rest;
      if (count == 2 || !frames.Has(mfn)) {
        is_memory = false;
        return;
      }
      found[count++] = {.mfn = mfn, .bytes = run, .length = part};
      run += part;
      length -= part;
    }
  };
  if (pointer.value != 0) {
    const CopyResult result = space.ForEachRun(pointer, 0, bytes, Access::kWrite, collect);
    if (!result.ok() || !is_memory) return -kEFAULT;
  }

  Physmap physmap(pool, domain);
  SpinGuard guard(domain.lock);
  if (domain.dying()) return -kEINVAL;
  for (unsigned i = 0; i < count; ++i) {
    // It may have been given up since it was looked up.
    const std::uint64_t gfn = frames.Of(found[i].mfn).gfn;
    const P2mEntry entry = domain.p2m.Load(domain.translated() ? gfn : found[i].mfn);
    const bool still_there = entry.writable() && entry.mfn() == found[i].mfn;
    if (still_there && physmap.Pin(found[i].mfn)) continue;
    while (i != 0) physmap.Unpin(found[--i].mfn);
    return still_there ? -kEBUSY : -kEFAULT;
  }
  Release(physmap);
  const auto* next = static_cast<const std::byte*>(from);
  for (unsigned i = 0; i < count; ++i) {
    parts_[i] = found[i];
    std::memcpy(found[i].bytes, next, found[i].length);
    next += found[i].length;
  }
  return 0;
}

void HeldArea::Release(Physmap& physmap) {
  for (Part& part : parts_) {
    if (part.length != 0) physmap.Unpin(part.mfn);
    part = {};
  }
}

}  // namespace xencomm::hypervisor
