#include "hcall/hypervisor/memory/page_types.h"

#include "arch/x86_64/paging.h"
#include "hcall/hypervisor/base/errno.h"
#include "xencomm/byte_order.h"

namespace xencomm::hypervisor {
namespace {

using x86_64::kEntryAccessed;
using x86_64::kEntryAddress;
using x86_64::kEntryPresent;
using x86_64::kEntryUser;
using x86_64::kEntryWritable;

constexpr std::uint64_t kEntryGlobal = x86_64::Bit(8);
// Of the bits that software may use, the one by which Xen knows a kernel's page, which has the user
// bit, too (_PAGE_GUEST_KERNEL).
constexpr std::uint64_t kEntryOfKernel = x86_64::Bit(52);
// Caching and large pages are not a guest's to choose.
constexpr std::uint64_t kNeverAllowed = x86_64::Bits(3, 4) | x86_64::kEntryLargePage;

// Entries of the topmost table that map the hypervisor (ROOT_PAGETABLE_FIRST_XEN_SLOT and
// ROOT_PAGETABLE_LAST_XEN_SLOT).
constexpr bool IsXens(PageType type, std::uint32_t entry) {
  return type == PageType::kL4 && entry >= 256 && entry <= 271;
}

constexpr bool IsAllowed(PageType type, std::uint64_t entry) {
  return (entry & kNeverAllowed) == 0 && (type == PageType::kL1 || (entry & kEntryGlobal) == 0);
}

// A validated entry as Xen leaves it to the guest: for a processor that runs kernel and programs
// alike as user code.
constexpr std::uint64_t Adjusted(PageType type, std::uint64_t entry) {
  switch (type) {
    case PageType::kL1:
      if ((entry & kEntryUser) == 0) entry |= kEntryOfKernel;
      if ((entry & kEntryOfKernel) == 0) entry |= kEntryGlobal;
      return entry | kEntryUser;
    case PageType::kL4:
      return entry | kEntryAccessed | kEntryUser;
    default:
      return entry | kEntryUser;
  }
}

constexpr PageType Below(PageType type) {
  return static_cast<PageType>(static_cast<std::uint8_t>(type) - 1);
}

bool IsWritable(const TableRefs& refs, std::uint32_t entry) {
  return (refs.writable[entry / 8] >> entry % 8 & 1) != 0;
}

}  // namespace

TableRefs& PageTypes::RefsOf(const Frame& table) const {
  return *reinterpret_cast<TableRefs*>(pool_.frames.Bytes(pool_.frames.MfnOf(table.type.value())));
}

bool PageTypes::Owns(std::uint64_t mfn) const {
  if (!pool_.frames.Has(mfn)) return false;
  const FrameOwner owner = Of(mfn).owner.load(std::memory_order_relaxed);
  return owner.domain == domain_.id &&
         (owner.use == FrameUse::kMemory || owner.use == FrameUse::kGivenUp ||
          owner.use == FrameUse::kShared);
}

PageType PageTypes::TypeOf(std::uint64_t mfn) const {
  const Frame& frame = Of(mfn);
  return IsTable(frame) && RefsOf(frame).count == 0 ? PageType::kNone : frame.type.type();
}

bool PageTypes::IsPinned(std::uint64_t mfn) const {
  return IsTable(Of(mfn)) && RefsOf(Of(mfn)).is_pinned;
}

std::int64_t PageTypes::Pin(std::uint64_t mfn, PageType type, Work& work) {
  SpinGuard guard(domain_.lock);
  const std::int64_t answer = TakeRoot(mfn, type, work);
  if (answer != 0) return answer;
  TableRefs& refs = RefsOf(Of(mfn));
  if (refs.is_pinned) {
    DropRoot(mfn);
    return -kEINVAL;
  }
  refs.is_pinned = true;
  return 0;
}

std::int64_t PageTypes::Unpin(std::uint64_t mfn, Work& work) {
  SpinGuard guard(domain_.lock);
  if (domain_.dying()) return -kEINVAL;
  if (!FinishLocked(work)) return kStopped;
  if (!Owns(mfn) || !IsPinned(mfn)) return -kEINVAL;
  RefsOf(Of(mfn)).is_pinned = false;
  DropRoot(mfn);
  FinishLocked(work);
  return 0;
}

std::int64_t PageTypes::Use(std::uint64_t mfn, PageType type, Work& work) {
  SpinGuard guard(domain_.lock);
  return TakeRoot(mfn, type, work);
}

bool PageTypes::EndUse(std::uint64_t mfn, Work& work) {
  SpinGuard guard(domain_.lock);
  // The domain's end has ended it.
  if (domain_.dying()) return true;
  // One more can be taken apart when there is none any more.
  if (!FinishLocked(work) && RefsOf(Of(mfn)).count == 1) return false;
  DropRoot(mfn);
  FinishLocked(work);
  return true;
}

std::int64_t PageTypes::TakeRoot(std::uint64_t mfn, PageType type, Work& work) {
  if (domain_.dying()) return -kEINVAL;
  if (!FinishLocked(work)) return kStopped;
  if (!Owns(mfn)) return -kEINVAL;
  physmap_.Keep(mfn);
  const std::int64_t answer = Take(mfn, type, work);
  if (answer == 0) return 0;
  if (answer != kStopped && IsBegun(mfn, type)) domain_.dropping = mfn;
  physmap_.LetGo(mfn);
  FinishLocked(work);
  return answer;
}

void PageTypes::DropRoot(std::uint64_t mfn) {
  if (--RefsOf(Of(mfn)).count == 0) domain_.dropping = mfn;
  physmap_.LetGo(mfn);
}

bool PageTypes::Finish(Work& work) {
  SpinGuard guard(domain_.lock);
  return FinishLocked(work);
}

bool PageTypes::FinishLocked(Work& work) {
  if (domain_.dropping == kNoFrame) return true;
  if (!TakeApart(domain_.dropping, work)) return false;
  domain_.dropping = kNoFrame;
  return true;
}

std::int64_t PageTypes::Take(std::uint64_t mfn, PageType type, Work& work) {
  Frame& frame = Of(mfn);
  if (frame.type.type() == PageType::kNone) {
    // The hypervisor's own pages are written by it.
    if (frame.owner.load(std::memory_order_relaxed).use == FrameUse::kShared) return -kEINVAL;
    const TableRefs* made = domain_.overhead.New<TableRefs>();
    if (made == nullptr) return -kENOMEM;
    // Of 2 TiB of memory all are within reach.
    frame.type = {type, pool_.frames.IndexOf(pool_.frames.MfnOfPointer(made))};
    physmap_.Keep(mfn);
  }
  if (frame.type.type() != type) return -kEINVAL;
  TableRefs& refs = RefsOf(frame);
  while (refs.taken != TableRefs::kEntries) {
    if (work.is_used_up()) return kStopped;
    const std::int64_t error = TakeEntry(mfn, type, refs, work);
    if (error != 0) return error;
    // A table below may have taken the leg's last work.
    if (!work.is_used_up()) work.Done();
  }
  ++refs.count;
  return 0;
}

std::int64_t PageTypes::TakeEntry(std::uint64_t mfn, PageType type, TableRefs& refs, Work& work) {
  const std::uint32_t index = refs.taken;
  std::byte* const at = pool_.frames.Bytes(mfn) + index * sizeof(std::uint64_t);
  const auto entry = LoadSharedField<std::uint64_t>(at, ByteOrder::kLittle);
  refs.frames[index] = kNoIndex;
  if (IsXens(type, index)) {
    // What maps the hypervisor is not shown.
    StoreSharedField(at, std::uint64_t{0}, ByteOrder::kLittle);
    ++refs.taken;
    return 0;
  }
  if ((entry & kEntryPresent) == 0) {
    ++refs.taken;
    return 0;
  }
  if (!IsAllowed(type, entry)) return -kEINVAL;
  const std::uint64_t target = (entry & kEntryAddress) >> kPageShift;
  const bool writable = (entry & kEntryWritable) != 0;
  if (target == mfn && !writable) {
    ++refs.taken;
  } else {
    bool is_kept = false;
    const std::int64_t error = type == PageType::kL1
                                   ? TakeMapped(target, writable, &is_kept)
                                   : TakeTable(target, Below(type), work, &is_kept);
    if (is_kept) {
      refs.frames[index] = pool_.frames.IndexOf(target);
      if (writable) refs.writable[index / 8] |= static_cast<std::uint8_t>(1u << index % 8);
      ++refs.taken;
    }
    if (error != 0) return error;
  }
  StoreSharedField(at, Adjusted(type, entry), ByteOrder::kLittle);
  return 0;
}

std::int64_t PageTypes::TakeMapped(std::uint64_t target, bool writable, bool* is_kept) {
  // Where there is no memory, there may be devices.
  if (!pool_.frames.Has(target)) {
    return target == kEntryAddress >> kPageShift ? -kEINVAL : -kEPERM;
  }
  if (!Owns(target) || (writable && !TakeWritable(target))) return -kEBUSY;
  physmap_.Keep(target);
  *is_kept = true;
  return 0;
}

std::int64_t PageTypes::TakeTable(std::uint64_t target, PageType type, Work& work, bool* is_kept) {
  if (!Owns(target)) return -kEINVAL;
  physmap_.Keep(target);
  const std::int64_t answer = Take(target, type, work);
  // What was taken of a table before its mistake was found goes with the one that leads to it.
  *is_kept = answer == 0 || (answer != kStopped && IsBegun(target, type));
  if (!*is_kept) physmap_.LetGo(target);
  return answer;
}

bool PageTypes::IsBegun(std::uint64_t mfn, PageType type) const {
  const Frame& frame = Of(mfn);
  return frame.type.type() == type && RefsOf(frame).count == 0;
}

void PageTypes::DropMapped(std::uint64_t target, bool writable) {
  if (writable) DropWritable(target);
  physmap_.LetGo(target);
}

bool PageTypes::TakeWritable(std::uint64_t mfn) {
  TypeWord& word = Of(mfn).type;
  if (IsTable(Of(mfn)) || word.value() == TypeWord::kMostValue) return false;
  word = {PageType::kWritable, word.value() + 1};
  return true;
}

void PageTypes::DropWritable(std::uint64_t mfn) {
  TypeWord& word = Of(mfn).type;
  word = word.value() == 1 ? TypeWord() : TypeWord(PageType::kWritable, word.value() - 1);
}

bool PageTypes::DropTable(std::uint64_t target, Work& work) {
  TableRefs& refs = RefsOf(Of(target));
  // Of one that is being taken apart, or was never complete, there is none.
  if (refs.count != 0) --refs.count;
  if (refs.count == 0 && !TakeApart(target, work)) return false;
  physmap_.LetGo(target);
  return true;
}

bool PageTypes::TakeApart(std::uint64_t mfn, Work& work) {
  const bool is_lowest = Of(mfn).type.type() == PageType::kL1;
  TableRefs& refs = RefsOf(Of(mfn));
  while (refs.taken != 0) {
    if (work.is_used_up()) return false;
    const std::uint32_t entry = refs.taken - 1;
    if (refs.frames[entry] != kNoIndex) {
      const std::uint64_t target = pool_.frames.MfnOf(refs.frames[entry]);
      if (is_lowest) {
        DropMapped(target, IsWritable(refs, entry));
      } else if (!DropTable(target, work)) {
        return false;
      }
    }
    refs.taken = entry;
    if (!work.is_used_up()) work.Done();
  }
  EndTable(mfn);
  return true;
}

bool PageTypes::Dissolve(std::uint64_t mfn, Work& work) {
  if (!IsTable(Of(mfn))) return true;
  const bool is_lowest = Of(mfn).type.type() == PageType::kL1;
  TableRefs& refs = RefsOf(Of(mfn));
  while (refs.taken != 0) {
    if (work.is_used_up()) return false;
    const std::uint32_t entry = --refs.taken;
    work.Done();
    if (refs.frames[entry] == kNoIndex) continue;
    const std::uint64_t target = pool_.frames.MfnOf(refs.frames[entry]);
    // Tables below are dissolved in their turn, or have been.
    DropMapped(target, is_lowest && IsWritable(refs, entry));
  }
  if (refs.is_pinned) physmap_.LetGo(mfn);
  EndTable(mfn);
  return true;
}

void PageTypes::EndTable(std::uint64_t mfn) {
  domain_.overhead.Delete(&RefsOf(Of(mfn)));
  Of(mfn).type = {};
  physmap_.LetGo(mfn);
}

}  // namespace xencomm::hypervisor
