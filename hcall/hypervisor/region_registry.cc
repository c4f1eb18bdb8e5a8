#include "hcall/hypervisor/region_registry.h"

#include <new>

#include "hcall/hypervisor/core.h"
#include "hcall/hypervisor/errno.h"
#include "hcall/hypervisor/physmap.h"

namespace xencomm::hypervisor {
namespace {

using Table = TableReader<DomainMemory>;

// Pins every frame of the granule at `base`; all of them or none. With the domain's lock held.
std::int64_t PinGranule(Core& core, Domain& domain, PhysicalAddress base, std::uint64_t bytes,
                        Access access) {
  Physmap physmap(core, domain);
  const std::uint64_t first = base.value >> kPageShift;
  const std::uint64_t pages = bytes >> kPageShift;
  std::int64_t error = 0;
  std::uint64_t done = 0;
  for (; done < pages && error == 0; ++done) {
    const P2mEntry entry = domain.p2m.Load(first + done);
    const bool fit = access == Access::kWrite ? entry.writable() : entry.readable();
    if (!fit || !core.frames.Has(entry.mfn())) {
      error = -kEFAULT;
    } else if (!physmap.Pin(entry.mfn())) {
      error = -kEBUSY;
    }
    if (error != 0) break;
  }
  if (error != 0) {
    while (done != 0) physmap.Unpin(domain.p2m.Load(first + --done).mfn());
  }
  return error;
}

void UnpinGranule(Core& core, Domain& domain, std::uint64_t base, std::uint64_t bytes) {
  Physmap physmap(core, domain);
  const std::uint64_t first = (base & ~kHeldForWriting) >> kPageShift;
  for (std::uint64_t i = 0; i < bytes >> kPageShift; ++i) {
    // A dying domain may have lost the frame, and the pin with it.
    const P2mEntry entry = domain.p2m.Load(first + i);
    if (entry.present()) physmap.Unpin(entry.mfn());
  }
}

// Reads base `index` of the guest's table and takes it up; a granule that is not backed is left.
std::int64_t TakeUp(Core& core, Domain& domain, RegionEntry& region, const Table& table,
                    Table::Cursor& cursor, std::uint64_t index) {
  const Result<PhysicalAddress> base = table.Base(index, cursor);
  if (!base.ok()) return base.fault().fault == Fault::kNotBacked ? 0 : -kEFAULT;
  SpinGuard guard(domain.lock);
  if (domain.dying()) return -kEINVAL;
  const std::uint64_t bytes = region.layout.granule_size();
  const std::int64_t error = PinGranule(core, domain, *base, bytes, region.access);
  if (error != 0) return error;
  // So that the work that a table makes is bounded: one page could be the base of every granule.
  const std::uint64_t pages = bytes >> kPageShift;
  if (region.pages + pages > domain.tot_pages.load(std::memory_order_relaxed)) {
    UnpinGranule(core, domain, base->value, bytes);
    return -kEBUSY;
  }
  region.pages += pages;
  const std::uint64_t word = base->value | (region.access == Access::kWrite ? kHeldForWriting : 0);
  __atomic_store_n(&region.bases[index], word, __ATOMIC_RELEASE);
  return 0;
}

// Lets go of granules [first, end) that are taken up. With the domain's lock held.
void LetGo(Core& core, Domain& domain, RegionEntry& region, std::uint64_t first,
           std::uint64_t end) {
  for (std::uint64_t i = first; i < end; ++i) {
    if (region.bases[i] == kNotBackedBase) continue;
    UnpinGranule(core, domain, region.bases[i], region.layout.granule_size());
    __atomic_store_n(&region.bases[i], kNotBackedBase, __ATOMIC_RELEASE);
  }
}

}  // namespace

std::int64_t RegionRegistry::Register(Core& core, Domain& domain, PhysicalAddress header,
                                      std::uint64_t access) {
  if (access > 1) return -kEINVAL;
  RegionRegistry* registry = Of(domain);
  if (registry == nullptr) return -kENOMEM;
  DomainMemory memory(domain.p2m, core.frames);
  const Result<Table> table = OpenTable(memory, header, domain.order);
  if (!table.ok()) return -kEINVAL;
  const RegionLayout& layout = table->layout();

  const std::uint64_t home = domain.overhead.Allocate(0);
  if (home == kNoFrame) return -kENOMEM;
  auto* bases = domain.overhead.New<std::uint64_t>(layout.base_count());
  if (bases == nullptr) {
    domain.overhead.Free(home, 0);
    return -kENOMEM;
  }
  for (std::uint64_t i = 0; i < layout.base_count(); ++i) bases[i] = kNotBackedBase;
  RegionEntry& region = *new (core.frames.Bytes(home)) RegionEntry(
      layout, header, access == 1 ? Access::kWrite : Access::kRead, bases);

  std::int64_t answer = 0;
  Table::Cursor cursor;
  for (std::uint64_t i = 0; i < layout.base_count() && answer == 0; ++i) {
    // The table's own granules are not for pointers, but for the page form's only one.
    if (i < layout.table_granules() && layout.base_count() != 1) continue;
    answer = TakeUp(core, domain, region, *table, cursor, i);
  }
  if (answer == 0) {
    SpinGuard registry_guard(registry->lock_);
    SpinGuard guard(domain.lock);
    std::uint32_t index = 0;
    Slot* slot = domain.dying() ? nullptr : registry->FreeSlot(domain, &index);
    if (slot == nullptr) {
      answer = domain.dying() ? -kEINVAL : -kENOSPC;
    } else {
      slot->region.store(&region, std::memory_order_release);
      ++registry->count_;
      core.region_count.fetch_add(1, std::memory_order_relaxed);
      const std::uint32_t id =
          slot->generation.load(std::memory_order_relaxed) << kIndexBits | index;
      answer = static_cast<std::int64_t>(RegionHandle::Registered(id).value());
    }
  }
  if (answer < 0) {
    {
      SpinGuard guard(domain.lock);
      LetGo(core, domain, region, 0, layout.base_count());
    }
    domain.overhead.Delete(bases, layout.base_count());
    domain.overhead.Free(home, 0);
  }
  return answer;
}

std::int64_t RegionRegistry::Extend(Core& core, Domain& domain, RegionHandle handle,
                                    std::uint64_t first, std::uint64_t count) {
  RegionRegistry* registry = domain.regions.load(std::memory_order_acquire);
  if (registry == nullptr) return -kENOENT;
  SpinGuard guard(registry->lock_);
  Slot* slot = registry->SlotOf(handle);
  RegionEntry* found = slot == nullptr ? nullptr : slot->RegionOf(handle);
  if (found == nullptr) return -kENOENT;
  RegionEntry& region = *found;
  const std::uint64_t table_granules =
      region.layout.base_count() == 1 ? 0 : region.layout.table_granules();
  if (!Contains(0, region.layout.base_count(), first, count) || first < table_granules) {
    return -kEINVAL;
  }
  DomainMemory memory(domain.p2m, core.frames);
  const Result<Table> table = OpenTable(memory, region.header, domain.order);
  if (!table.ok() || !(table->layout() == region.layout)) return -kEINVAL;

  Table::Cursor cursor;
  std::int64_t error = 0;
  for (std::uint64_t i = first; i < first + count && error == 0; ++i) {
    if (region.bases[i] == kNotBackedBase) error = TakeUp(core, domain, region, *table, cursor, i);
  }
  return error;
}

std::int64_t RegionRegistry::Unregister(Core& core, Domain& domain, RegionHandle handle) {
  RegionRegistry* registry = domain.regions.load(std::memory_order_acquire);
  if (registry == nullptr) return -kENOENT;
  SpinGuard guard(registry->lock_);
  Slot* slot = registry->SlotOf(handle);
  if (slot == nullptr || slot->RegionOf(handle) == nullptr) return -kENOENT;
  registry->Drop(core, domain, *slot);
  return 0;
}

bool RegionRegistry::UnregisterSome(Core& core, Domain& domain, Work& work) {
  RegionRegistry* registry = domain.regions.load(std::memory_order_acquire);
  if (registry == nullptr) return true;
  SpinGuard guard(registry->lock_);
  for (std::atomic<Slot*>& page : registry->pages_) {
    Slot* slots = page.load(std::memory_order_relaxed);
    for (unsigned i = 0; slots != nullptr && i < kSlotsPerPage; ++i) {
      const RegionEntry* region = slots[i].region.load(std::memory_order_relaxed);
      if (region == nullptr) continue;
      if (work.is_used_up()) return false;
      work.Done(region->layout.base_count() + region->pages);
      registry->Drop(core, domain, slots[i]);
    }
  }
  return true;
}

void RegionRegistry::Destroy(Domain& domain) {
  RegionRegistry* registry = domain.regions;
  if (registry == nullptr) return;
  for (std::atomic<Slot*>& page : registry->pages_) {
    domain.overhead.Delete(page.load(std::memory_order_relaxed), kSlotsPerPage);
  }
  domain.overhead.Delete(registry);
}

const RegionEntry* RegionRegistry::Find(const Domain& domain, RegionHandle handle) {
  const RegionRegistry* registry = domain.regions.load(std::memory_order_acquire);
  if (registry == nullptr) return nullptr;
  const Slot* slot = registry->SlotOf(handle);
  return slot == nullptr ? nullptr : slot->RegionOf(handle);
}

unsigned RegionRegistry::Count(const Domain& domain) {
  RegionRegistry* registry = domain.regions.load(std::memory_order_acquire);
  if (registry == nullptr) return 0;
  SpinGuard guard(registry->lock_);
  return registry->count_;
}

// Made when the first region comes.
RegionRegistry* RegionRegistry::Of(Domain& domain) {
  SpinGuard guard(domain.lock);
  RegionRegistry* registry = domain.regions.load(std::memory_order_relaxed);
  if (registry == nullptr) {
    registry = domain.overhead.New<RegionRegistry>();
    domain.regions.store(registry, std::memory_order_release);
  }
  return registry;
}

RegionRegistry::Slot* RegionRegistry::FreeSlot(Domain& domain, std::uint32_t* index) {
  for (unsigned page = 0; page < kPages; ++page) {
    Slot* slots = pages_[page].load(std::memory_order_relaxed);
    if (slots == nullptr) {
      slots = domain.overhead.New<Slot>(kSlotsPerPage);
      if (slots == nullptr) return nullptr;
      pages_[page].store(slots, std::memory_order_release);
    }
    for (unsigned i = 0; i < kSlotsPerPage; ++i) {
      if (slots[i].region.load(std::memory_order_relaxed) != nullptr) continue;
      *index = page * kSlotsPerPage + i;
      return &slots[i];
    }
  }
  return nullptr;
}

// The slot that an id names, whatever is in it.
RegionRegistry::Slot* RegionRegistry::SlotOf(RegionHandle handle) const {
  if (!handle.is_registered() || handle.id() > ~std::uint32_t{0}) return nullptr;
  const std::uint64_t index = handle.id() & (kMaxRegions - 1);
  Slot* slots = pages_[index / kSlotsPerPage].load(std::memory_order_acquire);
  return slots == nullptr ? nullptr : &slots[index % kSlotsPerPage];
}

// Drop empties the slot before it moves the generation on, so a generation that still fits, loaded
// after the region, vouches for the region: it is not the next one's.
RegionEntry* RegionRegistry::Slot::RegionOf(RegionHandle handle) const {
  RegionEntry* found = region.load(std::memory_order_acquire);
  return generation.load(std::memory_order_acquire) == handle.id() >> kIndexBits ? found : nullptr;
}

void RegionRegistry::Drop(Core& core, Domain& domain, Slot& slot) {
  RegionEntry* region = slot.region.load(std::memory_order_relaxed);
  slot.region.store(nullptr, std::memory_order_release);
  const std::uint32_t next =
      (slot.generation.load(std::memory_order_relaxed) + 1) & kGenerationMask;
  slot.generation.store(next == 0 ? 1 : next, std::memory_order_release);
  --count_;
  core.region_count.fetch_sub(1, std::memory_order_relaxed);
  {
    SpinGuard guard(domain.lock);
    LetGo(core, domain, *region, 0, region->layout.base_count());
  }
  // Both wait for the calls that are using the region now.
  domain.overhead.Delete(region->bases, region->layout.base_count());
  domain.overhead.Free(core.frames.MfnOfPointer(region), 0);
}

}  // namespace xencomm::hypervisor
