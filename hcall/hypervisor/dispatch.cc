// From registers to a handler: who may call, what the call's pointers mean, and which hypercall it
// is.

#include "hcall/hypervisor/dispatch.h"

#include "hcall/hypervisor/call.h"
#include "hcall/hypervisor/region_registry.h"
#include "hcall/schema/xen.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_space.h"

namespace xencomm::hypervisor {
namespace {

// The space of a call that has none: every byte faults, and none at all is still fine.
class NoSpace final : public Space {
 public:
  explicit NoSpace(FaultInfo fault) : fault_(fault) {}

  Mapping Map(VirtualAddress, std::uint64_t, std::uint64_t, Access) override { return fault_; }
  CopyResult ForEachRun(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                        RunVisitor) override {
    if (length == 0) return {};
    return {.fault = fault_, .address = pointer + offset};
  }

 private:
  FaultInfo fault_;
};

std::int64_t RunIn(Core& core, Vcpu& vcpu, HypercallFrame& frame, Space& space,
                   bool keeps_pointers = true) {
  Call call(core, vcpu, space, frame);
  call.keeps_pointers = keeps_pointers;
  return Dispatch(call);
}

std::int64_t RunInRegion(Core& core, Vcpu& vcpu, HypercallFrame& frame, DomainMemory& memory) {
  const RegionHandle handle = RegionHandle::FromRegister(frame.region);
  if (handle.is_none()) {
    NoSpace space(Fault::kNoRegion);
    return RunIn(core, vcpu, frame, space);
  }
  if (handle.is_registered()) {
    const RegionEntry* region = RegionRegistry::Find(*vcpu.domain, handle);
    if (region == nullptr) {
      NoSpace space(Fault::kNoRegion);
      return RunIn(core, vcpu, frame, space);
    }
    SpaceOver space(RegisteredRegion(region->layout, region->bases), memory);
    return RunIn(core, vcpu, frame, space);
  }
  const auto table = OpenTable(memory, handle.header(), vcpu.domain->order);
  if (!table.ok()) {
    NoSpace space(table.fault());
    return RunIn(core, vcpu, frame, space);
  }
  SpaceOver space(StatelessRegion<DomainMemory>(*table), memory);
  return RunIn(core, vcpu, frame, space, false);
}

}  // namespace

std::int64_t Run(Core& core, Vcpu& vcpu, HypercallFrame& frame) {
  frame.continued = false;
  if (!frame.from_kernel) return -kEPERM;
  const Domain& domain = *vcpu.domain;
  if (domain.dying()) return -kESRCH;
  DomainMemory memory(domain.p2m, core.frames);

  // The per-call bit belongs to domains whose pointers are raw otherwise.
  const bool opts_in = (frame.index & kRegionCall) != 0;
  if (opts_in && domain.pointers != PointerModel::kRaw) return -kENOSYS;
  if (opts_in || domain.pointers == PointerModel::kRegion) {
    return RunInRegion(core, vcpu, frame, memory);
  }
  if (domain.pointers == PointerModel::kXcom) {
    SpaceOver space(DescriptorSpace<DomainMemory>(memory, domain.order), memory);
    return RunIn(core, vcpu, frame, space);
  }
  if (vcpu.raw_space != nullptr) return RunIn(core, vcpu, frame, *vcpu.raw_space);
  NoSpace space(Fault::kNotPresent);
  return RunIn(core, vcpu, frame, space);
}

std::int64_t Dispatch(Call& call) {
  switch (call.frame.index & ~kRegionCall) {
    case __HYPERVISOR_platform_op:
      return PlatformOp(call);
    case __HYPERVISOR_console_io:
      return ConsoleIo(call);
    case __HYPERVISOR_vcpu_op:
      return VcpuOp(call);
    case __HYPERVISOR_sched_op:
      return SchedOp(call);
    case __HYPERVISOR_grant_table_op:
      return GrantTableOp(call);
    case __HYPERVISOR_event_channel_op:
      return EventChannelOp(call);
    case __HYPERVISOR_hvm_op:
      return HvmOp(call);
    case __HYPERVISOR_memory_op:
      return MemoryOp(call);
    case __HYPERVISOR_multicall:
      return Multicall(call);
    case __HYPERVISOR_xen_version:
      return XenVersion(call);
    case __HYPERVISOR_sysctl:
      return Sysctl(call);
    case __HYPERVISOR_domctl:
      return Domctl(call);
    case kXencommOp:
      return RegionOp(call);
    default:
      return -kENOSYS;
  }
}

}  // namespace xencomm::hypervisor
