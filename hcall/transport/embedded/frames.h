// The guest kernel's free frames, by gfn.
//
// Single frames come scattered on purpose: nothing may work by accident that needs them to follow
// one another. Blocks of 16 are for large regions, where a mapping for each page would be too many
// for the process (vm.max_map_count); they come in scattered order too.
#ifndef HCALL_TRANSPORT_EMBEDDED_FRAMES_H_
#define HCALL_TRANSPORT_EMBEDDED_FRAMES_H_

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "xencomm/mutex.h"

namespace xencomm::embedded {

inline constexpr std::uint64_t kBlockFrames = 16;

// `count` frames from `gfn` on: 1 or whole blocks.
struct FrameRun {
  std::uint64_t gfn = 0;
  std::uint64_t count = 0;
};

class Frames {
 public:
  // Of the frames from `first` to `end`, both of which begin a block, all are free, but for the
  // very first block: guest-physical address 0 in a call's register means that there is no region,
  // so nothing begins there. An `end` in the middle of a block is where that begins.
  Frames(std::uint64_t first, std::uint64_t end);
  // Those of a list: what of it makes no block is taken one by one.
  explicit Frames(std::vector<std::uint64_t> frames);

  std::optional<FrameRun> TakeOne() ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<FrameRun> TakeBlock() ABSL_LOCKS_EXCLUDED(mutex_);
  // `count` blocks that follow one another; more than one takes time in the number of free ones.
  std::optional<FrameRun> TakeBlocks(std::uint64_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  // A run as it was taken, or any whole blocks of one.
  void GiveBack(FrameRun run) ABSL_LOCKS_EXCLUDED(mutex_);

  // In frames.
  std::uint64_t total() const { return total_; }
  std::uint64_t free() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // So many blocks are broken up at once, and their frames mixed.
  static constexpr std::size_t kBlocksMixed = 32;

  const std::uint64_t total_;
  mutable Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> blocks_ ABSL_GUARDED_BY(mutex_);  // their first gfns
  std::vector<std::uint64_t> singles_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_FRAMES_H_
