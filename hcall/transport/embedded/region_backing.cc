#include "hcall/transport/embedded/region_backing.h"

#include <sys/mman.h>

namespace xencomm::embedded {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

absl::StatusOr<Backing::Reservation> RegionBacking::Reserve(std::uint64_t payload_size) {
  const absl::StatusOr<RegionRange> range = RegionRange::Reserve(payload_size);
  if (!range.ok()) return range.status();
  range_ = *range;
  absl::Status made = process_.MakeRegion(range_->layout());
  if (made.ok()) {
    direct_.emplace(process_.region().layout(), backed_);
    process_.SetDirect(*direct_);
    made = MapTable();
  }
  if (!made.ok()) {
    Release();
    return made;
  }
  return range_->reservation();
}

absl::Status RegionBacking::MapTable() {
  std::byte* at = range_->base();
  for (const PhysicalAddress frame : process_.region().table_frames()) {
    const absl::Status mapped =
        machine_.ram().MapAt(at, machine_.kernel().MachineOf(frame), kPageSize, PROT_READ);
    if (!mapped.ok()) return mapped;
    at += kPageSize;
  }
  madvise(range_->base(), range_->layout().length(), MADV_DONTFORK);
  return absl::OkStatus();
}

absl::Status RegionBacking::Populate(std::uint64_t offset, std::uint64_t length) {
  absl::StatusOr<std::vector<FrameRun>> runs = process_.TakeFrames(offset, length);
  if (!runs.ok()) return runs.status();
  const std::uint64_t payload_offset = range_->layout().payload_offset();
  // First what can be undone: a base that the hypervisor has seen stays.
  absl::Status status = MapRuns(range_->payload() + offset, *runs);
  const bool mapped = status.ok();
  if (mapped) {
    range_->Keep(offset, length);
    status = process_.region().Back((payload_offset + offset) >> kPageShift, *runs);
  }
  if (!status.ok()) {
    range_->Empty(offset, length);
    if (!mapped) process_.GiveBack(*runs);  // or else the frames are the region's
    return status;
  }
  // Whoever knows an address in there was told of it behind this.
  backed_.store(payload_offset + offset + length, std::memory_order_relaxed);
  return status;
}

absl::Status RegionBacking::MapRuns(std::byte* at, const std::vector<FrameRun>& runs) {
  for (const FrameRun run : runs) {
    for (const MachineRun part : machine_.kernel().MachineRunsOf(run)) {
      const absl::Status mapped =
          machine_.ram().MapAt(at, part.start, part.pages * kPageSize, PROT_READ | PROT_WRITE);
      if (!mapped.ok()) return mapped;
      at += part.pages * kPageSize;
    }
  }
  return absl::OkStatus();
}

void RegionBacking::Release() {
  process_.EndRegion();
  range_->Release();
}

}  // namespace xencomm::embedded
