// Memory that was given up waits for the calls that may still use it. Whoever needs it meanwhile is
// not refused: the call is left to another leg, and ends as if the memory had been there.

#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_guest_kernel.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint16_t kGuest = 3;
constexpr std::uint16_t kTaker = 4;
constexpr std::uint16_t kNew = 5;
constexpr std::uint64_t kGuestPages = 64;
constexpr std::uint64_t kDue = 600;
// Where the guest's p2m has no page yet.
constexpr std::uint64_t kFar = 1 << 16;

class HypervisorDueMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    other = machine.hypervisor.ClaimVcpu(0, 1);
    ASSERT_NE(other, nullptr);
    machine.hypervisor.SetRawSpace(*other, machine.direct);
    ASSERT_EQ(machine.CreateDomain(kGuest, 1000, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap), kGuest);
    ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20), kTaker);
    ASSERT_EQ(Populate(kGuestPages), static_cast<std::int64_t>(kGuestPages));
  }
  void TearDown() override {
    for (const std::uint16_t id : {kGuest, kTaker}) {
      EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, id), 0);
    }
    machine.hypervisor.ReleaseVcpu(*other);
    EXPECT_EQ(machine.hypervisor.statistics().domains, 1u);
  }

  std::int64_t Populate(std::uint64_t count) {
    std::vector<xen_pfn_t> gfns(count);
    std::iota(gfns.begin(), gfns.end(), 0);
    xen_memory_reservation request = TestMachine::Reservation(kGuest, gfns.data(), count);
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request);
  }

  static xen_domctl_t NewDomain() {
    xen_domctl_t op = TestMachine::CreateRequest();
    op.cmd = XEN_DOMCTL_createdomain;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = kNew;
    return op;
  }

  // All that there is.
  void TakeAll() {
    const std::size_t before = taken.size();
    taken.resize(before + machine.hypervisor.statistics().free_pages);
    xen_memory_reservation request =
        TestMachine::Reservation(kTaker, taken.data() + before, taken.size() - before);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request),
              static_cast<std::int64_t>(taken.size() - before));
    ASSERT_EQ(machine.hypervisor.statistics().free_pages, 0u);
  }
  void GiveUp(std::uint64_t count) {
    ASSERT_GE(taken.size(), count);
    xen_memory_reservation request =
        TestMachine::Reservation(kTaker, taken.data() + taken.size() - count, count);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request),
              static_cast<std::int64_t>(count));
    taken.resize(taken.size() - count);
  }
  // While a call is under way that began before: what is given up then waits for its end.
  void InMidCall(std::function<void()> action) {
    machine.meanwhile = std::move(action);
    vcpu_runstate_info area = {};
    EXPECT_EQ(machine.hypervisor.Call(
                  *other, machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 1, &area)),
              0);
    EXPECT_FALSE(machine.meanwhile);
  }

  // What the call answers that begins while all free memory but `spare` pages waits for another
  // call to end.
  std::int64_t CallWhenDue(HypercallFrame frame, std::uint64_t spare = 0) {
    TakeAll();
    GiveUp(spare);
    InMidCall([&] {
      GiveUp(kDue);
      for (int leg = 0; leg < 3; ++leg) {
        EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), 0);
        EXPECT_TRUE(frame.continued);
      }
    });
    return machine.hypervisor.Call(*machine.vcpu, frame);
  }
  template <class... Arguments>
  std::int64_t WhenDue(std::uint64_t index, Arguments... arguments) {
    return CallWhenDue(machine.Frame(index, arguments...));
  }

  TestMachine machine{{.pool_bytes = std::uint64_t{16} << 20, .pages = 128}};
  Vcpu* other = nullptr;
  std::vector<xen_pfn_t> taken;  // machine frames, of a PV domain
};

TEST_F(HypervisorDueMemoryTest, Reservations) {
  for (const std::uint64_t op : {XENMEM_populate_physmap, XENMEM_increase_reservation}) {
    std::vector<xen_pfn_t> gfns(100);
    std::iota(gfns.begin(), gfns.end(), kFar);
    xen_memory_reservation request = TestMachine::Reservation(kGuest, gfns.data(), 100);
    EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, op, &request), 100);
  }
  EXPECT_EQ(machine.hypervisor.domain_statistics(kGuest).pages, kGuestPages + 200);
}

TEST_F(HypervisorDueMemoryTest, AReservationKeepsWhatItHas) {
  TakeAll();
  std::vector<xen_pfn_t> gfns(100);
  std::iota(gfns.begin(), gfns.end(), kFar);
  xen_memory_reservation request = TestMachine::Reservation(kGuest, gfns.data(), 100);
  HypercallFrame frame = machine.Frame(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request);
  GiveUp(50);
  InMidCall([&] {
    GiveUp(kDue);
    machine.hypervisor.Hypercall(*machine.vcpu, frame);
    EXPECT_TRUE(frame.continued);
  });
  const std::uint64_t done = frame.arguments[0] >> 6;
  EXPECT_GT(done, 0u);
  EXPECT_LT(done, 50u);
  EXPECT_EQ(machine.hypervisor.domain_statistics(kGuest).pages, kGuestPages + done);
  EXPECT_EQ(machine.hypervisor.Call(*machine.vcpu, frame), 100);
  EXPECT_EQ(machine.hypervisor.domain_statistics(kGuest).pages, kGuestPages + 100);
}

TEST_F(HypervisorDueMemoryTest, Exchange) {
  TakeAll();
  xen_pfn_t in = taken.back();
  xen_pfn_t out = 0;
  taken.pop_back();
  xen_memory_exchange exchange = {};
  exchange.in = TestMachine::Reservation(kTaker, &in, 1);
  exchange.out = TestMachine::Reservation(kTaker, &out, 1);
  EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, XENMEM_exchange, &exchange), 0);
  EXPECT_EQ(exchange.nr_exchanged, 1u);
  EXPECT_NE(out, in);
}

TEST_F(HypervisorDueMemoryTest, APhysmapGrows) {
  xen_add_to_physmap add = {};
  add.domid = kGuest;
  add.space = XENMAPSPACE_gmfn_range;
  add.idx = 1;
  // The second half needs a page of the p2m that is not there yet.
  add.gpfn = 508;
  add.size = 8;
  EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);

  std::uint64_t indices[] = {20, 21};
  // The second needs a page that the first one did not.
  xen_pfn_t gfns[] = {5, 4 * kFar};
  int errors[] = {7, 7};
  xen_add_to_physmap_batch batch = {};
  batch.domid = kGuest;
  batch.space = XENMAPSPACE_gmfn;
  batch.size = 2;
  batch.idxs.p = indices;
  batch.gpfns.p = gfns;
  batch.errs.p = errors;
  EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, &batch), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], 0);

  gnttab_query_size size = {};
  size.dom = kGuest;
  EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, &size, 1), 0);
  EXPECT_EQ(size.nr_frames, 1u);
  add.space = XENMAPSPACE_grant_table;
  add.idx = 7;
  add.gpfn = 5;
  EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
}

TEST_F(HypervisorDueMemoryTest, WhatADomainNeedsBesidesItsMemory) {
  xen_domctl_t op = NewDomain();
  EXPECT_EQ(WhenDue(__HYPERVISOR_domctl, &op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kNew), 0);

  op = {};
  op.cmd = XEN_DOMCTL_shadow_op;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op.domain = kGuest;
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION;
  op.u.shadow_op.mb = 2;
  EXPECT_EQ(WhenDue(__HYPERVISOR_domctl, &op), 0);
  EXPECT_EQ(op.u.shadow_op.mb, 2u);

  evtchn_alloc_unbound offer = {.dom = kGuest, .remote_dom = 0, .port = 0};
  EXPECT_EQ(WhenDue(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
  EXPECT_EQ(offer.port, 1u);

  xen_pfn_t frames[8] = {};
  gnttab_setup_table setup = {};
  setup.dom = kGuest;
  setup.nr_frames = 8;
  setup.frame_list.p = frames;
  EXPECT_EQ(WhenDue(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1), 0);
  EXPECT_EQ(setup.status, GNTST_okay);
  gnttab_query_size size = {};
  size.dom = DOMID_SELF;
  EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, &size, 1), 0);
  EXPECT_EQ(size.nr_frames, 1u);
  gnttab_set_version version = {.version = 2};
  EXPECT_EQ(WhenDue(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, &version, 1), 0);
  EXPECT_EQ(version.version, 2u);

  xen_memory_map map = {.nr_entries = 1, .buffer = {}};
  e820_entry entry = {.addr = 0, .size = 1 << 20, .type = 1};
  xen_foreign_memory_map foreign = {};
  foreign.domid = kGuest;
  foreign.map = map;
  foreign.map.buffer.p = &entry;
  EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, XENMEM_set_memory_map, &foreign), 0);
}

// With each number of pages that is not enough.
class HypervisorDueRegionTest : public HypervisorDueMemoryTest,
                                public testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::uint64_t kNeeded = 4;  // the registry, its slots, the region, its words
};

INSTANTIATE_TEST_SUITE_P(, HypervisorDueRegionTest, testing::Range<std::uint64_t>(0, 4));

TEST_P(HypervisorDueRegionTest, ARegionBegins) {
  GuestKernel kernel(machine, kNativeOrder, 32);
  const std::uint64_t before = machine.hypervisor.domain_statistics(0).overhead_pages;
  const std::int64_t handle = CallWhenDue(
      machine.Frame(kXencommOp, XencommOp::kRegister, kernel.header().value, 1), GetParam());
  EXPECT_GT(handle, 0);
  EXPECT_EQ(machine.hypervisor.domain_statistics(0).overhead_pages - before, kNeeded);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
}

TEST_F(HypervisorDueMemoryTest, AnEntryOfAList) {
  std::vector<xen_pfn_t> gfns(10);
  std::iota(gfns.begin(), gfns.end(), kFar);
  xen_memory_reservation request = TestMachine::Reservation(kGuest, gfns.data(), 10);
  multicall_entry_t entries[3] = {};
  for (multicall_entry_t& entry : entries) {
    entry.op = __HYPERVISOR_xen_version;
    entry.args[0] = XENVER_version;
    entry.result = 7;
  }
  entries[1].op = __HYPERVISOR_memory_op;
  entries[1].args[0] = XENMEM_populate_physmap;
  entries[1].args[1] = reinterpret_cast<std::uint64_t>(&request);
  EXPECT_EQ(WhenDue(__HYPERVISOR_multicall, entries, 3), 0);
  EXPECT_EQ(entries[0].result, std::uint64_t{4 << 16 | 17});
  EXPECT_EQ(entries[1].result, 10u);
  EXPECT_EQ(entries[2].result, std::uint64_t{4 << 16 | 17});
}

// The other call may never end.
TEST_F(HypervisorDueMemoryTest, IsNotWaitedForForEver) {
  xen_domctl_t op = NewDomain();
  TakeAll();
  InMidCall([&] {
    GiveUp(kDue);
    EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kENOMEM);
  });
  // The next one has all the time again.
  EXPECT_EQ(WhenDue(__HYPERVISOR_domctl, &op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kNew), 0);
}

// What is not free at all is refused at once.
TEST_F(HypervisorDueMemoryTest, NothingIsDueWhereNothingWaits) {
  TakeAll();
  xen_domctl_t op = NewDomain();
  HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);
  EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), -kENOMEM);
  EXPECT_FALSE(frame.continued);
}

}  // namespace
}  // namespace xencomm::hypervisor
