// What a toolstack does to a domain besides giving it memory: vcpus, affinity, scheduling, types of
// pages, log-dirty, physmap, events, grants, parameters; and what it asks of the machine.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"
#include "xencomm/descriptor.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint16_t kPv = 3;
constexpr std::uint16_t kHvm = 4;
constexpr std::uint16_t kMissing = 99;

class HypervisorToolstackTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    // The leaf of the table of domains stays once it is there.
    free_before = machine.hypervisor.statistics().free_pages;
    ASSERT_EQ(machine.CreateDomain(kPv, 200, 0, 2), kPv);
    ASSERT_EQ(machine.CreateDomain(kHvm, 200, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2), kHvm);
    pv_frames.resize(64);
    std::iota(pv_frames.begin(), pv_frames.end(), 0);
    ASSERT_EQ(Populate(kPv, pv_frames), 64);
    std::vector<xen_pfn_t> frames(64);
    std::iota(frames.begin(), frames.end(), 0);
    ASSERT_EQ(Populate(kHvm, frames), 64);
  }
  void TearDown() override {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kPv), 0);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kHvm), 0);
    const Statistics now = machine.hypervisor.statistics();
    EXPECT_EQ(now.domains, 1u);
    EXPECT_EQ(now.held_frames, 0u);
    // What domain 0 keeps of its own: its ports and its grant table.
    const std::uint64_t kept =
        machine.hypervisor.domain_statistics(0).overhead_pages - domain0_overhead;
    EXPECT_EQ(now.free_pages + kept, free_before);
  }

  std::int64_t Populate(std::uint16_t domain, std::vector<xen_pfn_t>& frames) {
    xen_memory_reservation reservation =
        TestMachine::Reservation(domain, frames.data(), frames.size());
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
  }
  template <class T>
  std::int64_t MemoryOp(unsigned op, T& argument) {
    return machine.Call(__HYPERVISOR_memory_op, op, &argument);
  }
  template <class T>
  std::int64_t EventOp(unsigned op, T& argument) {
    return machine.Call(__HYPERVISOR_event_channel_op, op, &argument);
  }
  template <class T>
  std::int64_t GrantOp(unsigned op, T& argument, unsigned count = 1) {
    return machine.Call(__HYPERVISOR_grant_table_op, op, &argument, count);
  }
  std::int64_t Pages(std::uint16_t domain) {
    xen_memory_domain request = {.domid = domain};
    return MemoryOp(XENMEM_current_reservation, request);
  }
  // One byte of a domain's page, as a toolstack that maps it writes it.
  void Touch(std::uint16_t domain, std::uint64_t frame, std::byte value) {
    std::uint64_t mfn;
    ASSERT_EQ(machine.hypervisor.HoldFrame(domain, frame, Access::kWrite, &mfn), 0);
    *machine.BytesOf(mfn) = value;
    machine.hypervisor.ReleaseFrame(mfn);
  }

  TestMachine machine;
  std::uint64_t free_before = 0;
  std::uint64_t domain0_overhead = machine.hypervisor.domain_statistics(0).overhead_pages;
  std::vector<xen_pfn_t> pv_frames;
};

TEST_F(HypervisorToolstackTest, DescribesVcpus) {
  xen_domctl_t op = {};
  op.u.getvcpuinfo.vcpu = 1;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kPv, op), 0);
  EXPECT_EQ(op.u.getvcpuinfo.online, 0);
  EXPECT_EQ(op.u.getvcpuinfo.cpu, 1u);
  op.u.getvcpuinfo.vcpu = 2;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kPv, op), -kEINVAL);
  op.u.getvcpuinfo.vcpu = 0;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, 0, op), 0);
  EXPECT_EQ(op.u.getvcpuinfo.running, 1);
}

TEST_F(HypervisorToolstackTest, KeepsVcpuContexts) {
  std::vector<vcpu_guest_context_t> contexts(2);
  xen_domctl_t op = {};
  op.u.vcpucontext.ctxt.p = contexts.data();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op), -kENODATA);
  std::memset(contexts.data(), 0, sizeof(contexts[0]));
  contexts[0].user_regs.rip = 0x1000;
  contexts[0].flags = VGCF_online;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  op.u.vcpucontext.ctxt.p = &contexts[1];
  // Complete it is with its hardware's state.
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op), -kENODATA);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kHvm, op), 0);
  EXPECT_EQ(op.u.getdomaininfo.nr_online_vcpus, 1u);

  // A PV context names frames that must be the domain's own.
  op.u.vcpucontext.vcpu = 0;
  op.u.vcpucontext.ctxt.p = contexts.data();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);
  contexts[0].ctrlreg[3] = pv_frames[5] << 12;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), 0);
  op.u.vcpucontext.ctxt.p = &contexts[1];
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kPv, op), 0);
  EXPECT_EQ(contexts[1].ctrlreg[3], pv_frames[5] << 12);
  EXPECT_EQ(contexts[1].ctrlreg[0], 0x80050033u);  // the processor's, not the guest's to choose
  op.u.vcpucontext.ctxt.p = contexts.data();
  contexts[0].user_regs.rip = std::uint64_t{1} << 47;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, 0, op), -kEINVAL);
  op.u.vcpucontext.vcpu = 7;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, SetsAndTellsAffinity) {
  std::uint8_t hard[4] = {0xff, 0xff, 0xff, 0xff};
  std::uint8_t soft[4] = {0xff, 0xff, 0xff, 0xff};
  xen_domctl_t op = {};
  op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
  op.u.vcpuaffinity.cpumap_hard.bitmap.p = hard;
  op.u.vcpuaffinity.cpumap_hard.nr_bits = 32;
  op.u.vcpuaffinity.cpumap_soft.bitmap.p = soft;
  op.u.vcpuaffinity.cpumap_soft.nr_bits = 32;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), 0);
  EXPECT_EQ(hard[0], 3);  // two processors
  EXPECT_EQ(hard[3], 0);  // and no more
  hard[0] = 2;
  soft[0] = 1;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpuaffinity, kPv, op), 0);
  EXPECT_EQ(hard[0], 2);
  EXPECT_EQ(soft[0], 0);  // what is left of it in the hard one
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), 0);
  EXPECT_EQ(hard[0], 2);
  EXPECT_EQ(soft[0], 1);
  hard[0] = 4;  // a processor that there is not
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpuaffinity, kPv, op), -kEINVAL);
  op.u.vcpuaffinity.flags = 0;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), -kEINVAL);
  op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
  op.u.vcpuaffinity.cpumap_hard.bitmap.p = nullptr;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, KeepsCredit2Parameters) {
  xen_domctl_t op = {};
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), 0);
  EXPECT_EQ(op.u.scheduler_op.u.credit2.weight, 256);
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
  op.u.scheduler_op.u.credit2.weight = 512;
  op.u.scheduler_op.u.credit2.cap = 200;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), 0);
  op.u.scheduler_op.u.credit2.cap = 201;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), -kEINVAL);
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), 0);
  EXPECT_EQ(op.u.scheduler_op.u.credit2.weight, 512);
  EXPECT_EQ(op.u.scheduler_op.u.credit2.cap, 200);
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, TellsTheTypesOfPages) {
  std::vector<xen_pfn_t> frames = {pv_frames[0], pv_frames[1], std::uint64_t{1} << 44};
  xen_domctl_t op = {};
  op.u.getpageframeinfo3.num = frames.size();
  op.u.getpageframeinfo3.array.p = frames.data();
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getpageframeinfo3, kPv, op), 0);
  EXPECT_EQ(frames[0], std::uint64_t{XEN_DOMCTL_PFINFO_NOTAB});
  EXPECT_EQ(frames[2], std::uint64_t{XEN_DOMCTL_PFINFO_XTAB});
  op.u.getpageframeinfo3.num = 1025;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getpageframeinfo3, kPv, op), -kE2BIG);
}

TEST_F(HypervisorToolstackTest, LogsPagesThatAGuestsCallWrote) {
  constexpr std::uint16_t kGuest = 6;
  ASSERT_EQ(machine.hypervisor.BuildDomain(
                {.id = kGuest, .pages = 64, .vcpus = 2, .pointers = PointerModel::kXcom}),
            0);
  Vcpu* caller = machine.hypervisor.ClaimVcpu(kGuest, 0);
  ASSERT_NE(caller, nullptr);
  const auto write_page = [&](std::uint64_t gfn) {
    return machine.hypervisor.Call(*caller,
                                   machine.Frame(__HYPERVISOR_xen_version, XENVER_extraversion,
                                                 kInlineFlag | gfn << kPageShift));
  };
  std::uint8_t bits[16];
  const auto read = [&](std::uint32_t which) {
    std::memset(bits, 0xff, sizeof(bits));
    xen_domctl_t op = {};
    op.u.shadow_op.op = which;
    op.u.shadow_op.pages = 128;
    op.u.shadow_op.dirty_bitmap.p = bits;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
    return op.u.shadow_op.stats.dirty_count;
  };
  ASSERT_EQ(write_page(3), 0);
  EXPECT_EQ(read(XEN_DOMCTL_SHADOW_OP_PEEK), 0u);  // nobody logs yet
  xen_domctl_t op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), -kEINVAL);
  EXPECT_EQ(read(XEN_DOMCTL_SHADOW_OP_PEEK), 0u);

  // A toolstack's mapping is not the guest's write.
  Touch(kGuest, 5, std::byte{1});
  EXPECT_EQ(read(XEN_DOMCTL_SHADOW_OP_PEEK), 0u);
  ASSERT_EQ(write_page(9), 0);
  for (const std::uint32_t each : {XEN_DOMCTL_SHADOW_OP_PEEK, XEN_DOMCTL_SHADOW_OP_CLEAN}) {
    EXPECT_EQ(read(each), 1u);
    for (unsigned i = 0; i < sizeof(bits); ++i) EXPECT_EQ(bits[i], i == 1 ? 2 : 0) << i;
  }
  EXPECT_EQ(read(XEN_DOMCTL_SHADOW_OP_PEEK), 0u);
  EXPECT_EQ(bits[1], 0);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
  machine.hypervisor.ReleaseVcpu(*caller);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
}

// A hypervisor without shadow page tables, as Debian's.
TEST_F(HypervisorToolstackTest, APvDomainHasNoDirtyLog) {
  // A domain may number its pages as it likes; nothing may walk up to the highest one.
  std::vector<xen_pfn_t> far = {std::uint64_t{1} << 60};
  ASSERT_EQ(Populate(kPv, far), 1);
  xen_domctl_t op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kPv, op), -kEOPNOTSUPP);
  for (const std::uint32_t each : {XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION,
                                   XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION, XEN_DOMCTL_SHADOW_OP_OFF}) {
    op.u.shadow_op.op = each;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kPv, op), -kEINVAL);
  }
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_PEEK;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kPv, op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, 0, op), -kEINVAL);
  EXPECT_EQ(machine.CreateDomain(7, 16, XEN_DOMCTL_CDF_hvm), -kEOPNOTSUPP);
}

TEST_F(HypervisorToolstackTest, SetsPagingMemoryAside) {
  const std::uint64_t before = machine.hypervisor.statistics().free_pages;
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_paging_mempool_size, kHvm, op), 0);
  EXPECT_EQ(op.u.paging_mempool.size, 256u << 12);
  op.u.paging_mempool.size = 1024 << 12;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op), 0);
  EXPECT_EQ(machine.hypervisor.statistics().free_pages, before - 768);
  op.u.paging_mempool.size = 100;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op), -kEINVAL);
  op.u.paging_mempool.size = std::uint64_t{1} << 40;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op), -kENOMEM);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_paging_mempool_size, kPv, op), -kEOPNOTSUPP);
  op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION;
  op.u.shadow_op.mb = 2;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kHvm, op), 0);
  EXPECT_EQ(op.u.shadow_op.mb, 2u);
  EXPECT_EQ(machine.hypervisor.statistics().free_pages, before - 256);
}

TEST_F(HypervisorToolstackTest, MovesPagesInThePhysmap) {
  Touch(kHvm, 5, std::byte{55});
  xen_add_to_physmap add = {
      .domid = kHvm, .size = 0, .space = XENMAPSPACE_gmfn, .idx = 5, .gpfn = 1000};
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), 0);
  std::uint64_t mfn;
  EXPECT_EQ(machine.hypervisor.HoldFrame(kHvm, 5, Access::kRead, &mfn), -kEINVAL);
  ASSERT_EQ(machine.hypervisor.HoldFrame(kHvm, 1000, Access::kRead, &mfn), 0);
  EXPECT_EQ(*machine.BytesOf(mfn), std::byte{55});
  machine.hypervisor.ReleaseFrame(mfn);
  xen_memory_domain which = {.domid = kHvm};
  EXPECT_EQ(MemoryOp(XENMEM_maximum_gpfn, which), 1000);

  // Onto another page, which is freed.
  add.idx = 1000;
  add.gpfn = 6;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), 0);
  EXPECT_EQ(Pages(kHvm), 63);
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), -kEINVAL);

  add = {.domid = kHvm, .size = 0, .space = XENMAPSPACE_shared_info, .idx = 0, .gpfn = 7};
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), 0);
  EXPECT_EQ(Pages(kHvm), 62);
  add = {.domid = kHvm, .size = 0, .space = XENMAPSPACE_grant_table, .idx = 2, .gpfn = 8};
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), 0);
  add.idx = 64;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), -kEINVAL);

  xen_remove_from_physmap remove = {.domid = kHvm, .gpfn = 7};
  EXPECT_EQ(MemoryOp(XENMEM_remove_from_physmap, remove), 0);
  EXPECT_EQ(MemoryOp(XENMEM_remove_from_physmap, remove), -kENOENT);
  remove.domid = kPv;
  EXPECT_EQ(MemoryOp(XENMEM_remove_from_physmap, remove), -kEACCES);
  add.domid = kPv;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), -kEACCES);
  add.domid = kMissing;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), -kESRCH);
  add = {.domid = kHvm, .size = 0, .space = XENMAPSPACE_gmfn, .idx = 9, .gpfn = ~std::uint64_t{0}};
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, BatchesTellTheOutcomeOfEachPage) {
  std::uint64_t indices[] = {10, 500, 11};
  xen_pfn_t gfns[] = {2000, 2001, 2002};
  int errors[] = {7, 7, 7};
  xen_add_to_physmap_batch batch = {};
  batch.domid = kHvm;
  batch.space = XENMAPSPACE_gmfn;
  batch.size = 3;
  batch.idxs.p = indices;
  batch.gpfns.p = gfns;
  batch.errs.p = errors;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], -kEINVAL);
  EXPECT_EQ(errors[2], 0);
  batch.space = XENMAPSPACE_gmfn_range;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), -kEOPNOTSUPP);
  batch.space = XENMAPSPACE_gmfn_foreign;
  batch.u.foreign_domid = kPv;
  indices[0] = pv_frames[3];
  batch.size = 1;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(machine.hypervisor.statistics().held_frames, 1u);
  // A foreign page cannot be held again as if it were the domain's own.
  std::uint64_t mfn;
  EXPECT_EQ(machine.hypervisor.HoldFrame(kHvm, 2000, Access::kRead, &mfn), -kEINVAL);
  xen_remove_from_physmap remove = {.domid = kHvm, .gpfn = 2000};
  EXPECT_EQ(MemoryOp(XENMEM_remove_from_physmap, remove), 0);
  EXPECT_EQ(machine.hypervisor.statistics().held_frames, 0u);
  // One that is left when the domain ends is given back too.
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), 0);
}

TEST_F(HypervisorToolstackTest, ExchangesSmallPagesForALargeExtent) {
  std::vector<xen_pfn_t> in(pv_frames.begin() + 16, pv_frames.begin() + 32);
  xen_pfn_t out = 16;
  xen_memory_exchange exchange = {};
  exchange.in = TestMachine::Reservation(kPv, in.data(), 16, 0);
  exchange.out = TestMachine::Reservation(kPv, &out, 1, 4);
  // Not while somebody maps one of them.
  std::uint64_t mfn;
  ASSERT_EQ(machine.hypervisor.HoldFrame(kPv, in[15], Access::kRead, &mfn), 0);
  EXPECT_EQ(MemoryOp(XENMEM_exchange, exchange), -kEINVAL);
  machine.hypervisor.ReleaseFrame(mfn);
  EXPECT_EQ(exchange.nr_exchanged, 0u);
  ASSERT_EQ(MemoryOp(XENMEM_exchange, exchange), 0);
  EXPECT_EQ(exchange.nr_exchanged, 16u);
  EXPECT_EQ(Pages(kPv), 64);
  EXPECT_EQ(out % 16, 0u);
  // And back.
  std::vector<xen_pfn_t> gfns(16);
  std::iota(gfns.begin(), gfns.end(), 16);
  exchange.in = TestMachine::Reservation(kPv, &out, 1, 4);
  exchange.out = TestMachine::Reservation(kPv, gfns.data(), 16, 0);
  exchange.nr_exchanged = 0;
  ASSERT_EQ(MemoryOp(XENMEM_exchange, exchange), 0);
  EXPECT_EQ(exchange.nr_exchanged, 1u);
  EXPECT_EQ(Pages(kPv), 64);

  exchange.in = TestMachine::Reservation(kHvm, in.data(), 16, 0);
  exchange.out = TestMachine::Reservation(kHvm, &out, 1, 4);
  exchange.nr_exchanged = 0;
  EXPECT_EQ(MemoryOp(XENMEM_exchange, exchange), -kEOPNOTSUPP);
}

TEST_F(HypervisorToolstackTest, RefusesHostileExchanges) {
  xen_pfn_t in[2] = {0, 1};
  xen_pfn_t out[2] = {0, 1};
  struct Case {
    const char* what;
    std::int64_t error;
    void (*change)(xen_memory_exchange&);
  };
  const Case cases[] = {
      {"sizes differ", kEINVAL, [](auto& e) { e.out.extent_order = 1; }},
      {"more done than there is", kEINVAL, [](auto& e) { e.nr_exchanged = 3; }},
      {"two domains", kEINVAL, [](auto& e) { e.out.domid = kPv; }},
      {"huge order", kEPERM, [](auto& e) { e.in.extent_order = 64; }},
      {"count that overflows", kEINVAL,
       [](auto& e) {
         e.in.extent_order = e.out.extent_order = 10;
         e.in.nr_extents = e.out.nr_extents = ~std::uint64_t{0};
       }},
      {"missing domain", kESRCH, [](auto& e) { e.in.domid = e.out.domid = kMissing; }},
      {"null list", kEFAULT, [](auto& e) { e.in.extent_start.p = nullptr; }},
  };
  for (const Case& each : cases) {
    xen_memory_exchange exchange = {};
    exchange.in = TestMachine::Reservation(kHvm, in, 2);
    exchange.out = TestMachine::Reservation(kHvm, out, 2);
    each.change(exchange);
    EXPECT_EQ(MemoryOp(XENMEM_exchange, exchange), -each.error) << each.what;
  }
  EXPECT_EQ(Pages(kHvm), 64);
  EXPECT_EQ(Pages(kPv), 64);
}

TEST_F(HypervisorToolstackTest, KeepsMemoryMaps) {
  e820_entry entries[3] = {{0, 4096, 1}, {4096, 4096, 2}, {8192, 4096, 1}};
  xen_foreign_memory_map map = {};
  map.domid = 0;
  map.map.nr_entries = 3;
  map.map.buffer.p = entries;
  EXPECT_EQ(MemoryOp(XENMEM_set_memory_map, map), 0);
  e820_entry told[4] = {};
  xen_memory_map own = {};
  own.nr_entries = 4;
  own.buffer.p = told;
  EXPECT_EQ(MemoryOp(XENMEM_memory_map, own), 0);
  EXPECT_EQ(own.nr_entries, 3u);
  EXPECT_EQ(told[2].addr, 8192u);
  map.map.nr_entries = 1025;
  EXPECT_EQ(MemoryOp(XENMEM_set_memory_map, map), -kEINVAL);
  map.map.nr_entries = 1;
  map.domid = kMissing;
  EXPECT_EQ(MemoryOp(XENMEM_set_memory_map, map), -kESRCH);

  own.nr_entries = 4;
  EXPECT_EQ(MemoryOp(XENMEM_machine_memory_map, own), 0);
  EXPECT_EQ(own.nr_entries, 2u);
  EXPECT_EQ(told[1].size, 64u << 20);
  own.nr_entries = 1;
  EXPECT_EQ(MemoryOp(XENMEM_machine_memory_map, own), -kEINVAL);
  EXPECT_GT(machine.Call(__HYPERVISOR_memory_op, XENMEM_maximum_ram_page), 0);

  xen_pfn_t extents[8] = {};
  xen_machphys_mfn_list list = {};
  list.max_extents = 8;
  list.extent_start.p = extents;
  EXPECT_EQ(MemoryOp(XENMEM_machphys_mfn_list, list), 0);
  EXPECT_EQ(list.nr_extents, 2u);  // for each GiB up to the end of the pool
  EXPECT_NE(extents[0], 0u);
  list.extent_start.p = nullptr;
  EXPECT_EQ(MemoryOp(XENMEM_machphys_mfn_list, list), -kEFAULT);
}

TEST_F(HypervisorToolstackTest, KeepsVirtualNuma) {
  std::uint32_t distances[4] = {10, 20, 20, 10};
  std::uint32_t vcpus[2] = {0, 1};
  std::uint32_t nodes[2] = {0, 0};
  xen_vmemrange_t ranges[2] = {{0, 4096, 0, 0}, {4096, 8192, 0, 1}};
  xen_domctl_t op = {};
  op.u.vnuma.nr_vnodes = 2;
  op.u.vnuma.nr_vmemranges = 2;
  op.u.vnuma.nr_vcpus = 2;
  op.u.vnuma.vdistance.p = distances;
  op.u.vnuma.vcpu_to_vnode.p = vcpus;
  op.u.vnuma.vnode_to_pnode.p = nodes;
  op.u.vnuma.vmemrange.p = ranges;
  xen_vnuma_topology_info info = {};
  info.domid = kHvm;
  EXPECT_EQ(MemoryOp(XENMEM_get_vnumainfo, info), -kEOPNOTSUPP);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvnumainfo, kHvm, op), 0);
  EXPECT_EQ(MemoryOp(XENMEM_get_vnumainfo, info), -kENOBUFS);
  EXPECT_EQ(info.nr_vnodes, 2u);
  EXPECT_EQ(info.nr_vcpus, 2u);
  std::uint32_t told_distances[4] = {};
  std::uint32_t told_vcpus[2] = {};
  xen_vmemrange_t told_ranges[2] = {};
  info.vdistance.h.p = told_distances;
  info.vcpu_to_vnode.h.p = told_vcpus;
  info.vmemrange.h.p = told_ranges;
  EXPECT_EQ(MemoryOp(XENMEM_get_vnumainfo, info), 0);
  EXPECT_EQ(told_distances[1], 20u);
  EXPECT_EQ(told_vcpus[1], 1u);
  EXPECT_EQ(told_ranges[1].end, 8192u);
  vcpus[1] = 2;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvnumainfo, kHvm, op), -kE2BIG);
  op.u.vnuma.nr_vnodes = 33;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvnumainfo, kHvm, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, OffersEventChannels) {
  evtchn_alloc_unbound offer = {.dom = kPv, .remote_dom = DOMID_SELF, .port = 0};
  ASSERT_EQ(EventOp(EVTCHNOP_alloc_unbound, offer), 0);
  EXPECT_EQ(offer.port, 1u);
  evtchn_status status = {};
  status.dom = kPv;
  status.port = 1;
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(status.u.unbound.dom, 0);

  evtchn_bind_interdomain bind = {.remote_dom = kPv, .remote_port = 1, .local_port = 0};
  ASSERT_EQ(EventOp(EVTCHNOP_bind_interdomain, bind), 0);
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_interdomain});
  EXPECT_EQ(status.u.interdomain.port, bind.local_port);
  evtchn_send send = {.port = bind.local_port};
  EXPECT_EQ(EventOp(EVTCHNOP_send, send), 0);
  evtchn_close close = {.port = bind.local_port};
  EXPECT_EQ(EventOp(EVTCHNOP_close, close), 0);
  EXPECT_EQ(EventOp(EVTCHNOP_close, close), -kEINVAL);
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_unbound});

  status.port = 40;
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_closed});
  status.port = 64;
  EXPECT_EQ(EventOp(EVTCHNOP_status, status), -kEINVAL);
  status.dom = kMissing;
  EXPECT_EQ(EventOp(EVTCHNOP_status, status), -kESRCH);

  // max_evtchn_port: the ports end.
  std::int64_t last = 0;
  for (int i = 0; i < 1100 && last == 0; ++i) last = EventOp(EVTCHNOP_alloc_unbound, offer);
  EXPECT_EQ(last, -kENOSPC);
  EXPECT_EQ(offer.port, 1023u);
}

TEST_F(HypervisorToolstackTest, SetsUpGrantTables) {
  gnttab_query_size size = {};
  size.dom = kPv;
  ASSERT_EQ(GrantOp(GNTTABOP_query_size, size), 0);
  EXPECT_EQ(size.nr_frames, 1u);
  EXPECT_EQ(size.max_nr_frames, 64u);
  xen_pfn_t frames[4] = {};
  gnttab_setup_table setup = {};
  setup.dom = kPv;
  setup.nr_frames = 4;
  setup.frame_list.p = frames;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_okay);
  EXPECT_NE(frames[3], 0u);
  std::uint64_t mfn;
  ASSERT_EQ(machine.hypervisor.HoldFrame(kPv, frames[3], Access::kRead, &mfn), 0);
  machine.hypervisor.ReleaseFrame(mfn);
  setup.nr_frames = 65;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_general_error);
  setup.dom = kMissing;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_bad_domain);
  EXPECT_EQ(GrantOp(GNTTABOP_setup_table, setup, 2), -kEINVAL);
  EXPECT_EQ(GrantOp(GNTTABOP_setup_table, setup, 0x80000000), -kEINVAL);
  gnttab_set_version version = {.version = 2};
  EXPECT_EQ(GrantOp(GNTTABOP_set_version, version), 0);
  gnttab_get_version told = {};
  told.dom = DOMID_SELF;
  EXPECT_EQ(GrantOp(GNTTABOP_get_version, told), 0);
  EXPECT_EQ(told.version, 2u);
  version.version = 3;
  EXPECT_EQ(GrantOp(GNTTABOP_set_version, version), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, SharedPagesThatAreMappedOutliveTheirDomain) {
  xen_domctl_t op = {};
  ASSERT_EQ(machine.CreateDomain(7, 1), 7);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), 0);
  const std::uint64_t shared_info = op.u.getdomaininfo.shared_info_frame;
  std::uint64_t mfn;
  ASSERT_EQ(machine.hypervisor.HoldFrame(7, shared_info, Access::kWrite, &mfn), 0);
  EXPECT_EQ(mfn, shared_info);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 7), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), 0);
  EXPECT_EQ(op.domain, 7);
  machine.hypervisor.ReleaseFrame(mfn);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), -kESRCH);
}

TEST_F(HypervisorToolstackTest, KeepsHvmParameters) {
  xen_hvm_param param = {};
  param.domid = kHvm;
  param.index = HVM_PARAM_STORE_PFN;
  param.value = 0xfeffc;
  const auto hvm_op = [&](unsigned op) { return machine.Call(__HYPERVISOR_hvm_op, op, &param); };
  EXPECT_EQ(hvm_op(HVMOP_set_param), 0);
  param.value = 0;
  EXPECT_EQ(hvm_op(HVMOP_get_param), 0);
  EXPECT_EQ(param.value, 0xfeffcu);
  param.index = HVM_PARAM_IOREQ_SERVER_PFN;
  param.value = 1;
  EXPECT_EQ(hvm_op(HVMOP_set_param), 0);
  param.value = 2;
  EXPECT_EQ(hvm_op(HVMOP_set_param), -kEEXIST);
  param.index = HVM_PARAM_PAE_ENABLED;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kEINVAL);
  param.index = HVM_NR_PARAMS;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kEINVAL);
  param.index = HVM_PARAM_STORE_PFN;
  param.domid = kPv;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kEINVAL);
  param.domid = kMissing;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kESRCH);
  EXPECT_EQ(hvm_op(1000), -kENOSYS);
}

TEST_F(HypervisorToolstackTest, SavesHvmContexts) {
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op), 0);
  const std::uint32_t bytes = op.u.hvmcontext.size;
  ASSERT_GT(bytes, 32u);
  std::vector<std::uint8_t> image(bytes);
  op.u.hvmcontext.buffer.p = image.data();
  op.u.hvmcontext.size = bytes - 1;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op), -kENOSPC);
  op.u.hvmcontext.size = bytes;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op), 0);
  const std::uint32_t without_cpu = op.u.hvmcontext.size;
  EXPECT_LT(without_cpu, bytes);

  // A vcpu that is up has a record, with the registers that it was given.
  vcpu_guest_context_t context = {};
  context.user_regs.rip = 0x1000;
  context.flags = VGCF_online;
  xen_domctl_t set = {};
  set.u.vcpucontext.ctxt.p = &context;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, set), 0);
  op.u.hvmcontext.size = bytes;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op), 0);
  EXPECT_EQ(op.u.hvmcontext.size, without_cpu + 8 + 1032);
  std::uint8_t cpu[1032] = {};
  xen_domctl_t part = {};
  part.u.hvmcontext_partial.type = 2;
  part.u.hvmcontext_partial.bufsz = sizeof(cpu);
  part.u.hvmcontext_partial.buffer.p = cpu;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, part), 0);
  EXPECT_EQ(LoadField<std::uint64_t>(cpu + 640, kNativeOrder), 0x1000u);
  EXPECT_EQ(std::memcmp(cpu, &image[32 + 8], sizeof(cpu)), 0);
  part.u.hvmcontext_partial.bufsz = 1031;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, part), -kENOSPC);
  part.u.hvmcontext_partial.instance = 1;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, part), -kENODATA);
  part.u.hvmcontext_partial.instance = 2;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, part), -kENOENT);
  part.u.hvmcontext_partial.type = 77;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, part), -kEINVAL);

  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, set), 0);
  image[8] ^= 1;  // the magic
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op), -kEINVAL);
  op.u.hvmcontext.size = 20;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op), -kENODATA);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, TellsAndTakesCpuPolicies) {
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  EXPECT_GT(op.u.cpu_policy.nr_leaves, 100u);
  std::vector<xen_cpuid_leaf_t> leaves(op.u.cpu_policy.nr_leaves);
  std::vector<xen_msr_entry_t> msrs(op.u.cpu_policy.nr_msrs);
  op.u.cpu_policy.leaves.p = leaves.data();
  op.u.cpu_policy.msrs.p = msrs.data();
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  leaves.resize(op.u.cpu_policy.nr_leaves);
  EXPECT_EQ(leaves[0].leaf, 0u);
  leaves[1].b = 0x12345678;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), 0);
  leaves[1].b = 0;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  EXPECT_EQ(leaves[1].b, 0x12345678u);
  op.u.cpu_policy.nr_leaves = 3;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), -kENOBUFS);
  leaves[0].leaf = 0x50000000;
  op.u.cpu_policy.nr_leaves = 1;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), -kERANGE);
  EXPECT_EQ(op.u.cpu_policy.err_leaf, 0x50000000u);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_unpausedomain, kHvm), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), -kEEXIST);
}

TEST_F(HypervisorToolstackTest, DescribesTopologyAndPools) {
  xen_sysctl_cputopo_t cpus[2];
  xen_sysctl_t op = {};
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_cputopoinfo, op), 0);
  EXPECT_EQ(op.u.cputopoinfo.num_cpus, 2u);
  op.u.cputopoinfo.cputopo.p = cpus;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_cputopoinfo, op), 0);
  EXPECT_EQ(cpus[1].core, 1u);

  op = {};
  xen_sysctl_meminfo_t memory;
  std::uint32_t distance;
  op.u.numainfo.num_nodes = 1;
  op.u.numainfo.meminfo.p = &memory;
  op.u.numainfo.distance.p = &distance;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_numainfo, op), 0);
  EXPECT_EQ(distance, 10u);
  EXPECT_GT(memory.memsize, memory.memfree);

  op = {};
  std::uint8_t map[4] = {0xff, 0xff, 0xff, 0xff};
  op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
  op.u.cpupool_op.cpumap.bitmap.p = map;
  op.u.cpupool_op.cpumap.nr_bits = 32;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_cpupool_op, op), 0);
  EXPECT_EQ(op.u.cpupool_op.n_dom, 3u);
  EXPECT_EQ(map[0], 3);
  EXPECT_EQ(map[1], 0);
  op.u.cpupool_op.cpupool_id = 1;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_cpupool_op, op), -kENOENT);

  op = {};
  op.u.get_pmstat.type = PMSTAT_get_max_px;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_pmstat, op), -kENODEV);
  op.u.get_pmstat.cpuid = 9;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_pmstat, op), -kEINVAL);

  op = {};
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_get_cpu_featureset, op), 0);
  std::vector<std::uint32_t> features(op.u.cpu_featureset.nr_features);
  op.u.cpu_featureset.features.p = features.data();
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_get_cpu_featureset, op), 0);
  EXPECT_NE(features[0], 0u);
  op.u.cpu_featureset.nr_features = 1;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_cpu_featureset, op), -kENOBUFS);
  EXPECT_EQ(op.u.cpu_featureset.nr_features, 1u);
}

TEST_F(HypervisorToolstackTest, ConsoleKeepsWhatWasPrinted) {
  char keys[] = {'h', 'q'};
  xen_sysctl_t op = {};
  op.u.debug_keys.nr_keys = 2;
  op.u.debug_keys.keys.p = keys;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_debug_keys, op), 0);
  EXPECT_NE(machine.console.find("'q' pressed"), std::string::npos);
  std::vector<char> buffer(4096, 'x');
  op = {};
  op.u.readconsole.count = 8;
  op.u.readconsole.buffer.p = buffer.data();
  op.u.readconsole.incremental = 1;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  EXPECT_EQ(op.u.readconsole.count, 8u);
  const std::uint32_t position = op.u.readconsole.index;
  op.u.readconsole.count = 4096;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  EXPECT_EQ(op.u.readconsole.count, machine.console.size() - 8);
  EXPECT_EQ(op.u.readconsole.index, position + op.u.readconsole.count);
  op.u.readconsole.clear = 1;
  op.u.readconsole.incremental = 0;
  op.u.readconsole.count = 4096;
  op.u.readconsole.buffer.p = buffer.data();
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  op.u.readconsole.count = 4096;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  EXPECT_EQ(op.u.readconsole.count, 0u);
}

TEST_F(HypervisorToolstackTest, DomainsShutDown) {
  sched_remote_shutdown request = {.domain_id = kPv, .reason = SHUTDOWN_suspend};
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), 0);
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kPv, op), 0);
  EXPECT_TRUE((op.u.getdomaininfo.flags & XEN_DOMINF_shutdown) != 0);
  EXPECT_EQ(op.u.getdomaininfo.flags >> XEN_DOMINF_shutdownshift, std::uint32_t{SHUTDOWN_suspend});
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_resumedomain, kPv), 0);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kPv, op), 0);
  EXPECT_FALSE((op.u.getdomaininfo.flags & XEN_DOMINF_shutdown) != 0);
  request.domain_id = kMissing;
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), -kESRCH);
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_yield), 0);
}

TEST_F(HypervisorToolstackTest, DomainZeroWritesOnTheConsole) {
  const char text[] = "hello from domain 0\n";
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, sizeof(text) - 1, text), 0);
  EXPECT_NE(machine.console.find("hello from domain 0"), std::string::npos);
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, 0xffffffff, text), -kEINVAL);
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, 5, std::uint64_t{0}), -kEFAULT);
}

TEST_F(HypervisorToolstackTest, PlatformOpDescribesProcessors) {
  xen_platform_op_t op = {};
  op.cmd = XENPF_get_cpuinfo;
  op.u.pcpu_info.xen_cpuid = 1;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), -kEACCES);
  op.interface_version = XENPF_INTERFACE_VERSION;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), 0);
  EXPECT_EQ(op.u.pcpu_info.max_present, 1u);
  EXPECT_EQ(op.u.pcpu_info.flags, std::uint32_t{XEN_PCPU_FLAGS_ONLINE});
  op.u.pcpu_info.xen_cpuid = 5;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), 0);
  EXPECT_EQ(op.u.pcpu_info.flags, std::uint32_t{XEN_PCPU_FLAGS_INVALID});
  op.cmd = XENPF_getidletime;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), -kENOSYS);
}

}  // namespace
}  // namespace xencomm::hypervisor
