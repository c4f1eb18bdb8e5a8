// Quiescence: when is a frame that was given up nobody's any more?
//
// A copy uses the frame that a look-up gave without holding it. So a frame that leaves a p2m is not
// free at once: it waits until every call that was under way has ended. A call notes the epoch in
// which it began; a frame is stamped with the epoch in which it left, and each stamp starts a new
// one. Per call that is one store and a fence, per page nothing.
#ifndef HCALL_HYPERVISOR_MEMORY_QUIESCENCE_H_
#define HCALL_HYPERVISOR_MEMORY_QUIESCENCE_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/memory/write_notes.h"

namespace xencomm::hypervisor {

// One for each vcpu that makes calls, on a cache line of its own.
struct alignas(64) CallerSlot {
  static constexpr std::uint64_t kIdle = 0;

  std::atomic<std::uint64_t> epoch = kIdle;  // in which the call under way began
  bool claimed = false;                      // under the control lock
  WriteNotes writes;                         // of the leg under way; the vcpu's own
};

class Quiescence {
 public:
  // Borrowed.
  void Init(CallerSlot* slots, unsigned count) {
    slots_ = slots;
    count_ = count;
  }

  // With the control lock held.
  CallerSlot* Claim() {
    for (unsigned i = 0; i < count_; ++i) {
      if (!slots_[i].claimed) {
        slots_[i].claimed = true;
        if (i >= used_.load(std::memory_order_relaxed)) {
          used_.store(i + 1, std::memory_order_relaxed);
        }
        return &slots_[i];
      }
    }
    return nullptr;
  }
  static void Release(CallerSlot& slot) { slot.claimed = false; }

  void Enter(CallerSlot& slot) {
    // Released, since whoever sees this epoch may not have seen the last call end.
    slot.epoch.store(epoch_.load(std::memory_order_relaxed), std::memory_order_release);
    // The epoch must be seen by others before this call looks anything up; and what became
    // unreachable before the epoch began must be seen by this call.
    FullBarrier();
  }
  static void Leave(CallerSlot& slot) {
    slot.epoch.store(CallerSlot::kIdle, std::memory_order_release);
  }

  // For what has just been made unreachable.
  std::uint64_t Stamp() { return epoch_.fetch_add(1, std::memory_order_release); }

  // Whether a call is under way in `slot` that began before `stamp` was taken, as seen from behind
  // the stamp: what such a call did is seen, or it is.
  bool BeganBefore(const CallerSlot& slot, std::uint64_t stamp) {
    FullBarrier();
    const std::uint64_t epoch = slot.epoch.load(std::memory_order_acquire);
    return epoch != CallerSlot::kIdle && epoch <= stamp;
  }

  // What was stamped before this is out of everybody's reach.
  std::uint64_t OldestInUse() {
    const std::uint64_t now = epoch_.load(std::memory_order_relaxed);
    FullBarrier();
    std::uint64_t oldest = now;
    // Read behind the barrier, as the epochs are: the first call of a slot that is not counted here
    // has its own barrier later, and finds nothing that was out of reach before this one.
    const unsigned used = used_.load(std::memory_order_relaxed);
    for (unsigned i = 0; i < used; ++i) {
      const std::uint64_t epoch = slots_[i].epoch.load(std::memory_order_acquire);
      if (epoch != CallerSlot::kIdle && epoch < oldest) oldest = epoch;
    }
    return oldest;
  }

 private:
  friend class Books;  // of tests/unit

  void FullBarrier() {
#ifdef __SANITIZE_THREAD__
    // The thread sanitizer does not know fences.
    barrier_.fetch_add(1, std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  }

  CallerSlot* slots_ = nullptr;
  unsigned count_ = 0;
  std::atomic<unsigned> used_ = 0;  // behind the last slot that was ever claimed
  std::atomic<std::uint64_t> epoch_ = CallerSlot::kIdle + 1;
#ifdef __SANITIZE_THREAD__
  std::atomic<unsigned> barrier_ = 0;
#endif
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_QUIESCENCE_H_
