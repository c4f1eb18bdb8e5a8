#include "hcall/transport/embedded/guest_kernel.h"

#include <bit>
#include <cstring>

#include "hcall/schema/generated/xen.h"
#include "xencomm/descriptor.h"

namespace xencomm::embedded {
namespace {

// Where the arguments lie of a kernel that names physical addresses, a place for each vcpu: in the
// block that nobody gets.
constexpr PhysicalAddress kArguments = {hypervisor::kPageSize};
constexpr std::uint64_t kPlace = hypervisor::kPageSize / VcpuPool::kMaxVcpus;
static_assert(kPlace >= sizeof(evtchn_status) && kPlace >= sizeof(gnttab_copy));

}  // namespace

std::int64_t GuestKernel::CallWith(std::uint64_t hypercall, std::uint64_t op,
                                   std::span<std::byte> argument, std::uint64_t count) {
  VcpuPool::Lease lease(vcpus_);
  if (!is_historical_) {
    lease.SetRawSpace(own_space_);
    return hypervisor_.Call(
        lease.vcpu(), {.index = hypercall,
                       .arguments = {op, std::bit_cast<std::uint64_t>(argument.data()), count}});
  }
  const PhysicalAddress place = kArguments + lease.index() * kPlace;
  std::byte* const bytes = memory_.Map(place, kPlace, Access::kWrite).start();
  std::memcpy(bytes, argument.data(), argument.size());
  const std::int64_t answer = hypervisor_.Call(
      lease.vcpu(), {.index = hypercall, .arguments = {op, InlineAddress(place).value, count}});
  std::memcpy(argument.data(), bytes, argument.size());
  return answer;
}

std::int64_t GuestKernel::GrantCall(std::uint64_t op, std::span<std::byte> list, std::size_t size) {
  // Of a kernel that names physical addresses there is room for one at a time.
  const std::size_t piece = is_historical_ ? size : list.size();
  for (; !list.empty(); list = list.subspan(piece)) {
    const std::int64_t answer =
        CallWith(__HYPERVISOR_grant_table_op, op, list.first(piece), piece / size);
    if (answer < 0) return answer;
  }
  return 0;
}

std::int64_t GuestKernel::EventCall(std::uint64_t op, std::span<std::byte> argument) {
  return CallWith(__HYPERVISOR_event_channel_op, op, argument);
}

absl::Status GuestKernel::BindPorts(hypervisor::SpaceKind space) {
  is_historical_ = space == hypervisor::SpaceKind::kXcom;
  if (own_frames().free() == 0) {
    return absl::ResourceExhaustedError("the guest kernel has no frame to boot with");
  }
  std::int64_t answer = 0;
  const auto bind = [&](std::uint64_t op, auto argument) {
    if (answer >= 0) answer = EventCall(op, argument);
  };
  // Its timer, what vcpus send one another (Linux has four kinds), and what Xen tells the kernel.
  // Whatever else Xen tells domain 0 is its programs' to bind.
  bind(EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = VIRQ_TIMER, .vcpu = 0, .port = 0});
  for (int kind = 0; kind < 4; ++kind) {
    bind(EVTCHNOP_bind_ipi, evtchn_bind_ipi{.vcpu = 0, .port = 0});
  }
  for (const std::uint32_t virq : {std::uint32_t{VIRQ_CONSOLE}, std::uint32_t{VIRQ_PCPU_STATE}}) {
    bind(EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = virq, .vcpu = 0, .port = 0});
  }
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
