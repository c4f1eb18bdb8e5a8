// The scenario, once in each space that this machine has, and what each costs.

#include <string.h>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/schema/generated/xen.h"
#include "tests/qemu/scenario/scenario.h"
#include "tests/qemu/user/check.h"
#include "tests/qemu/user/machine.h"
#include "tests/qemu/user/worlds.h"

namespace qemu {
namespace {

using xencomm::RegionLayout;
using xencomm::hypervisor::kEFAULT;
using namespace xencomm::xen;

Checks checks;

// For the runner's own test. An address that nothing is mapped at.
void CommitPlanted(Planted planted) {
  if (planted == Planted::kCrash) *reinterpret_cast<volatile uint64_t*>(0x3ffffff8) = 1;
  // The assembly is what makes an endless loop one that a compiler must keep.
  while (planted == Planted::kHang) asm volatile("");
}

// The cost of a call from the program and back, with its arguments by this world: instructions, on
// an emulator that executes one in each tick.
void Measure(const char* world_name, World& world) {
  constexpr uint64_t kCalls = 200;
  constexpr uint32_t kDomains = 8;
  constexpr uint64_t kTextBytes = XEN_CAPABILITIES_INFO_LEN;
  auto* text = world.New<char>(kTextBytes, 64);
  auto* infos = world.New<xen_domctl_getdomaininfo_t>(kDomains, 64);
  auto* list = world.New<xen_sysctl>();
  memset(list, 0, sizeof(*list));
  list->cmd = XEN_SYSCTL_getdomaininfolist;
  list->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  list->u.getdomaininfolist.max_domains = kDomains;
  const uint64_t nested = world.Handle(infos, kDomains * sizeof(*infos));
  memcpy(&list->u.getdomaininfolist.buffer, &nested, sizeof(nested));
  const uint64_t argument = world.Handle(list, sizeof(*list));
  const uint64_t text_handle = world.Handle(text, kTextBytes);

  const auto cost = [](auto call) {
    call();
    const uint64_t start = Ticks();
    for (uint64_t i = 0; i < kCalls; ++i) call();
    return InstructionsOf(Ticks() - start) / kCalls;
  };
  Print("FIGURE ", world_name, " xen_version.version ",
        cost([&] { world.Hypercall(__HYPERVISOR_xen_version, XENVER_version, 0, 0); }), "\n");
  Print("FIGURE ", world_name, " xen_version.capabilities ", cost([&] {
          world.Hypercall(__HYPERVISOR_xen_version, XENVER_capabilities, text_handle, 0);
        }),
        "\n");
  Print("FIGURE ", world_name, " sysctl.getdomaininfolist ",
        cost([&] { world.Hypercall(__HYPERVISOR_sysctl, argument, 0, 0); }), "\n");
  world.FreeAll();
}

void RunIn(const char* name, World& world) {
  Record record(name);
  RunScenario(world, record);
  Measure(name, world);
}

// Regions of thousands of pages, at addresses below and beyond each other.
constexpr uint64_t kRegionBytes = 12 << 20;

void RunInRegion(const char* name, uint64_t address, unsigned granule_shift, RegionKind kind) {
  const auto layout = RegionLayout::Make({address}, kRegionBytes, granule_shift);
  const uint64_t number = SystemCall(kSysCreateRegion, address, kRegionBytes, granule_shift, kind);
  checks.Expect("RegionIsCreated", static_cast<int64_t>(number) >= 0);
  const uint64_t table = layout->table_granules();
  checks.ExpectEqual(
      "RegionIsBacked",
      static_cast<int64_t>(SystemCall(kSysBackRegion, number, table, layout->base_count() - table)),
      0);
  RegionWorld world(number, *layout);
  RunIn(name, world);
  checks.ExpectEqual("RegionEnds", static_cast<int64_t>(SystemCall(kSysDestroyRegion, number)), 0);
}

// One page with header and payload.
void UsePageForm(uint64_t address, unsigned granule_shift) {
  const auto layout = RegionLayout::Make({address}, uint64_t{1} << granule_shift, granule_shift);
  const uint64_t number =
      SystemCall(kSysCreateRegion, address, layout->length(), granule_shift, kRegionPage);
  RegionWorld world(number, *layout);
  auto* text = world.New<char>(XEN_EXTRAVERSION_LEN);
  checks.ExpectEqual("PageFormCarriesAnAnswer",
                     world.Hypercall(__HYPERVISOR_xen_version, XENVER_extraversion,
                                     world.Handle(text, XEN_EXTRAVERSION_LEN), 0),
                     0);
  checks.Expect("PageFormHasTheAnswer", text[0] == '.');
}

// A region grows while it is in use: granules are backed when the program comes to need them, and
// what it had before stays where it was.
void GrowInUse(uint64_t address, unsigned granule_shift, RegionKind kind) {
  constexpr uint64_t kGranules = 12;
  constexpr uint64_t kFirst = 4;  // granules of the payload at the start, then one by one
  const auto layout = RegionLayout::Make({address}, kGranules << granule_shift, granule_shift);
  const uint64_t number =
      SystemCall(kSysCreateRegion, address, layout->length(), granule_shift, kind);
  SystemCall(kSysBackRegion, number, 1, kFirst);
  RegionWorld world(number, *layout);
  auto* first = world.New<char>(XEN_EXTRAVERSION_LEN);
  const auto write_to = [&](const char* text) {
    return world.Hypercall(__HYPERVISOR_xen_version, XENVER_extraversion,
                           world.Handle(text, XEN_EXTRAVERSION_LEN), 0);
  };
  bool served = write_to(first) == 0;
  bool refused = true;
  for (uint64_t granule = 1 + kFirst; granule < kGranules; ++granule) {
    // Half of it in the granule that is not backed yet.
    const uint64_t end = address + (granule << granule_shift);
    auto* across = reinterpret_cast<char*>(end - XEN_EXTRAVERSION_LEN / 2);
    refused = refused && write_to(across) == -kEFAULT;
    served = served && SystemCall(kSysBackRegion, number, granule, 1) == 0;
    served = served && write_to(across) == 0 && across[0] == '.' && write_to(first) == 0;
  }
  checks.Expect("GrowingRegionServes", served && first[0] == '.');
  checks.Expect("GrowingRegionRefusesWhatIsNotBackedYet", refused);
  checks.ExpectEqual("GrownRegionEnds", static_cast<int64_t>(SystemCall(kSysDestroyRegion, number)),
                     0);
}

// While the hostile program runs, this one has a region with something in it.
void BeAVictim(uint64_t address, unsigned granule_shift) {
  constexpr uint64_t kGranules = 6;
  const auto layout = RegionLayout::Make({address}, kGranules << granule_shift, granule_shift);
  const uint64_t number =
      SystemCall(kSysCreateRegion, address, layout->length(), granule_shift, kRegionRegistered);
  SystemCall(kSysBackRegion, number, 1, kGranules - 1);
  RegionWorld world(number, *layout);
  const uint64_t bytes = (kGranules - 1) << granule_shift;
  auto* all = world.New<uint8_t>(bytes);

  SystemCall(kSysYield);

  bool unharmed = true;
  for (uint64_t i = 0; i < bytes; ++i) unharmed = unharmed && all[i] == World::kUntouched;
  checks.Expect("VictimIsUnharmed", unharmed);
  checks.ExpectEqual("VictimIsStillServed",
                     world.Hypercall(__HYPERVISOR_xen_version, XENVER_extraversion,
                                     reinterpret_cast<uint64_t>(all), 0),
                     0);
}

void MapBuffers(uint64_t address) {
  checks.ExpectEqual("BuffersAreMapped",
                     static_cast<int64_t>(SystemCall(kSysMap, address, kRegionBytes)), 0);
}

void RunNative(const BootOptions& options) {
  BeAVictim(0x28000000, options.page_shift);
  RunInRegion("registered", 0x20000000, options.page_shift, kRegionRegistered);
  if (options.page_shift < 16) {
    RunInRegion("registered-64k-granules", 0x21000000, 16, kRegionRegistered);
  }
  RunInRegion("stateless", 0x22000000, options.page_shift, kRegionStateless);
  UsePageForm(0x23000000, options.page_shift);
  GrowInUse(0x23800000, options.page_shift, kRegionRegistered);
  GrowInUse(0x23c00000, options.page_shift, kRegionStateless);

  constexpr uint64_t kBuffers = 0x24000000;
  MapBuffers(kBuffers);
  RawWorld raw(reinterpret_cast<void*>(kBuffers), kRegionBytes, uint64_t{1} << options.page_shift);
  if (kRawPointersWork) return RunIn("raw", raw);
  auto* text = raw.New<char>(XEN_EXTRAVERSION_LEN);
  checks.ExpectEqual("RawPointerIsRefused",
                     raw.Hypercall(__HYPERVISOR_xen_version, XENVER_extraversion,
                                   raw.Handle(text, XEN_EXTRAVERSION_LEN), 0),
                     -kEFAULT);
  checks.Expect("RefusedBufferIsUntouched", static_cast<uint8_t>(text[0]) == World::kUntouched);
}

void RunXcom(const BootOptions& options) {
  constexpr uint64_t kBuffers = 0x20000000;
  MapBuffers(kBuffers);
  const uint64_t page = uint64_t{1} << options.page_shift;
  XcomWorld descriptors(reinterpret_cast<void*>(kBuffers), kRegionBytes, page, false);
  RunIn("descriptors", descriptors);
  XcomWorld inlines(reinterpret_cast<void*>(kBuffers), kRegionBytes, page, true);
  RunIn("inline", inlines);

  RawWorld raw(reinterpret_cast<void*>(kBuffers), kRegionBytes, page);
  auto* text = raw.New<char>(XEN_EXTRAVERSION_LEN);
  checks.ExpectEqual("RawPointerIsNoDescriptor",
                     raw.Hypercall(__HYPERVISOR_xen_version, XENVER_extraversion,
                                   raw.Handle(text, XEN_EXTRAVERSION_LEN), 0),
                     -kEFAULT);
}

}  // namespace

bool UserMain(const BootOptions& options) {
  CommitPlanted(options.planted);
  if (options.xcom) {
    RunXcom(options);
  } else {
    RunNative(options);
  }
  return checks.passed();
}

}  // namespace qemu
