// The registered regions of a domain: hypercall 55 (xencomm/hypercall.h).
//
// Registering pins the frames behind a region's bases: they stay where they are in the physmap, and
// what they are, until the region is unregistered. So it notes where the hypervisor has them, a
// word for each page of 4 KiB (HeldPage), in pages that are charged to the domain; calls ask no p2m
// then. Giving up a pinned page, or making another of it, is refused with -EBUSY (memory_op then
// stops at that extent). What the guest writes into its table afterwards changes nothing.
//
// While what the domain writes is logged (dirty_log.h), calls go by Memory, which marks it
// (LoggedRegion). One that began before marks nothing: until it has ended, everything counts as
// written.
//
// An id never comes to name another region: it is a slot's number and how many regions the whole
// machine had registered by then, 50 bits, after which it registers no more (at a million a second
// in 35 years). Finding a region by its id takes constant time and no lock.
//
// The work is in pages, and stops and goes on where there are many. How far it came stands in the
// region, not in the guest's registers. A region is found from when all of it was taken up until
// the first page of it is let go.
#ifndef HCALL_HYPERVISOR_DOMAIN_REGION_REGISTRY_H_
#define HCALL_HYPERVISOR_DOMAIN_REGION_REGISTRY_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/domain/domain.h"
#include "xencomm/hypercall.h"
#include "xencomm/region.h"
#include "xencomm/region_translation.h"

namespace xencomm::hypervisor {

class Core;

struct RegionEntry {
  // A granule that is being pinned, page by page, and then made usable, from its last page on; or
  // let go when there is an error.
  struct Partial {
    std::uint64_t granule = 0;
    PhysicalAddress base;
    std::uint64_t pinned = 0;  // pages, from its first one on
    std::uint64_t usable = 0;  // pages, from its last one on
    GranuleUse use = GranuleUse::kAnyPointer;
    bool exists = false;
    std::uint8_t reserved[6] = {};
    std::int64_t error = 0;  // what is wrong with a page of it; 1: nothing, its region ends
  };

  RegionEntry(const RegionLayout& region_layout, PhysicalAddress table_header, Access for_access,
              std::uint64_t region_id, HeldPage* held)
      : layout(region_layout),
        header(table_header),
        access(for_access),
        id(region_id),
        held_pages(held),
        in_registers(layout, held, FoundIn::kRegister),
        in_memory(layout, held, FoundIn::kMemory) {}
  // The spaces hold on to it.
  RegionEntry(const RegionEntry&) = delete;
  RegionEntry& operator=(const RegionEntry&) = delete;

  const RegionLayout layout;
  const PhysicalAddress header;
  const Access access;
  const std::uint64_t id;
  HeldPage* const held_pages;  // RegisteredRegion::PagesOf(layout)
  // What pointers of a call mean, by where they are found.
  RegisteredRegion in_registers;
  RegisteredRegion in_memory;

  // Under the registry's lock.
  std::uint64_t pages = 0;  // of granules taken up
  std::uint64_t next = 0;   // granule, of a region that is registered or unregistered right now
  bool ends = false;
  std::int64_t error = 0;  // for which it ends, instead of being registered
  Partial partial;
};

class RegionRegistry {
 public:
  static constexpr unsigned kSlotBits = 12;
  static constexpr unsigned kMaxRegions = 1u << kSlotBits;
  static constexpr unsigned kGenerationBits = 50;
  // Of one region, 4 GiB: what is kept of it is 8 MiB then.
  static constexpr std::uint64_t kMaxPages = std::uint64_t{1} << 20;

  // The id of the `generation`th region, counted from 1; 0: there is none any more.
  static constexpr std::uint64_t IdOf(std::uint64_t generation, std::uint32_t slot) {
    return generation >> kGenerationBits != 0 ? 0 : generation << kSlotBits | slot;
  }

  // How far a leg came.
  struct Progress {
    bool stopped = false;     // the leg's work is used up: to be called again
    std::int64_t answer = 0;  // of the call, when it has not stopped
  };

  // All take the locks they need.
  //
  // The region handle of the region whose header lies at `header`. `resumed` is the handle that an
  // earlier leg put into `*resumed`, at first 0. -EINVAL (no well-formed region, or an access that
  // is neither 0 nor 1), -E2BIG (too many pages), -EFAULT (a base that names no memory fit for
  // the access), -EBUSY (a frame is pinned too often, or more pages than the domain has), -ENOSPC
  // (too many regions), -ENOMEM, -ENOENT (nothing to go on with).
  static Progress Register(Core& core, Domain& domain, PhysicalAddress header, std::uint64_t access,
                           std::uint64_t* resumed, Work& work);
  // Takes up granules [*first, *first + *count) that were backed since, in order, for `use`; what
  // is taken up already stays as it is, also when a later granule is refused. A leg that stops says
  // in `*first` and `*count` what is left. -ENOENT (no such region), -EINVAL (out of range, no such
  // use, or the table is another now), -EEXIST (taken up for another use), -EFAULT, -EBUSY.
  static Progress Extend(Core& core, Domain& domain, RegionHandle handle, std::uint64_t* first,
                         std::uint64_t* count, std::uint64_t use, Work& work);
  static Progress Unregister(Core& core, Domain& domain, RegionHandle handle, Work& work);

  // Because the domain ends; true when none is left.
  static bool UnregisterSome(Core& core, Domain& domain, Work& work);
  static void Destroy(Domain& domain);

  // Of a registered handle, or null. Valid until the call ends.
  static RegionEntry* Find(const Domain& domain, RegionHandle handle);

 private:
  friend class Books;  // of tests/unit

  struct Slot {
    std::atomic<RegionEntry*> live = nullptr;  // what is found by its id
    RegionEntry* region = nullptr;             // the same, or one that begins or ends
  };
  static constexpr unsigned kSlotsPerPage = kPageSize / sizeof(Slot);
  static constexpr unsigned kPages = kMaxRegions / kSlotsPerPage;

  static RegionRegistry* Of(Domain& domain);
  static RegionRegistry* IfAny(const Domain& domain) {
    return domain.regions.load(std::memory_order_acquire);
  }

  // All below with the registry's lock held.
  std::int64_t FreeSlot(Domain& domain, Slot** slot, std::uint32_t* number);
  Slot* SlotOf(RegionHandle handle) const;
  std::int64_t Begin(Core& core, Domain& domain, PhysicalAddress header, std::uint64_t access,
                     Slot** slot);
  static void Publish(Slot& slot);
  static void Hide(Slot& slot);
  // Lets go of a region that ends; false when there is no work left for it.
  bool LetGo(Core& core, Domain& domain, Slot& slot, Work& work);
  Progress End(Core& core, Domain& domain, Slot& slot, Work& work);

  SpinLock lock_;  // outside the domain's lock
  std::atomic<Slot*> pages_[kPages] = {};
  std::uint32_t first_free_ = 0;  // no slot before it is free
};
// With the bit that tells it from a header's address, and as a positive number.
static_assert(RegionRegistry::kGenerationBits + RegionRegistry::kSlotBits + 1 == 63);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_REGION_REGISTRY_H_
