// Working calls that a guest can make, too: memory_op, event channels, grants, and the rest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_calls.h"
#include "tests/unit/hypervisor_guest_kernel.h"

// Fields of Xen's structures that are not named are zero.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace xencomm::hypervisor {
namespace {

// Where calls put pages: gfns that no domain has at first.
constexpr std::uint64_t kWindow = 512;
constexpr std::uint64_t kOtherHalf = kWindow + 16;
constexpr std::uint64_t kWindowEnd = kWindow + 32;
constexpr unsigned kExtents = 3;  // of a list

std::uint16_t CallerOf(const CallsMachine& on) { return on.caller == on.guest ? kGuest : 0; }

// The domain that an id names for the caller.
std::uint16_t IdOf(const CallsMachine& on, std::uint16_t target) {
  return target == DOMID_SELF ? CallerOf(on) : target;
}

// Whether there is such a domain, and it does not end.
bool IsAlive(CallsMachine& on, std::uint16_t id) {
  std::uint64_t mfn;
  return on.machine.HoldFrame(id, kNoFrame, Access::kRead, &mfn) != -kESRCH;
}

// A call by which another is prepared. It works.
template <class... Arguments>
void Before(CallsMachine& on, Vcpu* by, Arguments... arguments) {
  EXPECT_GE(on.machine.hypervisor.Call(*by, on.Frame(arguments...)), 0);
}

// The call's argument, when it was the first to be put.
template <class T>
const T& ArgumentOf(CallsMachine& on) {
  return *reinterpret_cast<const T*>(on.arguments().data());
}
template <class T>
std::int64_t StatusOf(CallsMachine& on) {
  return ArgumentOf<T>(on).status;
}

// memory_op

void GiveBack(CallsMachine& on, std::uint16_t id, xen_pfn_t frame) {
  xen_memory_reservation request = TestMachine::Reservation(id, &frame, 1);
  if (on.machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request) == 1) return;
  // What is not memory of the domain's.
  xen_remove_from_physmap other = {.domid = id, .gpfn = frame};
  on.machine.Call(__HYPERVISOR_memory_op, XENMEM_remove_from_physmap, &other);
}

// Takes away what earlier calls have left with a domain, and gives it room for some more pages.
void Tidy(CallsMachine& on, std::uint16_t id) {
  if (!IsAlive(on, id)) return;
  const auto pages = [&] { return Books::StatisticsOf(on.machine.hypervisor, id).pages; };
  if (id != kPv) {
    for (xen_pfn_t gfn = kWindow; gfn != kWindowEnd; ++gfn) GiveBack(on, id, gfn);
  } else if (pages() != kPagesOfEach) {
    const std::span<const xen_pfn_t> keep = on.pv_frames;
    const auto end =
        static_cast<xen_pfn_t>(on.machine.Call(__HYPERVISOR_memory_op, XENMEM_maximum_ram_page, 0));
    for (xen_pfn_t mfn = TestMachineOptions().pool_begin >> 12; mfn != end; ++mfn) {
      if (std::ranges::find(keep, mfn) == keep.end()) GiveBack(on, id, mfn);
    }
    EXPECT_EQ(pages(), kPagesOfEach);
  }
  xen_domctl_t room = {};
  room.u.max_mem.max_memkb = (pages() + kPagesOfEach) << 2;
  EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_max_mem, id, room), 0);
}

// A list of extents, `first` and up.
xen_pfn_t* PutExtents(CallsMachine& on, xen_pfn_t first, unsigned count, unsigned order) {
  auto* extents = on.PutArray<xen_pfn_t>(count);
  for (unsigned i = 0; i < count; ++i) extents[i] = first + (xen_pfn_t{i} << order);
  return extents;
}

// Gives a domain the extents of a list; of a PV one, the list says afterwards where they are.
void Populate(CallsMachine& on, std::uint16_t id, xen_pfn_t* extents, unsigned count,
              unsigned order) {
  if (!IsAlive(on, id)) return;
  xen_memory_reservation request = TestMachine::Reservation(id, extents, count, order);
  EXPECT_EQ(on.machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request), count);
}

template <std::uint64_t kOp, unsigned kOrder = 0>
HypercallFrame Reserve(CallsMachine& on, std::uint16_t target) {
  auto* request = on.Put<xen_memory_reservation>();
  xen_pfn_t* extents = PutExtents(on, kWindow, kExtents, kOrder);
  *request = TestMachine::Reservation(target, extents, kExtents, kOrder);
  Tidy(on, IdOf(on, target));
  if (kOp == XENMEM_decrease_reservation) {
    Populate(on, IdOf(on, target), extents, kExtents, kOrder);
  }
  return on.Frame(__HYPERVISOR_memory_op, kOp, request);
}

template <unsigned kInOrder, unsigned kOutOrder>
HypercallFrame Exchange(CallsMachine& on, std::uint16_t target) {
  constexpr unsigned kPages = 4;
  constexpr unsigned kIn = kPages >> kInOrder;
  constexpr unsigned kOut = kPages >> kOutOrder;
  auto* request = on.Put<xen_memory_exchange>();
  xen_pfn_t* in = PutExtents(on, kWindow, kIn, kInOrder);
  xen_pfn_t* out = PutExtents(on, kOtherHalf, kOut, kOutOrder);
  request->in = TestMachine::Reservation(target, in, kIn, kInOrder);
  request->out = TestMachine::Reservation(target, out, kOut, kOutOrder);
  Tidy(on, IdOf(on, target));
  Populate(on, IdOf(on, target), in, kIn, kInOrder);
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_exchange, request);
}

// The first frames of a grant table, at gfns of the caller's where there is nothing.
HypercallFrame AcquireResource(CallsMachine& on, std::uint16_t target) {
  auto* request = on.Put<xen_mem_acquire_resource>();
  request->domid = target;
  request->type = XENMEM_resource_grant_table;
  request->nr_frames = kExtents;
  request->frame_list.p = PutExtents(on, kWindow, kExtents, 0);
  Tidy(on, CallerOf(on));
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_acquire_resource, request);
}
HypercallFrame AskForResource(CallsMachine& on, std::uint16_t target) {
  auto* request = on.Put<xen_mem_acquire_resource>();
  request->domid = target;
  request->type = XENMEM_resource_grant_table;
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_acquire_resource, request);
}

HypercallFrame Claim(CallsMachine& on, std::uint16_t target) {
  const std::uint16_t id = IdOf(on, target);
  Tidy(on, id);
  auto* request = on.Put(TestMachine::Reservation(id, nullptr, 0));
  if (IsAlive(on, id)) {
    Before(on, on.control, __HYPERVISOR_memory_op, XENMEM_claim_pages, request);
  }
  request->nr_extents = Books::StatisticsOf(on.machine.hypervisor, id).pages + 4;
  request->domid = target;
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_claim_pages, request);
}

template <std::uint64_t kOp>
HypercallFrame PodTarget(CallsMachine& on, std::uint16_t target) {
  Tidy(on, IdOf(on, target));
  xen_pod_target request{};
  request.target_pages = 5;
  request.domid = target;
  return on.Frame(__HYPERVISOR_memory_op, kOp, on.Put(request));
}

// Of a domain that has no page yet.
HypercallFrame FirstPodTarget(CallsMachine& on, std::uint16_t target) {
  on.machine.Domctl(XEN_DOMCTL_destroydomain, kNew);  // if it is there
  EXPECT_EQ(on.machine.CreateDomain(kNew, kPagesOfEach, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap),
            kNew);
  return PodTarget<XENMEM_set_pod_target>(on, target);
}

template <std::uint64_t kOp>
HypercallFrame AskDomain(CallsMachine& on, std::uint16_t target) {
  Tidy(on, IdOf(on, target));
  return on.Frame(__HYPERVISOR_memory_op, kOp, on.Put<xen_memory_domain>({.domid = target}));
}

void SetGrantVersion(CallsMachine& on, Vcpu* of, std::uint32_t version) {
  gnttab_set_version request = {.version = version};
  Before(on, of, __HYPERVISOR_grant_table_op, GNTTABOP_set_version, &request, 1);
}
// Of a domain that can call; another's has version 1.
void SetGrantVersionOf(CallsMachine& on, std::uint16_t id, std::uint32_t version) {
  if (id != kGuest && id != 0) return;
  if (IsAlive(on, id)) SetGrantVersion(on, id == kGuest ? on.guest : on.control, version);
}

void PrepareSpace(CallsMachine& on, std::uint16_t id, std::uint64_t index) {
  Tidy(on, id);
  SetGrantVersionOf(on, id, (index & XENMAPIDX_grant_table_status) != 0 ? 2 : 1);
  xen_pfn_t pages[kExtents] = {kWindow, kWindow + 1, kWindow + 2};
  Populate(on, id, pages, kExtents, 0);
}

template <unsigned kSpace, std::uint64_t kIndex>
HypercallFrame AddToPhysmap(CallsMachine& on, std::uint16_t target) {
  PrepareSpace(on, IdOf(on, target), kIndex);
  return on.Frame(
      __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
      on.Put<xen_add_to_physmap>(
          {.domid = target, .size = kExtents, .space = kSpace, .idx = kIndex, .gpfn = kOtherHalf}));
}

xen_add_to_physmap_batch* PutBatch(CallsMachine& on, std::uint16_t target, unsigned space,
                                   std::uint64_t index) {
  auto* batch = on.Put<xen_add_to_physmap_batch>();
  batch->domid = target;
  batch->space = static_cast<std::uint16_t>(space);
  batch->size = kExtents;
  batch->idxs.p = PutExtents(on, index, kExtents, 0);
  batch->gpfns.p = PutExtents(on, kOtherHalf, kExtents, 0);
  batch->errs.p = on.PutArray<int>(kExtents);
  std::fill_n(batch->errs.p, kExtents, 7);
  return batch;
}

template <unsigned kSpace, std::uint64_t kIndex>
HypercallFrame Batch(CallsMachine& on, std::uint16_t target) {
  PrepareSpace(on, IdOf(on, target), kIndex);
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch,
                  PutBatch(on, target, kSpace, kIndex));
}

// Pages of the target, mapped by the caller.
HypercallFrame BatchForeign(CallsMachine& on, std::uint16_t target) {
  Tidy(on, CallerOf(on));
  auto* batch =
      PutBatch(on, DOMID_SELF, XENMAPSPACE_gmfn_foreign, target == kPv ? on.pv_frames[0] : 0);
  batch->u.foreign_domid = target;
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, batch);
}

// The first error, or 0.
std::int64_t BatchResult(CallsMachine& on) {
  const auto& batch = ArgumentOf<xen_add_to_physmap_batch>(on);
  const auto errors = CopyOf<int>(batch.errs.p, batch.size);
  const auto error = std::ranges::find_if(errors, [](int each) { return each != 0; });
  return error == errors.end() ? 0 : *error;
}

HypercallFrame RemoveShared(CallsMachine& on, std::uint16_t target) {
  const std::uint16_t id = IdOf(on, target);
  Tidy(on, id);
  if (id != kPv && IsAlive(on, id)) {
    xen_add_to_physmap add = {.domid = id, .space = XENMAPSPACE_shared_info, .gpfn = kWindow};
    Before(on, on.control, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add);
  }
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_remove_from_physmap,
                  on.Put<xen_remove_from_physmap>({.domid = target, .gpfn = kWindow}));
}

// Another domain's page, from where domain 0 mapped it.
HypercallFrame RemoveForeign(CallsMachine& on, std::uint16_t target) {
  if (IdOf(on, target) != 0) return RemoveShared(on, target);
  Tidy(on, 0);
  EXPECT_EQ(on.machine.MapForeign(0, kWindow, kHvm, 1), 0);
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_remove_from_physmap,
                  on.Put<xen_remove_from_physmap>({.domid = target, .gpfn = kWindow}));
}

constexpr unsigned kMapEntries = 3;

e820_entry* PutMap(CallsMachine& on, unsigned room) {
  auto* entries = on.PutArray<e820_entry>(room);
  for (unsigned i = 0; i < kMapEntries; ++i) {
    entries[i] = {.addr = std::uint64_t{i} << 20, .size = std::uint64_t{1} << 16, .type = i + 1};
  }
  return entries;
}

HypercallFrame SetMemoryMap(CallsMachine& on, std::uint16_t target) {
  auto* request = on.Put<xen_foreign_memory_map>();
  request->domid = target;
  request->map.nr_entries = kMapEntries;
  set_xen_guest_handle(request->map.buffer, PutMap(on, kMapEntries));
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_set_memory_map, request);
}

// With room for more than there are, or for less.
template <unsigned kRoom>
HypercallFrame GetMemoryMap(CallsMachine& on, std::uint16_t) {
  auto* map = on.Put<xen_memory_map>();
  auto* entries = PutMap(on, std::max(kRoom, kMapEntries));
  set_xen_guest_handle(map->buffer, entries);
  map->nr_entries = kMapEntries;
  xen_foreign_memory_map set = {.domid = DOMID_SELF, .map = *map};
  Before(on, on.caller, __HYPERVISOR_memory_op, XENMEM_set_memory_map, &set);
  std::fill_n(entries, kRoom, e820_entry());
  map->nr_entries = kRoom;
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_memory_map, map);
}

template <bool kHasBuffer>
HypercallFrame GetMachineMap(CallsMachine& on, std::uint16_t) {
  constexpr unsigned kRoom = 8;
  auto* map = on.Put<xen_memory_map>({.nr_entries = kRoom});
  if (kHasBuffer) set_xen_guest_handle(map->buffer, on.PutArray<e820_entry>(kRoom));
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_machine_memory_map, map);
}

HypercallFrame MachphysMapping(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_machphys_mapping, on.Put<xen_machphys_mapping>());
}

template <std::uint64_t kOp>
HypercallFrame MachphysList(CallsMachine& on, std::uint16_t) {
  constexpr unsigned kRoom = 4;
  auto* list = on.Put<xen_machphys_mfn_list>({.max_extents = kRoom});
  list->extent_start.p = on.PutArray<xen_pfn_t>(kRoom);
  return on.Frame(__HYPERVISOR_memory_op, kOp, list);
}

template <std::uint64_t kOp>
HypercallFrame AskMachine(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_memory_op, kOp, 0);
}

constexpr unsigned kVnodes = 2;
constexpr unsigned kVcpus = 2;  // of all domains

HypercallFrame GetVnuma(CallsMachine& on, std::uint16_t target) {
  auto* request = on.Put<xen_vnuma_topology_info>(
      {.domid = target, .nr_vnodes = kVnodes, .nr_vcpus = kVcpus, .nr_vmemranges = kVnodes});
  auto* distances = on.PutArray<unsigned>(kVnodes * kVnodes);
  auto* vcpus = on.PutArray<unsigned>(kVcpus);
  auto* ranges = on.PutArray<xen_vmemrange_t>(kVnodes);
  request->vdistance.h.p = distances;
  request->vcpu_to_vnode.h.p = vcpus;
  request->vmemrange.h.p = ranges;
  if (const std::uint16_t id = IdOf(on, target); IsAlive(on, id)) {
    std::iota(distances, distances + kVnodes * kVnodes, 10);
    std::iota(vcpus, vcpus + kVcpus, 0);
    for (unsigned i = 0; i < kVnodes; ++i) {
      ranges[i] = {.start = i, .end = i + std::uint64_t{1}, .nid = i};
    }
    unsigned nodes[kVnodes] = {};
    xen_domctl_t op = {};
    op.u.vnuma.nr_vnodes = kVnodes;
    op.u.vnuma.nr_vcpus = kVcpus;
    op.u.vnuma.nr_vmemranges = kVnodes;
    op.u.vnuma.vdistance.p = distances;
    op.u.vnuma.vcpu_to_vnode.p = vcpus;
    op.u.vnuma.vmemrange.p = ranges;
    op.u.vnuma.vnode_to_pnode.p = nodes;
    EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_setvnumainfo, id, op), 0);
    std::fill_n(distances, kVnodes * kVnodes, 0u);
    std::fill_n(vcpus, kVcpus, 0u);
    std::fill_n(ranges, kVnodes, xen_vmemrange_t());
  }
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_get_vnumainfo, request);
}

// grant_table_op

constexpr unsigned kStatusFrames = 2;
constexpr unsigned kGrantFrames = 9;  // so many have two of status

template <class T>
HypercallFrame GrantFrame(CallsMachine& on, std::uint64_t op, T* argument) {
  return on.Frame(__HYPERVISOR_grant_table_op, op, argument, 1);
}

HypercallFrame SetupTable(CallsMachine& on, std::uint16_t target) {
  auto* request = on.Put<gnttab_setup_table>({.dom = target, .nr_frames = kGrantFrames});
  request->frame_list.p = on.PutArray<xen_pfn_t>(kGrantFrames);
  return GrantFrame(on, GNTTABOP_setup_table, request);
}

HypercallFrame QuerySize(CallsMachine& on, std::uint16_t target) {
  return GrantFrame(on, GNTTABOP_query_size, on.Put<gnttab_query_size>({.dom = target}));
}

HypercallFrame GetStatusFrames(CallsMachine& on, std::uint16_t target) {
  const std::uint16_t id = IdOf(on, target);
  SetGrantVersionOf(on, id, 2);
  if (IsAlive(on, id)) {
    xen_pfn_t list[kGrantFrames];
    gnttab_setup_table setup = {.dom = id, .nr_frames = kGrantFrames};
    setup.frame_list.p = list;
    Before(on, on.control, __HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1);
  }
  auto* request = on.Put<gnttab_get_status_frames>({.nr_frames = kStatusFrames, .dom = target});
  request->frame_list.p = on.PutArray<std::uint64_t>(kStatusFrames);
  return GrantFrame(on, GNTTABOP_get_status_frames, request);
}

HypercallFrame GetGrantVersion(CallsMachine& on, std::uint16_t target) {
  return GrantFrame(on, GNTTABOP_get_version, on.Put<gnttab_get_version>({.dom = target}));
}

template <std::uint32_t kVersion>
HypercallFrame ChangeGrantVersion(CallsMachine& on, std::uint16_t) {
  SetGrantVersion(on, on.caller, kVersion == 1 ? 2 : 1);
  return GrantFrame(on, GNTTABOP_set_version, on.Put<gnttab_set_version>({.version = kVersion}));
}

// What domains grant to the caller, by grant kGranted: their page at kGrantedGfn. Copies are of
// kCopied bytes.
constexpr std::uint32_t kGranted = 9;
constexpr std::uint64_t kGrantedGfn = 5;
constexpr std::uint16_t kCopied = 100;

std::uint64_t GrantedFrame(const CallsMachine& on, std::uint16_t granter) {
  return granter == kPv ? on.pv_frames[kGrantedGfn] : kGrantedGfn;
}

void GrantToCaller(CallsMachine& on, std::uint16_t granter) {
  for (Vcpu* const of : {on.control, on.guest}) EndGrantMaps(on, *of);
  if (!IsAlive(on, granter)) return;
  on.machine.Grant(granter, kGranted, CallerOf(on), GrantedFrame(on, granter));
}

template <std::uint32_t kFlags>
HypercallFrame MapGrant(CallsMachine& on, std::uint16_t target) {
  GrantToCaller(on, IdOf(on, target));
  Tidy(on, CallerOf(on));
  return GrantFrame(on, GNTTABOP_map_grant_ref,
                    on.Put<gnttab_map_grant_ref>({.host_addr = kWindow << kPageShift,
                                                  .flags = kFlags | GNTMAP_host_map,
                                                  .ref = kGranted,
                                                  .dom = target}));
}
// The handle of one that is mapped.
std::uint32_t MappedGrant(CallsMachine& on) {
  GrantToCaller(on, kHvm);
  Tidy(on, CallerOf(on));
  gnttab_map_grant_ref map = {
      .host_addr = kWindow << kPageShift, .flags = GNTMAP_host_map, .ref = kGranted, .dom = kHvm};
  Before(on, on.caller, __HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, &map, 1);
  return map.handle;
}
HypercallFrame UnmapGrant(CallsMachine& on, std::uint16_t) {
  const std::uint32_t handle = MappedGrant(on);
  return GrantFrame(
      on, GNTTABOP_unmap_grant_ref,
      on.Put<gnttab_unmap_grant_ref>({.host_addr = kWindow << kPageShift, .handle = handle}));
}
HypercallFrame UnmapAndReplaceGrant(CallsMachine& on, std::uint16_t) {
  const std::uint32_t handle = MappedGrant(on);
  return GrantFrame(
      on, GNTTABOP_unmap_and_replace,
      on.Put<gnttab_unmap_and_replace>({.host_addr = kWindow << kPageShift, .handle = handle}));
}

template <int kFlags>
HypercallFrame CopyGrant(CallsMachine& on, std::uint16_t target) {
  GrantToCaller(on, IdOf(on, target));
  gnttab_copy copy = {.len = kCopied, .flags = kFlags};
  copy.source.domid = (kFlags & GNTCOPY_source_gref) != 0 ? target : DOMID_SELF;
  copy.dest.domid = (kFlags & GNTCOPY_dest_gref) != 0 ? target : DOMID_SELF;
  if ((kFlags & GNTCOPY_source_gref) != 0) {
    copy.source.u.ref = kGranted;
  } else {
    copy.source.u.gmfn = 0;
  }
  if ((kFlags & GNTCOPY_dest_gref) != 0) {
    copy.dest.u.ref = kGranted;
  } else {
    copy.dest.u.gmfn = 1;
  }
  copy.dest.offset = kPageSize - kCopied;
  return GrantFrame(on, GNTTABOP_copy, on.Put(copy));
}

HypercallFrame SwapGrants(CallsMachine& on, std::uint16_t) {
  on.machine.Grant(CallerOf(on), kGranted, kNobody, kGrantedGfn);
  on.machine.Grant(CallerOf(on), kGranted + 1, kNobody, kGrantedGfn + 1);
  return GrantFrame(on, GNTTABOP_swap_grant_ref,
                    on.Put<gnttab_swap_grant_ref>({.ref_a = kGranted, .ref_b = kGranted + 1}));
}

// Of a page of the caller's own.
HypercallFrame FlushCache(CallsMachine& on, std::uint16_t) {
  gnttab_cache_flush flush = {.length = kCopied, .op = GNTTAB_CACHE_CLEAN};
  flush.a.dev_bus_addr = on.machine.hypervisor.FrameOf(CallerOf(on), 0) << kPageShift;
  return GrantFrame(on, GNTTABOP_cache_flush, on.Put(flush));
}

// event_channel_op

// Paused, as it must be for another to do so.
void ResetPorts(CallsMachine& on, std::uint16_t id) {
  if (!IsAlive(on, id)) return;
  evtchn_reset request = {.dom = id};
  if (id != 0) {
    EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_pausedomain, id), 0);
  }
  Before(on, on.control, __HYPERVISOR_event_channel_op, EVTCHNOP_reset, &request);
  if (id != 0) {
    EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_unpausedomain, id), 0);
  }
}

// A port of `id`'s that waits for `remote`.
evtchn_port_t Unbound(CallsMachine& on, std::uint16_t id, std::uint16_t remote) {
  evtchn_alloc_unbound request = {.dom = id, .remote_dom = remote};
  if (IsAlive(on, id)) {
    Before(on, on.control, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &request);
  }
  return request.port;
}

evtchn_port_t Bound(CallsMachine& on, Vcpu* by, std::uint16_t remote, evtchn_port_t port) {
  evtchn_bind_interdomain request = {.remote_dom = remote, .remote_port = port};
  Before(on, by, __HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &request);
  return request.local_port;
}

enum class Opened { kUnbound, kInterdomain, kVirq, kGlobalVirq, kIpi };

// A port of the caller's own.
evtchn_port_t Open(CallsMachine& on, Opened how) {
  const std::uint16_t id = CallerOf(on);
  const std::uint16_t peer = id == kGuest || !IsAlive(on, kGuest) ? 0 : kGuest;
  ResetPorts(on, id);
  switch (how) {
    case Opened::kUnbound:
      return Unbound(on, id, peer);
    case Opened::kInterdomain:
      ResetPorts(on, peer);
      return Bound(on, on.caller, peer, Unbound(on, peer, id));
    case Opened::kVirq:
    case Opened::kGlobalVirq: {
      evtchn_bind_virq request = {.virq = VIRQ_DEBUG, .vcpu = 1};
      if (how == Opened::kGlobalVirq) request = {.virq = VIRQ_DOM_EXC, .vcpu = 0};
      Before(on, on.caller, __HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, &request);
      return request.port;
    }
    case Opened::kIpi: {
      evtchn_bind_ipi request = {.vcpu = 1};
      Before(on, on.caller, __HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &request);
      return request.port;
    }
  }
  return 0;
}

template <class T>
HypercallFrame EventFrame(CallsMachine& on, std::uint64_t op, const T& request) {
  return on.Frame(__HYPERVISOR_event_channel_op, op, on.Put(request));
}

HypercallFrame AllocateUnbound(CallsMachine& on, std::uint16_t target) {
  ResetPorts(on, IdOf(on, target));
  return EventFrame(on, EVTCHNOP_alloc_unbound,
                    evtchn_alloc_unbound{.dom = target, .remote_dom = kGuest});
}

HypercallFrame BindInterdomain(CallsMachine& on, std::uint16_t target) {
  const std::uint16_t id = IdOf(on, target);
  ResetPorts(on, CallerOf(on));
  ResetPorts(on, id);
  return EventFrame(
      on, EVTCHNOP_bind_interdomain,
      evtchn_bind_interdomain{.remote_dom = target, .remote_port = Unbound(on, id, CallerOf(on))});
}

template <std::uint32_t kVirq, std::uint32_t kVcpu>
HypercallFrame BindVirq(CallsMachine& on, std::uint16_t) {
  ResetPorts(on, CallerOf(on));
  return EventFrame(on, EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = kVirq, .vcpu = kVcpu});
}

HypercallFrame BindIpi(CallsMachine& on, std::uint16_t) {
  ResetPorts(on, CallerOf(on));
  return EventFrame(on, EVTCHNOP_bind_ipi, evtchn_bind_ipi{.vcpu = 1});
}

template <Opened kHow>
HypercallFrame Close(CallsMachine& on, std::uint16_t) {
  return EventFrame(on, EVTCHNOP_close, evtchn_close{.port = Open(on, kHow)});
}

template <Opened kHow>
HypercallFrame Send(CallsMachine& on, std::uint16_t) {
  return EventFrame(on, EVTCHNOP_send, evtchn_send{.port = Open(on, kHow)});
}

template <Opened kHow>
HypercallFrame BindVcpu(CallsMachine& on, std::uint16_t) {
  return EventFrame(on, EVTCHNOP_bind_vcpu, evtchn_bind_vcpu{.port = Open(on, kHow), .vcpu = 1});
}

HypercallFrame Unmask(CallsMachine& on, std::uint16_t) {
  return EventFrame(on, EVTCHNOP_unmask, evtchn_unmask{.port = Open(on, Opened::kUnbound)});
}

// The caller's pages that it shares with the hypervisor in the FIFO ABI.
constexpr std::uint64_t kControlGfn = 10;
constexpr std::uint64_t kArrayGfn = 11;

evtchn_init_control ControlRequest(std::uint32_t vcpu) {
  return {.control_gfn = kControlGfn, .offset = 128 * vcpu, .vcpu = vcpu};
}

// The caller is in the FIFO ABI, as far as a control block of vcpu 0.
void ChangeToFifo(CallsMachine& on) {
  ResetPorts(on, CallerOf(on));
  evtchn_init_control request = ControlRequest(0);
  Before(on, on.caller, __HYPERVISOR_event_channel_op, EVTCHNOP_init_control, &request);
}
// And as far as that of vcpu 1, and a page of words.
void ShareFifo(CallsMachine& on) {
  ChangeToFifo(on);
  evtchn_init_control request = ControlRequest(1);
  Before(on, on.caller, __HYPERVISOR_event_channel_op, EVTCHNOP_init_control, &request);
  evtchn_expand_array expand = {.array_gfn = kArrayGfn};
  Before(on, on.caller, __HYPERVISOR_event_channel_op, EVTCHNOP_expand_array, &expand);
}
evtchn_port_t OpenInFifo(CallsMachine& on) {
  ShareFifo(on);
  evtchn_bind_ipi request = {.vcpu = 1};
  Before(on, on.caller, __HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &request);
  return request.port;
}

HypercallFrame InitControl(CallsMachine& on, std::uint16_t) {
  ResetPorts(on, CallerOf(on));
  return EventFrame(on, EVTCHNOP_init_control, ControlRequest(0));
}
HypercallFrame InitSecondControl(CallsMachine& on, std::uint16_t) {
  ChangeToFifo(on);
  return EventFrame(on, EVTCHNOP_init_control, ControlRequest(1));
}

HypercallFrame ExpandArray(CallsMachine& on, std::uint16_t) {
  ChangeToFifo(on);
  return EventFrame(on, EVTCHNOP_expand_array, evtchn_expand_array{.array_gfn = kArrayGfn});
}

HypercallFrame SetPriority(CallsMachine& on, std::uint16_t) {
  return EventFrame(on, EVTCHNOP_set_priority,
                    evtchn_set_priority{.port = OpenInFifo(on), .priority = 3});
}

template <std::uint64_t kOp, class T>
HypercallFrame UsePortInFifo(CallsMachine& on, std::uint16_t) {
  return EventFrame(on, kOp, T{.port = OpenInFifo(on)});
}

HypercallFrame ResetFifo(CallsMachine& on, std::uint16_t) {
  OpenInFifo(on);
  return EventFrame(on, EVTCHNOP_reset, evtchn_reset{.dom = DOMID_SELF});
}

// Of a port of the target's, which is open in this way if the target can open it so.
template <Opened kHow>
HypercallFrame PortStatus(CallsMachine& on, std::uint16_t target) {
  const std::uint16_t id = IdOf(on, target);
  evtchn_port_t port = 0;
  if (id == CallerOf(on)) {
    port = Open(on, kHow);
  } else {
    ResetPorts(on, id);
    port = Unbound(on, id, 0);
    if (kHow == Opened::kInterdomain && IsAlive(on, id)) Bound(on, on.control, id, port);
  }
  return EventFrame(on, EVTCHNOP_status, evtchn_status{.dom = target, .port = port});
}

HypercallFrame ClosedStatus(CallsMachine& on, std::uint16_t target) {
  ResetPorts(on, IdOf(on, target));
  return EventFrame(on, EVTCHNOP_status, evtchn_status{.dom = target, .port = 2});
}

// What Xen continues a reset with.
constexpr std::uint64_t kContinuedReset = EVTCHNOP_set_priority + 1;

template <std::uint64_t kOp, unsigned kPorts>
HypercallFrame ResetEvents(CallsMachine& on, std::uint16_t target) {
  const std::uint16_t id = IdOf(on, target);
  ResetPorts(on, id);
  for (unsigned i = 0; i < kPorts; ++i) {
    const evtchn_port_t port = Unbound(on, id, 0);
    if (i % 2 != 0 && IsAlive(on, id)) Bound(on, on.control, id, port);
  }
  return EventFrame(on, kOp, evtchn_reset{.dom = target});
}

// hvm_op

HypercallFrame HvmParam(CallsMachine& on, std::uint64_t op, std::uint16_t target,
                        std::uint32_t index, std::uint64_t value) {
  return on.Frame(__HYPERVISOR_hvm_op, op,
                  on.Put<xen_hvm_param>({.domid = target, .index = index, .value = value}));
}

template <std::uint32_t kIndex, std::uint64_t kValue>
HypercallFrame SetParam(CallsMachine& on, std::uint16_t target) {
  return HvmParam(on, HVMOP_set_param, target, kIndex, kValue);
}

template <std::uint32_t kIndex, std::uint64_t kValue>
HypercallFrame GetParam(CallsMachine& on, std::uint16_t target) {
  if (target == kHvm && IsAlive(on, kHvm)) {
    xen_hvm_param set = {.domid = kHvm, .index = kIndex, .value = kValue};
    Before(on, on.control, __HYPERVISOR_hvm_op, HVMOP_set_param, &set);
  }
  return HvmParam(on, HVMOP_get_param, target, kIndex, 0);
}

HypercallFrame FlushTlbs(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_hvm_op, HVMOP_flush_tlbs, 0);
}

HypercallFrame GetTime(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_hvm_op, HVMOP_get_time, on.Put<xen_hvm_get_time>());
}

template <std::uint64_t kPfn>
HypercallFrame GetMemType(CallsMachine& on, std::uint16_t target) {
  return on.Frame(__HYPERVISOR_hvm_op, HVMOP_get_mem_type,
                  on.Put<xen_hvm_get_mem_type>({.domid = target, .pfn = kPfn}));
}

// vcpu_op, of the caller's second vcpu

constexpr std::uint64_t kVcpu = 1;

template <std::uint64_t kOp, std::uint64_t kBefore>
HypercallFrame VcpuOnOff(CallsMachine& on, std::uint16_t) {
  Before(on, on.caller, __HYPERVISOR_vcpu_op, kBefore, kVcpu, 0);
  return on.Frame(__HYPERVISOR_vcpu_op, kOp, kVcpu, 0);
}

HypercallFrame GetRunstate(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, kVcpu,
                  on.Put<vcpu_runstate_info>());
}

// An area that goes on in the next page, or none.
template <bool kIsThere>
HypercallFrame RegisterRunstate(CallsMachine& on, std::uint16_t) {
  constexpr std::uint64_t kGfn = 16;
  const std::uint64_t mfn = on.machine.hypervisor.FrameOf(CallerOf(on), kGfn);
  std::byte* const area = on.machine.BytesOf(mfn) + kPageSize - 24;
  vcpu_register_runstate_memory_area before = {};
  if (!kIsThere) before.addr.p = reinterpret_cast<std::uint64_t>(area);
  Before(on, on.caller, __HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, kVcpu, &before);
  auto* request = on.Put<vcpu_register_runstate_memory_area>();
  if (kIsThere) request->addr.p = reinterpret_cast<std::uint64_t>(area);
  return on.Frame(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, kVcpu, request);
}

// sched_op

template <std::uint64_t kOp>
HypercallFrame Sched(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_sched_op, kOp, 0);
}

// As if it had not shut down. Domain 0 cannot be resumed.
void Resume(CallsMachine& on, std::uint16_t id) {
  if (id != 0 && IsAlive(on, id)) {
    EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_resumedomain, id), 0);
  }
}

template <std::uint64_t kOp>
HypercallFrame ShutDown(CallsMachine& on, std::uint16_t) {
  Resume(on, CallerOf(on));
  return on.Frame(__HYPERVISOR_sched_op, kOp, on.Put<sched_shutdown>({.reason = SHUTDOWN_suspend}));
}

HypercallFrame ShutDownOther(CallsMachine& on, std::uint16_t target) {
  Resume(on, IdOf(on, target));
  return on.Frame(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown,
                  on.Put<sched_remote_shutdown>({.domain_id = target, .reason = SHUTDOWN_reboot}));
}

// Stopped at once, by the next one; due never while a test runs.
HypercallFrame Poll(CallsMachine& on, std::uint16_t) {
  auto* request = on.Put<sched_poll>();
  request->nr_ports = 2;
  request->ports.p = on.PutArray<evtchn_port_t>(2);
  request->ports.p[0] = Open(on, Opened::kIpi);
  request->ports.p[1] = request->ports.p[0];
  return on.Frame(__HYPERVISOR_sched_op, SCHEDOP_poll, request);
}

HypercallFrame SetWatchdog(CallsMachine& on, std::uint16_t) {
  return on.Frame(__HYPERVISOR_sched_op, SCHEDOP_watchdog,
                  on.Put<sched_watchdog>({.id = 0, .timeout = 1 << 20}));
}

// xen_version

template <std::uint64_t kOp, std::size_t kBytes = 0>
HypercallFrame Version(CallsMachine& on, std::uint16_t) {
  char* const room = kBytes == 0 ? nullptr : on.PutArray<char>(kBytes);
  return on.Frame(__HYPERVISOR_xen_version, kOp, room);
}

HypercallFrame BuildId(CallsMachine& on, std::uint16_t) {
  constexpr std::uint32_t kRoom = 32;
  auto* id = reinterpret_cast<xen_build_id*>(on.PutArray<char>(sizeof(xen_build_id) + kRoom));
  id->len = kRoom;
  return on.Frame(__HYPERVISOR_xen_version, XENVER_build_id, id);
}

// console_io

template <std::uint64_t kOp>
HypercallFrame Console(CallsMachine& on, std::uint16_t) {
  constexpr std::size_t kCount = 200;  // more than is read at once
  char* const text = on.PutArray<char>(kCount);
  if (kOp == CONSOLEIO_write) {
    std::fill_n(text, kCount, 'a');
    text[kCount - 1] = '\n';
  }
  return on.Frame(__HYPERVISOR_console_io, kOp, kCount, text);
}

// mmuext_op

// Two of the PV domain's pages, as tables without an entry.
HypercallFrame PageTables(CallsMachine& on, std::uint16_t target, unsigned cmd) {
  constexpr unsigned kOps = 2;
  auto* ops = on.PutArray<mmuext_op>(kOps);
  auto* done = on.Put<std::uint32_t>();
  for (unsigned i = 0; i < kOps; ++i) {
    ops[i].arg1.mfn = on.pv_frames[20 + i];
    ops[i].cmd = MMUEXT_UNPIN_TABLE;
    on.machine.Call(__HYPERVISOR_mmuext_op, &ops[i], 1, 0, kPv);
    if (cmd == MMUEXT_UNPIN_TABLE) {
      ops[i].cmd = MMUEXT_PIN_L3_TABLE;
      on.machine.Call(__HYPERVISOR_mmuext_op, &ops[i], 1, 0, kPv);
    }
    ops[i].cmd = cmd;
  }
  return on.Frame(__HYPERVISOR_mmuext_op, ops, kOps, done, target);
}
template <unsigned kCmd>
HypercallFrame PageTables(CallsMachine& on, std::uint16_t target) {
  return PageTables(on, target, kCmd);
}

// multicall

HypercallFrame ListOf(CallsMachine& on, const std::vector<HypercallFrame>& frames,
                      multicall_entry_t* entries) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    entries[i].op = frames[i].index;
    std::ranges::copy(frames[i].arguments, entries[i].args);
    entries[i].result = 7;
  }
  return on.Frame(__HYPERVISOR_multicall, entries, frames.size());
}

HypercallFrame ManyCalls(CallsMachine& on, std::uint16_t target) {
  auto* entries = on.PutArray<multicall_entry_t>(3);
  return ListOf(on,
                {Version<XENVER_extraversion, XEN_EXTRAVERSION_LEN>(on, target),
                 GetRunstate(on, target), GetTime(on, target)},
                entries);
}

HypercallFrame CallsAboutTarget(CallsMachine& on, std::uint16_t target) {
  auto* entries = on.PutArray<multicall_entry_t>(2);
  return ListOf(on, {AskDomain<XENMEM_current_reservation>(on, target), GetTime(on, target)},
                entries);
}

std::int64_t FirstResult(CallsMachine& on) {
  return static_cast<std::int64_t>(ArgumentOf<multicall_entry_t>(on).result);
}

// The calls for regions

constexpr std::uint64_t kGranules = 6;
constexpr std::uint64_t kBackedFirst = 3;  // the table's among them
constexpr std::uint64_t kTableGfn = 8;

template <class... Arguments>
std::int64_t RegionCall(CallsMachine& on, XencommOp op, Arguments... arguments) {
  return on.machine.hypervisor.Call(*on.caller, on.Frame(kXencommOp, op, arguments...));
}

// Ends the caller's regions, of which this is the newest.
void EndRegions(CallsMachine& on, std::int64_t newest) {
  constexpr unsigned kSlots = 4;
  const auto id = RegionHandle::FromRegister(static_cast<std::uint64_t>(newest)).id();
  std::uint64_t generation = id >> 12;
  while (Books::StatisticsOf(on.machine.hypervisor, CallerOf(on)).regions != 0) {
    ASSERT_NE(generation, 0u);
    for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
      RegionCall(on, XencommOp::kUnregister,
                 RegionHandle::Registered(generation << 12 | slot).value());
    }
    --generation;
  }
}

// A region in the caller's memory, its first granules backed; and none is registered.
RegionTable<LockedMemory> MakeRegion(CallsMachine& on, LockedMemory& memory) {
  const auto layout = RegionLayout::Make({kBase}, kGranules << 12, 12);
  const PhysicalAddress place = {kTableGfn << 12};
  const auto table = RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, {&place, 1});
  EXPECT_TRUE(table.ok());
  for (std::uint64_t i = 1; i < kBackedFirst; ++i) {
    EXPECT_TRUE(table->Back(i, {(kTableGfn + kGranules - i) << 12}).ok());
  }
  const std::int64_t probe = RegionCall(on, XencommOp::kRegister, table->handle().value, 1);
  EXPECT_GT(probe, 0);
  EndRegions(on, probe);
  return *table;
}

HypercallFrame RegisterRegion(CallsMachine& on, std::uint16_t) {
  LockedMemory memory = on.machine.hypervisor.LockedMemoryOf(*on.caller);
  return on.Frame(kXencommOp, XencommOp::kRegister, MakeRegion(on, memory).handle().value, 1);
}

// With granules that were backed since.
HypercallFrame ExtendRegion(CallsMachine& on, std::uint16_t) {
  LockedMemory memory = on.machine.hypervisor.LockedMemoryOf(*on.caller);
  const RegionTable<LockedMemory> table = MakeRegion(on, memory);
  const std::int64_t handle = RegionCall(on, XencommOp::kRegister, table.handle().value, 1);
  for (std::uint64_t i = kBackedFirst; i < kGranules; ++i) {
    EXPECT_TRUE(table.Back(i, {(kTableGfn + kGranules - i) << 12}).ok());
  }
  return on.Frame(kXencommOp, XencommOp::kExtend, handle, kBackedFirst, kGranules - kBackedFirst,
                  GranuleUse::kArgumentsOnly);
}

HypercallFrame UnregisterRegion(CallsMachine& on, std::uint16_t) {
  LockedMemory memory = on.machine.hypervisor.LockedMemoryOf(*on.caller);
  const std::uint64_t header = MakeRegion(on, memory).handle().value;
  return on.Frame(kXencommOp, XencommOp::kUnregister,
                  RegionCall(on, XencommOp::kRegister, header, 1));
}

constexpr std::uint64_t OpOf(XencommOp op) { return static_cast<std::uint64_t>(op); }

// What is not as usual in a row.
struct But {
  std::uint16_t target = kHvm;
  std::int64_t answer = 0;
  std::int64_t refusal = -kEPERM;
  std::int64_t pv_refusal = refusal;
  std::int64_t absent = -kESRCH;
  std::int64_t absent_refusal = absent;
  std::int64_t dying_refusal = refusal;
  bool takes_self = false;
  std::int64_t (*result)(CallsMachine&) = nullptr;
  std::int64_t own_answer = answer;
  std::int64_t own_answer_by_id = own_answer;
};

constexpr WorkingCall Row(const char* name, std::uint64_t hypercall, std::uint64_t op, May may,
                          HypercallFrame (*prepare)(CallsMachine&, std::uint16_t),
                          const But& but = {}) {
  return {.name = name,
          .hypercall = hypercall,
          .op = op,
          .may = may,
          .prepare = prepare,
          .target = but.target,
          .answer = but.answer,
          .refusal = but.refusal,
          .pv_refusal = but.pv_refusal,
          .absent = but.absent,
          .absent_refusal = but.absent_refusal,
          .dying_refusal = but.dying_refusal,
          .takes_self = but.takes_self,
          .result = but.result,
          .own_answer = but.own_answer,
          .own_answer_by_id = but.own_answer_by_id};
}

constexpr WorkingCall kCalls[] = {
    Row("memory_op.populate_physmap", __HYPERVISOR_memory_op, XENMEM_populate_physmap, May::kTarget,
        Reserve<XENMEM_populate_physmap>, {.answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.populate_physmap.order1", __HYPERVISOR_memory_op, XENMEM_populate_physmap,
        May::kTarget, Reserve<XENMEM_populate_physmap, 1>,
        {.answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.populate_physmap.pv", __HYPERVISOR_memory_op, XENMEM_populate_physmap,
        May::kTarget, Reserve<XENMEM_populate_physmap>,
        {.target = kPv, .answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.increase_reservation", __HYPERVISOR_memory_op, XENMEM_increase_reservation,
        May::kTarget, Reserve<XENMEM_increase_reservation>,
        {.target = kPv, .answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.increase_reservation.order1", __HYPERVISOR_memory_op,
        XENMEM_increase_reservation, May::kTarget, Reserve<XENMEM_increase_reservation, 1>,
        {.target = kPv, .answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.decrease_reservation", __HYPERVISOR_memory_op, XENMEM_decrease_reservation,
        May::kTarget, Reserve<XENMEM_decrease_reservation>,
        {.answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.decrease_reservation.order1", __HYPERVISOR_memory_op,
        XENMEM_decrease_reservation, May::kTarget, Reserve<XENMEM_decrease_reservation, 1>,
        {.answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.decrease_reservation.pv", __HYPERVISOR_memory_op, XENMEM_decrease_reservation,
        May::kTarget, Reserve<XENMEM_decrease_reservation>,
        {.target = kPv, .answer = kExtents, .refusal = 0, .absent = 0}),
    Row("memory_op.exchange.join", __HYPERVISOR_memory_op, XENMEM_exchange, May::kTarget,
        Exchange<0, 1>, {.target = kPv}),
    Row("memory_op.exchange.split", __HYPERVISOR_memory_op, XENMEM_exchange, May::kTarget,
        Exchange<1, 0>, {.target = kPv}),
    Row("memory_op.exchange.same_order", __HYPERVISOR_memory_op, XENMEM_exchange, May::kTarget,
        Exchange<0, 0>, {.target = kPv}),
    Row("memory_op.acquire_resource", __HYPERVISOR_memory_op, XENMEM_acquire_resource,
        May::kControl, AcquireResource, {.refusal = -kEACCES, .absent_refusal = -kEACCES}),
    Row("memory_op.acquire_resource.size", __HYPERVISOR_memory_op, XENMEM_acquire_resource,
        May::kControl, AskForResource, {.refusal = -kEACCES, .absent_refusal = -kEACCES}),
    Row("memory_op.claim_pages", __HYPERVISOR_memory_op, XENMEM_claim_pages, May::kControl, Claim,
        {.absent = -kEINVAL}),
    Row("memory_op.current_reservation", __HYPERVISOR_memory_op, XENMEM_current_reservation,
        May::kTarget, AskDomain<XENMEM_current_reservation>, {.answer = kPagesOfEach}),
    Row("memory_op.maximum_reservation", __HYPERVISOR_memory_op, XENMEM_maximum_reservation,
        May::kTarget, AskDomain<XENMEM_maximum_reservation>, {.answer = 2 * kPagesOfEach}),
    Row("memory_op.maximum_gpfn", __HYPERVISOR_memory_op, XENMEM_maximum_gpfn, May::kTarget,
        AskDomain<XENMEM_maximum_gpfn>, {.answer = kPagesOfEach - 1}),
    Row("memory_op.maximum_gpfn.pv", __HYPERVISOR_memory_op, XENMEM_maximum_gpfn, May::kTarget,
        AskDomain<XENMEM_maximum_gpfn>, {.target = kPv, .own_answer = kPagesOfEach - 1}),
    Row("memory_op.set_pod_target", __HYPERVISOR_memory_op, XENMEM_set_pod_target, May::kControl,
        PodTarget<XENMEM_set_pod_target>, {.pv_refusal = -kEINVAL, .takes_self = true}),
    Row("memory_op.set_pod_target.first", __HYPERVISOR_memory_op, XENMEM_set_pod_target,
        May::kControl, FirstPodTarget,
        {.target = kNew, .pv_refusal = -kEINVAL, .takes_self = true}),
    Row("memory_op.get_pod_target", __HYPERVISOR_memory_op, XENMEM_get_pod_target, May::kControl,
        PodTarget<XENMEM_get_pod_target>, {.pv_refusal = -kEINVAL, .takes_self = true}),
    Row("memory_op.maximum_ram_page", __HYPERVISOR_memory_op, XENMEM_maximum_ram_page, May::kAnyone,
        AskMachine<XENMEM_maximum_ram_page>, {.answer = kAnyAnswer}),
    Row("memory_op.get_sharing_freed_pages", __HYPERVISOR_memory_op, XENMEM_get_sharing_freed_pages,
        May::kAnyone, AskMachine<XENMEM_get_sharing_freed_pages>),
    Row("memory_op.get_sharing_shared_pages", __HYPERVISOR_memory_op,
        XENMEM_get_sharing_shared_pages, May::kAnyone, AskMachine<XENMEM_get_sharing_shared_pages>),
    Row("memory_op.add_to_physmap.shared_info", __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
        May::kTarget, AddToPhysmap<XENMAPSPACE_shared_info, 0>, {.pv_refusal = -kEACCES}),
    Row("memory_op.add_to_physmap.grant_table", __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
        May::kTarget, AddToPhysmap<XENMAPSPACE_grant_table, 1>, {.pv_refusal = -kEACCES}),
    Row("memory_op.add_to_physmap.grant_status", __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
        May::kTarget, AddToPhysmap<XENMAPSPACE_grant_table, XENMAPIDX_grant_table_status>,
        {.target = kGuest, .pv_refusal = -kEACCES}),
    Row("memory_op.add_to_physmap.gmfn", __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
        May::kTarget, AddToPhysmap<XENMAPSPACE_gmfn, kWindow + 1>, {.pv_refusal = -kEACCES}),
    Row("memory_op.add_to_physmap.gmfn_range", __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
        May::kTarget, AddToPhysmap<XENMAPSPACE_gmfn_range, kWindow>, {.pv_refusal = -kEACCES}),
    Row("memory_op.add_to_physmap_batch.gmfn", __HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch,
        May::kTarget, Batch<XENMAPSPACE_gmfn, kWindow>,
        {.pv_refusal = -kEACCES, .result = BatchResult}),
    Row("memory_op.add_to_physmap_batch.grant_table", __HYPERVISOR_memory_op,
        XENMEM_add_to_physmap_batch, May::kTarget, Batch<XENMAPSPACE_grant_table, 0>,
        {.pv_refusal = -kEACCES, .result = BatchResult}),
    Row("memory_op.add_to_physmap_batch.foreign", __HYPERVISOR_memory_op,
        XENMEM_add_to_physmap_batch, May::kControl, BatchForeign,
        {.absent_refusal = -kEPERM, .result = BatchResult}),
    Row("memory_op.add_to_physmap_batch.foreign_pv", __HYPERVISOR_memory_op,
        XENMEM_add_to_physmap_batch, May::kControl, BatchForeign,
        {.target = kPv, .absent_refusal = -kEPERM, .result = BatchResult}),
    Row("memory_op.remove_from_physmap.shared_info", __HYPERVISOR_memory_op,
        XENMEM_remove_from_physmap, May::kTarget, RemoveShared, {.pv_refusal = -kEACCES}),
    Row("memory_op.remove_from_physmap.foreign", __HYPERVISOR_memory_op, XENMEM_remove_from_physmap,
        May::kTarget, RemoveForeign, {.target = 0, .pv_refusal = -kEACCES}),
    Row("memory_op.set_memory_map", __HYPERVISOR_memory_op, XENMEM_set_memory_map, May::kTarget,
        SetMemoryMap),
    Row("memory_op.memory_map", __HYPERVISOR_memory_op, XENMEM_memory_map, May::kAnyone,
        GetMemoryMap<kMapEntries + 2>),
    Row("memory_op.memory_map.short", __HYPERVISOR_memory_op, XENMEM_memory_map, May::kAnyone,
        GetMemoryMap<kMapEntries - 1>),
    Row("memory_op.machine_memory_map", __HYPERVISOR_memory_op, XENMEM_machine_memory_map,
        May::kControl, GetMachineMap<true>),
    Row("memory_op.machine_memory_map.count", __HYPERVISOR_memory_op, XENMEM_machine_memory_map,
        May::kControl, GetMachineMap<false>),
    Row("memory_op.machphys_mapping", __HYPERVISOR_memory_op, XENMEM_machphys_mapping, May::kAnyone,
        MachphysMapping),
    Row("memory_op.machphys_mfn_list", __HYPERVISOR_memory_op, XENMEM_machphys_mfn_list,
        May::kAnyone, MachphysList<XENMEM_machphys_mfn_list>),
    Row("memory_op.machphys_compat_mfn_list", __HYPERVISOR_memory_op,
        XENMEM_machphys_compat_mfn_list, May::kAnyone,
        MachphysList<XENMEM_machphys_compat_mfn_list>),
    Row("memory_op.get_vnumainfo", __HYPERVISOR_memory_op, XENMEM_get_vnumainfo, May::kTarget,
        GetVnuma),
    Row("grant_table_op.setup_table", __HYPERVISOR_grant_table_op, GNTTABOP_setup_table,
        May::kTarget, SetupTable,
        {.refusal = GNTST_permission_denied,
         .absent = GNTST_bad_domain,
         .result = StatusOf<gnttab_setup_table>}),
    Row("grant_table_op.setup_table.pv", __HYPERVISOR_grant_table_op, GNTTABOP_setup_table,
        May::kTarget, SetupTable,
        {.target = kPv,
         .refusal = GNTST_permission_denied,
         .absent = GNTST_bad_domain,
         .result = StatusOf<gnttab_setup_table>}),
    Row("grant_table_op.query_size", __HYPERVISOR_grant_table_op, GNTTABOP_query_size, May::kTarget,
        QuerySize,
        {.refusal = GNTST_permission_denied,
         .absent = GNTST_bad_domain,
         .result = StatusOf<gnttab_query_size>}),
    Row("grant_table_op.get_status_frames", __HYPERVISOR_grant_table_op, GNTTABOP_get_status_frames,
        May::kTarget, GetStatusFrames,
        {.target = kGuest,
         .refusal = GNTST_permission_denied,
         .absent = GNTST_bad_domain,
         .result = StatusOf<gnttab_get_status_frames>}),
    Row("grant_table_op.get_version", __HYPERVISOR_grant_table_op, GNTTABOP_get_version,
        May::kTarget, GetGrantVersion),
    Row("grant_table_op.set_version", __HYPERVISOR_grant_table_op, GNTTABOP_set_version,
        May::kAnyone, ChangeGrantVersion<2>),
    Row("grant_table_op.set_version.back", __HYPERVISOR_grant_table_op, GNTTABOP_set_version,
        May::kAnyone, ChangeGrantVersion<1>),
    Row("grant_table_op.map_grant_ref", __HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref,
        May::kAnyone, MapGrant<0>,
        {.absent = GNTST_bad_domain,
         .result = StatusOf<gnttab_map_grant_ref>,
         .own_answer = GNTST_bad_domain,
         .own_answer_by_id = 0}),
    Row("grant_table_op.map_grant_ref.pv", __HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref,
        May::kAnyone, MapGrant<GNTMAP_readonly>,
        {.target = kPv,
         .absent = GNTST_bad_domain,
         .result = StatusOf<gnttab_map_grant_ref>,
         .own_answer = GNTST_bad_domain,
         .own_answer_by_id = 0}),
    Row("grant_table_op.unmap_grant_ref", __HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref,
        May::kAnyone, UnmapGrant, {.result = StatusOf<gnttab_unmap_grant_ref>}),
    Row("grant_table_op.unmap_and_replace", __HYPERVISOR_grant_table_op, GNTTABOP_unmap_and_replace,
        May::kAnyone, UnmapAndReplaceGrant, {.result = StatusOf<gnttab_unmap_and_replace>}),
    Row("grant_table_op.copy", __HYPERVISOR_grant_table_op, GNTTABOP_copy, May::kAnyone,
        CopyGrant<GNTCOPY_source_gref>,
        {.absent = GNTST_bad_domain, .result = StatusOf<gnttab_copy>}),
    Row("grant_table_op.copy.to_pv", __HYPERVISOR_grant_table_op, GNTTABOP_copy, May::kAnyone,
        CopyGrant<GNTCOPY_dest_gref>,
        {.target = kPv, .absent = GNTST_bad_domain, .result = StatusOf<gnttab_copy>}),
    Row("grant_table_op.copy.own", __HYPERVISOR_grant_table_op, GNTTABOP_copy, May::kAnyone,
        CopyGrant<0>, {.result = StatusOf<gnttab_copy>}),
    Row("grant_table_op.swap_grant_ref", __HYPERVISOR_grant_table_op, GNTTABOP_swap_grant_ref,
        May::kAnyone, SwapGrants, {.result = StatusOf<gnttab_swap_grant_ref>}),
    Row("grant_table_op.cache_flush", __HYPERVISOR_grant_table_op, GNTTABOP_cache_flush,
        May::kAnyone, FlushCache),
    Row("event_channel_op.alloc_unbound", __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound,
        May::kTarget, AllocateUnbound, {.dying_refusal = -kEINVAL}),
    Row("event_channel_op.bind_interdomain", __HYPERVISOR_event_channel_op,
        EVTCHNOP_bind_interdomain, May::kAnyone, BindInterdomain),
    Row("event_channel_op.bind_virq", __HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq,
        May::kAnyone, BindVirq<VIRQ_TIMER, 1>),
    Row("event_channel_op.bind_virq.global", __HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq,
        May::kAnyone, BindVirq<VIRQ_DOM_EXC, 0>),
    Row("event_channel_op.bind_ipi", __HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, May::kAnyone,
        BindIpi),
    Row("event_channel_op.close.unbound", __HYPERVISOR_event_channel_op, EVTCHNOP_close,
        May::kAnyone, Close<Opened::kUnbound>),
    Row("event_channel_op.close.interdomain", __HYPERVISOR_event_channel_op, EVTCHNOP_close,
        May::kAnyone, Close<Opened::kInterdomain>),
    Row("event_channel_op.close.virq", __HYPERVISOR_event_channel_op, EVTCHNOP_close, May::kAnyone,
        Close<Opened::kVirq>),
    Row("event_channel_op.send.unbound", __HYPERVISOR_event_channel_op, EVTCHNOP_send, May::kAnyone,
        Send<Opened::kUnbound>),
    Row("event_channel_op.send.interdomain", __HYPERVISOR_event_channel_op, EVTCHNOP_send,
        May::kAnyone, Send<Opened::kInterdomain>),
    Row("event_channel_op.send.ipi", __HYPERVISOR_event_channel_op, EVTCHNOP_send, May::kAnyone,
        Send<Opened::kIpi>),
    Row("event_channel_op.bind_vcpu.unbound", __HYPERVISOR_event_channel_op, EVTCHNOP_bind_vcpu,
        May::kAnyone, BindVcpu<Opened::kUnbound>),
    Row("event_channel_op.bind_vcpu.interdomain", __HYPERVISOR_event_channel_op, EVTCHNOP_bind_vcpu,
        May::kAnyone, BindVcpu<Opened::kInterdomain>),
    Row("event_channel_op.bind_vcpu.globalvirq", __HYPERVISOR_event_channel_op, EVTCHNOP_bind_vcpu,
        May::kAnyone, BindVcpu<Opened::kGlobalVirq>),
    Row("event_channel_op.status.closed", __HYPERVISOR_event_channel_op, EVTCHNOP_status,
        May::kTarget, ClosedStatus),
    Row("event_channel_op.status.unbound", __HYPERVISOR_event_channel_op, EVTCHNOP_status,
        May::kTarget, PortStatus<Opened::kUnbound>),
    Row("event_channel_op.status.interdomain", __HYPERVISOR_event_channel_op, EVTCHNOP_status,
        May::kTarget, PortStatus<Opened::kInterdomain>),
    Row("event_channel_op.status.virq", __HYPERVISOR_event_channel_op, EVTCHNOP_status,
        May::kTarget, PortStatus<Opened::kVirq>, {.target = 0}),
    Row("event_channel_op.status.ipi", __HYPERVISOR_event_channel_op, EVTCHNOP_status, May::kTarget,
        PortStatus<Opened::kIpi>, {.target = 0}),
    Row("event_channel_op.unmask", __HYPERVISOR_event_channel_op, EVTCHNOP_unmask, May::kAnyone,
        Unmask),
    Row("event_channel_op.init_control", __HYPERVISOR_event_channel_op, EVTCHNOP_init_control,
        May::kAnyone, InitControl),
    Row("event_channel_op.init_control.second", __HYPERVISOR_event_channel_op,
        EVTCHNOP_init_control, May::kAnyone, InitSecondControl),
    Row("event_channel_op.expand_array", __HYPERVISOR_event_channel_op, EVTCHNOP_expand_array,
        May::kAnyone, ExpandArray),
    Row("event_channel_op.set_priority", __HYPERVISOR_event_channel_op, EVTCHNOP_set_priority,
        May::kAnyone, SetPriority),
    Row("event_channel_op.send.fifo", __HYPERVISOR_event_channel_op, EVTCHNOP_send, May::kAnyone,
        UsePortInFifo<EVTCHNOP_send, evtchn_send>),
    Row("event_channel_op.unmask.fifo", __HYPERVISOR_event_channel_op, EVTCHNOP_unmask,
        May::kAnyone, UsePortInFifo<EVTCHNOP_unmask, evtchn_unmask>),
    Row("event_channel_op.close.fifo", __HYPERVISOR_event_channel_op, EVTCHNOP_close, May::kAnyone,
        UsePortInFifo<EVTCHNOP_close, evtchn_close>),
    Row("event_channel_op.reset.fifo", __HYPERVISOR_event_channel_op, EVTCHNOP_reset, May::kAnyone,
        ResetFifo),
    Row("event_channel_op.reset", __HYPERVISOR_event_channel_op, EVTCHNOP_reset, May::kTarget,
        ResetEvents<EVTCHNOP_reset, 3>),
    Row("event_channel_op.reset.many_ports", __HYPERVISOR_event_channel_op, EVTCHNOP_reset,
        May::kTarget, ResetEvents<EVTCHNOP_reset, 150>),
    // When none is under way.
    Row("event_channel_op.reset.continued", __HYPERVISOR_event_channel_op, kContinuedReset,
        May::kTarget, ResetEvents<kContinuedReset, 3>, {.answer = -kEBUSY}),
    Row("hvm_op.set_param.store_pfn", __HYPERVISOR_hvm_op, HVMOP_set_param, May::kTarget,
        SetParam<HVM_PARAM_STORE_PFN, 5>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.set_param.callback_irq", __HYPERVISOR_hvm_op, HVMOP_set_param, May::kTarget,
        SetParam<HVM_PARAM_CALLBACK_IRQ, 5>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.set_param.vm86_tss", __HYPERVISOR_hvm_op, HVMOP_set_param, May::kTarget,
        SetParam<HVM_PARAM_VM86_TSS, 0x8000>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.set_param.ioreq_server_pfn", __HYPERVISOR_hvm_op, HVMOP_set_param, May::kTarget,
        SetParam<HVM_PARAM_IOREQ_SERVER_PFN, 5>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.get_param.store_pfn", __HYPERVISOR_hvm_op, HVMOP_get_param, May::kTarget,
        GetParam<HVM_PARAM_STORE_PFN, 5>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.get_param.vm86_tss", __HYPERVISOR_hvm_op, HVMOP_get_param, May::kTarget,
        GetParam<HVM_PARAM_VM86_TSS, 0x8000>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.get_param.ioreq_pfn", __HYPERVISOR_hvm_op, HVMOP_get_param, May::kTarget,
        GetParam<HVM_PARAM_IOREQ_PFN, 5>, {.pv_refusal = -kEINVAL, .own_answer = -kEINVAL}),
    Row("hvm_op.flush_tlbs", __HYPERVISOR_hvm_op, HVMOP_flush_tlbs, May::kAnyone, FlushTlbs),
    Row("hvm_op.get_time", __HYPERVISOR_hvm_op, HVMOP_get_time, May::kAnyone, GetTime),
    Row("hvm_op.get_mem_type.ram", __HYPERVISOR_hvm_op, HVMOP_get_mem_type, May::kTarget,
        GetMemType<3>, {.own_answer = -kEINVAL}),
    Row("hvm_op.get_mem_type.nothing", __HYPERVISOR_hvm_op, HVMOP_get_mem_type, May::kTarget,
        GetMemType<kWindowEnd>, {.own_answer = -kEINVAL}),
    Row("vcpu_op.up", __HYPERVISOR_vcpu_op, VCPUOP_up, May::kAnyone,
        VcpuOnOff<VCPUOP_up, VCPUOP_down>),
    Row("vcpu_op.down", __HYPERVISOR_vcpu_op, VCPUOP_down, May::kAnyone,
        VcpuOnOff<VCPUOP_down, VCPUOP_up>),
    Row("vcpu_op.is_up", __HYPERVISOR_vcpu_op, VCPUOP_is_up, May::kAnyone,
        VcpuOnOff<VCPUOP_is_up, VCPUOP_up>, {.answer = 1}),
    Row("vcpu_op.get_runstate_info", __HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, May::kAnyone,
        GetRunstate),
    Row("vcpu_op.register_runstate_memory_area", __HYPERVISOR_vcpu_op,
        VCPUOP_register_runstate_memory_area, May::kAnyone, RegisterRunstate<true>),
    Row("vcpu_op.register_runstate_memory_area.none", __HYPERVISOR_vcpu_op,
        VCPUOP_register_runstate_memory_area, May::kAnyone, RegisterRunstate<false>),
    Row("sched_op.yield", __HYPERVISOR_sched_op, SCHEDOP_yield, May::kAnyone, Sched<SCHEDOP_yield>),
    Row("sched_op.block", __HYPERVISOR_sched_op, SCHEDOP_block, May::kAnyone, Sched<SCHEDOP_block>),
    Row("sched_op.shutdown", __HYPERVISOR_sched_op, SCHEDOP_shutdown, May::kAnyone,
        ShutDown<SCHEDOP_shutdown>),
    Row("sched_op.shutdown_code", __HYPERVISOR_sched_op, SCHEDOP_shutdown_code, May::kAnyone,
        ShutDown<SCHEDOP_shutdown_code>),
    Row("sched_op.remote_shutdown", __HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, May::kControl,
        ShutDownOther),
    Row("sched_op.poll", __HYPERVISOR_sched_op, SCHEDOP_poll, May::kAnyone, Poll),
    Row("sched_op.watchdog", __HYPERVISOR_sched_op, SCHEDOP_watchdog, May::kAnyone, SetWatchdog,
        {.answer = kAnyAnswer}),
    Row("xen_version.version", __HYPERVISOR_xen_version, XENVER_version, May::kAnyone,
        Version<XENVER_version>, {.answer = 4 << 16 | 17}),
    Row("xen_version.extraversion", __HYPERVISOR_xen_version, XENVER_extraversion, May::kAnyone,
        Version<XENVER_extraversion, XEN_EXTRAVERSION_LEN>),
    Row("xen_version.compile_info", __HYPERVISOR_xen_version, XENVER_compile_info, May::kAnyone,
        Version<XENVER_compile_info, sizeof(xen_compile_info)>),
    Row("xen_version.capabilities", __HYPERVISOR_xen_version, XENVER_capabilities, May::kAnyone,
        Version<XENVER_capabilities, XEN_CAPABILITIES_INFO_LEN>),
    Row("xen_version.changeset", __HYPERVISOR_xen_version, XENVER_changeset, May::kAnyone,
        Version<XENVER_changeset, XEN_CHANGESET_INFO_LEN>),
    Row("xen_version.platform_parameters", __HYPERVISOR_xen_version, XENVER_platform_parameters,
        May::kAnyone, Version<XENVER_platform_parameters, sizeof(xen_platform_parameters)>),
    Row("xen_version.get_features", __HYPERVISOR_xen_version, XENVER_get_features, May::kAnyone,
        Version<XENVER_get_features, sizeof(xen_feature_info)>),
    Row("xen_version.guest_handle", __HYPERVISOR_xen_version, XENVER_guest_handle, May::kAnyone,
        Version<XENVER_guest_handle, sizeof(xen_domain_handle_t)>),
    Row("xen_version.commandline", __HYPERVISOR_xen_version, XENVER_commandline, May::kAnyone,
        Version<XENVER_commandline, sizeof(xen_commandline_t)>),
    Row("xen_version.pagesize", __HYPERVISOR_xen_version, XENVER_pagesize, May::kAnyone,
        Version<XENVER_pagesize>, {.answer = 4096}),
    Row("xen_version.build_id", __HYPERVISOR_xen_version, XENVER_build_id, May::kControl, BuildId,
        {.answer = 20}),
    Row("xen_version.build_id.size", __HYPERVISOR_xen_version, XENVER_build_id, May::kControl,
        Version<XENVER_build_id>, {.answer = 20}),
    Row("console_io.write", __HYPERVISOR_console_io, CONSOLEIO_write, May::kControl,
        Console<CONSOLEIO_write>),
    Row("console_io.read", __HYPERVISOR_console_io, CONSOLEIO_read, May::kControl,
        Console<CONSOLEIO_read>),
    Row("mmuext_op.pin", __HYPERVISOR_mmuext_op, 0, May::kTarget, PageTables<MMUEXT_PIN_L4_TABLE>,
        {.target = kPv, .own_answer = -kEINVAL, .own_answer_by_id = -kESRCH}),
    Row("mmuext_op.unpin", __HYPERVISOR_mmuext_op, 0, May::kTarget, PageTables<MMUEXT_UNPIN_TABLE>,
        {.target = kPv, .own_answer = -kEINVAL, .own_answer_by_id = -kESRCH}),
    Row("multicall", __HYPERVISOR_multicall, 0, May::kAnyone, ManyCalls, {.result = FirstResult}),
    Row("multicall.about_target", __HYPERVISOR_multicall, 0, May::kTarget, CallsAboutTarget,
        {.answer = kPagesOfEach, .result = FirstResult}),
    Row("xencomm_op.register", kXencommOp, OpOf(XencommOp::kRegister), May::kAnyone, RegisterRegion,
        {.answer = kAnyAnswer}),
    Row("xencomm_op.extend", kXencommOp, OpOf(XencommOp::kExtend), May::kAnyone, ExtendRegion),
    Row("xencomm_op.unregister", kXencommOp, OpOf(XencommOp::kUnregister), May::kAnyone,
        UnregisterRegion),
};

}  // namespace

void EndGrantMaps(CallsMachine& on, Vcpu& of) {
  std::vector<gnttab_unmap_grant_ref> all(256);
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    all[i] = {.host_addr = kWindow << kPageShift, .handle = i};
  }
  on.machine.hypervisor.Call(
      of, on.Frame(__HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref, all.data(), all.size()));
}

std::span<const WorkingCall> WorkingGuestCalls() { return kCalls; }

}  // namespace xencomm::hypervisor
