#include "hcall/hypervisor/memory/paging_pool.h"

#include "hcall/hypervisor/domain/core.h"

namespace xencomm::hypervisor {

PagingPool::Outcome PagingPool::Resize(Core& core, const Domain& domain, std::uint64_t pages,
                                       Work& work) {
  // Refused as a whole, before the pool of the machine is drained page by page.
  if (pages > pages_ && pages - pages_ > core.heap.free_pages()) return Outcome::kNoMemory;
  while (pages_ != pages) {
    if (work.is_used_up()) return Outcome::kStopped;
    work.Done();
    if (pages_ < pages) {
      const std::uint64_t mfn = core.heap.Allocate(0);
      if (mfn == kNoFrame) return Outcome::kNoMemory;
      Frame& frame = core.frames.Of(mfn);
      frame.owner.store({domain.id, FrameUse::kOverhead}, std::memory_order_relaxed);
      frame.next = first_;
      first_ = core.frames.IndexOf(mfn);
      ++pages_;
    } else {
      Frame& frame = core.frames.At(first_);
      const std::uint64_t mfn = core.frames.MfnOf(first_);
      first_ = frame.next;
      frame.owner.store({}, std::memory_order_relaxed);
      core.heap.Free(mfn, 0);
      --pages_;
    }
  }
  return Outcome::kDone;
}

}  // namespace xencomm::hypervisor
