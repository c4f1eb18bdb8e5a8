// memory_op (12): the way in, and the ops that ask one number about a domain or the machine.

#include "hcall/hypervisor/memory_op.h"

#include "hcall/hypervisor/frame_heap.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

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

// A promise of pages to a domain. -EINVAL also for a domain that is not there, as in Xen.
std::int64_t ClaimPages(Call& call) {
  Argument<xen_memory_reservation> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_claim_pages)) return -kEFAULT;
  const auto extents = request.Bind(schema::rows::memory_op::claim_pages::extent_start);
  if (!extents.ok()) return -kEFAULT;
  if (!extents->is_null() || request->extent_order != 0 || request->mem_flags != 0) {
    return -kEINVAL;
  }
  Domain* target = call.core.domains.Find(request->domid);
  if (target == nullptr) return -kEINVAL;
  if (!call.domain.privileged) return -kEPERM;
  SpinGuard guard(target->lock);
  if (request->nr_extents == 0) {
    target->outstanding_pages.store(0, std::memory_order_relaxed);
    return 0;
  }
  const std::uint64_t total = target->tot_pages.load(std::memory_order_relaxed);
  if (target->outstanding_pages.load(std::memory_order_relaxed) != 0) return -kEINVAL;
  if (request->nr_extents < total ||
      request->nr_extents > target->max_pages.load(std::memory_order_relaxed)) {
    return -kEINVAL;
  }
  const std::uint64_t claim = request->nr_extents - total;
  if (claim > call.core.heap.free_pages()) return -kENOMEM;
  target->outstanding_pages.store(claim, std::memory_order_relaxed);
  return 0;
}

std::int64_t ArchitectureOp(Call& call, std::uint64_t op) {
  switch (op) {
    case XENMEM_set_memory_map:
      return SetMemoryMap(call);
    case XENMEM_memory_map:
      return GetMemoryMap(call);
    case XENMEM_machine_memory_map:
      return GetMachineMemoryMap(call);
    case XENMEM_machphys_mapping:
      return GetMachphysMapping(call);
    case XENMEM_machphys_mfn_list:
    case XENMEM_machphys_compat_mfn_list:
      return GetMachphysList(call, op);
    default:
      return -kENOSYS;
  }
}

std::int64_t AskDomain(Call& call, std::uint64_t op) {
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

}  // namespace

unsigned MaxExtentOrder(const Domain& caller) {
  return caller.privileged ? kControlMaxOrder : kGuestMaxOrder;
}

std::int64_t ContinueMemoryOp(Call& call, std::uint64_t op, std::uint64_t done) {
  return call.ContinueWith(__HYPERVISOR_memory_op, op | done << kMemoryOpBits,
                           call.frame.arguments[1]);
}

std::int64_t MemoryOp(Call& call) {
  const std::uint64_t op = call.frame.arguments[0] & kMemoryOpMask;
  const std::uint64_t start = call.frame.arguments[0] >> kMemoryOpBits;
  switch (op) {
    case XENMEM_increase_reservation:
    case XENMEM_decrease_reservation:
    case XENMEM_populate_physmap:
      return ChangeReservation(call, op, start);
    case XENMEM_current_reservation:
    case XENMEM_maximum_reservation:
    case XENMEM_maximum_gpfn:
      return start != 0 ? -kEINVAL : AskDomain(call, op);
    case XENMEM_maximum_ram_page:
      return start != 0 ? -kEINVAL : static_cast<std::int64_t>(call.core.max_page());
    case XENMEM_exchange:
      return start != 0 ? -kEINVAL : Exchange(call);
    case XENMEM_claim_pages:
      return start != 0 ? -kEINVAL : ClaimPages(call);
    case XENMEM_add_to_physmap:
      return AddToPhysmap(call, start);
    case XENMEM_add_to_physmap_batch:
      return AddToPhysmapBatch(call, start);
    case XENMEM_remove_from_physmap:
      return start != 0 ? -kEINVAL : RemoveFromPhysmap(call);
    case XENMEM_get_vnumainfo:
      return start != 0 ? -kEINVAL : GetVnuma(call);
    default:
      // The architecture's ops keep no progress: a command with some is unknown to them.
      return start != 0 ? -kENOSYS : ArchitectureOp(call, op);
  }
}

}  // namespace xencomm::hypervisor
