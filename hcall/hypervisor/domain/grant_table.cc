#include "hcall/hypervisor/domain/grant_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {
namespace {

static_assert(kFramesOfStatus == sizeof(grant_entry_v2_t) / sizeof(grant_status_t));
static_assert(GrantTable::kMaxStatusFrames * kFramesOfStatus == GrantTable::kMaxFrames);

void ShrinkList(Domain& domain, std::uint64_t* list, std::uint32_t& count, std::uint32_t wanted) {
  while (count != wanted) domain.overhead.Free(std::exchange(list[--count], 0), 0);
}

// A list of frames, as long as it is to be or as it was. With the domain's lock held.
bool GrowList(Domain& domain, std::uint64_t* list, std::uint32_t& count, std::uint32_t wanted) {
  const std::uint32_t before = count;
  while (count < wanted) {
    const std::uint64_t mfn = domain.overhead.AllocateShared();
    if (mfn == kNoFrame) {
      // Nobody has been told of those that were added.
      ShrinkList(domain, list, count, before);
      return false;
    }
    list[count++] = mfn;
  }
  return true;
}

// Where entry `index` lies in a list of frames.
template <class Entry>
std::byte* EntryIn(const Core& core, const std::uint64_t* frames, std::uint32_t index) {
  constexpr std::uint32_t kOfFrame = kPageSize / sizeof(Entry);
  return core.frames.Bytes(frames[index / kOfFrame]) + index % kOfFrame * sizeof(Entry);
}

// Gives the status frames back, from wherever the domain has them, or none of them. -EBUSY:
// somebody maps one, or a region or an area holds it. With the domain's lock held.
std::int64_t DropStatusFrames(Core& core, Domain& domain, GrantTable& table) {
  for (std::uint32_t i = 0; i < table.nr_status_frames; ++i) {
    const Frame& frame = core.frames.Of(table.status_frames[i]);
    if (frame.holds.load(std::memory_order_relaxed) != 0 || frame.pins != 0) return -kEBUSY;
  }
  Physmap physmap(core, domain);
  while (table.nr_status_frames != 0) {
    const std::uint64_t mfn = table.status_frames[--table.nr_status_frames];
    physmap.Unhook(mfn);
    domain.overhead.Free(mfn, 0);
  }
  return 0;
}

}  // namespace

void GrantTable::Destroy(Domain& domain) {
  GrantTable* table = domain.grants;
  if (table == nullptr) return;
  for (std::uint32_t i = 0; i < table->nr_frames; ++i) domain.overhead.Free(table->frames[i], 0);
  for (ActiveGrant* page : table->active) {
    domain.overhead.Delete(page, GrantTable::kActivePerPage);
  }
  for (std::uint32_t i = 0; i < table->nr_status_frames; ++i) {
    domain.overhead.Free(table->status_frames[i], 0);
  }
  domain.overhead.Delete(table);
}

GrantTable* GrantTableOf(Domain& domain) {
  GrantTable* table = domain.grants;
  if (table != nullptr || domain.dying()) return table;
  table = domain.overhead.New<GrantTable>();
  if (table == nullptr) return nullptr;
  domain.grants = table;
  GrowGrantTable(domain, *table, 1);
  return table;
}

bool GrowGrantTable(Domain& domain, GrantTable& table, std::uint32_t frames) {
  if (frames > domain.max_grant_frames || frames > GrantTable::kMaxFrames || domain.dying()) {
    return false;
  }
  const std::uint32_t before = table.nr_frames;
  if (!GrowList(domain, table.frames, table.nr_frames, frames)) return false;
  if (table.version == 1 || GrowList(domain, table.status_frames, table.nr_status_frames,
                                     StatusFrames(table.nr_frames))) {
    return true;
  }
  ShrinkList(domain, table.frames, table.nr_frames, before);
  return false;
}

GrantEntry EntryOf(const Core& core, const Domain& domain, const GrantTable& table,
                   std::uint32_t ref) {
  if (table.version == 1) {
    return {EntryIn<grant_entry_v1_t>(core, table.frames, ref), nullptr, domain.order};
  }
  return {EntryIn<grant_entry_v2_t>(core, table.frames, ref),
          EntryIn<grant_status_t>(core, table.status_frames, ref), domain.order};
}

ActiveGrant ActiveGrantOf(const GrantTable& table, std::uint32_t ref) {
  const ActiveGrant* page = table.active[ref / GrantTable::kActivePerPage];
  return page == nullptr ? ActiveGrant() : page[ref % GrantTable::kActivePerPage];
}

ActiveGrant* PlaceOfActiveGrant(Domain& domain, GrantTable& table, std::uint32_t ref) {
  ActiveGrant*& page = table.active[ref / GrantTable::kActivePerPage];
  if (page == nullptr) page = domain.overhead.New<ActiveGrant>(GrantTable::kActivePerPage);
  return page == nullptr ? nullptr : page + ref % GrantTable::kActivePerPage;
}

std::int64_t ChangeGrantVersion(Core& core, Domain& domain, GrantTable& table,
                                std::uint32_t version) {
  if (table.in_use != 0) return -kEBUSY;
  if (version == 1 && table.part_uses != 0) return -kEAGAIN;
  struct Kept {
    std::uint16_t flags = 0;  // and what it is in use for, as version 1 has it
    std::uint16_t grantee = 0;
    std::uint64_t frame = 0;
  };
  Kept kept[kReservedGrants];
  const std::uint32_t count = std::min(kReservedGrants, EntriesOf(table));
  for (std::uint32_t i = 0; i < count; ++i) {
    const GrantEntry entry = EntryOf(core, domain, table, i);
    const GrantEntry::Head head = entry.LoadHead();
    kept[i] = {.flags = static_cast<std::uint16_t>(head.flags() | entry.LoadStatus()),
               .grantee = head.grantee(),
               .frame = entry.LoadFrame()};
    if (version == 2) continue;
    if (head.type() == GTF_transitive) return -kERANGE;
    if (head.type() != GTF_permit_access) kept[i] = {};
    if (kept[i].frame >> 32 != 0) return -kERANGE;
  }
  if (version == 1) {
    const std::int64_t error = DropStatusFrames(core, domain, table);
    if (error != 0) return error;
  }
  table.version = version;
  if (!GrowGrantTable(domain, table, table.nr_frames)) {
    table.version = 1;
    return -kENOMEM;
  }
  for (std::uint32_t i = 0; i < table.nr_frames; ++i) {
    std::memset(core.frames.Bytes(table.frames[i]), 0, kPageSize);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const GrantEntry entry = EntryOf(core, domain, table, i);
    constexpr std::uint16_t kInUse = GTF_reading | GTF_writing;
    const std::uint16_t apart = version == 2 ? kInUse : 0;
    entry.Store(static_cast<std::uint16_t>(kept[i].flags & ~apart), kept[i].grantee, kept[i].frame);
    entry.SetInUse(kept[i].flags & apart);
  }
  return 0;
}

std::int64_t GrantFrame(Domain& domain, std::uint32_t part, std::uint64_t index,
                        std::uint64_t* mfn) {
  GrantTable* table = GrantTableOf(domain);
  if (table == nullptr) return -kENOMEM;
  const bool is_status = part == XENMEM_resource_grant_table_id_status;
  if (is_status ? table->version != 2 : part != XENMEM_resource_grant_table_id_shared) {
    return -kEINVAL;
  }
  if (index >= (is_status ? GrantTable::kMaxStatusFrames : GrantTable::kMaxFrames)) return -kEINVAL;
  const std::uint32_t& count = is_status ? table->nr_status_frames : table->nr_frames;
  if (index >= count) {
    // As many frames of grants as a status frame is for: it comes with them.
    const auto wanted = static_cast<std::uint32_t>(index) + 1;
    GrowGrantTable(domain, *table, is_status ? wanted * kFramesOfStatus : wanted);
    if (index >= count) return -kEINVAL;
  }
  *mfn = (is_status ? table->status_frames : table->frames)[index];
  return 0;
}

std::int64_t GrantFrameForMap(Domain& domain, std::uint64_t index, std::uint64_t* mfn) {
  SpinGuard guard(domain.lock);
  const GrantTable* table = GrantTableOf(domain);
  if (table == nullptr) return -kENOMEM;
  std::uint32_t part = XENMEM_resource_grant_table_id_shared;
  if (table->version == 2 && (index & XENMAPIDX_grant_table_status) != 0) {
    part = XENMEM_resource_grant_table_id_status;
    index &= ~std::uint64_t{XENMAPIDX_grant_table_status};
  }
  return GrantFrame(domain, part, index, mfn);
}

}  // namespace xencomm::hypervisor
