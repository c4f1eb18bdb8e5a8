// The guest kernel: a domain's kernel in the embedded machine, domain 0's or that of a domain whose
// processes are here, as far as they need one.
//
// It owns the domain's frames and is the only one that makes xencomm_op calls. Of what processes
// call it knows no op.
#ifndef HCALL_TRANSPORT_EMBEDDED_GUEST_KERNEL_H_
#define HCALL_TRANSPORT_EMBEDDED_GUEST_KERNEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/transport/embedded/frames.h"
#include "hcall/transport/embedded/ram_file.h"
#include "hcall/transport/embedded/vcpu_pool.h"
#include "xencomm/hypercall.h"
#include "xencomm/own_space.h"

namespace xencomm::embedded {

// Pages that follow one another in the machine.
struct MachineRun {
  MachineAddress start;
  std::uint64_t pages = 0;
};

// Who is told that an upcall is pending for a vcpu of the domain.
class UpcallHandler {
 public:
  // By the thread whose call sent the event, inside that call: it makes none itself.
  virtual void Upcall() = 0;

 protected:
  ~UpcallHandler() = default;
};

class GuestKernel {
 public:
  // Domain 0's. Everything is borrowed. It has `frames` frames from gfn 0 on, of which the first
  // `own_frames` are shown to no process, and its vcpus are claimed.
  GuestKernel(hypervisor::Hypervisor& hypervisor, RamFile& ram, VcpuPool& vcpus,
              std::uint64_t frames, std::uint64_t own_frames)
      : hypervisor_(hypervisor),
        ram_(ram),
        vcpus_(vcpus),
        own_frames_(0, own_frames),
        frames_(own_frames, frames),
        memory_(hypervisor.LockedMemoryOf(VcpuPool::Lease(vcpus).vcpu())) {}
  // Another domain's, which has these frames for its processes and its tables.
  GuestKernel(std::uint16_t id, hypervisor::Hypervisor& hypervisor, RamFile& ram, VcpuPool& vcpus,
              std::vector<std::uint64_t> frames)
      : id_(id),
        hypervisor_(hypervisor),
        ram_(ram),
        vcpus_(vcpus),
        own_frames_(0, 0),
        frames_(std::move(frames)),
        memory_(hypervisor.LockedMemoryOf(VcpuPool::Lease(vcpus).vcpu())) {}

  std::uint16_t id() const { return id_; }
  hypervisor::Hypervisor& hypervisor() { return hypervisor_; }
  VcpuPool& vcpus() { return vcpus_; }
  RamFile& ram() { return ram_; }

  // The event ports that domain 0's kernel has when it is up. `space` is the one of the domain's
  // pointers.
  absl::Status BindPorts(hypervisor::SpaceKind space);

  // A call of event_channel_op: its answer, or a negative errno. What Xen says in the argument is
  // in there afterwards.
  template <class Argument>
  std::int64_t EventCall(std::uint64_t op, Argument& argument) {
    return EventCall(op, std::as_writable_bytes(std::span(&argument, 1)));
  }
  // The same of another hypercall whose first register is an op, its second a pointer to
  // `argument`.
  std::int64_t CallWith(std::uint64_t hypercall, std::uint64_t op, std::span<std::byte> argument,
                        std::uint64_t count = 0);
  // grant_table_op for each structure of a list, which tells what became of it.
  template <class Argument>
  std::int64_t GrantCall(std::uint64_t op, std::span<Argument> list) {
    return GrantCall(op, std::as_writable_bytes(list), sizeof(Argument));
  }

  // Borrowed, until another one is set and no call is under way any more; null: nobody is told.
  void SetUpcallHandler(UpcallHandler* handler) { upcall_handler_.store(handler); }
  void Upcall() {
    if (UpcallHandler* const handler = upcall_handler_.load()) handler->Upcall();
  }

  // What processes get; and what the kernel keeps to itself, its tables: the same where there are
  // no others that could look.
  Frames& frames() { return frames_; }
  Frames& own_frames() { return own_frames_.total() != 0 ? own_frames_ : frames_; }
  // As the kernel's linear map reaches it, for what it does outside calls. Calls have their own.
  hypervisor::LockedMemory& memory() { return memory_; }

  // The machine address behind a guest-physical one that is the domain's.
  MachineAddress MachineOf(PhysicalAddress physical) {
    return {(hypervisor_.FrameOf(id_, physical.value >> hypervisor::kPageShift)
             << hypervisor::kPageShift) +
            (physical.value & (hypervisor::kPageSize - 1))};
  }

  // The places of a run that its process has; for the process to be mapped.
  std::vector<MachineRun> MachineRunsOf(FrameRun run);

  // A call of xencomm_op: its answer, or a negative errno.
  std::int64_t Call(XencommOp op, std::uint64_t a, std::uint64_t b = 0, std::uint64_t c = 0) {
    VcpuPool::Lease lease(vcpus_);
    return hypervisor_.Call(lease.vcpu(), {.index = kXencommOp,
                                           .arguments = {static_cast<std::uint64_t>(op), a, b, c}});
  }

  // The probe of xencomm/hypercall.h.
  bool KnowsRegions();

  // A frame that was in use goes back cleared: the next user must not see what was in it.
  void Recycle(FrameRun run) {
    for (std::uint64_t i = 0; i < run.count; ++i) {
      ram_.Discard(MachineOf({(run.gfn + i) << hypervisor::kPageShift}), hypervisor::kPageSize);
    }
    (run.gfn < own_frames_.total() ? own_frames_ : frames_).GiveBack(run);
  }

 private:
  std::int64_t EventCall(std::uint64_t op, std::span<std::byte> argument);
  std::int64_t GrantCall(std::uint64_t op, std::span<std::byte> list, std::size_t size);

  const std::uint16_t id_ = 0;
  hypervisor::Hypervisor& hypervisor_;
  RamFile& ram_;
  VcpuPool& vcpus_;
  Frames own_frames_;
  Frames frames_;
  hypervisor::LockedMemory memory_;
  OwnSpace own_space_;  // of the kernel's own raw pointers
  bool is_historical_ = false;
  std::atomic<UpcallHandler*> upcall_handler_ = nullptr;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_GUEST_KERNEL_H_
