// memory_op: what lies at which guest frame.

#include "hcall/hypervisor/calls/memory_op.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::memory_op;

// XSM_TARGET in Xen's dummy policy, and a domain that has a physmap of its own at all.
std::int64_t MayChange(const Call& call, const Domain& target) {
  if (!target.translated()) return -kEACCES;
  return call.Controls(target) ? 0 : -kEPERM;
}

// One page of space `space` at `gfn`; of domain `foreign`, where the space is another's.
std::int64_t AddOne(Call& call, Domain& target, unsigned space, std::uint64_t index,
                    std::uint64_t gfn, std::uint16_t foreign = DOMID_INVALID) {
  Physmap physmap(call.core, target);
  switch (space) {
    case XENMAPSPACE_shared_info:
      if (index != 0) return -kEINVAL;
      return physmap.Move(target.shared_info_mfn, gfn, P2mType::kShared);
    case XENMAPSPACE_grant_table: {
      std::uint64_t mfn;
      const std::int64_t error = GrantFrameForMap(target, index, &mfn);
      // A table that cannot grow is -EINVAL, for whatever reason.
      if (error != 0) return call.IsMemoryDue() ? -kENOMEM : error;
      return physmap.Move(mfn, gfn, P2mType::kShared);
    }
    case XENMAPSPACE_gmfn: {
      const std::int64_t error = physmap.MoveGfn(index, gfn);
      const bool is_told = (call.core.config.release & schema::kSince4_19) != 0;
      return error == -kEACCES && !is_told ? -kEINVAL : error;
    }
    case XENMAPSPACE_gmfn_foreign: {
      // A caller that may not is not told whether there is such a domain. DOMID_SELF names none.
      if (!call.domain.privileged) return -kEPERM;
      Domain* source = call.core.domains.Find(foreign);
      if (source == nullptr) return -kESRCH;
      if (source == &call.domain) return -kEPERM;
      if (source == &target) return -kEINVAL;
      // So that the source's end, and with it the release, cannot come in between.
      SpinGuard guard(call.core.control);
      return physmap.MapForeign(*source, index, gfn);
    }
    case XENMAPSPACE_dev_mmio:
      return -kEACCES;  // of a device that is not the domain's
    default:
      return -kEINVAL;
  }
}

}  // namespace

std::int64_t AddToPhysmap(Call& call, std::uint64_t start) {
  Argument<xen_add_to_physmap> request(call, call.frame.arguments[1]);
  if (start > 0xffff) return -kEDOM;
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_add_to_physmap)) return -kEFAULT;
  // Only the batch can name the other domain.
  if (request->space == XENMAPSPACE_gmfn_foreign) return -kENOSYS;
  Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  const std::int64_t error = MayChange(call, *target);
  if (error != 0) return error;
  if (request->gpfn == kNoFrame) return -kEINVAL;
  if (request->space != XENMAPSPACE_gmfn_range) {
    return AddOne(call, *target, request->space, request->idx, request->gpfn);
  }

  if (request->size < start) return -kEILSEQ;
  if (request->gpfn + request->size < request->gpfn ||
      request->idx + request->size < request->idx) {
    return -kEOVERFLOW;
  }
  for (std::uint64_t i = start; i < request->size; ++i) {
    const std::int64_t one =
        AddOne(call, *target, XENMAPSPACE_gmfn, request->idx + i, request->gpfn + i);
    if (one == -kENOMEM && call.IsMemoryDue()) {
      return ContinueMemoryOp(call, XENMEM_add_to_physmap, i);
    }
    if (one != 0) return one;
    if (i + 1 != request->size && call.ShouldPreempt()) {
      return ContinueMemoryOp(call, XENMEM_add_to_physmap, i + 1);
    }
  }
  return 0;
}

std::int64_t AddToPhysmapBatch(Call& call, std::uint64_t start) {
  Argument<xen_add_to_physmap_batch> request(call, call.frame.arguments[1]);
  if (start > 0xffff) return -kEDOM;
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch)) return -kEFAULT;
  if (request->space == XENMAPSPACE_gmfn_range) return -kEOPNOTSUPP;
  Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  const std::int64_t error = MayChange(call, *target);
  if (error != 0) return error;
  if (request->size < start) return -kEILSEQ;
  if (request->size == start) return start != 0 ? -kEILSEQ : 0;
  const auto indices = request.Bind(rows::add_to_physmap_batch::idxs);
  const auto gfns = request.Bind(rows::add_to_physmap_batch::gpfns);
  const auto errors = request.Bind(rows::add_to_physmap_batch::errs);

  for (std::uint64_t i = start; i < request->size; ++i) {
    std::uint64_t index;
    std::uint64_t gfn;
    if (!indices.Read(i, index).ok() || !gfns.Read(i, gfn).ok()) return -kEFAULT;
    if (gfn == kNoFrame) return -kEINVAL;
    const std::int64_t one =
        AddOne(call, *target, request->space, index, gfn, request->u.foreign_domid);
    if (one == -kENOMEM && call.IsMemoryDue()) {
      return ContinueMemoryOp(call, XENMEM_add_to_physmap_batch, i);
    }
    if (!errors.Write(i, static_cast<std::int32_t>(one)).ok()) return -kEFAULT;
    if (i + 1 != request->size && call.ShouldPreempt()) {
      return ContinueMemoryOp(call, XENMEM_add_to_physmap_batch, i + 1);
    }
  }
  return 0;
}

std::int64_t RemoveFromPhysmap(Call& call) {
  Argument<xen_remove_from_physmap> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_remove_from_physmap)) return -kEFAULT;
  Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  const std::int64_t error = MayChange(call, *target);
  if (error != 0) return error;
  std::uint64_t foreign;
  const std::int64_t answer = Physmap(call.core, *target).Unplace(request->gpfn, &foreign);
  if (foreign != kNoFrame) {
    SpinGuard guard(call.core.control);
    ReleaseMapping(call.core, foreign);
  }
  return answer;
}

}  // namespace xencomm::hypervisor
