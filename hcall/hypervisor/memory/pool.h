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
  FrameHeap heap;
  Quiescence quiescence;

  std::uint64_t total_pages = 0;  // without the frame table
  // Those that domains claim and have not got yet.
  std::atomic<std::uint64_t> outstanding_pages = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_POOL_H_
