// The registered regions of a domain: hypercall 55 (xencomm/hypercall.h).
//
// Registering copies a region's bases into pages of the hypervisor, charged to the domain, and pins
// the frames behind them: they stay where they are in the physmap until the region is unregistered.
// Giving up a pinned page is refused with -EBUSY (memory_op then stops at that extent). What the
// guest writes into its table afterwards changes nothing.
//
// An id is an index into a table and a generation, so that an id that was given back means nothing
// for a long time. Finding a region by its id takes constant time and no lock.
#ifndef HCALL_HYPERVISOR_REGION_REGISTRY_H_
#define HCALL_HYPERVISOR_REGION_REGISTRY_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/domain.h"
#include "hcall/hypervisor/work.h"
#include "xencomm/hypercall.h"
#include "xencomm/region.h"
#include "xencomm/region_space.h"

namespace xencomm::hypervisor {

class Core;

struct RegionEntry {
  RegionEntry(const RegionLayout& region_layout, PhysicalAddress table_header, Access for_access,
              std::uint64_t* copied)
      : layout(region_layout), header(table_header), access(for_access), bases(copied) {}

  RegionLayout layout;
  PhysicalAddress header;
  Access access;
  std::uint64_t* bases;     // layout.base_count() of them, as RegisteredRegion wants them
  std::uint64_t pages = 0;  // pinned; under the domain's lock
};

class RegionRegistry {
 public:
  static constexpr unsigned kIndexBits = 12;
  static constexpr unsigned kMaxRegions = 1u << kIndexBits;

  // All answer 0, a value or a negative errno, and take the locks they need.
  //
  // The region handle of the region whose header lies at `header`. -EINVAL (no well-formed region,
  // or an access that is neither 0 nor 1), -EFAULT (a base that names no memory fit for the
  // access), -EBUSY (a frame is pinned too often, or more pages than the domain has), -ENOSPC (too
  // many regions), -ENOMEM.
  static std::int64_t Register(Core& core, Domain& domain, PhysicalAddress header,
                               std::uint64_t access);
  // Takes up granules [first, first + count) that were backed since, in order; what is taken up
  // already stays as it is, also when a later granule is refused. -ENOENT (no such region), -EINVAL
  // (out of range, or the table is another now), -EFAULT, -EBUSY.
  static std::int64_t Extend(Core& core, Domain& domain, RegionHandle handle, std::uint64_t first,
                             std::uint64_t count);
  static std::int64_t Unregister(Core& core, Domain& domain, RegionHandle handle);

  // Because the domain ends; true when none is left.
  static bool UnregisterSome(Core& core, Domain& domain, Work& work);
  static void Destroy(Domain& domain);

  // Of a registered handle, or null. Valid until the call ends.
  static const RegionEntry* Find(const Domain& domain, RegionHandle handle);
  static unsigned Count(const Domain& domain);

 private:
  struct Slot {
    // The region registered under this very id, or null.
    RegionEntry* RegionOf(RegionHandle handle) const;

    std::atomic<RegionEntry*> region = nullptr;
    // Of the region in the slot, or of the next one. Starts at 1: no id is 0.
    std::atomic<std::uint32_t> generation = 1;
  };
  static constexpr unsigned kSlotsPerPage = kPageSize / sizeof(Slot);
  static constexpr unsigned kPages = kMaxRegions / kSlotsPerPage;
  static constexpr std::uint32_t kGenerationMask = (1u << (32 - kIndexBits)) - 1;

  static RegionRegistry* Of(Domain& domain);
  Slot* FreeSlot(Domain& domain, std::uint32_t* index);
  Slot* SlotOf(RegionHandle handle) const;
  void Drop(Core& core, Domain& domain, Slot& slot);

  SpinLock lock_;  // outside the domain's lock
  std::atomic<Slot*> pages_[kPages] = {};
  unsigned count_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_REGION_REGISTRY_H_
