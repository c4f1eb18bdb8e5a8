// Call: one hypercall under way, as a handler sees it.
//
// A handler gets numbers out of registers and everything else through handles over the call's
// spaces; it knows neither what kind of space the guest's pointers are in nor the guest's byte
// order.
#ifndef HCALL_HYPERVISOR_CALLS_CALL_H_
#define HCALL_HYPERVISOR_CALLS_CALL_H_

#include <cstdint>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/calls/hypercall_frame.h"
#include "hcall/hypervisor/calls/op_table.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "xencomm/guest_handle.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {

// The spaces of a call's pointers, by where they are found: a granule for arguments only
// (GranuleUse) is there for those in the registers of the outer call, and for no others.
struct CallSpaces {
  Space& in_registers;
  Space& in_memory;
};

class Call {
 public:
  Call(Core& hypervisor_core, Vcpu& caller_vcpu, const CallSpaces& spaces,
       HypercallFrame& registers, Work& leg_work)
      : core(hypervisor_core),
        vcpu(caller_vcpu),
        domain(*caller_vcpu.domain),
        space(spaces.in_memory),
        register_space(spaces.in_registers),
        frame(registers),
        work(leg_work) {}

  Core& core;
  Vcpu& vcpu;
  Domain& domain;         // the caller's
  Space& space;           // of pointers that are found in memory
  Space& register_space;  // of those in the frame's registers
  HypercallFrame& frame;
  Work& work;  // of this leg
  // Whether what a pointer leads to may be held beyond the call.
  bool keeps_pointers = true;

  // Whether the release that this machine answers as has an op.
  bool Knows(std::uint64_t hypercall, std::uint64_t op) const {
    return schema::Find(hypercall, op, core.config.release) != nullptr;
  }

  // To be asked after each piece of work: whether it is time to stop and be continued.
  bool ShouldPreempt(std::uint64_t pieces = 1) { return work.Done(pieces); }

  // Leaves the frame such that calling again goes on, with these for its first two arguments; the
  // others stay. The value returned is for the dispatcher to hand on.
  std::int64_t ContinueWith(std::uint64_t index, std::uint64_t argument0, std::uint64_t argument1) {
    frame.index = index | (frame.index & kRegionCall);
    frame.arguments[0] = argument0;
    frame.arguments[1] = argument1;
    frame.continued = true;
    return 0;
  }
  // The same with the frame as it is.
  std::int64_t Continue() {
    frame.continued = true;
    return 0;
  }

  // Whether memory ran out in this leg while some of it only waited for other calls to end. Then
  // nothing is to be refused for want of memory: what is not done yet is left to another leg,
  // before which that memory can come back. Not for ever: the other call's vcpu may have been
  // stopped.
  bool IsMemoryDue() const { return vcpu.short_legs < kMostShortLegs && core.RanShort(*vcpu.slot); }
  // `answer`; but a call that ran out of memory which is due is continued as it is. It must not
  // have written anything yet.
  std::int64_t UnlessMemoryIsDue(std::int64_t answer) {
    if (answer != -kENOMEM) [[likely]]
      return answer;
    return IsMemoryDue() ? Continue() : answer;
  }

  // `count` elements, of less than 2^64 bytes, at a pointer of the frame's registers. Those found
  // in memory are bound by their rows (argument.h).
  template <class T>
  GuestHandle<T> Handle(std::uint64_t pointer, std::uint64_t count) {
    return {register_space, VirtualAddress{pointer}, count, domain.order};
  }
  // The same where a number in memory says how far it leads, which nobody can have audited.
  template <class T>
  GuestHandle<T> HandleCountedInMemory(std::uint64_t pointer, std::uint64_t count) {
    return {space, VirtualAddress{pointer}, count, domain.order};
  }

  // The domain that an id names for this caller, DOMID_SELF included; or null.
  Domain* FindAny(std::uint16_t id) const {
    constexpr std::uint16_t kSelf = 0x7ff0;  // DOMID_SELF, public/xen.h
    return id == kSelf ? &domain : core.domains.Find(id);
  }

  // Whether the caller controls `target`: itself, or any when it is privileged (XSM_TARGET in Xen's
  // dummy policy).
  bool Controls(const Domain& target) const { return domain.privileged || &target == &domain; }
};

// The handlers, by hypercall. They answer a value or a negative errno. Ask… tells what is in the
// hypercall's table of ops.
std::int64_t XenVersion(Call& call);
OpAnswer AskXenVersion(std::uint64_t op);
std::int64_t MemoryOp(Call& call);
OpAnswer AskMemoryOp(std::uint64_t op);
std::int64_t Sysctl(Call& call);
OpAnswer AskSysctl(std::uint64_t op);
std::int64_t Domctl(Call& call);
OpAnswer AskDomctl(std::uint64_t op);
std::int64_t PlatformOp(Call& call);
OpAnswer AskPlatformOp(std::uint64_t op);
std::int64_t ConsoleIo(Call& call);
OpAnswer AskConsoleIo(std::uint64_t op);
std::int64_t PhysdevOp(Call& call);
OpAnswer AskPhysdevOp(std::uint64_t op);
std::int64_t VcpuOp(Call& call);
OpAnswer AskVcpuOp(std::uint64_t op);
std::int64_t SchedOp(Call& call);
OpAnswer AskSchedOp(std::uint64_t op);
std::int64_t HvmOp(Call& call);
OpAnswer AskHvmOp(std::uint64_t op);
std::int64_t EventChannelOp(Call& call);
OpAnswer AskEventChannelOp(std::uint64_t op);
std::int64_t GrantTableOp(Call& call);
OpAnswer AskGrantTableOp(std::uint64_t op);
std::int64_t Multicall(Call& call);
std::int64_t MmuextOp(Call& call);
std::int64_t RegionOp(Call& call);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_CALL_H_
