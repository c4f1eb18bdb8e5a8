// OverheadPages: what a domain costs besides its memory.
//
// p2m, vcpus, event channels, region tables: all of it comes from the pool in whole pages, is
// counted for the domain it serves and capped, so that no domain can take the pool away from the
// others. It lies in the hypervisor's own memory, but for pages that the domain may map.
#ifndef HCALL_HYPERVISOR_MEMORY_OVERHEAD_H_
#define HCALL_HYPERVISOR_MEMORY_OVERHEAD_H_

#include <atomic>
#include <bit>
#include <cstdint>
#include <new>
#include <type_traits>

#include "hcall/hypervisor/memory/pool.h"

namespace xencomm::hypervisor {

// The order of the smallest block that holds `bytes`.
constexpr unsigned OrderOf(std::uint64_t bytes) {
  return bytes <= kPageSize ? 0 : static_cast<unsigned>(std::bit_width((bytes - 1) >> kPageShift));
}
static_assert(OrderOf(1) == 0 && OrderOf(4096) == 0 && OrderOf(4097) == 1 && OrderOf(8193) == 2);

class OverheadPages {
 public:
  void Init(Pool& pool, std::uint16_t domain, std::uint64_t limit) {
    pool_ = &pool;
    domain_ = domain;
    limit_ = limit;
  }

  // 2^order pages that read as zero, or kNoFrame: the pool or the domain's share is used up.
  std::uint64_t Allocate(unsigned order) { return Take(pool_->own(), order, FrameUse::kOverhead); }

  // A page that the domain may map.
  std::uint64_t AllocateShared() { return Take(pool_->heap, 0, FrameUse::kShared); }

  // What one of them gave. A call under way on another vcpu may still look at it.
  void Free(std::uint64_t mfn, unsigned order) {
    pool_->frames.Of(mfn).owner.store({}, std::memory_order_relaxed);
    used_.fetch_sub(std::uint64_t{1} << order, std::memory_order_relaxed);
    pool_->HeapOf(mfn).FreeLater(mfn, order);
  }

  // `count` objects, constructed, in pages of their own; null when there is no room.
  template <class T>
  T* New(std::uint64_t count = 1) {
    static_assert(std::is_trivially_destructible_v<T>);
    const std::uint64_t mfn = Allocate(OrderOf(count * sizeof(T)));
    if (mfn == kNoFrame) return nullptr;
    std::byte* bytes = pool_->frames.Bytes(mfn);
    for (std::uint64_t i = 0; i < count; ++i) new (bytes + i * sizeof(T)) T();
    return std::launder(reinterpret_cast<T*>(bytes));
  }

  // With the count it was made with; null is nothing.
  template <class T>
  void Delete(T* objects, std::uint64_t count = 1) {
    if (objects == nullptr) return;
    Free(pool_->frames.MfnOfPointer(objects), OrderOf(count * sizeof(T)));
  }

  std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  std::uint64_t Take(FrameHeap& heap, unsigned order, FrameUse use) {
    const std::uint64_t pages = std::uint64_t{1} << order;
    if (used_.fetch_add(pages, std::memory_order_relaxed) + pages > limit_) {
      used_.fetch_sub(pages, std::memory_order_relaxed);
      return kNoFrame;
    }
    const std::uint64_t mfn = heap.Allocate(order);
    if (mfn == kNoFrame) {
      used_.fetch_sub(pages, std::memory_order_relaxed);
      return kNoFrame;
    }
    Frame& frame = pool_->frames.Of(mfn);
    frame.gfn = kNoFrame;
    frame.pins = 0;
    // Whoever sees whose it is sees that nobody has it.
    frame.owner.store({domain_, use}, std::memory_order_release);
    return mfn;
  }

  Pool* pool_ = nullptr;
  std::uint16_t domain_ = 0;
  std::uint64_t limit_ = 0;
  std::atomic<std::uint64_t> used_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_OVERHEAD_H_
