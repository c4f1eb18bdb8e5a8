// Guest-physical memory for benchmarks: a p2m over scattered machine frames.
#ifndef BENCH_MEMORY_H_
#define BENCH_MEMORY_H_

#include <cstdint>
#include <vector>

#include "xencomm/memory.h"

namespace xencomm::bench {

// Machine frames: a memfd, and this process's mapping of all of it.
class MachineMemory {
 public:
  explicit MachineMemory(std::uint64_t pages);
  ~MachineMemory();
  MachineMemory(const MachineMemory&) = delete;
  MachineMemory& operator=(const MachineMemory&) = delete;

  int file() const { return file_; }
  std::byte* bytes() const { return bytes_; }
  std::uint64_t pages() const { return pages_; }

 private:
  std::uint64_t pages_;
  int file_;
  std::byte* bytes_;
};

// One word a gfn: the frame's machine address, and whether it may be used at all.
class GuestMemory {
 public:
  // All frames of `machine`, which is borrowed, in an order of which nothing can be guessed.
  explicit GuestMemory(const MachineMemory& machine);

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access) {
    const std::uint64_t gfn = physical.value >> 12;
    if (gfn >= p2m_.size()) [[unlikely]]
      return Fault::kNoMemory;
    const std::uint64_t entry = p2m_[gfn];
    if ((entry & kPresent) == 0) [[unlikely]]
      return Fault::kNoMemory;
    const std::uint64_t within = physical.value & 0xfff;
    const std::uint64_t rest = 0x1000 - within;
    return {bytes_ + (entry & ~kPresent) + within, length < rest ? length : rest};
  }

  std::uint64_t FrameOf(std::uint64_t gfn) const { return p2m_[gfn] >> 12; }

 private:
  static constexpr std::uint64_t kPresent = 1;

  std::byte* bytes_;
  std::vector<std::uint64_t> p2m_;
};

}  // namespace xencomm::bench

#endif  // BENCH_MEMORY_H_
