#include "hcall/transport/embedded/embedded_transport.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <optional>

#include "xencomm/hypercall.h"
#include "xencomm/process_call.h"

namespace xencomm::embedded {

absl::StatusOr<std::unique_ptr<Backing>> EmbeddedTransport::MakeBacking() {
  auto backing = std::make_unique<RegionBacking>(
      *machine_, GuestRegion::Options{.registered = reach_ == Reach::kRegion,
                                      .levels = reach_ == Reach::kWalk5 ? 5u : 4u});
  backing_ = backing.get();
  return backing;
}

std::int64_t EmbeddedTransport::Call(std::uint64_t op,
                                     const std::array<std::uint64_t, 5>& arguments) {
  const bool by_region = reach_ == Reach::kRegion || reach_ == Reach::kStateless;
  const RegionHandle region = by_region ? backing_->region().handle() : RegionHandle::None();
  const std::optional<PassedCall> passed = PassOn(op, arguments, region, kRegionCall);
  if (!passed) return -EPERM;
  hypervisor::HypercallFrame frame = {.index = passed->index, .region = passed->region};
  std::ranges::copy(passed->arguments, frame.arguments);
  machine_->foreign_mappings().Sweep();
  VcpuPool::Lease lease(machine_->vcpus());
  if (IsHistorical(reach_)) return Described().Call(lease.vcpu(), frame);
  if (!by_region) lease.SetRawSpace(reach_ == Reach::kDirect ? backing_->direct() : WalkOf(lease));
  return machine_->hypervisor().Call(lease.vcpu(), frame);
}

Space& EmbeddedTransport::WalkOf(const VcpuPool::Lease& vcpu) {
  std::unique_ptr<Walk>& walk = walks_[vcpu.index()];
  if (walk == nullptr) {
    walk = std::make_unique<Walk>(machine_->hypervisor().MemoryOf(vcpu.vcpu()),
                                  backing_->region().paging());
  }
  return walk->space;
}

DescribedCalls& EmbeddedTransport::Described() {
  Space& payload = backing_->direct();
  const MutexLock lock(mutex_);
  if (described_ == nullptr) {
    described_ = std::make_unique<DescribedCalls>(*machine_, backing_->region(), payload,
                                                  reach_ == Reach::kInline
                                                      ? schema::DescribedCall::Form::kInline
                                                      : schema::DescribedCall::Form::kDescriptor);
  }
  return *described_;
}

absl::Status EmbeddedTransport::Translate(const void* pointer, xencomm_way way,
                                          xencomm_translation& translation) {
  return backing_->region().Translate(std::bit_cast<std::uint64_t>(pointer), way, translation);
}

}  // namespace xencomm::embedded
