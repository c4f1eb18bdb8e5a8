#include "hcall/sharing/vhost_user/shared_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "absl/status/status.h"
#include "xencomm/address.h"
#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

// The mappings, as the handler finds them: it may run at any moment, in any thread.
struct Slot {
  std::atomic<bool> is_taken = false;
  std::atomic<std::uintptr_t> start = 0;  // 0: none
  std::atomic<std::size_t> length = 0;
  std::atomic<bool> is_torn = false;
};
Slot slots[SharedFile::kMost];
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);

struct sigaction before;  // what handled the signal

Slot* SlotOf(std::uintptr_t address) {
  for (Slot& slot : slots) {
    const std::uintptr_t start = slot.start.load(std::memory_order_acquire);
    if (start != 0 && Contains(start, slot.length.load(std::memory_order_relaxed), address, 1)) {
      return &slot;
    }
  }
  return nullptr;
}

// The mapping as a whole: a page of a huge one could not be replaced by itself. Another thread that
// meets it meanwhile makes its access again, until it is done.
bool Tear(Slot& slot) {
  // Before it is: who sees zeros also sees why.
  if (slot.is_torn.exchange(true)) return true;
  const int error = errno;
  // By the call itself: the thread sanitizer takes its own mmap for a write of all of this.
  const long start = std::bit_cast<long>(slot.start.load(std::memory_order_relaxed));
  const bool is_torn =
      syscall(SYS_mmap, start, slot.length.load(std::memory_order_relaxed), PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1L, 0L) == start;
  errno = error;
  return is_torn;
}

void OnSigbus(int number, siginfo_t* about, void* context) {
  Slot* const slot = SlotOf(reinterpret_cast<std::uintptr_t>(about->si_addr));
  if (slot != nullptr && Tear(*slot)) return;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(number, about, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  } else {
    // The access is made once more, and ends the process.
    sigaction(number, &before, nullptr);
  }
}

void HandleSigbus() {
  static const bool kDone [[maybe_unused]] = [] {
    struct sigaction action = {};
    action.sa_sigaction = OnSigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &before) == 0;
  }();
}

std::size_t TakeSlot() {
  for (std::size_t i = 0; i < std::size(slots); ++i) {
    if (!slots[i].is_taken.exchange(true)) return i;
  }
  return std::size(slots);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SharedFile>> SharedFile::Map(int fd, std::uint64_t offset,
                                                            std::uint64_t size) {
  struct stat about;
  if (fstat(fd, &about) != 0) return absl::ErrnoToStatus(errno, "the region's file");
  if (!S_ISREG(about.st_mode)) {
    return absl::InvalidArgumentError("the region's descriptor: expected a file's");
  }
  const auto file_size = static_cast<std::uint64_t>(about.st_size);
  if (!Contains(0, file_size, offset, size)) {
    return absl::InvalidArgumentError(
        Sentence("%#x bytes at %#x of a file of %#x bytes: expected a "
                 "region that lies in it",
                 size, offset, file_size));
  }
  // Files of huge pages say how large those are, and want to be mapped and unmapped by whole ones.
  const auto block = static_cast<std::uint64_t>(about.st_blksize);
  const std::uint64_t unit = std::has_single_bit(block) && block > 4096 ? block : 4096;
  const std::uint64_t within = offset & (unit - 1);
  const std::uint64_t length = AlignUp(within + size, unit);

  HandleSigbus();
  const std::size_t taken = TakeSlot();
  if (taken == std::size(slots)) {
    return absl::ResourceExhaustedError("expected no more regions of plain memory");
  }
  void* const mapped = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                            static_cast<off_t>(offset - within));
  if (mapped == MAP_FAILED) {
    const int error = errno;
    slots[taken].is_taken.store(false);
    return absl::ErrnoToStatus(error, "mapping the region's file");
  }
  // Neither a child nor a core file is to have another program's memory.
  madvise(mapped, length, MADV_DONTFORK);
  madvise(mapped, length, MADV_DONTDUMP);
  slots[taken].is_torn.store(false);
  slots[taken].length.store(length, std::memory_order_relaxed);
  slots[taken].start.store(reinterpret_cast<std::uintptr_t>(mapped), std::memory_order_release);
  auto* const start = static_cast<std::byte*>(mapped) + within;
  return std::unique_ptr<SharedFile>(new SharedFile(mapped, length, start, taken));
}

SharedFile::~SharedFile() {
  slots[slot_].start.store(0);
  munmap(mapped_, length_);
  slots[slot_].is_taken.store(false);
}

bool SharedFile::is_torn() const { return slots[slot_].is_torn.load(); }

}  // namespace xencomm::vhost_user
