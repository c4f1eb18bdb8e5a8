// memory_op: a domain's resources, mapped by its toolstack.

#include <algorithm>

#include "hcall/hypervisor/calls/memory_op.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/hypervisor/domain/resource.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::size_t kPiece = 32;

// At the gfns that the list names from `first` on; or for a PV caller, named there. Each frame that
// was placed, and is the p2m's to hold then, becomes kNoFrame.
std::int64_t Place(Call& call, std::span<std::uint64_t> mfns, const GuestHandle<xen_pfn_t>& list,
                   std::uint64_t first) {
  if (!call.domain.translated()) {
    return list.Write(first, std::span<const std::uint64_t>(mfns)).ok() ? 0 : -kEFAULT;
  }
  xen_pfn_t gfns[kPiece];
  if (!list.Read(first, std::span(gfns).first(mfns.size())).ok()) return -kEFAULT;
  Physmap physmap(call.core, call.domain);
  for (std::size_t i = 0; i < mfns.size(); ++i) {
    bool is_placed = false;
    const std::int64_t error = physmap.PlaceForeign(gfns[i], mfns[i], &is_placed);
    if (is_placed) mfns[i] = kNoFrame;
    if (error == -kENOMEM && call.IsMemoryDue())
      return error;  // once more: what is there, is there
    // What went before stays, and is not told of: so Xen answers for all but the first.
    if (error != 0) return i == 0 ? error : -kEIO;
  }
  return 0;
}

// A few frames from `first` of the list on, with the control lock held: so the target's end, and
// with it the release, cannot come in between.
std::int64_t AcquireSome(Call& call, Domain& target, const xen_mem_acquire_resource& request,
                         const GuestHandle<xen_pfn_t>& list, std::uint64_t first,
                         std::uint64_t count) {
  if (target.dying()) return -kEINVAL;
  std::uint64_t storage[kPiece];
  const std::span mfns = std::span(storage).first(count);
  std::int64_t error = HoldResource(call.core, target, {.type = request.type, .id = request.id},
                                    request.frame + first, mfns);
  if (error != 0) return call.IsMemoryDue() ? -kENOMEM : error;
  error = Place(call, mfns, list, first);
  for (const std::uint64_t mfn : mfns) {
    if (mfn != kNoFrame) ReleaseMapping(call.core, mfn);
  }
  return error;
}

}  // namespace

std::int64_t AcquireResource(Call& call, std::uint64_t start) {
  if (call.domain.translated() && !call.domain.privileged) return -kEACCES;
  Argument<xen_mem_acquire_resource> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_acquire_resource)) return -kEFAULT;
  if (request->pad != 0) return -kEINVAL;
  // Frames are counted in 32 bits.
  if ((request->frame >> 32) != 0 || ((request->frame + request->nr_frames) >> 32) != 0) {
    return -kEINVAL;
  }
  if (request->domid == call.domain.id) return -kEPERM;
  Domain* target = call.core.domains.Find(request->domid);
  if (target == nullptr) return -kESRCH;
  if (!call.domain.privileged) return -kEPERM;
  const std::uint32_t most =
      FramesOf(call.core, *target, {.type = request->type, .id = request->id});
  if (most == 0) return -kEINVAL;
  const auto list = request.Bind(schema::rows::memory_op::acquire_resource::frame_list);
  if (list.is_null()) {
    if (request->nr_frames != 0 || start != 0) return -kEINVAL;
    request->nr_frames = most;
    return request.Store() ? 0 : -kEFAULT;
  }
  const std::uint64_t count = request->nr_frames;
  if (start >= count || count > ~std::uint32_t{0} >> kMemoryOpBits) return -kEINVAL;

  for (std::uint64_t done = start; done < count;) {
    const std::uint64_t piece = std::min<std::uint64_t>(kPiece, count - done);
    std::int64_t error;
    {
      SpinGuard guard(call.core.control);
      error = AcquireSome(call, *target, *request, list, done, piece);
    }
    if (error != 0) return error;
    done += piece;
    if (done != count && call.ShouldPreempt(piece)) {
      return ContinueMemoryOp(call, XENMEM_acquire_resource, done);
    }
  }
  return 0;
}

}  // namespace xencomm::hypervisor
