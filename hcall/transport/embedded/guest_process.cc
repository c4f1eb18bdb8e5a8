#include "hcall/transport/embedded/guest_process.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "xencomm/hypercall.h"
#include "xencomm/process_call.h"

namespace xencomm::embedded {

std::unique_ptr<RegionBacking> GuestProcess::MakeBacking() {
  auto backing = std::make_unique<RegionBacking>(
      machine_, GuestRegion::Options{.registered = space_ == SpaceOption::kRegion,
                                     .levels = space_ == SpaceOption::kWalk5 ? 5u : 4u});
  backing_ = backing.get();
  return backing;
}

std::int64_t GuestProcess::Call(std::uint64_t index, std::span<const std::uint64_t, 5> arguments) {
  const bool by_region = space_ == SpaceOption::kRegion || space_ == SpaceOption::kStateless;
  const RegionHandle handle = by_region ? region().handle() : RegionHandle::None();
  const std::optional<PassedCall> passed = PassOn(index, arguments, handle, kRegionCall);
  if (!passed) return -EPERM;
  hypervisor::HypercallFrame frame = {.index = passed->index, .region = passed->region};
  std::ranges::copy(passed->arguments, frame.arguments);
  machine_.foreign_mappings().Sweep();
  VcpuPool::Lease lease(machine_.vcpus());
  if (IsHistorical(space_)) return Described().Call(lease.vcpu(), frame);
  if (!by_region) {
    lease.SetRawSpace(space_ == SpaceOption::kDirect ? backing_->direct() : WalkOf(lease));
  }
  return machine_.hypervisor().Call(lease.vcpu(), frame);
}

Space& GuestProcess::WalkOf(const VcpuPool::Lease& vcpu) {
  std::unique_ptr<Walk>& walk = walks_[vcpu.index()];
  if (walk == nullptr) {
    walk = std::make_unique<Walk>(machine_.hypervisor().MemoryOf(vcpu.vcpu()), region().paging());
  }
  return walk->space;
}

DescribedCalls& GuestProcess::Described() {
  const MutexLock lock(mutex_);
  if (described_ == nullptr) {
    described_ = std::make_unique<DescribedCalls>(
        machine_, region(), backing_->direct(),
        space_ == SpaceOption::kInline ? schema::DescribedCall::Inline::kWherePossible
                                       : schema::DescribedCall::Inline::kNever);
  }
  return *described_;
}

}  // namespace xencomm::embedded
