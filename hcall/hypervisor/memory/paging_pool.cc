#include "hcall/hypervisor/memory/paging_pool.h"

#include "hcall/hypervisor/memory/pool.h"

namespace xencomm::hypervisor {

PagingPool::Outcome PagingPool::Resize(Pool& pool, std::uint16_t domain, std::uint64_t pages,
                                       Work& work) {
  // Refused as a whole, before the pool of the machine is drained page by page.
  if (pages > pages_ && pages - pages_ > pool.heap.free_pages()) return Outcome::kNoMemory;
  while (pages_ != pages) {
    if (work.is_used_up()) return Outcome::kStopped;
    work.Done();
    if (pages_ < pages) {
      const std::uint64_t mfn = pool.heap.Allocate(0);
      if (mfn == kNoFrame) return Outcome::kNoMemory;
      Frame& frame = pool.frames.Of(mfn);
      frame.owner.store({domain, FrameUse::kOverhead}, std::memory_order_relaxed);
      frame.next = first_;
      first_ = pool.frames.IndexOf(mfn);
      ++pages_;
    } else {
      Frame& frame = pool.frames.At(first_);
      const std::uint64_t mfn = pool.frames.MfnOf(first_);
      first_ = frame.next;
      frame.owner.store({}, std::memory_order_relaxed);
      pool.heap.Free(mfn, 0);
      --pages_;
    }
  }
  return Outcome::kDone;
}

}  // namespace xencomm::hypervisor
