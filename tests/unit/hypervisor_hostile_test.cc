// Guests that mean harm: what they do to their own domain must not reach another one, nor the
// hypervisor's own books.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint16_t kGuest = 3;
constexpr std::uint16_t kPvGuest = 4;
constexpr std::uint64_t kFarGfn = 300;  // where the guest has no memory of its own

// Memory of the process in which something happens when one address is looked at: what another vcpu
// does in the middle of a call.
class TrapSpace final : public Space {
 public:
  void Arm(const void* at, std::function<void()> action) {
    at_ = reinterpret_cast<std::uint64_t>(at);
    action_ = std::move(action);
  }

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    Look(pointer.value + offset);
    return direct_.Map(pointer, offset, length, access, cursor);
  }

 private:
  void Look(std::uint64_t address) {
    if (address == at_ && action_) std::exchange(action_, nullptr)();
  }

  DirectSpace direct_;
  std::uint64_t at_ = 0;
  std::function<void()> action_;
};

// The same, but for two pages that follow each other here and not in the machine.
class TwoPages final : public Space {
 public:
  static constexpr std::uint64_t kBase = 0x700000000000;

  TwoPages(std::byte* first, std::byte* second) : pages_{first, second} {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    const std::uint64_t at = pointer.value + offset;
    if (at < kBase || at >= kBase + 2 * kPageSize) {
      return direct_.Map(pointer, offset, length, access, cursor);
    }
    if (at >= kBase + kPageSize && meanwhile) std::exchange(meanwhile, nullptr)();
    const std::uint64_t rest = kPageSize - at % kPageSize;
    return {pages_[(at - kBase) / kPageSize] + at % kPageSize, length < rest ? length : rest};
  }

  std::function<void()> meanwhile;  // when the second one is looked at next

 private:
  DirectSpace direct_;
  std::byte* pages_[2];
};

class HypervisorHostileTest : public testing::Test {
 protected:
  explicit HypervisorHostileTest(const TestMachineOptions& options = {}) : machine(options) {}

  // A guest that controls nobody but itself.
  void BuildGuest(std::uint64_t pages) {
    ASSERT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kGuest, .pages = pages, .vcpus = 2, .space = SpaceKind::kRaw}),
              0);
    Claim(kGuest);
  }
  void Claim(std::uint16_t domain) {
    for (unsigned i = 0; i < 2; ++i) {
      vcpus[i] = machine.hypervisor.ClaimVcpu(domain, i);
      ASSERT_NE(vcpus[i], nullptr);
      machine.hypervisor.SetRawSpace(*vcpus[i], machine.direct);
    }
  }
  void DestroyGuest(std::uint16_t domain = kGuest) {
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, domain), 0);
    for (Vcpu* vcpu : vcpus) machine.hypervisor.ReleaseVcpu(*vcpu);
  }

  template <class... Arguments>
  std::int64_t GuestCall(unsigned vcpu, std::uint64_t index, Arguments... arguments) {
    return machine.Called(
        machine.hypervisor.Call(*vcpus[vcpu], machine.Frame(index, arguments...)));
  }
  std::int64_t AddToPhysmap(unsigned space, std::uint64_t index, std::uint64_t gfn) {
    xen_add_to_physmap request = {};
    request.domid = DOMID_SELF;
    request.space = space;
    request.idx = index;
    request.gpfn = gfn;
    return GuestCall(0, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &request);
  }
  std::int64_t RegisterRunstate(unsigned caller, const void* area) {
    const vcpu_register_runstate_memory_area request = {
        .addr = {.p = reinterpret_cast<std::uint64_t>(area)}};
    return GuestCall(caller, __HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0,
                     &request);
  }
  std::byte* GuestBytes(std::uint64_t gfn) {
    return machine.BytesOf(machine.hypervisor.FrameOf(kGuest, gfn));
  }
  // A region whose payload granules are all backed by `gfn`. Its table is at gfn 0, or another one.
  std::uint64_t BuildRegion(std::uint64_t granules, std::uint64_t gfn,
                            std::uint64_t table_gfn = 0) {
    LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpus[0]);
    const auto layout = RegionLayout::Make({kRegion}, granules << 12, 12);
    std::vector<PhysicalAddress> table;
    for (std::uint64_t i = 0; i < layout->table_granules(); ++i)
      table.push_back({(table_gfn + i) << 12});
    const auto built = RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, table);
    EXPECT_TRUE(built.ok());
    for (std::uint64_t i = layout->table_granules(); i < granules; ++i) {
      EXPECT_TRUE(built->Back(i, {gfn << 12}).ok());
    }
    return built->handle().value;
  }
  std::int64_t RegisterRegion(std::uint64_t granules, std::uint64_t gfn,
                              Access access = Access::kWrite) {
    return GuestCall(0, kXencommOp, XencommOp::kRegister, BuildRegion(granules, gfn),
                     access == Access::kWrite);
  }
  static constexpr std::uint64_t kRegion = 0x7f0000000000;
  // Whether everything that is called free can be handed out.
  void ExpectAllFreeIsUsable() {
    constexpr std::uint16_t kTaker = 77;
    ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20), kTaker);
    const std::uint64_t count = Books::StatisticsOf(machine.hypervisor).free_pages;
    std::vector<xen_pfn_t> frames(count);
    std::iota(frames.begin(), frames.end(), 0);
    xen_memory_reservation request = TestMachine::Reservation(kTaker, frames.data(), frames.size());
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request),
              static_cast<std::int64_t>(count));
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kTaker), 0);
  }

  TestMachine machine;
  Vcpu* vcpus[2] = {};
};

TEST_F(HypervisorHostileTest, APinnedSharedPageStaysWhereItIs) {
  BuildGuest(64);
  ASSERT_EQ(AddToPhysmap(XENMAPSPACE_shared_info, 0, kFarGfn), 0);
  const std::int64_t region = RegisterRegion(2, kFarGfn);
  ASSERT_GT(region, 0);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_grant_table, 0, kFarGfn), -kEBUSY);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_gmfn, 7, kFarGfn), -kEBUSY);
  ASSERT_EQ(GuestCall(0, kXencommOp, XencommOp::kUnregister, region), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_grant_table, 0, kFarGfn), 0);
}

// Nor is a page freed that a region holds, for another one that would come in its place.
TEST_F(HypervisorHostileTest, APinnedPageIsNotMadeRoomOf) {
  BuildGuest(64);
  const std::int64_t region = RegisterRegion(2, 10);
  ASSERT_GT(region, 0);
  const std::uint64_t held = machine.hypervisor.FrameOf(kGuest, 10);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_shared_info, 0, 10), -kEBUSY);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_grant_table, 0, 10), -kEBUSY);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_gmfn, 7, 10), -kEBUSY);
  EXPECT_EQ(machine.hypervisor.FrameOf(kGuest, 10), held);
  // New ones are not put there either, nor where a page of another domain's is.
  constexpr std::uint16_t kOther = 9;
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = kOther, .pages = 1}), 0);
  ASSERT_EQ(machine.MapForeign(kGuest, kFarGfn, kOther, 0), 0);
  xen_pfn_t next = 20;
  for (const xen_pfn_t taken : {xen_pfn_t{10}, xen_pfn_t{kFarGfn}}) {
    xen_pfn_t in = next++;
    xen_pfn_t out = taken;
    xen_memory_exchange exchange = {};
    exchange.in = TestMachine::Reservation(DOMID_SELF, &in, 1);
    exchange.out = TestMachine::Reservation(DOMID_SELF, &out, 1);
    EXPECT_EQ(GuestCall(0, __HYPERVISOR_memory_op, XENMEM_exchange, &exchange), -kEBUSY);
  }
  EXPECT_EQ(machine.hypervisor.FrameOf(kGuest, 10), held);
  ASSERT_EQ(GuestCall(0, kXencommOp, XencommOp::kUnregister, region), 0);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_gmfn, 7, 10), 0);
}

// A runstate area on a status frame: the frame is not given back under it.
TEST_F(HypervisorHostileTest, AStatusFrameWithAnAreaOnItStays) {
  BuildGuest(64);
  const auto set_version = [&](std::uint32_t wanted) {
    gnttab_set_version version = {.version = wanted};
    return GuestCall(0, __HYPERVISOR_grant_table_op, GNTTABOP_set_version, &version, 1);
  };
  ASSERT_EQ(set_version(2), 0);
  ASSERT_EQ(AddToPhysmap(XENMAPSPACE_grant_table, XENMAPIDX_grant_table_status, kFarGfn), 0);
  ASSERT_EQ(RegisterRunstate(0, GuestBytes(kFarGfn) + 3072), 0);
  EXPECT_EQ(set_version(1), -kEBUSY);
  ASSERT_EQ(RegisterRunstate(0, nullptr), 0);
  EXPECT_EQ(set_version(1), 0);
  EXPECT_EQ(machine.hypervisor.FrameOf(kGuest, kFarGfn), kNoFrame);
}

TEST_F(HypervisorHostileTest, AnAreaOnASharedPageEndsWithItsDomain) {
  BuildGuest(64);
  ASSERT_EQ(AddToPhysmap(XENMAPSPACE_shared_info, 0, kFarGfn), 0);
  ASSERT_EQ(RegisterRunstate(0, GuestBytes(kFarGfn) + 3072), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 1u);
  DestroyGuest();
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  // Whoever gets the page as its shared info may still map it.
  BuildGuest(64);
  EXPECT_EQ(AddToPhysmap(XENMAPSPACE_shared_info, 0, kFarGfn), 0);
}

TEST_F(HypervisorHostileTest, AreasReplacedAtOnceAreWrittenInTheirBoundsOnly) {
  BuildGuest(64);
  // Neighbours in the machine up to the end of a run of 16; what comes then is somebody else's.
  std::byte* const last = GuestBytes(15);
  std::array<std::byte, 64> before;
  std::memcpy(before.data(), last + kPageSize, before.size());
  TwoPages space(last, GuestBytes(20));
  for (Vcpu* vcpu : vcpus) machine.hypervisor.SetRawSpace(*vcpu, space);

  machine.has_threads = true;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      // 16 bytes in one page and the rest in the next, or all in the second one.
      const std::uint64_t offset = i == 0 ? kPageSize - 16 : kPageSize;
      for (int round = 0; round < 20000; ++round) {
        ASSERT_EQ(RegisterRunstate(i, reinterpret_cast<const void*>(TwoPages::kBase + offset)), 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::memcmp(last + kPageSize, before.data(), before.size()), 0);
}

// Wherever it lies: in one page, over the end of one into its neighbour in the machine, or into a
// page that is none.
TEST_F(HypervisorHostileTest, AnAreaIsWrittenWhereItIsAndNowhereElse) {
  BuildGuest(64);
  TwoPages space(GuestBytes(15), GuestBytes(20));
  machine.hypervisor.SetRawSpace(*vcpus[0], space);
  constexpr std::uint64_t kBytes = sizeof(vcpu_runstate_info);
  const auto at = [](std::byte* first, std::byte* second, std::uint64_t offset) {
    return offset < kPageSize ? first + offset : second + offset % kPageSize;
  };
  const struct {
    std::uint64_t pointer;
    std::byte* first;
    std::byte* second;
    std::uint64_t offset;
    std::uint64_t frames;
  } kAreas[] = {
      {reinterpret_cast<std::uint64_t>(GuestBytes(7)), GuestBytes(7), nullptr, 64, 1},
      {reinterpret_cast<std::uint64_t>(GuestBytes(7)), GuestBytes(7), nullptr, kPageSize - kBytes,
       1},
      {reinterpret_cast<std::uint64_t>(GuestBytes(7)), GuestBytes(7), GuestBytes(8), kPageSize - 16,
       2},
      {TwoPages::kBase, GuestBytes(15), GuestBytes(20), kPageSize - 8, 2},
  };
  ASSERT_EQ(GuestBytes(8), GuestBytes(7) + kPageSize);
  for (const auto& area : kAreas) {
    const auto around = [&](std::uint64_t i) {
      return at(area.first, area.second, area.offset - 8 + i);
    };
    const std::uint64_t length = area.second == nullptr ? kBytes + 8 : kBytes + 16;
    for (std::uint64_t i = 0; i < length; ++i) *around(i) = std::byte{0xee};
    ASSERT_EQ(RegisterRunstate(0, reinterpret_cast<const void*>(area.pointer + area.offset)), 0);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, area.frames);
    vcpu_runstate_info told;
    for (std::uint64_t i = 0; i < length; ++i) {
      if (i >= 8 && i < 8 + kBytes) {
        reinterpret_cast<std::byte*>(&told)[i - 8] = *around(i);
      } else {
        EXPECT_EQ(*around(i), std::byte{0xee}) << area.offset << " " << i;
      }
    }
    EXPECT_EQ(told.state, RUNSTATE_running);
    EXPECT_LT(told.state_entry_time, machine.now);
    EXPECT_EQ(told.time[RUNSTATE_running], machine.now - told.state_entry_time);
    EXPECT_EQ(told.time[RUNSTATE_runnable], 0u);
    EXPECT_EQ(told.time[RUNSTATE_offline], 0u);
  }
  // Not memory of the machine's at all: the area that stands stays.
  vcpu_runstate_info elsewhere = {};
  EXPECT_EQ(RegisterRunstate(0, &elsewhere), -kEFAULT);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 2u);
}

TEST_F(HypervisorHostileTest, AnAreaWhoseSecondPageGoesMeanwhileIsRefusedAsAWhole) {
  BuildGuest(64);
  TwoPages space(GuestBytes(15), GuestBytes(20));
  machine.hypervisor.SetRawSpace(*vcpus[0], space);
  space.meanwhile = [&] {
    xen_pfn_t second = 20;
    xen_memory_reservation request = TestMachine::Reservation(DOMID_SELF, &second, 1);
    EXPECT_EQ(GuestCall(1, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request), 1);
  };
  EXPECT_EQ(RegisterRunstate(0, reinterpret_cast<const void*>(TwoPages::kBase + kPageSize - 16)),
            -kEFAULT);
  EXPECT_FALSE(space.meanwhile);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
}

TEST_F(HypervisorHostileTest, AVcpuWhosePointersMeanNothingCallsWithoutThem) {
  ASSERT_EQ(machine.hypervisor.BuildDomain(
                {.id = kGuest, .pages = 64, .vcpus = 2, .space = SpaceKind::kRaw}),
            0);
  for (unsigned i = 0; i < 2; ++i) vcpus[i] = machine.hypervisor.ClaimVcpu(kGuest, i);
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  char text[16];
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_xen_version, XENVER_extraversion, text), -kEFAULT);
  DestroyGuest();
}

TEST_F(HypervisorHostileTest, StatusFramesEndWithTheirDomain) {
  BuildGuest(64);
  gnttab_set_version version = {.version = 2};
  ASSERT_EQ(GuestCall(0, __HYPERVISOR_grant_table_op, GNTTABOP_set_version, &version, 1), 0);
  ASSERT_EQ(version.version, 2u);
  DestroyGuest();
}

TEST_F(HypervisorHostileTest, ASharedPageThatIsHeldIsNowhereWhenItsDomainHasEnded) {
  constexpr std::uint64_t kGfn = 70;
  BuildGuest(64);
  ASSERT_EQ(AddToPhysmap(XENMAPSPACE_shared_info, 0, kGfn), 0);
  std::uint64_t mfn;
  ASSERT_EQ(machine.HoldFrame(kGuest, kGfn, Access::kRead, &mfn), 0);
  xen_domctl_t op = {};
  op.u.max_mem.max_memkb = 100 << 2;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kGuest, op), 0);
  xen_memory_reservation claim = TestMachine::Reservation(kGuest, nullptr, 100);
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_claim_pages, &claim), 0);
  DestroyGuest();
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 2u);
  machine.ExpectBooksAddUp();
  machine.ReleaseFrame(mfn);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 1u);
}

TEST_F(HypervisorHostileTest, ADomainThatIsForgottenInMidCallIsNotChanged) {
  ASSERT_EQ(machine.CreateDomain(kGuest, 64, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap), kGuest);
  xen_add_to_physmap map = {};
  map.domid = kGuest;
  map.space = XENMAPSPACE_shared_info;
  map.gpfn = kFarGfn;
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map), 0);

  Vcpu* const other = machine.hypervisor.ClaimVcpu(0, 1);
  TrapSpace space;
  machine.hypervisor.SetRawSpace(*other, space);
  xen_pfn_t frame = kFarGfn;
  space.Arm(&frame, [&] { EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0); });
  xen_memory_reservation request = TestMachine::Reservation(kGuest, &frame, 1);
  EXPECT_EQ(machine.hypervisor.Call(*other, machine.Frame(__HYPERVISOR_memory_op,
                                                          XENMEM_decrease_reservation, &request)),
            0);
  machine.hypervisor.ReleaseVcpu(*other);
  ExpectAllFreeIsUsable();
}

TEST_F(HypervisorHostileTest, ARegionPinsNoMoreThanItsDomainHas) {
  BuildGuest(64);
  EXPECT_GT(RegisterRegion(65, 9), 0);
  const std::uint64_t overhead = Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages;
  EXPECT_EQ(RegisterRegion(66, 9), -kEBUSY);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 1u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages, overhead);
}

TEST_F(HypervisorHostileTest, ARegionHasNoPagesOfOthers) {
  constexpr std::uint64_t kForeign = 70;
  constexpr std::uint16_t kSource = 5;
  BuildGuest(64);
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = kSource, .pages = 4}), 0);
  ASSERT_EQ(machine.MapForeign(kGuest, kForeign, kSource, 3), 0);
  EXPECT_EQ(RegisterRegion(3, kForeign), -kEFAULT);
  EXPECT_EQ(RegisterRegion(3, kForeign + 1), -kEFAULT);  // nothing there
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);

  // Nor where it is looked up as it is used.
  std::byte* const bytes = machine.BytesOf(machine.hypervisor.FrameOf(kSource, 3));
  std::memset(bytes, 'x', kPageSize);
  const auto use = [&](std::uint64_t gfn, std::uint64_t index, std::uint64_t op) {
    HypercallFrame frame = machine.Frame(index | kRegionCall, op, kRegion + kPageSize);
    frame.region = BuildRegion(2, gfn, 1);
    return machine.hypervisor.Call(*vcpus[0], frame);
  };
  for (const std::uint64_t gfn : {kForeign, kForeign + 1}) {
    EXPECT_EQ(use(gfn, __HYPERVISOR_xen_version, XENVER_extraversion), -kEFAULT);
    EXPECT_EQ(use(gfn, __HYPERVISOR_event_channel_op, EVTCHNOP_unmask), -kEFAULT);
  }
  EXPECT_EQ(use(9, __HYPERVISOR_xen_version, XENVER_extraversion), 0);
  EXPECT_NE(use(9, __HYPERVISOR_event_channel_op, EVTCHNOP_unmask), -kEFAULT);
  EXPECT_EQ(std::count(bytes, bytes + kPageSize, std::byte{'x'}), kPageSize);
}

TEST_F(HypervisorHostileTest, WhatMayOnlyBeReadIsNotWrittenByCalls) {
  BuildGuest(64);
  constexpr std::uint64_t kReadOnly = 20;
  Books::MakeReadOnly(machine.hypervisor, kGuest, kReadOnly);
  EXPECT_EQ(RegisterRegion(2, kReadOnly), -kEFAULT);
  EXPECT_GT(RegisterRegion(2, kReadOnly, Access::kRead), 0);

  const LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpus[0]);
  EXPECT_TRUE(memory.Map({kReadOnly << kPageShift}, 8, Access::kRead).ok());
  EXPECT_EQ(memory.Map({kReadOnly << kPageShift}, 8, Access::kWrite).fault().fault,
            Fault::kNotWritable);
  // A run ends before it.
  constexpr PhysicalAddress kBefore = {(kReadOnly << kPageShift) - 8};
  EXPECT_EQ(memory.Map(kBefore, 16, Access::kWrite).length(), 8u);
  const bool follows = machine.hypervisor.FrameOf(kGuest, kReadOnly) ==
                       machine.hypervisor.FrameOf(kGuest, kReadOnly - 1) + 1;
  EXPECT_EQ(memory.Map(kBefore, 16, Access::kRead).length(), follows ? 16u : 8u);

  std::uint64_t mfn;
  EXPECT_EQ(machine.HoldFrame(kGuest, kReadOnly, Access::kRead, &mfn), 0);
  machine.ReleaseFrame(mfn);
  EXPECT_EQ(machine.HoldFrame(kGuest, kReadOnly, Access::kWrite, &mfn), -kEPERM);
}

TEST_F(HypervisorHostileTest, ARegionOfOneGranuleHasItsTableInIt) {
  BuildGuest(64);
  const std::int64_t handle = RegisterRegion(1, 9);
  ASSERT_GT(handle, 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 1u);
  EXPECT_EQ(GuestCall(0, kXencommOp, XencommOp::kUnregister, handle), 0);
}

// What a p2m has outgrown: the top over leaves of far entries, and the table of low ones.
TEST_F(HypervisorHostileTest, WhatAP2mHasOutgrownIsNotReusedWhileACallMayLookAtIt) {
  constexpr std::uint16_t kTaker = 77;
  BuildGuest(512);
  ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20), kTaker);
  const auto put = [&](std::uint64_t idx, std::uint64_t gfn) {
    xen_add_to_physmap add = {
        .domid = kGuest, .size = 0, .space = XENMAPSPACE_gmfn, .idx = idx, .gpfn = gfn};
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
  };
  // As many pages as there are.
  const auto take_all = [&] {
    std::vector<xen_pfn_t> frames(Books::StatisticsOf(machine.hypervisor).free_pages);
    xen_memory_reservation request = TestMachine::Reservation(kTaker, frames.data(), frames.size());
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request);
  };
  const auto give_back = [&](std::int64_t count) {
    // They have gone to the one gfn that was named, all but the last to none.
    ASSERT_GT(count, 0);
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kTaker), 0);
    ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20), kTaker);
  };
  TrapSpace space;
  machine.hypervisor.SetRawSpace(*vcpus[0], space);
  vcpu_runstate_info area = {};
  put(6, 100'000);
  for (const std::uint64_t gfn : {std::uint64_t{1} << 20, std::uint64_t{512}}) {
    std::int64_t taken = 0;
    space.Arm(&area, [&] {
      put(5 + gfn % 2, gfn);
      taken = take_all();
      EXPECT_GT(taken, 0);
      // It is called free, and yet cannot be had, however often it is tried.
      EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, 1u);
      EXPECT_EQ(take_all(), 0);
    });
    EXPECT_EQ(GuestCall(0, __HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, &area), 0);
    EXPECT_EQ(take_all(), 1);
    put(gfn, 5);
    give_back(taken);
  }
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kTaker), 0);
}

TEST_F(HypervisorHostileTest, OutsideCallsALookUpWaitsForWhoeverChangesThePhysmap) {
  BuildGuest(64);
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpus[0]);
  std::thread looker;
  std::atomic<bool> has_seen = false;
  machine.on_physmap_change = [&] {
    if (looker.joinable()) return;
    looker = std::thread([&] {
      EXPECT_TRUE(memory.Map({9 << kPageShift}, 1, Access::kRead).ok());
      has_seen = true;
    });
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    EXPECT_FALSE(has_seen);
  };
  ASSERT_EQ(AddToPhysmap(XENMAPSPACE_gmfn, 5, std::uint64_t{1} << 20), 0);
  ASSERT_TRUE(looker.joinable());
  looker.join();
  EXPECT_TRUE(has_seen);
  machine.on_physmap_change = nullptr;
}

class HypervisorHostileLegsTest : public HypervisorHostileTest {
 protected:
  HypervisorHostileLegsTest() : HypervisorHostileTest({.preempt_interval = 16}) {}
};

TEST_F(HypervisorHostileLegsTest, AListOfLongCallsIsNoLongLeg) {
  BuildGuest(64);
  constexpr unsigned kCalls = 4;
  constexpr unsigned kExtents = 15;  // of each: not enough to be stopped by itself
  std::vector<xen_pfn_t> frames(kCalls * kExtents);
  std::iota(frames.begin(), frames.end(), 1);
  xen_memory_reservation requests[kCalls];
  multicall_entry_t list[kCalls] = {};
  for (unsigned i = 0; i < kCalls; ++i) {
    requests[i] = TestMachine::Reservation(DOMID_SELF, &frames[i * kExtents], kExtents);
    list[i].op = __HYPERVISOR_memory_op;
    list[i].args[0] = XENMEM_decrease_reservation;
    list[i].args[1] = reinterpret_cast<std::uint64_t>(&requests[i]);
  }
  HypercallFrame frame = machine.Frame(__HYPERVISOR_multicall, list, kCalls);
  std::uint64_t before = Books::StatisticsOf(machine.hypervisor, kGuest).pages;
  do {
    EXPECT_EQ(machine.hypervisor.Hypercall(*vcpus[0], frame), 0);
    const std::uint64_t now = Books::StatisticsOf(machine.hypervisor, kGuest).pages;
    EXPECT_LE(before - now, 16u);
    before = now;
  } while (frame.continued);
  EXPECT_EQ(before, 64u - kCalls * kExtents);
  for (const multicall_entry_t& entry : list) EXPECT_EQ(entry.result, kExtents);
  EXPECT_LE(Books::StatisticsOf(machine.hypervisor).longest_leg, 17u);
}

// An entry of a list is one piece of work, whatever its call does.
TEST_F(HypervisorHostileLegsTest, AListStopsAfterSoManyCalls) {
  BuildGuest(64);
  multicall_entry_t list[40] = {};
  for (multicall_entry_t& entry : list) {
    entry.op = __HYPERVISOR_xen_version;
    entry.args[0] = XENVER_pagesize;
  }
  HypercallFrame frame = machine.Frame(__HYPERVISOR_multicall, list, std::size(list));
  for (const std::ptrdiff_t done : {16, 32, 40}) {
    EXPECT_EQ(machine.hypervisor.Hypercall(*vcpus[0], frame), 0);
    EXPECT_EQ(frame.continued, done < 40);
    EXPECT_EQ(std::ranges::count(list, kPageSize, &multicall_entry_t::result), done);
  }
}

// Of a long call in a list it must be written down how far it came.
TEST_F(HypervisorHostileLegsTest, AListThatCannotBeWrittenEndsWithItsLongCall) {
  BuildGuest(64);
  class NothingIsWritten final : public Space {
   public:
    Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                    Access access, Cursor* cursor) override {
      return access == Access::kWrite ? Fault::kProtection
                                      : direct_.Map(pointer, offset, length, access, cursor);
    }

   private:
    DirectSpace direct_;
  } space;
  machine.hypervisor.SetRawSpace(*vcpus[0], space);
  std::vector<xen_pfn_t> frames(40);
  std::iota(frames.begin(), frames.end(), 1);
  xen_memory_reservation request =
      TestMachine::Reservation(DOMID_SELF, frames.data(), frames.size());
  multicall_entry_t entry = {
      .op = __HYPERVISOR_memory_op,
      .result = 7,
      .args = {XENMEM_decrease_reservation, reinterpret_cast<std::uint64_t>(&request), 0, 0, 0, 0}};
  HypercallFrame frame = machine.Frame(__HYPERVISOR_multicall, &entry, 1);
  EXPECT_EQ(machine.hypervisor.Hypercall(*vcpus[0], frame), -kEFAULT);
  EXPECT_FALSE(frame.continued);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages, 64u - 16);
  EXPECT_EQ(entry.args[0], XENMEM_decrease_reservation);
  machine.hypervisor.SetRawSpace(*vcpus[0], machine.direct);
}

TEST_F(HypervisorHostileLegsTest, TheEndOfADomainStopsInsideItsRegions) {
  constexpr unsigned kRegions = 3;
  constexpr unsigned kPayload = 39;  // granules of each
  BuildGuest(64);
  for (unsigned i = 0; i < kRegions; ++i) ASSERT_GT(RegisterRegion(kPayload + 1, 9), 0);
  xen_domctl_t op = {};
  op.cmd = XEN_DOMCTL_destroydomain;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op.domain = kGuest;
  HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  EXPECT_TRUE(frame.continued);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, kRegions - 1);
  unsigned legs = 1;
  while (Books::StatisticsOf(machine.hypervisor).regions != 0) {
    machine.hypervisor.Hypercall(*machine.vcpu, frame);
    ASSERT_TRUE(frame.continued);
    ++legs;
  }
  EXPECT_GE(legs, (kRegions - 1) * kPayload / 16);
  DestroyGuest();
  EXPECT_LE(Books::StatisticsOf(machine.hypervisor).longest_leg, 16u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
}

TEST_F(HypervisorHostileTest, AnExchangeThatIsRefusedTakesNothing) {
  BuildGuest(64);
  const std::uint64_t frame = machine.hypervisor.FrameOf(kGuest, 9);
  xen_pfn_t in[] = {9, 9};
  xen_pfn_t out[] = {8};
  xen_memory_exchange request = {};
  request.in = TestMachine::Reservation(DOMID_SELF, in, 2);
  request.out = TestMachine::Reservation(DOMID_SELF, out, 1, 1);
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_memory_op, XENMEM_exchange, &request), -kEINVAL);
  EXPECT_EQ(request.nr_exchanged, 0u);
  EXPECT_EQ(machine.hypervisor.FrameOf(kGuest, 9), frame);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages, 64u);
}

TEST_F(HypervisorHostileTest, AnExchangeReadsItsListOnce) {
  BuildGuest(64);
  const std::uint64_t held = machine.hypervisor.FrameOf(kGuest, 20);
  std::uint64_t mfn = 0;
  ASSERT_EQ(machine.HoldFrame(kGuest, 20, Access::kWrite, &mfn), 0);
  xen_pfn_t in[] = {9};
  xen_pfn_t out[] = {9};
  TrapSpace space;
  machine.hypervisor.SetRawSpace(*vcpus[0], space);
  // At the first look the page is fit to be given up, at a second it is one that somebody maps.
  space.Arm(in, [&] { space.Arm(in, [&] { in[0] = 20; }); });
  xen_memory_exchange request = {};
  request.in = TestMachine::Reservation(DOMID_SELF, in, 1);
  request.out = TestMachine::Reservation(DOMID_SELF, out, 1);
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_memory_op, XENMEM_exchange, &request), 0);
  EXPECT_EQ(machine.hypervisor.FrameOf(kGuest, 20), held);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages, 64u);
  machine.ReleaseFrame(mfn);
}

TEST_F(HypervisorHostileTest, AStrangersEventChannelsAreNotTouched) {
  BuildGuest(16);
  const std::uint64_t overhead = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
  evtchn_alloc_unbound unbound = {.dom = 0, .remote_dom = DOMID_SELF, .port = 0};
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &unbound), -kEPERM);
  evtchn_status status = {};
  status.dom = 0;
  status.port = 4000;  // which it need not ask domain 0 about
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_event_channel_op, EVTCHNOP_status, &status), -kEINVAL);
  for (status.port = 0; status.port < 64; ++status.port) {
    EXPECT_EQ(GuestCall(0, __HYPERVISOR_event_channel_op, EVTCHNOP_status, &status), -kEPERM);
  }
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).overhead_pages, overhead);
}

TEST_F(HypervisorHostileTest, AGuestIsNotToldHowItsHypervisorWasStartedAndBuilt) {
  BuildGuest(16);
  std::string line(sizeof(xen_commandline_t), 'x');
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_xen_version, XENVER_commandline, line.data()), 0);
  EXPECT_STREQ(line.c_str(), "<denied>");
  EXPECT_EQ(GuestCall(0, __HYPERVISOR_xen_version, XENVER_build_id, 0), -kEPERM);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_build_id, 0), 20);
}

// Few pages, so that a machine frame is soon guessed.
class HypervisorHostileSmallTest : public HypervisorHostileTest {
 protected:
  static constexpr std::uint64_t kPoolPages = 512;

  HypervisorHostileSmallTest()
      : HypervisorHostileTest({.pool_bytes = kPoolPages << kPageShift, .pages = 16}) {}
};

TEST_F(HypervisorHostileSmallTest, APageGivenUpBeforeItIsPlacedIsLeftAlone) {
  ASSERT_EQ(machine.CreateDomain(kPvGuest, kPoolPages, 0, 2), kPvGuest);
  Claim(kPvGuest);
  machine.has_threads = true;
  std::atomic<bool> done = false;
  // A PV guest may name any machine frame: this one guesses those that are just being given out.
  std::thread guesser([&] {
    std::vector<xen_pfn_t> frames(kPoolPages);
    std::iota(frames.begin(), frames.end(), TestMachineOptions().pool_begin >> kPageShift);
    for (std::uint64_t guess = 0; !done; ++guess) {
      xen_memory_reservation request =
          TestMachine::Reservation(DOMID_SELF, &frames[guess % kPoolPages], 1);
      GuestCall(1, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request);
    }
  });
  std::int64_t populated = 0;
  for (int round = 0; round < 50000 && populated < 100000; ++round) {
    std::vector<xen_pfn_t> frames(100, kNoFrame - 1);
    xen_memory_reservation request =
        TestMachine::Reservation(DOMID_SELF, frames.data(), frames.size());
    const std::int64_t got =
        GuestCall(0, __HYPERVISOR_memory_op, XENMEM_populate_physmap, &request);
    // What was given up can be had again once the other call has ended.
    if (got == 0) std::this_thread::yield();
    populated += got;
    for (std::int64_t i = 0; i < got; ++i) {
      xen_memory_reservation one =
          TestMachine::Reservation(DOMID_SELF, &frames[static_cast<std::size_t>(i)], 1);
      GuestCall(0, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, &one);
    }
  }
  done = true;
  guesser.join();
  DestroyGuest(kPvGuest);
  ExpectAllFreeIsUsable();
}

class HypervisorHostileXcomTest : public HypervisorHostileTest {
 protected:
  HypervisorHostileXcomTest()
      : HypervisorHostileTest({.pages = 64, .preempt_interval = 1, .space = SpaceKind::kXcom}) {}
};

TEST_F(HypervisorHostileXcomTest, LongTextByADescriptorIsWrittenToItsEnd) {
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  const auto bytes = [&](std::uint64_t gfn) {
    return memory.Map({gfn << 12}, 1, Access::kWrite).start();
  };
  std::string text(1000, '?');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 26);
  std::memcpy(bytes(5) + kPageSize - 300, text.data(), 300);
  std::memcpy(bytes(9), text.data() + 300, 700);
  StoreDescriptor(bytes(2), 2, kNativeOrder, [](std::uint32_t i) {
    return PhysicalAddress{i == 0 ? (std::uint64_t{6} << 12) - 300 : std::uint64_t{9} << 12};
  });
  machine.console.clear();
  EXPECT_EQ(
      machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, text.size(), std::uint64_t{2} << 12),
      0);
  EXPECT_EQ(machine.console, text);
}

// A descriptor has no place behind its first entry that could be named: how many are done is kept
// beside the count.
TEST_F(HypervisorHostileXcomTest, AListByADescriptorGoesOnWhereItStopped) {
  constexpr std::uint64_t kList = std::uint64_t{5} << kPageShift;
  constexpr std::uint64_t kEntries = 20;
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  auto* entries =
      reinterpret_cast<multicall_entry_t*>(memory.Map({kList}, kPageSize, Access::kWrite).start());
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    entries[i] = {};
    entries[i].op = __HYPERVISOR_xen_version;
    entries[i].args[0] = XENVER_version;
  }
  HypercallFrame frame =
      machine.Frame(__HYPERVISOR_multicall, InlineAddress({kList}).value, kEntries);
  for (std::uint64_t done = 1; done < kEntries; ++done) {
    ASSERT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), 0);
    ASSERT_TRUE(frame.continued);
    EXPECT_EQ(frame.arguments[0], InlineAddress({kList}).value);
    EXPECT_EQ(frame.arguments[1], done << 32 | kEntries);
    EXPECT_EQ(entries[done - 1].result, std::uint64_t{4 << 16 | 17});
    EXPECT_EQ(entries[done].result, 0u);
  }
  EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), 0);
  EXPECT_FALSE(frame.continued);
  EXPECT_EQ(entries[kEntries - 1].result, std::uint64_t{4 << 16 | 17});
  // More are done than there are: nobody's continuation.
  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, InlineAddress({kList}).value,
                         std::uint64_t{3} << 32 | 2),
            -kEINVAL);
}

}  // namespace
}  // namespace xencomm::hypervisor
