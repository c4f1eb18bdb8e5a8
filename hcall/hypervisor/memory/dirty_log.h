// DirtyLog: which pages of a domain its calls wrote, for a toolstack that copies them meanwhile.
//
//   gfn ── bits 26…15 ──> top[4096] ── bits 14…0 ──> a block of marks, a bit for each page
//
// Beginning to log takes the top; blocks are made by the first mark in them, charged to the domain,
// and go when logging ends. Pages from 2^27 on have none: when one of them is written, rule 3
// holds.
//
// Rules:
// 1. Whoever writes marks after the write: a page is marked when it is mapped, and again when the
//    leg ends that mapped it (write_notes.h).
// 2. CLEAN clears the marks that it delivered, and only when all are delivered. One that cannot
//    deliver clears none.
// 3. What nobody could note (a page without a mark, a leg that began before the log did, one that
// wrote too many places,
//    no room for a block, a CLEAN that stopped while it cleared marks or could not answer after
//    that) makes everything count as written, until a CLEAN has delivered that.
#ifndef HCALL_HYPERVISOR_MEMORY_DIRTY_LOG_H_
#define HCALL_HYPERVISOR_MEMORY_DIRTY_LOG_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/memory/overhead.h"
#include "hcall/hypervisor/memory/p2m.h"
#include "hcall/hypervisor/memory/write_notes.h"

namespace xencomm::hypervisor {

// How far a CLEAN or PEEK came that stopped to be continued.
struct DirtyReading {
  // That the continued call brings along; 0 when none is to be. What a fresh call has in the same
  // register says nothing.
  std::uint64_t token = 0;
  std::uint64_t bitmap = 0;  // the guest's pointer, and its pages: a resumed call's are the same
  std::uint64_t pages = 0;
  std::uint64_t next = 0;  // gfn
  std::uint32_t dirty = 0;
  std::uint32_t events = 0;  // of DirtyLog, when it began
  bool everything = false;
  bool takes_off = false;  // all is delivered
  std::uint8_t reserved[6] = {};
  // Of one that another call took the place of: it is told so.
  std::uint64_t overtaken = 0;
};

class DirtyLog {
 public:
  static constexpr unsigned kWordPages = 64;  // pages that one word of marks stands for
  static constexpr unsigned kBlockBits = 15;
  static constexpr std::uint64_t kBlockPages = std::uint64_t{1} << kBlockBits;

  // Borrowed; what the marks are charged to.
  void Init(OverheadPages& pages) { pages_ = &pages; }

  bool is_on() const { return top_.load(std::memory_order_relaxed) != nullptr; }

  // For those who write, inside a call. Nothing when nobody logs.
  void Mark(std::uint64_t gfn) { MarkRun(gfn, 1); }
  // Pages that this leg is about to write.
  void NoteRun(std::uint64_t gfn, std::uint64_t count, WriteNotes& notes) {
    MarkRun(gfn, count);
    for (std::uint64_t i = 0; i < count; ++i) notes.Note(gfn + i);
  }
  // All writes of a leg are done.
  void EndLeg(WriteNotes& notes) {
    if (!notes.is_empty()) [[unlikely]]
      MarkNoted(notes);
  }

  // What follows: with the control lock held.

  // False when there is no room for it. Only when the log is off and nothing of an old one is left.
  bool Begin();
  // Ends it, if it is on, and gives back its pages, so far as there is work left; true when none is
  // left.
  bool End(Work& work);

  // For CLEAN and PEEK, one word of marks at a time: `gfn` is a multiple of kWordPages.
  bool HasBlock(std::uint64_t gfn) const { return BlockOf(gfn) != nullptr; }
  std::uint64_t Marks(std::uint64_t gfn) const;
  // The marks of `mask`, which are to be cleared when all is delivered. TakeOff clears those of a
  // word that was delivered, in a block that there is.
  std::uint64_t Deliver(std::uint64_t gfn, std::uint64_t mask);
  void TakeOff(std::uint64_t gfn);

  // Everything counts as written. A CLEAN that delivers that notes how many events there were when
  // it began.
  bool everything() const { return events() != settled_; }
  std::uint32_t events() const { return events_.load(std::memory_order_acquire); }
  void SetEverything() { events_.fetch_add(1, std::memory_order_release); }
  void Settle(std::uint32_t events) { settled_ = events; }

  // Somebody else's call takes the reading's place.
  void Overtake(DirtyReading& reading);

  DirtyReading cleaning;
  DirtyReading peeking;
  // When logging began (quiescence.h), and whether a call that began before may still be under way.
  std::uint64_t stamp = 0;
  bool has_old_legs = false;

 private:
  friend class Books;  // of tests/unit

  static constexpr std::uint64_t kMarked = std::uint64_t{1} << 27;  // pages that can have a mark
  static constexpr std::uint64_t kBlocks = kMarked >> kBlockBits;
  static_assert(P2m::kLimitBits <= WriteNotes::kGfnBits);
  static constexpr std::uint64_t kWords = kBlockPages / kWordPages;

  struct Block {
    std::atomic<std::uint64_t> marks[kWords] = {};
    std::uint64_t delivered[kWords] = {};  // by the CLEAN under way
  };
  struct Top {
    // Addresses; kClosed once the log has ended, so that no block is added behind its back.
    std::atomic<std::uintptr_t> blocks[kBlocks] = {};
  };
  static constexpr std::uintptr_t kClosed = 1;

  static Block* AsBlock(std::uintptr_t place) {
    return place == kClosed ? nullptr : reinterpret_cast<Block*>(place);
  }
  Block* BlockOf(std::uint64_t gfn) const {
    const Top* top = top_.load(std::memory_order_relaxed);
    if (top == nullptr || gfn >= kMarked) return nullptr;
    return AsBlock(top->blocks[gfn >> kBlockBits].load(std::memory_order_acquire));
  }
  static std::uint64_t WordOf(std::uint64_t gfn) { return gfn % kBlockPages / kWordPages; }

  void MarkRun(std::uint64_t gfn, std::uint64_t count);
  Block* MakeBlock(std::atomic<std::uintptr_t>& place);
  void MarkNoted(WriteNotes& notes);

  OverheadPages* pages_ = nullptr;
  std::atomic<Top*> top_ = nullptr;  // null: off
  std::atomic<std::uint32_t> events_ = 0;
  std::uint32_t settled_ = 0;

  Top* old_ = nullptr;          // of a log that has ended
  std::uint64_t old_next_ = 0;  // block of it to give back next
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_DIRTY_LOG_H_
