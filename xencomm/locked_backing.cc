#include "xencomm/locked_backing.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "xencomm/sentence.h"

namespace xencomm {

LockedBacking::LockedBacking(Locking locking, std::function<void(const std::string& sentence)> warn)
    : locking_(locking), warn_(std::move(warn)) {}

absl::StatusOr<Backing::Reservation> LockedBacking::Reserve(std::uint64_t payload_size) {
  void* const range =
      mmap(nullptr, payload_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    return absl::ResourceExhaustedError(Sentence(
        "%u bytes of address space cannot be reserved (RLIMIT_AS, ulimit -v)", payload_size));
  }
  base_ = static_cast<std::byte*>(range);
  size_ = payload_size;
  if (madvise(base_, size_, MADV_DONTFORK) != 0) {
    const int error = errno;
    Release();
    return absl::ErrnoToStatus(error, "memory cannot be kept out of forked children");
  }
  return Reservation{.base = base_, .payload_size = payload_size};
}

absl::Status LockedBacking::Populate(std::uint64_t offset, std::uint64_t length) {
  std::byte* const start = base_ + offset;
  if (mprotect(start, length, PROT_READ | PROT_WRITE) != 0) {
    return absl::ResourceExhaustedError(Sentence("%u bytes of memory cannot be had", length));
  }
  if (lockable_) {
    const absl::Status locked = Lock(start, length);
    if (locked.ok()) return absl::OkStatus();
    if (locking_ == Locking::kRequired) {
      // Back to a reserved range: the caller may ask again for less.
      madvise(start, length, MADV_DONTNEED);
      mprotect(start, length, PROT_NONE);
      return locked;
    }
    lockable_ = false;
    if (warn_)
      warn_(absl::StrCat(std::string(locked.message()), "; going on with unlocked memory"));
  }
  if (madvise(start, length, MADV_POPULATE_WRITE) != 0) {
    madvise(start, length, MADV_DONTNEED);
    mprotect(start, length, PROT_NONE);
    return absl::ResourceExhaustedError(Sentence("%u bytes of memory cannot be had", length));
  }
  return absl::OkStatus();
}

absl::Status LockedBacking::Lock(std::byte* start, std::uint64_t length) {
  // Not mlock: the address sanitizer turns that into nothing.
  if (mlock2(start, length, 0) == 0) return absl::OkStatus();
  munlock(start, length);  // what was locked before the limit was met
  rlimit limit = {};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return absl::ResourceExhaustedError(Sentence(
      "%u bytes cannot be locked in memory: RLIMIT_MEMLOCK allows this process %u (raise it with "
      "ulimit -l, or run with CAP_IPC_LOCK)",
      length, limit.rlim_cur));
}

void LockedBacking::Release() { munmap(base_, size_); }

}  // namespace xencomm
