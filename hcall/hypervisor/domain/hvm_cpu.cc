#include "hcall/hypervisor/domain/hvm_cpu.h"

#include <cstddef>
#include <cstring>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/domain_life.h"

namespace xencomm::hypervisor {
namespace {

// Control registers (Intel SDM volume 3, 2.5; AMD APM volume 2, 3.1).
constexpr std::uint64_t kCr0Pe = 1 << 0;
constexpr std::uint64_t kCr0Et = 1 << 4;
constexpr std::uint64_t kCr0Pg = std::uint64_t{1} << 31;
// PE MP EM TS ET NE WP AM NW CD PG.
constexpr std::uint64_t kCr0Known = 0xe005003f;
constexpr std::uint64_t kRflagsOne = 1 << 1;  // always set
constexpr std::uint64_t kEferLme = 1 << 8;
constexpr std::uint64_t kEferLma = 1 << 10;

// A register of CPUID's leaves.
enum class Feature : std::uint8_t { k1d, k1c, k7b, k7c, k7d, kE1d, kE1c };

// Bits of a control register that a feature brings; needs_nested: only in a domain that may run
// virtual machines itself.
struct FeatureBits {
  std::uint64_t bits;
  Feature word;
  std::uint32_t mask;  // one of these bits of the word
  bool needs_nested = false;
};
constexpr FeatureBits kCr4[] = {
    {3 << 0, Feature::k1d, 1 << 1},            // VME PVI
    {1 << 2, Feature::k1d, 1 << 4},            // TSD
    {1 << 3, Feature::k1d, 1 << 2},            // DE
    {1 << 4, Feature::k1d, 1 << 3},            // PSE
    {1 << 5, Feature::k1d, 1 << 6},            // PAE
    {1 << 6, Feature::k1d, 1 << 7 | 1 << 14},  // MCE, by MCE or MCA
    {1 << 7, Feature::k1d, 1 << 13},           // PGE
    {1 << 9, Feature::k1d, 1 << 24},           // OSFXSR
    {1 << 10, Feature::k1d, 1 << 25},          // OSXMMEXCPT
    {1 << 11, Feature::k7c, 1 << 2},           // UMIP
    {1 << 13, Feature::k1c, 1 << 5, true},     // VMXE
    {1 << 16, Feature::k7b, 1 << 0},           // FSGSBASE
    {1 << 17, Feature::k1c, 1 << 17},          // PCIDE
    {1 << 18, Feature::k1c, 1 << 26},          // OSXSAVE
    {1 << 20, Feature::k7b, 1 << 7},           // SMEP
    {1 << 21, Feature::k7b, 1 << 20},          // SMAP
    {1 << 22, Feature::k7c, 1 << 3},           // PKE
    {1 << 23, Feature::k7c, 1 << 7},           // CET, by shadow stacks
    {1 << 23, Feature::k7d, 1 << 20},          // or by branch tracking
};
constexpr std::uint64_t kCr4Pce = 1 << 8;  // without a feature
constexpr FeatureBits kEfer[] = {
    {1 << 0, Feature::kE1d, 1 << 11},               // SCE
    {kEferLme | kEferLma, Feature::kE1d, 1 << 29},  // by long mode
    {1 << 11, Feature::kE1d, 1 << 20},              // NXE
    {1 << 12, Feature::kE1c, 1 << 2, true},         // SVME
    {1 << 14, Feature::kE1d, 1 << 25},              // FFXSR
};

// The first subleaf of a domain's CPUID leaf, or null.
const xen_cpuid_leaf_t* LeafOf(const Domain& domain, std::uint32_t number) {
  for (const xen_cpuid_leaf_t& leaf : LeavesOf(domain.cpu_policy)) {
    if (leaf.leaf == number) return &leaf;
  }
  return nullptr;
}

std::uint32_t WordOf(const Domain& domain, Feature word) {
  const auto of = [&](std::uint32_t number, std::uint32_t xen_cpuid_leaf_t::*part) {
    const xen_cpuid_leaf_t* leaf = LeafOf(domain, number);
    return leaf == nullptr ? 0 : leaf->*part;
  };
  switch (word) {
    case Feature::k1d:
      return of(1, &xen_cpuid_leaf_t::d);
    case Feature::k1c:
      return of(1, &xen_cpuid_leaf_t::c);
    case Feature::k7b:
      return of(7, &xen_cpuid_leaf_t::b);
    case Feature::k7c:
      return of(7, &xen_cpuid_leaf_t::c);
    case Feature::k7d:
      return of(7, &xen_cpuid_leaf_t::d);
    case Feature::kE1d:
      return of(0x80000001, &xen_cpuid_leaf_t::d);
    case Feature::kE1c:
      return of(0x80000001, &xen_cpuid_leaf_t::c);
  }
  return 0;
}

std::uint64_t Allowed(const Domain& domain, std::span<const FeatureBits> features) {
  const bool nested = (domain.options & XEN_DOMCTL_CDF_nested_virt) != 0;
  std::uint64_t allowed = 0;
  for (const FeatureBits& feature : features) {
    if (feature.needs_nested && !nested) continue;
    if ((WordOf(domain, feature.word) & feature.mask) != 0) allowed |= feature.bits;
  }
  return allowed;
}

unsigned PhysicalAddressBits(const Domain& domain) {
  constexpr unsigned kLeast = 36;
  const xen_cpuid_leaf_t* leaf = LeafOf(domain, 0x80000008);
  const unsigned bits = leaf == nullptr ? 0 : leaf->a & 0xff;
  return bits == 0 ? kLeast : bits;
}

bool IsSane(const Domain& domain, const hvm_hw_cpu& cpu) {
  if (cpu.pad0 != 0) return false;
  const bool paging = (cpu.cr0 & kCr0Pg) != 0;
  if ((cpu.cr0 & ~kCr0Known) != 0 || (cpu.cr0 & kCr0Et) == 0) return false;
  if (paging && (cpu.cr0 & kCr0Pe) == 0) return false;
  if ((cpu.cr4 & ~(Allowed(domain, kCr4) | kCr4Pce)) != 0) return false;
  if ((cpu.msr_efer & ~Allowed(domain, kEfer)) != 0) return false;
  if ((cpu.msr_efer & kEferLma) != 0 && ((cpu.msr_efer & kEferLme) == 0 || !paging)) return false;
  const unsigned bits = PhysicalAddressBits(domain);
  if (bits < 64 && cpu.cr3 >> bits != 0) return false;
  return (cpu.flags & ~std::uint32_t{XEN_X86_FPU_INITIALISED}) == 0 &&
         cpu.msr_tsc_aux == static_cast<std::uint32_t>(cpu.msr_tsc_aux);
}

// An event that was to be injected (AMD APM volume 2, 15.20): by hardware, with a short error code.
struct PendingEvent {
  std::uint32_t word;

  static constexpr std::uint32_t kInterrupt = 0, kNmi = 2, kException = 3, kSoftware = 4;
  bool is_valid() const { return word >> 31 != 0; }
  std::uint32_t vector() const { return word & 0xff; }
  std::uint32_t type() const { return word >> 8 & 7; }
  bool is_sane(std::uint32_t error_code) const {
    const bool has_code = (word >> 11 & 1) != 0;
    return type() != 1 && type() <= kSoftware && (word >> 12 & 0x7ffff) == 0 &&
           (!has_code || error_code == static_cast<std::uint16_t>(error_code));
  }
  // Others come by themselves, when their instruction is executed again.
  bool needs_injection() const {
    return type() == kInterrupt || type() == kNmi ||
           (type() == kException && vector() != 3 && vector() != 4);
  }
};

// Segments, in the record's order: CS DS ES FS GS SS, TR, LDTR.
constexpr unsigned kUserSegments = 6, kSegments = 8;
constexpr unsigned kCs = 0, kSs = 5, kTr = 6;
using Word = std::uint32_t hvm_hw_cpu::*;
constexpr Word kSelectors[kSegments] = {
    &hvm_hw_cpu::cs_sel, &hvm_hw_cpu::ds_sel, &hvm_hw_cpu::es_sel, &hvm_hw_cpu::fs_sel,
    &hvm_hw_cpu::gs_sel, &hvm_hw_cpu::ss_sel, &hvm_hw_cpu::tr_sel, &hvm_hw_cpu::ldtr_sel};
constexpr Word kLimits[kSegments] = {
    &hvm_hw_cpu::cs_limit, &hvm_hw_cpu::ds_limit, &hvm_hw_cpu::es_limit, &hvm_hw_cpu::fs_limit,
    &hvm_hw_cpu::gs_limit, &hvm_hw_cpu::ss_limit, &hvm_hw_cpu::tr_limit, &hvm_hw_cpu::ldtr_limit};
constexpr Word kRights[kSegments] = {&hvm_hw_cpu::cs_arbytes, &hvm_hw_cpu::ds_arbytes,
                                     &hvm_hw_cpu::es_arbytes, &hvm_hw_cpu::fs_arbytes,
                                     &hvm_hw_cpu::gs_arbytes, &hvm_hw_cpu::ss_arbytes,
                                     &hvm_hw_cpu::tr_arbytes, &hvm_hw_cpu::ldtr_arbytes};

// A segment's rights as the processor has them, which says some bits itself.
std::uint32_t RightsOf(unsigned segment, std::uint32_t rights, std::uint32_t limit) {
  constexpr std::uint32_t kAccessed = 1 << 0, kBusy = 1 << 1, kUser = 1 << 4, kPresent = 1 << 7;
  constexpr std::uint32_t kDefaultBig = 1 << 10, kGranular = 1 << 11;
  // Old states have the upper four where VT-x has them.
  if ((rights & 0xf000) != 0 && (rights & 0x0f00) == 0) {
    rights = (rights & 0xff) | (rights >> 4 & 0xf00);
  }
  rights &= 0xffff;
  if (segment == kTr) rights |= kBusy;
  if (segment == kCs || segment == kTr) rights |= kPresent;
  if ((rights & kPresent) == 0) return segment == kSs ? rights & ~kDefaultBig : rights;
  rights &= ~(kUser | kGranular);
  if (limit >> 20 != 0) rights |= kGranular;
  return segment < kUserSegments ? rights | kUser | kAccessed : rights;
}

// The general registers, where a record and a context have them.
constexpr struct {
  std::uint64_t hvm_hw_cpu::*record;
  std::uint64_t cpu_user_regs_t::*context;
} kGeneral[] = {
    {&hvm_hw_cpu::rax, &cpu_user_regs_t::rax}, {&hvm_hw_cpu::rbx, &cpu_user_regs_t::rbx},
    {&hvm_hw_cpu::rcx, &cpu_user_regs_t::rcx}, {&hvm_hw_cpu::rdx, &cpu_user_regs_t::rdx},
    {&hvm_hw_cpu::rbp, &cpu_user_regs_t::rbp}, {&hvm_hw_cpu::rsi, &cpu_user_regs_t::rsi},
    {&hvm_hw_cpu::rdi, &cpu_user_regs_t::rdi}, {&hvm_hw_cpu::rsp, &cpu_user_regs_t::rsp},
    {&hvm_hw_cpu::r8, &cpu_user_regs_t::r8},   {&hvm_hw_cpu::r9, &cpu_user_regs_t::r9},
    {&hvm_hw_cpu::r10, &cpu_user_regs_t::r10}, {&hvm_hw_cpu::r11, &cpu_user_regs_t::r11},
    {&hvm_hw_cpu::r12, &cpu_user_regs_t::r12}, {&hvm_hw_cpu::r13, &cpu_user_regs_t::r13},
    {&hvm_hw_cpu::r14, &cpu_user_regs_t::r14}, {&hvm_hw_cpu::r15, &cpu_user_regs_t::r15},
    {&hvm_hw_cpu::rip, &cpu_user_regs_t::rip}, {&hvm_hw_cpu::rflags, &cpu_user_regs_t::rflags},
};

// The debug registers that there are.
constexpr struct {
  std::uint64_t hvm_hw_cpu::*record;
  unsigned number;
} kDebug[] = {{&hvm_hw_cpu::dr0, 0}, {&hvm_hw_cpu::dr1, 1}, {&hvm_hw_cpu::dr2, 2},
              {&hvm_hw_cpu::dr3, 3}, {&hvm_hw_cpu::dr6, 6}, {&hvm_hw_cpu::dr7, 7}};

// An x87 and SSE unit out of reset: its control word, and MXCSR with all exceptions masked.
void ResetFpu(hvm_hw_cpu& cpu, std::uint16_t control, ByteOrder order) {
  constexpr std::size_t kMxcsr = 24;
  std::memset(cpu.fpu_regs, 0, sizeof(cpu.fpu_regs));
  StoreField(cpu.fpu_regs, control, order);
  StoreField(cpu.fpu_regs + kMxcsr, std::uint32_t{0x1f80}, order);
}

// Between the orders: words of eight and of four bytes, in turns.
void SwapCpu(std::uint8_t* record) {
  constexpr struct {
    std::size_t end, word;
  } kParts[] = {{offsetof(hvm_hw_cpu, rax), 1},
                {offsetof(hvm_hw_cpu, cs_sel), 8},
                {offsetof(hvm_hw_cpu, cs_base), 4},
                {offsetof(hvm_hw_cpu, cs_arbytes), 8},
                {offsetof(hvm_hw_cpu, sysenter_cs), 4},
                {offsetof(hvm_hw_cpu, pending_event), 8},
                {sizeof(hvm_hw_cpu), 4}};
  std::size_t at = 0;
  for (const auto& [end, word] : kParts) {
    for (; at != end; at += word) {
      for (std::size_t i = 0; i != word / 2; ++i) {
        const std::uint8_t byte = record[at + i];
        record[at + i] = record[at + word - 1 - i];
        record[at + word - 1 - i] = byte;
      }
    }
  }
}

}  // namespace

void ResetCpu(HvmVcpu& state) {
  hvm_hw_cpu& cpu = state.cpu;
  cpu.cr0 = kCr0Pe | kCr0Et;
  // Flat segments, and a busy 32-bit TSS.
  for (unsigned i = 0; i < kUserSegments; ++i) {
    cpu.*kLimits[i] = ~std::uint32_t{0};
    cpu.*kRights[i] = i == kCs ? 0xc9b : 0xc93;
  }
  cpu.tr_limit = 0xff;
  cpu.tr_arbytes = 0x8b;
}

std::int64_t LoadCpu(Core& core, Vcpu& vcpu, HvmVcpu& state, std::span<const std::uint8_t> record) {
  const ByteOrder order = vcpu.domain->order;
  // Before there was msr_tsc_aux, and flags.
  constexpr std::size_t kOldBytes = offsetof(hvm_hw_cpu, flags) - sizeof(hvm_hw_cpu::msr_tsc_aux);
  constexpr std::size_t kOldTail = offsetof(hvm_hw_cpu, msr_tsc_aux);
  std::uint8_t bytes[sizeof(hvm_hw_cpu)] = {};
  std::memcpy(bytes, record.data(), record.size());
  if (record.size() == kOldBytes) {
    std::memmove(bytes + offsetof(hvm_hw_cpu, tsc), bytes + kOldTail, kOldBytes - kOldTail);
    std::memset(bytes + kOldTail, 0, sizeof(hvm_hw_cpu::msr_tsc_aux));
  }
  if (order != kNativeOrder) SwapCpu(bytes);
  hvm_hw_cpu given;
  std::memcpy(static_cast<void*>(&given), bytes, sizeof(given));
  if (record.size() < sizeof(given)) given.flags = XEN_X86_FPU_INITIALISED;
  if (!IsSane(*vcpu.domain, given)) return -kEINVAL;

  const PendingEvent pending = {given.pending_event};
  if (pending.is_valid() && !pending.is_sane(given.error_code)) {
    // Too late to go back, for Xen.
    state.cpu.shadow_gs = given.shadow_gs;
    state.cpu.msr_lstar = given.msr_lstar;
    state.cpu.msr_star = given.msr_star;
    state.cpu.msr_cstar = given.msr_cstar;
    state.cpu.msr_syscall_mask = given.msr_syscall_mask;
    state.cpu.msr_efer = given.msr_efer;
    ShutDown(core, *vcpu.domain, SHUTDOWN_crash);
    return -kEINVAL;
  }
  if (!pending.is_valid() || !pending.needs_injection()) given.pending_event = given.error_code = 0;
  given.msr_flags = 0;                                // nobody's any more
  given.dr6 = static_cast<std::uint32_t>(given.dr6);  // all that Xen keeps
  for (unsigned i = 0; i < kSegments; ++i) {
    given.*kSelectors[i] &= 0xffff;
    given.*kRights[i] = RightsOf(i, given.*kRights[i], given.*kLimits[i]);
  }
  if ((given.flags & XEN_X86_FPU_INITIALISED) == 0) ResetFpu(given, 0x40, order);
  given.rflags |= kRflagsOne;
  for (const auto& each : kGeneral) state.user_regs.*each.context = given.*each.record;
  state.cpu = given;
  vcpu.initialised = true;
  vcpu.online.store(true);
  return 0;
}

void SaveCpu(const Vcpu& vcpu, const HvmVcpu& state, std::uint8_t* record) {
  hvm_hw_cpu cpu = state.cpu;
  if (!state.has_fpu()) std::memset(cpu.fpu_regs, 0, sizeof(cpu.fpu_regs));
  for (const auto& each : kGeneral) cpu.*each.record = state.user_regs.*each.context;
  std::memcpy(record, &cpu, sizeof(cpu));
  if (vcpu.domain->order != kNativeOrder) SwapCpu(record);
}

std::int64_t TakeContext(Vcpu& vcpu, HvmVcpu& state, const vcpu_guest_context_t& context) {
  constexpr std::uint64_t kAssists = 1 << 5;  // VMASST_TYPE_runstate_update_flag
  hvm_hw_cpu& cpu = state.cpu;
  if ((context.flags & VGCF_i387_valid) != 0) {
    std::memcpy(cpu.fpu_regs, context.fpu_ctxt.x, sizeof(cpu.fpu_regs));
    cpu.flags |= XEN_X86_FPU_INITIALISED;
  } else {
    ResetFpu(cpu, 0x37f, vcpu.domain->order);
    cpu.flags &= ~std::uint32_t{XEN_X86_FPU_INITIALISED};
  }
  state.user_regs = context.user_regs;
  if (vcpu.id == 0 && (context.vm_assist & ~kAssists) != 0) return -kEINVAL;
  for (const auto& each : kDebug) cpu.*each.record = context.debugreg[each.number];
  cpu.dr6 = static_cast<std::uint32_t>(cpu.dr6);
  state.vm_assist = context.vm_assist;
  vcpu.online.store((context.flags & VGCF_online) != 0);
  return 0;
}

void TellContext(const Vcpu& vcpu, const HvmVcpu& state, vcpu_guest_context_t& context) {
  const hvm_hw_cpu& cpu = state.cpu;
  std::memcpy(context.fpu_ctxt.x, cpu.fpu_regs, sizeof(cpu.fpu_regs));
  context.flags = (state.has_fpu() ? VGCF_i387_valid : 0) |
                  (vcpu.online.load(std::memory_order_relaxed) ? VGCF_online : 0);
  context.user_regs = state.user_regs;
  context.user_regs.cs = static_cast<std::uint16_t>(cpu.cs_sel);
  context.user_regs.ss = static_cast<std::uint16_t>(cpu.ss_sel);
  context.user_regs.ds = static_cast<std::uint16_t>(cpu.ds_sel);
  context.user_regs.es = static_cast<std::uint16_t>(cpu.es_sel);
  context.user_regs.fs = static_cast<std::uint16_t>(cpu.fs_sel);
  context.user_regs.gs = static_cast<std::uint16_t>(cpu.gs_sel);
  context.ctrlreg[0] = cpu.cr0;
  context.ctrlreg[2] = cpu.cr2;
  context.ctrlreg[3] = cpu.cr3;
  context.ctrlreg[4] = cpu.cr4;
  for (const auto& each : kDebug) context.debugreg[each.number] = cpu.*each.record;
  context.fs_base = cpu.fs_base;
  const bool in_kernel = (cpu.cs_sel & 3) == 0;
  context.gs_base_kernel = in_kernel ? cpu.gs_base : cpu.shadow_gs;
  context.gs_base_user = in_kernel ? cpu.shadow_gs : cpu.gs_base;
  const HvmVcpu* first = vcpu.domain->vcpu(0)->hvm;
  context.vm_assist = first == nullptr ? 0 : first->vm_assist;
}

}  // namespace xencomm::hypervisor
