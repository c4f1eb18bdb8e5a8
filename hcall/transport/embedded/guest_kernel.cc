#include "hcall/transport/embedded/guest_kernel.h"

#include <cstring>
#include <optional>

#include "hcall/schema/generated/xen.h"
#include "xencomm/descriptor.h"

namespace xencomm::embedded {

absl::Status GuestKernel::BindPorts(hypervisor::SpaceKind space) {
  const std::optional<FrameRun> frame = own_frames().TakeOne();
  if (!frame) return absl::ResourceExhaustedError("the guest kernel has no frame to boot with");
  const PhysicalAddress physical = {frame->gfn << hypervisor::kPageShift};
  std::byte* const bytes = memory_.Map(physical, hypervisor::kPageSize, Access::kWrite).start();
  const std::uint64_t pointer = space == hypervisor::SpaceKind::kXcom
                                    ? InlineAddress(physical).value
                                    : std::bit_cast<std::uint64_t>(bytes);
  std::int64_t answer = 0;
  const auto bind = [&](std::uint64_t op, const auto& argument) {
    if (answer < 0) return;
    std::memcpy(bytes, &argument, sizeof(argument));
    VcpuPool::Lease lease(vcpus_);
    lease.SetRawSpace(own_space_);
    answer = hypervisor_.Call(lease.vcpu(),
                              {.index = __HYPERVISOR_event_channel_op, .arguments = {op, pointer}});
  };
  // Its timer, what vcpus send one another (Linux has four kinds), and what Xen tells domain 0.
  bind(EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = VIRQ_TIMER, .vcpu = 0, .port = 0});
  for (int kind = 0; kind < 4; ++kind) {
    bind(EVTCHNOP_bind_ipi, evtchn_bind_ipi{.vcpu = 0, .port = 0});
  }
  for (const std::uint32_t virq : {VIRQ_CONSOLE, VIRQ_DOM_EXC}) {
    bind(EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = virq, .vcpu = 0, .port = 0});
  }
  Recycle(*frame);
  if (answer < 0) {
    return absl::ErrnoToStatus(static_cast<int>(-answer), "domain 0's kernel has no event ports");
  }
  return absl::OkStatus();
}

std::vector<MachineRun> GuestKernel::MachineRunsOf(FrameRun run) {
  // Frames of a block follow each other in the machine too, unless the hypervisor had no such place
  // for them.
  std::vector<MachineRun> parts;
  for (std::uint64_t i = 0; i < run.count; ++i) {
    const MachineAddress machine = MachineOf({(run.gfn + i) << hypervisor::kPageShift});
    if (!parts.empty() &&
        machine == parts.back().start + parts.back().pages * hypervisor::kPageSize) {
      ++parts.back().pages;
    } else {
      parts.push_back({machine, 1});
    }
  }
  return parts;
}

bool GuestKernel::KnowsRegions() {
  VcpuPool::Lease lease(vcpus_);
  return hypervisor_.Call(lease.vcpu(), {.index = __HYPERVISOR_xen_version | kRegionCall,
                                         .arguments = {XENVER_version}}) >= 0;
}

}  // namespace xencomm::embedded
