// What a toolstack maps of a domain's grant table (XENMEM_acquire_resource), and the pages that are
// filled with stubs for its calls.

#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_toolstack.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kShared = XENMEM_resource_grant_table_id_shared;
constexpr std::uint32_t kStatus = XENMEM_resource_grant_table_id_status;
constexpr std::uint64_t kFree = 0x1000;  // a gfn of domain 0 with nothing around it

class ResourceTest : public ToolstackTest {
 protected:
  void TearDown() override {
    // What is mapped would be held by domain 0.
    for (xen_pfn_t gfn = kFree; gfn != kFree + 80; ++gfn) {
      xen_remove_from_physmap remove = {.domid = 0, .gpfn = gfn};
      MemoryOp(XENMEM_remove_from_physmap, remove);
    }
    const std::uint64_t leaves =
        Books::StatisticsOf(machine.hypervisor, 0).overhead_pages - domain0_overhead;
    EXPECT_LE(leaves, 2u);
    ToolstackTest::TearDown();
  }

  static xen_mem_acquire_resource Request(std::uint16_t domain, std::uint32_t id,
                                          std::uint64_t first, std::vector<xen_pfn_t>& list) {
    xen_mem_acquire_resource request = {};
    request.domid = domain;
    request.type = XENMEM_resource_grant_table;
    request.id = id;
    request.frame = first;
    request.nr_frames = static_cast<std::uint32_t>(list.size());
    request.frame_list.p = list.data();
    return request;
  }
  std::int64_t Acquire(std::uint16_t domain, std::uint32_t id, std::uint64_t first,
                       std::vector<xen_pfn_t>& list) {
    xen_mem_acquire_resource request = Request(domain, id, first, list);
    return MemoryOp(XENMEM_acquire_resource, request);
  }
  static std::vector<xen_pfn_t> Gfns(std::size_t count, xen_pfn_t first = kFree) {
    std::vector<xen_pfn_t> gfns(count);
    std::iota(gfns.begin(), gfns.end(), first);
    return gfns;
  }
  std::uint64_t FrameAt(xen_pfn_t gfn) { return machine.hypervisor.FrameOf(0, gfn); }
  unsigned GrantFrames(std::uint16_t domain) {
    gnttab_query_size query = {.dom = domain, .nr_frames = 0, .max_nr_frames = 0, .status = 0};
    EXPECT_EQ(GrantOp(GNTTABOP_query_size, query), 0);
    return query.nr_frames;
  }
};

TEST_F(ResourceTest, FramesOfAGrantTableArePlacedWhereTheCallerSays) {
  std::vector<xen_pfn_t> gfns = {kFree + 3, kFree, kFree + 7};
  ASSERT_EQ(Acquire(kHvm, kShared, 1, gfns), 0);
  EXPECT_EQ(GrantFrames(kHvm), 4u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 3u);
  for (const xen_pfn_t gfn : gfns) {
    EXPECT_EQ(Books::OwnerOf(machine.hypervisor, FrameAt(gfn)),
              (FrameOwner{kHvm, FrameUse::kShared}));
  }
  // The domain itself has the same ones.
  xen_add_to_physmap add = {};
  add.domid = kHvm;
  add.space = XENMAPSPACE_grant_table;
  add.idx = 2;
  add.gpfn = 100;
  ASSERT_EQ(MemoryOp(XENMEM_add_to_physmap, add), 0);
  EXPECT_EQ(machine.hypervisor.FrameOf(kHvm, 100), FrameAt(kFree));
  machine.ExpectBooksAddUp();
}

TEST_F(ResourceTest, LongListsStopAndGoOn) {
  std::vector<xen_pfn_t> gfns = Gfns(64);
  ASSERT_EQ(Acquire(kPv, kShared, 0, gfns), 0);
  EXPECT_EQ(GrantFrames(kPv), 64u);
  for (const xen_pfn_t gfn : gfns) EXPECT_NE(FrameAt(gfn), kNoFrame);
  // Once more, in legs of which each is one piece.
  TestMachine small({.preempt_interval = 1});
  ASSERT_EQ(small.CreateDomain(kPv, 10), kPv);
  xen_mem_acquire_resource request = Request(kPv, kShared, 0, gfns);
  HypercallFrame frame = small.Frame(__HYPERVISOR_memory_op, XENMEM_acquire_resource, &request);
  EXPECT_EQ(small.hypervisor.Hypercall(*small.vcpu, frame), 0);
  EXPECT_TRUE(frame.continued);
  EXPECT_EQ(small.hypervisor.Hypercall(*small.vcpu, frame), 0);
  EXPECT_FALSE(frame.continued);
  EXPECT_EQ(Books::StatisticsOf(small.hypervisor).held_frames, 64u);
}

TEST_F(ResourceTest, ATableGrowsForAllThatIsAskedForOrNotAtAll) {
  std::vector<xen_pfn_t> gfns = Gfns(2);
  EXPECT_EQ(GrantFrames(kHvm), 1u);
  EXPECT_EQ(Acquire(kHvm, kShared, 63, gfns), -kEINVAL);
  EXPECT_EQ(GrantFrames(kHvm), 1u);
  EXPECT_EQ(FrameAt(kFree), kNoFrame);
  EXPECT_EQ(Acquire(kHvm, kShared, 62, gfns), 0);
  EXPECT_EQ(GrantFrames(kHvm), 64u);
}

TEST_F(ResourceTest, WhatLiesAtTheGfnAlready) {
  std::vector<xen_pfn_t> gfns = Gfns(2);
  ASSERT_EQ(Acquire(kHvm, kShared, 0, gfns), 0);
  // The same, and the same again: it is held once.
  EXPECT_EQ(Acquire(kHvm, kShared, 0, gfns), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 2u);
  // Another one of somebody else's.
  EXPECT_EQ(Acquire(kHvm, kShared, 1, gfns), -kEPERM);
  EXPECT_EQ(Acquire(kPv, kShared, 0, gfns), -kEPERM);
  std::vector<xen_pfn_t> second_taken = {kFree + 9, kFree};
  EXPECT_EQ(Acquire(kHvm, kShared, 1, second_taken), -kEIO);
  EXPECT_NE(FrameAt(kFree + 9), kNoFrame);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 3u);
  // Memory of its own, which it keeps, at no gfn.
  const auto pages = Pages(0);
  std::vector<xen_pfn_t> own = {5};
  const std::uint64_t before = FrameAt(5);
  EXPECT_EQ(Acquire(kHvm, kShared, 0, own), 0);
  EXPECT_EQ(FrameAt(5), FrameAt(kFree));
  EXPECT_EQ(Pages(0), pages);
  EXPECT_EQ(Books::OwnerOf(machine.hypervisor, before), (FrameOwner{0, FrameUse::kMemory}));
  machine.ExpectBooksAddUp();
  xen_remove_from_physmap remove = {.domid = 0, .gpfn = 5};
  EXPECT_EQ(MemoryOp(XENMEM_remove_from_physmap, remove), 0);
  // And what may not be moved.
  vcpu_register_runstate_memory_area area = {};
  area.addr.p = reinterpret_cast<std::uint64_t>(machine.BytesOf(FrameAt(6)));
  ASSERT_EQ(machine.Call(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0, &area), 0);
  std::vector<xen_pfn_t> pinned = {6};
  EXPECT_EQ(Acquire(kHvm, kShared, 0, pinned), -kEBUSY);
  area.addr.p = 0;
  ASSERT_EQ(machine.Call(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0, &area), 0);
  // Beyond what a p2m can hold.
  std::vector<xen_pfn_t> far = {~std::uint64_t{0}};
  EXPECT_EQ(Acquire(kHvm, kShared, 0, far), -kEINVAL);
}

TEST_F(ResourceTest, StatusFramesAreOfTheSecondVersion) {
  std::vector<xen_pfn_t> gfns = Gfns(1);
  EXPECT_EQ(Acquire(kHvm, kStatus, 0, gfns), -kEINVAL);
  EXPECT_EQ(GrantFrames(kHvm), 1u);
  // A guest that can choose it.
  xen_domctl_t create = TestMachine::CreateRequest(0, 1);
  create.u.createdomain.grant_opts = 2;
  constexpr std::uint16_t kSecond = 8;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, kSecond, create), 0);
  xen_domctl_t op = {};
  op.u.max_vcpus.max = 1;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, kSecond, op), 0);
  Vcpu* const vcpu = machine.hypervisor.ClaimVcpu(kSecond, 0);
  ASSERT_NE(vcpu, nullptr);
  machine.hypervisor.SetRawSpace(*vcpu, machine.direct);
  gnttab_set_version version = {.version = 2};
  ASSERT_EQ(machine.hypervisor.Call(*vcpu, machine.Frame(__HYPERVISOR_grant_table_op,
                                                         GNTTABOP_set_version, &version, 1)),
            0);
  machine.hypervisor.ReleaseVcpu(*vcpu);
  EXPECT_EQ(Acquire(kSecond, kStatus, 0, gfns), 0);
  gfns = Gfns(2, kFree + 1);
  EXPECT_EQ(Acquire(kSecond, kStatus, 6, gfns), 0);
  EXPECT_EQ(GrantFrames(kSecond), 64u);
  EXPECT_EQ(Acquire(kSecond, kStatus, 7, gfns), -kEINVAL);
  machine.ExpectBooksAddUp();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kSecond), 0);
}

TEST_F(ResourceTest, HowManyThereCanBe) {
  const auto ask = [&](std::uint16_t domain, std::uint16_t type, std::uint32_t id) {
    xen_mem_acquire_resource request = {};
    request.domid = domain;
    request.type = type;
    request.id = id;
    const std::int64_t answer = MemoryOp(XENMEM_acquire_resource, request);
    return answer != 0 ? answer : std::int64_t{request.nr_frames};
  };
  EXPECT_EQ(ask(kHvm, XENMEM_resource_grant_table, kShared), 64);
  EXPECT_EQ(ask(kHvm, XENMEM_resource_grant_table, kStatus), 8);
  EXPECT_EQ(ask(kHvm, XENMEM_resource_grant_table, 2), -kEINVAL);
  EXPECT_EQ(ask(kHvm, XENMEM_resource_ioreq_server, 77), 2);
  EXPECT_EQ(ask(kPv, XENMEM_resource_ioreq_server, 77), -kEINVAL);
  EXPECT_EQ(ask(kHvm, XENMEM_resource_vmtrace_buf, 0), -kEINVAL);
  // An errno that is taken for a count, in Xen.
  EXPECT_EQ(ask(kHvm, 77, 0), 0xffffffa1);
  EXPECT_EQ(ask(kMissing, XENMEM_resource_grant_table, kShared), -kESRCH);
  EXPECT_EQ(ask(0, XENMEM_resource_grant_table, kShared), -kEPERM);
  EXPECT_EQ(ask(DOMID_SELF, XENMEM_resource_grant_table, kShared), -kESRCH);
}

TEST(ResourceOfLaterReleasesTest, ThereIsNoneOfAnUnknownType) {
  TestMachine machine({.release = schema::kSince4_20 & ~schema::kSince4_21});
  ASSERT_EQ(machine.build_result, 0);
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = kHvm, .pages = 1, .vcpus = 1}), 0);
  xen_mem_acquire_resource request = {};
  request.domid = kHvm;
  request.type = 77;
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_acquire_resource, &request), -kEINVAL);
}

TEST_F(ResourceTest, WhatIsWrongWithARequest) {
  std::vector<xen_pfn_t> gfns = Gfns(1);
  const auto with = [&](auto change) {
    xen_mem_acquire_resource request = Request(kHvm, kShared, 0, gfns);
    change(request);
    return MemoryOp(XENMEM_acquire_resource, request);
  };
  using Request = xen_mem_acquire_resource;
  EXPECT_EQ(with([](Request& r) { r.pad = 1; }), -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.frame = std::uint64_t{1} << 32; }), -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.frame = 0xffffffff; }), -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.frame = 0xfffffffe; }), -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.nr_frames = 0; }), -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.nr_frames = 1u << 26; }), -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.type = XENMEM_resource_ioreq_server; }), -kENOENT);
  EXPECT_EQ(with([](Request& r) {
              r.type = XENMEM_resource_ioreq_server;
              r.id = 0x10000;
            }),
            -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.type = 77; }), -kEOPNOTSUPP);
  EXPECT_EQ(with([](Request& r) { r.domid = 0; }), -kEPERM);
  EXPECT_EQ(with([](Request& r) {
              r.frame_list.p = nullptr;
              r.nr_frames = 1;
            }),
            -kEINVAL);
  EXPECT_EQ(with([](Request& r) { r.frame_list.p = reinterpret_cast<xen_pfn_t*>(8); }), -kEFAULT);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
}

TEST_F(ResourceTest, TheMachineHoldsFramesOfItByItself) {
  const Resource resource = {.type = XENMEM_resource_grant_table, .id = kShared};
  std::uint64_t first = kNoFrame, again = kNoFrame;
  ASSERT_EQ(machine.hypervisor.HoldResourceFrame(kHvm, resource, 5, &first), 0);
  ASSERT_EQ(machine.hypervisor.HoldResourceFrame(kHvm, resource, 5, &again), 0);
  EXPECT_EQ(first, again);
  EXPECT_EQ(GrantFrames(kHvm), 6u);
  EXPECT_EQ(machine.hypervisor.HoldResourceFrame(kHvm, resource, 64, &again), -kEINVAL);
  EXPECT_EQ(machine.hypervisor.HoldResourceFrame(kMissing, resource, 0, &again), -kESRCH);
  EXPECT_EQ(machine.hypervisor.HoldResourceFrame(kHvm, {.type = 2, .id = 0}, 0, &again), -kEINVAL);
  EXPECT_EQ(machine.hypervisor.CountResourceFrames(kHvm, resource), 64);
  EXPECT_EQ(machine.hypervisor.CountResourceFrames(kHvm, {.type = 1, .id = 9}), -kEINVAL);
  EXPECT_EQ(machine.hypervisor.CountResourceFrames(kMissing, resource), -kESRCH);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 2u);
  // A domain that has ended is there for as long as they are held.
  ASSERT_EQ(machine.CreateDomain(9, 10), 9);
  ASSERT_EQ(machine.hypervisor.HoldResourceFrame(9, resource, 0, &again), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 9), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 4u);
  EXPECT_EQ(machine.hypervisor.HoldResourceFrame(9, resource, 0, &again), -kESRCH);
  machine.hypervisor.ReleaseFrame(again);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 3u);
  machine.hypervisor.ReleaseFrame(first);
  machine.hypervisor.ReleaseFrame(first);
}

using HypercallPageTest = ToolstackTest;

TEST_F(HypercallPageTest, IsFilledWithStubs) {
  for (const std::uint16_t domain : {kPv, kHvm}) {
    const std::uint64_t frame = domain == kPv ? pv_frames[5] : 5;
    std::uint64_t mfn;
    ASSERT_EQ(machine.HoldFrame(domain, frame, Access::kRead, &mfn), 0);
    auto* const page = reinterpret_cast<unsigned char*>(machine.BytesOf(mfn));
    std::memset(page, 0, kPageSize);
    xen_domctl_t op = {};
    op.u.hypercall_init.gmfn = frame;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_hypercall_init, domain, op), 0);
    for (unsigned i = 0; i < 128; ++i) {
      const unsigned char* const stub = page + std::size_t{32} * i;
      const unsigned move = domain == kHvm ? 0 : i == __HYPERVISOR_iret ? 4 : 3;
      if (domain == kHvm && i == __HYPERVISOR_iret) {
        EXPECT_EQ(stub[0], 0x0f);
        EXPECT_EQ(stub[1], 0x0b);
      } else {
        EXPECT_EQ(stub[move], 0xb8) << i;
        EXPECT_EQ(stub[move + 1], i);
      }
      EXPECT_EQ(stub[31], 0xcc);
    }
    machine.ReleaseFrame(mfn);
  }
}

TEST_F(HypercallPageTest, IsAPageOfTheDomainThatMayBeWritten) {
  const auto fill = [&](std::uint16_t domain, std::uint64_t frame) {
    xen_domctl_t op = {};
    op.u.hypercall_init.gmfn = frame;
    return machine.Domctl(XEN_DOMCTL_hypercall_init, domain, op);
  };
  EXPECT_EQ(fill(kHvm, 64), -kEINVAL);
  EXPECT_EQ(fill(kHvm, ~std::uint64_t{0}), -kEINVAL);
  EXPECT_EQ(fill(kPv, pv_frames[5] - 1000000), -kEINVAL);
  EXPECT_EQ(fill(kPv, 5), -kEINVAL);
  mmuext_op pin = {};
  pin.cmd = MMUEXT_PIN_L2_TABLE;
  pin.arg1.mfn = pv_frames[7];
  ASSERT_EQ(machine.Call(__HYPERVISOR_mmuext_op, &pin, 1, 0, kPv), 0);
  EXPECT_EQ(fill(kPv, pv_frames[7]), -kEPERM);
  EXPECT_EQ(*machine.BytesOf(pv_frames[7]), std::byte{0});
  pin.cmd = MMUEXT_UNPIN_TABLE;
  ASSERT_EQ(machine.Call(__HYPERVISOR_mmuext_op, &pin, 1, 0, kPv), 0);
  EXPECT_EQ(fill(kPv, pv_frames[7]), 0);
}

TEST_F(HypercallPageTest, IsWrittenAsTheLogSees) {
  xen_domctl_t op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kHvm, op), 0);
  const auto dirty = [&] {
    std::uint8_t bitmap[8] = {};
    xen_domctl_t clean = {};
    clean.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
    clean.u.shadow_op.pages = 64;
    clean.u.shadow_op.dirty_bitmap.p = bitmap;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kHvm, clean), 0);
    return bitmap[0];
  };
  dirty();
  op = {};
  op.u.hypercall_init.gmfn = 5;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_hypercall_init, kHvm, op), 0);
  EXPECT_EQ(dirty(), 1 << 5);
}

}  // namespace
}  // namespace xencomm::hypervisor
