// A domain's memory by memory_op: reservations, limits, continuation, and where the frames go.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {
namespace {

std::vector<xen_pfn_t> Frames(std::uint64_t first, std::uint64_t count) {
  std::vector<xen_pfn_t> frames(count);
  std::iota(frames.begin(), frames.end(), first);
  return frames;
}

// Of PV and HVM domains alike where the test does not say otherwise.
class HypervisorMemoryTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    ASSERT_EQ(machine.CreateDomain(kDomain, 1000, GetParam()), kDomain);
  }
  void TearDown() override {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kDomain), 0);
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.free_pages, free_before);
    EXPECT_EQ(now.domains, 1u);
  }

  std::int64_t Reserve(std::uint64_t op, std::vector<xen_pfn_t>& frames, unsigned order = 0) {
    xen_memory_reservation reservation =
        TestMachine::Reservation(kDomain, frames.data(), frames.size(), order);
    return machine.Call(__HYPERVISOR_memory_op, op, &reservation);
  }
  std::int64_t Pages() {
    xen_memory_domain domain = {.domid = kDomain};
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_current_reservation, &domain);
  }
  bool hvm() const { return GetParam() != 0; }

  static constexpr std::uint16_t kDomain = 3;
  TestMachine machine;
  std::uint64_t free_before = 0;
};

INSTANTIATE_TEST_SUITE_P(Kinds, HypervisorMemoryTest,
                         testing::Values(0u, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap),
                         [](const auto& kind) { return kind.param == 0 ? "Pv" : "Hvm"; });

TEST_P(HypervisorMemoryTest, PopulatesAndTellsAPvDomainItsMachineFrames) {
  std::vector<xen_pfn_t> frames = Frames(0, 100);
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, frames), 100);
  EXPECT_EQ(Pages(), 100);
  if (hvm()) {
    EXPECT_EQ(frames, Frames(0, 100));
  } else {
    EXPECT_EQ(std::set<xen_pfn_t>(frames.begin(), frames.end()).size(), 100u);
    EXPECT_NE(frames, Frames(0, 100));
  }
  // What it had before is for nobody to see.
  for (const xen_pfn_t frame : frames) {
    std::uint64_t mfn;
    ASSERT_EQ(machine.HoldFrame(kDomain, frame, Access::kRead, &mfn), 0);
    const std::byte* bytes = machine.BytesOf(mfn);
    EXPECT_TRUE(
        std::all_of(bytes, bytes + kPageSize, [](std::byte b) { return b == std::byte{0}; }));
    machine.ReleaseFrame(mfn);
  }
}

TEST_P(HypervisorMemoryTest, StopsAtTheLimit) {
  std::vector<xen_pfn_t> frames = Frames(0, 1100);
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, frames), 1000);
  EXPECT_EQ(Pages(), 1000);
  std::vector<xen_pfn_t> more = Frames(2000, 1);
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, more), 0);
}

TEST_P(HypervisorMemoryTest, GivesLargeExtents) {
  std::vector<xen_pfn_t> frames = {512};
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, frames, 9), 1);
  EXPECT_EQ(Pages(), 512);
  EXPECT_TRUE(hvm() || frames[0] % 512 == 0);
  // The next one is beyond max_pages.
  std::vector<xen_pfn_t> more = {1024};
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, more, 9), 0);
  EXPECT_EQ(Pages(), 512);
  std::vector<xen_pfn_t> huge = {0};
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, huge, 19), 0);
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, huge, 0xffffffff), 0);
  EXPECT_EQ(Pages(), 512);
}

TEST_P(HypervisorMemoryTest, TakesMemoryBackUpToTheFirstPageThatIsNotThere) {
  std::vector<xen_pfn_t> frames = Frames(0, 20);
  ASSERT_EQ(Reserve(XENMEM_populate_physmap, frames), 20);
  std::vector<xen_pfn_t> some(frames.begin(), frames.begin() + 10);
  EXPECT_EQ(Reserve(XENMEM_decrease_reservation, some), 10);
  EXPECT_EQ(Pages(), 10);
  EXPECT_EQ(Reserve(XENMEM_decrease_reservation, frames), 0);
  std::vector<xen_pfn_t> mixed = {frames[15], frames[15], frames[16]};
  EXPECT_EQ(Reserve(XENMEM_decrease_reservation, mixed), 1);
  EXPECT_EQ(Pages(), 9);
}

TEST_P(HypervisorMemoryTest, AnswersNothingDoneForHostileReservations) {
  std::vector<xen_pfn_t> frames = Frames(0, 4);
  struct Case {
    const char* what;
    std::int64_t done;
    void (*change)(xen_memory_reservation&);
  };
  const Case cases[] = {
      {"no such domain", 0, [](auto& r) { r.domid = 77; }},
      {"null list", 0, [](auto& r) { r.extent_start.p = nullptr; }},
      {"too many extents", 0, [](auto& r) { r.nr_extents = std::uint64_t{1} << 26; }},
      {"extents that wrap", 0, [](auto& r) { r.nr_extents = ~std::uint64_t{0}; }},
      {"no extents", 0, [](auto& r) { r.nr_extents = 0; }},
      {"address bits too few", 0, [](auto& r) { r.mem_flags = XENMEMF_address_bits(12); }},
      {"memory below what there is", 0, [](auto& r) { r.mem_flags = XENMEMF_address_bits(20); }},
      {"node beyond the last", 0, [](auto& r) { r.mem_flags = XENMEMF_exact_node(70); }},
  };
  for (const Case& each : cases) {
    xen_memory_reservation reservation = TestMachine::Reservation(kDomain, frames.data(), 4);
    each.change(reservation);
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation),
              each.done)
        << each.what;
  }
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, std::uint64_t{0}), 0);
  EXPECT_EQ(Pages(), 0);
  if (hvm()) {
    std::vector<xen_pfn_t> far = {~std::uint64_t{0}, std::uint64_t{1} << 44};
    EXPECT_EQ(Reserve(XENMEM_populate_physmap, far), 0);
    EXPECT_EQ(Pages(), 1);  // which is nowhere
  }
}

TEST_P(HypervisorMemoryTest, FramesThatAreMappedStayTheDomainsUntilReleased) {
  std::vector<xen_pfn_t> frames = Frames(0, 4);
  ASSERT_EQ(Reserve(XENMEM_populate_physmap, frames), 4);
  std::uint64_t mfn;
  ASSERT_EQ(machine.HoldFrame(kDomain, frames[0], Access::kWrite, &mfn), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 1u);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kDomain), 0);
  // Dead, and still there.
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kDomain, op), 0);
  EXPECT_EQ(op.u.getdomaininfo.domain, kDomain);
  EXPECT_EQ(op.u.getdomaininfo.tot_pages, 1u);
  EXPECT_TRUE((op.u.getdomaininfo.flags & XEN_DOMINF_dying) != 0);
  machine.ReleaseFrame(mfn);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kDomain, op), -kESRCH);
  ASSERT_EQ(machine.CreateDomain(kDomain, 1), kDomain);
}

TEST_P(HypervisorMemoryTest, MaximumReservationIsMaxMem) {
  xen_memory_domain domain = {.domid = kDomain};
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation, &domain), 1000);
  xen_domctl_t op = {};
  op.u.max_mem.max_memkb = ~std::uint64_t{0};
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kDomain, op), 0);
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation, &domain), 0xffffffff);
  domain.domid = 99;
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation, &domain), -kESRCH);
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation | 1 << 6, &domain),
            -kEINVAL);
}

// Memory that is to be populated on demand is set aside while a domain has no page, and only then.
TEST_P(HypervisorMemoryTest, ATargetSetsMemoryAsideBeforeTheFirstPage) {
  xen_pod_target target{};
  target.domid = kDomain;
  const auto call = [&](std::uint64_t op, std::uint64_t pages) {
    target.target_pages = pages;
    target.tot_pages = target.pod_cache_pages = target.pod_entries = 7777;
    return machine.Call(__HYPERVISOR_memory_op, op, &target);
  };
  if (!hvm()) {
    EXPECT_EQ(call(XENMEM_set_pod_target, 700), -kEINVAL);
    EXPECT_EQ(call(XENMEM_get_pod_target, 700), -kEINVAL);
    EXPECT_EQ(Pages(), 0);
    return;
  }
  EXPECT_EQ(call(XENMEM_set_pod_target, 1001), -kEINVAL);  // beyond its limit
  EXPECT_EQ(target.tot_pages, 7777u);
  for (const std::uint64_t pages : {700, 701, 3}) {
    const std::uint64_t most = std::max(pages, std::uint64_t(Pages()));
    for (const std::uint64_t op : {XENMEM_set_pod_target, XENMEM_get_pod_target}) {
      EXPECT_EQ(call(op, pages), 0);
      EXPECT_EQ(target.tot_pages, most);
      EXPECT_EQ(target.pod_cache_pages, most);
      EXPECT_EQ(target.pod_entries, 0u);
    }
  }
  // None of it is anywhere in the domain, which gets its pages besides.
  std::vector<xen_pfn_t> frames = Frames(0, 10);
  EXPECT_EQ(Reserve(XENMEM_decrease_reservation, frames), 0);
  EXPECT_EQ(Reserve(XENMEM_populate_physmap, frames), 10);
  EXPECT_EQ(call(XENMEM_set_pod_target, 1000), 0);
  EXPECT_EQ(target.tot_pages, 711u);
  EXPECT_EQ(target.pod_cache_pages, 701u);
  EXPECT_EQ(Reserve(XENMEM_decrease_reservation, frames), 10);
  EXPECT_EQ(call(XENMEM_set_pod_target, 1000), 0);
  EXPECT_EQ(target.pod_cache_pages, 1000u);
}

TEST(HypervisorScatterTest, RunsOfADomainDoNotContinueEachOther) {
  TestMachine machine({.pages = 1024});
  ASSERT_EQ(machine.build_result, 0);
  unsigned inside = 0;
  for (std::uint64_t gfn = 1; gfn < 1024; ++gfn) {
    const std::uint64_t before = machine.hypervisor.FrameOf(0, gfn - 1);
    const std::uint64_t mfn = machine.hypervisor.FrameOf(0, gfn);
    if (gfn % 16 == 0) {
      EXPECT_NE(mfn, before + 1) << gfn;
    } else if (mfn == before + 1) {
      ++inside;
    }
  }
  EXPECT_EQ(inside, 1024u / 16 * 15);
}

TEST(HypervisorContinuationTest, ProgressIsKeptInTheCommand) {
  TestMachine machine({.preempt_interval = 64});
  ASSERT_EQ(machine.CreateDomain(3, 1000), 3);
  std::vector<xen_pfn_t> frames = Frames(0, 200);
  xen_memory_reservation reservation = TestMachine::Reservation(3, frames.data(), 200);
  HypercallFrame frame =
      machine.Frame(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  EXPECT_EQ(frame.arguments[0], std::uint64_t{XENMEM_populate_physmap} | 64 << 6);
  EXPECT_EQ(frame.arguments[1], reinterpret_cast<std::uint64_t>(&reservation));
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  EXPECT_EQ(frame.arguments[0], std::uint64_t{XENMEM_populate_physmap} | 128 << 6);
  EXPECT_EQ(machine.hypervisor.Call(*machine.vcpu, frame), 200);
}

TEST(HypervisorContinuationTest, AnEntryOfAMulticallKeepsItsProgress) {
  TestMachine machine({.preempt_interval = 64});
  ASSERT_EQ(machine.CreateDomain(3, 1000), 3);
  std::vector<xen_pfn_t> frames = Frames(0, 200);
  xen_memory_reservation reservation = TestMachine::Reservation(3, frames.data(), 200);
  xen_memory_domain domain = {.domid = 3};
  multicall_entry_t entries[2] = {};
  entries[0].op = __HYPERVISOR_memory_op;
  entries[0].args[0] = XENMEM_populate_physmap;
  entries[0].args[1] = reinterpret_cast<std::uint64_t>(&reservation);
  entries[1].op = __HYPERVISOR_memory_op;
  entries[1].args[0] = XENMEM_current_reservation;
  entries[1].args[1] = reinterpret_cast<std::uint64_t>(&domain);
  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, entries, 2), 0);
  EXPECT_EQ(entries[0].result, 200u);
  EXPECT_EQ(entries[0].args[0], std::uint64_t{XENMEM_populate_physmap} | 192 << 6);
  EXPECT_EQ(entries[1].result, 200u);
}

TEST(HypervisorMulticallTest, AnEntryThatFailsDoesNotStopTheOthers) {
  TestMachine machine;
  multicall_entry_t entries[4] = {};
  // The bit that opts into a region is the outer call's.
  entries[3].op = __HYPERVISOR_xen_version | kRegionCall;
  entries[3].args[0] = XENVER_version;
  entries[0].op = 9999;
  entries[1].op = __HYPERVISOR_xen_version;
  entries[1].args[0] = XENVER_version;
  entries[2].op = __HYPERVISOR_multicall;  // in itself
  entries[2].args[0] = reinterpret_cast<std::uint64_t>(entries);
  entries[2].args[1] = 1;
  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, entries, 4), 0);
  EXPECT_EQ(static_cast<std::int64_t>(entries[3].result), -kENOSYS);
  EXPECT_EQ(static_cast<std::int64_t>(entries[0].result), -kENOSYS);
  EXPECT_EQ(entries[1].result, std::uint64_t{4 << 16 | 17});
  EXPECT_EQ(static_cast<std::int64_t>(entries[2].result), -kEINVAL);
  EXPECT_EQ(entries[1].op, std::uint64_t{__HYPERVISOR_xen_version});

  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, entries, 0), 0);
  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, std::uint64_t{0}, 1), -kEFAULT);
  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, std::uint64_t{0}, 0), 0);
}

TEST(HypervisorMulticallTest, LongListsAreContinued) {
  TestMachine machine({.preempt_interval = 8});
  std::vector<multicall_entry_t> entries(100);
  for (multicall_entry_t& entry : entries) {
    entry.op = __HYPERVISOR_xen_version;
    entry.args[0] = XENVER_version;
  }
  HypercallFrame frame = machine.Frame(__HYPERVISOR_multicall, entries.data(), entries.size());
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  EXPECT_GT(frame.arguments[0], reinterpret_cast<std::uint64_t>(entries.data()));
  EXPECT_LT(frame.arguments[1], 100u);
  EXPECT_EQ(machine.hypervisor.Call(*machine.vcpu, frame), 0);
  for (const multicall_entry_t& entry : entries)
    EXPECT_EQ(entry.result, std::uint64_t{4 << 16 | 17});
}

TEST(HypervisorMemoryExhaustionTest, NothingIsLostWhenThePoolIsUsedUp) {
  TestMachine machine({.pool_bytes = std::uint64_t{16} << 20, .pages = 64});
  ASSERT_EQ(machine.build_result, 0);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  for (int round = 0; round < 3; ++round) {
    const std::uint32_t flags =
        round % 2 == 0 ? 0u : unsigned{XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap};
    ASSERT_EQ(machine.CreateDomain(3, 100000, flags), 3);
    std::vector<xen_pfn_t> frames = Frames(0, 8192);
    xen_memory_reservation reservation = TestMachine::Reservation(3, frames.data(), frames.size());
    const std::int64_t done =
        machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
    EXPECT_GT(done, 3000);
    EXPECT_LT(done, 4096);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 3), 0);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
  }
}

// A pool of which 31 address bits reach the lower half.
class HypervisorAddressBitsTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kEdge = std::uint64_t{1} << (31 - kPageShift);
  static constexpr std::uint64_t kHalf = 8192;

  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    ASSERT_EQ(machine.CreateDomain(kDomain, 1 << 20), kDomain);
  }
  void TearDown() override {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kDomain), 0);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
  }

  static bool IsLow(xen_pfn_t frame) { return frame < kEdge; }
  // The machine frames of up to `count` new pages.
  std::vector<xen_pfn_t> Populate(std::uint64_t count, std::uint32_t flags) {
    std::vector<xen_pfn_t> frames = Frames(0, count);
    xen_memory_reservation reservation = TestMachine::Reservation(kDomain, frames.data(), count);
    reservation.mem_flags = flags;
    const std::int64_t done =
        machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
    EXPECT_GE(done, 0);
    frames.resize(static_cast<std::size_t>(done));
    return frames;
  }
  void GiveUp(std::vector<xen_pfn_t> frames) {
    xen_memory_reservation reservation =
        TestMachine::Reservation(kDomain, frames.data(), frames.size());
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation),
              static_cast<std::int64_t>(frames.size()));
  }

  static constexpr std::uint16_t kDomain = 3;
  static constexpr std::uint32_t kFew = XENMEMF_address_bits(31);
  TestMachine machine{{.pool_bytes = 2 * kHalf << kPageShift,
                       .pool_begin = (kEdge - kHalf) << kPageShift,
                       .pages = 16}};
  std::uint64_t free_before = 0;
};

TEST_F(HypervisorAddressBitsTest, WhoeverDoesNotAskLeavesTheLowerPartToTheLast) {
  const std::vector<xen_pfn_t> frames = Populate(2 * kHalf, 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, 0u);
  // Runs of several blocks are open at a time.
  const auto first_low = std::find_if(frames.begin(), frames.end(), IsLow);
  EXPECT_GT(first_low - frames.begin(), static_cast<std::ptrdiff_t>(kHalf / 2));
  EXPECT_NE(first_low, frames.end());
}

TEST_F(HypervisorAddressBitsTest, WhoeverAsksGetsAllOfTheLowerPartAndNothingElse) {
  std::vector<xen_pfn_t> low = Populate(2 * kHalf, kFew);
  EXPECT_GT(low.size(), kHalf / 2);
  EXPECT_TRUE(std::all_of(low.begin(), low.end(), IsLow));
  EXPECT_TRUE(Populate(1, kFew).empty());
  // Whatever is free above, and however the lower part is fragmented.
  const std::vector<xen_pfn_t> high = Populate(kHalf, 0);
  EXPECT_TRUE(std::none_of(high.begin(), high.end(), IsLow));
  std::vector<xen_pfn_t> given;
  for (std::size_t i = 0; i < low.size(); i += 2) given.push_back(low[i]);
  GiveUp(given);
  GiveUp({high.begin(), high.end()});
  std::vector<xen_pfn_t> again = Populate(2 * kHalf, kFew);
  std::sort(given.begin(), given.end());
  std::sort(again.begin(), again.end());
  EXPECT_EQ(again, given);
}

// The pages of a run that nobody took are clear; those beside them that came back are not.
TEST(HypervisorMemoryExhaustionTest, WhatIsClearStaysApartFromWhatIsNot) {
  TestMachine machine({.pages = 16});
  ASSERT_EQ(machine.CreateDomain(3, 1 << 20), 3);
  for (const std::uint64_t count : {5, 8, 11}) {
    std::vector<xen_pfn_t> frames = Frames(0, count);
    xen_memory_reservation reservation = TestMachine::Reservation(3, frames.data(), count);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation),
              static_cast<std::int64_t>(count));
    for (const xen_pfn_t frame : frames) std::memset(machine.BytesOf(frame), 0xff, kPageSize);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation),
              static_cast<std::int64_t>(count));
    // Too much: the heap looks for what it has everywhere.
    xen_pfn_t large = 0;
    reservation = TestMachine::Reservation(3, &large, 1, 18);
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation), 0);
    machine.ExpectBooksAddUp();
  }
}

TEST(HypervisorMemoryExhaustionTest, FragmentsGrowTogetherAgain) {
  TestMachine machine({.pages = 16});
  ASSERT_EQ(machine.CreateDomain(3, 1 << 20, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap), 3);
  for (int round = 0; round < 2; ++round) {
    std::vector<xen_pfn_t> frames = Frames(0, 12000);
    xen_memory_reservation reservation = TestMachine::Reservation(3, frames.data(), frames.size());
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation), 12000);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation),
              12000);
    std::vector<xen_pfn_t> large = {0, 2048, 4096};
    reservation = TestMachine::Reservation(3, large.data(), large.size(), 11);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation), 3);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation), 3);
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
