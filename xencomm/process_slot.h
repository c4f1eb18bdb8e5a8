// ProcessSlot: one T for each process; a forked child gets one of its own.
//
// What a child inherits stays behind: it belongs to the parent, and a lock in it may have been held
// by a thread that is not here. None is ever destroyed, since destructors that run later may use
// it.
#ifndef XENCOMM_PROCESS_SLOT_H_
#define XENCOMM_PROCESS_SLOT_H_

#include <atomic>

#include "xencomm/fork_marker.h"

namespace xencomm {

template <class T, class Marker = ForkMarker>
class ProcessSlot {
 public:
  T& OfThisProcess() {
    Slot* slot = current_.load(std::memory_order_acquire);
    if (!slot->marker.in_same_process()) {
      auto* const fresh = new Slot;
      if (current_.compare_exchange_strong(slot, fresh, std::memory_order_release,
                                           std::memory_order_acquire)) {
        slot = fresh;
      } else {
        delete fresh;
      }
    }
    return slot->value;
  }

 private:
  struct Slot {
    Marker marker;
    T value;
  };

  std::atomic<Slot*> current_{new Slot};
};

}  // namespace xencomm

#endif  // XENCOMM_PROCESS_SLOT_H_
