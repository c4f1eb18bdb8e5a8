#include "xencomm/arena.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "xencomm/address.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

// How far the Arena grows beyond what is asked of it: a quarter of what it has, within limits, so
// that growing stays rare and locked memory is not wasted.
constexpr std::uint32_t kMinGrowthPages = 16;
constexpr std::uint32_t kMaxGrowthPages = 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(std::unique_ptr<Backing> backing,
                                                     std::uint64_t payload_size) {
  if (payload_size == 0 || payload_size > kMaxSize || !IsAligned(payload_size, kPageSize)) {
    return absl::InvalidArgumentError(
        Sentence("an arena of %u bytes: expected a multiple of %u, from %u to %u", payload_size,
                 kPageSize, kPageSize, kMaxSize));
  }
  absl::StatusOr<Backing::Reservation> reservation = backing->Reserve(payload_size);
  if (!reservation.ok()) return reservation.status();
  // Where there is no memory for the metadata, the backing is here still.
  auto release = absl::MakeCleanup([&] { backing->Release(); });
  std::unique_ptr<Arena> arena(new Arena(std::move(backing), *reservation));
  std::move(release).Cancel();
  return arena;
}

Arena::Arena(std::unique_ptr<Backing>&& backing, const Backing::Reservation& reservation)
    : reservation_(reservation),
      payload_(reservation.base + reservation.payload_offset),
      process_(getpid()),
      lines_(reservation.payload_size >> kLineShift),
      pages_(reservation.payload_size >> kPageShift),
      heap_(static_cast<std::uint32_t>(reservation.payload_size >> kPageShift)),
      backing_(std::move(backing)) {}

Arena::~Arena() {
  if (in_same_process()) backing_->Release();
}

std::uint32_t Arena::ClassFor(std::size_t size, std::size_t alignment) {
  if (size <= kPageSize / 2 && alignment <= kPageSize / 2) {
    // The page that slots are cut from is aligned, so a slot of 2^n bytes is, too.
    const std::size_t room = std::max({size, alignment, std::size_t{1} << kLineShift});
    return static_cast<std::uint32_t>(std::bit_width(room - 1)) - kLineShift;
  }
  const std::size_t pages = size == 0 ? 1 : ((size - 1) >> kPageShift) + 1;
  return pages > kRunClasses ? kLongClass : kSlotClasses + static_cast<std::uint32_t>(pages) - 1;
}

absl::StatusOr<void*> Arena::Allocate(std::size_t size, Contents contents, std::size_t alignment) {
  if (!std::has_single_bit(alignment) || alignment > kPageSize) [[unlikely]] {
    return absl::InvalidArgumentError(Sentence(
        "an alignment of %u bytes: expected a power of two, at most %u", alignment, kPageSize));
  }
  if (!in_same_process()) [[unlikely]] {
    return WhyUnusable();
  }
  const std::uint32_t size_class = ClassFor(size, alignment);
  std::uint32_t line = size_class < kLongClass ? free_[size_class].Pop(LinkOf()) : FreeStack::kNone;
  if (line == FreeStack::kNone) [[unlikely]] {
    const absl::StatusOr<std::uint32_t> taken = TakeBlock(size_class, size);
    if (!taken.ok()) return taken.status();
    line = *taken;
  }
  lines_[line].block.store(BlockWord(size_class, kLive), std::memory_order_relaxed);
  std::byte* const start = AddressOf(line);
  if (contents == Contents::kCleared) std::memset(start, 0, size);
  return start;
}

absl::StatusOr<void*> Arena::AllocateArray(std::size_t count, std::size_t size, Contents contents,
                                           std::size_t alignment) {
  std::size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    return absl::InvalidArgumentError(
        Sentence("%u elements of %u bytes: the product passes 2^64", count, size));
  }
  return Allocate(bytes, contents, alignment);
}

absl::Status Arena::Free(void* pointer) {
  if (pointer == nullptr) return absl::OkStatus();
  const std::uint64_t offset =
      std::bit_cast<std::uintptr_t>(pointer) - std::bit_cast<std::uintptr_t>(payload_);
  if (!in_same_process() || offset >= populated() ||
      !IsAligned(offset, std::uint64_t{1} << kLineShift)) [[unlikely]] {
    return WhyNotFreed(pointer);
  }
  const auto line = static_cast<std::uint32_t>(offset >> kLineShift);
  std::uint32_t block = lines_[line].block.load(std::memory_order_relaxed);
  const std::uint32_t size_class = block >> 2;
  const bool is_long = size_class == kLongClass;
  // Of two threads that free the same block, the exchange lets one through.
  if ((block & 3) != kLive ||
      !lines_[line].block.compare_exchange_strong(
          block, is_long ? std::uint32_t{kNoBlock} : BlockWord(size_class, kFree),
          std::memory_order_relaxed)) [[unlikely]] {
    return WhyNotFreed(pointer);
  }
  if (!is_long) {
    free_[size_class].Push(line, LinkOf());
  } else {
    const MutexLock lock(mutex_);
    heap_.GiveBack(line / kLinesPerPage);
  }
  return absl::OkStatus();
}

void Arena::FreeOwned(void* pointer) {
  // An owner holds the start of a live allocation: this is refused in a forked child only, where
  // there is nothing to free.
  Free(pointer).IgnoreError();
}

// The slow path: no free block of the class was at hand.
absl::StatusOr<std::uint32_t> Arena::TakeBlock(std::uint32_t size_class, std::size_t size) {
  if (size > reservation_.payload_size) {
    return absl::ResourceExhaustedError(
        Sentence("no room for %u bytes: the whole arena has %u", size, reservation_.payload_size));
  }
  const MutexLock lock(mutex_);
  if (size_class < kSlotClasses) {
    const absl::StatusOr<std::uint32_t> page = TakePages(1);
    if (!page.ok()) return page.status();
    return CutSlots(*page, size_class);
  }
  const std::uint32_t pages = size_class < kLongClass
                                  ? PagesOf(size_class)
                                  : static_cast<std::uint32_t>(((size - 1) >> kPageShift) + 1);
  const absl::StatusOr<std::uint32_t> page = TakePages(pages);
  if (!page.ok()) return page.status();
  return *page * kLinesPerPage;
}

absl::StatusOr<std::uint32_t> Arena::TakePages(std::uint32_t count) {
  std::optional<std::uint32_t> page = heap_.Take(count);
  if (!page) {
    // What lies in the stacks comes before new memory.
    CollectFreeBlocks();
    page = heap_.Take(count);
  }
  if (!page) {
    const absl::Status grown = Grow(count);
    if (!grown.ok()) return grown;
    page = heap_.Take(count);
  }
  return *page;
}

// So that a run of `count` pages is free.
absl::Status Arena::Grow(std::uint32_t count) {
  if (!may_grow_.load(std::memory_order_relaxed)) {
    return absl::PermissionDeniedError(
        "no more memory: this process has restricted what it can do");
  }
  const std::uint32_t needed = count - heap_.FreeAtEnd();
  const std::uint32_t left = heap_.max_pages() - heap_.pages();
  if (needed > left) {
    return absl::ResourceExhaustedError(
        Sentence("no room for %u bytes: of the arena's %u, %u are free, but not that many in a row",
                 std::uint64_t{count} << kPageShift, reservation_.payload_size,
                 std::uint64_t{heap_.free_pages() + left} << kPageShift));
  }
  const auto populate = [this](std::uint32_t pages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::uint64_t offset = std::uint64_t{heap_.pages()} << kPageShift;
    const std::uint64_t length = std::uint64_t{pages} << kPageShift;
    const absl::Status populated = backing_->Populate(offset, length);
    if (populated.ok()) {
      heap_.Grow(pages);
      populated_.store(offset + length, std::memory_order_relaxed);
    }
    return populated;
  };
  const std::uint32_t spare = std::clamp(heap_.pages() / 4, kMinGrowthPages, kMaxGrowthPages);
  if (needed < spare && spare <= left && populate(spare).ok()) return absl::OkStatus();
  return populate(needed);
}

// Cuts a page into slots: the first is the caller's, the others are free.
std::uint32_t Arena::CutSlots(std::uint32_t page, std::uint32_t size_class) {
  const std::uint32_t step = 1u << size_class;
  const std::uint32_t first = page * kLinesPerPage;
  const std::uint32_t last = first + kLinesPerPage - step;
  for (std::uint32_t line = first + step; line <= last; line += step) {
    lines_[line].block.store(BlockWord(size_class, kFree), std::memory_order_relaxed);
    lines_[line].link.store(line + step, std::memory_order_relaxed);
  }
  pages_[page].slot_class.store(static_cast<std::uint8_t>(size_class + 1),
                                std::memory_order_relaxed);
  free_[size_class].PushChain(first + step, last, LinkOf());
  return first;
}

// Gives the pages of free blocks back to the heap, where neighbours are joined.
void Arena::CollectFreeBlocks() {
  for (std::uint32_t size_class = 0; size_class < kSlotClasses; ++size_class) {
    CollectSlots(size_class);
  }
  for (std::uint32_t size_class = kSlotClasses; size_class < kLongClass; ++size_class) {
    std::uint32_t line = free_[size_class].TakeAll();
    while (line != FreeStack::kNone) {
      const std::uint32_t next = lines_[line].link.load(std::memory_order_relaxed);
      lines_[line].block.store(kNoBlock, std::memory_order_relaxed);
      heap_.GiveBack(line / kLinesPerPage);
      line = next;
    }
  }
}

// A page goes back when all of its slots are free at once: when all of them were in the stack.
void Arena::CollectSlots(std::uint32_t size_class) {
  const std::uint32_t slots = kLinesPerPage >> size_class;
  const std::uint32_t list = free_[size_class].TakeAll();
  const auto next_of = [this](std::uint32_t line) {
    return lines_[line].link.load(std::memory_order_relaxed);
  };
  const auto page_of = [this](std::uint32_t line) -> Page& { return pages_[line / kLinesPerPage]; };
  for (std::uint32_t line = list; line != FreeStack::kNone; line = next_of(line)) {
    ++page_of(line).free_slots;
  }

  // The list becomes two: slots that are kept, and the first slots of pages that go back.
  std::uint32_t kept = FreeStack::kNone;
  std::uint32_t last_kept = FreeStack::kNone;
  std::uint32_t returned = FreeStack::kNone;
  for (std::uint32_t line = list; line != FreeStack::kNone;) {
    const std::uint32_t next = next_of(line);
    if (page_of(line).free_slots != slots) {
      lines_[line].link.store(kept, std::memory_order_relaxed);
      if (kept == FreeStack::kNone) last_kept = line;
      kept = line;
    } else {
      lines_[line].block.store(kNoBlock, std::memory_order_relaxed);
      if (line % kLinesPerPage == 0) {
        lines_[line].link.store(returned, std::memory_order_relaxed);
        returned = line;
      }
    }
    line = next;
  }

  for (std::uint32_t line = kept; line != FreeStack::kNone; line = next_of(line)) {
    page_of(line).free_slots = 0;
  }
  if (kept != FreeStack::kNone) free_[size_class].PushChain(kept, last_kept, LinkOf());
  for (std::uint32_t line = returned; line != FreeStack::kNone; line = next_of(line)) {
    page_of(line).free_slots = 0;
    page_of(line).slot_class.store(0, std::memory_order_relaxed);
    heap_.GiveBack(line / kLinesPerPage);
  }
}

absl::Status Arena::WhyUnusable() const {
  return absl::FailedPreconditionError(Sentence(
      "the arena belongs to process %d and fork does not inherit it: open one in this process",
      process_));
}

absl::StatusOr<Arena::Place> Arena::Locate(const void* pointer) const {
  if (!in_same_process()) return WhyUnusable();
  const std::uint64_t offset =
      std::bit_cast<std::uintptr_t>(pointer) - std::bit_cast<std::uintptr_t>(payload_);
  if (offset >= populated()) {
    return absl::InvalidArgumentError(
        Sentence("%p is not memory of this arena: expected an address from %p to %p", pointer,
                 payload_, payload_ + populated()));
  }
  const auto page = static_cast<std::uint32_t>(offset >> kPageShift);
  const std::uint8_t slot_class = pages_[page].slot_class.load(std::memory_order_relaxed);
  if (slot_class != 0) {
    const std::uint32_t size_class = slot_class - 1u;
    const auto line = static_cast<std::uint32_t>(offset >> kLineShift) >> size_class << size_class;
    const std::uint32_t block = lines_[line].block.load(std::memory_order_relaxed);
    return Place{AddressOf(line), std::uint64_t{1} << (kLineShift + size_class),
                 (block & 3) == kLive};
  }
  const MutexLock lock(mutex_);
  const std::uint32_t at_start = lines_[page * kLinesPerPage].block.load(std::memory_order_relaxed);
  const PageHeap::Run run =
      (at_start & 3) == kLive ? PageHeap::Run{page, heap_.LengthAt(page), false} : heap_.Find(page);
  const std::uint32_t first = run.first * kLinesPerPage;
  const std::uint32_t block = lines_[first].block.load(std::memory_order_relaxed);
  return Place{AddressOf(first), std::uint64_t{run.pages} << kPageShift, (block & 3) == kLive};
}

absl::Status Arena::WhyNotFreed(const void* pointer) const {
  const absl::StatusOr<Place> place = Locate(pointer);
  if (!place.ok()) return place.status();
  if (place->live && pointer != place->start) {
    return absl::InvalidArgumentError(
        Sentence("%p lies inside the allocation at %p (%u bytes): expected the start of one",
                 pointer, place->start, place->size));
  }
  return absl::NotFoundError(Sentence("%p is free already", pointer));
}

absl::StatusOr<std::span<std::byte>> Arena::Find(const void* pointer) const {
  const absl::StatusOr<Place> place = Locate(pointer);
  if (!place.ok()) return place.status();
  if (!place->live) {
    return absl::NotFoundError(Sentence("%p is not allocated", pointer));
  }
  return std::span<std::byte>(place->start, place->size);
}

absl::Status Arena::Check(const void* pointer, std::size_t size) const {
  if (size == 0) return absl::OkStatus();
  const absl::StatusOr<std::span<std::byte>> allocation = Find(pointer);
  if (!allocation.ok()) return allocation.status();
  const auto into =
      static_cast<std::size_t>(static_cast<const std::byte*>(pointer) - allocation->data());
  if (size > allocation->size() - into) {
    return absl::OutOfRangeError(
        Sentence("%u bytes at %p run out of the allocation at %p, which has %u", size, pointer,
                 allocation->data(), allocation->size()));
  }
  return absl::OkStatus();
}

}  // namespace xencomm
