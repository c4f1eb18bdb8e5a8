// A stack of free blocks, shared by threads without a lock.
//
// Blocks are known by numbers. Their links are kept out of band and are never unmapped, so a thread
// may look at the link of a block that another thread has taken meanwhile: the tag in the head,
// which every change moves on, makes the exchange fail and it looks again.
#ifndef XENCOMM_FREE_STACK_H_
#define XENCOMM_FREE_STACK_H_

#include <atomic>
#include <cstdint>

#include "xencomm/language.h"

namespace xencomm {

// On a cache line of its own: threads that allocate different sizes do not disturb one another.
class alignas(64) FreeStack {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  // `LinkOf(block)` is the block's std::atomic<std::uint32_t>.
  template <class LinkOf>
  void Push(std::uint32_t block, LinkOf link_of) {
    PushChain(block, block, link_of);
  }

  // Blocks that are linked already, from `first` to `last`.
  template <class LinkOf>
  void PushChain(std::uint32_t first, std::uint32_t last, LinkOf link_of) {
    std::uint64_t head = head_.load(std::memory_order_relaxed);
    do {
      link_of(last).store(BlockOf(head), std::memory_order_relaxed);
    } while (!head_.compare_exchange_weak(head, Head(first, head), std::memory_order_release,
                                          std::memory_order_relaxed));
  }

  // kNone when empty.
  template <class LinkOf>
  std::uint32_t Pop(LinkOf link_of) {
    for (;;) {
      // Acquired here, link and all; taking it off then needs no more.
      std::uint64_t head = head_.load(std::memory_order_acquire);
      if (BlockOf(head) == kNone) return kNone;
      const std::uint32_t next = link_of(BlockOf(head)).load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, Head(next, head), std::memory_order_relaxed)) {
        return BlockOf(head);
      }
    }
  }

  // All of them, linked, and the stack is empty. kNone when it was.
  std::uint32_t TakeAll() {
    std::uint64_t head = head_.load(std::memory_order_relaxed);
    while (BlockOf(head) != kNone &&
           !head_.compare_exchange_weak(head, Head(kNone, head), std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
    }
    return BlockOf(head);
  }

 private:
  static constexpr std::uint32_t BlockOf(std::uint64_t head) {
    return static_cast<std::uint32_t>(head);
  }
  // The head after `before`, with the next tag.
  static constexpr std::uint64_t Head(std::uint32_t block, std::uint64_t before) {
    return ((before >> 32) + 1) << 32 | block;
  }

  std::atomic<std::uint64_t> head_{kNone};
};

}  // namespace xencomm

#endif  // XENCOMM_FREE_STACK_H_
