#include "hcall/transport/hypercall_device.h"

#include <sys/mman.h>

#include <cerrno>

#include "xencomm/sentence.h"

namespace xencomm {

absl::StatusOr<Backing::Reservation> HypercallDevice::Reserve(std::uint64_t payload_size) {
  void* const range =
      mmap(nullptr, payload_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    return absl::ResourceExhaustedError(Sentence(
        "%u bytes of address space cannot be reserved (RLIMIT_AS, ulimit -v)", payload_size));
  }
  base_ = static_cast<std::byte*>(range);
  size_ = payload_size;
  return Reservation{.base = base_, .payload_size = payload_size};
}

absl::Status HypercallDevice::Populate(std::uint64_t offset, std::uint64_t length) {
  std::byte* const start = base_ + offset;
  // The driver allocates cleared pages and maps them at once; a failed mmap with MAP_FIXED may have
  // taken away what was there, so the reservation is put back.
  if (mmap(start, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_, 0) != MAP_FAILED) {
    if (madvise(start, length, MADV_DONTFORK) == 0) return absl::OkStatus();
  }
  const int error = errno;
  mmap(start, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return absl::ResourceExhaustedError(Sentence(
      "%u bytes of /dev/xen/hypercall cannot be mapped: %s", length, strerrordesc_np(error)));
}

void HypercallDevice::Release() { munmap(base_, size_); }

}  // namespace xencomm
