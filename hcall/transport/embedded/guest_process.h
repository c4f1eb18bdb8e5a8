// A process of domain 0 as its kernel keeps it: its region, and the calls that it asks for.
//
// The kernel's part of a call (xencomm/process_call.h): out of what the process has in its
// registers comes the hypervisor's call, with the region and the bit that opts into it, or with
// descriptors of what it points at.
#ifndef HCALL_TRANSPORT_EMBEDDED_GUEST_PROCESS_H_
#define HCALL_TRANSPORT_EMBEDDED_GUEST_PROCESS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "arch/x86_64/page_walk.h"
#include "hcall/transport/embedded/described_calls.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/embedded/region_backing.h"
#include "hcall/transport/setting.h"
#include "xencomm/mutex.h"

namespace xencomm::embedded {

class GuestProcess {
 public:
  // `machine` is borrowed.
  GuestProcess(EmbeddedMachine& machine, SpaceOption space) : machine_(machine), space_(space) {}

  // Of its region; called once. The process must outlive it.
  std::unique_ptr<RegionBacking> MakeBacking();

  // While the backing is reserved.
  const GuestRegion& region() const { return backing_->region(); }

  // The hypervisor's answer, or a negative errno. By any thread of the process.
  std::int64_t Call(std::uint64_t index, std::span<const std::uint64_t, 5> arguments);

 private:
  // The walk of one vcpu's calls: the memory below it notes what that vcpu writes.
  struct Walk {
    Walk(hypervisor::DomainMemory of_vcpu, const x86_64::PagingState& paging)
        : memory(of_vcpu), space(x86_64::PageWalk(memory, paging), memory) {}

    hypervisor::DomainMemory memory;
    SpaceOver<x86_64::PageWalk<hypervisor::DomainMemory>, hypervisor::DomainMemory> space;
  };

  // The hypervisor's space for a call that names no region. Made when the first call is, as is what
  // describes the buffers of calls in the historical ABI.
  Space& WalkOf(const VcpuPool::Lease& vcpu);
  DescribedCalls& Described() ABSL_LOCKS_EXCLUDED(mutex_);

  EmbeddedMachine& machine_;
  const SpaceOption space_;
  RegionBacking* backing_ = nullptr;  // the Arena's

  std::array<std::unique_ptr<Walk>, VcpuPool::kMaxVcpus> walks_;  // each its lease's holder's
  Mutex mutex_;
  std::unique_ptr<DescribedCalls> described_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_GUEST_PROCESS_H_
