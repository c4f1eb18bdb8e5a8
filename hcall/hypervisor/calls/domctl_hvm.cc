// domctl: the saved state of an HVM domain's hardware.
//
// A domain that was never given one has a header, for each vcpu that is up its registers, and its
// devices as they come out of reset. What sethvmcontext gave is kept and handed out again.

#include <cstring>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/domain/hvm_context.h"
#include "hcall/hypervisor/domain/vcpu_context.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

// Record types and their sizes in bytes, and places in them (public/arch-x86/hvm/save.h).
constexpr std::uint16_t kEnd = 0;
constexpr std::uint16_t kHeader = 1;
constexpr std::uint16_t kCpu = 2;
constexpr std::uint16_t kLapic = 5;
constexpr std::uint16_t kLapicRegisters = 6;
constexpr std::uint16_t kMtrr = 14;
constexpr std::uint16_t kLastRecord = 20;
constexpr std::uint32_t kHeaderBytes = 24;
constexpr std::uint32_t kCpuBytes = 1032;
constexpr std::uint32_t kFileMagic = 0x54381286;
constexpr std::uint32_t kFileVersion = 1;
constexpr std::uint32_t kDescriptorBytes = 8;

// What Xen saves of a domain with a local APIC and no other device, in its order.
struct RecordKind {
  std::uint16_t type;
  std::uint32_t bytes;
  bool of_vcpu;
  std::uint32_t bytes_since_4_18 = bytes;

  std::uint32_t Bytes(const Core& core) const {
    return (core.config.release & schema::kSince4_18) != 0 ? bytes_since_4_18 : bytes;
  }
};
constexpr RecordKind kKinds[] = {
    {kCpu, kCpuBytes, true}, {kLapic, 24, true, 32}, {kLapicRegisters, 1024, true},
    {7, 16, false},                           // PCI_IRQ
    {8, 8, false},                            // ISA_IRQ
    {9, 8, false},                            // PCI_LINK
    {kMtrr, 240, true},      {18, 32, true},  // VMCE_VCPU
    {19, 8, true},                            // TSC_ADJUST
};
constexpr std::uint32_t kMostBytes = kCpuBytes;

// Whether Xen saves records of a type on their own: all but the header and the end, also of devices
// that are not there.
constexpr bool IsSaved(std::uint64_t type) { return type >= kCpu && type <= kLastRecord; }
constexpr bool IsOfVcpu(std::uint64_t type) {
  constexpr std::uint16_t kXsave = 16, kViridianVcpu = 17, kMsr = 20;
  for (const RecordKind& kind : kKinds) {
    if (kind.type == type) return kind.of_vcpu;
  }
  return type == kXsave || type == kViridianVcpu || type == kMsr;
}
static_assert(IsOfVcpu(kMtrr) && !IsOfVcpu(7));

template <class T>
void Store(std::uint8_t* contents, std::uint32_t at, T value, ByteOrder order) {
  StoreField(contents + at, value, order);
}

// A processor with the registers that its context gave, and flat segments.
void FillCpu(std::uint8_t* to, const vcpu_guest_context_t* context, ByteOrder order) {
  constexpr std::uint32_t kRax = 512;  // from here on 64-bit words, in the record's own order
  constexpr std::uint32_t kCsLimit = 768, kTrLimit = 792, kCsRights = 888, kTrRights = 912;
  constexpr std::uint64_t kCr0Et = 0x10;   // always set (Intel SDM volume 3, 2.5)
  constexpr std::uint64_t kCr0Pe = 0x1;    // a vcpu begins in protected mode
  constexpr std::uint64_t kRflagsOne = 2;  // always set
  if (context != nullptr) {
    const cpu_user_regs_t& r = context->user_regs;
    const std::uint64_t words[] = {r.rax,
                                   r.rbx,
                                   r.rcx,
                                   r.rdx,
                                   r.rbp,
                                   r.rsi,
                                   r.rdi,
                                   r.rsp,
                                   r.r8,
                                   r.r9,
                                   r.r10,
                                   r.r11,
                                   r.r12,
                                   r.r13,
                                   r.r14,
                                   r.r15,
                                   r.rip,
                                   r.rflags | kRflagsOne,
                                   context->ctrlreg[0] | kCr0Et | kCr0Pe,
                                   context->ctrlreg[2],
                                   context->ctrlreg[3],
                                   context->ctrlreg[4]};
    std::uint32_t at = kRax;
    for (const std::uint64_t word : words) {
      Store(to, at, word, order);
      at += sizeof(word);
    }
  }
  // A flat code segment, and a busy 32-bit TSS.
  Store(to, kCsLimit, ~std::uint32_t{0}, order);
  Store(to, kCsRights, std::uint32_t{0xc9b}, order);
  Store(to, kTrLimit, std::uint32_t{0xff}, order);
  Store(to, kTrRights, std::uint32_t{0x8b}, order);
}

// Reset values: Intel SDM volume 3, "Local APIC" and "MTRR".
void FillLapicRegisters(std::uint8_t* to, unsigned vcpu, ByteOrder order) {
  Store(to, 0x20, vcpu << 25, order);              // ID: twice the vcpu's number
  Store(to, 0x30, std::uint32_t{0x50014}, order);  // version, six local vectors
  Store(to, 0xe0, ~std::uint32_t{0}, order);       // flat destinations
  Store(to, 0xf0, std::uint32_t{0xff}, order);     // spurious vector, off
  for (std::uint32_t vector = 0x320; vector <= 0x370; vector += 0x10) {
    Store(to, vector, std::uint32_t{0x10000}, order);  // masked
  }
}

void Fill(Core& core, Domain& domain, const RecordKind& kind, unsigned vcpu, std::uint8_t* to) {
  const ByteOrder order = domain.order;
  std::memset(to, 0, kind.Bytes(core));
  switch (kind.type) {
    case kCpu:
      return FillCpu(to, KeptContextOf(core, *domain.vcpu(vcpu)), order);
    case kLapic:
      return Store(to, 0, std::uint64_t{0xfee00800} | (vcpu == 0 ? 0x100u : 0u), order);
    case kLapicRegisters:
      return FillLapicRegisters(to, vcpu, order);
    case kMtrr:
      Store(to, 0, std::uint64_t{0x0007040600070406}, order);  // page attributes
      return Store(to, 224, std::uint64_t{0x508}, order);      // eight variable ranges
    default:
      return;
  }
}

// Calls emit(type, instance, contents) for each record of a domain that was given no state, until
// one answers false.
template <class Emit>
bool ForEachRecord(Core& core, Domain& domain, Emit emit) {
  std::uint8_t contents[kMostBytes];
  std::memset(contents, 0, kHeaderBytes);
  Store(contents, 0, kFileMagic, domain.order);
  Store(contents, 4, kFileVersion, domain.order);
  Store(contents, 16, HostLeaves()[1].a, domain.order);
  Store(contents, 20, kCpuKilohertz, domain.order);
  if (!emit(kHeader, 0u, std::span<const std::uint8_t>(contents, kHeaderBytes))) return false;
  for (const RecordKind& kind : kKinds) {
    const unsigned instances = kind.of_vcpu ? domain.max_vcpus : 1;
    for (unsigned i = 0; i < instances; ++i) {
      const Vcpu* vcpu = domain.vcpu(i);
      if (kind.of_vcpu && vcpu == nullptr) continue;
      if (kind.type == kCpu && !vcpu->online) continue;
      Fill(core, domain, kind, i, contents);
      if (!emit(kind.type, i, std::span<const std::uint8_t>(contents, kind.Bytes(core))))
        return false;
    }
  }
  return emit(kEnd, 0u, std::span<const std::uint8_t>());
}

// Of all records that there can be: vcpus come up.
std::uint32_t MostBytes(const Core& core, const Domain& domain) {
  std::uint32_t bytes = 2 * kDescriptorBytes + kHeaderBytes;
  for (const RecordKind& kind : kKinds) {
    bytes += (kDescriptorBytes + kind.Bytes(core)) * (kind.of_vcpu ? domain.max_vcpus : 1);
  }
  return bytes;
}

// Calls visit(type, instance, contents) for each record up to the end; false when there is none, a
// record passes the end of the bytes, or one visit answers false.
template <class Visit>
bool ForEachGiven(const Domain& domain, std::span<const std::uint8_t> bytes, Visit visit) {
  std::size_t at = 0;
  while (bytes.size() - at >= kDescriptorBytes) {
    const auto type = LoadField<std::uint16_t>(&bytes[at], domain.order);
    const auto instance = LoadField<std::uint16_t>(&bytes[at + 2], domain.order);
    const auto length = LoadField<std::uint32_t>(&bytes[at + 4], domain.order);
    at += kDescriptorBytes;
    if (length > bytes.size() - at) return false;
    if (!visit(type, unsigned{instance}, bytes.subspan(at, length))) return false;
    if (type == kEnd) return true;
    at += length;
  }
  return false;
}

// Whether the bytes are a list of known records that begins with a header and ends with an end.
bool IsWellFormed(const Domain& domain, std::span<const std::uint8_t> bytes) {
  bool first = true;
  return ForEachGiven(
      domain, bytes,
      [&](std::uint16_t type, unsigned instance, std::span<const std::uint8_t> contents) {
        if (first) {
          first = false;
          return type == kHeader && contents.size() == kHeaderBytes &&
                 LoadField<std::uint32_t>(&contents[0], domain.order) == kFileMagic &&
                 LoadField<std::uint32_t>(&contents[4], domain.order) == kFileVersion;
        }
        if (type > kLastRecord) return false;
        return type != kCpu || (contents.size() == kCpuBytes && domain.vcpu(instance) != nullptr);
      });
}

}  // namespace

std::int64_t GetHvmContextOp(DomctlCall& op) {
  xen_domctl_hvmcontext& request = op.argument->u.hvmcontext;
  Domain& target = *op.target;
  op.copy_back = true;
  if (!target.hvm) return -kEINVAL;
  const auto buffer = op.argument.Bind(rows::gethvmcontext::buffer);
  const HvmState* state = target.hvm_state;
  const bool given = state != nullptr && state->context_bytes != 0;
  const std::uint32_t most = MostBytes(op.call.core, target);
  const std::uint32_t bytes = given && state->context_bytes > most ? state->context_bytes : most;
  if (buffer.is_null()) {
    request.size = bytes;
    return 0;
  }
  if (request.size < bytes) return -kENOSPC;
  if (given) {
    request.size = state->context_bytes;
    return buffer.Write(0, state->given()).ok() ? 0 : -kEFAULT;
  }
  std::uint32_t at = 0;
  const bool written = ForEachRecord(
      op.call.core, target, [&](std::uint16_t type, unsigned instance, auto contents) {
        const auto length = static_cast<std::uint32_t>(contents.size());
        std::uint8_t descriptor[kDescriptorBytes];
        Store(descriptor, 0, type, target.order);
        Store(descriptor, 2, static_cast<std::uint16_t>(instance), target.order);
        Store(descriptor, 4, length, target.order);
        const bool ok = buffer.Write(at, std::span<const std::uint8_t>(descriptor)).ok() &&
                        buffer.Write(at + kDescriptorBytes, contents).ok();
        at += kDescriptorBytes + length;
        return ok;
      });
  request.size = at;
  return written ? 0 : -kEFAULT;
}

std::int64_t GetHvmContextPartialOp(DomctlCall& op) {
  xen_domctl_hvmcontext_partial& request = op.argument->u.hvmcontext_partial;
  Domain& target = *op.target;
  op.copy_back = true;
  if (!target.hvm) return -kEINVAL;
  if (!IsSaved(request.type)) return -kEINVAL;
  const bool of_vcpu = IsOfVcpu(request.type);
  if (of_vcpu && target.vcpu(request.instance) == nullptr) return -kENOENT;
  const auto buffer = op.argument.Bind(rows::gethvmcontext_partial::buffer);

  std::int64_t answer = of_vcpu ? -kENODATA : -kENOENT;
  const auto look = [&](std::uint16_t type, unsigned instance,
                        std::span<const std::uint8_t> contents) {
    if (type != request.type || instance != request.instance) return true;
    if (buffer.is_null()) {
      answer = 0;
    } else if (request.bufsz < contents.size()) {
      answer = -kENOBUFS;
    } else {
      answer = buffer.Write(0, contents).ok() ? 0 : -kEFAULT;
    }
    if (buffer.is_null() || answer == 0) request.bufsz = contents.size();
    return false;
  };
  const HvmState* state = target.hvm_state;
  if (state != nullptr && state->context_bytes != 0) {
    ForEachGiven(target, state->given(), look);
  } else {
    ForEachRecord(op.call.core, target, look);
  }
  return answer;
}

std::int64_t SetHvmContextOp(DomctlCall& op) {
  const xen_domctl_hvmcontext& request = op.argument->u.hvmcontext;
  Domain& target = *op.target;
  if (!target.hvm) return -kEINVAL;
  if (request.size < kDescriptorBytes + kHeaderBytes) return -kENODATA;
  if (request.size > HvmState::kMaxContextBytes) return -kENOMEM;
  HvmState* state = HvmStateOf(target);
  auto* incoming = target.overhead.New<std::uint8_t>(request.size);
  if (state == nullptr || incoming == nullptr) {
    target.overhead.Delete(incoming, request.size);
    return -kENOMEM;
  }
  const auto buffer = op.argument.Bind(rows::sethvmcontext::buffer);
  const std::span<std::uint8_t> bytes(incoming, request.size);
  std::int64_t answer = 0;
  if (!buffer.Read(0, bytes).ok()) {
    answer = -kEFAULT;
  } else if (!IsWellFormed(target, bytes)) {
    answer = -kEINVAL;
  }
  if (answer != 0) {
    target.overhead.Delete(incoming, request.size);
    return answer;
  }
  target.overhead.Delete(state->context, state->context_bytes);
  state->context = incoming;
  state->context_bytes = request.size;
  // A vcpu with registers can run.
  ForEachGiven(target, state->given(), [&](std::uint16_t type, unsigned instance, auto) {
    if (type == kCpu) {
      target.vcpu(instance)->initialised = true;
      target.vcpu(instance)->online = true;
    }
    return true;
  });
  return 0;
}

}  // namespace xencomm::hypervisor
