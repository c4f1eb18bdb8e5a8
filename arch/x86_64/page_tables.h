// A builder of x86-64 page tables, for kernels: virtual to guest-physical, in frames that the
// caller provides.
//
// Rights are given at the leaf; the entries above it deny nothing. Accessed and dirty are set from
// the start, so that neither a processor nor a walk has to write to the tables. An entry in use is
// never replaced. An address has its bits of an entry and flags have theirs: neither can become the
// other.
#ifndef ARCH_X86_64_PAGE_TABLES_H_
#define ARCH_X86_64_PAGE_TABLES_H_

#include <concepts>
#include <cstdint>
#include <cstring>

#include "arch/x86_64/paging.h"
#include "xencomm/memory.h"

namespace xencomm::x86_64 {

// Frames for tables: 4 KiB each, aligned, of any content; kNoMemory when there are no more.
template <class F>
concept FrameSource = requires(F& frames) {
  { frames.Allocate() } -> std::same_as<Result<PhysicalAddress>>;
};

// The level whose leaf maps a page of this size.
enum class PageSize : std::uint8_t { k4K = 1, k2M = 2, k1G = 3 };

// `M` reaches the tables by their guest-physical addresses, as a kernel's linear map does.
template <Memory M, FrameSource F>
class PageTables {
 public:
  // An empty root. `levels` is 4 or 5; memory and frames are borrowed.
  static Result<PageTables> Make(M& memory, F& frames, unsigned levels) {
    PageTables tables(memory, frames, levels);
    const Result<PhysicalAddress> root = tables.NewTable();
    if (!root.ok()) return root.fault();
    tables.root_ = *root;
    return tables;
  }

  // For CR3.
  PhysicalAddress root() const { return root_; }
  unsigned levels() const { return levels_; }

  // Maps [virtual_address, + length) to [physical, + length), all multiples of 4 KiB, by the
  // largest pages up to `largest` that alignment and length allow. `flags`: kEntryWritable,
  // kEntryUser, kEntryNoExecute, a protection key << kKeyShift.
  //
  // Nothing is mapped of what does not fit: kMisaligned, kOverflow, kNotCanonical (any part of the
  // range), kReserved (physical address bits above 51, flags where an entry's address or its page
  // size stands). kNotWritable where something is mapped already; what was mapped before that, or
  // before the frames ran out, stays.
  FaultInfo Map(VirtualAddress virtual_address, PhysicalAddress physical, std::uint64_t length,
                std::uint64_t flags, PageSize largest = PageSize::k4K) const {
    const Fault misfit = Misfit(virtual_address.value, physical.value, length, flags);
    if (misfit != Fault::kNone) return misfit;
    for (std::uint64_t done = 0; done < length;) {
      const VirtualAddress page = virtual_address + done;
      const PhysicalAddress frame = physical + done;
      unsigned level = static_cast<unsigned>(largest);
      // The smallest always fits.
      while (!IsAligned(page.value | frame.value, PageBytes(level)) ||
             length - done < PageBytes(level)) {
        --level;
      }
      const FaultInfo fault = MapPage(page, frame, flags, level);
      if (!fault.ok()) return fault;
      done += PageBytes(level);
    }
    return {};
  }

 private:
  static constexpr std::uint64_t kInner =
      kEntryPresent | kEntryWritable | kEntryUser | kEntryAccessed;

  Fault Misfit(std::uint64_t address, std::uint64_t physical, std::uint64_t length,
               std::uint64_t flags) const {
    if (!IsAligned(address | physical | length, PageBytes(1))) return Fault::kMisaligned;
    if (Overflows(address, length) || Overflows(physical, length)) return Fault::kOverflow;
    if ((flags & (kEntryAddress | kEntryLargePage)) != 0) return Fault::kReserved;
    if (length == 0) return Fault::kNone;
    const std::uint64_t rest = length - 1;
    if (((physical + rest) >> kAddressBits) != 0) return Fault::kReserved;
    // Between the halves of the addresses there is a hole.
    const bool in_one_half = (address ^ (address + rest)) >> 63 == 0;
    const bool is_canonical =
        IsCanonical(address, levels_) && IsCanonical(address + rest, levels_) && in_one_half;
    return is_canonical ? Fault::kNone : Fault::kNotCanonical;
  }

  PageTables(M& memory, F& frames, unsigned levels)
      : memory_(&memory), frames_(&frames), levels_(levels) {}

  FaultInfo MapPage(VirtualAddress page, PhysicalAddress frame, std::uint64_t flags,
                    unsigned leaf_level) const {
    PhysicalAddress table = root_;
    for (unsigned level = levels_;; --level) {
      const PhysicalAddress place = table + TableIndex(page.value, level) * sizeof(std::uint64_t);
      const Result<std::uint64_t> entry = ReadWord(*memory_, place, ByteOrder::kLittle);
      if (!entry.ok()) return entry.fault();
      if (level == leaf_level) {
        if (*entry != 0) return Fault::kNotWritable;
        const std::uint64_t size = level > 1 ? kEntryLargePage : 0;
        return Store(place,
                     frame.value | flags | size | kEntryPresent | kEntryAccessed | kEntryDirty);
      }
      if ((*entry & kEntryLargePage) != 0) return Fault::kNotWritable;
      // Somebody else's note in an entry that is not present leads to no table.
      if (*entry != 0 && (*entry & kEntryPresent) == 0) return Fault::kNotWritable;
      if (*entry != 0) {
        table = {*entry & kEntryAddress};
        continue;
      }
      // The new table is cleared before anything points to it: a processor may walk meanwhile.
      const Result<PhysicalAddress> next = NewTable();
      if (!next.ok()) return next.fault();
      const FaultInfo fault = Store(place, next->value | kInner);
      if (!fault.ok()) return fault;
      table = *next;
    }
  }

  Result<PhysicalAddress> NewTable() const {
    const Result<PhysicalAddress> frame = frames_->Allocate();
    if (!frame.ok()) return frame.fault();
    if ((frame->value & ~kEntryAddress) != 0) return Fault::kReserved;
    // An aligned frame is of one page, so one run holds it.
    const Mapping run = memory_->Map(*frame, kTableBytes, Access::kWrite);
    if (!run.ok()) return run.fault();
    std::memset(run.start(), 0, kTableBytes);
    return *frame;
  }

  FaultInfo Store(PhysicalAddress place, std::uint64_t entry) const {
    const Mapping run = memory_->Map(place, sizeof(entry), Access::kWrite);
    if (!run.ok()) return run.fault();
    StoreSharedField(run.start(), entry, ByteOrder::kLittle);
    return {};
  }

  M* memory_;
  F* frames_;
  PhysicalAddress root_;
  unsigned levels_;
};

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_PAGE_TABLES_H_
