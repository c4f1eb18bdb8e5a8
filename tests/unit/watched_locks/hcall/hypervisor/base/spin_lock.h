// The hypervisor's lock for programs of one thread that let something happen in the middle of a
// call (hypervisor_interleaving_test.cc): whoever is about to take a lock can be stopped there.
//
// By the order of include folders it takes the place of hcall/hypervisor/base/spin_lock.h, for the
// hypervisor as for the test.
#ifndef HCALL_HYPERVISOR_BASE_SPIN_LOCK_H_
#define HCALL_HYPERVISOR_BASE_SPIN_LOCK_H_

#include <atomic>

namespace xencomm::hypervisor {

class SpinLock {
 public:
  class Watcher {
   public:
    // Where another vcpu could come first. What holds a lock that is wanted again waits for itself.
    virtual void WantsLock(const SpinLock& lock, bool is_held) = 0;
    virtual void HasLock(const SpinLock& lock) = 0;
    virtual void GaveLock(const SpinLock& lock) = 0;

   protected:
    ~Watcher() = default;
  };
  static inline Watcher* watcher = nullptr;

  void Lock() {
    if (watcher != nullptr) watcher->WantsLock(*this, locked_.load());
    while (locked_.exchange(true)) {
    }
    if (watcher != nullptr) watcher->HasLock(*this);
  }
  void Unlock() {
    locked_.store(false);
    if (watcher != nullptr) watcher->GaveLock(*this);
  }

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
