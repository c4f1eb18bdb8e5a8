#include "hcall/hypervisor/memory/physmap.h"

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/memory/page_types.h"

namespace xencomm::hypervisor {
namespace {

P2mType GrantType(Access access) {
  return access == Access::kWrite ? P2mType::kGrantWritable : P2mType::kGrantReadOnly;
}
bool IsGrant(P2mEntry entry) {
  return entry.type() == P2mType::kGrantReadOnly || entry.type() == P2mType::kGrantWritable;
}

}  // namespace

std::int64_t Physmap::Allocate(std::uint64_t gfn, unsigned order, unsigned width,
                               std::uint64_t* mfn) {
  const std::uint64_t pages = std::uint64_t{1} << order;
  const std::uint64_t first = pool_.heap.AllocateMemory(gfn, order, width);
  if (first == kNoFrame) return -kENOMEM;

  std::int64_t error = 0;
  {
    SpinGuard guard(domain_.lock);
    const std::uint64_t total = domain_.tot_pages.load(std::memory_order_relaxed);
    const std::uint64_t limit = domain_.max_pages.load(std::memory_order_relaxed);
    if (domain_.dying()) {
      error = -kEINVAL;
    } else if (total > limit) {
      error = -kEPERM;
    } else if (pages > limit - total) {
      error = -kE2BIG;
    } else {
      for (std::uint64_t i = 0; i < pages; ++i) Append(first + i);
      domain_.tot_pages.store(total + pages, std::memory_order_relaxed);
      const std::uint64_t claimed = domain_.outstanding_pages.load(std::memory_order_relaxed);
      if (claimed != 0) Claim(claimed > pages ? claimed - pages : 0);
    }
  }
  if (error != 0) {
    pool_.heap.Free(first, order);
    return error;
  }
  *mfn = first;
  return 0;
}

std::int64_t Physmap::Adopt(std::uint64_t mfn, unsigned order) {
  const std::uint64_t pages = std::uint64_t{1} << order;
  SpinGuard guard(domain_.lock);
  if (domain_.dying()) return -kEINVAL;
  for (std::uint64_t i = 0; i < pages; ++i) Append(mfn + i);
  domain_.tot_pages.fetch_add(pages, std::memory_order_relaxed);
  return 0;
}

void Physmap::Withdraw(std::uint64_t mfn, unsigned order) {
  SpinGuard guard(domain_.lock);
  for (std::uint64_t i = 0; i < std::uint64_t{1} << order; ++i) {
    // A domain that was killed meanwhile has lost them already.
    if (OwnsMemory(mfn + i)) GiveUp(mfn + i);
  }
}

void Physmap::Claim(std::uint64_t pages) {
  const std::uint64_t before = domain_.outstanding_pages.load(std::memory_order_relaxed);
  domain_.outstanding_pages.store(pages, std::memory_order_relaxed);
  // One that is less wraps around, and so does the sum.
  pool_.outstanding_pages.fetch_add(pages - before, std::memory_order_relaxed);
}

std::int64_t Physmap::Place(std::uint64_t gfn, std::uint64_t mfn, unsigned order, P2mType type) {
  const std::uint64_t pages = std::uint64_t{1} << order;
  SpinGuard guard(domain_.lock);
  if (domain_.dying()) return -kEINVAL;
  if (!domain_.translated()) {
    // A PV domain can name a page, and give it up, before it is told of it.
    for (std::uint64_t i = 0; i < pages; ++i) {
      if (!OwnsMemory(mfn + i)) return -kEINVAL;
    }
    return 0;
  }
  if (!Contains(0, P2m::kLimit, gfn, pages)) return -kEINVAL;
  if (!domain_.p2m.Reserve(gfn, pages, domain_.overhead)) return -kENOMEM;
  for (std::uint64_t i = 0; i < pages; ++i) {
    const P2mEntry old = domain_.p2m.Load(gfn + i);
    if (old.is_others()) return -kEBUSY;
    if (old.present() && pool_.frames.Of(old.mfn()).pins != 0) return -kEBUSY;
  }
  for (std::uint64_t i = 0; i < pages; ++i) {
    const P2mEntry old = domain_.p2m.Load(gfn + i);
    if (old.present()) pool_.frames.Of(old.mfn()).gfn = kNoFrame;
    pool_.frames.Of(mfn + i).gfn = gfn + i;
    StoreEntry(gfn + i, {mfn + i, type});
  }
  return 0;
}

std::int64_t Physmap::Free(std::uint64_t frame_number) {
  SpinGuard guard(domain_.lock);
  return FreeLocked(frame_number);
}

std::int64_t Physmap::FreeLocked(std::uint64_t frame_number) {
  if (IsDead()) return -kEINVAL;
  const P2mEntry entry = domain_.p2m.Load(frame_number);
  if (!entry.present()) return domain_.translated() ? -kENOENT : -kEINVAL;
  Frame& frame = pool_.frames.Of(entry.mfn());
  const FrameOwner owner = frame.owner.load(std::memory_order_relaxed);
  // A page that the domain grants to itself is given up where it has it.
  if (entry.is_others()) return -kENXIO;
  if (frame.pins != 0) return -kEBUSY;
  if (domain_.translated()) {
    StoreEntry(frame_number, {});
    frame.gfn = kNoFrame;
  }
  if (owner.use == FrameUse::kMemory) GiveUp(entry.mfn());
  return 0;
}

std::int64_t Physmap::FreeAll(std::span<const std::uint64_t> extents, unsigned order) {
  SpinGuard guard(domain_.lock);
  // Those that were found fit are marked, so that one that is named twice is found out.
  std::int64_t error = 0;
  std::uint64_t chosen = 0;
  const std::uint64_t pages = extents.size() << order;
  const auto number = [&](std::uint64_t i) {
    return extents[i >> order] + (i & ((std::uint64_t{1} << order) - 1));
  };
  for (; chosen < pages && error == 0; ++chosen) {
    error = Choose(number(chosen));
    if (error != 0) break;
  }
  for (std::uint64_t i = 0; i < chosen; ++i) {
    pool_.frames.Of(domain_.p2m.Load(number(i)).mfn()).leaving = false;
  }
  for (std::uint64_t i = 0; error == 0 && i < pages; ++i) error = FreeLocked(number(i));
  return error;
}

std::int64_t Physmap::Choose(std::uint64_t frame_number) {
  const P2mEntry entry = domain_.p2m.Load(frame_number);
  if (IsDead() || entry.type() != P2mType::kRam) return -kEINVAL;
  Frame& frame = pool_.frames.Of(entry.mfn());
  // A page that somebody maps cannot be stolen, and one of a registered region stays.
  if (frame.leaving || frame.holds.load(std::memory_order_relaxed) != 0) return -kEINVAL;
  if (frame.pins != 0) return -kEBUSY;
  frame.leaving = true;
  return 0;
}

std::int64_t Physmap::Unplace(std::uint64_t gfn, std::uint64_t* foreign) {
  *foreign = kNoFrame;
  SpinGuard guard(domain_.lock);
  if (IsDead()) return -kEINVAL;
  const P2mEntry entry = domain_.p2m.Load(gfn);
  // What was granted goes by its handle.
  if (!entry.present() || IsGrant(entry)) return -kENOENT;
  if (entry.type() == P2mType::kForeign) {
    *foreign = entry.mfn();
  } else {
    Frame& frame = pool_.frames.Of(entry.mfn());
    if (frame.pins != 0) return -kEBUSY;
    frame.gfn = kNoFrame;
  }
  StoreEntry(gfn, {});
  return 0;
}

std::int64_t Physmap::Move(std::uint64_t mfn, std::uint64_t gfn, P2mType type) {
  SpinGuard guard(domain_.lock);
  // It was found before the lock was taken: a grant table's frame may have been given back since.
  const FrameOwner owner = pool_.frames.Of(mfn).owner.load(std::memory_order_relaxed);
  if (owner != FrameOwner{domain_.id, FrameUse::kShared}) return -kEBUSY;
  return MoveLocked(mfn, gfn, type);
}

std::int64_t Physmap::MoveGfn(std::uint64_t from, std::uint64_t gfn) {
  SpinGuard guard(domain_.lock);
  const P2mEntry entry = domain_.p2m.Load(from);
  if (entry.type() == P2mType::kShared) return -kEINVAL;
  if (entry.type() != P2mType::kRam) return -kEACCES;
  return MoveLocked(entry.mfn(), gfn, P2mType::kRam);
}

std::int64_t Physmap::MoveLocked(std::uint64_t mfn, std::uint64_t gfn, P2mType type) {
  if (domain_.dying()) return -kEINVAL;
  Frame& frame = pool_.frames.Of(mfn);
  if (frame.gfn != gfn && frame.pins != 0) return -kEBUSY;
  if (!P2m::CanHold(gfn)) return -kENOENT;
  if (!domain_.p2m.Reserve(gfn, 1, domain_.overhead)) return -kENOMEM;
  const std::int64_t error = MakeRoom(gfn, mfn);
  if (error != 0) return error;
  if (frame.gfn != kNoFrame && frame.gfn != gfn) StoreEntry(frame.gfn, {});
  frame.gfn = gfn;
  StoreEntry(gfn, {mfn, type});
  return 0;
}

std::int64_t Physmap::MakeRoom(std::uint64_t gfn, std::uint64_t keep) {
  const P2mEntry old = domain_.p2m.Load(gfn);
  if (!old.present() || old.mfn() == keep) return 0;
  if (old.type() != P2mType::kShared) return FreeLocked(gfn);
  if (pool_.frames.Of(old.mfn()).pins != 0) return -kEBUSY;
  pool_.frames.Of(old.mfn()).gfn = kNoFrame;
  StoreEntry(gfn, {});
  return 0;
}

std::int64_t Physmap::MapForeign(DomainPages& source, std::uint64_t frame, std::uint64_t gfn) {
  std::uint64_t mfn;
  Physmap source_physmap(pool_, source);
  std::int64_t error = source_physmap.Hold(frame, Access::kWrite, &mfn);
  if (error != 0) return -kEINVAL;
  {
    SpinGuard guard(domain_.lock);
    if (domain_.dying()) {
      error = -kEINVAL;
    } else if (!domain_.p2m.Reserve(gfn, 1, domain_.overhead)) {
      error = -kENOMEM;
    } else {
      error = MakeRoom(gfn, kNoFrame);
    }
    if (error == 0) StoreEntry(gfn, {mfn, P2mType::kForeign});
  }
  if (error != 0) source_physmap.Release(mfn);
  return error;
}

std::int64_t Physmap::PlaceForeign(std::uint64_t gfn, std::uint64_t mfn, bool* is_placed) {
  *is_placed = false;
  SpinGuard guard(domain_.lock);
  if (domain_.dying() || !P2m::CanHold(gfn)) return -kEINVAL;
  if (!domain_.p2m.Reserve(gfn, 1, domain_.overhead)) return -kENOMEM;
  const P2mEntry old = domain_.p2m.Load(gfn);
  if (old.type() == P2mType::kForeign && old.mfn() == mfn) return 0;
  const std::int64_t error = PlaceOthers(gfn, {mfn, P2mType::kForeign});
  *is_placed = error == 0;
  return error;
}

std::int64_t Physmap::PlaceGrant(std::uint64_t gfn, std::uint64_t mfn, Access access) {
  if (domain_.dying() || !P2m::CanHold(gfn)) return -kEINVAL;
  if (!domain_.p2m.Reserve(gfn, 1, domain_.overhead)) return -kENOMEM;
  return PlaceOthers(gfn, {mfn, GrantType(access)});
}

std::int64_t Physmap::UnplaceGrant(std::uint64_t gfn, std::uint64_t mfn, Access access) {
  const P2mEntry entry = domain_.p2m.Load(gfn);
  if (entry.type() != GrantType(access) || entry.mfn() != mfn) return -kEINVAL;
  StoreEntry(gfn, {});
  return 0;
}

std::int64_t Physmap::PlaceOthers(std::uint64_t gfn, P2mEntry entry) {
  const P2mEntry old = domain_.p2m.Load(gfn);
  if (old.is_others()) return -kEPERM;
  if (old.present()) {
    if (pool_.frames.Of(old.mfn()).pins != 0) return -kEBUSY;
    pool_.frames.Of(old.mfn()).gfn = kNoFrame;
  }
  StoreEntry(gfn, entry);
  return 0;
}

bool Physmap::FreeSome(Work& work) {
  SpinGuard guard(domain_.lock);
  PageTypes types(pool_, domain_);
  while (domain_.first_page != kNoIndex) {
    if (work.is_used_up()) return false;
    const std::uint64_t mfn = pool_.frames.MfnOf(domain_.first_page);
    // It may hold itself alone.
    Keep(mfn);
    const bool dissolved = types.Dissolve(mfn, work) && !work.is_used_up();
    if (dissolved) {
      const Frame& frame = pool_.frames.Of(mfn);
      if (frame.gfn != kNoFrame) StoreEntry(frame.gfn, {});
      Unlink(mfn);
      if (OwnsMemory(mfn)) Leave(mfn);
      work.Done();
    }
    LetGo(mfn);
    if (!dissolved) return false;
  }
  return true;
}

std::uint64_t Physmap::EmptyUpToForeign(std::uint64_t& next_gfn, Work& work) {
  SpinGuard guard(domain_.lock);
  P2m& p2m = domain_.p2m;
  while (next_gfn < p2m.capacity() && !work.is_used_up()) {
    work.Done();
    const std::uint64_t gfn = next_gfn;
    if (!p2m.HasLeaf(gfn)) {
      next_gfn = p2m.AfterHole(gfn);
      continue;
    }
    const P2mEntry entry = p2m.Load(gfn);
    if (entry.present()) {
      if (entry.type() == P2mType::kShared) pool_.frames.Of(entry.mfn()).gfn = kNoFrame;
      StoreEntry(gfn, {});
    }
    if (++next_gfn % P2m::kLeafEntries == 0) p2m.DropLeaf(gfn, domain_.overhead);
    if (entry.type() != P2mType::kForeign) continue;
    return entry.mfn();
  }
  return kNoFrame;
}

std::int64_t Physmap::Hold(std::uint64_t frame_number, Access access, std::uint64_t* mfn) {
  SpinGuard guard(domain_.lock);
  if (IsDead()) return -kEINVAL;
  const P2mEntry entry = domain_.p2m.Load(frame_number);
  // What Xen answers Linux's mapping call for either kind of domain.
  if (!entry.readable()) return domain_.translated() ? -kEINVAL : -kEPERM;
  if (access == Access::kWrite && !entry.writable()) return -kEPERM;
  Keep(entry.mfn());
  *mfn = entry.mfn();
  return 0;
}

void Physmap::Release(std::uint64_t mfn) {
  SpinGuard guard(domain_.lock);
  LetGo(mfn);
}

void Physmap::Keep(std::uint64_t mfn) {
  Frame& frame = pool_.frames.Of(mfn);
  frame.holds.fetch_add(1, std::memory_order_relaxed);
  const FrameUse use = frame.owner.load(std::memory_order_relaxed).use;
  if (use == FrameUse::kShared) ++domain_.shared_holds;
}

void Physmap::LetGo(std::uint64_t mfn) {
  Frame& frame = pool_.frames.Of(mfn);
  const FrameUse use = frame.owner.load(std::memory_order_relaxed).use;
  if (use == FrameUse::kShared) --domain_.shared_holds;
  if (frame.holds.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  if (use == FrameUse::kGivenUp) Finish(mfn);
}

bool Physmap::Pin(std::uint64_t mfn) {
  Frame& frame = pool_.frames.Of(mfn);
  if (frame.pins == 0xffff) return false;
  ++frame.pins;
  return true;
}

void Physmap::Unpin(std::uint64_t mfn) {
  Frame& frame = pool_.frames.Of(mfn);
  if (frame.pins != 0) --frame.pins;
}

void Physmap::Unhook(std::uint64_t mfn) {
  const Frame& frame = pool_.frames.Of(mfn);
  if (frame.gfn != kNoFrame) StoreEntry(frame.gfn, {});
}

bool Physmap::IsDead() const { return domain_.life.load(std::memory_order_relaxed) == Life::kDead; }

bool Physmap::OwnsMemory(std::uint64_t mfn) const {
  return pool_.frames.Of(mfn).owner.load(std::memory_order_relaxed) ==
         FrameOwner{domain_.id, FrameUse::kMemory};
}

void Physmap::Append(std::uint64_t mfn) {
  Frame& frame = pool_.frames.Of(mfn);
  frame.gfn = kNoFrame;
  frame.pins = 0;
  frame.type = {};
  frame.previous = domain_.last_page;
  frame.next = kNoIndex;
  const std::uint32_t index = pool_.frames.IndexOf(mfn);
  if (domain_.last_page == kNoIndex) {
    domain_.first_page = index;
  } else {
    pool_.frames.At(domain_.last_page).next = index;
  }
  domain_.last_page = index;
  frame.owner.store({domain_.id, FrameUse::kMemory}, std::memory_order_release);
}

void Physmap::Unlink(std::uint64_t mfn) {
  Frame& frame = pool_.frames.Of(mfn);
  if (frame.previous == kNoIndex) {
    domain_.first_page = frame.next;
  } else {
    pool_.frames.At(frame.previous).next = frame.next;
  }
  if (frame.next == kNoIndex) {
    domain_.last_page = frame.previous;
  } else {
    pool_.frames.At(frame.next).previous = frame.previous;
  }
  // Behind nobody but itself: on no list.
  frame.previous = pool_.frames.IndexOf(mfn);
}

bool Physmap::IsListed(std::uint64_t mfn) const {
  return pool_.frames.Of(mfn).previous != pool_.frames.IndexOf(mfn);
}

void Physmap::GiveUp(std::uint64_t mfn) {
  if (pool_.frames.Of(mfn).holds.load(std::memory_order_relaxed) == 0) {
    Finish(mfn);
  } else {
    Leave(mfn);
  }
}

void Physmap::Leave(std::uint64_t mfn) {
  pool_.frames.Of(mfn).owner.store({domain_.id, FrameUse::kGivenUp}, std::memory_order_relaxed);
}

void Physmap::Finish(std::uint64_t mfn) {
  if (IsListed(mfn)) Unlink(mfn);
  pool_.frames.Of(mfn).owner.store({}, std::memory_order_relaxed);
  domain_.tot_pages.fetch_sub(1, std::memory_order_relaxed);
  pool_.HeapOf(mfn).FreeLater(mfn, 0);
}

void Physmap::StoreEntry(std::uint64_t gfn, P2mEntry entry) {
  domain_.p2m.Store(gfn, entry);
  // What lies at the gfn is another page now, which a copy does not have; but for the pages of
  // others, as in Xen.
  if (entry.present() && !entry.is_others()) domain_.dirty_log.Mark(gfn);
  if (domain_.built) {
    const bool is_read_only =
        entry.type() == P2mType::kReadOnly || entry.type() == P2mType::kGrantReadOnly;
    pool_.machine.PhysmapChanged(domain_.id, gfn, entry.present() ? entry.mfn() : kNoFrame,
                                 is_read_only ? Access::kRead : Access::kWrite);
  }
}

}  // namespace xencomm::hypervisor
