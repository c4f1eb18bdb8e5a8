// memory_op (12): dispatch, and the ops that answer a number about a domain or the machine.

#include "hcall/hypervisor/calls/memory_op.h"

#include "hcall/hypervisor/memory/frame_heap.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

// One memory_op: where a call that was continued goes on is part of the command.
struct MemoryCall {
  Call& call;
  std::uint64_t op;
  std::uint64_t start;
};

// Orders of Xen 4.17 on x86: CONFIG_CTLDOM_MAX_ORDER, CONFIG_DOMU_MAX_ORDER.
constexpr unsigned kControlMaxOrder = FrameHeap::kMaxOrder;
constexpr unsigned kGuestMaxOrder = 9;

// The highest gfn in use. A PV domain says itself, in its shared info, how many it has.
std::int64_t MaximumGpfn(const Core& core, const Domain& domain) {
  std::uint64_t end = domain.p2m.end();
  if (!domain.translated()) {
    const std::byte* shared_info = core.frames.Bytes(domain.shared_info_mfn);
    end = LoadSharedField<std::uint64_t>(shared_info + offsetof(shared_info_t, arch.max_pfn),
                                         domain.order);
  }
  return end == 0 ? 0 : static_cast<std::int64_t>(end - 1);
}

// Claims pages for a domain. -EINVAL also for a domain that is not there, as in Xen.
std::int64_t ClaimPages(Call& call) {
  Argument<xen_memory_reservation> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_claim_pages)) return -kEFAULT;
  const auto extents = request.Bind(schema::rows::memory_op::claim_pages::extent_start);
  if (!extents.is_null() || request->extent_order != 0 || request->mem_flags != 0) {
    return -kEINVAL;
  }
  Domain* target = call.core.domains.Find(request->domid);
  if (target == nullptr) return -kEINVAL;
  if (!call.domain.privileged) return -kEPERM;
  SpinGuard guard(target->lock);
  // Its end has given the claim up, and would not do so again.
  if (target->dying()) return -kEINVAL;
  Physmap physmap(call.core, *target);
  if (request->nr_extents == 0) {
    physmap.Claim(0);
    return 0;
  }
  const std::uint64_t total = target->tot_pages.load(std::memory_order_relaxed);
  if (target->outstanding_pages.load(std::memory_order_relaxed) != 0) return -kEINVAL;
  if (request->nr_extents <= total ||
      request->nr_extents > target->max_pages.load(std::memory_order_relaxed)) {
    return -kEINVAL;
  }
  const std::uint64_t claim = request->nr_extents - total;
  if (claim > call.core.heap.free_pages()) return -kENOMEM;
  physmap.Claim(claim);
  return 0;
}

// Sets `target_pages` of memory aside for a domain that has no page yet: it is to populate itself
// on demand. The call may have to be continued.
std::int64_t FillPodCache(Call& call, Domain& domain, std::uint64_t target_pages) {
  constexpr unsigned kSuperpageOrder = 9;
  Physmap physmap(call.core, domain);
  while (domain.pod_cache_pages < target_pages) {
    const std::uint64_t missing = target_pages - domain.pod_cache_pages;
    unsigned order = missing >> kSuperpageOrder != 0 ? kSuperpageOrder : 0;
    std::uint64_t mfn;
    std::int64_t error = physmap.Allocate(0, order, FrameHeap::kAnyWidth, &mfn);
    if (error != 0 && order != 0) {
      order = 0;
      error = physmap.Allocate(0, order, FrameHeap::kAnyWidth, &mfn);
    }
    if (error != 0) return call.UnlessMemoryIsDue(-kENOMEM);
    domain.pod_cache_pages += std::uint64_t{1} << order;
    if (domain.pod_cache_pages != target_pages &&
        call.ShouldPreempt(std::uint64_t{1} << order)) {
      return call.Continue();
    }
  }
  return 0;
}

// What is to be populated on demand, and with what. No domain has such pages here: one with memory
// is content with what it has, whatever its target.
template <bool kIsSet>
std::int64_t PodTarget(Call& call) {
  Argument<xen_pod_target> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op,
                     kIsSet ? XENMEM_set_pod_target : XENMEM_get_pod_target)) {
    return -kEFAULT;
  }
  Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  if (!target->translated()) return -kEINVAL;
  if (!call.domain.privileged) return -kEPERM;

  SpinGuard guard(call.core.control);
  // It may have gone while the lock was waited for.
  if (call.FindAny(request->domid) != target) return -kESRCH;
  if constexpr (kIsSet) {
    if (request->target_pages > target->max_pages.load(std::memory_order_relaxed)) return -kEINVAL;
    const bool is_empty =
        target->tot_pages.load(std::memory_order_relaxed) == target->pod_cache_pages;
    if (!target->dying() && is_empty) {
      const std::int64_t error = FillPodCache(call, *target, request->target_pages);
      if (error != 0 || call.frame.continued) return error;
    }
  }
  request->tot_pages = target->tot_pages.load(std::memory_order_relaxed);
  request->pod_cache_pages = target->pod_cache_pages;
  request->pod_entries = 0;
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t AskDomain(MemoryCall& memory) {
  auto& [call, op, start] = memory;
  Argument<xen_memory_domain> argument(call, call.frame.arguments[1]);
  if (!argument.Fetch(__HYPERVISOR_memory_op, op)) return -kEFAULT;
  const Domain* target = call.FindAny(argument->domid);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  switch (op) {
    case XENMEM_current_reservation:
      return static_cast<std::int64_t>(target->tot_pages.load(std::memory_order_relaxed));
    case XENMEM_maximum_reservation:
      return static_cast<std::int64_t>(target->max_pages.load(std::memory_order_relaxed));
    default:
      return MaximumGpfn(call.core, *target);
  }
}

std::int64_t MaximumRamPage(MemoryCall& memory) {
  return static_cast<std::int64_t>(memory.call.core.max_page());
}

// No pages are shared.
std::int64_t SharedPages(MemoryCall&) { return 0; }

// An op that keeps no progress: a command with some is not one that the hypervisor gave out.
template <std::int64_t (*kRun)(MemoryCall&)>
std::int64_t AtOnce(MemoryCall& memory) {
  return memory.start != 0 ? -kEINVAL : kRun(memory);
}
template <std::int64_t (*kRun)(Call&)>
std::int64_t AtOnce(MemoryCall& memory) {
  return memory.start != 0 ? -kEINVAL : kRun(memory.call);
}
// To the architecture's ops such a command is unknown.
template <std::int64_t (*kRun)(Call&)>
std::int64_t Architecture(MemoryCall& memory) {
  return memory.start != 0 ? -kENOSYS : kRun(memory.call);
}
std::int64_t MachphysList(MemoryCall& memory) {
  return memory.start != 0 ? -kENOSYS : GetMachphysList(memory.call, memory.op);
}

std::int64_t ChangeReservationOp(MemoryCall& memory) {
  return ChangeReservation(memory.call, memory.op, memory.start);
}
template <std::int64_t (*kRun)(Call&, std::uint64_t)>
std::int64_t Continued(MemoryCall& memory) {
  return kRun(memory.call, memory.start);
}

constexpr OpTable<MemoryCall, kMemoryOpMask + 1> kOps = {
    {XENMEM_increase_reservation, ChangeReservationOp},
    {XENMEM_decrease_reservation, ChangeReservationOp},
    {XENMEM_populate_physmap, ChangeReservationOp},
    {XENMEM_current_reservation, AtOnce<AskDomain>},
    {XENMEM_maximum_reservation, AtOnce<AskDomain>},
    {XENMEM_maximum_gpfn, AtOnce<AskDomain>},
    {XENMEM_maximum_ram_page, AtOnce<MaximumRamPage>},
    {XENMEM_exchange, AtOnce<Exchange>},
    {XENMEM_claim_pages, AtOnce<ClaimPages>},
    {XENMEM_add_to_physmap, Continued<AddToPhysmap>},
    {XENMEM_add_to_physmap_batch, Continued<AddToPhysmapBatch>},
    {XENMEM_remove_from_physmap, AtOnce<RemoveFromPhysmap>},
    {XENMEM_acquire_resource, Continued<AcquireResource>},
    {XENMEM_get_sharing_freed_pages, SharedPages},
    {XENMEM_get_sharing_shared_pages, SharedPages},
    {XENMEM_get_vnumainfo, AtOnce<GetVnuma>},
    {XENMEM_set_pod_target, Architecture<PodTarget<true>>},
    {XENMEM_get_pod_target, Architecture<PodTarget<false>>},
    {XENMEM_set_memory_map, Architecture<SetMemoryMap>},
    {XENMEM_memory_map, Architecture<GetMemoryMap>},
    {XENMEM_machine_memory_map, Architecture<GetMachineMemoryMap>},
    {XENMEM_machphys_mapping, Architecture<GetMachphysMapping>},
    {XENMEM_machphys_mfn_list, MachphysList},
    {XENMEM_machphys_compat_mfn_list, MachphysList},
};

}  // namespace

unsigned MaxExtentOrder(const Domain& caller) {
  return caller.privileged ? kControlMaxOrder : kGuestMaxOrder;
}

std::int64_t ContinueMemoryOp(Call& call, std::uint64_t op, std::uint64_t done) {
  return call.ContinueWith(__HYPERVISOR_memory_op, op | done << kMemoryOpBits,
                           call.frame.arguments[1]);
}

OpAnswer AskMemoryOp(std::uint64_t op) { return kOps.Ask(op & kMemoryOpMask); }

std::int64_t MemoryOp(Call& call) {
  const std::uint64_t command = call.frame.arguments[0];
  MemoryCall memory = {call, command & kMemoryOpMask, command >> kMemoryOpBits};
  return kOps.Run(memory.op, memory);
}

}  // namespace xencomm::hypervisor
