// SpinLock: the only lock of the hypervisor, since ring 0 and real mode have no other.
//
// Sections under it are short, and none but those of control and regions touches guest memory;
// those of events write a few words of it, which are pinned. Order, outermost first: control
// (domctl and sysctl), regions, events, domain, heap; the schedule's is held alone.
#ifndef HCALL_HYPERVISOR_BASE_SPIN_LOCK_H_
#define HCALL_HYPERVISOR_BASE_SPIN_LOCK_H_

#include <atomic>

namespace xencomm::hypervisor {

class SpinLock {
 public:
  void Lock() {
    // Waiting only reads, so that the holder keeps its cache line until it is done.
    while (locked_.exchange(true, std::memory_order_acquire)) {
      while (locked_.load(std::memory_order_relaxed)) {
      }
    }
  }
  void Unlock() { locked_.store(false, std::memory_order_release); }

 private:
  friend class Books;  // of tests/unit

  std::atomic<bool> locked_ = false;
};

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) : lock_(lock) { lock_.Lock(); }
  ~SpinGuard() { lock_.Unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_SPIN_LOCK_H_
