// memory_op (12): the way in, and the ops that ask one number about a domain or the machine.

#include "hcall/hypervisor/memory_op.h"

#include "hcall/hypervisor/frame_heap.h"

namespace xencomm::hypervisor {
namespace {

// Orders of Xen 4.17 on x86: CONFIG_CTLDOM_MAX_ORDER, CONFIG_DOMU_MAX_ORDER.
constexpr unsigned kControlMaxOrder = FrameHeap::kMaxOrder;
constexpr unsigned kGuestMaxOrder = 9;

// The highest gfn in use; of a PV domain, of the frames that it knows (its shared info says how
// many in Xen).
std::int64_t MaximumGpfn(const Domain& domain) {
  const std::uint64_t end =
      domain.translated() ? domain.p2m.end() : domain.tot_pages.load(std::memory_order_relaxed);
  return end == 0 ? 0 : static_cast<std::int64_t>(end - 1);
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
      return MaximumGpfn(*target);
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
    default:
      return -kENOSYS;
  }
}

}  // namespace xencomm::hypervisor
