// A hostile program: what it tries by itself, the kernel must refuse; what it could do with a
// kernel gone wrong (kSysForgeHypercall, kSysPoke), the hypervisor must. Each refusal has its
// errno, and the other process, whose region is the target, is unharmed and still served.

#include <string.h>

#include "arch.h"
#include "hcall/hypervisor/base/errno.h"
#include "hcall/schema/generated/xen.h"
#include "tests/qemu/runtime/platform_call.h"
#include "tests/qemu/user/hostile.h"
#include "tests/qemu/user/worlds.h"
#include "xencomm/hypercall.h"

namespace qemu {

Checks checks;

namespace {

using xencomm::Access;
using xencomm::kNativeOrder;
using xencomm::PhysicalAddress;
using xencomm::RegionHandle;
using xencomm::RegionLayout;
using xencomm::XencommOp;
using xencomm::hypervisor::kEFAULT;
using xencomm::hypervisor::kEINVAL;
using xencomm::hypervisor::kENOENT;
using xencomm::hypervisor::kEPERM;

// A region whose last granules are not backed.
struct Target {
  RegionLayout layout;
  uint64_t granules;
  uint64_t number;
  uint64_t payload;     // address of its first byte
  uint64_t backed_end;  // address
};

constexpr uint64_t kUnbacked = 2;

// So many that the table takes two granules, where that is not too much memory.
constexpr uint64_t Granules(unsigned shift) { return shift == 12 ? 600 : 40; }

Target MakeTarget(uint64_t address, unsigned shift, RegionKind kind) {
  const uint64_t granules = Granules(shift);
  const auto layout = RegionLayout::Make({address}, granules << shift, shift);
  const uint64_t number = SystemCall(kSysCreateRegion, address, layout->length(), shift, kind);
  const uint64_t table = layout->table_granules();
  const uint64_t end = granules - kUnbacked;
  checks.ExpectEqual("TargetIsBacked",
                     Signed(SystemCall(kSysBackRegion, number, table, end - table)), 0);
  return {*layout, granules, number, address + layout->payload_offset(), address + (end << shift)};
}

// The answer of a call that writes a text to `pointer`.
int64_t WriteTo(const Target& target, uint64_t pointer) {
  return Signed(SystemCall(kSysHypercall, __HYPERVISOR_xen_version, XENVER_extraversion, pointer, 0,
                           0, 0, target.number));
}

// The same with a region handle of the program's choice.
int64_t ForgeTo(uint64_t pointer, uint64_t handle) {
  return Signed(SystemCall(kSysForgeHypercall, arch::kRegionOptIn | __HYPERVISOR_xen_version,
                           XENVER_extraversion, pointer, 0, 0, 0, handle));
}

int64_t Register(uint64_t header, Access access = Access::kWrite) {
  return Signed(SystemCall(kSysForgeHypercall, xencomm::kXencommOp,
                           static_cast<uint64_t>(XencommOp::kRegister), header,
                           static_cast<uint64_t>(access)));
}

int64_t Unregister(int64_t handle) {
  return Signed(SystemCall(kSysForgeHypercall, xencomm::kXencommOp,
                           static_cast<uint64_t>(XencommOp::kUnregister),
                           static_cast<uint64_t>(handle)));
}

// A list of domains whose buffer lies at `buffer`, room for `count`.
int64_t ListTo(const Target& target, uint64_t buffer, uint32_t count) {
  auto* list = reinterpret_cast<xen_sysctl*>(target.payload);
  memset(list, 0, sizeof(*list));
  list->cmd = XEN_SYSCTL_getdomaininfolist;
  list->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  list->u.getdomaininfolist.max_domains = count;
  memcpy(&list->u.getdomaininfolist.buffer, &buffer, sizeof(buffer));
  return Signed(
      SystemCall(kSysHypercall, __HYPERVISOR_sysctl, target.payload, 0, 0, 0, 0, target.number));
}

void TryTheTable(const char* kind, const Target& target) {
  const uint64_t base = target.layout.virtual_base().value;
  Print("hostile: ", kind, "\n");
  const uint64_t handle = Physical(base);
  const uint64_t first_base = SystemCall(kSysPeek, handle + xencomm::BaseOffset(0));
  checks.ExpectEqual("OutputIntoTheHeaderIsRefused", WriteTo(target, base), -kEFAULT);
  checks.ExpectEqual("OutputIntoTheBasesIsRefused", WriteTo(target, base + xencomm::BaseOffset(5)),
                     -kEFAULT);
  checks.ExpectEqual("OutputAcrossTheTablesEndIsRefused",
                     WriteTo(target, target.payload - kPayload / 2), -kEFAULT);
  checks.ExpectEqual("OutputJustBehindTheTableIsServed", WriteTo(target, target.payload), 0);
  checks.Expect("TableIsUnchanged",
                SystemCall(kSysPeek, handle + xencomm::BaseOffset(0)) == first_base);
  checks.ExpectEqual("NestedOutputIntoTheTableIsRefused", ListTo(target, base + 64, 1), -kEFAULT);

  const uint64_t end = base + target.layout.length();
  checks.ExpectEqual("UnbackedGranuleIsRefused", WriteTo(target, target.backed_end), -kEFAULT);
  checks.ExpectEqual("OutputAcrossIntoUnbackedIsRefused",
                     WriteTo(target, target.backed_end - kPayload / 2), -kEFAULT);
  checks.ExpectEqual("OutputUpToTheLastBackedByteIsServed",
                     WriteTo(target, target.backed_end - kPayload), 0);
  checks.ExpectEqual("OutputAtTheRegionsEndIsRefused", WriteTo(target, end), -kEFAULT);
  checks.ExpectEqual("OutputAcrossTheRegionsEndIsRefused", WriteTo(target, end - 1), -kEFAULT);
  checks.ExpectEqual("OutputBelowTheRegionIsRefused", WriteTo(target, base - 1), -kEFAULT);
  checks.ExpectEqual("PointerThatWrapsIsRefused", WriteTo(target, ~uint64_t{0} - 3), -kEFAULT);
  checks.ExpectEqual("KernelAddressIsRefused", WriteTo(target, 0x4000), -kEFAULT);

  checks.ExpectEqual("NestedArrayIntoUnbackedIsRefused",
                     ListTo(target, target.backed_end - sizeof(xen_domctl_getdomaininfo_t) + 8, 1),
                     -kEFAULT);
  checks.ExpectEqual("NestedArrayThatWrapsIsRefused", ListTo(target, ~uint64_t{0} - 7, ~0u),
                     -kEFAULT);
  checks.ExpectEqual("NestedArrayOfNothingIsNotLookedAt", ListTo(target, 0xdead, 0), 0);
  checks.ExpectEqual("HypervisorStillServes", ListTo(target, target.payload + 4096, 2), 0);
}

void TryTheKernel(const Target& target, unsigned shift) {
  checks.ExpectEqual("RegionThatItDoesNotHaveIsRefused",
                     Signed(SystemCall(kSysHypercall, __HYPERVISOR_xen_version, XENVER_extraversion,
                                       target.payload, 0, 0, 0, 12)),
                     -kENOENT);
  const uint64_t granule = uint64_t{1} << shift;
  checks.ExpectEqual("RegionOverAnotherIsRefused",
                     Signed(SystemCall(kSysCreateRegion, target.layout.virtual_base().value,
                                       granule * 4, shift, kRegionRegistered)),
                     -kEINVAL);
  checks.ExpectEqual(
      "RegionOverTheProgramIsRefused",
      Signed(SystemCall(kSysCreateRegion, 0x10000000, granule * 4, shift, kRegionRegistered)),
      -kEINVAL);
  checks.ExpectEqual("RegionOverTheKernelIsRefused",
                     Signed(SystemCall(kSysCreateRegion, 0, granule * 4, shift, kRegionRegistered)),
                     -kEINVAL);
  checks.ExpectEqual("RegionThatWrapsIsRefused",
                     Signed(SystemCall(kSysCreateRegion, uint64_t{0} - granule * 2, granule * 4,
                                       shift, kRegionRegistered)),
                     -kEINVAL);
  checks.ExpectEqual(
      "GranuleOfLessThanAPageIsRefused",
      Signed(SystemCall(kSysCreateRegion, 0x2f000000, granule * 4, 11, kRegionRegistered)),
      -kEINVAL);
  checks.ExpectEqual("BackingTheTableIsRefused",
                     Signed(SystemCall(kSysBackRegion, target.number, 0, 1)), -kEINVAL);
  checks.ExpectEqual(
      "BackingTwiceIsRefused",
      Signed(SystemCall(kSysBackRegion, target.number, target.granules - kUnbacked - 1, 1)),
      -kEINVAL);
  checks.ExpectEqual("BackingBeyondTheEndIsRefused",
                     Signed(SystemCall(kSysBackRegion, target.number, target.granules, 1)),
                     -kEINVAL);
  if (kCanCallHypervisorDirectly) {
    checks.ExpectEqual("HypercallWithoutTheKernelIsRefused",
                       HypercallWithoutKernel(__HYPERVISOR_xen_version, XENVER_version), -kEPERM);
  }
}

// What registers, extends and ends regions, and the machine's own calls, by the plain way of a
// hypercall and as entries of a list.
void TryTheKernelsCalls(const Target& target) {
  const uint64_t own = SystemCall(kSysRegionHandle, target.number);
  const auto op = [](XencommOp each) { return static_cast<uint64_t>(each); };
  const uint64_t header = Physical(target.layout.virtual_base().value);
  auto* entries = reinterpret_cast<multicall_entry_t*>(target.payload);
  for (const uint64_t disguise : {uint64_t{0}, xencomm::kRegionCall, uint64_t{1} << 32}) {
    const uint64_t index = xencomm::kXencommOp | disguise;
    for (const uint64_t region : {kNoRegion, target.number}) {
      checks.ExpectEqual("UnregisteringIsTheKernels",
                         Signed(SystemCall(kSysHypercall, index, op(XencommOp::kUnregister), own, 0,
                                           0, 0, region)),
                         -kEPERM);
      checks.ExpectEqual("RegisteringIsTheKernels",
                         Signed(SystemCall(kSysHypercall, index, op(XencommOp::kRegister), header,
                                           1, 0, 0, region)),
                         -kEPERM);
      checks.ExpectEqual("ExtendingIsTheKernels",
                         Signed(SystemCall(kSysHypercall, index, op(XencommOp::kExtend), own,
                                           target.granules - 1, 1, 0, region)),
                         -kEPERM);
    }
    // Also by a kernel that passes on what it is given.
    for (const SystemCallNumber call : {kSysHypercall, kSysForgeHypercall}) {
      memset(entries, 0, 2 * sizeof(*entries));
      entries[0] = {index, 0, {op(XencommOp::kUnregister), own}};
      entries[1] = {__HYPERVISOR_xen_version, 0, {XENVER_version}};
      const bool forged = call == kSysForgeHypercall;
      checks.ExpectEqual(
          "ListIsServed",
          Signed(SystemCall(call, __HYPERVISOR_multicall | (forged ? arch::kRegionOptIn : 0),
                            target.payload, 2, 0, 0, 0, forged ? own : target.number)),
          0);
      checks.ExpectEqual("UnregisteringInAListIsTheKernels", Signed(entries[0].result), -kEPERM);
      checks.Expect("RestOfTheListIsServed", entries[1].result == (4 << 16 | 17));
    }
  }
  for (const uint64_t bit : {uint64_t{0}, xencomm::kRegionCall}) {
    checks.ExpectEqual(
        "EndingTheMachineIsTheKernels",
        Signed(SystemCall(kSysHypercall, PLATFORM_EXIT | bit, 0, 0, 0, 0, 0, kNoRegion)), -kEPERM);
    // What a program has set of the bit means nothing, with a region and without.
    checks.ExpectEqual(
        "BitOfTheProgramsIsReplaced",
        Signed(SystemCall(kSysHypercall, __HYPERVISOR_xen_version | bit, XENVER_extraversion,
                          target.payload, 0, 0, 0, target.number)),
        0);
    checks.ExpectEqual("BitOfTheProgramsOptsIntoNothing",
                       Signed(SystemCall(kSysHypercall, __HYPERVISOR_xen_version | bit,
                                         XENVER_version, 0, 0, 0, 0, kNoRegion)),
                       4 << 16 | 17);
  }
  checks.ExpectEqual("RegionIsStillServed", WriteTo(target, target.payload), 0);
}

// Region handles that are not this program's, as a kernel gone wrong would pass them.
void TryHandles(const Target& target) {
  const uint64_t own = SystemCall(kSysRegionHandle, target.number);
  checks.ExpectEqual("OwnHandleIsServed", ForgeTo(target.payload, own), 0);
  checks.ExpectEqual("IdOfNobodyIsRefused",
                     ForgeTo(target.payload, RegionHandle::Registered(4000).value()), -kEFAULT);
  checks.ExpectEqual("IdOfMoreBitsIsRefused", ForgeTo(target.payload, own | uint64_t{1} << 40),
                     -kEFAULT);
  checks.ExpectEqual("NoHandleIsRefused", ForgeTo(target.payload, 0), -kEFAULT);
  checks.ExpectEqual("UnalignedHeaderIsRefused",
                     ForgeTo(target.payload, Physical(target.payload) + 8), -kEFAULT);
  checks.ExpectEqual("HeaderOutsideTheDomainIsRefused", ForgeTo(target.payload, uint64_t{1} << 40),
                     -kEFAULT);
  checks.ExpectEqual("HeaderThatIsNoneIsRefused",
                     ForgeTo(target.payload, Physical(target.payload + 4096) & ~uint64_t{0xfff}),
                     -kEFAULT);
}

// Writes a header and its bases into a page of the program's own.
class Forger {
 public:
  // `page` is a whole page of the program's, granule-aligned in guest-physical memory.
  explicit Forger(uint64_t page, unsigned shift) : page_(page), shift_(shift) { Reset(); }

  void Reset() {
    const auto layout = RegionLayout::Make({kAddress}, uint64_t{4} << shift_, shift_);
    layout->Store(bytes(), kNativeOrder);
    SetBase(0, handle());
    for (uint64_t i = 1; i < 4; ++i) SetBase(i, xencomm::kNotBackedBase);
  }
  void SetBase(uint64_t index, uint64_t base) {
    xencomm::StoreField(bytes() + xencomm::BaseOffset(index), base, kNativeOrder);
  }
  template <class T>
  void SetField(uint64_t offset, T value) {
    xencomm::StoreField(bytes() + offset, value, kNativeOrder);
  }

  std::byte* bytes() const { return reinterpret_cast<std::byte*>(page_); }
  uint64_t handle() const { return Physical(page_); }

  static constexpr uint64_t kAddress = 0x3a000000;
  uint64_t payload() const { return kAddress + (uint64_t{1} << shift_); }

 private:
  uint64_t page_;
  unsigned shift_;
};

void ForgeHeaders(const Target& target, unsigned shift) {
  const uint64_t page = target.payload + (uint64_t{8} << shift);
  Forger forger(page, shift);
  const uint64_t own_frame = Physical(page + (uint64_t{1} << shift));

  const int64_t bare = Register(forger.handle());
  checks.Expect("RegisteringABareHeaderWorks", bare > 0);
  checks.ExpectEqual("BareHeaderUnregisters", Unregister(bare), 0);

  struct Row {
    const char* name;
    uint64_t offset;
    uint64_t value;
    unsigned size;
  };
  const Row rows[] = {
      {"MagicOfTheOtherOrderIsRefused", 0, 0x47524358, 4},
      {"OtherMagicIsRefused", 0, 0x58435246, 4},
      {"OtherVersionIsRefused", 4, 2, 2},
      {"SmallGranuleIsRefused", 6, 11, 1},
      {"HugeGranuleIsRefused", 6, 31, 1},
      {"UnknownFlagIsRefused", 7, 1, 1},
      {"MisalignedBaseIsRefused", 8, 0x3a000800, 8},
      {"RegionThatPasses2To64IsRefused", 8, uint64_t{0} - (uint64_t{1} << shift), 8},
      {"NoLengthIsRefused", 16, 0, 8},
      {"UnevenLengthIsRefused", 16, (uint64_t{4} << shift) + 1, 8},
      {"HugeLengthIsRefused", 16, uint64_t{1} << 63, 8},
      {"OtherCountIsRefused", 24, 5, 4},
      {"ReservedFieldIsRefused", 28, 1, 4},
  };
  for (const Row& row : rows) {
    forger.Reset();
    switch (row.size) {
      case 1:
        forger.SetField(row.offset, static_cast<uint8_t>(row.value));
        break;
      case 2:
        forger.SetField(row.offset, static_cast<uint16_t>(row.value));
        break;
      case 4:
        forger.SetField(row.offset, static_cast<uint32_t>(row.value));
        break;
      default:
        forger.SetField(row.offset, row.value);
    }
    checks.ExpectEqual(row.name, Register(forger.handle()), -kEINVAL);
    checks.ExpectEqual(row.name, ForgeTo(forger.payload(), forger.handle()), -kEFAULT);
  }

  forger.Reset();
  forger.SetBase(0, own_frame);
  checks.ExpectEqual("HeaderThatIsNotItsFirstBaseIsRefused", Register(forger.handle()), -kEINVAL);
  forger.Reset();
  forger.SetBase(1, uint64_t{1} << 40);
  checks.ExpectEqual("BaseOutsideTheDomainIsRefused", Register(forger.handle()), -kEFAULT);
  checks.ExpectEqual("StatelessBaseOutsideTheDomainIsRefused",
                     ForgeTo(forger.payload(), forger.handle()), -kEFAULT);
  forger.SetBase(1, ~uint64_t{0} << shift);
  checks.ExpectEqual("BaseAt2To64IsRefused", Register(forger.handle()), -kEFAULT);
  forger.SetBase(1, own_frame + 8);
  checks.ExpectEqual("MisalignedPayloadBaseIsRefused", Register(forger.handle()), -kEFAULT);
  checks.ExpectEqual("StatelessMisalignedPayloadBaseIsRefused",
                     ForgeTo(forger.payload(), forger.handle()), -kEFAULT);
  forger.Reset();
  checks.ExpectEqual("OtherAccessIsRefused", Register(forger.handle(), static_cast<Access>(2)),
                     -kEINVAL);
}

// After registration the table is the guest's business alone.
void ChangeTheTable(const Target& target, unsigned shift) {
  const uint64_t page = target.payload + (uint64_t{10} << shift);
  Forger forger(page, shift);
  const uint64_t first = target.payload + (uint64_t{11} << shift);
  const uint64_t second = target.payload + (uint64_t{12} << shift);
  forger.SetBase(1, Physical(first));
  const int64_t handle = Register(forger.handle());
  checks.Expect("ForgedRegionRegisters", handle > 0);
  memset(reinterpret_cast<void*>(first), 0, kPayload);
  memset(reinterpret_cast<void*>(second), 0, kPayload);
  forger.SetBase(1, Physical(second));
  forger.SetField(8, uint64_t{0});
  checks.ExpectEqual("RegisteredRegionIgnoresItsTable",
                     ForgeTo(forger.payload(), static_cast<uint64_t>(handle)), 0);
  checks.Expect("AnswerIsWhereItWasRegistered", *reinterpret_cast<const char*>(first) == '.' &&
                                                    *reinterpret_cast<const char*>(second) == 0);
  checks.ExpectEqual("ForgedRegionUnregisters", Unregister(handle), 0);
  checks.ExpectEqual("EndedRegionIsRefused",
                     ForgeTo(forger.payload(), static_cast<uint64_t>(handle)), -kEFAULT);
  checks.ExpectEqual("EndingTwiceIsRefused", Unregister(handle), -kENOENT);

  forger.Reset();
  forger.SetBase(1, Physical(first));
  const int64_t readable = Register(forger.handle(), Access::kRead);
  checks.Expect("RegionForReadingRegisters", readable > 0);
  checks.ExpectEqual("OutputIntoARegionForReadingIsRefused",
                     ForgeTo(forger.payload(), static_cast<uint64_t>(readable)), -kEFAULT);
  Unregister(readable);
}

// A second header over another region's range, and one whose payload is another region's table.
// Whose bases count is the handle's to say, and they count as they were registered.
void AliasAnother(const Target& target, unsigned shift) {
  const uint64_t page = target.payload + (uint64_t{14} << shift);
  const uint64_t own = target.payload + (uint64_t{15} << shift);
  const uint64_t base = target.layout.virtual_base().value;
  Forger forger(page, shift);
  forger.SetField(8, base);
  forger.SetBase(1, Physical(own));
  memset(reinterpret_cast<void*>(own), 0, kPayload);
  const int64_t same_range = Register(forger.handle());
  checks.Expect("HeaderOverAnothersRangeRegisters", same_range > 0);
  const uint64_t pointer = base + (uint64_t{1} << shift);
  checks.ExpectEqual("ItIsServed", ForgeTo(pointer, static_cast<uint64_t>(same_range)), 0);
  checks.Expect("ItsAnswerIsInItsOwnPayload", *reinterpret_cast<const char*>(own) == '.');
  checks.ExpectEqual("ItUnregisters", Unregister(same_range), 0);
  checks.ExpectEqual("AliasedRegionIsStillServed", WriteTo(target, target.payload), 0);

  const uint64_t table = Physical(base);
  const uint64_t header[] = {SystemCall(kSysPeek, table), SystemCall(kSysPeek, table + 8)};
  forger.Reset();
  forger.SetBase(1, table);
  const int64_t over_table = Register(forger.handle());
  checks.Expect("PayloadOverATableRegisters", over_table > 0);
  checks.ExpectEqual("TheTableIsOverwritten",
                     ForgeTo(forger.payload(), static_cast<uint64_t>(over_table)), 0);
  checks.Expect("ItsMagicIsGone", SystemCall(kSysPeek, table) != header[0]);
  checks.ExpectEqual("RegisteredRegionDoesNotMind", WriteTo(target, target.payload), 0);
  checks.ExpectEqual("PayloadOverATableUnregisters", Unregister(over_table), 0);
  SystemCall(kSysPoke, table, header[0]);
  SystemCall(kSysPoke, table + 8, header[1]);
}

}  // namespace

bool UserMain(const BootOptions& options) {
  const unsigned shift = options.page_shift;
  if (options.xcom) {
    ForgeDescriptors(shift);
    return checks.passed();
  }
  const Target registered = MakeTarget(0x20000000, shift, kRegionRegistered);
  TryTheTable("registered", registered);
  const Target stateless = MakeTarget(0x24000000, shift, kRegionStateless);
  TryTheTable("stateless", stateless);
  TryTheKernel(registered, shift);
  TryTheKernelsCalls(registered);
  TryHandles(registered);
  ForgeHeaders(registered, shift);
  ChangeTheTable(registered, shift);
  AliasAnother(registered, shift);
  checks.ExpectEqual("KernelEndsItsRegions",
                     Signed(SystemCall(kSysDestroyRegion, registered.number)), 0);
  checks.ExpectEqual("EndedRegionOfTheKernelIsRefused", WriteTo(registered, registered.payload),
                     -kENOENT);
  TryTheRestriction(shift);  // the last: it stays
  return checks.passed();
}

}  // namespace qemu
