// hvm_op (34): parameters of HVM domains, and the time.

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/hvm_context.h"

namespace xencomm::hypervisor {
namespace {

// Parameters that Xen 4.17 no longer knows.
bool IsDeprecated(std::uint32_t index) {
  switch (index) {
    case HVM_PARAM_PAE_ENABLED:
    case HVM_PARAM_DM_DOMAIN:
    case HVM_PARAM_MEMORY_EVENT_CR0:
    case HVM_PARAM_MEMORY_EVENT_CR3:
    case HVM_PARAM_MEMORY_EVENT_CR4:
    case HVM_PARAM_MEMORY_EVENT_INT3:
    case HVM_PARAM_NESTEDHVM:
    case HVM_PARAM_MEMORY_EVENT_SINGLE_STEP:
    case HVM_PARAM_BUFIOREQ_EVTCHN:
    case HVM_PARAM_MEMORY_EVENT_MSR:
      return true;
    default:
      return false;
  }
}

bool GuestMaySet(std::uint32_t index) {
  switch (index) {
    case HVM_PARAM_CALLBACK_IRQ:
    case HVM_PARAM_VM86_TSS:
    case HVM_PARAM_VM86_TSS_SIZED:
    case HVM_PARAM_ACPI_IOPORTS_LOCATION:
    case HVM_PARAM_VM_GENERATION_ID_ADDR:
    case HVM_PARAM_STORE_EVTCHN:
    case HVM_PARAM_CONSOLE_EVTCHN:
    case HVM_PARAM_X87_FIP_WIDTH:
      return true;
    default:
      return false;
  }
}

bool GuestMayGet(std::uint32_t index) {
  switch (index) {
    case HVM_PARAM_STORE_PFN:
    case HVM_PARAM_CONSOLE_PFN:
    case HVM_PARAM_ALTP2M:
      return true;
    default:
      return GuestMaySet(index);
  }
}

bool IsSetOnce(std::uint32_t index) {
  switch (index) {
    case HVM_PARAM_VIRIDIAN:
    case HVM_PARAM_IOREQ_PFN:
    case HVM_PARAM_BUFIOREQ_PFN:
    case HVM_PARAM_IOREQ_SERVER_PFN:
    case HVM_PARAM_NR_IOREQ_SERVER_PAGES:
    case HVM_PARAM_ALTP2M:
    case HVM_PARAM_MCA_CAP:
      return true;
    default:
      return false;
  }
}

// Whether a value makes sense for a parameter.
bool IsValid(std::uint32_t index, std::uint64_t value) {
  constexpr std::uint64_t kTssBytes = 104;  // of a 32-bit TSS
  switch (index) {
    case HVM_PARAM_TIMER_MODE:
      return value <= HVMPTM_one_missed_tick_pending;
    case HVM_PARAM_VIRIDIAN:
      return (value & ~std::uint64_t{HVMPV_feature_mask}) == 0 && (value & HVMPV_base_freq) != 0;
    case HVM_PARAM_ACPI_S_STATE:
      return value == 0 || value == 3;
    case HVM_PARAM_ACPI_IOPORTS_LOCATION:
      return value <= 1;
    case HVM_PARAM_ALTP2M:
      return value <= XEN_ALTP2M_limited;
    case HVM_PARAM_TRIPLE_FAULT_REASON:
      return value <= SHUTDOWN_MAX;
    case HVM_PARAM_NR_IOREQ_SERVER_PAGES:
      return value != 0 && value <= 64;
    case HVM_PARAM_X87_FIP_WIDTH:
      return value == 0 || value == 4 || value == 8;
    case HVM_PARAM_VM86_TSS:
      return value <= ~std::uint32_t{0};
    case HVM_PARAM_MCA_CAP:
      return value == 0;  // no processor of AMD's has local machine checks
    case HVM_PARAM_VM86_TSS_SIZED:
      return value >> 32 >= kTssBytes;
    default:
      return true;
  }
}

std::int64_t SetParam(Call& call, Domain& target, std::uint32_t index, std::uint64_t value) {
  if (IsDeprecated(index)) return -kEINVAL;
  if (&target == &call.domain && !GuestMaySet(index)) return -kEPERM;
  HvmState* state = HvmStateOf(target);
  if (state == nullptr) return -kENOMEM;
  // Later releases are told when the domain is created.
  const bool is_told = (call.core.config.release & schema::kSince4_19) != 0;
  if (index == HVM_PARAM_ALTP2M && is_told) return -kEEXIST;
  const std::uint64_t old = state->params[index];
  if (IsSetOnce(index) && old != 0 && value != old) return -kEEXIST;
  if (index == HVM_PARAM_ACPI_IOPORTS_LOCATION && (target.emulation_flags & XEN_X86_EMU_PM) == 0) {
    return -kENODEV;
  }
  if (!IsValid(index, value)) return -kEINVAL;
  if (index == HVM_PARAM_VM86_TSS) {
    // Its size is what old firmware takes for granted.
    state->params[HVM_PARAM_VM86_TSS_SIZED] = value == 0 ? 0 : value | std::uint64_t{128} << 32;
    return 0;
  }
  // No more than a TSS can have: redirections, and permissions of all ports.
  constexpr std::uint64_t kMostTssBytes = 104 + 0x100 / 8 + 0x10000 / 8 + 1;
  if (index == HVM_PARAM_VM86_TSS_SIZED && value >> 32 > kMostTssBytes) {
    value = static_cast<std::uint32_t>(value) | kMostTssBytes << 32;
  }
  state->params[index] = value;
  return 0;
}

std::int64_t GetParam(Call& call, Domain& target, std::uint32_t index, std::uint64_t* value) {
  if (IsDeprecated(index)) return -kEINVAL;
  if (&target == &call.domain && !GuestMayGet(index)) return -kEPERM;
  HvmState* state = HvmStateOf(target);
  if (state == nullptr) return -kENOMEM;
  if (index == HVM_PARAM_ALTP2M && target.altp2m_mode != 0) {
    *value = target.altp2m_mode;
    return 0;
  }
  *value = index == HVM_PARAM_VM86_TSS
               ? static_cast<std::uint32_t>(state->params[HVM_PARAM_VM86_TSS_SIZED])
               : state->params[index];
  return 0;
}

std::int64_t Param(Call& call, std::uint64_t op) {
  Argument<xen_hvm_param> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_hvm_op, op)) return -kEFAULT;
  if (request->index >= HVM_NR_PARAMS) return -kEINVAL;
  Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  if (!target->hvm) return -kEINVAL;
  if (!call.Controls(*target)) return -kEPERM;
  {
    SpinGuard guard(call.core.control);
    if (target->dying()) return -kESRCH;
    if (op == HVMOP_set_param) return SetParam(call, *target, request->index, request->value);
    std::uint64_t value = 0;
    const std::int64_t error = GetParam(call, *target, request->index, &value);
    if (error != 0) return error;
    request->value = value;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetTime(Call& call) {
  Argument<xen_hvm_get_time> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_hvm_op, HVMOP_get_time)) return -kEFAULT;
  request->now = call.core.machine.NowNanoseconds();
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetMemType(Call& call) {
  Argument<xen_hvm_get_mem_type> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_hvm_op, HVMOP_get_mem_type)) return -kEFAULT;
  const Domain* target = call.FindAny(request->domid);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  if (!target->hvm) return -kEINVAL;
  const P2mEntry entry = target->p2m.Load(request->pfn);
  request->mem_type = entry.writable()   ? HVMMEM_ram_rw
                      : entry.readable() ? HVMMEM_ram_ro
                                         : HVMMEM_mmio_dm;
  return request.Store() ? 0 : -kEFAULT;
}

template <std::uint64_t kOp>
std::int64_t ParamOp(Call& call) {
  return Param(call, kOp);
}

std::int64_t FlushTlbs(Call& call) { return call.frame.arguments[1] == 0 ? 0 : -kEINVAL; }

// Xen 4.17 on a processor without alternate p2m.
constexpr OpTable<Call, HVMOP_altp2m + 1> kOps = {
    {HVMOP_set_param, ParamOp<HVMOP_set_param>},
    {HVMOP_get_param, ParamOp<HVMOP_get_param>},
    {HVMOP_flush_tlbs, FlushTlbs},
    {HVMOP_get_time, GetTime},
    {HVMOP_get_mem_type, GetMemType},
    {HVMOP_altp2m, nullptr, -kEOPNOTSUPP},
};

}  // namespace

OpAnswer AskHvmOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t HvmOp(Call& call) { return kOps.Run(call.frame.arguments[0], call); }

}  // namespace xencomm::hypervisor
