// Blocks: what an Arena knows of its memory, and keeps apart from it: which blocks there are, who
// has them, and which pages are in none.
//
// Rules:
// 1. The truth about a block is its word: its class, and whether it is live, or kept by a thread
//    that has freed it. Who turns the word from live to kept has freed the block; who turns it from
//    kept to something else has got it.
// 2. A thread's list of what it keeps says only where to look first. A thread that finds nothing
//    else takes what others keep, by the words, and leaves their lists as they are. So a list is
//    plain memory of one thread, and nothing is lost with a thread.
// 3. All else is under the lock: the pages that are in no block, and the slots of a page that
//    nobody has or keeps.
#ifndef XENCOMM_BLOCKS_H_
#define XENCOMM_BLOCKS_H_

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xencomm/arena.h"
#include "xencomm/backing.h"
#include "xencomm/fork_marker.h"
#include "xencomm/lazy_array.h"
#include "xencomm/mutex.h"
#include "xencomm/numbers.h"
#include "xencomm/sentence.h"

namespace xencomm {

class Blocks {
 public:
  // Memory is counted in lines of 64 bytes, the smallest block. A block is known by its first line.
  static constexpr std::uint32_t kLineShift = 6;
  static constexpr std::uint32_t kNoLine = ~std::uint32_t{0};

  // What throws leaves `backing` as it is.
  Blocks(std::unique_ptr<Backing>&& backing, const Backing::Reservation& reservation)
      : reservation_(reservation),
        payload_(reservation.base + reservation.payload_offset),
        process_(getpid()),
        words_(reservation.payload_size >> kLineShift),
        pages_(reservation.payload_size >> kPageShift),
        kept_(Numbers::kCount),
        backing_(std::move(backing)) {
    with_slots_.fill(kNoPage);
  }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  ~Blocks() {
    if (in_same_process()) backing_->Release();
  }

  // Classes are slots of a power of two of lines up to half a page, which share a page with others
  // of their class; then runs of 1, 2, 3 and so on pages.
  static std::uint64_t ClassFor(std::size_t size, std::size_t alignment) {
    const std::uint64_t last = size == 0 ? 0 : size - 1;
    // The page that slots are cut from is aligned, so a slot of 2^n bytes is, too.
    const std::uint64_t slot = last | (alignment - 1) | ((1u << kLineShift) - 1);
    return slot < Arena::kPageSize / 2
               ? static_cast<std::uint32_t>(std::bit_width(slot)) - kLineShift
               : kSlotClasses + (last >> kPageShift);
  }

  // The block of that class which this thread kept last, now live: its first line; kNoLine when it
  // keeps none.
  std::uint32_t TakeKept(std::uint64_t size_class) {
    if (!Keeps(size_class)) [[unlikely]] {
      return kNoLine;
    }
    Kept& kept = kept_[thread_number][size_class];
    if (kept.count == 0) [[unlikely]] {
      return kNoLine;
    }
    const std::uint32_t line = kept.lines[kept.count - 1];
    std::uint32_t word = WordOf(size_class, kKept);
    // Acquired with it is the end of what was done with the block before, by whichever thread.
    if (!words_[line].compare_exchange_strong(word, WordOf(size_class, kLive),
                                              std::memory_order_acquire, std::memory_order_relaxed))
        [[unlikely]] {
      return kNoLine;
    }
    --kept.count;
    return line;
  }

  // A block of that class from elsewhere. Fails as Arena::Allocate does.
  absl::StatusOr<std::uint32_t> Take(std::uint32_t size_class) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    Kept* const kept = KeptOf(size_class);
    // Where there is a list still, others have taken the last of it; the words say what of the
    // rest.
    if (kept != nullptr) GiveBack(*kept, 0);
    const absl::StatusOr<std::uint32_t> page = MakeRoom(size_class);
    if (!page.ok()) return page.status();
    Page& tile = pages_[*page];
    if (tile.IsFree()) {
      const std::uint32_t pages = PagesOf(size_class);
      if (tile.pages != pages) pages_[*page + pages].pages = tile.pages - pages;
      tile.pages = pages;
      tile.SetKind(std::min(size_class, kSlotClasses) + 1);
      if (size_class < kSlotClasses) {
        tile.slots = AllSlots(size_class);
        tile.next = std::exchange(with_slots_[size_class], *page);
      }
    }
    const std::uint32_t line =
        size_class < kSlotClasses ? TakeSlots(*page, size_class, kept) : *page * kLinesPerPage;
    words_[line].store(WordOf(size_class, kLive), std::memory_order_relaxed);
    return line;
  }

  // Frees the block that begins at `line`; false when none does that is live.
  bool Free(std::uint32_t line) ABSL_LOCKS_EXCLUDED(mutex_) {
    std::uint32_t word = words_[line].load(std::memory_order_relaxed);
    if ((word & kStateMask) != kLive ||
        !words_[line].compare_exchange_strong(word, word - kLive + kKept, std::memory_order_release,
                                              std::memory_order_relaxed)) [[unlikely]] {
      return false;
    }
    const std::uint32_t size_class = word >> kStateBits;
    if (Keeps(size_class)) [[likely]] {
      Kept& kept = kept_[thread_number][size_class];
      if (kept.count != Arena::kKept) [[likely]] {
        kept.lines[kept.count++] = line;
        return true;
      }
    }
    GiveBackFreed(line, size_class);
    return true;
  }

  // The block that holds `line`, which has memory: its first line, how many it has, and whether it
  // is live. Where there is none, something that is not live.
  struct Place {
    std::uint32_t line;
    std::uint32_t lines;
    bool is_live;
  };
  Place Find(std::uint32_t line) const {
    // In a block of pages, and in free ones, those behind the first are of no kind.
    std::uint32_t page = line / kLinesPerPage;
    while (page != 0 && pages_[page].IsFree()) --page;
    std::uint32_t first = page * kLinesPerPage;
    if (line - first < kLinesPerPage) first = line - line % pages_[page].LinesPerBlock();
    const std::uint32_t word = words_[first].load(std::memory_order_relaxed);
    const std::uint32_t lines = LinesOf(word >> kStateBits);
    return {first, lines, (word & kStateMask) == kLive && line - first < lines};
  }

  void GrowNoMore() { may_grow_.store(false, std::memory_order_relaxed); }

  const Backing::Reservation& reservation() const { return reservation_; }
  std::byte* payload() const { return payload_; }
  std::uint64_t populated() const { return populated_.load(std::memory_order_relaxed); }
  std::int64_t process() const { return process_; }
  const ForkMarker& marker() const { return marker_; }
  bool in_same_process() const { return marker_.in_same_process(); }

 private:
  static constexpr std::uint32_t kPageShift = 12;
  static constexpr std::uint32_t kLinesPerPage = 1u << (kPageShift - kLineShift);
  static constexpr std::uint32_t kSlotClasses = kPageShift - kLineShift;
  static constexpr std::uint32_t kKeptClasses = kSlotClasses + 64;
  static constexpr std::uint32_t kNoPage = ~std::uint32_t{0};

  // How far the Arena grows beyond what is asked of it: a quarter of what it has, within limits, so
  // that growing stays rare and locked memory is not wasted.
  static constexpr std::uint32_t kMinGrowthPages = 16;
  static constexpr std::uint32_t kMaxGrowthPages = 1024;

  // A word is a class and a state, and 0 where no block begins.
  enum State : std::uint32_t { kLive = 1, kKept = 2 };
  static constexpr int kStateBits = 2;
  static constexpr std::uint32_t kStateMask = (1u << kStateBits) - 1;
  static constexpr std::uint32_t WordOf(std::uint64_t size_class, State state) {
    return static_cast<std::uint32_t>(size_class << kStateBits | state);
  }

  static constexpr std::uint32_t PagesOf(std::uint32_t size_class) {
    return size_class < kSlotClasses ? 1 : size_class - kSlotClasses + 1;
  }
  static constexpr std::uint32_t LinesOf(std::uint32_t size_class) {
    return size_class < kSlotClasses ? 1u << size_class : PagesOf(size_class) * kLinesPerPage;
  }
  // A bit for the first line of each slot of a page.
  static constexpr std::uint64_t AllSlots(std::uint32_t size_class) {
    return ~std::uint64_t{0} / ((std::uint64_t{1} << LinesOf(size_class)) - 1);
  }

  // What a thread keeps of a class, the last block first; on cache lines of its own.
  struct alignas(64) Kept {
    std::uint32_t count;
    std::uint32_t lines[Arena::kKept];
  };
  using KeptByClass = std::array<Kept, kKeptClasses>;

  // Tiles cover the pages: each is a run of free pages, a block of pages, or a page of slots. This
  // is of its first page; of others, only that their kind is that of free ones.
  struct Page {
    bool IsFree() const { return kind.load(std::memory_order_relaxed) == 0; }
    void SetKind(std::uint32_t to) {
      kind.store(static_cast<std::uint8_t>(to), std::memory_order_relaxed);
    }
    // At most a page's.
    std::uint32_t LinesPerBlock() const {
      const std::uint32_t is = kind.load(std::memory_order_relaxed);
      return is == 0 ? kLinesPerPage : 1u << (is - 1);
    }

    std::atomic<std::uint8_t> kind;  // the class + 1, of whatever run kSlotClasses + 1; 0: free
    std::uint32_t pages;
    std::uint64_t slots;  // those that nobody has or keeps: a bit for the first line of each
    std::uint32_t next;   // of the pages with such slots
  };

  // Whether this thread keeps blocks of a class, and has a number already.
  static bool Keeps(std::uint64_t size_class) {
    return thread_number != Numbers::kCount && size_class < kKeptClasses;
  }
  // What this thread keeps of a class; null where it keeps nothing. Now it asks for a number.
  Kept* KeptOf(std::uint32_t size_class) {
    AskForThreadNumber();
    return Keeps(size_class) ? &kept_[thread_number][size_class] : nullptr;
  }

  // A block that this thread has freed and does not keep: there are too many, or it keeps none.
  [[gnu::noinline]] void GiveBackFreed(std::uint32_t line, std::uint32_t size_class)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    Kept* const kept = KeptOf(size_class);
    const MutexLock lock(mutex_);
    GiveBack(line);
    if (kept != nullptr) GiveBack(*kept, Arena::kKept / 2);
  }

  // A page whose tile has room: free pages, or free slots.
  absl::StatusOr<std::uint32_t> MakeRoom(std::uint32_t size_class)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::uint32_t count = PagesOf(size_class);
    std::uint32_t page = FindRoom(size_class);
    if (page + count > end_) {
      // What this thread keeps comes before new memory, and that before what others keep, who would
      // miss it at once.
      GiveBackOwn();
      page = FindRoom(size_class);
    }
    if (page + count <= end_) return page;
    absl::Status grown = Grow(count, page + count - end_);
    if (!grown.ok()) {
      GiveBackAll();
      page = FindRoom(size_class);
      if (page + count <= end_) return page;
      grown = Grow(count, page + count - end_);
    }
    if (!grown.ok()) return grown;
    return FindRoom(size_class);
  }

  // The first page that has room; when there is none, the page from which on there will be when
  // there is more memory. Takes time in the number of tiles.
  std::uint32_t FindRoom(std::uint32_t size_class) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (size_class < kSlotClasses && with_slots_[size_class] != kNoPage) {
      return with_slots_[size_class];
    }
    while (first_free_ != end_ && !pages_[first_free_].IsFree()) {
      first_free_ += pages_[first_free_].pages;
    }
    std::uint32_t page = first_free_;
    for (; page != end_; page += pages_[page].pages) {
      if (!pages_[page].IsFree()) continue;
      // Neighbours are joined when somebody looks.
      std::uint32_t behind = page + pages_[page].pages;
      while (behind != end_ && pages_[behind].IsFree()) behind += pages_[behind].pages;
      pages_[page].pages = behind - page;
      if (behind == end_ || pages_[page].pages >= PagesOf(size_class)) break;
    }
    return page;
  }

  // So that there are `needed` more pages, which are what a run of `count` lacks.
  absl::Status Grow(std::uint32_t count, std::uint32_t needed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!may_grow_.load(std::memory_order_relaxed)) {
      return absl::PermissionDeniedError(
          "no more memory: this process has restricted what it can do");
    }
    const auto left = static_cast<std::uint32_t>(reservation_.payload_size >> kPageShift) - end_;
    if (needed > left) {
      std::uint64_t free = left;
      for (std::uint32_t page = 0; page != end_; page += pages_[page].pages) {
        if (pages_[page].IsFree()) free += pages_[page].pages;
      }
      return absl::ResourceExhaustedError(Sentence(
          "no room for %u bytes: of the arena's %u, %u are free, but not that many in a row",
          std::uint64_t{count} << kPageShift, reservation_.payload_size, free << kPageShift));
    }
    const auto populate = [this](std::uint32_t pages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      const std::uint64_t offset = std::uint64_t{end_} << kPageShift;
      const std::uint64_t length = std::uint64_t{pages} << kPageShift;
      const absl::Status populated = backing_->Populate(offset, length);
      if (populated.ok()) {
        pages_[end_].pages = pages;
        end_ += pages;
        populated_.store(offset + length, std::memory_order_relaxed);
      }
      return populated;
    };
    const std::uint32_t spare = std::clamp(end_ / 4, kMinGrowthPages, kMaxGrowthPages);
    if (needed < spare && spare <= left && populate(spare).ok()) return absl::OkStatus();
    return populate(needed);
  }

  // The first such slot of a page. The thread keeps those beside it, as many as one cache line of
  // words is for: so threads that use what each of them took write no cache line in common.
  std::uint32_t TakeSlots(std::uint32_t page, std::uint32_t size_class, Kept* kept)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    constexpr std::uint32_t kTogether = 64 / sizeof(std::uint32_t);
    // Of no slots, it is the next page's.
    const auto first_of = [page](std::uint64_t slots) {
      return page * kLinesPerPage + static_cast<std::uint32_t>(std::countr_zero(slots));
    };
    std::uint64_t& slots = pages_[page].slots;
    const std::uint32_t first = first_of(slots);
    std::uint64_t rest = slots & (slots - 1);
    if (kept != nullptr) {
      for (; first_of(rest) <= (first | (kTogether - 1)); rest &= rest - 1) {
        words_[first_of(rest)].store(WordOf(size_class, kKept), std::memory_order_release);
        kept->lines[kept->count++] = first_of(rest);
      }
    }
    slots = rest;
    if (rest == 0) with_slots_[size_class] = pages_[page].next;
    return first;
  }

  // What this thread keeps, of any class.
  void GiveBackOwn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (std::uint32_t size_class = 0; size_class < kKeptClasses; ++size_class) {
      if (Kept* const kept = KeptOf(size_class)) GiveBack(*kept, 0);
    }
    FreePagesOfSlots();
  }

  // What any thread keeps.
  void GiveBackAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (std::uint32_t page = 0; page != end_; page += pages_[page].pages) {
      const std::uint32_t step = pages_[page].LinesPerBlock();
      for (std::uint32_t line = 0; line < kLinesPerPage; line += step) {
        GiveBack(page * kLinesPerPage + line);
      }
    }
    FreePagesOfSlots();
  }

  // What is in the list, but for the first `but`.
  void GiveBack(Kept& kept, std::uint32_t but) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (kept.count > but) GiveBack(kept.lines[--kept.count]);
  }

  // The block that begins at `line`, when a thread keeps it.
  void GiveBack(std::uint32_t line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::uint32_t word = words_[line].load(std::memory_order_relaxed);
    if ((word & kStateMask) != kKept ||
        !words_[line].compare_exchange_strong(word, 0, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
      return;
    }
    const std::uint32_t size_class = word >> kStateBits;
    const std::uint32_t page = line / kLinesPerPage;
    if (size_class >= kSlotClasses) {
      FreePages(page);
    } else {
      Page& tile = pages_[page];
      if (tile.slots == 0) tile.next = std::exchange(with_slots_[size_class], page);
      tile.slots |= std::uint64_t{1} << (line % kLinesPerPage);
    }
  }

  // Of the tile that begins at `page`.
  void FreePages(std::uint32_t page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    pages_[page].SetKind(0);
    first_free_ = std::min(first_free_, page);
  }

  // Those of which nobody has or keeps a slot.
  void FreePagesOfSlots() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (std::uint32_t size_class = 0; size_class < kSlotClasses; ++size_class) {
      for (std::uint32_t* page = &with_slots_[size_class]; *page != kNoPage;) {
        if (pages_[*page].slots == AllSlots(size_class)) {
          FreePages(std::exchange(*page, pages_[*page].next));
        } else {
          page = &pages_[*page].next;
        }
      }
    }
  }

  const Backing::Reservation reservation_;
  std::byte* const payload_;
  const ForkMarker marker_;
  const std::int64_t process_;                // for messages
  std::atomic<std::uint64_t> populated_ = 0;  // bytes
  std::atomic<bool> may_grow_ = true;
  LazyArray<std::atomic<std::uint32_t>> words_;  // of lines
  LazyArray<Page> pages_;
  LazyArray<KeptByClass> kept_;  // of threads, by their numbers

  // Apart from what is read all the time.
  alignas(64) Mutex mutex_;
  std::uint32_t end_ ABSL_GUARDED_BY(mutex_) = 0;         // of the pages that have memory
  std::uint32_t first_free_ ABSL_GUARDED_BY(mutex_) = 0;  // a tile; none before it is free
  // Of each class, the pages with slots that nobody has or keeps.
  std::array<std::uint32_t, kSlotClasses> with_slots_ ABSL_GUARDED_BY(mutex_);

  const std::unique_ptr<Backing> backing_;  // the last: taken over when nothing throws any more
};

}  // namespace xencomm

#endif  // XENCOMM_BLOCKS_H_
