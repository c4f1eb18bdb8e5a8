#include "hcall/transport/embedded/guest_process.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "xencomm/hypercall.h"
#include "xencomm/process_call.h"
#include "xencomm/sentence.h"

namespace xencomm::embedded {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

absl::Status GuestProcess::MakeRegion(const RegionLayout& layout) {
  absl::StatusOr<std::unique_ptr<GuestRegion>> region =
      GuestRegion::Create(kernel_, layout,
                          {.registered = space_ == SpaceOption::kRegion,
                           .levels = space_ == SpaceOption::kWalk5 ? 5u : 4u});
  if (!region.ok()) return region.status();
  region_ = *std::move(region);
  current_.store(region_.get());
  return absl::OkStatus();
}

void GuestProcess::EndRegion() {
  current_.store(nullptr, std::memory_order_relaxed);
  for (std::unique_ptr<Walk>& walk : walks_) walk.reset();
  {
    const MutexLock lock(mutex_);
    described_.reset();
  }
  region_.reset();
}

absl::StatusOr<TracedPointer> GuestProcess::TraceOf(VirtualAddress pointer,
                                                    TracedSpace space) const {
  TracedPointer traced = {.trace = region().TraceOf(pointer, space)};
  const Segment& end = traced.trace.end;
  if (!end.ok()) {
    return absl::OutOfRangeError(Sentence("%#x: %s", pointer.value, Describe(end.fault().fault)));
  }
  if (space == TracedSpace::kRegion) traced.region = region().layout().virtual_base();
  traced.machine = kernel_.MachineOf(end.start());
  return traced;
}

absl::StatusOr<std::vector<FrameRun>> GuestProcess::TakeFrames(std::uint64_t offset,
                                                               std::uint64_t length) {
  Frames& frames = kernel_.frames();
  std::vector<FrameRun> runs;
  for (std::uint64_t done = 0; done < length;) {
    const bool block =
        offset + done >= kScatteredBytes && length - done >= kBlockFrames * kPageSize;
    const std::optional<FrameRun> run = block ? frames.TakeBlock() : frames.TakeOne();
    if (!run) {
      GiveBack(runs);
      return absl::ResourceExhaustedError(
          Sentence("%u bytes for the region: of domain %u's %uM only %u bytes are free%s", length,
                   kernel_.id(), frames.total() >> (20 - kPageShift), frames.free() << kPageShift,
                   kernel_.id() == 0 ? " (option dom0)" : ""));
    }
    runs.push_back(*run);
    done += run->count * kPageSize;
  }
  return runs;
}

void GuestProcess::GiveBack(std::span<const FrameRun> runs) {
  for (const FrameRun run : runs) kernel_.frames().GiveBack(run);
}

std::int64_t GuestProcess::Call(std::uint64_t index, std::span<const std::uint64_t, 5> arguments,
                                std::uint32_t* continuations) {
  const GuestRegion* const region = current_.load();
  const bool by_region = space_ == SpaceOption::kRegion || space_ == SpaceOption::kStateless;
  const RegionHandle handle =
      by_region && region != nullptr ? region->handle() : RegionHandle::None();
  const std::optional<PassedCall> passed = PassOn(index, arguments, handle, kRegionCall);
  if (!passed) return -EPERM;
  hypervisor::HypercallFrame frame = {.index = passed->index, .region = passed->region};
  std::ranges::copy(passed->arguments, frame.arguments);
  machine_.foreign_mappings().SweepForCall();
  VcpuPool::Lease lease(kernel_.vcpus());
  if (region != nullptr) {
    if (IsHistorical(space_)) return Described(*region).Call(lease.vcpu(), frame, continuations);
    if (!by_region) {
      lease.SetRawSpace(space_ == SpaceOption::kDirect ? *direct_ : WalkOf(lease, *region));
    }
  } else {
    lease.ForgetRawSpace();
  }
  return machine_.hypervisor().Call(lease.vcpu(), frame, continuations);
}

Space& GuestProcess::WalkOf(const VcpuPool::Lease& vcpu, const GuestRegion& region) {
  std::unique_ptr<Walk>& walk = walks_[vcpu.index()];
  if (walk == nullptr) {
    walk = std::make_unique<Walk>(machine_.hypervisor().MemoryOf(vcpu.vcpu()), region.paging());
  }
  return walk->space;
}

DescribedCalls& GuestProcess::Described(const GuestRegion& region) {
  const MutexLock lock(mutex_);
  if (described_ == nullptr) {
    described_ = std::make_unique<DescribedCalls>(
        machine_, region, *direct_,
        space_ == SpaceOption::kInline ? schema::DescribedCall::Inline::kWherePossible
                                       : schema::DescribedCall::Inline::kNever);
  }
  return *described_;
}

}  // namespace xencomm::embedded
