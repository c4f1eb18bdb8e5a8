// Whether this is still the process that made the marker.
//
// The kernel wipes the marker's page in a forked child (MADV_WIPEONFORK, Linux 4.14), so asking is
// one load: no system call, and no process id that could come round again.
#ifndef XENCOMM_FORK_MARKER_H_
#define XENCOMM_FORK_MARKER_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#include "xencomm/language.h"

namespace xencomm {

class ForkMarker {
 public:
  ForkMarker() : bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    void* const page =
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    if (madvise(page, bytes_, MADV_WIPEONFORK) != 0) {
      munmap(page, bytes_);
      throw std::bad_alloc();
    }
    mark_ = static_cast<std::uint64_t*>(page);
    __atomic_store_n(mark_, 1, __ATOMIC_RELAXED);
  }
  ForkMarker(const ForkMarker&) = delete;
  ForkMarker& operator=(const ForkMarker&) = delete;
  ~ForkMarker() { munmap(mark_, bytes_); }

  // The kernel changes the word behind the compiler's back, hence the atomic load.
  bool in_same_process() const { return __atomic_load_n(mark_, __ATOMIC_RELAXED) != 0; }

 private:
  std::size_t bytes_;
  std::uint64_t* mark_;
};

}  // namespace xencomm

#endif  // XENCOMM_FORK_MARKER_H_
