// Arena: the allocator of a region's payload.
//
// What a hypercall touches is put here: its structure, and everything that the structure points at.
// The memory is where the hypervisor can reach it (a Backing's concern), so nothing is copied to
// make a call, and handles hold plain pointers.
//
// Rules:
// 1. Allocating and freeing make no system call, take no lock and clear nothing, once the Arena has
//    grown to what a program needs: a freed block is kept for the next of its size. Blocks of more
//    than 64 pages take a lock.
// 2. The metadata is kept out of band. Whatever a hypercall writes into the region, and wherever,
//    the Arena goes on working.
// 3. Nothing is freed on a guess. A pointer that is not the start of a live allocation is refused,
//    with what it is instead.
// 4. After fork the memory is not in the child. There an Arena refuses everything; the child makes
//    one of its own.
//
// All functions may be called by any thread at any time.
#ifndef XENCOMM_ARENA_H_
#define XENCOMM_ARENA_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xencomm/backing.h"
#include "xencomm/export.h"
#include "xencomm/fork_marker.h"
#include "xencomm/free_stack.h"
#include "xencomm/lazy_array.h"
#include "xencomm/mutex.h"
#include "xencomm/owned.h"
#include "xencomm/page_heap.h"

namespace xencomm {

enum class Contents : std::uint8_t {
  kAny,      // whatever was there: for what is written whole, or only received
  kCleared,  // zeroes, in the bytes that were asked for
};

class XENCOMM_API Arena final : private Freer {
 public:
  static constexpr std::uint64_t kPageSize = 4096;
  static constexpr std::uint64_t kDefaultSize = std::uint64_t{256} << 20;
  static constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 30;

  // An Arena of `payload_size` bytes: a multiple of the page size, at most kMaxSize. Only addresses
  // are reserved; memory is put behind them as it is needed.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(std::unique_ptr<Backing> backing,
                                                       std::uint64_t payload_size = kDefaultSize);

  // Gives the memory back, allocations that are still live included.
  ~Arena();

  // `size` bytes, aligned to `alignment`: a power of two, at most the page size. Without one, to
  // the next power of two that is at least `size`, a page at most. Zero bytes are an allocation
  // too, with an address of its own.
  //   kInvalidArgument     the alignment is none
  //   kResourceExhausted   the region is full, or no more memory can be had or locked
  //   kPermissionDenied    more memory would be needed, after GrowNoMore
  //   kFailedPrecondition  in a forked child
  absl::StatusOr<void*> Allocate(std::size_t size, Contents contents = Contents::kAny,
                                 std::size_t alignment = 1);

  // `count` elements of `size` bytes. kInvalidArgument when the product passes 2^64.
  absl::StatusOr<void*> AllocateArray(std::size_t count, std::size_t size,
                                      Contents contents = Contents::kAny,
                                      std::size_t alignment = 1);

  // One T, or `count` of them, freed when the owner goes. The owner must not outlive the Arena.
  template <class T>
  absl::StatusOr<Owned<T>> New(Contents contents = Contents::kAny) {
    absl::StatusOr<void*> memory = Allocate(sizeof(T), contents, alignof(T));
    if (!memory.ok()) return memory.status();
    return Owned<T>(static_cast<T*>(*memory), Returning());
  }
  template <class T>
  absl::StatusOr<OwnedArray<T>> NewArray(std::size_t count, Contents contents = Contents::kAny) {
    absl::StatusOr<void*> memory = AllocateArray(count, sizeof(T), contents, alignof(T));
    if (!memory.ok()) return memory.status();
    return OwnedArray<T>(static_cast<T*>(*memory), count, Returning());
  }

  // Frees what begins at `pointer`; null is free already. When it is refused nothing has changed:
  //   kInvalidArgument     not an address of this Arena, or not the start of an allocation
  //   kNotFound            free already
  //   kFailedPrecondition  in a forked child
  absl::Status Free(void* pointer);

  // The live allocation that holds the byte at `pointer`, with all the room it has, which can be
  // more than was asked for. Refuses as Free does.
  absl::StatusOr<std::span<std::byte>> Find(const void* pointer) const;

  // Whether [pointer, pointer + size) lies in one live allocation: what a handle may name. Refuses
  // as Free does, and with kOutOfRange when the range runs out of the allocation.
  absl::Status Check(const void* pointer, std::size_t size) const;

  // From now on there is no memory but what there is.
  void GrowNoMore() { may_grow_.store(false, std::memory_order_relaxed); }

  // The whole range of the region, table included.
  std::span<std::byte> region() const {
    return {payload_ - reservation_.payload_offset,
            reservation_.payload_offset + reservation_.payload_size};
  }
  std::span<std::byte> payload() const { return {payload_, reservation_.payload_size}; }
  ByteOrder order() const { return reservation_.order; }
  // Bytes that have memory behind them.
  std::uint64_t populated() const { return populated_.load(std::memory_order_relaxed); }

  // Whether this is still the process that created the Arena.
  bool in_same_process() const { return marker_.in_same_process(); }

 private:
  // The metadata counts in lines of 64 bytes, the smallest block. A block is known by its first
  // line.
  static constexpr std::uint32_t kLineShift = 6;
  static constexpr std::uint32_t kPageShift = 12;
  static constexpr std::uint32_t kLinesPerPage = 1u << (kPageShift - kLineShift);

  // Size classes: slots of a power of two of lines up to half a page, which share a page with
  // others of their class; then 1 to 64 pages; then all that is longer.
  static constexpr std::uint32_t kSlotClasses = kPageShift - kLineShift;
  static constexpr std::uint32_t kRunClasses = 64;
  static constexpr std::uint32_t kLongClass = kSlotClasses + kRunClasses;

  enum State : std::uint32_t {
    kNoBlock,  // inside a block, or of a free run of pages
    kLive,
    kFree,  // freed and kept for the next of its class
  };

  // Whoever may ask about a block was told of its address behind what made it one, and the stacks
  // and the lock hand on what lies in it: these need no order.
  struct Line {
    std::atomic<std::uint32_t> block;  // class << 2 | State
    std::atomic<std::uint32_t> link;   // of a free block: the next one
  };

  struct Page {
    std::atomic<std::uint8_t> slot_class;  // + 1; 0: the page belongs to a run
    std::uint8_t free_slots;               // only while blocks are collected
  };

  // What throws leaves `backing` as it is.
  Arena(std::unique_ptr<Backing>&& backing, const Backing::Reservation& reservation);

  void FreeOwned(void* pointer) override;
  ReturnTo Returning() { return ReturnTo(*this); }

  static std::uint32_t ClassFor(std::size_t size, std::size_t alignment);
  static std::uint32_t PagesOf(std::uint32_t size_class) { return size_class - kSlotClasses + 1; }
  static std::uint32_t BlockWord(std::uint32_t size_class, State state) {
    return size_class << 2 | state;
  }
  auto LinkOf() {
    return [this](std::uint32_t line) -> std::atomic<std::uint32_t>& { return lines_[line].link; };
  }
  std::byte* AddressOf(std::uint32_t line) const {
    return payload_ + (std::uint64_t{line} << kLineShift);
  }

  absl::StatusOr<std::uint32_t> TakeBlock(std::uint32_t size_class, std::size_t size)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::uint32_t> TakePages(std::uint32_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Grow(std::uint32_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::uint32_t CutSlots(std::uint32_t page, std::uint32_t size_class)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectFreeBlocks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectSlots(std::uint32_t size_class) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Status WhyUnusable() const;

  // The block that holds `pointer`: its address, its room and whether it is live.
  struct Place {
    std::byte* start;
    std::uint64_t size;
    bool live;
  };
  absl::StatusOr<Place> Locate(const void* pointer) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status WhyNotFreed(const void* pointer) const ABSL_LOCKS_EXCLUDED(mutex_);

  const Backing::Reservation reservation_;
  std::byte* const payload_;
  const ForkMarker marker_;
  const std::int64_t process_;  // for messages

  std::atomic<std::uint64_t> populated_{0};  // bytes
  std::atomic<bool> may_grow_{true};
  LazyArray<Line> lines_;
  LazyArray<Page> pages_;
  std::array<FreeStack, kLongClass> free_;

  mutable Mutex mutex_;
  PageHeap heap_ ABSL_GUARDED_BY(mutex_);

  const std::unique_ptr<Backing> backing_;  // the last: taken over when nothing throws any more
};

}  // namespace xencomm

#endif  // XENCOMM_ARENA_H_
