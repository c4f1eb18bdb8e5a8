// Memory is short. What was given up waits for the calls that may still use it: whoever needs it
// meanwhile is not refused, and the call ends as if the memory had been there. What is not there is
// refused, and nothing of the call stays.

#include <functional>
#include <numeric>
#include <ostream>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_books.h"
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

class HypervisorScarceMemoryTest : public testing::Test {
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
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 1u);
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
    taken.resize(before + Books::StatisticsOf(machine.hypervisor).free_pages);
    xen_memory_reservation request =
        TestMachine::Reservation(kTaker, taken.data() + before, taken.size() - before);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request),
              static_cast<std::int64_t>(taken.size() - before));
    ASSERT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, 0u);
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

TEST_F(HypervisorScarceMemoryTest, Reservations) {
  for (const std::uint64_t op : {XENMEM_populate_physmap, XENMEM_increase_reservation}) {
    std::vector<xen_pfn_t> gfns(100);
    std::iota(gfns.begin(), gfns.end(), kFar);
    xen_memory_reservation request = TestMachine::Reservation(kGuest, gfns.data(), 100);
    EXPECT_EQ(WhenDue(__HYPERVISOR_memory_op, op, &request), 100);
  }
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages, kGuestPages + 200);
}

TEST_F(HypervisorScarceMemoryTest, AReservationKeepsWhatItHas) {
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
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages, kGuestPages + done);
  EXPECT_EQ(machine.hypervisor.Call(*machine.vcpu, frame), 100);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).pages, kGuestPages + 100);
}

TEST_F(HypervisorScarceMemoryTest, Exchange) {
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

TEST_F(HypervisorScarceMemoryTest, APhysmapGrows) {
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

TEST_F(HypervisorScarceMemoryTest, WhatADomainNeedsBesidesItsMemory) {
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

// And of which none comes back.
TEST_F(HypervisorScarceMemoryTest, AParameterHasNoRoom) {
  TakeAll();
  for (const unsigned op : {HVMOP_set_param, HVMOP_get_param}) {
    xen_hvm_param param = {};
    param.domid = kGuest;
    param.index = HVM_PARAM_STORE_PFN;
    EXPECT_EQ(machine.Call(__HYPERVISOR_hvm_op, op, &param), -kENOMEM);
  }
}

// With each number of pages that is not enough.
class HypervisorDueRegionTest : public HypervisorScarceMemoryTest,
                                public testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::uint64_t kNeeded = 4;  // the registry, its slots, the region, its words
};

INSTANTIATE_TEST_SUITE_P(, HypervisorDueRegionTest, testing::Range<std::uint64_t>(0, 4));

TEST_P(HypervisorDueRegionTest, ARegionBegins) {
  GuestKernel kernel(machine, kNativeOrder, 32);
  const std::uint64_t before = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
  const std::int64_t handle = CallWhenDue(
      machine.Frame(kXencommOp, XencommOp::kRegister, kernel.header().value, 1), GetParam());
  EXPECT_GT(handle, 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).overhead_pages - before, kNeeded);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), 0);
}

TEST_F(HypervisorScarceMemoryTest, AnEntryOfAList) {
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
TEST_F(HypervisorScarceMemoryTest, IsNotWaitedForForEver) {
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
TEST_F(HypervisorScarceMemoryTest, NothingIsDueWhereNothingWaits) {
  TakeAll();
  xen_domctl_t op = NewDomain();
  HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);
  EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), -kENOMEM);
  EXPECT_FALSE(frame.continued);
}

// Every call that takes pages, with each number of pages that may not be enough for it.
struct Taking {
  const char* name;
  std::uint32_t domctl;  // or 0, and:
  std::uint64_t hypercall = 0;
  std::uint64_t op = 0;
  std::int64_t answer = 0;  // when it has enough
};

void PrintTo(const Taking& taking, std::ostream* out) { *out << taking.name; }

class HypervisorExhaustionTest : public HypervisorScarceMemoryTest,
                                 public testing::WithParamInterface<Taking> {
 protected:
  // The call, with all that it could be about.
  HypercallFrame Frame() {
    const Taking& taking = GetParam();
    if (taking.domctl != 0) {
      Prepare(taking.domctl);
      domctl.cmd = taking.domctl;
      domctl.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
      domctl.domain = taking.domctl == XEN_DOMCTL_createdomain ? kNew : kGuest;
      return machine.Frame(__HYPERVISOR_domctl, &domctl);
    }
    if (taking.hypercall == __HYPERVISOR_event_channel_op) {
      offer = {.dom = kGuest, .remote_dom = 0, .port = 0};
      return machine.Frame(taking.hypercall, taking.op, &offer);
    }
    if (taking.hypercall == __HYPERVISOR_hvm_op) {
      param.domid = kGuest;
      param.index = HVM_PARAM_STORE_PFN;
      return machine.Frame(taking.hypercall, taking.op, &param);
    }
    if (taking.hypercall == __HYPERVISOR_grant_table_op) {
      setup.dom = kGuest;
      setup.nr_frames = 8;
      setup.frame_list.p = frames;
      version.version = 2;
      void* argument = taking.op == GNTTABOP_setup_table ? static_cast<void*>(&setup) : &version;
      return machine.Frame(taking.hypercall, taking.op, argument, 1);
    }
    switch (taking.op) {
      case XENMEM_set_memory_map:
        map.domid = kGuest;
        map.map.nr_entries = 1;
        map.map.buffer.p = &entry;
        return machine.Frame(taking.hypercall, taking.op, &map);
      case XENMEM_add_to_physmap:
        add.domid = kGuest;
        add.space = XENMAPSPACE_gmfn;
        add.idx = 1;
        add.gpfn = 4 * kFar;
        return machine.Frame(taking.hypercall, taking.op, &add);
      case XENMEM_add_to_physmap_batch:
        frames[0] = 8 * kFar;
        batch.domid = kGuest;
        batch.space = XENMAPSPACE_gmfn_foreign;
        batch.u.foreign_domid = kTaker;
        batch.size = 1;
        batch.idxs.p = taken.data();
        batch.gpfns.p = frames;
        batch.errs.p = &error;
        return machine.Frame(taking.hypercall, taking.op, &batch);
      default:
        for (unsigned i = 0; i < 8; ++i) frames[i] = 2 * kFar + 1000 * i;
        reservation = TestMachine::Reservation(kGuest, frames, 8);
        return machine.Frame(taking.hypercall, taking.op, &reservation);
    }
  }
  void Prepare(std::uint32_t cmd) {
    domctl = cmd == XEN_DOMCTL_createdomain
                 ? TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2)
                 : xen_domctl_t{};
    if (cmd == XEN_DOMCTL_shadow_op) {
      domctl.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
    }
    if (cmd == XEN_DOMCTL_setvcpucontext) domctl.u.vcpucontext.ctxt.p = &context;
    if (cmd == XEN_DOMCTL_set_paging_mempool_size) {
      domctl.u.paging_mempool.size = 260 << kPageShift;
    }
    if (cmd == XEN_DOMCTL_setvnumainfo) {
      domctl.u.vnuma.nr_vnodes = 1;
      domctl.u.vnuma.nr_vmemranges = 1;
      domctl.u.vnuma.nr_vcpus = 1;
      domctl.u.vnuma.vdistance.p = distances;
      domctl.u.vnuma.vcpu_to_vnode.p = distances;
      domctl.u.vnuma.vnode_to_pnode.p = distances;
      domctl.u.vnuma.vmemrange.p = &range;
    }
  }

  xen_domctl_t domctl = {};
  evtchn_alloc_unbound offer = {};
  xen_hvm_param param = {};
  gnttab_setup_table setup = {};
  gnttab_set_version version = {};
  xen_foreign_memory_map map = {};
  e820_entry entry = {.addr = 0, .size = 1 << 20, .type = 1};
  xen_add_to_physmap add = {};
  xen_add_to_physmap_batch batch = {};
  xen_memory_reservation reservation = {};
  xen_pfn_t frames[8] = {};
  int error = 0;
  vcpu_guest_context_t context = {};
  std::uint32_t distances[1] = {0};
  xen_vmemrange_t range = {0, 4096, 0, 0};
};

INSTANTIATE_TEST_SUITE_P(
    , HypervisorExhaustionTest,
    testing::Values(Taking{"CreateDomain", XEN_DOMCTL_createdomain},
                    Taking{"LogDirty", XEN_DOMCTL_shadow_op},
                    Taking{"VcpuContext", XEN_DOMCTL_setvcpucontext},
                    Taking{"PagingPool", XEN_DOMCTL_set_paging_mempool_size},
                    Taking{"Topology", XEN_DOMCTL_setvnumainfo},
                    Taking{"Policy", XEN_DOMCTL_set_cpu_policy},
                    Taking{"Port", 0, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound},
                    Taking{"HvmParameter", 0, __HYPERVISOR_hvm_op, HVMOP_set_param},
                    Taking{"Grants", 0, __HYPERVISOR_grant_table_op, GNTTABOP_setup_table},
                    Taking{"GrantVersion", 0, __HYPERVISOR_grant_table_op, GNTTABOP_set_version},
                    Taking{"MemoryMap", 0, __HYPERVISOR_memory_op, XENMEM_set_memory_map},
                    Taking{"Place", 0, __HYPERVISOR_memory_op, XENMEM_add_to_physmap},
                    Taking{"PlaceForeign", 0, __HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch},
                    Taking{"Populate", 0, __HYPERVISOR_memory_op, XENMEM_populate_physmap, 8},
                    Taking{"Increase", 0, __HYPERVISOR_memory_op, XENMEM_increase_reservation, 8}),
    [](const auto& each) { return each.param.name; });

TEST_P(HypervisorExhaustionTest, NothingIsLostWithTooFewPages) {
  bool was_refused = false;
  std::uint64_t spare = 0;
  for (;; ++spare) {
    ASSERT_LT(spare, 300u) << "it never has enough";
    TakeAll();
    GiveUp(spare);
    const std::int64_t answer = machine.hypervisor.Call(*machine.vcpu, Frame());
    const bool is_done = answer == GetParam().answer && error == 0 && setup.status == GNTST_okay;
    machine.ExpectBooksAddUp();
    if (HasFailure() || is_done) break;
    was_refused = true;
    error = 0;
    setup.status = 0;
    if (answer > 0) {
      // What it got is not what it gets the next time.
      ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
      ASSERT_EQ(machine.CreateDomain(kGuest, 1000, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap),
                kGuest);
    }
  }
  EXPECT_TRUE(was_refused);
  if (GetParam().domctl == XEN_DOMCTL_createdomain) {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kNew), 0);
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
