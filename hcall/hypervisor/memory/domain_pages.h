// DomainPages: what of a domain its memory is. It is all that the physmap knows of one.
#ifndef HCALL_HYPERVISOR_MEMORY_DOMAIN_PAGES_H_
#define HCALL_HYPERVISOR_MEMORY_DOMAIN_PAGES_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/memory/dirty_log.h"
#include "hcall/hypervisor/memory/frame_table.h"
#include "hcall/hypervisor/memory/overhead.h"
#include "hcall/hypervisor/memory/p2m.h"
#include "hcall/hypervisor/memory/paging_pool.h"

namespace xencomm::hypervisor {

enum class Life : std::uint8_t { kAlive, kDying, kDead };

class DomainPages {
 public:
  std::uint16_t id = 0;
  std::atomic<bool> built = false;  // by BuildDomain, or adopted: the machine hears of it
  std::atomic<Life> life = Life::kAlive;

  P2m p2m;
  DirtyLog dirty_log;
  OverheadPages overhead;
  PagingPool paging_pool;

  // Of the physmap, the page list and the counts below.
  SpinLock lock;
  std::atomic<std::uint64_t> tot_pages = 0;
  std::atomic<std::uint64_t> max_pages = 0;
  std::atomic<std::uint64_t> outstanding_pages = 0;  // claimed
  std::uint32_t first_page = kNoIndex;  // the domain's memory, in the order it was given
  std::uint32_t last_page = kNoIndex;
  std::uint64_t shared_holds = 0;     // of its shared pages, by others and by page tables
  std::uint64_t dropping = kNoFrame;  // the page table that is being taken apart (page_types.h)

  bool dying() const { return life.load(std::memory_order_relaxed) != Life::kAlive; }
  bool translated() const { return p2m.translated(); }
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_DOMAIN_PAGES_H_
