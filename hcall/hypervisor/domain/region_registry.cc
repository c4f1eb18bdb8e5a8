#include "hcall/hypervisor/domain/region_registry.h"

#include <new>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/memory/domain_memory.h"
#include "hcall/hypervisor/memory/physmap.h"

namespace xencomm::hypervisor {
namespace {

using Table = TableReader<DomainReader>;

// The first granule that pointers can lead to: the page form's only one holds its table too.
std::uint64_t FirstPayloadGranule(const RegionLayout& layout) {
  return layout.base_count() == 1 ? 0 : layout.table_granules();
}

std::uint64_t PagesPerGranule(const RegionLayout& layout) {
  return layout.granule_size() >> kPageShift;
}

HeldPage* PagesOf(const RegionEntry& region, std::uint64_t granule) {
  return region.held_pages + granule * PagesPerGranule(region.layout);
}

// Not to be used by anybody yet.
std::int64_t PinPage(Core& core, Domain& domain, std::uint64_t gfn, Access access, HeldPage* page) {
  const P2mEntry entry = domain.p2m.Load(gfn);
  const bool fit = access == Access::kWrite ? entry.writable() : entry.readable();
  if (!fit) return -kEFAULT;
  if (!Physmap(core, domain).Pin(entry.mfn())) return -kEBUSY;
  page->Store({core.frames.Bytes(entry.mfn()), HeldPage::kNoUse});
  return 0;
}

void UnpinPage(Core& core, Domain& domain, HeldPage* page) {
  const std::uint64_t mfn = core.frames.MfnOfPointer(page->page());
  page->Store({});
  Physmap(core, domain).Unpin(mfn);
}

// Goes on with the granule in progress, if there is one: pins what is left of it and takes it up;
// or, when something is wrong with one of its pages, lets it go. `*stopped`: there is no work left
// for it. Otherwise 0, or what was wrong.
std::int64_t Advance(Core& core, Domain& domain, RegionEntry& region, Work& work, bool* stopped) {
  RegionEntry::Partial& partial = region.partial;
  if (!partial.exists) return 0;
  const std::uint64_t pages = PagesPerGranule(region.layout);
  const std::uint64_t first = partial.base.value >> kPageShift;
  HeldPage* const held = PagesOf(region, partial.granule);
  SpinGuard guard(domain.lock);
  while (partial.error == 0 && partial.pinned != pages) {
    if (work.is_used_up()) return *stopped = true, 0;
    partial.error =
        PinPage(core, domain, first + partial.pinned, region.access, &held[partial.pinned]);
    if (partial.error == 0) ++partial.pinned;
    work.Done();
  }
  // A granule whose first page may be used is taken up. One page goes with the last pin.
  while (partial.error == 0 && partial.usable != pages) {
    if (partial.usable != 0 && work.is_used_up()) return *stopped = true, 0;
    HeldPage& page = held[pages - 1 - partial.usable];
    page.Store({page.page(), region.access, partial.use});
    if (partial.usable++ != 0) work.Done();
  }
  while (partial.error != 0 && partial.pinned != 0) {
    if (work.is_used_up()) return *stopped = true, 0;
    UnpinPage(core, domain, &held[--partial.pinned]);
    work.Done();
  }
  const std::int64_t error = partial.error;
  if (error == 0) region.pages += pages;
  partial = {};
  return error;
}

// Takes up granules from `*next` to `end`, and counts `*next` on. A granule that is not backed is
// left; the first that is wrong ends it.
std::int64_t TakeUp(Core& core, Domain& domain, RegionEntry& region, const Table& table,
                    std::uint64_t* next, std::uint64_t end, GranuleUse use, Work& work,
                    bool* stopped) {
  Table::Cursor cursor;
  while (*next < end) {
    // One that another call left unfinished is finished first; what is wrong with it is not said
    // here, but to that call, which finds it not taken up.
    const bool is_mine = region.partial.exists && region.partial.granule == *next;
    const std::int64_t advanced = Advance(core, domain, region, work, stopped);
    if (*stopped) return 0;
    if (is_mine && advanced != 0) return advanced;
    if (!is_mine) {
      if (work.is_used_up()) return *stopped = true, 0;
      work.Done();
    }
    if (const HeldPage held = *PagesOf(region, *next); held.is_usable()) {
      if (held.use() != use) return -kEEXIST;
      ++*next;
      continue;
    }
    const Result<PhysicalAddress> base = table.Base(*next, cursor);
    if (!base.ok()) {
      if (base.fault().fault != Fault::kNotBacked) return -kEFAULT;
      ++*next;
      continue;
    }
    // So that the work that a table makes is bounded: one page could be the base of every granule.
    const std::uint64_t pages = PagesPerGranule(region.layout);
    if (region.pages + pages > domain.tot_pages.load(std::memory_order_relaxed)) return -kEBUSY;
    region.partial = {.granule = *next, .base = *base, .use = use, .exists = true};
    if (pages != 1 || work.is_used_up()) continue;
    // A granule of one page needs no further turn.
    if (const std::int64_t error = Advance(core, domain, region, work, stopped); error != 0) {
      return error;
    }
    ++*next;
  }
  return 0;
}

}  // namespace

RegionRegistry::Progress RegionRegistry::Register(Core& core, Domain& domain,
                                                  PhysicalAddress header, std::uint64_t access,
                                                  std::uint64_t* resumed, Work& work) {
  RegionRegistry* registry = Of(domain);
  if (registry == nullptr) return {.answer = -kENOMEM};
  SpinGuard guard(registry->lock_);
  Slot* slot = nullptr;
  if (*resumed == 0) {
    const std::int64_t error = registry->Begin(core, domain, header, access, &slot);
    if (error != 0) return {.answer = error};
    *resumed = RegionHandle::Registered(slot->region->id).value();
  } else {
    slot = registry->SlotOf(RegionHandle::FromRegister(*resumed));
    if (slot == nullptr || slot->live.load(std::memory_order_relaxed) != nullptr ||
        slot->region->header != header || (slot->region->ends && slot->region->error == 0)) {
      return {.answer = -kENOENT};
    }
  }
  RegionEntry& region = *slot->region;
  if (!region.ends) {
    DomainReader memory(domain.p2m);
    const Result<Table> table = OpenTable(memory, header, domain.order);
    bool stopped = false;
    if (!table.ok() || !(table->layout() == region.layout)) {
      region.error = -kEINVAL;
    } else {
      region.error = TakeUp(core, domain, region, *table, &region.next, region.layout.base_count(),
                            GranuleUse::kAnyPointer, work, &stopped);
    }
    if (stopped) return {.stopped = true};
    if (region.error == 0) {
      Publish(*slot);
      return {.answer = static_cast<std::int64_t>(*resumed)};
    }
    region.ends = true;
    region.next = 0;
  }
  return registry->End(core, domain, *slot, work);
}

RegionRegistry::Progress RegionRegistry::Extend(Core& core, Domain& domain, RegionHandle handle,
                                                std::uint64_t* first, std::uint64_t* count,
                                                std::uint64_t use, Work& work) {
  if (use > static_cast<std::uint64_t>(GranuleUse::kArgumentsOnly)) return {.answer = -kEINVAL};
  RegionRegistry* registry = IfAny(domain);
  if (registry == nullptr) return {.answer = -kENOENT};
  SpinGuard guard(registry->lock_);
  Slot* slot = registry->SlotOf(handle);
  if (slot == nullptr || slot->live.load(std::memory_order_relaxed) == nullptr) {
    return {.answer = -kENOENT};
  }
  RegionEntry& region = *slot->region;
  if (!Contains(0, region.layout.base_count(), *first, *count) ||
      *first < FirstPayloadGranule(region.layout)) {
    return {.answer = -kEINVAL};
  }
  DomainReader memory(domain.p2m);
  const Result<Table> table = OpenTable(memory, region.header, domain.order);
  if (!table.ok() || !(table->layout() == region.layout)) return {.answer = -kEINVAL};
  Progress progress;
  const std::uint64_t end = *first + *count;
  progress.answer = TakeUp(core, domain, region, *table, first, end, static_cast<GranuleUse>(use),
                           work, &progress.stopped);
  *count = end - *first;
  return progress;
}

RegionRegistry::Progress RegionRegistry::Unregister(Core& core, Domain& domain, RegionHandle handle,
                                                    Work& work) {
  RegionRegistry* registry = IfAny(domain);
  if (registry == nullptr) return {.answer = -kENOENT};
  SpinGuard guard(registry->lock_);
  Slot* slot = registry->SlotOf(handle);
  if (slot == nullptr) return {.answer = -kENOENT};
  if (slot->live.load(std::memory_order_relaxed) != nullptr) {
    Hide(*slot);
  } else if (!slot->region->ends || slot->region->error != 0) {
    return {.answer = -kENOENT};  // it was never registered
  }
  return registry->End(core, domain, *slot, work);
}

bool RegionRegistry::UnregisterSome(Core& core, Domain& domain, Work& work) {
  RegionRegistry* registry = IfAny(domain);
  if (registry == nullptr) return true;
  SpinGuard guard(registry->lock_);
  for (std::atomic<Slot*>& page : registry->pages_) {
    Slot* slots = page.load(std::memory_order_relaxed);
    for (unsigned i = 0; slots != nullptr && i < kSlotsPerPage; ++i) {
      if (slots[i].region == nullptr) continue;
      Hide(slots[i]);
      if (!registry->LetGo(core, domain, slots[i], work)) return false;
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

RegionEntry* RegionRegistry::Find(const Domain& domain, RegionHandle handle) {
  const RegionRegistry* registry = IfAny(domain);
  if (registry == nullptr) return nullptr;
  const std::uint64_t number = handle.id() & (kMaxRegions - 1);
  const Slot* slots = registry->pages_[number / kSlotsPerPage].load(std::memory_order_acquire);
  if (slots == nullptr) return nullptr;
  RegionEntry* region = slots[number % kSlotsPerPage].live.load(std::memory_order_acquire);
  return region != nullptr && region->id == handle.id() ? region : nullptr;
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

std::int64_t RegionRegistry::FreeSlot(Domain& domain, Slot** slot, std::uint32_t* number) {
  for (unsigned page = first_free_ / kSlotsPerPage; page < kPages; ++page) {
    Slot* slots = pages_[page].load(std::memory_order_relaxed);
    if (slots == nullptr) {
      slots = domain.overhead.New<Slot>(kSlotsPerPage);
      if (slots == nullptr) return -kENOMEM;
      pages_[page].store(slots, std::memory_order_release);
    }
    for (unsigned i = 0; i < kSlotsPerPage; ++i) {
      if (slots[i].region != nullptr) continue;
      *number = page * kSlotsPerPage + i;
      *slot = &slots[i];
      first_free_ = *number;
      return 0;
    }
  }
  return -kENOSPC;
}

// The slot of the region with this very id, also of one that begins or ends; or null.
RegionRegistry::Slot* RegionRegistry::SlotOf(RegionHandle handle) const {
  if (!handle.is_registered()) return nullptr;
  const std::uint64_t number = handle.id() & (kMaxRegions - 1);
  Slot* slots = pages_[number / kSlotsPerPage].load(std::memory_order_relaxed);
  if (slots == nullptr) return nullptr;
  Slot& slot = slots[number % kSlotsPerPage];
  return slot.region != nullptr && slot.region->id == handle.id() ? &slot : nullptr;
}

// A region with nothing taken up yet.
std::int64_t RegionRegistry::Begin(Core& core, Domain& domain, PhysicalAddress header,
                                   std::uint64_t access, Slot** slot) {
  if (access > 1) return -kEINVAL;
  DomainReader memory(domain.p2m);
  const Result<Table> table = OpenTable(memory, header, domain.order);
  if (!table.ok()) return -kEINVAL;
  const RegionLayout& layout = table->layout();
  const std::uint64_t pages = RegisteredRegion::PagesOf(layout);
  if (pages > kMaxPages) return -kE2BIG;

  const std::uint64_t home = domain.overhead.Allocate(0);
  if (home == kNoFrame) return -kENOMEM;
  auto* held_pages = domain.overhead.New<HeldPage>(pages);
  std::int64_t error = held_pages == nullptr ? -kENOMEM : 0;
  if (error == 0) {
    SpinGuard guard(domain.lock);
    std::uint32_t number = 0;
    error = domain.dying() ? -kEINVAL : FreeSlot(domain, slot, &number);
    const std::uint64_t id = IdOf(core.region_generation.fetch_add(1) + 1, number);
    if (error == 0 && id == 0) error = -kENOSPC;
    if (error == 0) {
      (*slot)->region = new (core.frames.Bytes(home))
          RegionEntry(layout, header, access == 1 ? Access::kWrite : Access::kRead, id, held_pages);
      (*slot)->region->next = FirstPayloadGranule(layout);
    }
  }
  if (error != 0) {
    domain.overhead.Delete(held_pages, pages);
    domain.overhead.Free(home, 0);
  }
  return error;
}

void RegionRegistry::Publish(Slot& slot) {
  slot.live.store(slot.region, std::memory_order_release);
}

// From now on no call finds it; those that did may use it until they end.
void RegionRegistry::Hide(Slot& slot) {
  RegionEntry& region = *slot.region;
  slot.live.store(nullptr, std::memory_order_relaxed);
  if (region.ends) return;
  region.ends = true;
  region.next = 0;
}

bool RegionRegistry::LetGo(Core& core, Domain& domain, Slot& slot, Work& work) {
  RegionEntry& region = *slot.region;
  const std::uint64_t pages = PagesPerGranule(region.layout);
  for (;;) {
    if (region.partial.exists && region.partial.error == 0) region.partial.error = 1;
    bool stopped = false;
    static_cast<void>(Advance(core, domain, region, work, &stopped));
    if (stopped) return false;
    if (region.next == region.layout.base_count()) break;
    if (work.is_used_up()) return false;
    work.Done();
    const std::uint64_t granule = region.next++;
    if (PagesOf(region, granule)->is_none()) continue;
    region.partial = {.granule = granule, .base = {}, .pinned = pages, .exists = true};
  }
  slot.region = nullptr;
  const auto number = static_cast<std::uint32_t>(region.id & (kMaxRegions - 1));
  if (number < first_free_) first_free_ = number;
  // Both wait for the calls that are using the region now.
  domain.overhead.Delete(region.held_pages, RegisteredRegion::PagesOf(region.layout));
  domain.overhead.Free(core.frames.MfnOfPointer(&region), 0);
  return true;
}

RegionRegistry::Progress RegionRegistry::End(Core& core, Domain& domain, Slot& slot, Work& work) {
  const std::int64_t answer = slot.region->error;
  if (!LetGo(core, domain, slot, work)) return {.stopped = true};
  return {.answer = answer};
}

}  // namespace xencomm::hypervisor
