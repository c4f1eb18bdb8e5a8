#include "hcall/transport/region_range.h"

#include <sys/mman.h>

#include <bit>

#include "xencomm/sentence.h"

namespace xencomm {
namespace {

constexpr unsigned kPageShift = 12;
constexpr std::uint64_t kPageSize = std::uint64_t{1} << kPageShift;
constexpr int kNothing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

// The layout of a region with this much payload: the table's own granules count, too.
Result<RegionLayout> LayoutFor(std::uint64_t payload_size) {
  std::uint64_t table = kPageSize;
  for (;;) {
    const Result<RegionLayout> layout = RegionLayout::Make({0}, table + payload_size, kPageShift);
    if (!layout.ok() || layout->payload_offset() == table) return layout;
    table = layout->payload_offset();
  }
}

}  // namespace

absl::StatusOr<RegionRange> RegionRange::Reserve(std::uint64_t payload_size) {
  const Result<RegionLayout> shape = LayoutFor(payload_size);
  if (!shape.ok()) {
    return absl::InvalidArgumentError(
        Sentence("a region of %u bytes: %s", payload_size, Describe(shape.fault().fault)));
  }
  void* const range = mmap(nullptr, shape->length(), PROT_NONE, kNothing, -1, 0);
  if (range == MAP_FAILED) {
    return absl::ResourceExhaustedError(Sentence(
        "%u bytes of address space cannot be reserved (RLIMIT_AS, ulimit -v)", shape->length()));
  }
  return RegionRange(
      *RegionLayout::Make({std::bit_cast<std::uintptr_t>(range)}, shape->length(), kPageShift));
}

std::byte* RegionRange::base() const {
  return std::bit_cast<std::byte*>(layout_.virtual_base().value);
}

Backing::Reservation RegionRange::reservation() const {
  return {.base = base(),
          .payload_offset = layout_.payload_offset(),
          .payload_size = layout_.length() - layout_.payload_offset()};
}

void RegionRange::Keep(std::uint64_t offset, std::uint64_t length) const {
  madvise(payload() + offset, length, MADV_DONTFORK);
  madvise(payload() + offset, length, MADV_POPULATE_WRITE);
}

void RegionRange::Empty(std::uint64_t offset, std::uint64_t length) const {
  mmap(payload() + offset, length, PROT_NONE, kNothing | MAP_FIXED, -1, 0);
}

void RegionRange::Release() const { munmap(base(), layout_.length()); }

}  // namespace xencomm
