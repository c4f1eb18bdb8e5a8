#include "hcall/hypervisor/domain/grant_table.h"

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

// A grant in either version's form (public/grant_table.h): flags and domain are first in both.
struct Grant {
  std::uint16_t flags = 0;
  std::uint16_t state = 0;  // in version 2, where it stands apart: not what kind of grant it is
  std::uint16_t domain = 0;
  std::uint64_t frame = 0;
};

constexpr unsigned kReservedGrants = 8;  // that toolstacks keep (GNTTAB_NR_RESERVED_ENTRIES)
constexpr std::uint16_t kInUse = GTF_reading | GTF_writing;

// Where entry `index` lies in a list of frames, or null: there are not so many.
template <class Entry>
const std::byte* EntryIn(const Core& core, const std::uint64_t* frames, std::uint32_t count,
                         std::uint32_t index) {
  constexpr std::uint32_t kOfFrame = kPageSize / sizeof(Entry);
  if (index / kOfFrame >= count) return nullptr;
  return core.frames.Bytes(frames[index / kOfFrame]) + index % kOfFrame * sizeof(Entry);
}

// Grant `index`, each field read once: the page is the domain's to write, too. Frames may be
// missing, where there was no room for them: then it is invalid.
Grant LoadGrant(const Core& core, const Domain& domain, const GrantTable& table,
                std::uint32_t index) {
  const auto word = [&](const std::byte* at) {
    return LoadSharedField<std::uint16_t>(at, domain.order);
  };
  if (table.version == 1) {
    const std::byte* at = EntryIn<grant_entry_v1_t>(core, table.frames, table.nr_frames, index);
    if (at == nullptr) return {};
    return {word(at), 0, word(at + 2), LoadSharedField<std::uint32_t>(at + 4, domain.order)};
  }
  const std::byte* at = EntryIn<grant_entry_v2_t>(core, table.frames, table.nr_frames, index);
  const std::byte* status =
      EntryIn<grant_status_t>(core, table.status_frames, table.nr_status_frames, index);
  if (at == nullptr || status == nullptr) return {};
  return {word(at), word(status), word(at + 2),
          LoadSharedField<std::uint64_t>(at + 8, domain.order)};
}

void StoreGrant(const Core& core, const Domain& domain, const GrantTable& table, unsigned index,
                const Grant& grant) {
  std::byte* page = core.frames.Bytes(table.frames[0]);
  std::byte* at =
      page + index * (table.version == 1 ? sizeof(grant_entry_v1_t) : sizeof(grant_entry_v2_t));
  auto flags = static_cast<std::uint16_t>(grant.flags | grant.state);
  if (table.version == 1) {
    StoreSharedField(at + 4, static_cast<std::uint32_t>(grant.frame), domain.order);
  } else {
    std::byte* status = core.frames.Bytes(table.status_frames[0]);
    StoreSharedField(status + index * sizeof(grant_status_t),
                     static_cast<std::uint16_t>(flags & kInUse), domain.order);
    StoreSharedField(at + 8, grant.frame, domain.order);
    flags = static_cast<std::uint16_t>(flags & ~kInUse);
  }
  StoreSharedField(at + 2, grant.domain, domain.order);
  StoreSharedField(at, flags, domain.order);
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

std::int64_t ChangeGrantVersion(Core& core, Domain& domain, GrantTable& table,
                                std::uint32_t version) {
  Grant kept[kReservedGrants];
  for (unsigned i = 0; i < kReservedGrants; ++i) {
    kept[i] = LoadGrant(core, domain, table, i);
    if (version == 2) continue;
    const int type = kept[i].flags & GTF_type_mask;
    if (type == GTF_transitive) return -kERANGE;
    if (type != GTF_permit_access) kept[i] = {};
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
  for (unsigned i = 0; i < kReservedGrants && table.nr_frames != 0; ++i) {
    StoreGrant(core, domain, table, i, kept[i]);
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

std::int64_t GrantedFrame(const Core& core, const Domain& domain, std::uint32_t ref,
                          std::uint16_t grantee, Access access, std::uint64_t* frame) {
  if (domain.grants == nullptr) return -kEINVAL;
  const Grant grant = LoadGrant(core, domain, *domain.grants, ref);
  const bool is_part = domain.grants->version == 2 && (grant.flags & GTF_sub_page) != 0;
  if ((grant.flags & GTF_type_mask) != GTF_permit_access || grant.domain != grantee || is_part ||
      (access == Access::kWrite && (grant.flags & GTF_readonly) != 0)) {
    return -kEINVAL;
  }
  *frame = grant.frame;
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
