// memory_op: memory maps, of domains and of the machine, and domains' NUMA topology.

#include "hcall/hypervisor/calls/memory_op.h"
#include "hcall/hypervisor/domain/memory_map.h"
#include "hcall/hypervisor/domain/vnuma.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::memory_op;

constexpr std::uint32_t kE820Ram = 1;
constexpr std::uint32_t kE820Reserved = 2;

// Of the machine-to-physical table in Xen's address space (public/arch-x86/xen-x86_64.h).
constexpr std::uint64_t kMachineToPhysStart = 0xffff800000000000;
constexpr std::uint64_t kMachineToPhysEnd = 0xffff804000000000;

}  // namespace

std::int64_t SetMemoryMap(Call& call) {
  Argument<xen_foreign_memory_map> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_set_memory_map)) return -kEFAULT;
  const std::uint32_t count = request->map.nr_entries;
  if (count > MemoryMap::kMaxEntries) return -kEINVAL;
  Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  const auto buffer = request.Bind(rows::set_memory_map::map_buffer);

  // What the domain will own must be charged while it cannot end.
  SpinGuard guard(call.core.control);
  if (target->dying()) return -kESRCH;
  MemoryMap* map = target->overhead.New<MemoryMap>();
  if (map == nullptr) return -kENOMEM;
  map->count = count;
  std::int64_t answer = 0;
  if (buffer.Read(0, std::span(map->entries).first(count)).ok()) {
    map = target->memory_map.exchange(map, std::memory_order_release);
  } else {
    answer = -kEFAULT;
  }
  target->overhead.Delete(map);
  return answer;
}

std::int64_t GetMemoryMap(Call& call) {
  Argument<xen_memory_map> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_memory_map)) return -kEFAULT;
  const MemoryMap* map = call.domain.memory_map.load(std::memory_order_acquire);
  if (map == nullptr || map->count == 0) return -kENOSYS;
  const auto buffer = request.Bind(rows::memory_map::buffer);
  if (request->nr_entries > map->count) request->nr_entries = map->count;
  for (std::uint32_t i = 0; i < request->nr_entries; ++i) {
    if (!buffer.Write(i, map->entries[i]).ok()) return -kEFAULT;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetMachineMemoryMap(Call& call) {
  if (!call.domain.privileged) return -kEPERM;
  Argument<xen_memory_map> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_machine_memory_map)) return -kEFAULT;
  const MachineConfig& config = call.core.config;
  e820_entry entries[2];
  std::uint32_t count = 0;
  if (config.pool_begin != 0) {
    // What lies below the pool is the machine's.
    entries[count++] = {.addr = 0, .size = config.pool_begin, .type = kE820Reserved};
  }
  entries[count++] = {
      .addr = config.pool_begin, .size = config.pool_end - config.pool_begin, .type = kE820Ram};

  const auto buffer = request.Bind(rows::machine_memory_map::buffer);
  if (!buffer.is_null()) {
    // Xen wants room for one more than there are.
    if (request->nr_entries < count + 1) return -kEINVAL;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!buffer.Write(i, entries[i]).ok()) return -kEFAULT;
    }
  }
  request->nr_entries = count;
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetMachphysMapping(Call& call) {
  Argument<xen_machphys_mapping> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_machphys_mapping)) return -kEFAULT;
  request->v_start = kMachineToPhysStart;
  request->v_end = kMachineToPhysEnd;
  request->max_mfn = call.domain.id == 0
                         ? call.core.max_page() - 1
                         : (kMachineToPhysEnd - kMachineToPhysStart) / sizeof(std::uint64_t) - 1;
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetMachphysList(Call& call, std::uint64_t op) {
  // The frames in which the hypervisor notes where a domain has each frame, as many as Xen would
  // list: one for every 2 MiB of a table with 8 bytes a frame. Nobody can map them: the notes are
  // not in the form that Xen has them in.
  constexpr std::uint64_t kFramesOfExtent = (std::uint64_t{2} << 20) / sizeof(std::uint64_t);
  Argument<xen_machphys_mfn_list> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, op)) return -kEFAULT;
  const auto extents = request.Bind(rows::machphys_mfn_list::extent_start);
  const std::uint64_t extents_there =
      (call.core.max_page() + kFramesOfExtent - 1) / kFramesOfExtent;
  std::uint32_t count = 0;
  for (; count < request->max_extents && count < extents_there; ++count) {
    const std::uint64_t frame = call.core.frames.MfnOf(0) + count;
    if (!extents.Write(count, frame).ok()) return -kEFAULT;
  }
  request->nr_extents = count;
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetVnuma(Call& call) {
  Argument<xen_vnuma_topology_info> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_get_vnumainfo)) return -kEFAULT;
  if (request->pad != 0) return -kEINVAL;
  const Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  const Vnuma* vnuma = target->vnuma.load(std::memory_order_acquire);
  if (vnuma == nullptr) return -kEOPNOTSUPP;
  const bool too_small = request->nr_vnodes < vnuma->nr_vnodes ||
                         request->nr_vcpus < vnuma->nr_vcpus ||
                         request->nr_vmemranges < vnuma->nr_vmemranges;
  request->nr_vnodes = vnuma->nr_vnodes;
  request->nr_vcpus = vnuma->nr_vcpus;
  request->nr_vmemranges = vnuma->nr_vmemranges;
  if (too_small) return request.Store() ? -kENOBUFS : -kEFAULT;

  // Bound by the counts that are written, which are no more than there is room for.
  const auto distances = request.Bind(rows::get_vnumainfo::vdistance_h);
  const auto vcpus = request.Bind(rows::get_vnumainfo::vcpu_to_vnode_h);
  const auto ranges = request.Bind(rows::get_vnumainfo::vmemrange_h);
  const std::size_t nodes = vnuma->nr_vnodes;
  if (!ranges.Write(0, std::span(vnuma->vmemrange).first(vnuma->nr_vmemranges)).ok() ||
      !distances.Write(0, std::span(vnuma->vdistance).first(nodes * nodes)).ok() ||
      !vcpus.Write(0, std::span<const std::uint32_t>(vnuma->vcpu_to_vnode, vnuma->nr_vcpus)).ok()) {
    return -kEFAULT;
  }
  return request.Store() ? 0 : -kEFAULT;
}

}  // namespace xencomm::hypervisor
