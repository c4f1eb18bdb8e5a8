// A mutex that both checkers see: clang's thread-safety analysis by Abseil's annotations, and the
// thread sanitizer, which does not know Debian's absl::Mutex because that library is built without
// it and would report a race for every lock.
#ifndef XENCOMM_MUTEX_H_
#define XENCOMM_MUTEX_H_

#include <mutex>

#include "absl/base/thread_annotations.h"
#include "xencomm/language.h"

namespace xencomm {

class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }

 private:
  Mutex& mutex_;
};

}  // namespace xencomm

#endif  // XENCOMM_MUTEX_H_
