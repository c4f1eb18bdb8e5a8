// A process of domain 0 as its kernel keeps it: its region, and the calls that it asks for.
//
// The kernel's part of a call (xencomm/process_call.h): out of what the process has in its
// registers comes the hypervisor's call, with the region and the bit that opts into it, or with
// descriptors of what it points at. Whether the process is this one or another makes no difference.
#ifndef HCALL_TRANSPORT_EMBEDDED_GUEST_PROCESS_H_
#define HCALL_TRANSPORT_EMBEDDED_GUEST_PROCESS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arch/x86_64/page_walk.h"
#include "hcall/transport/embedded/described_calls.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/embedded/guest_region.h"
#include "hcall/transport/setting.h"
#include "xencomm/mutex.h"
#include "xencomm/transport.h"

namespace xencomm::embedded {

class GuestProcess {
 public:
  // Of domain 0, or of another one, whose kernel this is. Both are borrowed.
  GuestProcess(EmbeddedMachine& machine, SpaceOption space)
      : GuestProcess(machine, machine.kernel(), space) {}
  GuestProcess(EmbeddedMachine& machine, GuestKernel& kernel, SpaceOption space)
      : machine_(machine), kernel_(kernel), space_(space) {}
  GuestProcess(const GuestProcess&) = delete;
  GuestProcess& operator=(const GuestProcess&) = delete;
  // A region that is left then is a parent's, in a forked child of it.
  ~GuestProcess() { static_cast<void>(region_.release()); }

  EmbeddedMachine& machine() const { return machine_; }
  GuestKernel& kernel() const { return kernel_; }

  // Its region, until it ends; one at a time. No call may be under way at the end.
  absl::Status MakeRegion(const RegionLayout& layout);
  void EndRegion();
  bool has_region() const { return region_ != nullptr; }
  GuestRegion& region() const { return *region_; }

  // As Transport::TraceOf.
  absl::StatusOr<TracedPointer> TraceOf(VirtualAddress pointer, TracedSpace space) const;

  // Frames for `length` bytes of payload from `offset` on, both in whole pages: for GuestRegion's
  // Back, or to be given back.
  absl::StatusOr<std::vector<FrameRun>> TakeFrames(std::uint64_t offset, std::uint64_t length);
  void GiveBack(std::span<const FrameRun> runs);

  // The payload as addresses of this process: what pointers mean without any translation, and how
  // buffers of the historical ABI are reached. Borrowed until the region ends.
  void SetDirect(Space& direct) { direct_ = &direct; }

  // The hypervisor's answer, or a negative errno, and how often the call was continued. By any
  // thread; without a region pointers fault.
  std::int64_t Call(std::uint64_t index, std::span<const std::uint64_t, 5> arguments,
                    std::uint32_t* continuations);

 private:
  // Up to here the payload's frames are single ones, scattered; beyond, blocks: a mapping for each
  // page of a large region would be more than vm.max_map_count.
  static constexpr std::uint64_t kScatteredBytes = std::uint64_t{2} << 20;

  // The walk of one vcpu's calls: the memory below it notes what that vcpu writes.
  struct Walk {
    Walk(hypervisor::DomainMemory of_vcpu, const x86_64::PagingState& paging)
        : memory(of_vcpu), space(x86_64::PageWalk(memory, paging), memory) {}

    hypervisor::DomainMemory memory;
    SpaceOver<x86_64::PageWalk<hypervisor::DomainMemory>, hypervisor::DomainMemory> space;
  };

  // The hypervisor's space for a call that names no region. Made when the first call is, as is what
  // describes the buffers of calls in the historical ABI.
  Space& WalkOf(const VcpuPool::Lease& vcpu, const GuestRegion& region);
  DescribedCalls& Described(const GuestRegion& region) ABSL_LOCKS_EXCLUDED(mutex_);

  EmbeddedMachine& machine_;
  GuestKernel& kernel_;
  const SpaceOption space_;
  std::unique_ptr<GuestRegion> region_;
  // For calls: whole, or not there.
  std::atomic<const GuestRegion*> current_ = nullptr;
  Space* direct_ = nullptr;

  std::array<std::unique_ptr<Walk>, VcpuPool::kMaxVcpus> walks_;  // each its lease's holder's
  Mutex mutex_;
  std::unique_ptr<DescribedCalls> described_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_GUEST_PROCESS_H_
