// Registering, extending and ending regions in legs: what stops goes on where it stopped, whoever
// else comes in between; and ids that name one region only.

#include <algorithm>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/domain/region_registry.h"
#include "tests/unit/hypervisor_guest_kernel.h"
#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kInterval = 8;
constexpr std::uint64_t kGranules = 40;
constexpr std::uint64_t kPayload = kGranules - 1;

// The ids are what nobody can wait for.
static_assert(RegionRegistry::IdOf(1, 0) != 0);
static_assert(RegionRegistry::IdOf((std::uint64_t{1} << 50) - 1, 4095) ==
              (std::uint64_t{1} << 62) - 1);
static_assert(RegionRegistry::IdOf(std::uint64_t{1} << 50, 0) == 0);
static_assert(RegionRegistry::IdOf(~std::uint64_t{0}, 4095) == 0);

class HypervisorRegionLegsTest : public testing::Test {
 protected:
  HypervisorRegionLegsTest() : kernel(machine, kNativeOrder, kGranules) {
    // The registry and its first slots stay with the domain once they are there.
    EXPECT_GT(kernel.Register(1), 0);
    EXPECT_EQ(kernel.Unregister(), 0);
    overhead = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
  }
  ~HypervisorRegionLegsTest() override {
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.pinned_frames, 0u);
    EXPECT_EQ(now.regions, 0u);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).regions, 0u);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).overhead_pages, overhead);
    EXPECT_EQ(now.longest_leg, kInterval);
  }

  template <class... Arguments>
  HypercallFrame Frame(XencommOp op, Arguments... arguments) {
    return machine.Frame(kXencommOp, op, arguments...);
  }
  HypercallFrame RegisterFrame() { return Frame(XencommOp::kRegister, kernel.header().value, 1); }
  // One leg; true: it stopped.
  bool Leg(HypercallFrame& frame, std::int64_t* answer = nullptr) {
    const std::int64_t result = machine.hypervisor.Hypercall(*machine.vcpu, frame);
    if (answer != nullptr) *answer = result;
    return frame.continued;
  }
  // All the others; how many there were.
  unsigned Finish(HypercallFrame& frame, std::int64_t* answer) {
    unsigned legs = 1;
    while (Leg(frame, answer)) ++legs;
    return legs;
  }
  std::int64_t Use(std::uint64_t handle, std::uint64_t granule) {
    HypercallFrame frame =
        machine.Frame(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + (granule << 12));
    frame.region = handle;
    return machine.hypervisor.Call(*machine.vcpu, frame);
  }
  std::uint64_t Pinned() { return Books::StatisticsOf(machine.hypervisor).pinned_frames; }

  TestMachine machine{{.pages = 1024,
                       .preempt_interval = kInterval,
                       .max_overhead_pages = 12000,
                       .space = SpaceKind::kRegion}};
  GuestKernel kernel;
  std::uint64_t overhead = 0;
};

TEST_F(HypervisorRegionLegsTest, RegisteringStopsAndGoesOn) {
  HypercallFrame frame = RegisterFrame();
  ASSERT_TRUE(Leg(frame));
  EXPECT_GT(Pinned(), 0u);
  EXPECT_LE(Pinned(), kInterval);
  // It has an id, by which nobody finds it yet.
  EXPECT_EQ(Use(frame.arguments[3], 1), -kEFAULT);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 0u);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, frame.arguments[3]), -kENOENT);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kExtend, frame.arguments[3], 1, 1), -kENOENT);
  std::int64_t handle;
  EXPECT_GE(Finish(frame, &handle), kPayload / kInterval);
  ASSERT_GT(handle, 0);
  EXPECT_EQ(Pinned(), kPayload);
  EXPECT_EQ(Use(static_cast<std::uint64_t>(handle), kGranules - 1), 0);

  HypercallFrame end = Frame(XencommOp::kUnregister, handle);
  ASSERT_TRUE(Leg(end));
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kRegister, kernel.header().value, 1, handle),
            -kENOENT);
  // From its first leg on it is not there any more.
  EXPECT_EQ(Use(static_cast<std::uint64_t>(handle), kGranules - 1), -kEFAULT);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 0u);
  EXPECT_LT(Pinned(), kPayload);
  EXPECT_GT(Pinned(), 0u);
  std::int64_t answer;
  EXPECT_GE(Finish(end, &answer), kPayload / kInterval);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), -kENOENT);
}

TEST_F(HypervisorRegionLegsTest, WhatIsWrongNearTheEndLeavesNothing) {
  kernel.Unback(kGranules - 1);
  ASSERT_TRUE(kernel.table().Back(kGranules - 1, {std::uint64_t{5000} << 12}).ok());
  HypercallFrame frame = RegisterFrame();
  std::int64_t answer;
  unsigned legs = 0;
  std::uint64_t most = 0;
  while (Leg(frame, &answer)) {
    ++legs;
    most = std::max(most, Pinned());
    // It never was a region, also when it is on its way back.
    EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, frame.arguments[3]), -kENOENT);
  }
  EXPECT_EQ(answer, -kEFAULT);
  // As many legs back as there were forth.
  EXPECT_GE(legs, 2 * (kPayload / kInterval));
  EXPECT_EQ(most, kPayload - 1);
  EXPECT_EQ(Pinned(), 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).overhead_pages, overhead);
}

TEST_F(HypervisorRegionLegsTest, OnlyItsOwnRegistrationGoesOn) {
  ASSERT_GT(kernel.Register(1), 0);
  HypercallFrame frame = RegisterFrame();
  ASSERT_TRUE(Leg(frame));
  const std::uint64_t begun = frame.arguments[3];
  // What no leg has said: another header, one that is registered, one that is not, nonsense.
  for (const auto& [header, resumed] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {kernel.header().value + 4096, begun},
           {kernel.header().value, kernel.handle()},
           {kernel.header().value, begun + 2},
           {kernel.header().value, begun ^ 1},
           {kernel.header().value, ~std::uint64_t{0}}}) {
    EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kRegister, header, 1, resumed), -kENOENT);
  }
  std::int64_t handle;
  Finish(frame, &handle);
  EXPECT_EQ(static_cast<std::uint64_t>(handle), begun);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
  EXPECT_EQ(kernel.Unregister(), 0);
}

TEST_F(HypervisorRegionLegsTest, ATableThatChangesUnderWayIsRefused) {
  HypercallFrame frame = RegisterFrame();
  ASSERT_TRUE(Leg(frame));
  const auto other = RegionLayout::Make({kBase + 4096}, kGranules << 12, 12);
  other->Store(kernel.memory().Map(kernel.header(), 32, Access::kWrite).start(), kNativeOrder);
  std::int64_t answer;
  Finish(frame, &answer);
  EXPECT_EQ(answer, -kEINVAL);
}

TEST_F(HypervisorRegionLegsTest, ExtendingStopsAndGoesOn) {
  kernel.Unback(2);
  ASSERT_GT(kernel.Register(1), 0);
  for (std::uint64_t i = 2; i < kGranules; ++i) kernel.Back(i);
  HypercallFrame frame = Frame(XencommOp::kExtend, kernel.handle(), 2, kGranules - 2, 0);
  ASSERT_TRUE(Leg(frame));
  // What is taken up can be used already.
  EXPECT_EQ(Use(kernel.handle(), 2), 0);
  EXPECT_EQ(Use(kernel.handle(), kGranules - 1), -kEFAULT);
  EXPECT_EQ(frame.arguments[2] + frame.arguments[3], kGranules);
  std::int64_t answer;
  EXPECT_GE(Finish(frame, &answer), kPayload / kInterval - 1);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(Use(kernel.handle(), kGranules - 1), 0);
  // Again: all is there.
  EXPECT_EQ(kernel.Extend(2, kGranules - 2), 0);
  EXPECT_EQ(Pinned(), kPayload);
  EXPECT_EQ(kernel.Extend(2, kGranules - 1), -kEINVAL);
  EXPECT_EQ(kernel.Extend(2, ~std::uint64_t{0}), -kEINVAL);
  EXPECT_EQ(kernel.Extend(0, 1), -kEINVAL);
  EXPECT_EQ(kernel.Extend(2, 1, static_cast<GranuleUse>(2)), -kEINVAL);
  EXPECT_EQ(kernel.Unregister(), 0);
}

TEST_F(HypervisorRegionLegsTest, LookingAtWhatIsTakenUpIsWork) {
  ASSERT_GT(kernel.Register(1), 0);
  HypercallFrame frame = Frame(XencommOp::kExtend, kernel.handle(), 1, kPayload, 0);
  std::int64_t answer;
  EXPECT_GE(Finish(frame, &answer), kPayload / kInterval);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(kernel.Unregister(), 0);
}

TEST_F(HypervisorRegionLegsTest, AGranuleIsTakenUpForOneUse) {
  kernel.Unback(kGranules - 1);
  ASSERT_GT(kernel.Register(1), 0);
  kernel.Back(kGranules - 1);
  const std::uint64_t free = kGranules - 2;
  const std::uint64_t guarded = kGranules - 1;
  // What any pointer reaches already is not said to be guarded.
  EXPECT_EQ(kernel.Extend(free, 2, GranuleUse::kArgumentsOnly), -kEEXIST);
  EXPECT_EQ(kernel.Extend(guarded, 1, GranuleUse::kArgumentsOnly), 0);
  EXPECT_EQ(kernel.Extend(guarded, 1, GranuleUse::kArgumentsOnly), 0);
  EXPECT_EQ(kernel.Extend(free, 2), -kEEXIST);
  EXPECT_EQ(kernel.Extend(free, 1), 0);
  EXPECT_EQ(Pinned(), kPayload);
  EXPECT_EQ(kernel.Unregister(), 0);
}

TEST_F(HypervisorRegionLegsTest, ARegionHasNoMorePagesThanAreKept) {
  // Of a table whose further granules are not backed nothing is taken up, and each is looked at.
  constexpr std::uint64_t kMost = RegionRegistry::kMaxPages << 12;
  constexpr PhysicalAddress kHeader = {2 << 20};
  const auto bytes = [&](unsigned page) {
    return kernel.memory().Map(kHeader + (page << 12), kPageSize, Access::kWrite).start();
  };
  const auto register_bytes = [&](std::uint64_t length, unsigned shift) {
    for (unsigned page = 0; page < 5; ++page) std::memset(bytes(page), 0xff, kPageSize);
    RegionLayout::Make({0}, length, shift)->Store(bytes(0), kNativeOrder);
    StoreField(bytes(0) + BaseOffset(0), kHeader.value, kNativeOrder);
    return machine.Call(kXencommOp, XencommOp::kRegister, kHeader.value, 1);
  };
  for (const unsigned shift : {12u, 21u}) {
    const std::int64_t handle = register_bytes(kMost, shift);
    ASSERT_GT(handle, 0);
    EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
    EXPECT_EQ(register_bytes(kMost + (std::uint64_t{1} << shift), shift), -kE2BIG);
  }
}

TEST_F(HypervisorRegionLegsTest, OneTooManyLeavesNothing) {
  kernel.Unback(1);
  std::vector<std::uint64_t> handles;
  while (kernel.Register(1) > 0) handles.push_back(kernel.handle());
  EXPECT_EQ(handles.size(), RegionRegistry::kMaxRegions);
  const std::uint64_t full = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
  EXPECT_EQ(kernel.Register(1), -kENOSPC);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).overhead_pages, full);
  for (const std::uint64_t handle : handles) {
    ASSERT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
  }
  // Its further slots stay, too.
  overhead = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
}

TEST_F(HypervisorRegionLegsTest, ARegionThatEndsInMidCallServesItNoFurther) {
  ASSERT_GT(kernel.Register(1), 0);
  Vcpu* const other = machine.hypervisor.ClaimVcpu(0, 1);
  ASSERT_NE(other, nullptr);
  for (const bool ends : {false, true}) {
    machine.meanwhile = [&] {
      if (!ends) return;
      EXPECT_EQ(machine.hypervisor.Call(*other, Frame(XencommOp::kUnregister, kernel.handle())), 0);
    };
    EXPECT_EQ(kernel.Call(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, kBase + (1 << 12)),
              ends ? -kEFAULT : 0);
  }
  machine.hypervisor.ReleaseVcpu(*other);
}

TEST_F(HypervisorRegionLegsTest, AnIdNamesOneRegionForEver) {
  // More than once a generation of 20 bits; all of them go through the same slot.
  constexpr unsigned kRounds = (1u << 20) + 16;
  kernel.Unback(1);
  ASSERT_GT(kernel.Register(1), 0);
  const std::uint64_t first = kernel.handle();
  std::uint64_t last = first;
  for (unsigned i = 0; i < kRounds; ++i) {
    ASSERT_EQ(kernel.Unregister(), 0);
    ASSERT_GT(kernel.Register(1), 0);
    ASSERT_GT(kernel.handle(), last);
    last = kernel.handle();
  }
  EXPECT_EQ(Use(first, 1), -kEFAULT);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, first), -kENOENT);
  EXPECT_EQ(kernel.Unregister(), 0);
}

TEST_F(HypervisorRegionLegsTest, IdsOfDomainsDiffer) {
  // A domain that comes after another under the same number is not told by the other's ids.
  std::set<std::int64_t> handles;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(machine.hypervisor.BuildDomain({.id = 5, .pages = 64, .space = SpaceKind::kRegion}),
              0);
    Vcpu* vcpu = machine.hypervisor.ClaimVcpu(5, 0);
    LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpu);
    const PhysicalAddress table[] = {{4 << 12}};
    const auto built = RegionTable<LockedMemory>::Build(
        memory, *RegionLayout::Make({kBase}, 4 << 12, 12), kNativeOrder, table);
    ASSERT_TRUE(built.ok());
    const std::int64_t handle =
        machine.hypervisor.Call(*vcpu, Frame(XencommOp::kRegister, built->handle().value, 1));
    ASSERT_GT(handle, 0);
    EXPECT_TRUE(handles.insert(handle).second);
    for (const std::int64_t old : handles) {
      if (old == handle) continue;
      EXPECT_EQ(machine.hypervisor.Call(*vcpu, Frame(XencommOp::kUnregister, old)), -kENOENT);
    }
    EXPECT_EQ(machine.hypervisor.Call(*vcpu, Frame(XencommOp::kUnregister, handle)), 0);
    // By its own name: domain 0's pointers are a region's here.
    xen_domctl_t destroy = {};
    destroy.cmd = XEN_DOMCTL_destroydomain;
    destroy.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    destroy.domain = 5;
    kernel.Write(1 << 12, &destroy, sizeof(destroy));
    ASSERT_GT(kernel.Register(1), 0);
    EXPECT_EQ(kernel.Call(__HYPERVISOR_domctl, kBase + (1 << 12)), 0);
    EXPECT_EQ(kernel.Unregister(), 0);
    machine.hypervisor.ReleaseVcpu(*vcpu);
  }
}

// Granules of 64 KiB: a leg stops in the middle of one.
class HypervisorLargeGranulesTest : public HypervisorRegionLegsTest {
 protected:
  static constexpr std::uint64_t kShift = 16;
  static constexpr std::uint64_t kPages = 16;
  static constexpr std::uint64_t kTable = 0x80000;
  static constexpr std::uint64_t kFirst = 0x100000;
  static constexpr std::uint64_t kSecond = 0x120000;

  std::int64_t RegisterLarge(bool backed) {
    LockedMemory& memory = kernel.memory();
    const PhysicalAddress table[] = {{kTable}};
    auto built = RegionTable<LockedMemory>::Build(
        memory, *RegionLayout::Make({kBase}, std::uint64_t{4} << kShift, kShift), kNativeOrder,
        table);
    EXPECT_TRUE(built.ok());
    if (backed) {
      EXPECT_TRUE(built->Back(1, {kFirst}).ok());
      EXPECT_TRUE(built->Back(2, {kSecond}).ok());
    }
    return machine.Call(kXencommOp, XencommOp::kRegister, kTable, 1);
  }
  void BackLarge(std::uint64_t granule, std::uint64_t base) {
    StoreField(kernel.memory()
                   .Map({kTable + BaseOffset(granule)}, sizeof(std::uint64_t), Access::kWrite)
                   .start(),
               base, kNativeOrder);
  }
};

TEST_F(HypervisorLargeGranulesTest, AreTakenUpAndLetGoPageByPage) {
  const std::int64_t handle = RegisterLarge(true);
  ASSERT_GT(handle, 0);
  EXPECT_EQ(Pinned(), 2 * kPages);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
}

TEST_F(HypervisorLargeGranulesTest, OneThatIsHalfTakenUpIsFinishedByWhoeverComes) {
  const std::int64_t handle = RegisterLarge(false);
  ASSERT_GT(handle, 0);
  BackLarge(1, kFirst);
  BackLarge(2, kSecond);
  HypercallFrame frame = Frame(XencommOp::kExtend, handle, 1, 1, GranuleUse::kArgumentsOnly);
  ASSERT_TRUE(Leg(frame));
  EXPECT_LE(Pinned(), kInterval);
  EXPECT_EQ(Use(static_cast<std::uint64_t>(handle), 16), -kEFAULT);
  // Another extends the next one; the first is still for arguments only.
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kExtend, handle, 2, 1, 0), 0);
  EXPECT_EQ(Pinned(), 2 * kPages);
  std::int64_t answer;
  EXPECT_EQ(Finish(frame, &answer), 1u);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(Pinned(), 2 * kPages);
  EXPECT_EQ(Use(static_cast<std::uint64_t>(handle), 16), 0);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
}

TEST_F(HypervisorLargeGranulesTest, OneWithABadPageIsLetGoAndSaidToItsOwnCall) {
  const std::int64_t handle = RegisterLarge(false);
  ASSERT_GT(handle, 0);
  // The last of its pages is gone.
  xen_pfn_t last = (kFirst >> 12) + kPages - 1;
  kernel.Write(8 << 12, &last, sizeof(last));
  xen_memory_reservation reservation = {};
  reservation.nr_extents = 1;
  reservation.domid = DOMID_SELF;
  ASSERT_GT(kernel.Register(1), 0);
  set_xen_guest_handle(reservation.extent_start, reinterpret_cast<xen_pfn_t*>(kBase + (8 << 12)));
  kernel.Write(9 << 12, &reservation, sizeof(reservation));
  ASSERT_EQ(kernel.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, kBase + (9 << 12)), 1);
  ASSERT_EQ(kernel.Unregister(), 0);

  BackLarge(1, kFirst);
  BackLarge(2, kSecond);
  HypercallFrame bad = Frame(XencommOp::kExtend, handle, 1, 1, 0);
  ASSERT_TRUE(Leg(bad));
  ASSERT_TRUE(Leg(bad));  // the bad page is met, and the way back begun
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kExtend, handle, 2, 1, 0), 0);
  EXPECT_EQ(Pinned(), kPages);
  std::int64_t answer;
  Finish(bad, &answer);
  EXPECT_EQ(answer, -kEFAULT);
  EXPECT_EQ(Pinned(), kPages);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
}

TEST_F(HypervisorLargeGranulesTest, OneThatIsHalfTakenUpEndsWithItsRegion) {
  const std::int64_t handle = RegisterLarge(false);
  ASSERT_GT(handle, 0);
  BackLarge(1, kFirst);
  HypercallFrame frame = Frame(XencommOp::kExtend, handle, 1, 1, 0);
  ASSERT_TRUE(Leg(frame));
  ASSERT_GT(Pinned(), 0u);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
  EXPECT_EQ(Pinned(), 0u);
  std::int64_t answer;
  Finish(frame, &answer);
  EXPECT_EQ(answer, -kENOENT);
}

}  // namespace
}  // namespace xencomm::hypervisor
