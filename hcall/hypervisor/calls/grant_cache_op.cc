// grant_table_op: the caches are cleaned for part of a page, as an Arm guest wants it for its
// devices. Where caches are coherent, as they are for whoever runs here, nothing is left to do; but
// that the caller may ask is looked at, as in Xen on x86.

#include "hcall/hypervisor/calls/grant_calls.h"

namespace xencomm::hypervisor {
namespace {

// Entries of a table that are looked at in one piece, as in Xen: the command has room for their
// multiples.
constexpr std::uint32_t kSearched = kGrantOpMask + 1;
constexpr std::int64_t kGoesOn = 1;

// `*search`: the entry of the owner's table that is looked at next.
std::int64_t Flush(Call& call, const gnttab_cache_flush& op, std::uint32_t* search) {
  if (!Contains(0, kPageSize, op.offset, op.length) || op.offset == kPageSize ||
      (op.op & ~std::uint32_t{GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL}) != 0) {
    return -kEINVAL;
  }
  if (op.length == 0 || op.op == 0) return *search == 0 ? 0 : -kEILSEQ;
  const std::uint64_t mfn = op.a.dev_bus_addr >> kPageShift;
  if (!call.core.frames.Has(mfn)) return -kEINVAL;
  const FrameOwner owner = call.core.frames.Of(mfn).owner.load(std::memory_order_relaxed);
  Domain* const domain = owner.use == FrameUse::kNone || owner.use == FrameUse::kOverhead
                             ? nullptr
                             : call.core.domains.Find(owner.domain);
  if (domain == nullptr) return -kEPERM;
  if (domain != &call.domain && !FindPin(*domain, call.domain.id, mfn, kSearched, search)) {
    return *search == 0 ? -kEINVAL : kGoesOn;
  }
  return 0;
}

}  // namespace

std::int64_t FlushCaches(Call& call) {
  // Arm's alone from then on.
  if ((call.core.config.release & schema::kSince4_21) != 0) return -kENOSYS;
  const GrantProgress progress(call);
  std::uint32_t search = static_cast<std::uint32_t>(call.frame.arguments[0]) & ~kGrantOpMask;
  for (std::uint32_t i = progress.done(); i < progress.count(); ++i) {
    if (i != progress.done() && call.work.is_used_up()) return progress.ContinueAt(call, i);
    Argument<gnttab_cache_flush> request(call, call.frame.arguments[1], i);
    if (!request.Fetch(__HYPERVISOR_grant_table_op, GNTTABOP_cache_flush)) return -kEFAULT;
    std::int64_t answer = Flush(call, *request, &search);
    while (answer == kGoesOn) {
      if (call.ShouldPreempt(kSearched)) {
        call.frame.arguments[0] = search | GNTTABOP_cache_flush;
        return progress.ContinueAt(call, i);
      }
      answer = Flush(call, *request, &search);
    }
    if (answer < 0) return answer;
    search = 0;
    call.frame.arguments[0] = GNTTABOP_cache_flush;
    call.work.Done();
  }
  return 0;
}

}  // namespace xencomm::hypervisor
