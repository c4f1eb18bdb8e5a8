// The heap: free frames, as a buddy allocator.
//
// Kept apart by the width of their numbers, so that a request for frames that few address bits
// reach looks at none that are out of its reach, and others take those last.
//
// What it hands out reads as zero: nobody sees what the last owner left. Single pages of domains
// come scattered on purpose, in runs of 16 (64 KiB) that never continue each other, so that
// guest-physical neighbours are machine neighbours only inside a run.
#ifndef HCALL_HYPERVISOR_MEMORY_FRAME_HEAP_H_
#define HCALL_HYPERVISOR_MEMORY_FRAME_HEAP_H_

#include <atomic>
#include <bit>
#include <cstdint>

#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/memory/frame_table.h"
#include "hcall/hypervisor/memory/quiescence.h"

namespace xencomm::hypervisor {

class FrameHeap {
 public:
  // The largest extent is 2^18 pages, as on x86 (CONFIG_PAGEALLOC_MAX_ORDER).
  static constexpr unsigned kMaxOrder = 18;
  static constexpr unsigned kRunOrder = 4;
  static constexpr std::uint64_t kRunPages = std::uint64_t{1} << kRunOrder;

  // Of `frames` those from index `begin` to `end` are this heap's, and free. Everything is
  // borrowed.
  void Init(const FrameTable& frames, std::uint32_t begin, std::uint32_t end, bool zero,
            Machine& machine, Quiescence& quiescence);

  // Whether a frame is one of this heap's, free or not.
  bool Has(std::uint64_t mfn) const { return mfn - first_mfn_ < end_mfn_ - first_mfn_; }

  static constexpr unsigned kAnyWidth = 64;

  // 2^order contiguous frames aligned to their size, whose numbers have at most `width` bits; or
  // kNoFrame.
  std::uint64_t Allocate(unsigned order, unsigned width = kAnyWidth);

  // The same for a domain's memory at `gfn`. A single page that may lie anywhere is of the run at
  // hand: the one that keeps 16 aligned gfns together where it is free.
  std::uint64_t AllocateMemory(std::uint64_t gfn, unsigned order, unsigned width);

  // A block that nobody but its owner ever saw.
  void Free(std::uint64_t mfn, unsigned order);
  // A block that a call under way may still use.
  void FreeLater(std::uint64_t mfn, unsigned order);
  // Frees what no call can reach any more, at most kReclaimedAtOnce blocks: more than a leg gives
  // up, so that the queue grows shorter, and no leg pays for all that waited for another one.
  void Reclaim();
  bool has_waiting() const { return waiting_.load(std::memory_order_relaxed) != 0; }

  // Whether, since the leg under way in `slot` began, an allocation failed while blocks waited: the
  // memory will be there when other calls have ended.
  bool RanShort(const CallerSlot& slot) const {
    return short_at_.load(std::memory_order_relaxed) >= slot.epoch.load(std::memory_order_relaxed);
  }

  std::uint64_t free_pages() const { return free_.load(std::memory_order_relaxed); }

 private:
  friend class Books;  // of tests/unit

  static constexpr unsigned kOrders = kMaxOrder + 1;
  // All frames of a zone have numbers of the same width. A block lies in one: it is as large as its
  // place at most, since frame 0 is never free.
  static constexpr unsigned kZones = kAnyWidth - kPageShift + 1;
  static constexpr unsigned ZoneOf(std::uint64_t mfn) {
    return static_cast<unsigned>(std::bit_width(mfn));
  }
  // Blocks that runs are taken from in turn; each has 16 runs.
  static constexpr unsigned kOpenBlocks = 8;
  static constexpr unsigned kOpenOrder = kRunOrder + 4;
  // From here on the machine is asked to discard instead of clearing by hand: a 2 MiB superpage.
  static constexpr unsigned kDiscardOrder = 9;

  static constexpr unsigned kReclaimedAtOnce = 8192;

  struct Block {
    std::uint64_t mfn = kNoFrame;
    bool dirty = false;
  };
  struct OpenBlock {
    std::uint64_t mfn = kNoFrame;
    std::uint16_t runs = 0;  // bit i: run i was not taken
    std::uint8_t taken = 0;  // how many were
    bool dirty = false;
  };

  std::uint64_t AllocateScattered(std::uint64_t gfn);
  // All with the lock held.
  Block Take(unsigned order, unsigned width);
  Block TakeWithRetries(unsigned order, unsigned width);
  bool OpenRun();
  void CloseRuns();
  void Insert(std::uint64_t mfn, unsigned order, bool dirty);
  void Unlink(std::uint32_t index, unsigned order);
  void Link(std::uint32_t index, unsigned order);
  bool IsFree(std::uint64_t mfn, unsigned order) const;
  // Whether it did as many as it may.
  bool ReclaimLocked(std::uint64_t oldest);

  void Clear(std::uint64_t mfn, unsigned order);

  const FrameTable* frames_ = nullptr;
  std::uint64_t first_mfn_ = 0;
  std::uint64_t end_mfn_ = 0;
  Machine* machine_ = nullptr;
  Quiescence* quiescence_ = nullptr;

  SpinLock lock_;
  struct Zone {
    std::uint32_t heads[kOrders];
    std::uint32_t orders = 0;  // bit n: there are blocks of 2^n frames
  };
  Zone zones_[kZones] = {};
  unsigned lowest_zone_ = 0;  // of those that the pool reaches into
  unsigned highest_zone_ = 0;
  OpenBlock open_[kOpenBlocks] = {};
  unsigned next_open_ = 0;
  std::uint64_t run_ = kNoFrame;  // the run at hand
  std::uint16_t run_free_ = 0;
  std::uint32_t waiting_head_ = kNoIndex;
  std::uint32_t waiting_tail_ = kNoIndex;

  std::atomic<std::uint64_t> free_ = 0;     // pages, what waits and open runs included
  std::atomic<std::uint64_t> waiting_ = 0;  // blocks
  // The stamp of the last allocation that failed while blocks waited.
  std::atomic<std::uint64_t> short_at_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_FRAME_HEAP_H_
