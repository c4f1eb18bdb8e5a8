// PagingPool: the pages that a toolstack sets aside for a domain's shadows or second stage.
//
// They are the domain's until it ends; what the p2m really takes is counted apart (overhead.h), so
// that a domain whose toolstack sets nothing aside works too.
#ifndef HCALL_HYPERVISOR_MEMORY_PAGING_POOL_H_
#define HCALL_HYPERVISOR_MEMORY_PAGING_POOL_H_

#include <cstdint>

#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/memory/frame_heap.h"
#include "hcall/hypervisor/memory/frame_table.h"

namespace xencomm::hypervisor {

class Pool;

class PagingPool {
 public:
  enum class Outcome : std::uint8_t { kDone, kStopped, kNoMemory };

  // Comes nearer to `pages` of `domain` by as many as there is work for, with the control lock
  // held. kNoMemory: there is not enough for those that are missing, and what was reached stays.
  Outcome Resize(Pool& pool, std::uint16_t domain, std::uint64_t pages, Work& work);

  std::uint64_t pages() const { return pages_; }

 private:
  friend class Books;  // of tests/unit

  std::uint32_t first_ = kNoIndex;  // linked by Frame::next
  std::uint64_t pages_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_PAGING_POOL_H_
