#include "hcall/hypervisor/memory/dirty_log.h"

namespace xencomm::hypervisor {

void DirtyLog::MarkRun(std::uint64_t gfn, std::uint64_t count) {
  Top* top = top_.load(std::memory_order_acquire);
  if (top == nullptr) return;
  while (count != 0) {
    if (gfn >= kMarked) [[unlikely]]
      return SetEverything();
    const std::uint64_t first = gfn % kWordPages;
    const std::uint64_t rest = kWordPages - first;
    const std::uint64_t pages = count < rest ? count : rest;
    std::atomic<std::uintptr_t>& place = top->blocks[gfn >> kBlockBits];
    Block* block = AsBlock(place.load(std::memory_order_acquire));
    if (block == nullptr) block = MakeBlock(place);
    // Set also when they are set: who clears them must see what was written before.
    const std::uint64_t bits = ~std::uint64_t{0} >> (kWordPages - pages) << first;
    if (block != nullptr) block->marks[WordOf(gfn)].fetch_or(bits, std::memory_order_release);
    gfn += pages;
    count -= pages;
  }
}

// Or the one that somebody else has just made; null when there is no room or the log has ended.
DirtyLog::Block* DirtyLog::MakeBlock(std::atomic<std::uintptr_t>& place) {
  Block* made = pages_->New<Block>();
  if (made == nullptr) {
    SetEverything();
    return nullptr;
  }
  std::uintptr_t found = 0;
  if (place.compare_exchange_strong(found, reinterpret_cast<std::uintptr_t>(made),
                                    std::memory_order_release, std::memory_order_acquire)) {
    return made;
  }
  pages_->Delete(made);
  return AsBlock(found);
}

void DirtyLog::MarkNoted(WriteNotes& notes) {
  for (const WriteNotes::Run run : notes.runs()) MarkRun(run.first, run.count);
  if (notes.is_short()) SetEverything();
  notes.Forget();
}

bool DirtyLog::Begin() {
  Top* top = pages_->New<Top>();
  if (top == nullptr) return false;
  settled_ = events();
  top_.store(top, std::memory_order_release);
  return true;
}

bool DirtyLog::End(Work& work) {
  if (Top* top = top_.exchange(nullptr, std::memory_order_relaxed)) {
    old_ = top;
    old_next_ = 0;
    Overtake(cleaning);
    Overtake(peeking);
  }
  if (old_ == nullptr) return true;
  for (; old_next_ < kBlocks; ++old_next_) {
    if (work.is_used_up()) return false;
    work.Done();
    // Delete takes null for nothing, and waits for the calls that mark in it.
    pages_->Delete(AsBlock(old_->blocks[old_next_].exchange(kClosed, std::memory_order_relaxed)));
  }
  pages_->Delete(old_);
  old_ = nullptr;
  return true;
}

std::uint64_t DirtyLog::Marks(std::uint64_t gfn) const {
  const Block* block = BlockOf(gfn);
  return block == nullptr ? 0 : block->marks[WordOf(gfn)].load(std::memory_order_relaxed);
}

std::uint64_t DirtyLog::Deliver(std::uint64_t gfn, std::uint64_t mask) {
  Block* block = BlockOf(gfn);
  if (block == nullptr) return 0;
  const std::uint64_t marks = block->marks[WordOf(gfn)].load(std::memory_order_relaxed) & mask;
  block->delivered[WordOf(gfn)] = marks;
  return marks;
}

void DirtyLog::TakeOff(std::uint64_t gfn) {
  Block& block = *BlockOf(gfn);
  const std::uint64_t delivered = block.delivered[WordOf(gfn)];
  // Whoever clears a mark sees what was written before it was set, at last by now.
  if (delivered != 0) block.marks[WordOf(gfn)].fetch_and(~delivered, std::memory_order_acquire);
}

void DirtyLog::Overtake(DirtyReading& reading) {
  if (reading.token == 0) return;
  if (reading.takes_off) SetEverything();
  reading = {.overtaken = reading.token};
}

}  // namespace xencomm::hypervisor
