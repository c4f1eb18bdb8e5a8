// Pointers into a region, translated.
//
//   RegisteredRegion  the hypervisor's own word for each page, checked and resolved when it was
//                     registered: a range check and one load, whatever the region's size
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

// Where a pointer was found: that decides which granules it may name.
enum class FoundIn : std::uint8_t {
  kRegister,  // of the call itself
  kMemory,    // in a structure, or in an entry of a list of calls; or its length was
};

// A space without a Memory below it: the hypervisor has kept what Memory gave.
class RegisteredRegion final : public Space {
 public:
  // The pages that are held of a region of this shape: one for each 4 KiB, whatever its granule.
  static constexpr std::uint64_t PagesOf(const RegionLayout& layout) {
    return layout.length() / HeldPage::kBytes;
  }

  // For pointers found in `found_in`. `pages` has PagesOf(layout) elements. Both are borrowed, and
  // the pages may be extended meanwhile: one that may be used stays as it is.
  RegisteredRegion(const RegionLayout& layout, const HeldPage* pages, FoundIn found_in)
      : Space(Payload(layout, pages, found_in)),
        layout_(layout),
        pages_(pages),
        for_reading_(ForReading(found_in)) {}

  // The run at `pointer` + `offset`, up to the end of its page.
  Mapping Find(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
               Access access) const {
    std::uint64_t into;
    const Fault fault = LocateInRegion(layout_.virtual_base(), layout_.payload_offset(),
                                       layout_.length(), pointer, offset, &into);
    if (fault != Fault::kNone) return fault;
    const HeldPage held = pages_[into / HeldPage::kBytes].Load();
    if (!held.is_usable()) return Fault::kNotBacked;
    if (held.Denies(for_reading_)) return Fault::kArgumentsOnly;
    if (access == Access::kWrite && held.Denies(HeldPage::kNotWritable)) return Fault::kNotWritable;
    const std::uint64_t within = into % HeldPage::kBytes;
    const std::uint64_t rest = HeldPage::kBytes - within;
    return {held.page() + within, length < rest ? length : rest};
  }

 private:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    return Find(pointer, offset, length, access);
  }

  static constexpr std::uint64_t ForReading(FoundIn found_in) {
    return HeldPage::kNotReadable | (found_in == FoundIn::kMemory ? HeldPage::kArgumentsOnly : 0);
  }

  // None in the page form, whose only page begins with its table.
  static KnownPages Payload(const RegionLayout& layout, const HeldPage* pages, FoundIn found_in) {
    const std::uint64_t offset = layout.payload_offset();
    if (!IsAligned(offset, HeldPage::kBytes)) return {};
    return {.start = layout.virtual_base() + offset,
            .length = layout.length() - offset,
            .pages = pages + offset / HeldPage::kBytes,
            .for_reading = ForReading(found_in),
            .for_writing = ForReading(found_in) | HeldPage::kNotWritable};
  }

  const RegionLayout& layout_;
  const HeldPage* const pages_;
  const std::uint64_t for_reading_;  // what a page must not deny
};

// A region's table as the guest keeps it, read base by base.
template <Memory M>
class TableReader {
 public:
  // The page of the table that was read last: 512 bases in a row lie in one.
  struct Cursor {
    std::uint64_t number = 0;  // of the page, from 1 on; 0: none yet
    PhysicalAddress place;
    const std::byte* bytes = nullptr;
  };

  // `handle` is the guest-physical address of granule 0. `memory` is borrowed.
  TableReader(M& memory, const RegionLayout& layout, PhysicalAddress handle, ByteOrder order)
      : memory_(&memory), layout_(layout), handle_(handle), order_(order) {}

  // The guest-physical address of the word that holds base `index`. A loop, bounded by
  // kMaxBaseReads: first down the chain of granules to the first one, then back, a base at a time.
  // `see` is told of each base read.
  template <class See = const Untraced>
  Result<PhysicalAddress> Locate(std::uint64_t index, See& see = kUntraced) const {
    std::uint64_t chain[kMaxBaseReads];
    unsigned depth = 0;
    for (std::uint64_t granule = layout_.BaseGranule(index); granule != 0;
         granule = layout_.BaseGranule(granule)) {
      chain[depth++] = granule;
    }
    PhysicalAddress place = handle_;
    while (depth != 0) {
      const std::uint64_t next = chain[--depth];
      const PhysicalAddress word = WordIn(place, next);
      const Result<std::uint64_t> read = ReadWord(*memory_, word, order_);
      if (!read.ok()) return read.fault();
      const Result<PhysicalAddress> base = Check(*read, next, word, see);
      if (!base.ok()) return base.fault();
      place = *base;
    }
    return WordIn(place, index);
  }

  // Base `index`: the guest-physical address of that granule.
  template <class See = const Untraced>
  Result<PhysicalAddress> Base(std::uint64_t index, Cursor& cursor, See& see = kUntraced) const {
    const std::uint64_t number = BaseOffset(index) / HeldPage::kBytes + 1;
    const std::uint64_t within = BaseOffset(index) % HeldPage::kBytes;
    if (cursor.number != number) {
      const Result<PhysicalAddress> word = Locate(index, see);
      if (!word.ok()) return word.fault();
      const PhysicalAddress place = {word->value - within};
      const Mapping page = memory_->Map(place, HeldPage::kBytes, Access::kRead);
      if (page.length() < HeldPage::kBytes) {
        return page.ok() ? FaultInfo(Fault::kNoMemory) : page.fault();
      }
      cursor = {number, place, page.start()};
    }
    const auto base = LoadSharedField<std::uint64_t>(cursor.bytes + within, order_);
    return Check(base, index, cursor.place + within, see);
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
  Result<PhysicalAddress> Check(std::uint64_t base, std::uint64_t index, PhysicalAddress word,
                                See& see) const {
    see(Step{.table = "base", .index = index, .address = word, .entry = base});
    if (base == kNotBackedBase) return Fault::kNotBacked;
    if (!IsAligned(base, layout_.granule_size())) return Fault::kMisaligned;
    return PhysicalAddress{base};
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

  // With one base, or with two in a larger region, whose table has more granules than one.
  template <class Quick>
  bool TranslateQuickly(Quick& memory, VirtualAddress pointer, Access,
                        PhysicalAddress* in_page) const {
    const RegionLayout& layout = table_.layout();
    const std::uint64_t into = pointer - layout.virtual_base();
    if (into >= layout.length() || into < payload_offset_) [[unlikely]]
      return false;
    const std::uint64_t index = into >> layout.granule_shift();
    const std::uint64_t within = layout.granule_size() - 1;
    std::uint64_t table = table_.handle().value;
    std::uint64_t word = BaseOffset(index);
    if (word > within) {
      const std::uint64_t upper = BaseOffset(word >> layout.granule_shift());
      if (upper > within || !ReadBase(memory, table + upper, within, &table)) [[unlikely]]
        return false;
      word &= within;
    }
    std::uint64_t granule;
    if (index == 0 || !ReadBase(memory, table + word, within, &granule)) [[unlikely]]
      return false;
    *in_page = {granule + (into & within)};
    return true;
  }

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
  // One that is not backed is not aligned either.
  template <class Quick>
  bool ReadBase(Quick& memory, std::uint64_t word, std::uint64_t within,
                std::uint64_t* base) const {
    std::byte* page;
    if (!memory.FindPage({word}, Access::kRead, &page)) [[unlikely]]
      return false;
    *base = LoadSharedField<std::uint64_t>(page + word % HeldPage::kBytes, table_.order());
    return (*base & within) == 0;
  }

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
