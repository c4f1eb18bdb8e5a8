#include "xencomm/page_heap.h"

#include <bit>

namespace xencomm {

PageHeap::PageHeap(std::uint32_t max_pages) : max_pages_(max_pages), pages_(max_pages) {
  lists_.fill(kNone);
}

std::uint32_t PageHeap::ListFor(std::uint32_t length) {
  if (length <= kExact) return length - 1;
  return kExact + static_cast<std::uint32_t>(std::bit_width(length)) - 1;
}

void PageHeap::Grow(std::uint32_t count) {
  const std::uint32_t first = count_;
  count_ += count;
  // As if the new pages had been in use: joins them with a free run in front.
  MarkUsed(first, count);
  GiveBack(first);
}

std::optional<std::uint32_t> PageHeap::Take(std::uint32_t count) {
  const std::optional<std::uint32_t> found = FindFree(count);
  if (!found) return std::nullopt;
  const std::uint32_t length = pages_[*found].length;
  Unlink(*found);
  if (length > count) MarkFree(*found + count, length - count);
  MarkUsed(*found, count);
  free_pages_ -= count;
  return found;
}

void PageHeap::GiveBack(std::uint32_t first) {
  std::uint32_t length = pages_[first].length;
  free_pages_ += length;
  const std::uint32_t behind = first + length;
  if (behind < count_ && pages_[behind].free) {
    length += pages_[behind].length;
    Unlink(behind);
  }
  if (first != 0 && pages_[first - 1].free) {
    const std::uint32_t before = pages_[first - 1].length;
    first -= before;
    length += before;
    Unlink(first);
  }
  MarkFree(first, length);
}

PageHeap::Run PageHeap::Find(std::uint32_t page) const {
  std::uint32_t first = 0;
  while (first + pages_[first].length <= page) first += pages_[first].length;
  return {first, pages_[first].length, pages_[first].free};
}

std::uint32_t PageHeap::FreeAtEnd() const {
  return count_ != 0 && pages_[count_ - 1].free ? pages_[count_ - 1].length : 0;
}

std::optional<std::uint32_t> PageHeap::FindFree(std::uint32_t count) const {
  std::uint32_t list = ListFor(count);
  // A list of one power of two holds runs shorter than `count` too: look for one that is not.
  if (list >= kExact) {
    for (std::uint32_t run = lists_[list]; run != kNone; run = pages_[run].next) {
      if (pages_[run].length >= count) return run;
    }
    ++list;
  }
  // From here on every run is long enough.
  std::uint32_t word = list / 64;
  std::uint64_t bits = occupied_[word] & (~std::uint64_t{0} << (list % 64));
  while (bits == 0) {
    if (++word == occupied_.size()) return std::nullopt;
    bits = occupied_[word];
  }
  return lists_[word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits))];
}

void PageHeap::MarkFree(std::uint32_t first, std::uint32_t length) {
  const std::uint32_t list = ListFor(length);
  const std::uint32_t next = lists_[list];
  pages_[first + length - 1].length = length;
  pages_[first + length - 1].free = true;
  pages_[first] = {.length = length, .previous = kNone, .next = next, .free = true};
  if (next != kNone) pages_[next].previous = first;
  lists_[list] = first;
  occupied_[list / 64] |= std::uint64_t{1} << (list % 64);
}

void PageHeap::MarkUsed(std::uint32_t first, std::uint32_t length) {
  pages_[first + length - 1].free = false;
  pages_[first].length = length;
  pages_[first].free = false;
}

void PageHeap::Unlink(std::uint32_t first) {
  const Page& page = pages_[first];
  const std::uint32_t list = ListFor(page.length);
  if (page.next != kNone) pages_[page.next].previous = page.previous;
  if (page.previous != kNone) {
    pages_[page.previous].next = page.next;
  } else {
    lists_[list] = page.next;
    if (page.next == kNone) occupied_[list / 64] &= ~(std::uint64_t{1} << (list % 64));
  }
}

}  // namespace xencomm
