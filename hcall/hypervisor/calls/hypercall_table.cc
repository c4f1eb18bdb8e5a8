#include "hcall/hypervisor/calls/hypercall_table.h"

#include <iterator>

#include "hcall/hypervisor/calls/call.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {
namespace {

struct HypercallEntry {
  std::int64_t (*run)(Call&) = nullptr;
  OpAnswer (*ask)(std::uint64_t op) = nullptr;  // of one that has ops
};

struct Hypercalls {
  consteval Hypercalls() {
    entries[__HYPERVISOR_domctl] = {Domctl, AskDomctl};
    entries[__HYPERVISOR_sysctl] = {Sysctl, AskSysctl};
    entries[__HYPERVISOR_platform_op] = {PlatformOp, AskPlatformOp};
    entries[__HYPERVISOR_memory_op] = {MemoryOp, AskMemoryOp};
    entries[__HYPERVISOR_multicall] = {Multicall};
    entries[__HYPERVISOR_mmuext_op] = {MmuextOp};
    entries[__HYPERVISOR_xen_version] = {XenVersion, AskXenVersion};
    entries[__HYPERVISOR_grant_table_op] = {GrantTableOp, AskGrantTableOp};
    entries[__HYPERVISOR_event_channel_op] = {EventChannelOp, AskEventChannelOp};
    entries[__HYPERVISOR_hvm_op] = {HvmOp, AskHvmOp};
    entries[__HYPERVISOR_physdev_op] = {PhysdevOp, AskPhysdevOp};
    entries[__HYPERVISOR_vcpu_op] = {VcpuOp, AskVcpuOp};
    entries[__HYPERVISOR_sched_op] = {SchedOp, AskSchedOp};
    entries[__HYPERVISOR_console_io] = {ConsoleIo, AskConsoleIo};
    entries[kXencommOp] = {RegionOp};
  }

  HypercallEntry entries[64];
};
constexpr Hypercalls kHypercalls;

// nullptr: there is none of that number.
const HypercallEntry* FindEntry(std::uint64_t number) {
  if (number >= std::size(kHypercalls.entries)) return nullptr;
  const HypercallEntry& entry = kHypercalls.entries[number];
  return entry.run != nullptr ? &entry : nullptr;
}

}  // namespace

std::int64_t RunHandler(Call& call) {
  const HypercallEntry* entry = FindEntry(call.frame.index & ~kRegionCall);
  if (entry != nullptr) return entry->run(call);
  NoteMissing(call, kNoOp);
  return -kENOSYS;
}

void NoteMissing(Call& call, std::uint64_t op) {
  const std::uint64_t number = call.frame.index & ~kRegionCall;
  const bool is_known = op == kNoOp ? schema::Find(number) != nullptr : call.Knows(number, op);
  if (is_known && call.core.NoteMissing(number, op)) call.core.machine.Unimplemented(number, op);
}

OpAnswer Ask(std::uint64_t hypercall, std::uint64_t op) {
  const HypercallEntry* entry = FindEntry(hypercall);
  if (entry == nullptr) return {};
  return entry->ask != nullptr ? entry->ask(op) : OpAnswer{.is_implemented = true};
}

}  // namespace xencomm::hypervisor
