// vcpu_op (24): a domain's own vcpus.

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/held_area.h"
#include "hcall/hypervisor/memory/domain_memory.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

struct VcpuCall {
  Call& call;
  Vcpu& vcpu;

  Cleared<vcpu_runstate_info> Runstate() { return call.core.schedule.RunstateOf(vcpu, call.vcpu); }
};

std::int64_t GetRunstate(VcpuCall& op) {
  const auto handle = op.call.Handle<vcpu_runstate_info>(op.call.frame.arguments[2], 1);
  return handle.Write(0, op.Runstate()).ok() ? 0 : -kEFAULT;
}

// An area that is written now and, in Xen, whenever the state changes: here whenever it is asked
// for. The pointer is resolved once, and its frames are held until another area takes its place.
std::int64_t RegisterRunstate(VcpuCall& op) {
  auto& [call, vcpu] = op;
  Argument<vcpu_register_runstate_memory_area> request(call, call.frame.arguments[2]);
  if (!request.Fetch(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area)) return -kEFAULT;
  // A stateless region's bases are the guest's to change: they are good for one call only.
  if (!call.keeps_pointers) return -kEOPNOTSUPP;
  Cleared<vcpu_runstate_info> info = op.Runstate();
  if (call.domain.order != kNativeOrder) SwapBytes(*info);
  return vcpu.runstate_area.Replace(call.core, call.domain, call.space, {request->addr.p}, &*info,
                                    sizeof(vcpu_runstate_info));
}

// A guest-physical address, which is what a later release takes for an area.
struct PhysicalTranslation {
  struct Cursor {};
  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                    Cursor&) const {
    return Segment(PhysicalAddress{pointer.value + offset}, length);
  }
};

// An area by its guest-physical address: in one page, and aligned. ~0 takes it back.
template <class T>
std::int64_t RegisterPhysical(VcpuCall& op, HeldArea& area, const T& value) {
  constexpr std::uint64_t kNoArea = ~std::uint64_t{0};
  Call& call = op.call;
  std::uint64_t address = 0;
  if (!call.Handle<const std::uint64_t>(call.frame.arguments[2], 1).Read(0, address).ok()) {
    return -kEFAULT;
  }
  if (address == kNoArea) {
    return area.Replace(call.core, call.domain, call.space, {}, nullptr, 0);
  }
  const bool in_one_page = address / kPageSize == (address + sizeof(T) - 1) / kPageSize;
  if (!in_one_page || !IsAligned(address, sizeof(std::uint64_t))) return -kENXIO;
  Domain& domain = call.domain;
  DomainMemory memory(domain.p2m, domain.dirty_log, call.vcpu.slot->writes);
  SpaceOver space(PhysicalTranslation{}, memory);
  const std::int64_t answer =
      area.Replace(call.core, call.domain, space, {address}, &value, sizeof(T));
  return answer == -kEFAULT ? -kEINVAL : answer;
}

std::int64_t RegisterRunstatePhysical(VcpuCall& op) {
  Cleared<vcpu_runstate_info> info = op.Runstate();
  if (op.call.domain.order != kNativeOrder) SwapBytes(*info);
  return RegisterPhysical(op, op.vcpu.runstate_area, *info);
}

// A time stamp counter that counts nanoseconds, as the machine does.
std::int64_t RegisterTimePhysical(VcpuCall& op) {
  Cleared<vcpu_time_info> info;
  info->version = 2;
  info->tsc_timestamp = op.call.core.machine.NowNanoseconds();
  info->system_time = info->tsc_timestamp;
  info->tsc_to_system_mul = 1u << 31;
  info->tsc_shift = 1;
  if (op.call.domain.order != kNativeOrder) SwapBytes(*info);
  return RegisterPhysical(op, op.vcpu.time_area, *info);
}

std::int64_t Up(VcpuCall& op) {
  if (!op.vcpu.initialised) return -kEINVAL;
  op.vcpu.online.store(true);
  return 0;
}

std::int64_t Down(VcpuCall& op) {
  op.vcpu.online.store(false);
  return 0;
}

std::int64_t IsUp(VcpuCall& op) { return op.vcpu.online.load() ? 1 : 0; }

constexpr OpTable<VcpuCall, VCPUOP_register_vcpu_time_phys_area + 1> kOps = {
    {VCPUOP_up, Up},
    {VCPUOP_down, Down},
    {VCPUOP_is_up, IsUp},
    {VCPUOP_get_runstate_info, GetRunstate},
    {VCPUOP_register_runstate_memory_area, RegisterRunstate},
    {VCPUOP_register_runstate_phys_area, RegisterRunstatePhysical},
    {VCPUOP_register_vcpu_time_phys_area, RegisterTimePhysical},
};

}  // namespace

OpAnswer AskVcpuOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t VcpuOp(Call& call) {
  Vcpu* vcpu = call.domain.vcpu(static_cast<std::uint32_t>(call.frame.arguments[1]));
  if (vcpu == nullptr) return -kENOENT;
  const auto number = static_cast<std::uint32_t>(call.frame.arguments[0]);
  if (!call.Knows(__HYPERVISOR_vcpu_op, number)) return -kENOSYS;
  VcpuCall op = {call, *vcpu};
  return kOps.Run(number, op);
}

}  // namespace xencomm::hypervisor
