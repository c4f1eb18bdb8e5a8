// Who may call, and in which space the call's pointers are.

#include "hcall/hypervisor/dispatch.h"

#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/hypervisor/domain/logged_region.h"
#include "hcall/hypervisor/domain/region_registry.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_translation.h"

namespace xencomm::hypervisor {
namespace {

// The space of a call that has none: every byte faults, but an access of zero bytes succeeds.
class NoSpace final : public Space {
 public:
  explicit NoSpace(FaultInfo fault) : fault_(fault) {}

  Mapping Resolve(VirtualAddress, std::uint64_t, std::uint64_t, Access, Cursor*) override {
    return fault_;
  }

 private:
  FaultInfo fault_;
};

std::int64_t RunIn(Core& core, Vcpu& vcpu, HypercallFrame& frame, const CallSpaces& spaces,
                   bool keeps_pointers = true) {
  Work work(core.config.preempt_interval);
  Call call(core, vcpu, spaces, frame, work);
  call.keeps_pointers = keeps_pointers;
  const std::int64_t answer = call.UnlessMemoryIsDue(RunHandler(call));
  core.NoteLeg(work);
  return answer;
}

// Where a pointer is found makes no difference to what it means.
std::int64_t RunIn(Core& core, Vcpu& vcpu, HypercallFrame& frame, Space& space,
                   bool keeps_pointers = true) {
  return RunIn(core, vcpu, frame, {space, space}, keeps_pointers);
}

std::int64_t RunInRegion(Core& core, Vcpu& vcpu, HypercallFrame& frame, DomainMemory& memory) {
  const RegionHandle handle = RegionHandle::FromRegister(frame.region);
  if (handle.is_none()) {
    NoSpace space(Fault::kNoRegion);
    return RunIn(core, vcpu, frame, space);
  }
  if (handle.is_registered()) {
    RegionEntry* region = RegionRegistry::Find(*vcpu.domain, handle);
    if (region == nullptr) {
      NoSpace space(Fault::kNoRegion);
      return RunIn(core, vcpu, frame, space);
    }
    if (vcpu.domain->dirty_log.is_on()) [[unlikely]] {
      LoggedRegion registers(region->in_registers, core.frames, memory);
      LoggedRegion structures(region->in_memory, core.frames, memory);
      return RunIn(core, vcpu, frame, {registers, structures});
    }
    return RunIn(core, vcpu, frame, {region->in_registers, region->in_memory});
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

std::int64_t Dispatch(Core& core, Vcpu& vcpu, HypercallFrame& frame) {
  frame.continued = false;
  if (!frame.from_kernel) return -kEPERM;
  const Domain& domain = *vcpu.domain;
  if (domain.dying()) return -kESRCH;
  DomainMemory memory = CallMemory(vcpu);

  // The per-call bit belongs to domains whose pointers are raw otherwise.
  const bool opts_in = (frame.index & kRegionCall) != 0;
  if (opts_in && domain.space != SpaceKind::kRaw) return -kENOSYS;
  if (opts_in || domain.space == SpaceKind::kRegion) {
    return RunInRegion(core, vcpu, frame, memory);
  }
  if (domain.space == SpaceKind::kXcom) {
    SpaceOver space(XcomTranslation<DomainMemory>(memory, domain.order), memory);
    return RunIn(core, vcpu, frame, space);
  }
  if (vcpu.raw_space != nullptr) return RunIn(core, vcpu, frame, *vcpu.raw_space);
  NoSpace space(Fault::kNotPresent);
  return RunIn(core, vcpu, frame, space);
}

}  // namespace xencomm::hypervisor
