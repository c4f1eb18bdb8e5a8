#include "xencomm/arena.h"

#include <bit>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "xencomm/address.h"
#include "xencomm/blocks.h"
#include "xencomm/memcheck.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

absl::Status WhyUnusable(const Blocks& blocks) {
  return absl::FailedPreconditionError(Sentence(
      "the arena belongs to process %d and fork does not inherit it: open one in this process",
      blocks.process()));
}

// Its distance from the payload's start: of an address before that, beyond all that there is.
std::uint64_t OffsetOf(const void* pointer, const Blocks& blocks) {
  return std::bit_cast<std::uintptr_t>(pointer) - std::bit_cast<std::uintptr_t>(blocks.payload());
}

std::byte* AddressOf(std::uint32_t line, const Blocks& blocks) {
  return blocks.payload() + (std::uint64_t{line} << Blocks::kLineShift);
}

absl::StatusOr<Blocks::Place> Locate(const void* pointer, const Blocks& blocks) {
  if (!blocks.in_same_process()) return WhyUnusable(blocks);
  const std::uint64_t offset = OffsetOf(pointer, blocks);
  if (offset >= blocks.populated()) {
    return absl::InvalidArgumentError(
        Sentence("%p is not memory of this arena: expected an address from %p to %p", pointer,
                 blocks.payload(), blocks.payload() + blocks.populated()));
  }
  return blocks.Find(static_cast<std::uint32_t>(offset >> Blocks::kLineShift));
}

absl::Status WhyNotFreed(const void* pointer, const Blocks& blocks) {
  const absl::StatusOr<Blocks::Place> place = Locate(pointer, blocks);
  if (!place.ok()) return place.status();
  const std::byte* const start = AddressOf(place->line, blocks);
  if (place->is_live && pointer != start) {
    return absl::InvalidArgumentError(
        Sentence("%p lies inside the allocation at %p (%u bytes): expected the start of one",
                 pointer, start, std::uint64_t{place->lines} << Blocks::kLineShift));
  }
  return absl::NotFoundError(Sentence("%p is free already", pointer));
}

[[gnu::noinline]] absl::Status WhyNotAllocated(std::size_t alignment, const Blocks& blocks) {
  if (blocks.in_same_process()) {
    return absl::InvalidArgumentError(
        Sentence("an alignment of %u bytes: expected a power of two, at most %u", alignment,
                 Arena::kPageSize));
  }
  return WhyUnusable(blocks);
}

// Of a block of `size` bytes, where this thread keeps none of that class.
[[gnu::noinline]] absl::StatusOr<std::uint32_t> TakeOther(std::uint64_t size_class,
                                                          std::size_t size, Blocks& blocks) {
  const std::uint64_t room = blocks.reservation().payload_size;
  if (size > room) {
    return absl::ResourceExhaustedError(
        Sentence("no room for %u bytes: the whole arena has %u", size, room));
  }
  return blocks.Take(static_cast<std::uint32_t>(size_class));
}

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
  auto blocks = std::make_unique<Blocks>(std::move(backing), *reservation);
  std::move(release).Cancel();
  return std::unique_ptr<Arena>(new Arena(std::move(blocks)));
}

Arena::Arena(std::unique_ptr<Blocks> blocks)
    : blocks_(std::move(blocks)), marker_(blocks_->marker()) {}

Arena::~Arena() = default;

absl::StatusOr<void*> Arena::Allocate(std::size_t size, Contents contents, std::size_t alignment) {
  Blocks& blocks = *blocks_;
  // No std::has_single_bit, which is a call where the processor may lack the instruction.
  if (alignment - 1 >= kPageSize || (alignment & (alignment - 1)) != 0 || !blocks.in_same_process())
      [[unlikely]] {
    return WhyNotAllocated(alignment, blocks);
  }
  const std::uint64_t size_class = Blocks::ClassFor(size, alignment);
  std::uint32_t line = blocks.TakeKept(size_class);
  if (line == Blocks::kNoLine) [[unlikely]] {
    const absl::StatusOr<std::uint32_t> taken = TakeOther(size_class, size, blocks);
    if (!taken.ok()) return taken.status();
    line = *taken;
  }
  std::byte* const start = AddressOf(line, blocks);
  if (memcheck::kIsWatching) [[unlikely]]
    memcheck::SetUndefined(start, size);
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
  Blocks& blocks = *blocks_;
  const std::uint64_t offset = OffsetOf(pointer, blocks);
  if (!blocks.in_same_process() || offset >= blocks.populated() ||
      !IsAligned(offset, std::uint64_t{1} << Blocks::kLineShift) ||
      !blocks.Free(static_cast<std::uint32_t>(offset >> Blocks::kLineShift))) [[unlikely]] {
    return WhyNotFreed(pointer, blocks);
  }
  return absl::OkStatus();
}

void Arena::FreeOwned(void* pointer) {
  // An owner holds the start of a live allocation: this is refused in a forked child only, where
  // there is nothing to free.
  Free(pointer).IgnoreError();
}

absl::StatusOr<std::span<std::byte>> Arena::Find(const void* pointer) const {
  const absl::StatusOr<Blocks::Place> place = Locate(pointer, *blocks_);
  if (!place.ok()) return place.status();
  if (!place->is_live) {
    return absl::NotFoundError(Sentence("%p is not allocated", pointer));
  }
  return std::span<std::byte>(AddressOf(place->line, *blocks_),
                              std::size_t{place->lines} << Blocks::kLineShift);
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

void Arena::GrowNoMore() { blocks_->GrowNoMore(); }

std::span<std::byte> Arena::region() const {
  const Backing::Reservation& reservation = blocks_->reservation();
  return {reservation.base, reservation.payload_offset + reservation.payload_size};
}

std::span<std::byte> Arena::payload() const {
  return {blocks_->payload(), blocks_->reservation().payload_size};
}

ByteOrder Arena::order() const { return blocks_->reservation().order; }

std::uint64_t Arena::populated() const { return blocks_->populated(); }

}  // namespace xencomm
