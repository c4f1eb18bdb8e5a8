// No leg without an end: whatever a guest or its toolstack can make long stops and goes on, with
// the locks dropped. What a leg did is counted in pieces (work.h), not in time.

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint16_t kGuest = 3;
constexpr std::uint16_t kSource = 4;
constexpr std::uint16_t kBuilt = 5;
constexpr std::uint32_t kHvm = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
constexpr unsigned kInterval = 32;
// The highest gfn below the outer ones: the top of the p2m is as large as it gets.
constexpr std::uint64_t kHighest = (std::uint64_t{1} << 27) - 1;

class HypervisorLegsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    domain0_overhead = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
    for (const std::uint16_t id : {kGuest, kSource}) {
      ASSERT_EQ(machine.CreateDomain(id, 200, kHvm), id);
      std::vector<xen_pfn_t> frames(100);
      std::iota(frames.begin(), frames.end(), 0);
      xen_memory_reservation request = TestMachine::Reservation(id, frames.data(), frames.size());
      ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request), 100);
    }
  }
  void TearDown() override {
    for (const std::uint16_t id : {kGuest, kSource}) machine.Domctl(XEN_DOMCTL_destroydomain, id);
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.domains, 1u);
    EXPECT_EQ(now.held_frames, 0u);
    const std::uint64_t kept =
        Books::StatisticsOf(machine.hypervisor, 0).overhead_pages - domain0_overhead;
    EXPECT_EQ(now.free_pages + kept, free_before);
    // Every piece is asked after, and a leg does what it may.
    EXPECT_EQ(now.longest_leg, kInterval);
  }

  // A page of another domain's, or one of its own, as far up as the toolstack likes.
  void MapForeign(std::uint64_t frame, std::uint64_t gfn) {
    ASSERT_EQ(machine.MapForeign(kGuest, gfn, kSource, frame), 0);
  }
  void OpenPorts(unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      evtchn_alloc_unbound offer = {.dom = kGuest, .remote_dom = 0, .port = 0};
      ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
      last_port = offer.port;
    }
  }
  std::uint32_t StatusOf(std::uint32_t port) {
    evtchn_status status = {};
    status.dom = kGuest;
    status.port = port;
    EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_status, &status), 0);
    return status.status;
  }
  static xen_domctl_t Request(std::uint32_t cmd) {
    xen_domctl_t op = {};
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = kGuest;
    return op;
  }
  // The legs that a call takes; what it answers is in `answer`.
  unsigned Legs(HypercallFrame frame) {
    unsigned legs = 0;
    do {
      ++legs;
      answer = machine.hypervisor.Hypercall(*machine.vcpu, frame);
    } while (frame.continued);
    return legs;
  }

  TestMachine machine{{.pages = 64, .preempt_interval = kInterval}};
  std::uint64_t free_before = 0;
  std::uint64_t domain0_overhead = 0;
  std::uint32_t last_port = 0;
  std::int64_t answer = 0;
};

TEST_F(HypervisorLegsTest, ADomainWithAFarPhysmapEndsInLegs) {
  MapForeign(1, 10);
  MapForeign(2, 1000000);
  MapForeign(3, kHighest);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 3u);
  xen_domctl_t op = Request(XEN_DOMCTL_destroydomain);
  // For each leaf that there might be a look, and for each entry of those that there are.
  EXPECT_GT(Legs(machine.Frame(__HYPERVISOR_domctl, &op)), (1u << 18) / kInterval);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
}

// Of what is farther than that, whole tables that are not there are one look.
TEST_F(HypervisorLegsTest, ADomainWithAnOuterPhysmapEndsInFewerLegs) {
  for (const std::uint64_t gfn : {std::uint64_t{1} << 27, std::uint64_t{1} << 35}) {
    MapForeign(gfn == std::uint64_t{1} << 27 ? 1 : 2, gfn);
  }
  MapForeign(3, (std::uint64_t{1} << 36) - 1);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 3u);
  xen_domctl_t op = Request(XEN_DOMCTL_destroydomain);
  EXPECT_LT(Legs(machine.Frame(__HYPERVISOR_domctl, &op)), 10000u / kInterval);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
}

TEST_F(HypervisorLegsTest, NobodyLooksAtALeafThatIsSomebodyElsesByNow) {
  constexpr std::uint16_t kTaker = 77;
  ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20, kHvm), kTaker);
  MapForeign(1, kHighest);
  xen_domctl_t op = Request(XEN_DOMCTL_destroydomain);
  HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);
  // Far enough for its first leaf, which all its own pages were in.
  for (unsigned legs = 0; legs < 100; ++legs) {
    machine.hypervisor.Hypercall(*machine.vcpu, frame);
    ASSERT_TRUE(frame.continued);
  }
  // Whoever has its memory now writes what an entry looks like.
  std::vector<xen_pfn_t> frames(Books::StatisticsOf(machine.hypervisor).free_pages);
  std::iota(frames.begin(), frames.end(), 0);
  xen_memory_reservation request = TestMachine::Reservation(kTaker, frames.data(), frames.size());
  const std::int64_t taken =
      machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request);
  ASSERT_GT(taken, 0);
  const std::uint64_t first = machine.hypervisor.FrameOf(kTaker, 0);
  for (std::uint64_t gfn = 0; gfn < static_cast<std::uint64_t>(taken); ++gfn) {
    auto* words =
        reinterpret_cast<std::uint64_t*>(machine.BytesOf(machine.hypervisor.FrameOf(kTaker, gfn)));
    std::fill_n(words, kPageSize / sizeof(*words), P2mEntry(first, P2mType::kRam).word());
  }
  xen_hvm_get_mem_type type = {};
  type.domid = kGuest;
  type.pfn = 5;
  ASSERT_EQ(machine.Call(__HYPERVISOR_hvm_op, HVMOP_get_mem_type, &type), 0);
  EXPECT_EQ(type.mem_type, HVMMEM_mmio_dm);
  // The ends of both.
  while (frame.continued) machine.hypervisor.Hypercall(*machine.vcpu, frame);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kTaker), 0);
}

TEST_F(HypervisorLegsTest, ADomainEndsInLegsWithAllThatItHas) {
  OpenPorts(300);
  xen_domctl_t op = Request(XEN_DOMCTL_set_paging_mempool_size);
  op.u.paging_mempool.size = 1000 << kPageShift;
  ASSERT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
  op = Request(XEN_DOMCTL_shadow_op);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  ASSERT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
  MapForeign(1, 10);
  op = Request(XEN_DOMCTL_destroydomain);
  const HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);

  // Given up again and again, and begun by somebody else: it goes on from where it was.
  HypercallFrame one = frame;
  unsigned legs = 0;
  std::uint64_t free_pages = Books::StatisticsOf(machine.hypervisor).free_pages;
  do {
    one = frame;
    ASSERT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, one), 0);
    ++legs;
    EXPECT_GE(Books::StatisticsOf(machine.hypervisor).free_pages, free_pages);
    free_pages = Books::StatisticsOf(machine.hypervisor).free_pages;
    // Nothing that it has given back comes anew meanwhile.
    xen_domctl_t resize = Request(XEN_DOMCTL_set_paging_mempool_size);
    resize.u.paging_mempool.size = 100 << kPageShift;
    const std::int64_t refused = machine.Call(__HYPERVISOR_domctl, &resize);
    EXPECT_EQ(refused, one.continued ? -kEINVAL : -kESRCH);
  } while (one.continued);
  // Ports, pages, entries, blocks of marks, the pool.
  EXPECT_GE(legs, (300u + 100 + 512 + 4096 + 1000) / kInterval);
}

TEST_F(HypervisorLegsTest, APagingPoolIsSizedInLegs) {
  constexpr std::uint64_t kPages = 2000;
  const std::uint64_t before = Books::StatisticsOf(machine.hypervisor).free_pages;
  xen_domctl_t op = Request(XEN_DOMCTL_set_paging_mempool_size);
  op.u.paging_mempool.size = kPages << kPageShift;
  EXPECT_GE(Legs(machine.Frame(__HYPERVISOR_domctl, &op)), (kPages - 256) / kInterval);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, before + 256 - kPages);

  op = Request(XEN_DOMCTL_shadow_op);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION;
  op.u.shadow_op.mb = 3;
  HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);
  unsigned legs = 0;
  for (; machine.hypervisor.Hypercall(*machine.vcpu, frame), frame.continued; ++legs) {
    // What is asked for is not overwritten by how far it came.
    ASSERT_EQ(op.u.shadow_op.mb, 3u);
  }
  EXPECT_GE(legs, (kPages - 768) / kInterval);
  EXPECT_EQ(op.u.shadow_op.mb, 3u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, before + 256 - 768);

  // More than there is: refused before any of it is taken.
  op = Request(XEN_DOMCTL_set_paging_mempool_size);
  op.u.paging_mempool.size = (before + 257) << kPageShift;
  EXPECT_EQ(Legs(machine.Frame(__HYPERVISOR_domctl, &op)), 1u);
  EXPECT_EQ(answer, -kENOMEM);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, before + 256 - 768);
}

TEST_F(HypervisorLegsTest, PortsAreResetInLegs) {
  OpenPorts(200);
  evtchn_reset reset = {.dom = kGuest};
  HypercallFrame frame = machine.Frame(__HYPERVISOR_event_channel_op, EVTCHNOP_reset, &reset);
  const HypercallFrame fresh = frame;
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  EXPECT_EQ(StatusOf(1), std::uint32_t{EVTCHNSTAT_closed});
  EXPECT_EQ(StatusOf(last_port), std::uint32_t{EVTCHNSTAT_unbound});

  // Given up there; what is opened anew is closed by the next one, which begins at the first port.
  OpenPorts(1);
  EXPECT_EQ(last_port, 1u);
  EXPECT_GE(Legs(fresh), 200 / kInterval);
  EXPECT_EQ(answer, 0);
  for (std::uint32_t port = 1; port <= 200; ++port) {
    ASSERT_EQ(StatusOf(port), std::uint32_t{EVTCHNSTAT_closed}) << port;
  }
  // And whoever goes on with the one that was given up finds that there is none.
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  EXPECT_FALSE(frame.continued);
  EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), -kEBUSY);
}

// What is behind the last processor is cleared: not as much as the guest says.
TEST_F(HypervisorLegsTest, BitmapsOfMoreProcessorsThanThereCanBeAreRefused) {
  std::uint8_t map[4] = {};
  xen_domctl_t op = Request(XEN_DOMCTL_getvcpuaffinity);
  op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
  op.u.vcpuaffinity.cpumap_hard.bitmap.p = map;
  op.u.vcpuaffinity.cpumap_hard.nr_bits = ~std::uint32_t{0};
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kE2BIG);
  op.u.vcpuaffinity.cpumap_hard.nr_bits = 32;
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
  op = Request(XEN_DOMCTL_getnodeaffinity);
  op.u.nodeaffinity.nodemap.bitmap.p = map;
  op.u.nodeaffinity.nodemap.nr_bits = ~std::uint32_t{0};
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kE2BIG);
  xen_sysctl_t pool = {};
  pool.u.cpupool_op.cpumap.bitmap.p = map;
  pool.u.cpupool_op.cpumap.nr_bits = ~std::uint32_t{0};
  for (const std::uint32_t each : {XEN_SYSCTL_CPUPOOL_OP_INFO, XEN_SYSCTL_CPUPOOL_OP_FREEINFO}) {
    pool.u.cpupool_op.op = each;
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_cpupool_op, pool), -kE2BIG);
  }
}

// More than the first call that ends after it puts back.
TEST_F(HypervisorLegsTest, WhatWaitedForALongCallIsThereWhenItIsNeeded) {
  ASSERT_EQ(machine.hypervisor.BuildDomain(
                {.id = kBuilt, .pages = 9000, .vcpus = 1, .space = SpaceKind::kRaw}),
            0);
  Vcpu* other = machine.hypervisor.ClaimVcpu(0, 1);
  ASSERT_NE(other, nullptr);
  class Waiting final : public Space {
   public:
    explicit Waiting(std::function<void()> action) : action_(std::move(action)) {}
    Mapping Resolve(VirtualAddress, std::uint64_t, std::uint64_t, Access, Cursor*) override {
      if (action_) std::exchange(action_, nullptr)();
      return Fault::kNotPresent;
    }

   private:
    std::function<void()> action_;
  } space([&] { EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kBuilt), 0); });
  machine.hypervisor.SetRawSpace(*other, space);
  machine.hypervisor.Call(*other, machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0,
                                                std::uint64_t{4096}));
  machine.hypervisor.ReleaseVcpu(*other);
  // All of it can be had at once.
  ASSERT_EQ(machine.CreateDomain(kBuilt, 1 << 20), kBuilt);
  std::vector<xen_pfn_t> frames(Books::StatisticsOf(machine.hypervisor).free_pages);
  std::iota(frames.begin(), frames.end(), 0);
  xen_memory_reservation request = TestMachine::Reservation(kBuilt, frames.data(), frames.size());
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request),
            static_cast<std::int64_t>(frames.size()));
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kBuilt), 0);
}

TEST_F(HypervisorLegsTest, ABuiltDomainEndsInLegsAndItsPagesAreNotLookedUpAnyMore) {
  ASSERT_EQ(machine.hypervisor.BuildDomain(
                {.id = kBuilt, .pages = 64, .vcpus = 1, .space = SpaceKind::kRaw}),
            0);
  Vcpu* vcpu = machine.hypervisor.ClaimVcpu(kBuilt, 0);
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpu);
  EXPECT_TRUE(memory.Map({5 << kPageShift}, 1, Access::kWrite).ok());
  xen_domctl_t op = Request(XEN_DOMCTL_destroydomain);
  op.domain = kBuilt;
  EXPECT_GE(Legs(machine.Frame(__HYPERVISOR_domctl, &op)), (64u + 512) / kInterval);
  EXPECT_EQ(memory.Map({5 << kPageShift}, 1, Access::kRead).fault().fault, Fault::kNoMemory);
  EXPECT_EQ(machine.hypervisor.FrameOf(kBuilt, 5), kNoFrame);
  machine.hypervisor.ReleaseVcpu(*vcpu);
}

// With the last of its elements a list is done: there is no leg behind it.
TEST(HypervisorLastLegTest, HasSomethingToDo) {
  TestMachine machine({.preempt_interval = 1});
  constexpr unsigned kExtents = 4;
  ASSERT_EQ(machine.CreateDomain(kGuest, kExtents, kHvm), kGuest);
  std::vector<xen_pfn_t> frames(kExtents);
  std::iota(frames.begin(), frames.end(), 0);
  for (const unsigned op : {XENMEM_populate_physmap, XENMEM_decrease_reservation}) {
    xen_memory_reservation request = TestMachine::Reservation(kGuest, frames.data(), kExtents);
    HypercallFrame frame = machine.Frame(__HYPERVISOR_memory_op, op, &request);
    for (unsigned done = 1; done <= kExtents; ++done) {
      EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), done < kExtents ? 0 : kExtents);
      EXPECT_EQ(frame.continued, done < kExtents) << done;
      EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages,
                op == XENMEM_populate_physmap ? done : kExtents - done);
    }
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
