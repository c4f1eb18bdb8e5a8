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
  // Where there is no memory for the books, the backing is here still.
  auto release = absl::MakeCleanup([&] { backing->Release(); });
  std::unique_ptr<Arena> arena(new Arena(std::move(backing), *reservation));
  std::move(release).Cancel();
  return arena;
}

Arena::Arena(std::unique_ptr<Backing>&& backing, const Backing::Reservation& reservation)
    : reservation_(reservation),
      payload_(reservation.base + reservation.payload_offset),
      process_(getpid()),
      units_(reservation.payload_size >> kUnitShift),
      pages_(reservation.payload_size >> kPageShift),
      heap_(static_cast<std::uint32_t>(reservation.payload_size >> kPageShift)),
      backing_(std::move(backing)) {}

Arena::~Arena() {
  if (in_same_process()) backing_->Release();
}

std::uint32_t Arena::ClassFor(std::size_t size, std::size_t alignment) {
  if (size <= kPageSize / 2 && alignment <= kPageSize / 2) {
    // The page that slots are cut from is aligned, so a slot of 2^n bytes is, too.
    const std::size_t room = std::max({size, alignment, std::size_t{1} << kUnitShift});
    return static_cast<std::uint32_t>(std::bit_width(room - 1)) - kUnitShift;
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
  const std::uint32_t piece_class = ClassFor(size, alignment);
  std::uint32_t unit =
      piece_class < kLongClass ? free_[piece_class].Pop(LinkOf()) : FreeStack::kNone;
  if (unit == FreeStack::kNone) [[unlikely]] {
    const absl::StatusOr<std::uint32_t> taken = TakePiece(piece_class, size);
    if (!taken.ok()) return taken.status();
    unit = *taken;
  }
  units_[unit].piece.store(Piece(piece_class, kLive), std::memory_order_relaxed);
  std::byte* const start = AddressOf(unit);
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
      !IsAligned(offset, std::uint64_t{1} << kUnitShift)) [[unlikely]] {
    return WhyNotFreed(pointer);
  }
  const auto unit = static_cast<std::uint32_t>(offset >> kUnitShift);
  std::uint32_t piece = units_[unit].piece.load(std::memory_order_relaxed);
  const std::uint32_t piece_class = piece >> 2;
  const bool is_long = piece_class == kLongClass;
  // Of two threads that free the same piece, the exchange lets one through.
  if ((piece & 3) != kLive ||
      !units_[unit].piece.compare_exchange_strong(
          piece, is_long ? std::uint32_t{kNoPiece} : Piece(piece_class, kFree),
          std::memory_order_relaxed)) [[unlikely]] {
    return WhyNotFreed(pointer);
  }
  if (!is_long) {
    free_[piece_class].Push(unit, LinkOf());
  } else {
    const MutexLock lock(mutex_);
    heap_.GiveBack(unit / kUnitsPerPage);
  }
  return absl::OkStatus();
}

void Arena::FreeOwned(void* pointer) {
  // An owner holds the start of a live allocation: this is refused in a forked child only, where
  // there is nothing to free.
  Free(pointer).IgnoreError();
}

// The slow path: no free piece of the class was at hand.
absl::StatusOr<std::uint32_t> Arena::TakePiece(std::uint32_t piece_class, std::size_t size) {
  if (size > reservation_.payload_size) {
    return absl::ResourceExhaustedError(
        Sentence("no room for %u bytes: the whole arena has %u", size, reservation_.payload_size));
  }
  const MutexLock lock(mutex_);
  if (piece_class < kSlotClasses) {
    const absl::StatusOr<std::uint32_t> page = TakePages(1);
    if (!page.ok()) return page.status();
    return CutSlots(*page, piece_class);
  }
  const std::uint32_t pages = piece_class < kLongClass
                                  ? PagesOf(piece_class)
                                  : static_cast<std::uint32_t>(((size - 1) >> kPageShift) + 1);
  const absl::StatusOr<std::uint32_t> page = TakePages(pages);
  if (!page.ok()) return page.status();
  return *page * kUnitsPerPage;
}

absl::StatusOr<std::uint32_t> Arena::TakePages(std::uint32_t count) {
  std::optional<std::uint32_t> page = heap_.Take(count);
  if (!page) {
    // What lies in the stacks comes before new memory.
    CollectFreePieces();
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
    return absl::ResourceExhaustedError(Sentence(
        "no room for %u bytes: of the arena's %u, %u are free, but not that many in one piece",
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
std::uint32_t Arena::CutSlots(std::uint32_t page, std::uint32_t piece_class) {
  const std::uint32_t step = 1u << piece_class;
  const std::uint32_t first = page * kUnitsPerPage;
  const std::uint32_t last = first + kUnitsPerPage - step;
  for (std::uint32_t unit = first + step; unit <= last; unit += step) {
    units_[unit].piece.store(Piece(piece_class, kFree), std::memory_order_relaxed);
    units_[unit].link.store(unit + step, std::memory_order_relaxed);
  }
  pages_[page].slot_class.store(static_cast<std::uint8_t>(piece_class + 1),
                                std::memory_order_relaxed);
  free_[piece_class].PushChain(first + step, last, LinkOf());
  return first;
}

// Gives the pages of free pieces back to the heap, where neighbours are joined.
void Arena::CollectFreePieces() {
  for (std::uint32_t piece_class = 0; piece_class < kSlotClasses; ++piece_class) {
    CollectSlots(piece_class);
  }
  for (std::uint32_t piece_class = kSlotClasses; piece_class < kLongClass; ++piece_class) {
    std::uint32_t unit = free_[piece_class].TakeAll();
    while (unit != FreeStack::kNone) {
      const std::uint32_t next = units_[unit].link.load(std::memory_order_relaxed);
      units_[unit].piece.store(kNoPiece, std::memory_order_relaxed);
      heap_.GiveBack(unit / kUnitsPerPage);
      unit = next;
    }
  }
}

// A page goes back when all of its slots are free at once: when all of them were in the stack.
void Arena::CollectSlots(std::uint32_t piece_class) {
  const std::uint32_t slots = kUnitsPerPage >> piece_class;
  const std::uint32_t list = free_[piece_class].TakeAll();
  const auto next_of = [this](std::uint32_t unit) {
    return units_[unit].link.load(std::memory_order_relaxed);
  };
  const auto page_of = [this](std::uint32_t unit) -> Page& { return pages_[unit / kUnitsPerPage]; };
  for (std::uint32_t unit = list; unit != FreeStack::kNone; unit = next_of(unit)) {
    ++page_of(unit).free_slots;
  }

  // The list becomes two: slots that are kept, and the first slots of pages that go back.
  std::uint32_t kept = FreeStack::kNone;
  std::uint32_t last_kept = FreeStack::kNone;
  std::uint32_t returned = FreeStack::kNone;
  for (std::uint32_t unit = list; unit != FreeStack::kNone;) {
    const std::uint32_t next = next_of(unit);
    if (page_of(unit).free_slots != slots) {
      units_[unit].link.store(kept, std::memory_order_relaxed);
      if (kept == FreeStack::kNone) last_kept = unit;
      kept = unit;
    } else {
      units_[unit].piece.store(kNoPiece, std::memory_order_relaxed);
      if (unit % kUnitsPerPage == 0) {
        units_[unit].link.store(returned, std::memory_order_relaxed);
        returned = unit;
      }
    }
    unit = next;
  }

  for (std::uint32_t unit = kept; unit != FreeStack::kNone; unit = next_of(unit)) {
    page_of(unit).free_slots = 0;
  }
  if (kept != FreeStack::kNone) free_[piece_class].PushChain(kept, last_kept, LinkOf());
  for (std::uint32_t unit = returned; unit != FreeStack::kNone; unit = next_of(unit)) {
    page_of(unit).free_slots = 0;
    page_of(unit).slot_class.store(0, std::memory_order_relaxed);
    heap_.GiveBack(unit / kUnitsPerPage);
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
    const std::uint32_t piece_class = slot_class - 1u;
    const auto unit = static_cast<std::uint32_t>(offset >> kUnitShift) >> piece_class
                                                                              << piece_class;
    const std::uint32_t piece = units_[unit].piece.load(std::memory_order_relaxed);
    return Place{AddressOf(unit), std::uint64_t{1} << (kUnitShift + piece_class),
                 (piece & 3) == kLive};
  }
  const MutexLock lock(mutex_);
  const std::uint32_t at_start = units_[page * kUnitsPerPage].piece.load(std::memory_order_relaxed);
  const PageHeap::Run run =
      (at_start & 3) == kLive ? PageHeap::Run{page, heap_.LengthAt(page), false} : heap_.Find(page);
  const std::uint32_t first = run.first * kUnitsPerPage;
  const std::uint32_t piece = units_[first].piece.load(std::memory_order_relaxed);
  return Place{AddressOf(first), std::uint64_t{run.pages} << kPageShift, (piece & 3) == kLive};
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
