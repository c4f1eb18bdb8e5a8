// GrantMaps: the grants that a domain has mapped, by their handles.
//
// A handle names a mapping until that is undone. It lasts however the granter fares: what is mapped
// is pinned (grant_pins.h), and stays.
//
// Rules:
// 1. A mapping is there whole, or not at all: a handle is taken first, and means nothing until the
//    page is pinned and in its place.
// 2. Where a domain's frames are reached by whoever asks (Domain::reaches_frames), as where a
//    hypervisor and a back-end share an address space, a page need not be put anywhere: then it is
//    just held, and its address told.
// 3. Handles of a domain come in frames of 256, as many as it may have, and one of them always
//    stays free: the one that is given back goes behind it.
#ifndef HCALL_HYPERVISOR_DOMAIN_GRANT_MAPS_H_
#define HCALL_HYPERVISOR_DOMAIN_GRANT_MAPS_H_

#include <cstdint>
#include <type_traits>

#include "hcall/hypervisor/base/machine.h"

namespace xencomm::hypervisor {

class Core;
class Domain;
class Work;

struct GrantMapping {
  static constexpr std::uint16_t kReached = 0x100;  // beside GNTMAP_*: by rule 2

  std::uint16_t flags = 0;  // what there still is of it; 0: free
  std::uint16_t granter = 0;
  std::uint32_t ref = 0;
  std::uint32_t frame = 0;  // its index
  std::uint32_t next = 0;   // behind it, when it is free
};
static_assert(std::has_unique_object_representations_v<GrantMapping>);

struct GrantMaps {
  static constexpr unsigned kMaxFrames = 1024;
  static constexpr std::uint32_t kOfFrame = kPageSize / sizeof(GrantMapping);
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  std::uint32_t* frames = nullptr;  // kMaxFrames of them, by their index; null: there is none yet
  std::uint32_t count = 0;          // of handles, used or not
  std::uint32_t first_free = kNone;
  std::uint32_t last_free = kNone;

  static void Destroy(Core& core, Domain& domain);
};
static_assert(GrantMaps::kMaxFrames * sizeof(std::uint32_t) == kPageSize);

// One of `count`.
GrantMapping& GrantMappingOf(const Core& core, const GrantMaps& maps, std::uint32_t handle);

struct GrantMapRequest {
  std::uint32_t flags = 0;  // GNTMAP_*
  std::uint16_t granter = 0;
  std::uint32_t ref = 0;
  std::uint64_t host_address = 0;  // of rule 2: out
  std::uint32_t handle = 0;        // out, as the next
  std::uint64_t bus_address = 0;
};
// Maps a page for `domain`: GNTST_*, or a code of grant_pins.h.
std::int16_t MapGrant(Core& core, Domain& domain, GrantMapRequest& request);

struct GrantUnmapRequest {
  std::uint32_t handle = 0;
  std::uint64_t host_address = 0;  // 0: stays, but by rule 2
  std::uint64_t bus_address = 0;   // 0: stays
  std::uint64_t new_address = 0;   // whose page comes in its place; 0: nothing does
};
std::int16_t UnmapGrant(Core& core, Domain& domain, const GrantUnmapRequest& request);

// Ends all mappings of a dying domain, whose physmap has none of them any more, so far as there is
// work left; true when none is left. With the control lock held.
bool EndGrantMaps(Core& core, Domain& domain, Work& work);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_GRANT_MAPS_H_
