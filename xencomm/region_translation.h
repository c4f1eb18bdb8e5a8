// Pointers into a region, translated.
//
//   RegisteredRegion  the hypervisor's own copy of the bases, checked when they were registered:
//                     a range check and one load, whatever the region's size
//   StatelessRegion   the guest's table, read in every call; for callers that are as trusted as
//                     their kernel, since nothing but the kernel keeps a table's bases honest
#ifndef XENCOMM_REGION_TRANSLATION_H_
#define XENCOMM_REGION_TRANSLATION_H_

#include <cstdint>

#include "xencomm/copy.h"
#include "xencomm/hypercall.h"
#include "xencomm/region.h"
#include "xencomm/space.h"
#include "xencomm/trace.h"

namespace xencomm {

// Where a pointer falls in a region: `into` is the distance from virtual_base. One subtraction
// serves both ends of the range; the reasons are told apart only when it fails.
inline Fault LocateInRegion(VirtualAddress virtual_base, std::uint64_t payload_offset,
                            std::uint64_t length, VirtualAddress pointer, std::uint64_t offset,
                            std::uint64_t* into) {
  VirtualAddress address;
  if (!AddOffset(pointer, offset, &address)) [[unlikely]]
    return Fault::kOverflow;
  *into = address - virtual_base;
  if (*into - payload_offset < length - payload_offset) [[likely]]
    return Fault::kNone;
  return *into < payload_offset ? Fault::kInTable : Fault::kOutOfRange;
}

// A base of a registered region as the hypervisor holds it: a granule's guest-physical address,
// whose alignment leaves room to say what may be done there.
class HeldBase {
 public:
  static constexpr std::uint64_t kNotTakenUp = 0;
  static constexpr std::uint64_t kReadable = 1;
  static constexpr std::uint64_t kWritable = 2;
  static constexpr std::uint64_t kForAnyPointer = 4;

  static constexpr std::uint64_t Word(PhysicalAddress granule, Access access,
                                      GranuleUse use = GranuleUse::kAnyPointer) {
    return granule.value | kReadable | (access == Access::kWrite ? kWritable : 0) |
           (use == GranuleUse::kAnyPointer ? kForAnyPointer : 0);
  }
  static constexpr PhysicalAddress Granule(std::uint64_t word) {
    return {word & ~(kReadable | kWritable | kForAnyPointer)};
  }
  static constexpr GranuleUse Use(std::uint64_t word) {
    return (word & kForAnyPointer) != 0 ? GranuleUse::kAnyPointer : GranuleUse::kArgumentsOnly;
  }
};

// Where a pointer was found: that decides which granules it may name.
enum class FoundIn : std::uint8_t {
  kRegister,  // of the call itself
  kMemory,    // in a structure, or in an entry of a list of calls; or its length was
};

class RegisteredRegion {
 public:
  struct Cursor {};

  // For pointers found in `found_in`. `words` has layout.base_count() elements (HeldBase). It is
  // borrowed and may be extended meanwhile: an element goes once from kNotTakenUp to a base and
  // then stays.
  RegisteredRegion(const RegionLayout& layout, const std::uint64_t* words, FoundIn found_in)
      : virtual_base_(layout.virtual_base()),
        payload_offset_(layout.payload_offset()),
        length_(layout.length()),
        granule_mask_(layout.granule_size() - 1),
        granule_shift_(static_cast<std::uint8_t>(layout.granule_shift())),
        needed_(static_cast<std::uint8_t>(
            HeldBase::kReadable |
            (found_in == FoundIn::kMemory ? HeldBase::kForAnyPointer : std::uint64_t{0}))),
        words_(words) {}

  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                    Access access, Cursor&) const {
    std::uint64_t into;
    const Fault fault =
        LocateInRegion(virtual_base_, payload_offset_, length_, pointer, offset, &into);
    if (fault != Fault::kNone) [[unlikely]]
      return fault;
    const std::uint64_t word = __atomic_load_n(&words_[into >> granule_shift_], __ATOMIC_ACQUIRE);
    const std::uint64_t needed =
        needed_ | (access == Access::kWrite ? HeldBase::kWritable : std::uint64_t{0});
    if ((needed & ~word) != 0) [[unlikely]]
      return Refusal(needed, word);
    const std::uint64_t within = into & granule_mask_;
    const std::uint64_t rest = granule_mask_ + 1 - within;
    return {HeldBase::Granule(word) + within, length < rest ? length : rest};
  }

 private:
  static Fault Refusal(std::uint64_t needed, std::uint64_t word) {
    if ((word & HeldBase::kReadable) == 0) return Fault::kNotBacked;
    return (needed & ~word & HeldBase::kForAnyPointer) != 0 ? Fault::kArgumentsOnly
                                                            : Fault::kNotWritable;
  }

  VirtualAddress virtual_base_;
  std::uint64_t payload_offset_;
  std::uint64_t length_;
  std::uint64_t granule_mask_;
  std::uint8_t granule_shift_;
  std::uint8_t needed_;  // of a base's flags, by any access
  const std::uint64_t* words_;
};

// A region's table as the guest keeps it, read base by base.
template <Memory M>
class TableReader {
 public:
  // The table granule whose place was found last: consecutive granules share one.
  struct Cursor {
    std::uint64_t granule = 0;  // 0: none, since granule 0 needs no finding
    PhysicalAddress place;
  };

  // `handle` is the guest-physical address of granule 0. `memory` is borrowed.
  TableReader(M& memory, const RegionLayout& layout, PhysicalAddress handle, ByteOrder order)
      : memory_(&memory), layout_(layout), handle_(handle), order_(order) {}

  // The guest-physical address of the word that holds base `index`. A loop, bounded by
  // kMaxBaseReads: first down the chain of granules to one whose place is known, then back, a base
  // at a time. `see` is told of each base read.
  template <class See = const Untraced>
  Result<PhysicalAddress> Locate(std::uint64_t index, Cursor& cursor, See& see = kUntraced) const {
    std::uint64_t chain[kMaxBaseReads];
    unsigned depth = 0;
    std::uint64_t granule = layout_.BaseGranule(index);
    const std::uint64_t wanted = granule;
    while (granule != 0 && granule != cursor.granule) {
      chain[depth++] = granule;
      granule = layout_.BaseGranule(granule);
    }
    PhysicalAddress place = granule == 0 ? handle_ : cursor.place;
    while (depth != 0) {
      const std::uint64_t next = chain[--depth];
      const Result<PhysicalAddress> base = ReadBase(next, WordIn(place, next), see);
      if (!base.ok()) return base.fault();
      place = *base;
    }
    cursor = {wanted, place};
    return WordIn(place, index);
  }

  // Base `index`: the guest-physical address of that granule.
  template <class See = const Untraced>
  Result<PhysicalAddress> Base(std::uint64_t index, Cursor& cursor, See& see = kUntraced) const {
    const Result<PhysicalAddress> word = Locate(index, cursor, see);
    if (!word.ok()) return word.fault();
    return ReadBase(index, *word, see);
  }

  const RegionLayout& layout() const { return layout_; }
  PhysicalAddress handle() const { return handle_; }
  ByteOrder order() const { return order_; }
  M& memory() const { return *memory_; }

 private:
  PhysicalAddress WordIn(PhysicalAddress granule, std::uint64_t index) const {
    return granule + (BaseOffset(index) & (layout_.granule_size() - 1));
  }

  template <class See>
  Result<PhysicalAddress> ReadBase(std::uint64_t index, PhysicalAddress word, See& see) const {
    const Result<std::uint64_t> base = ReadWord(*memory_, word, order_);
    if (!base.ok()) return base.fault();
    see(Step{.table = "base", .index = index, .address = word, .entry = *base});
    if (*base == kNotBackedBase) return Fault::kNotBacked;
    if (!IsAligned(*base, layout_.granule_size())) return Fault::kMisaligned;
    return PhysicalAddress{*base};
  }

  M* memory_;
  RegionLayout layout_;
  PhysicalAddress handle_;
  ByteOrder order_;
};

// Reads and checks the header at `handle`, the granule-aligned guest-physical address of a region's
// first granule, which bases[0] must name too.
template <Memory M>
Result<TableReader<M>> OpenTable(M& memory, PhysicalAddress handle, ByteOrder order) {
  if (!IsAligned(handle.value, std::uint64_t{1} << kMinGranuleShift)) return Fault::kMisaligned;

  // Header and first base lie in one page: one run holds them, and is copied before it is checked.
  std::byte head[BaseOffset(1)];
  const Mapping run = memory.Map(handle, sizeof(head), Access::kRead);
  if (run.length() < sizeof(head)) return run.ok() ? FaultInfo(Fault::kNoMemory) : run.fault();
  __builtin_memcpy(head, run.start(), sizeof(head));
  ForgetGuestMemory();

  const Result<RegionLayout> layout = RegionLayout::Parse(head, order);
  if (!layout.ok()) return layout.fault();
  if (!IsAligned(handle.value, layout->granule_size())) return Fault::kMisaligned;
  if (LoadField<std::uint64_t>(head + BaseOffset(0), order) != handle.value) {
    return Fault::kBadHeader;
  }
  return TableReader<M>(memory, *layout, handle, order);
}

static_assert(kMaxBaseReads <= Trace::kMaxSteps);

template <Memory M>
class StatelessRegion {
 public:
  using Cursor = typename TableReader<M>::Cursor;

  explicit StatelessRegion(const TableReader<M>& table)
      : table_(table), payload_offset_(table.layout().payload_offset()) {}

  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                    Cursor& cursor) const {
    return Find(pointer, offset, length, cursor, kUntraced);
  }

  // The same, with the bases that it read. A fault belongs to the last one, or to what it leads to.
  Trace TraceOf(VirtualAddress pointer) const {
    Cursor cursor;
    Trace trace;
    trace.end = Find(pointer, 0, ~std::uint64_t{0}, cursor, trace);
    return trace;
  }

 private:
  template <class See>
  Segment Find(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Cursor& cursor,
               See& see) const {
    const RegionLayout& layout = table_.layout();
    std::uint64_t into;
    const Fault fault = LocateInRegion(layout.virtual_base(), payload_offset_, layout.length(),
                                       pointer, offset, &into);
    if (fault != Fault::kNone) return fault;
    const std::uint64_t index = into >> layout.granule_shift();
    // Granule 0 is where the handle says: its base was compared with the handle when the table was
    // opened, and what it reads now does not matter.
    const Result<PhysicalAddress> base =
        index == 0 ? Result<PhysicalAddress>(table_.handle()) : table_.Base(index, cursor, see);
    if (!base.ok()) return base.fault();
    const std::uint64_t within = into & (layout.granule_size() - 1);
    const std::uint64_t rest = layout.granule_size() - within;
    return {*base + within, length < rest ? length : rest};
  }

  TableReader<M> table_;
  std::uint64_t payload_offset_;
};

}  // namespace xencomm

#endif  // XENCOMM_REGION_TRANSLATION_H_
