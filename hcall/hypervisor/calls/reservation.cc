// memory_op: a domain's reservation, extent by extent.
//
// These ops answer how many extents are done, counted from the first call of a continued one. What
// stopped them is not told: a toolstack that gets fewer than it asked for knows where to look.

#include "hcall/hypervisor/calls/memory_op.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

using Reservation = Argument<xen_memory_reservation>;
using Extents = GuestHandle<xen_pfn_t>;

struct Request {
  Call& call;
  Domain& target;
  std::uint64_t op;
  unsigned order;
  unsigned width;  // of machine frames' numbers, at most
  bool on_demand;
};

// How many bits a machine frame's number may have; false when there is no frame with so few.
bool FrameWidth(std::uint32_t mem_flags, unsigned* width) {
  const unsigned bits = XENMEMF_get_address_bits(mem_flags);
  if (bits == 0) return true;
  if (bits <= kPageShift) return false;
  *width = bits - kPageShift;
  return true;
}

// Of the one node there is. An exact request is for control domains.
bool NodeAllowed(const Domain& caller, std::uint32_t mem_flags) {
  constexpr unsigned kNoNode = 0xff;  // NUMA_NO_NODE
  constexpr unsigned kMaxNodes = 64;  // MAX_NUMNODES
  if ((mem_flags & XENMEMF_vnode) != 0) return true;
  const unsigned node = XENMEMF_get_node(mem_flags);
  if (node == kNoNode) return true;
  const bool exact = (mem_flags & XENMEMF_exact_node(0) & ~XENMEMF_node(0)) != 0;
  if (caller.privileged) return exact ? node == 0 : node < kMaxNodes;
  return (mem_flags & (XENMEMF_exact_node(0) & ~XENMEMF_node(0))) == 0;
}

// A PV domain is told where in the machine its memory is. It is its also when it cannot be told.
std::int64_t Tell(const Request& request, const Extents& extents, std::uint64_t index,
                  xen_pfn_t mfn) {
  if (request.target.translated()) return 0;
  return extents.Write(index, mfn).ok() ? 0 : -kEFAULT;
}

// New memory at the gfns that the list names.
std::int64_t PopulateOne(const Request& request, const Extents& extents, std::uint64_t index) {
  xen_pfn_t gfn;
  if (!extents.Read(index, gfn).ok()) return -kEFAULT;
  // Populating on demand is not offered; for a PV domain the flag has no meaning.
  if (request.on_demand) {
    return &request.target != &request.call.domain && !request.target.hvm ? 0 : -kEINVAL;
  }

  Physmap physmap(request.call.core, request.target);
  std::uint64_t mfn;
  std::int64_t error = physmap.Allocate(gfn, request.order, request.width, &mfn);
  if (error != 0) return error;
  error = physmap.Place(gfn, mfn, request.order, P2mType::kRam);
  // Of a page for which there is no such place, the domain keeps the memory, as in Xen.
  if (error != 0 && error != -kEINVAL) physmap.Withdraw(mfn, request.order);
  return error != 0 ? error : Tell(request, extents, index, mfn);
}

// Memory at no gfn yet.
std::int64_t IncreaseOne(const Request& request, const Extents& extents, std::uint64_t index) {
  Physmap physmap(request.call.core, request.target);
  std::uint64_t mfn;
  const std::int64_t error = physmap.Allocate(0, request.order, request.width, &mfn);
  if (error != 0 || extents.is_null()) return error;
  return Tell(request, extents, index, mfn);
}

std::int64_t DecreaseOne(const Request& request, const GuestHandle<const xen_pfn_t>& extents,
                         std::uint64_t index) {
  xen_pfn_t frame;
  if (!extents.Read(index, frame).ok()) return -kEFAULT;
  Physmap physmap(request.call.core, request.target);
  for (std::uint64_t i = 0; i < std::uint64_t{1} << request.order; ++i) {
    const std::int64_t error = physmap.Free(frame + i);
    if (error != 0) return error;
  }
  return 0;
}

// `one(index)` for each extent that is left, until one fails or it is time to stop.
template <class One>
std::int64_t ForEachExtent(const Request& request, std::uint64_t start, std::uint64_t count,
                           One one) {
  for (std::uint64_t i = start; i < count; ++i) {
    const std::int64_t error = one(i);
    if (error == -kENOMEM && request.call.IsMemoryDue()) {
      return ContinueMemoryOp(request.call, request.op, i);
    }
    if (error != 0) return static_cast<std::int64_t>(i);
    if (i + 1 != count && request.call.ShouldPreempt(std::uint64_t{1} << request.order)) {
      return ContinueMemoryOp(request.call, request.op, i + 1);
    }
  }
  return static_cast<std::int64_t>(count);
}

}  // namespace

std::int64_t ChangeReservation(Call& call, std::uint64_t op, std::uint64_t start) {
  namespace rows = schema::rows::memory_op;
  const auto nothing_more = static_cast<std::int64_t>(start);
  Reservation reservation(call, call.frame.arguments[1]);
  if (!reservation.Fetch(__HYPERVISOR_memory_op, op)) return nothing_more;
  const std::uint64_t count = reservation->nr_extents;
  // Too many for the progress to be kept beside the op: Xen counts it in 32 bits.
  if (count > ~std::uint32_t{0} >> kMemoryOpBits || start >= count) return nothing_more;

  Domain* target = call.FindAny(reservation->domid);
  if (target == nullptr || !call.Controls(*target)) return nothing_more;
  Request request = {.call = call,
                     .target = *target,
                     .op = op,
                     .order = reservation->extent_order,
                     .width = FrameHeap::kAnyWidth,
                     .on_demand = (reservation->mem_flags & XENMEMF_populate_on_demand) != 0};
  if (request.order > MaxExtentOrder(call.domain) ||
      !FrameWidth(reservation->mem_flags, &request.width) ||
      !NodeAllowed(call.domain, reservation->mem_flags)) {
    return nothing_more;
  }

  if (op == XENMEM_decrease_reservation) {
    const auto extents = reservation.Bind(rows::decrease_reservation::extent_start);
    return ForEachExtent(request, start, count,
                         [&](std::uint64_t i) { return DecreaseOne(request, extents, i); });
  }
  if (op == XENMEM_populate_physmap) {
    const auto extents = reservation.Bind(rows::populate_physmap::extent_start);
    return ForEachExtent(request, start, count,
                         [&](std::uint64_t i) { return PopulateOne(request, extents, i); });
  }
  const auto extents = reservation.Bind(rows::increase_reservation::extent_start);
  return ForEachExtent(request, start, count,
                       [&](std::uint64_t i) { return IncreaseOne(request, extents, i); });
}

}  // namespace xencomm::hypervisor
