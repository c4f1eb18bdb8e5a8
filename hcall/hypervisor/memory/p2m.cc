#include "hcall/hypervisor/memory/p2m.h"

#include <cstring>

#include "hcall/hypervisor/memory/overhead.h"

namespace xencomm::hypervisor {

bool P2m::InitTranslated(const FrameTable& frames, OverheadPages& pages) {
  frames_ = &frames;
  translated_ = true;
  return GrowTop(0, pages);
}

void P2m::InitDirect(const FrameTable& frames, std::uint16_t domain) {
  frames_ = &frames;
  domain_ = domain;
}

P2mEntry P2m::LoadDirect(std::uint64_t mfn) const {
  if (!frames_->Has(mfn)) return {};
  const Frame& frame = frames_->Of(mfn);
  const FrameOwner owner = frame.owner.load(std::memory_order_acquire);
  if (owner.domain != domain_) return {};
  const P2mType type = owner.use == FrameUse::kMemory   ? P2mType::kRam
                       : owner.use == FrameUse::kShared ? P2mType::kShared
                                                        : P2mType::kNone;
  if (type == P2mType::kNone) return {};
  return {mfn, type};
}

bool P2m::Reserve(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages) {
  if (!Contains(0, kLimit, gfn, count)) return false;
  const std::uint64_t last = (gfn + count - 1) >> kLeafBits;
  unsigned order = static_cast<unsigned>(top_.load(std::memory_order_relaxed) & kOrderMask);
  if (last >= kLeafEntries << order) {
    while (last >= kLeafEntries << order) ++order;
    if (!GrowTop(order, pages)) return false;
  }
  std::uint64_t* top = Words(top_.load(std::memory_order_relaxed) & ~kOrderMask);
  for (std::uint64_t index = gfn >> kLeafBits; index <= last; ++index) {
    if (top[index] != 0) continue;
    const std::uint64_t leaf = pages.Allocate(0);
    if (leaf == kNoFrame) return false;
    std::atomic_ref<std::uint64_t>(top[index]).store(leaf << kPageShift, std::memory_order_release);
  }
  return true;
}

void P2m::Store(std::uint64_t gfn, P2mEntry entry) {
  std::atomic_ref<std::uint64_t>(*Slot(gfn)).store(entry.word(), std::memory_order_release);
  if (entry.present() && gfn >= end_.load(std::memory_order_relaxed)) {
    end_.store(gfn + 1, std::memory_order_relaxed);
  }
}

// A larger top with the same leaves; look-ups under way go on using the old one.
bool P2m::GrowTop(unsigned order, OverheadPages& pages) {
  const std::uint64_t old = top_.load(std::memory_order_relaxed);
  const std::uint64_t block = pages.Allocate(order);
  if (block == kNoFrame) return false;
  const std::uint64_t top = block << kPageShift;
  if (old != 0) {
    const auto old_order = static_cast<unsigned>(old & kOrderMask);
    std::memcpy(Words(top), Words(old & ~kOrderMask), kPageSize << old_order);
  }
  top_.store(top | order, std::memory_order_release);
  if (old != 0) pages.Free(old >> kPageShift, static_cast<unsigned>(old & kOrderMask));
  return true;
}

void P2m::DropLeaf(std::uint64_t gfn, OverheadPages& pages) {
  const std::uint64_t top = top_.load(std::memory_order_relaxed) & ~kOrderMask;
  std::atomic_ref<std::uint64_t> place(Words(top)[gfn >> kLeafBits]);
  const std::uint64_t leaf = place.load(std::memory_order_relaxed);
  place.store(0, std::memory_order_relaxed);
  pages.Free(leaf >> kPageShift, 0);
}

void P2m::Destroy(OverheadPages& pages) {
  // It stays where it is for the look-ups under way: the page waits for them.
  const std::uint64_t top = top_.load(std::memory_order_relaxed);
  if (top != 0) pages.Free(top >> kPageShift, static_cast<unsigned>(top & kOrderMask));
}

}  // namespace xencomm::hypervisor
