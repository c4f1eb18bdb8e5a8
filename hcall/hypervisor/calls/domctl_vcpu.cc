// domctl: vcpus, where they may run, and their registers.

#include <cstring>

#include "hcall/hypervisor/calls/bitmap.h"
#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/domain/hvm_cpu.h"
#include "hcall/hypervisor/domain/vcpu_context.h"
#include "hcall/hypervisor/memory/page_types.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

// 48 bits, the top one repeated.
constexpr bool IsCanonical(std::uint64_t address) {
  return static_cast<std::int64_t>(address << 16) >> 16 == static_cast<std::int64_t>(address);
}

// What Xen refuses a PV context for before it looks at memory.
bool SanePvContext(const vcpu_guest_context_t& context) {
  const cpu_user_regs_t& user = context.user_regs;
  if (!IsCanonical(user.rip) || !IsCanonical(user.rsp) || !IsCanonical(context.kernel_sp) ||
      !IsCanonical(context.fs_base) || !IsCanonical(context.gs_base_kernel) ||
      !IsCanonical(context.gs_base_user) || !IsCanonical(context.event_callback_eip) ||
      !IsCanonical(context.syscall_callback_eip) || !IsCanonical(context.failsafe_callback_eip)) {
    return false;
  }
  for (const trap_info_t& trap : context.trap_ctxt) {
    if (!IsCanonical(trap.address)) return false;
  }
  return IsCanonical(context.ldt_base) && IsAligned(context.ldt_base, kPageSize) &&
         context.ldt_ents <= 8192 && context.gdt_ents <= 512 * 14;
}

constexpr unsigned FramesOfGdt(const vcpu_guest_context_t& context) {
  return static_cast<unsigned>((context.gdt_ents + 511) / 512);
}

// The frames of a PV context's GDT must be the domain's own.
bool OwnsGdt(const Domain& domain, const vcpu_guest_context_t& context) {
  for (unsigned i = 0; i < FramesOfGdt(context); ++i) {
    if (domain.p2m.Load(context.gdt_frames[i]).type() != P2mType::kRam) return false;
  }
  return true;
}

// Whether two contexts name the same tables: those of a vcpu that has some stay.
bool HasSameTables(const vcpu_guest_context_t& a, const vcpu_guest_context_t& b) {
  if (a.ctrlreg[3] != b.ctrlreg[3] || a.ctrlreg[1] != b.ctrlreg[1] || a.gdt_ents != b.gdt_ents ||
      a.ldt_ents != b.ldt_ents || (a.ldt_ents != 0 && a.ldt_base != b.ldt_base)) {
    return false;
  }
  for (unsigned i = 0; i < FramesOfGdt(a); ++i) {
    if (a.gdt_frames[i] != b.gdt_frames[i]) return false;
  }
  return true;
}

// False when there is no work left for it.
bool EndTables(DomctlCall& op, Vcpu& vcpu) {
  PageTypes types(op.call.core, *op.target);
  for (std::uint64_t& root : vcpu.roots) {
    if (root != kNoFrame && !types.EndUse(root, op.call.work)) return false;
    root = kNoFrame;
  }
  return types.Finish(op.call.work);
}

// The page tables of a PV context, which are validated for it. PageTypes::kStopped: not yet.
std::int64_t UseTables(DomctlCall& op, Vcpu& vcpu, const vcpu_guest_context_t& context) {
  const bool has_user = context.ctrlreg[1] != 0;
  if (!has_user && (context.flags & VGCF_in_kernel) == 0) return -kEINVAL;
  const std::uint64_t wanted[] = {context.ctrlreg[3] >> kPageShift,
                                  has_user ? context.ctrlreg[1] >> kPageShift : kNoFrame};
  PageTypes types(op.call.core, *op.target);
  for (unsigned i = 0; i < 2; ++i) {
    // Of a call that goes on, the first one is in use; of one that nobody went on with, another.
    const bool is_other = vcpu.roots[i] != kNoFrame && vcpu.roots[i] != wanted[i];
    if (is_other && !EndTables(op, vcpu)) return PageTypes::kStopped;
  }
  for (unsigned i = 0; i < 2; ++i) {
    if (vcpu.roots[i] == wanted[i]) continue;
    const std::int64_t answer = types.Use(wanted[i], PageType::kL4, op.call.work);
    if (answer == PageTypes::kStopped) return answer;
    if (answer != 0) {
      EndTables(op, vcpu);
      return answer;
    }
    vcpu.roots[i] = wanted[i];
  }
  return 0;
}

// Checks a PV context, in Xen's order, and takes the tables that it names.
std::int64_t TakePvContext(DomctlCall& op, Vcpu& vcpu, const vcpu_guest_context_t& context) {
  if (!SanePvContext(context)) return -kEINVAL;
  if (op.target->translated()) {
    // Built by the machine: its tables are its own.
    const P2mEntry root = op.target->p2m.Load(context.ctrlreg[3] >> kPageShift);
    return OwnsGdt(*op.target, context) && root.type() == P2mType::kRam ? 0 : -kEINVAL;
  }
  if (vcpu.initialised) {
    return HasSameTables(context, *KeptContextOf(op.call.core, vcpu)) ? 0 : -kEOPNOTSUPP;
  }
  if (!OwnsGdt(*op.target, context)) return -kEINVAL;
  return UseTables(op, vcpu, context);
}

// Where a PV vcpu's control and debug registers cannot differ from the processor's.
void FixPvRegisters(vcpu_guest_context_t& context) {
  constexpr std::uint64_t kCr0 = 0x80050033;  // PG AM WP NE ET MP PE
  constexpr std::uint64_t kCr0Ts = 0x8;
  constexpr std::uint64_t kCr4 = 0x660;  // OSXMMEXCPT OSFXSR MCE PAE
  constexpr std::uint64_t kDr6 = 0xffff0ff0, kDr7 = 0x400;
  context.ctrlreg[0] = (context.ctrlreg[0] & kCr0Ts) | kCr0;
  context.ctrlreg[4] |= kCr4;
  context.debugreg[6] = kDr6;
  context.debugreg[7] |= kDr7;
}

// An HVM vcpu's registers lie with its hardware. A context is too large for a stack.
std::int64_t SetHvmRegisters(Vcpu& vcpu, const GuestHandle<const vcpu_guest_context_t>& handle) {
  OverheadPages& overhead = vcpu.domain->overhead;
  auto* const context = overhead.New<KeptContext>();
  if (context == nullptr) return -kENOMEM;
  std::int64_t answer = -kEFAULT;
  if (handle.Read(0, **context).ok()) {
    HvmVcpu* const state = HvmVcpuOf(vcpu);
    answer = state == nullptr ? -kENOMEM : TakeContext(vcpu, *state, **context);
  }
  overhead.Delete(context);
  return answer;
}

std::int64_t GetHvmRegisters(Vcpu& vcpu, const GuestHandle<vcpu_guest_context_t>& handle) {
  OverheadPages& overhead = vcpu.domain->overhead;
  auto* const context = overhead.New<KeptContext>();
  if (context == nullptr) return -kENOMEM;
  TellContext(vcpu, *vcpu.hvm, **context);
  const bool written = handle.Write(0, *context).ok();
  overhead.Delete(context);
  return written ? 0 : -kEFAULT;
}

}  // namespace

std::int64_t GetVcpuInfoOp(DomctlCall& op) {
  xen_domctl_getvcpuinfo& info = op.argument->u.getvcpuinfo;
  if (info.vcpu >= op.target->max_vcpus) return -kEINVAL;
  const Vcpu* vcpu = op.target->vcpu(info.vcpu);
  if (vcpu == nullptr) return -kESRCH;
  op.call.core.schedule.Sample(op.call.vcpu);
  const unsigned state = Schedule::StateOf(*vcpu);
  info.online = vcpu->online.load(std::memory_order_relaxed) ? 1 : 0;
  info.blocked = state == RUNSTATE_blocked ? 1 : 0;
  info.running = state == RUNSTATE_running ? 1 : 0;
  info.cpu_time = Schedule::RanFor(*vcpu);
  info.cpu = vcpu->processor.load(std::memory_order_relaxed);
  op.copy_back = true;
  return 0;
}

// What is sent waits for a vcpu that runs, and no more can be seen of it.
std::int64_t SendTriggerOp(DomctlCall& op) {
  const xen_domctl_sendtrigger& request = op.argument->u.sendtrigger;
  if (op.target->vcpu(request.vcpu) == nullptr) return -kESRCH;
  switch (request.trigger) {
    case XEN_DOMCTL_SENDTRIGGER_NMI:
      return 0;
    case XEN_DOMCTL_SENDTRIGGER_POWER:
    case XEN_DOMCTL_SENDTRIGGER_SLEEP:
      return op.target->hvm ? 0 : -kEINVAL;
    default:
      return -kENOSYS;
  }
}

std::int64_t SetVcpuContextOp(DomctlCall& op) {
  const xen_domctl_vcpucontext& request = op.argument->u.vcpucontext;
  Vcpu* vcpu = op.target->vcpu(request.vcpu);
  if (op.target == &op.call.domain || vcpu == nullptr) return -kEINVAL;
  const auto handle = op.argument.Bind(rows::setvcpucontext::ctxt);
  if (handle.is_null()) {
    if (!EndTables(op, *vcpu)) return op.call.Continue();
    vcpu->online.store(false);
    vcpu->initialised = false;
    return 0;
  }
  if (op.target->hvm) return SetHvmRegisters(*vcpu, handle);
  // Into a place of its own first: a context that is refused changes nothing. One that is taken
  // stays there, and the one before it goes.
  const FrameTable& frames = op.call.core.frames;
  std::uint64_t given_up = op.target->overhead.Allocate(kContextOrder);
  if (given_up == kNoFrame) return -kENOMEM;
  std::byte* const place = frames.Bytes(given_up);
  vcpu_guest_context_t& context = **KeptContextIn(place);
  std::int64_t answer = 0;
  if (!handle.Read(0, context).ok()) {
    answer = -kEFAULT;
  } else {
    answer = TakePvContext(op, *vcpu, context);
  }
  if (answer == 0) {
    FixPvRegisters(context);
    vcpu->initialised = true;
    vcpu->online.store((context.flags & VGCF_online) != 0);
    given_up = vcpu->context == nullptr ? kNoFrame : frames.MfnOfPointer(vcpu->context);
    vcpu->context = place;
  }
  if (given_up != kNoFrame) op.target->overhead.Free(given_up, kContextOrder);
  return answer == PageTypes::kStopped ? op.call.Continue() : answer;
}

std::int64_t GetVcpuContextOp(DomctlCall& op) {
  const xen_domctl_vcpucontext& request = op.argument->u.vcpucontext;
  Vcpu* vcpu = op.target->vcpu(request.vcpu);
  if (vcpu == nullptr || vcpu == &op.call.vcpu) return -kEINVAL;
  if (!vcpu->initialised) return -kENODATA;
  const auto handle = op.argument.Bind(rows::getvcpucontext::ctxt);
  if (op.target->hvm) return GetHvmRegisters(*vcpu, handle);
  KeptContext* kept = MakeKeptContext(op.call.core, *op.target, *vcpu);
  if (kept == nullptr) return -kENOMEM;
  constexpr auto kOnline = static_cast<unsigned long>(VGCF_online);
  (*kept)->flags = ((*kept)->flags & ~kOnline) | (vcpu->online.load() ? kOnline : 0);
  return handle.Write(0, *kept).ok() ? 0 : -kEFAULT;
}

std::int64_t VcpuAffinityOp(DomctlCall& op) {
  xen_domctl_vcpuaffinity& request = op.argument->u.vcpuaffinity;
  if (request.vcpu >= op.target->max_vcpus) return -kEINVAL;
  Vcpu* vcpu = op.target->vcpu(request.vcpu);
  if (vcpu == nullptr) return -kESRCH;
  const bool hard = (request.flags & XEN_VCPUAFFINITY_HARD) != 0;
  const bool soft = (request.flags & XEN_VCPUAFFINITY_SOFT) != 0;
  const bool setting = op.argument->cmd == XEN_DOMCTL_setvcpuaffinity;
  const auto hard_map = op.argument.Bind(rows::setvcpuaffinity::cpumap_hard_bitmap);
  const auto soft_map = op.argument.Bind(rows::setvcpuaffinity::cpumap_soft_bitmap);
  if (request.flags == 0 || (hard && hard_map.is_null()) || (soft && soft_map.is_null())) {
    return -kEINVAL;
  }
  if ((hard && !HasSaneSize(hard_map)) || (soft && !HasSaneSize(soft_map))) return -kE2BIG;
  const unsigned cpus = op.call.core.config.cpus;

  // Xen answers what came of the map that it wrote last.
  std::int64_t answer = 0;
  const auto write = [&](const GuestHandle<std::uint8_t>& map, const CpuMask& mask) {
    answer = WriteCpus(map, mask, cpus) ? 0 : -kEFAULT;
  };
  if (!setting) {
    if (hard) write(hard_map, vcpu->hard_affinity);
    if (soft) write(soft_map, vcpu->soft_affinity);
    return answer;
  }

  const CpuMask online = CpuMask::FirstOf(cpus);
  CpuMask wanted_hard = vcpu->hard_affinity;
  if (hard) {
    if (!ReadCpus(hard_map, request.cpumap_hard.nr_bits, cpus, &wanted_hard)) return -kEFAULT;
    if (!wanted_hard.Intersects(online)) return -kEINVAL;
    // The caller is told what the scheduler will use.
    write(hard_map, wanted_hard.And(online));
  }
  if (soft) {
    CpuMask wanted;
    // An error means that nothing happened.
    if (!ReadCpus(soft_map, request.cpumap_soft.nr_bits, cpus, &wanted)) return -kEFAULT;
    vcpu->soft_affinity = wanted;
    write(soft_map, wanted.And(online).And(wanted_hard));
  }
  if (hard) op.call.core.schedule.Pin(*vcpu, wanted_hard);
  return answer;
}

std::int64_t SchedulerOp(DomctlCall& op) {
  // Weight and cap of a domain under credit2, the only scheduler. Its vcpus have none of their own.
  xen_domctl_scheduler_op& request = op.argument->u.scheduler_op;
  if (request.sched_id != XEN_SCHEDULER_CREDIT2) return -kEINVAL;
  op.copy_back = true;
  switch (request.cmd) {
    case XEN_DOMCTL_SCHEDOP_getinfo:
      request.u.credit2.weight = op.target->sched_weight;
      request.u.credit2.cap = op.target->sched_cap;
      return 0;
    case XEN_DOMCTL_SCHEDOP_putinfo:
      if (request.u.credit2.weight != 0) op.target->sched_weight = request.u.credit2.weight;
      // In per cent of one processor, at most all its vcpus'.
      if (request.u.credit2.cap > 100 * op.target->max_vcpus) return -kEINVAL;
      op.target->sched_cap = request.u.credit2.cap;
      return 0;
    default:
      return -kEINVAL;
  }
}

}  // namespace xencomm::hypervisor
