#include "hcall/hypervisor/memory/p2m.h"

#include <bit>
#include <cstring>

#include "hcall/hypervisor/memory/overhead.h"

namespace xencomm::hypervisor {

bool P2m::InitTranslated(const FrameTable& frames, OverheadPages& pages) {
  frames_ = &frames;
  memory_ = reinterpret_cast<std::uintptr_t>(frames.Pointer({0}));
  translated_ = true;
  return GrowLow(0, kLeafEntries, pages);
}

void P2m::InitDirect(const FrameTable& frames, std::uint16_t domain) {
  frames_ = &frames;
  memory_ = reinterpret_cast<std::uintptr_t>(frames.Pointer({0}));
  domain_ = domain;
}

P2mEntry P2m::LoadFar(std::uint64_t gfn) const {
  if (!translated_) return LoadDirect(gfn);
  std::uint64_t* leaf = LeafOf(gfn);
  return leaf == nullptr ? P2mEntry() : LoadFrom(leaf + (gfn & (kLeafEntries - 1)));
}

std::uint64_t* P2m::OuterLeafOf(std::uint64_t gfn) const {
  if (gfn >= kLimit) return nullptr;
  std::uint64_t table = outer_.load();
  for (unsigned bits = kLimitBits; table != 0 && bits != kLeafBits; bits -= kLeafBits) {
    table = std::atomic_ref<std::uint64_t>(Words(table)[IndexIn(gfn, bits)]).load();
  }
  return table == 0 ? nullptr : Words(table);
}

std::uint64_t P2m::AfterHole(std::uint64_t gfn) const {
  if (gfn < kInner) {
    const std::uint64_t next = gfn + kLeafEntries;
    if (next < InnerCapacity()) return next;
    return outer_.load(std::memory_order_relaxed) == 0 ? InnerCapacity() : kInner;
  }
  std::uint64_t table = outer_.load(std::memory_order_relaxed);
  unsigned bits = kLimitBits;
  for (; table != 0 && bits != kLeafBits; bits -= kLeafBits) {
    table = Words(table)[IndexIn(gfn, bits)];
  }
  return (gfn | ((std::uint64_t{1} << bits) - 1)) + 1;
}

std::uint64_t* P2m::LeafOf(std::uint64_t gfn) const {
  if (gfn >= kInner) return OuterLeafOf(gfn);
  const std::uint64_t top = top_.load(std::memory_order_acquire);
  if (gfn >= FarCapacity(top)) return nullptr;
  const std::uint64_t leaf =
      std::atomic_ref<std::uint64_t>(Words(top & ~kOrderMask)[gfn >> kLeafBits])
          .load(std::memory_order_acquire);
  return leaf == 0 ? nullptr : Words(leaf);
}

std::uint64_t* P2m::Slot(std::uint64_t gfn) const {
  const std::uint64_t low = low_.load(std::memory_order_relaxed);
  if (gfn < CountOf(low)) return EntriesOf(low) + gfn;
  std::uint64_t* leaf = LeafOf(gfn);
  return leaf == nullptr ? nullptr : leaf + (gfn & (kLeafEntries - 1));
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
  const std::uint64_t end = gfn + count;
  if (gfn < kInner && !ReserveInner(gfn, (end < kInner ? end : kInner) - gfn, pages)) return false;
  if (gfn < kInner) gfn = kInner;
  for (gfn &= ~(kLeafEntries - 1); gfn < end; gfn += kLeafEntries) {
    if (!ReserveOuter(gfn, pages)) return false;
  }
  return true;
}

bool P2m::ReserveOuter(std::uint64_t gfn, OverheadPages& pages) {
  const auto make = [&] {
    const std::uint64_t made = Allocate(pages, 0);
    if (made == kNoFrame) PruneOuter(gfn, pages);
    return made == kNoFrame ? 0 : made << kPageShift;
  };
  std::uint64_t table = outer_.load(std::memory_order_relaxed);
  if (table == 0) {
    table = make();
    if (table == 0) return false;
    outer_.store(table);
  }
  for (unsigned bits = kLimitBits; bits != kLeafBits; bits -= kLeafBits) {
    const std::atomic_ref<std::uint64_t> place(Words(table)[IndexIn(gfn, bits)]);
    table = place.load(std::memory_order_relaxed);
    if (table != 0) continue;
    table = make();
    if (table == 0) return false;
    place.store(table);
  }
  return true;
}

void P2m::PruneOuter(std::uint64_t gfn, OverheadPages& pages) {
  // From the root to the leaf, as far as there is one; then back.
  std::uint64_t tables[kLimitBits / kLeafBits];
  unsigned count = 0;
  std::uint64_t table = outer_.load(std::memory_order_relaxed);
  for (unsigned bits = kLimitBits; table != 0; bits -= kLeafBits) {
    tables[count++] = table;
    if (bits == kLeafBits) break;
    table = Words(table)[IndexIn(gfn, bits)];
  }
  for (; count != 0; --count) {
    const std::uint64_t* const words = Words(tables[count - 1]);
    for (std::uint64_t i = 0; i < kLeafEntries; ++i) {
      if (words[i] != 0) return;
    }
    if (count == 1) {
      outer_.store(0, std::memory_order_relaxed);
    } else {
      const unsigned bits = kLimitBits - (count - 2) * kLeafBits;
      std::atomic_ref<std::uint64_t>(Words(tables[count - 2])[IndexIn(gfn, bits)])
          .store(0, std::memory_order_relaxed);
    }
    Free(pages, tables[count - 1] >> kPageShift, 0);  // look-ups under way go on using it
  }
}

bool P2m::ReserveInner(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages) {
  const std::uint64_t low = CountOf(low_.load(std::memory_order_relaxed));
  if (gfn + count <= low || GrowLow(gfn, count, pages)) return true;
  // Leaves for what lies beyond.
  const std::uint64_t last = (gfn + count - 1) >> kLeafBits;
  const std::uint64_t old_top = top_.load(std::memory_order_relaxed);
  if (FarCapacity(old_top) >> kLeafBits <= last) {
    unsigned order = static_cast<unsigned>(old_top & kOrderMask);
    while (last >= kLeafEntries << order) ++order;
    if (!GrowTop(order, pages)) return false;
  }
  std::uint64_t* top = Words(top_.load(std::memory_order_relaxed) & ~kOrderMask);
  const std::uint64_t first = (gfn < low ? low : gfn) >> kLeafBits;
  for (std::uint64_t index = first; index <= last; ++index) {
    if (top[index] != 0) continue;
    const std::uint64_t leaf = Allocate(pages, 0);
    if (leaf == kNoFrame) {
      if (old_top == 0 && index == first) DropTop(pages);
      return false;
    }
    std::atomic_ref<std::uint64_t>(top[index]).store(leaf << kPageShift, std::memory_order_release);
  }
  return true;
}

std::uint64_t P2m::Allocate(OverheadPages& pages, unsigned order) {
  const std::uint64_t mfn = pages.Allocate(order);
  if (mfn != kNoFrame) pages_.fetch_add(std::uint64_t{1} << order, std::memory_order_relaxed);
  return mfn;
}

void P2m::Free(OverheadPages& pages, std::uint64_t mfn, unsigned order) {
  pages.Free(mfn, order);
  pages_.fetch_sub(std::uint64_t{1} << order, std::memory_order_relaxed);
}

void P2m::FreeLow(OverheadPages& pages, std::uint64_t low) {
  const std::uint64_t count = CountOf(low);
  if (count == 0) return;
  Free(pages, frames_->MfnOfPointer(EntriesOf(low)), OrderOf(count * sizeof(std::uint64_t)));
}

// A table of low entries that has room for [gfn, gfn + count), which are about to be stored. False
// when it would be too large or less than half full, there are leaves for a part of it, or there is
// no memory: then it stays as it is.
bool P2m::GrowLow(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages) {
  const std::uint64_t old_low = low_.load(std::memory_order_relaxed);
  const std::uint64_t old_count = CountOf(old_low);
  std::uint64_t new_count = kLeafEntries;
  while (new_count < gfn + count) new_count *= 2;
  if (new_count > kMaxLow) return false;
  if (new_count > kLeafEntries && (low_present_ + count) * 2 < new_count) return false;
  for (std::uint64_t at = old_count; at != new_count; at += kLeafEntries) {
    if (LeafOf(at) != nullptr) return false;
  }
  const std::uint64_t block = Allocate(pages, OrderOf(new_count * sizeof(std::uint64_t)));
  if (block == kNoFrame) return false;
  std::uint64_t* const entries = Words(block << kPageShift);
  std::uint64_t* const old = EntriesOf(old_low);
  std::memcpy(entries, old, old_count * sizeof(std::uint64_t));
  const auto bits = static_cast<unsigned>(std::bit_width(new_count - 1));
  low_.store(reinterpret_cast<std::uintptr_t>(entries) | bits, std::memory_order_release);
  FreeLow(pages, old_low);  // look-ups under way go on using it
  return true;
}

void P2m::Store(std::uint64_t gfn, P2mEntry entry) {
  std::uint64_t* slot = Slot(gfn);
  if (gfn < CountOf(low_.load(std::memory_order_relaxed))) {
    low_present_ -= P2mEntry::FromWord(*slot).present() ? 1 : 0;
    low_present_ += entry.present() ? 1 : 0;
  }
  std::atomic_ref<std::uint64_t>(*slot).store(entry.word(), std::memory_order_release);
  if (entry.present() && gfn >= end_.load(std::memory_order_relaxed)) {
    end_.store(gfn + 1, std::memory_order_relaxed);
  }
}

// A larger top with the same leaves; look-ups under way go on using the old one.
bool P2m::GrowTop(unsigned order, OverheadPages& pages) {
  const std::uint64_t old = top_.load(std::memory_order_relaxed);
  const std::uint64_t block = Allocate(pages, order);
  if (block == kNoFrame) return false;
  const std::uint64_t top = block << kPageShift;
  if (old != 0) {
    const auto old_order = static_cast<unsigned>(old & kOrderMask);
    std::memcpy(Words(top), Words(old & ~kOrderMask), kPageSize << old_order);
  }
  top_.store(top | order, std::memory_order_release);
  if (old != 0) Free(pages, old >> kPageShift, static_cast<unsigned>(old & kOrderMask));
  return true;
}

void P2m::DropLeaf(std::uint64_t gfn, OverheadPages& pages) {
  if (gfn < CountOf(low_.load(std::memory_order_relaxed))) return;
  if (gfn >= kInner) return PruneOuter(gfn, pages);
  const std::uint64_t top = top_.load(std::memory_order_relaxed) & ~kOrderMask;
  std::atomic_ref<std::uint64_t> place(Words(top)[gfn >> kLeafBits]);
  const std::uint64_t leaf = place.load(std::memory_order_relaxed);
  place.store(0, std::memory_order_relaxed);
  Free(pages, leaf >> kPageShift, 0);
}

void P2m::Destroy(OverheadPages& pages) {
  // They stay where they are for the look-ups under way: the pages wait for them.
  FreeLow(pages, low_.load(std::memory_order_relaxed));
  if (const std::uint64_t top = top_.load(std::memory_order_relaxed); top != 0) {
    Free(pages, top >> kPageShift, static_cast<unsigned>(top & kOrderMask));
  }
}

// One without leaves, which look-ups under way may look at.
void P2m::DropTop(OverheadPages& pages) {
  const std::uint64_t top = top_.exchange(0, std::memory_order_relaxed);
  Free(pages, top >> kPageShift, static_cast<unsigned>(top & kOrderMask));
}

}  // namespace xencomm::hypervisor
