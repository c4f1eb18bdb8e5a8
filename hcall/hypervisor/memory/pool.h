// Pool: the memory of the machine that is the hypervisor's to hand out, and who is looking at it.
#ifndef HCALL_HYPERVISOR_MEMORY_POOL_H_
#define HCALL_HYPERVISOR_MEMORY_POOL_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/memory/frame_heap.h"
#include "hcall/hypervisor/memory/frame_table.h"
#include "hcall/hypervisor/memory/quiescence.h"

namespace xencomm::hypervisor {

class Pool {
 public:
  explicit Pool(Machine& on) : machine(on) {}

  Machine& machine;
  FrameTable frames;
  FrameHeap heap;  // of domains' memory, and of the hypervisor's pages that domains may map
  Quiescence quiescence;

  // Of the hypervisor's pages that nobody else is to reach: a heap of its own where the machine has
  // such memory (MachineConfig::own_end), or the one above.
  FrameHeap& own() { return has_own_ ? own_heap_ : heap; }
  bool IsOwn(std::uint64_t mfn) const { return has_own_ && own_heap_.Has(mfn); }
  FrameHeap& HeapOf(std::uint64_t mfn) { return heap.Has(mfn) ? heap : own_heap_; }
  void InitOwn(std::uint32_t begin, std::uint32_t end, bool zero) {
    own_heap_.Init(frames, begin, end, zero, machine, quiescence);
    has_own_ = true;
  }

  // Of both (frame_heap.h).
  bool has_waiting() const { return heap.has_waiting() || own_heap_.has_waiting(); }
  void Reclaim() {
    heap.Reclaim();
    if (has_own_) own_heap_.Reclaim();
  }
  bool RanShort(const CallerSlot& slot) const {
    return heap.RanShort(slot) || (has_own_ && own_heap_.RanShort(slot));
  }

  std::uint64_t total_pages = 0;  // without the frame table
  // Those that domains claim and have not got yet.
  std::atomic<std::uint64_t> outstanding_pages = 0;

 private:
  friend class Books;  // of tests/unit

  FrameHeap own_heap_;
  bool has_own_ = false;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_POOL_H_
