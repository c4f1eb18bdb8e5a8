// GrantTable: a domain's grant table, and which of its grants are in use.
//
// Its frames are the hypervisor's pages, shared with the domain: it finds their frame numbers by
// setup_table or maps them by add_to_physmap. Made with one frame when it is first looked at.
#ifndef HCALL_HYPERVISOR_DOMAIN_GRANT_TABLE_H_
#define HCALL_HYPERVISOR_DOMAIN_GRANT_TABLE_H_

#include <cstdint>

#include "hcall/hypervisor/domain/grant_entry.h"
#include "hcall/hypervisor/domain/grant_pins.h"

namespace xencomm::hypervisor {

class Core;
class Domain;

// That toolstacks keep, whatever version the table has (GNTTAB_NR_RESERVED_ENTRIES).
inline constexpr std::uint32_t kReservedGrants = 8;

struct GrantTable {
  static constexpr unsigned kMaxFrames = 64;
  static constexpr unsigned kMaxEntries = kMaxFrames * kPageSize / sizeof(grant_entry_v1_t);
  static constexpr unsigned kActivePerPage = kPageSize / sizeof(ActiveGrant);
  // In version 2 each grant of 16 bytes has a status of 2 bytes in frames of their own.
  static constexpr unsigned kMaxStatusFrames = kMaxFrames / 8;

  std::uint32_t nr_frames = 0;
  std::uint32_t nr_status_frames = 0;
  std::uint32_t version = 1;
  std::uint64_t frames[kMaxFrames] = {};  // mfns
  std::uint64_t status_frames[kMaxStatusFrames] = {};

  // By entry; pages appear when the first of theirs is to come into use, and stay.
  ActiveGrant* active[kMaxEntries / kActivePerPage] = {};
  std::uint32_t in_use = 0;  // entries, but for the reserved ones
  // Copies under way of what only version 2 can say.
  std::uint32_t part_uses = 0;

  static void Destroy(Domain& domain);
};

// The frame that `index` of XENMAPSPACE_grant_table names (public/memory.h), after growing the
// table so far. -EINVAL, -ENOMEM.
std::int64_t GrantFrameForMap(Domain& domain, std::uint64_t index, std::uint64_t* mfn);

// Frames of grants whose status one status frame holds.
inline constexpr std::uint32_t kFramesOfStatus = 8;
constexpr std::uint32_t StatusFrames(std::uint32_t frames) {
  return (frames + kFramesOfStatus - 1) / kFramesOfStatus;
}

// All below with the domain's lock held.

// Frame `index` of a part of the table (XENMEM_resource_grant_table_id_*), after growing it so far.
// -EINVAL, -ENOMEM.
std::int64_t GrantFrame(Domain& domain, std::uint32_t part, std::uint64_t index,
                        std::uint64_t* mfn);

constexpr std::uint32_t EntriesOf(const GrantTable& table) {
  const std::size_t size = table.version == 1 ? sizeof(grant_entry_v1_t) : sizeof(grant_entry_v2_t);
  return static_cast<std::uint32_t>(table.nr_frames * kPageSize / size);
}
// One of as many.
GrantEntry EntryOf(const Core& core, const Domain& domain, const GrantTable& table,
                   std::uint32_t ref);
// And what is known of it; and the place for that, or null: there is no room.
ActiveGrant ActiveGrantOf(const GrantTable& table, std::uint32_t ref);
ActiveGrant* PlaceOfActiveGrant(Domain& domain, GrantTable& table, std::uint32_t ref);

// The domain's table, made when it is first needed; null when there is no room.
GrantTable* GrantTableOf(Domain& domain);
// The whole table, or nothing of it, as in Xen.
bool GrowGrantTable(Domain& domain, GrantTable& table, std::uint32_t frames);
// Turns the table to the other version, or leaves it as it is. Its grants begin anew, but for the
// reserved ones. -EBUSY for others that are in use, and for status frames that are; -EAGAIN while
// something is copied that version 1 cannot say, -ERANGE for a reserved grant that it cannot;
// -ENOMEM.
std::int64_t ChangeGrantVersion(Core& core, Domain& domain, GrantTable& table,
                                std::uint32_t version);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_GRANT_TABLE_H_
