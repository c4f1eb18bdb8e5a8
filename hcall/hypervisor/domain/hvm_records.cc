#include "hcall/hypervisor/domain/hvm_records.h"

#include <cstring>
#include <iterator>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/hvm_cpu.h"

namespace xencomm::hypervisor {
namespace {

using Of = RecordKind::Of;
using Kept = RecordKind::Kept;

constexpr std::uint16_t kCpu = 2, kPic = 3, kIoapic = 4, kLapic = 5, kLapicRegisters = 6;
constexpr std::uint16_t kPciLink = 9, kPit = 10, kRtc = 11, kHpet = 12, kMtrr = 14;
constexpr std::uint16_t kXsave = 16, kViridianVcpu = 17, kVmce = 18, kMsr = 20;

constexpr RecordKind kKinds[] = {
    {.type = kCpu,
     .bytes = sizeof(hvm_hw_cpu),
     .of = Of::kVcpu,
     .is_padded = true,
     .refusal = kEINVAL},
    {.type = kPic,
     .bytes = 8,
     .of = Of::kDomain,
     .count = 2,
     .device = XEN_X86_EMU_PIC,
     .refusal = kEINVAL},
    {.type = kIoapic,
     .bytes = 400,
     .of = Of::kDomain,
     .device = XEN_X86_EMU_IOAPIC,
     .refusal = kENODATA},
    {.type = kLapic,
     .bytes = 24,
     .of = Of::kVcpu,
     .device = XEN_X86_EMU_LAPIC,
     .is_padded = true,
     .refusal = kEINVAL,
     .bytes_since_4_18 = 32},
    {.type = kLapicRegisters,
     .bytes = 1024,
     .of = Of::kVcpu,
     .device = XEN_X86_EMU_LAPIC,
     .refusal = kEINVAL},
    {.type = 7, .bytes = 16, .of = Of::kDomain, .refusal = kEINVAL},  // PCI_IRQ
    {.type = 8, .bytes = 8, .of = Of::kDomain, .refusal = kEINVAL},   // ISA_IRQ
    {.type = kPciLink, .bytes = 8, .of = Of::kDomain, .refusal = kEINVAL},
    {.type = kPit, .bytes = 56, .of = Of::kDomain, .device = XEN_X86_EMU_PIT, .refusal = kENODATA},
    {.type = kRtc,
     .bytes = 24,
     .of = Of::kDomain,
     .device = XEN_X86_EMU_RTC,
     .is_padded = true,
     .refusal = kEINVAL},
    {.type = kHpet,
     .bytes = 1048,
     .of = Of::kDomain,
     .device = XEN_X86_EMU_HPET,
     .refusal = kEINVAL},
    {.type = 13,
     .bytes = 8,
     .of = Of::kDomain,
     .device = XEN_X86_EMU_PM,
     .refusal = kEINVAL},  // PMTIMER
    {.type = kMtrr, .bytes = 240, .of = Of::kVcpu, .refusal = kEINVAL},
    // VIRIDIAN_DOMAIN: of a guest that knows Hyper-V's interface.
    {.type = 15,
     .bytes = 32,
     .of = Of::kDomain,
     .is_padded = true,
     .refusal = kEINVAL,
     .kept = Kept::kNot},
    {.type = kXsave, .bytes = 24, .of = Of::kVcpu, .kept = Kept::kSizedByItself},
    {.type = kViridianVcpu,
     .bytes = 216,
     .of = Of::kVcpu,
     .is_padded = true,
     .refusal = kEINVAL,
     .kept = Kept::kNot},
    {.type = kVmce, .bytes = 32, .of = Of::kVcpu, .is_padded = true, .refusal = kEPERM},
    {.type = 19, .bytes = 8, .of = Of::kVcpu, .refusal = kEINVAL},  // TSC_ADJUST
    // A head, and MSRs of 16 bytes each: nine, and ten since there is PKRS.
    {.type = kMsr,
     .bytes = 8 + 9 * 16,
     .of = Of::kVcpu,
     .kept = Kept::kSizedByItself,
     .bytes_since_4_18 = 8 + 10 * 16},
};
static_assert(sizeof(kKinds) / sizeof(kKinds[0]) == 19 && kKinds[18].type == HVM_SAVE_CODE_MAX);

constexpr std::uint32_t MostBytes(const RecordKind& kind) {
  return kind.bytes > kind.bytes_since_4_18 ? kind.bytes : kind.bytes_since_4_18;
}

// Whether its bytes lie among a domain's or vcpu's records. Registers have a place of their own.
constexpr bool HasPlace(const RecordKind& kind) {
  return kind.type != kCpu && kind.kept == Kept::kWhole;
}

// Where the first of a kind lies; of no kind, how many bytes all take.
constexpr std::uint32_t PlaceOf(Of of, const RecordKind* end) {
  std::uint32_t at = 0;
  for (const RecordKind* kind = kKinds; kind != end; ++kind) {
    if (kind->of == of && HasPlace(*kind)) at += kind->count * MostBytes(*kind);
  }
  return at;
}
static_assert(PlaceOf(Of::kDomain, std::end(kKinds)) == HvmState::kRecordBytes);
static_assert(PlaceOf(Of::kVcpu, std::end(kKinds)) == HvmVcpu::kRecordBytes);

// Of what there is one, whichever it is said to be.
std::uint32_t PlaceOf(const RecordKind& kind, unsigned instance) {
  return PlaceOf(kind.of, &kind) + (kind.count > 1 ? instance * MostBytes(kind) : 0);
}

// Out of reset, in bytes that are zero: Intel SDM volume 3, "Local APIC" and "MTRR", and the data
// sheets of PIC, I/O APIC, PIT and HPET.
void Reset(const Domain& domain, const RecordKind& kind, unsigned instance, std::uint8_t* to) {
  const auto store = [&]<class T>(std::uint32_t at, T value) {
    StoreField(to + at, value, domain.order);
  };
  switch (kind.type) {
    case kPic:
      if (instance != 0) return;
      store(5, std::uint8_t{0x40});      // the master
      return store(6, std::uint8_t{4});  // the other one's line is level-triggered
    case kIoapic:
      store(0, std::uint64_t{0xfec00000});
      for (std::uint32_t pin = 0; pin < 48; ++pin) store(16 + 8 * pin, std::uint32_t{0x10000});
      return;
    case kLapic:
      store(0, std::uint64_t{0xfee00800} | (instance == 0 ? 0x100u : 0u));
      store(8, std::uint32_t{2});          // disabled by software
      return store(12, std::uint32_t{2});  // the timer's divisor
    case kLapicRegisters:
      store(0x20, std::uint32_t{instance << 25});  // ID: twice the vcpu's number
      store(0x30, std::uint32_t{0x50014});         // version, six local vectors
      store(0xe0, ~std::uint32_t{0});              // flat destinations
      store(0xf0, std::uint32_t{0xff});            // spurious vector, off
      for (std::uint32_t vector = 0x320; vector <= 0x370; vector += 0x10) {
        store(vector, std::uint32_t{0x10000});  // masked
      }
      return;
    case kPit:
      for (std::uint32_t channel = 0; channel < 3; ++channel) {
        store(16 * channel, std::uint32_t{0x10000});                        // all of a count
        store(16 * channel + 13, std::uint8_t{0xff});                       // without a mode
        store(16 * channel + 15, static_cast<std::uint8_t>(channel != 2));  // a speaker's is gated
      }
      return;
    case kRtc:
      // The date is the toolstack's to say. Registers A, B and D: a divider, 24 hours, power.
      store(10, std::uint8_t{0x26});
      store(11, std::uint8_t{0x02});
      return store(13, std::uint8_t{0x80});
    case kHpet:
      store(0, std::uint64_t{0x00f424008086a201});  // 16 ns, three comparators
      for (std::uint32_t timer = 256; timer < 352; timer += 32) {
        store(timer, std::uint64_t{0x00f0000000000030});  // periodic, to the last four lines
        store(timer + 8, ~std::uint64_t{0});
      }
      return;
    case kMtrr:
      store(0, std::uint64_t{0x0007040600070406});  // page attributes
      return store(224, std::uint64_t{0x508});      // eight variable ranges
    case kVmce:
      return store(0, std::uint64_t{2});  // banks
    default:
      return;
  }
}

template <class State>
void ResetAll(const Domain& domain, Of of, unsigned vcpu, State& state) {
  for (const RecordKind& kind : kKinds) {
    if (kind.of != of || !HasPlace(kind)) continue;
    for (unsigned i = 0; i < kind.count; ++i) {
      Reset(domain, kind, kind.of_vcpu() ? vcpu : i, state.records + PlaceOf(kind, i));
    }
  }
}

bool IsThere(const Domain& domain, const RecordKind& kind) {
  return (kind.device & ~domain.emulation_flags) == 0;
}

// Memory types, of MTRRs and of page attributes.
bool IsMemoryType(std::uint64_t type) { return type <= 6 && type != 2 && type != 3; }
bool AreMemoryTypes(std::uint64_t word, bool with_uc_minus) {
  constexpr std::uint64_t kUcMinus = 7;
  for (unsigned shift = 0; shift < 64; shift += 8) {
    const std::uint64_t type = word >> shift & 0xff;
    if (!IsMemoryType(type) && !(with_uc_minus && type == kUcMinus)) return false;
  }
  return true;
}

// MTRRs by their words: what is no value of one leaves it as it was.
class Mtrrs {
 public:
  Mtrrs(std::uint8_t* bytes, ByteOrder order) : bytes_(bytes), order_(order) {}

  std::uint64_t Get(unsigned word) const {
    return LoadField<std::uint64_t>(bytes_ + 8 * word, order_);
  }
  void Set(unsigned word, std::uint64_t value) { StoreField(bytes_ + 8 * word, value, order_); }
  std::uint64_t ranges() const { return Get(kCap) & 0xff; }

  std::int64_t Load(const Mtrrs& given) {
    if (given.ranges() > kMostRanges) return -kEINVAL;
    if (AreMemoryTypes(given.Get(kAttributes), true)) Set(kAttributes, given.Get(kAttributes));
    Set(kCap, given.Get(kCap));
    for (unsigned word = kFixed; word < kCap; ++word) {
      if (AreMemoryTypes(given.Get(word), false)) Set(word, given.Get(word));
    }
    for (unsigned i = 0; i < 2 * ranges(); ++i) {
      // Bases have a type, masks a bit; nothing lies above 48 bits of address.
      const std::uint64_t value = given.Get(kVariable + i);
      const std::uint64_t reserved = ~std::uint64_t{0} << 48 | (i % 2 == 0 ? 0xf00 : 0x7ff);
      if (IsMemoryType(value & 0xff) && (value & reserved) == 0) Set(kVariable + i, value);
    }
    const std::uint64_t standard = given.Get(kDefault);
    if (IsMemoryType(standard & 0xff) && (standard & ~std::uint64_t{0xcff}) == 0) {
      Set(kDefault, standard);
    }
    return 0;
  }
  // In Xen each range is saved as the first one.
  void MakeSaved() {
    for (unsigned i = 0; i < 2 * kMostRanges; ++i) {
      Set(kVariable + i, i < 2 * ranges() ? Get(kVariable + i % 2) : 0);
    }
  }

 private:
  static constexpr unsigned kMostRanges = 8;
  static constexpr unsigned kAttributes = 0, kVariable = 1, kFixed = 17, kCap = 28, kDefault = 29;

  std::uint8_t* bytes_;
  ByteOrder order_;
};

// A head with their number, and 16 bytes each. Of what Xen sends, a processor of ours has one only
// (INTEL_MISC_FEATURES_ENABLES, which can be told that it is to do nothing).
std::int64_t LoadMsrs(const Domain& domain, const GivenRecord& given) {
  constexpr std::uint32_t kHead = 8, kEach = 16, kMiscFeaturesEnables = 0x140;
  if (given.is_cut()) return -kENODATA;
  if (given.length < kHead + kEach) return -kEINVAL;
  const std::uint8_t* const bytes = given.contents.data();
  const auto count = LoadField<std::uint32_t>(bytes, domain.order);
  if (given.length != kHead + std::uint64_t{count} * kEach) return -kEOPNOTSUPP;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (LoadField<std::uint32_t>(bytes + kHead + i * kEach + 4, domain.order) != 0) {
      return -kEOPNOTSUPP;
    }
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint8_t* const msr = bytes + kHead + i * kEach;
    if (LoadField<std::uint32_t>(msr, domain.order) != kMiscFeaturesEnables ||
        LoadField<std::uint64_t>(msr + 8, domain.order) != 0) {
      return -kENXIO;
    }
  }
  return 0;
}

// What a record says beside its length, once it is taken; and what else Xen looks at first.
std::int64_t CheckTaken(const Domain& domain, const RecordKind& kind, const std::uint8_t* taken) {
  switch (kind.type) {
    case kLapic: {
      // Extended, and disabled.
      constexpr std::uint64_t kExtended = 1 << 10, kEnabled = 1 << 11;
      const auto base = LoadField<std::uint64_t>(taken, domain.order);
      return (base & (kExtended | kEnabled)) == kExtended ? -kEINVAL : 0;
    }
    case kPciLink:
      for (unsigned link = 0; link < 4; ++link) {
        if (taken[link] > 15) return -kEINVAL;
      }
      return 0;
    default:
      return 0;
  }
}

// Whose the record is, and that it is there to be loaded.
std::int64_t FindOwner(const Domain& domain, const RecordKind& kind, const GivenRecord& given,
                       Vcpu** vcpu) {
  if (!IsThere(domain, kind)) return -kENODEV;
  if (kind.of_vcpu()) {
    *vcpu = domain.vcpu(given.instance);
    return *vcpu == nullptr ? -kEINVAL : 0;
  }
  // Of what there is one, nobody asks which.
  return kind.count > 1 && given.instance >= kind.count ? -kENOENT : 0;
}

// A record of a length that it may have, filled up.
void Take(const Core& core, const RecordKind& kind, const GivenRecord& given, std::uint8_t* taken) {
  std::memcpy(taken, given.contents.data(), given.length);
  std::memset(taken + given.length, 0, kind.Bytes(core) - given.length);
}

bool HasLength(const Core& core, const RecordKind& kind, const GivenRecord& given) {
  const std::uint32_t bytes = kind.Bytes(core);
  return !given.is_cut() && (kind.is_padded ? given.length <= bytes : given.length == bytes);
}

}  // namespace

std::span<const RecordKind> RecordKinds() { return kKinds; }

const RecordKind* RecordKindOf(std::uint64_t type) {
  return type - kCpu < std::size(kKinds) ? &kKinds[type - kCpu] : nullptr;
}

void ResetRecords(const Domain& domain, HvmState& state) {
  ResetAll(domain, Of::kDomain, 0, state);
}

void ResetRecords(const Vcpu& vcpu, HvmVcpu& state) {
  ResetAll(*vcpu.domain, Of::kVcpu, vcpu.id, state);
}

std::uint32_t SaveRecord(const Core& core, const Domain& domain, const RecordKind& kind,
                         unsigned instance, std::uint8_t* contents) {
  if (!IsThere(domain, kind) || kind.kept != Kept::kWhole) return 0;
  const std::uint32_t bytes = kind.Bytes(core);
  const std::uint8_t* from = nullptr;
  if (kind.of_vcpu()) {
    const Vcpu* vcpu = domain.vcpu(instance);
    if (vcpu == nullptr) return 0;
    const HvmVcpu* state = vcpu->hvm;
    if (kind.type == kCpu) {
      // One that is down is saved as one that is not there. One that is up was given registers.
      if (state == nullptr || !vcpu->online.load(std::memory_order_relaxed)) return 0;
      SaveCpu(*vcpu, *state, contents);
      return bytes;
    }
    if (state != nullptr) from = state->records + PlaceOf(kind, instance);
  } else {
    if (instance >= kind.count) return 0;
    if (domain.hvm_state != nullptr) from = domain.hvm_state->records + PlaceOf(kind, instance);
  }
  if (from != nullptr) {
    std::memcpy(contents, from, bytes);
  } else {
    std::memset(contents, 0, bytes);
    Reset(domain, kind, instance, contents);
  }
  if (kind.type == kMtrr) Mtrrs(contents, domain.order).MakeSaved();
  return bytes;
}

std::int64_t LoadRecord(Core& core, Domain& domain, const GivenRecord& given) {
  const RecordKind* const kind = RecordKindOf(given.type);
  if (kind == nullptr) return -kEINVAL;
  Vcpu* vcpu = nullptr;
  const std::int64_t found = FindOwner(domain, *kind, given, &vcpu);
  if (found != 0) return found;
  if (kind->type == kXsave) return -kEOPNOTSUPP;  // no such processor
  if (kind->type == kMsr) return LoadMsrs(domain, given);
  if (!HasLength(core, *kind, given)) return -kind->refusal;
  if (kind->kept == Kept::kNot) {
    constexpr std::uint32_t kPadding = 9, kPaddingEnd = 16;
    for (std::uint32_t i = kPadding; kind->type == kViridianVcpu && i < kPaddingEnd; ++i) {
      if (i < given.length && given.contents[i] != 0) return -kEINVAL;
    }
    return 0;
  }
  if (kind->type == kCpu) return LoadCpu(core, *vcpu, *vcpu->hvm, given.contents);

  std::uint8_t taken[kMostRecordBytes];
  Take(core, *kind, given, taken);
  std::uint8_t* const records = kind->of_vcpu() ? vcpu->hvm->records : domain.hvm_state->records;
  std::uint8_t* const to = records + PlaceOf(*kind, given.instance);
  if (kind->type == kMtrr) return Mtrrs(to, domain.order).Load(Mtrrs(taken, domain.order));
  if (kind->type == kVmce) {
    // Eight bits of banks and the bit of a control register are everybody's.
    if ((LoadField<std::uint64_t>(taken, domain.order) & ~std::uint64_t{0x1ff}) != 0) {
      return -kEINVAL;
    }
  }
  std::memcpy(to, taken, kind->Bytes(core));
  return CheckTaken(domain, *kind, to);
}

std::int64_t CheckRecord(const Core& core, const Domain& domain, const GivenRecord& given) {
  const RecordKind* const kind = RecordKindOf(given.type);
  if (kind == nullptr) return -kEINVAL;
  if (kind->type != kPic && kind->type != kLapic && kind->type != kLapicRegisters &&
      kind->type != kPciLink && kind->type != kPit) {
    return given.is_cut() ? -kENODATA : 0;
  }
  Vcpu* vcpu = nullptr;
  const std::int64_t found = FindOwner(domain, *kind, given, &vcpu);
  if (found != 0) return found;
  if (!HasLength(core, *kind, given)) return -kENODATA;
  std::uint8_t taken[kMostRecordBytes];
  Take(core, *kind, given, taken);
  return CheckTaken(domain, *kind, taken);
}

}  // namespace xencomm::hypervisor
