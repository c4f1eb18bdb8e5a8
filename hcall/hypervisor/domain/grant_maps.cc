#include "hcall/hypervisor/domain/grant_maps.h"

#include <new>
#include <utility>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/hypervisor/domain/grant_pins.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::hypervisor {
namespace {

// What of a mapping keeps the page.
constexpr std::uint16_t kMapped = GNTMAP_host_map | GNTMAP_device_map | GrantMapping::kReached;

std::uint32_t PinsOf(std::uint32_t flags) {
  const bool is_read_only = (flags & GNTMAP_readonly) != 0;
  std::uint32_t pins = 0;
  if ((flags & (GNTMAP_host_map | GrantMapping::kReached)) != 0) {
    pins |= is_read_only ? kPinRead : kPinWrite;
  }
  if ((flags & GNTMAP_device_map) != 0) pins |= is_read_only ? kPinDeviceRead : kPinDeviceWrite;
  return pins;
}

Access AccessOf(std::uint32_t flags) {
  return (flags & GNTMAP_readonly) != 0 ? Access::kRead : Access::kWrite;
}

// All with the domain's lock held.

// A frame more of handles, the first of which comes first. False: there is no room.
bool Grow(Core& core, Domain& domain) {
  GrantMaps& maps = domain.grant_maps;
  if (maps.frames == nullptr) {
    maps.frames = domain.overhead.New<std::uint32_t>(GrantMaps::kMaxFrames);
    if (maps.frames == nullptr) return false;
  }
  GrantMapping* const made = domain.overhead.New<GrantMapping>(GrantMaps::kOfFrame);
  if (made == nullptr) return false;
  const std::uint32_t first = maps.count;
  for (std::uint32_t i = 0; i < GrantMaps::kOfFrame; ++i) made[i].next = first + i + 1;
  made[GrantMaps::kOfFrame - 1].next = maps.first_free;
  if (maps.last_free == GrantMaps::kNone) maps.last_free = first + GrantMaps::kOfFrame - 1;
  maps.frames[first / GrantMaps::kOfFrame] = core.frames.IndexOf(core.frames.MfnOfPointer(made));
  maps.first_free = first;
  maps.count += GrantMaps::kOfFrame;
  return true;
}

std::int16_t TakeHandle(Core& core, Domain& domain, std::uint32_t* handle) {
  GrantMaps& maps = domain.grant_maps;
  if (domain.dying()) return GNTST_no_space;
  if (maps.first_free == maps.last_free) {
    const std::uint32_t frames = maps.count / GrantMaps::kOfFrame;
    if (frames == GrantMaps::kMaxFrames || frames >= domain.max_maptrack_frames) {
      return GNTST_no_space;
    }
    if (!Grow(core, domain)) return kGrantNoHandle;
  }
  *handle = maps.first_free;
  maps.first_free = GrantMappingOf(core, maps, *handle).next;
  return GNTST_okay;
}

void GiveBackHandle(Core& core, GrantMaps& maps, std::uint32_t handle) {
  GrantMappingOf(core, maps, handle) = {.next = GrantMaps::kNone};
  GrantMappingOf(core, maps, maps.last_free).next = handle;
  maps.last_free = handle;
}

// Puts what is pinned where it was asked for.
std::int16_t PlaceMapping(Core& core, Domain& domain, const GrantMapRequest& request,
                          std::uint64_t mfn) {
  if (domain.dying()) return GNTST_general_error;
  if ((request.flags & GNTMAP_host_map) == 0) return GNTST_okay;
  // A PV domain has entries of its page tables written by Xen. Nobody here runs on them.
  if (!domain.translated() ||
      (request.flags & ~std::uint32_t{GNTMAP_readonly}) != GNTMAP_host_map) {
    return GNTST_general_error;
  }
  const std::int64_t error =
      Physmap(core, domain)
          .PlaceGrant(request.host_address >> kPageShift, mfn, AccessOf(request.flags));
  if (error == -kENOMEM) return kGrantNoMemory;
  return error == 0 ? GNTST_okay : GNTST_general_error;
}

// Takes apart what a request says, and answers that as flags.
std::int16_t EndMapping(Core& core, Domain& domain, const GrantUnmapRequest& request,
                        GrantMapping& mapping, std::uint16_t* ended) {
  const std::uint64_t mfn = core.frames.MfnOf(mapping.frame);
  std::uint16_t ends = 0;
  if (request.bus_address != 0 && (mapping.flags & GNTMAP_device_map) != 0) {
    if (request.bus_address != mfn << kPageShift) return GNTST_bad_dev_addr;
    ends |= GNTMAP_device_map;
  }
  if (request.host_address != 0 && (mapping.flags & GNTMAP_host_map) != 0) {
    const std::uint64_t gfn = request.host_address >> kPageShift;
    if (request.new_address != 0 ||
        Physmap(core, domain).UnplaceGrant(gfn, mfn, AccessOf(mapping.flags)) != 0) {
      return GNTST_general_error;
    }
    ends |= GNTMAP_host_map;
  }
  if ((mapping.flags & GrantMapping::kReached) != 0) {
    if (request.new_address != 0) return GNTST_general_error;
    const auto address = reinterpret_cast<std::uintptr_t>(core.frames.Bytes(mfn));
    if (request.host_address != 0 && request.host_address != address) return GNTST_bad_virt_addr;
    ends |= GrantMapping::kReached;
  }
  mapping.flags = static_cast<std::uint16_t>(mapping.flags & ~ends);
  *ended = static_cast<std::uint16_t>(ends | (mapping.flags & GNTMAP_readonly));
  return GNTST_okay;
}

}  // namespace

GrantMapping& GrantMappingOf(const Core& core, const GrantMaps& maps, std::uint32_t handle) {
  std::byte* const frame =
      core.frames.Bytes(core.frames.MfnOf(maps.frames[handle / GrantMaps::kOfFrame]));
  return *(std::launder(reinterpret_cast<GrantMapping*>(frame)) + handle % GrantMaps::kOfFrame);
}

void GrantMaps::Destroy(Core& core, Domain& domain) {
  const GrantMaps& maps = domain.grant_maps;
  for (std::uint32_t handle = 0; handle < maps.count; handle += kOfFrame) {
    domain.overhead.Delete(&GrantMappingOf(core, maps, handle), kOfFrame);
  }
  domain.overhead.Delete(maps.frames, kMaxFrames);
}

std::int16_t MapGrant(Core& core, Domain& domain, GrantMapRequest& request) {
  // What is kept of what was asked for.
  std::uint32_t flags = request.flags & (GNTMAP_host_map | GNTMAP_device_map | GNTMAP_readonly);
  if ((flags & ~std::uint32_t{GNTMAP_readonly}) == 0) {
    // What these flags say is of a host mapping.
    constexpr std::uint32_t kOfHostMapping = GNTMAP_application_map | GNTMAP_contains_pte;
    if (!domain.reaches_frames || (request.flags & kOfHostMapping) != 0) return GNTST_bad_gntref;
    flags |= GrantMapping::kReached;
  } else if (domain.translated() && (request.flags & (GNTMAP_device_map | GNTMAP_application_map |
                                                      GNTMAP_contains_pte)) != 0) {
    return GNTST_general_error;
  }
  Domain* const granter = core.domains.Find(request.granter);
  if (granter == nullptr) return GNTST_bad_domain;

  std::uint32_t handle;
  {
    SpinGuard guard(domain.lock);
    const std::int16_t status = TakeHandle(core, domain, &handle);
    if (status != GNTST_okay) return status;
  }
  const std::uint32_t pins = PinsOf(flags);
  std::uint64_t mfn = kNoFrame;
  std::int16_t status = PinForMapping(core, *granter, request.ref, domain.id, pins, &mfn);
  const bool is_pinned = status == GNTST_okay;
  if (is_pinned) {
    SpinGuard guard(domain.lock);
    status = PlaceMapping(core, domain, request, mfn);
    if (status == GNTST_okay) {
      GrantMappingOf(core, domain.grant_maps, handle) = {.flags = static_cast<std::uint16_t>(flags),
                                                         .granter = granter->id,
                                                         .ref = request.ref,
                                                         .frame = core.frames.IndexOf(mfn)};
    }
  }
  if (status != GNTST_okay) {
    if (is_pinned) {
      UnpinMapping(core, *granter, request.ref, pins);
      ForgetIfDead(core, *granter);
    }
    SpinGuard guard(domain.lock);
    GiveBackHandle(core, domain.grant_maps, handle);
    return status;
  }
  request.handle = handle;
  request.bus_address = mfn << kPageShift;
  if ((flags & GrantMapping::kReached) != 0) {
    request.host_address = reinterpret_cast<std::uintptr_t>(core.frames.Bytes(mfn));
  }
  return GNTST_okay;
}

std::int16_t UnmapGrant(Core& core, Domain& domain, const GrantUnmapRequest& request) {
  std::uint16_t ended = 0;
  GrantMapping before;
  {
    SpinGuard guard(domain.lock);
    GrantMaps& maps = domain.grant_maps;
    if (request.handle >= maps.count) return GNTST_bad_handle;
    GrantMapping& mapping = GrantMappingOf(core, maps, request.handle);
    if (mapping.flags == 0) return GNTST_bad_handle;
    before = mapping;
    const std::int16_t status = EndMapping(core, domain, request, mapping, &ended);
    if (status != GNTST_okay) return status;
    if ((mapping.flags & kMapped) == 0) GiveBackHandle(core, maps, request.handle);
  }
  if ((ended & kMapped) == 0) return GNTST_okay;
  // It is there for as long as a page of it is pinned.
  Domain& granter = *core.domains.Find(before.granter);
  UnpinMapping(core, granter, before.ref, PinsOf(ended));
  ForgetIfDead(core, granter);
  return GNTST_okay;
}

bool EndGrantMaps(Core& core, Domain& domain, Work& work) {
  std::uint32_t& next = domain.ending.next_handle;
  for (;;) {
    GrantMapping mapping;
    {
      SpinGuard guard(domain.lock);
      const GrantMaps& maps = domain.grant_maps;
      if (next >= maps.count) return true;
      if (work.is_used_up()) return false;
      mapping = std::exchange(GrantMappingOf(core, maps, next++), {.next = GrantMaps::kNone});
    }
    work.Done();
    if (mapping.flags == 0) continue;
    Domain& granter = *core.domains.Find(mapping.granter);
    UnpinMapping(core, granter, mapping.ref, PinsOf(mapping.flags));
    if (&granter != &domain) ForgetDomain(core, granter);
  }
}

}  // namespace xencomm::hypervisor
