#include "hcall/hypervisor/memory/frame_heap.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace xencomm::hypervisor {
namespace {

constexpr std::uint64_t Pages(unsigned order) { return std::uint64_t{1} << order; }

// The order in which the runs of an open block are taken: 7 has no factor in common with 16, so all
// are met, and no two in a row are neighbours.
constexpr unsigned kRunStep = 7;

}  // namespace

void FrameHeap::Init(const FrameTable& frames, std::uint32_t begin, std::uint32_t end, bool zero,
                     Machine& machine, Quiescence& quiescence) {
  frames_ = &frames;
  machine_ = &machine;
  quiescence_ = &quiescence;
  for (Zone& zone : zones_) {
    for (std::uint32_t& head : zone.heads) head = kNoIndex;
  }

  first_mfn_ = frames.MfnOf(begin);
  end_mfn_ = frames.MfnOf(end);

  // The largest aligned blocks that fit, from the front: a few dozen, however large the heap.
  std::uint64_t mfn = first_mfn_;
  free_.store(end_mfn_ - mfn, std::memory_order_relaxed);
  lowest_zone_ = ZoneOf(mfn);
  highest_zone_ = ZoneOf(end_mfn_ - 1);
  while (mfn < end_mfn_) {
    unsigned order = kMaxOrder;
    while (!IsAligned(mfn, Pages(order)) || Pages(order) > end_mfn_ - mfn) --order;
    frames.Of(mfn).dirty = !zero;
    Link(frames.IndexOf(mfn), order);
    mfn += Pages(order);
  }
}

std::uint64_t FrameHeap::Allocate(unsigned order, unsigned width) {
  if (order > kMaxOrder) return kNoFrame;
  Block block;
  {
    SpinGuard guard(lock_);
    block = TakeWithRetries(order, width);
    if (block.mfn == kNoFrame) return kNoFrame;
    free_.fetch_sub(Pages(order), std::memory_order_relaxed);
  }
  if (block.dirty) Clear(block.mfn, order);
  return block.mfn;
}

std::uint64_t FrameHeap::AllocateMemory(std::uint64_t gfn, unsigned order, unsigned width) {
  return order == 0 && width >= highest_zone_ ? AllocateScattered(gfn) : Allocate(order, width);
}

std::uint64_t FrameHeap::AllocateScattered(std::uint64_t gfn) {
  SpinGuard guard(lock_);
  if (run_free_ == 0 && !OpenRun()) {
    // No run of 16 is left: take what there is.
    const Block block = TakeWithRetries(0, kAnyWidth);
    if (block.mfn == kNoFrame) return kNoFrame;
    free_.fetch_sub(1, std::memory_order_relaxed);
    if (block.dirty) Clear(block.mfn, 0);
    return block.mfn;
  }
  auto place = static_cast<unsigned>(gfn % kRunPages);
  if ((run_free_ >> place & 1) == 0) place = static_cast<unsigned>(std::countr_zero(run_free_));
  run_free_ = static_cast<std::uint16_t>(run_free_ & ~(1u << place));
  free_.fetch_sub(1, std::memory_order_relaxed);
  return run_ + place;
}

void FrameHeap::Free(std::uint64_t mfn, unsigned order) {
  SpinGuard guard(lock_);
  Insert(mfn, order, true);
  free_.fetch_add(Pages(order), std::memory_order_relaxed);
}

void FrameHeap::FreeLater(std::uint64_t mfn, unsigned order) {
  SpinGuard guard(lock_);
  const std::uint32_t index = frames_->IndexOf(mfn);
  Frame& frame = frames_->At(index);
  // While it waits, `gfn` is the stamp and `previous` the order. Stamped under the lock, so that
  // the queue is sorted.
  frame.gfn = quiescence_->Stamp();
  frame.previous = order;
  frame.next = kNoIndex;
  if (waiting_tail_ == kNoIndex) {
    waiting_head_ = index;
  } else {
    frames_->At(waiting_tail_).next = index;
  }
  waiting_tail_ = index;
  waiting_.fetch_add(1, std::memory_order_relaxed);
  free_.fetch_add(Pages(order), std::memory_order_relaxed);
}

void FrameHeap::Reclaim() {
  const std::uint64_t oldest = quiescence_->OldestInUse();
  SpinGuard guard(lock_);
  ReclaimLocked(oldest);
}

bool FrameHeap::ReclaimLocked(std::uint64_t oldest) {
  for (unsigned i = 0; i < kReclaimedAtOnce; ++i) {
    if (waiting_head_ == kNoIndex) return false;
    const std::uint32_t index = waiting_head_;
    const Frame& frame = frames_->At(index);
    if (frame.gfn >= oldest) return false;
    const unsigned order = frame.previous;
    waiting_head_ = frame.next;
    if (waiting_head_ == kNoIndex) waiting_tail_ = kNoIndex;
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    Insert(frames_->MfnOf(index), order, true);
  }
  return true;
}

FrameHeap::Block FrameHeap::TakeWithRetries(unsigned order, unsigned width) {
  Block block = Take(order, width);
  if (block.mfn != kNoFrame) return block;
  CloseRuns();
  const std::uint64_t oldest = quiescence_->OldestInUse();
  // No more of what waits than is needed.
  while (ReclaimLocked(oldest)) {
    block = Take(order, width);
    if (block.mfn != kNoFrame) return block;
  }
  block = Take(order, width);
  // A stamp of its own: calls that begin later began behind it.
  if (block.mfn == kNoFrame && waiting_head_ != kNoIndex) {
    short_at_.store(quiescence_->Stamp(), std::memory_order_relaxed);
  }
  return block;
}

// A block of the highest zone that has one, and there of the smallest order that serves, split
// down.
FrameHeap::Block FrameHeap::Take(unsigned order, unsigned width) {
  for (unsigned zone = std::min(width, highest_zone_); zone >= lowest_zone_; --zone) {
    const std::uint32_t serving = zones_[zone].orders >> order;
    if (serving == 0) continue;
    unsigned from = order + static_cast<unsigned>(std::countr_zero(serving));
    const std::uint32_t index = zones_[zone].heads[from];
    Unlink(index, from);
    const bool dirty = frames_->At(index).dirty;
    const std::uint64_t mfn = frames_->MfnOf(index);
    while (from > order) {
      --from;
      const std::uint32_t upper = frames_->IndexOf(mfn + Pages(from));
      frames_->At(upper).dirty = dirty;
      Link(upper, from);
    }
    return {mfn, dirty};
  }
  return {};
}

bool FrameHeap::OpenRun() {
  OpenBlock& block = open_[next_open_];
  next_open_ = (next_open_ + 1) % kOpenBlocks;
  if (block.runs == 0) {
    const Block taken = Take(kOpenOrder, kAnyWidth);
    if (taken.mfn == kNoFrame) {
      const Block run = Take(kRunOrder, kAnyWidth);
      if (run.mfn == kNoFrame) return false;
      if (run.dirty) Clear(run.mfn, kRunOrder);
      run_ = run.mfn;
      run_free_ = 0xffff;
      return true;
    }
    block = {.mfn = taken.mfn, .runs = 0xffff, .dirty = taken.dirty};
  }
  const unsigned run = (block.taken++ * kRunStep + next_open_ * 5) % 16;
  block.runs = static_cast<std::uint16_t>(block.runs & ~(1u << run));
  run_ = block.mfn + run * kRunPages;
  run_free_ = 0xffff;
  if (block.dirty) Clear(run_, kRunOrder);
  return true;
}

void FrameHeap::CloseRuns() {
  for (OpenBlock& block : open_) {
    for (unsigned run = 0; run < 16; ++run) {
      if ((block.runs >> run & 1) != 0) {
        Insert(block.mfn + run * kRunPages, kRunOrder, block.dirty);
      }
    }
    block.runs = 0;
  }
  for (unsigned page = 0; page < kRunPages; ++page) {
    // Cleared when the run was opened, and untouched since.
    if ((run_free_ >> page & 1) != 0) Insert(run_ + page, 0, false);
  }
  run_free_ = 0;
}

void FrameHeap::Insert(std::uint64_t mfn, unsigned order, bool dirty) {
  if (dirty && order >= kDiscardOrder) {
    dirty = !machine_->Discard({mfn << kPageShift}, Pages(order) << kPageShift);
  }
  while (order < kMaxOrder && IsFree(mfn ^ Pages(order), order)) {
    const std::uint32_t buddy = frames_->IndexOf(mfn ^ Pages(order));
    Unlink(buddy, order);
    dirty = dirty || frames_->At(buddy).dirty;
    mfn &= ~Pages(order);
    ++order;
    if (dirty && order == kDiscardOrder) {
      dirty = !machine_->Discard({mfn << kPageShift}, Pages(order) << kPageShift);
    }
  }
  frames_->Of(mfn).dirty = dirty;
  Link(frames_->IndexOf(mfn), order);
}

bool FrameHeap::IsFree(std::uint64_t mfn, unsigned order) const {
  return Has(mfn) && frames_->Of(mfn).free_order == order + 1;
}

void FrameHeap::Link(std::uint32_t index, unsigned order) {
  Zone& zone = zones_[ZoneOf(frames_->MfnOf(index))];
  Frame& frame = frames_->At(index);
  frame.free_order = static_cast<std::uint8_t>(order + 1);
  frame.previous = kNoIndex;
  frame.next = zone.heads[order];
  if (frame.next != kNoIndex) frames_->At(frame.next).previous = index;
  zone.heads[order] = index;
  zone.orders |= 1u << order;
}

void FrameHeap::Unlink(std::uint32_t index, unsigned order) {
  Zone& zone = zones_[ZoneOf(frames_->MfnOf(index))];
  Frame& frame = frames_->At(index);
  frame.free_order = 0;
  if (frame.next != kNoIndex) frames_->At(frame.next).previous = frame.previous;
  if (frame.previous != kNoIndex) {
    frames_->At(frame.previous).next = frame.next;
    return;
  }
  zone.heads[order] = frame.next;
  if (frame.next == kNoIndex) zone.orders &= ~(1u << order);
}

void FrameHeap::Clear(std::uint64_t mfn, unsigned order) {
  const std::uint64_t bytes = Pages(order) << kPageShift;
  if (order >= kDiscardOrder && machine_->Discard({mfn << kPageShift}, bytes)) return;
  std::memset(frames_->Bytes(mfn), 0, bytes);
}

}  // namespace xencomm::hypervisor
