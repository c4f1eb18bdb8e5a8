// The transport to the embedded machine: a process of its domain 0 makes calls.
#ifndef HCALL_TRANSPORT_EMBEDDED_EMBEDDED_TRANSPORT_H_
#define HCALL_TRANSPORT_EMBEDDED_EMBEDDED_TRANSPORT_H_

#include <array>
#include <memory>

#include "hcall/transport/descriptor.h"
#include "hcall/transport/embedded/described_calls.h"
#include "hcall/transport/embedded/machine.h"
#include "hcall/transport/embedded/region_backing.h"
#include "hcall/transport/setting.h"
#include "xencomm/transport.h"

namespace xencomm::embedded {

class EmbeddedTransport final : public Transport {
 public:
  // `fd` stands for the device that calls go through elsewhere.
  EmbeddedTransport(std::shared_ptr<EmbeddedMachine> machine, Reach reach,
                    Descriptor fd = Descriptor())
      : machine_(std::move(machine)), reach_(reach), fd_(std::move(fd)) {}

  absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() override;
  std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) override;
  absl::Status Translate(const void* pointer, xencomm_way way,
                         xencomm_translation& translation) override;
  int fd() const override { return fd_.get(); }
  int Restrict() override { return fd_.BecomeNull(); }
  bool knows_regions() override { return machine_->kernel().KnowsRegions(); }
  bool never_faults() const override { return true; }

  // The Arena's, to look at, while the Arena lives.
  const GuestRegion& region() const { return backing_->region(); }

 private:
  // The walk of one vcpu's calls: the memory below it notes what that vcpu writes.
  struct Walk {
    Walk(hypervisor::DomainMemory of_vcpu, const x86_64::PagingState& paging)
        : memory(of_vcpu), space(x86_64::PageWalk(memory, paging), memory) {}

    hypervisor::DomainMemory memory;
    SpaceOver<x86_64::PageWalk<hypervisor::DomainMemory>, hypervisor::DomainMemory> space;
  };

  // What a call's pointers mean to the hypervisor when the call names no region, and for
  // the historical ABI to the kernel when it describes them. Made when the first call is.
  Space& WalkOf(const VcpuPool::Lease& vcpu);
  DescribedCalls& Described();

  const std::shared_ptr<EmbeddedMachine> machine_;
  const Reach reach_;
  Descriptor fd_;
  RegionBacking* backing_ = nullptr;  // the Arena's

  Mutex mutex_;
  std::array<std::unique_ptr<Walk>, VcpuPool::kMaxVcpus> walks_;  // each its lease's holder's
  std::unique_ptr<DescribedCalls> described_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_EMBEDDED_TRANSPORT_H_
