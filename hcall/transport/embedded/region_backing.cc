#include "hcall/transport/embedded/region_backing.h"

#include <sys/mman.h>

#include <bit>
#include <utility>

#include "xencomm/sentence.h"

namespace xencomm::embedded {
namespace {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

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

absl::StatusOr<Backing::Reservation> RegionBacking::Reserve(std::uint64_t payload_size) {
  const Result<RegionLayout> shape = LayoutFor(payload_size);
  if (!shape.ok()) {
    return absl::InvalidArgumentError(
        Sentence("a region of %u bytes: %s", payload_size, Describe(shape.fault().fault)));
  }
  void* const range =
      mmap(nullptr, shape->length(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    return absl::ResourceExhaustedError(Sentence(
        "%u bytes of address space cannot be reserved (RLIMIT_AS, ulimit -v)", shape->length()));
  }
  base_ = static_cast<std::byte*>(range);
  size_ = shape->length();

  const auto layout = RegionLayout::Make({std::bit_cast<std::uintptr_t>(base_)}, size_, kPageShift);
  absl::Status made = process_.MakeRegion(*layout);
  if (made.ok()) {
    direct_.emplace(process_.region().layout(), backed_);
    process_.SetDirect(*direct_);
    made = MapTable();
  }
  if (!made.ok()) {
    Release();
    return made;
  }
  return Reservation{.base = base_,
                     .payload_offset = layout->payload_offset(),
                     .payload_size = size_ - layout->payload_offset()};
}

absl::Status RegionBacking::MapTable() {
  std::byte* at = base_;
  for (const PhysicalAddress frame : process_.region().table_frames()) {
    const absl::Status mapped =
        machine_.ram().MapAt(at, machine_.kernel().MachineOf(frame), kPageSize, PROT_READ);
    if (!mapped.ok()) return mapped;
    at += kPageSize;
  }
  madvise(base_, size_, MADV_DONTFORK);
  return absl::OkStatus();
}

absl::Status RegionBacking::Populate(std::uint64_t offset, std::uint64_t length) {
  absl::StatusOr<std::vector<FrameRun>> runs = process_.TakeFrames(offset, length);
  if (!runs.ok()) return runs.status();
  const std::uint64_t payload_offset = process_.region().layout().payload_offset();
  std::byte* const start = base_ + payload_offset + offset;
  // First what can be undone: a base that the hypervisor has seen stays.
  absl::Status status = MapRuns(start, *runs);
  const bool mapped = status.ok();
  if (mapped) status = process_.region().Back((payload_offset + offset) >> kPageShift, *runs);
  if (!status.ok()) {
    mmap(start, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (mapped) return status;  // the frames are the region's
    process_.GiveBack(*runs);
    return status;
  }
  // Whoever knows an address in there was told of it behind this.
  backed_.store(payload_offset + offset + length, std::memory_order_relaxed);
  return status;
}

absl::Status RegionBacking::MapRuns(std::byte* at, const std::vector<FrameRun>& runs) {
  std::byte* const start = at;
  for (const FrameRun run : runs) {
    // Frames of a block follow each other in the machine too, unless the hypervisor had no such
    // place for them.
    for (std::uint64_t first = 0; first < run.count;) {
      const MachineAddress machine = machine_.kernel().MachineOf({(run.gfn + first) << kPageShift});
      std::uint64_t count = 1;
      while (first + count < run.count &&
             machine_.kernel().MachineOf({(run.gfn + first + count) << kPageShift}) ==
                 machine + count * kPageSize) {
        ++count;
      }
      const absl::Status mapped =
          machine_.ram().MapAt(at, machine, count * kPageSize, PROT_READ | PROT_WRITE);
      if (!mapped.ok()) return mapped;
      at += count * kPageSize;
      first += count;
    }
  }
  const auto length = static_cast<std::size_t>(at - start);
  madvise(start, length, MADV_DONTFORK);
  // Populated at once, so that the first use does not fault; where that fails, it does.
  madvise(start, length, MADV_POPULATE_WRITE);
  return absl::OkStatus();
}

void RegionBacking::Release() {
  process_.EndRegion();
  munmap(base_, size_);
}

}  // namespace xencomm::embedded
