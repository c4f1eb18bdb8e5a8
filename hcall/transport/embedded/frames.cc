#include "hcall/transport/embedded/frames.h"

#include <algorithm>

namespace xencomm::embedded {

Frames::Frames(std::uint64_t first, std::uint64_t end)
    : total_((end - first) / kBlockFrames * kBlockFrames) {
  // The same order in every run: a failure can be looked at again.
  const MutexLock lock(mutex_);
  for (std::uint64_t gfn = first; gfn < first + total_; gfn += kBlockFrames) {
    if (gfn != 0) blocks_.push_back(gfn);
  }
  std::shuffle(blocks_.begin(), blocks_.end(), random_);
}

Frames::Frames(std::vector<std::uint64_t> frames) : total_(frames.size()) {
  const MutexLock lock(mutex_);
  std::ranges::sort(frames);
  for (std::size_t i = 0; i < frames.size();) {
    const bool is_block = frames[i] != 0 && frames[i] % kBlockFrames == 0 &&
                          frames.size() - i >= kBlockFrames &&
                          frames[i + kBlockFrames - 1] == frames[i] + kBlockFrames - 1;
    (is_block ? blocks_ : singles_).push_back(frames[i]);
    i += is_block ? kBlockFrames : 1;
  }
  std::ranges::shuffle(blocks_, random_);
  std::ranges::shuffle(singles_, random_);
}

std::optional<FrameRun> Frames::TakeOne() {
  const MutexLock lock(mutex_);
  if (singles_.empty()) {
    for (std::size_t i = 0; i < kBlocksMixed && !blocks_.empty(); ++i) {
      for (std::uint64_t frame = 0; frame < kBlockFrames; ++frame) {
        singles_.push_back(blocks_.back() + frame);
      }
      blocks_.pop_back();
    }
    std::shuffle(singles_.begin(), singles_.end(), random_);
  }
  if (singles_.empty()) return std::nullopt;
  const FrameRun run = {singles_.back(), 1};
  singles_.pop_back();
  return run;
}

std::optional<FrameRun> Frames::TakeBlock() {
  const MutexLock lock(mutex_);
  if (blocks_.empty()) return std::nullopt;
  const FrameRun run = {blocks_.back(), kBlockFrames};
  blocks_.pop_back();
  return run;
}

std::optional<FrameRun> Frames::TakeBlocks(std::uint64_t count) {
  if (count == 1) return TakeBlock();
  const MutexLock lock(mutex_);
  std::vector<std::uint64_t> sorted = blocks_;
  std::sort(sorted.begin(), sorted.end());
  std::uint64_t found = 0;  // blocks in a row, up to the one looked at
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    found = i != 0 && sorted[i] == sorted[i - 1] + kBlockFrames ? found + 1 : 1;
    if (found < count) continue;
    const FrameRun run = {sorted[i + 1 - count], count * kBlockFrames};
    std::erase_if(blocks_,
                  [run](std::uint64_t gfn) { return gfn >= run.gfn && gfn < run.gfn + run.count; });
    return run;
  }
  return std::nullopt;
}

void Frames::GiveBack(FrameRun run) {
  const MutexLock lock(mutex_);
  if (run.count == 1) {
    singles_.push_back(run.gfn);
    return;
  }
  for (std::uint64_t i = 0; i < run.count; i += kBlockFrames) blocks_.push_back(run.gfn + i);
}

std::uint64_t Frames::free() const {
  const MutexLock lock(mutex_);
  return singles_.size() + blocks_.size() * kBlockFrames;
}

}  // namespace xencomm::embedded
