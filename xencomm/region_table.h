// The kernel's part: building a region's table and backing its granules.
//
// The kernel writes the table; userland proposes where a region lies and how long it is, and reads
// at most. The kernel knows no op. Its rules, which the hypervisor cannot enforce for it:
//
// 1. The frames of a table are the kernel's own. They are mapped read-only into userland or not at
//    all, and no payload base of any region names one of them.
// 2. A base names memory that does not move and stays the region's until the region is gone.
// 3. A live base is never replaced: the region grows, and ends as a whole.
// 4. The region handle of a call is the kernel's to supply (xencomm/hypercall.h).
#ifndef XENCOMM_REGION_TABLE_H_
#define XENCOMM_REGION_TABLE_H_

#include <cstdint>
#include <span>

#include "xencomm/region_translation.h"

namespace xencomm {

// The writer of one region's table. `M` reaches the kernel's own frames by their guest-physical
// addresses, as a kernel's linear map does.
template <Memory M>
class RegionTable {
 public:
  // Writes a table whose granules lie at `table_granules` (layout.table_granules() of them, each
  // aligned to the granule), with no payload granule backed yet. The page form's one granule is
  // backed by itself. The header is written last: until then there is no region.
  static Result<RegionTable> Build(M& memory, const RegionLayout& layout, ByteOrder order,
                                   std::span<const PhysicalAddress> table_granules) {
    if (table_granules.size() != layout.table_granules()) return Fault::kOutOfRange;
    for (const PhysicalAddress granule : table_granules) {
      if (!IsAligned(granule.value, layout.granule_size())) return Fault::kMisaligned;
    }
    const RegionTable table(memory, layout, table_granules[0], order);
    for (const PhysicalAddress granule : table_granules) {
      const FaultInfo fault = table.Fill(granule);
      if (!fault.ok()) return fault;
    }
    // In rising order, so that each base is written where the bases before it already lead.
    for (std::uint64_t i = 0; i < table_granules.size(); ++i) {
      const FaultInfo fault = table.StoreBase(i, table_granules[i]);
      if (!fault.ok()) return fault;
    }
    const FaultInfo fault = table.StoreHeader();
    if (!fault.ok()) return fault;
    return table;
  }

  // Backs payload granule `index` by the memory at `base`. kNotWritable when it is backed already,
  // kInTable for a granule of the table.
  FaultInfo Back(std::uint64_t index, PhysicalAddress base) const {
    const RegionLayout& layout = reader_.layout();
    if (index >= layout.base_count()) return Fault::kOutOfRange;
    if (index < layout.table_granules()) return Fault::kInTable;
    if (!IsAligned(base.value, layout.granule_size())) return Fault::kMisaligned;
    return StoreBase(index, base);
  }

  // The base of granule `index`, or kNotBacked.
  Result<PhysicalAddress> Base(std::uint64_t index) const {
    if (index >= reader_.layout().base_count()) return Fault::kOutOfRange;
    typename TableReader<M>::Cursor cursor;
    return reader_.Base(index, cursor);
  }

  const RegionLayout& layout() const { return reader_.layout(); }

  // What a stateless call passes, and what registering takes.
  PhysicalAddress handle() const { return reader_.handle(); }

  // The region as the hypervisor will see it, for a kernel that looks at a call before it makes it.
  StatelessRegion<M> AsStateless() const { return StatelessRegion<M>(reader_); }

 private:
  RegionTable(M& memory, const RegionLayout& layout, PhysicalAddress handle, ByteOrder order)
      : reader_(memory, layout, handle, order) {}

  // All bases of a table granule to kNotBackedBase, which reads the same in both byte orders. The
  // page form's payload is left alone.
  FaultInfo Fill(PhysicalAddress granule) const {
    const RegionLayout& layout = reader_.layout();
    const std::uint64_t bytes =
        layout.base_count() == 1 ? layout.payload_offset() : layout.granule_size();
    for (std::uint64_t done = 0; done < bytes;) {
      const Mapping run = reader_.memory().Map(granule + done, bytes - done, Access::kWrite);
      if (!run.ok()) return run.fault();
      std::memset(run.start(), 0xff, run.length());
      done += run.length();
    }
    return {};
  }

  FaultInfo StoreBase(std::uint64_t index, PhysicalAddress base) const {
    const Result<PhysicalAddress> word = reader_.Locate(index);
    if (!word.ok()) return word.fault();
    const Result<std::uint64_t> old = ReadWord(reader_.memory(), *word, reader_.order());
    if (!old.ok()) return old.fault();
    if (*old != kNotBackedBase) return Fault::kNotWritable;
    const Mapping run = reader_.memory().Map(*word, sizeof(std::uint64_t), Access::kWrite);
    if (!run.ok()) return run.fault();
    StoreSharedField(run.start(), base.value, reader_.order());
    return {};
  }

  FaultInfo StoreHeader() const {
    const Mapping run =
        reader_.memory().Map(reader_.handle(), sizeof(RegionHeader), Access::kWrite);
    if (!run.ok()) return run.fault();
    reader_.layout().Store(run.start(), reader_.order());
    return {};
  }

  TableReader<M> reader_;
};

}  // namespace xencomm

#endif  // XENCOMM_REGION_TABLE_H_
