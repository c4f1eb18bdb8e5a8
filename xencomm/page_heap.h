// PageHeap: which runs of an Arena's pages are free.
//
// Pages are numbers; the heap never touches the pages themselves. Runs, free and used, tile the
// pages that it was given. Free neighbours are joined at once. Finding a run and giving it back
// take constant time but for the longest runs, and neither allocates. Not thread-safe: the Arena
// locks.
#ifndef XENCOMM_PAGE_HEAP_H_
#define XENCOMM_PAGE_HEAP_H_

#include <array>
#include <cstdint>
#include <optional>

#include "xencomm/lazy_array.h"

namespace xencomm {

class PageHeap {
 public:
  struct Run {
    std::uint32_t first = 0;
    std::uint32_t pages = 0;
    bool free = false;
  };

  // For at most `max_pages` pages, numbered from 0; there are none yet.
  explicit PageHeap(std::uint32_t max_pages);

  // Adds the next `count` pages, free.
  void Grow(std::uint32_t count);

  // The first page of a run of `count` (at least 1), now used; nothing when no free run is as long.
  std::optional<std::uint32_t> Take(std::uint32_t count);

  // Gives back the used run that begins at `first`.
  void GiveBack(std::uint32_t first);

  // The run that holds `page`, which is less than pages(). Takes time in the number of runs: for
  // messages.
  Run Find(std::uint32_t page) const;

  // Of the used run that begins at `first`.
  std::uint32_t LengthAt(std::uint32_t first) const { return pages_[first].length; }

  std::uint32_t pages() const { return count_; }
  std::uint32_t max_pages() const { return max_pages_; }
  std::uint32_t free_pages() const { return free_pages_; }

  // Free pages at the end, which a longer run could begin with if the heap grew.
  std::uint32_t FreeAtEnd() const;

 private:
  // Free runs are kept in lists by length: one list for each length up to kExact pages, then one
  // for each power of two.
  static constexpr std::uint32_t kExact = 64;
  static constexpr std::uint32_t kLists = kExact + 32;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  // Of a run's first page. The last page of a free run has `length` and `free` too, which is how
  // the run behind it finds its start. What interior pages hold is never looked at.
  struct Page {
    std::uint32_t length;
    std::uint32_t previous;
    std::uint32_t next;
    bool free;
  };

  static std::uint32_t ListFor(std::uint32_t length);
  std::optional<std::uint32_t> FindFree(std::uint32_t count) const;
  void MarkFree(std::uint32_t first, std::uint32_t length);
  void MarkUsed(std::uint32_t first, std::uint32_t length);
  void Unlink(std::uint32_t first);

  std::uint32_t max_pages_;
  std::uint32_t count_ = 0;
  std::uint32_t free_pages_ = 0;
  LazyArray<Page> pages_;
  std::array<std::uint32_t, kLists> lists_;
  std::array<std::uint64_t, (kLists + 63) / 64> occupied_ = {};  // a bit for each list
};

}  // namespace xencomm

#endif  // XENCOMM_PAGE_HEAP_H_
