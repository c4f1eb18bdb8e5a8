// What a toolstack does to the pages of a domain: their types and places, exchange, log-dirty,
// paging pools, memory maps.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_toolstack.h"
#include "xencomm/descriptor.h"

namespace xencomm::hypervisor {
namespace {

// Addresses of this process; of a list only so many bytes are there, and only so many can be
// written. No two pages are one run.
class ListSpace final : public Space {
 public:
  ListSpace(std::span<const xen_pfn_t> list, std::uint64_t readable, std::uint64_t writable)
      : list_(list), readable_(readable), writable_(writable) {}
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    const std::uint64_t address = pointer.value + offset;
    std::uint64_t rest = kPageSize - address % kPageSize;
    const std::uint64_t into = address - reinterpret_cast<std::uintptr_t>(list_.data());
    if (into < list_.size_bytes()) {
      if (into >= readable_) return Fault::kNotPresent;
      const std::uint64_t end = access == Access::kWrite ? writable_ : readable_;
      if (into >= end) return Fault::kNotWritable;
      rest = std::min(rest, end - into);
    }
    return {reinterpret_cast<std::byte*>(address), std::min(rest, length)};
  }

 private:
  const std::span<const xen_pfn_t> list_;
  const std::uint64_t readable_;  // bytes
  const std::uint64_t writable_;
};

// The page behind a list is the list again.
class RepeatedSpace final : public Space {
 public:
  explicit RepeatedSpace(std::span<xen_pfn_t> page) : page_(std::as_writable_bytes(page)) {}
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    const std::uint64_t into =
        pointer.value + offset - reinterpret_cast<std::uintptr_t>(page_.data());
    if (into >= 2 * kPageSize) return direct_.Map(pointer, offset, length, access, cursor);
    const std::uint64_t rest = kPageSize - into % kPageSize;
    return {&page_[into % kPageSize], std::min(rest, length)};
  }

 private:
  const std::span<std::byte> page_;
  DirectSpace direct_;
};

using HypervisorPhysmapTest = ToolstackTest;

TEST_F(HypervisorPhysmapTest, TellsTheTypesOfPages) {
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

// So many as there is memory for; what is behind them stays.
TEST_F(HypervisorPhysmapTest, TellsTheTypesOfPagesUpToTheFirstThatCannotBeTold) {
  constexpr std::uint64_t kMost = 1024;
  constexpr std::uint64_t kNothing = std::uint64_t{1} << 44;
  constexpr std::uint64_t kElement = sizeof(xen_pfn_t);
  std::vector<xen_pfn_t> frames(kMost);
  const auto put = [&](std::uint64_t i) { return i % 3 == 0 ? kNothing : pv_frames[i % 64]; };
  const auto ask = [&](std::uint64_t count, std::uint64_t readable, std::uint64_t writable) {
    for (std::uint64_t i = 0; i < kMost; ++i) frames[i] = put(i);
    ListSpace space(frames, readable, writable);
    machine.hypervisor.SetRawSpace(*machine.vcpu, space);
    xen_domctl_t op = {};
    op.u.getpageframeinfo3.num = count;
    op.u.getpageframeinfo3.array.p = frames.data();
    const std::int64_t answer = machine.Domctl(XEN_DOMCTL_getpageframeinfo3, kPv, op);
    machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
    return answer;
  };
  const auto expect_told = [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < kMost; ++i) {
      const std::uint64_t type = i % 3 == 0 ? XEN_DOMCTL_PFINFO_XTAB : XEN_DOMCTL_PFINFO_NOTAB;
      ASSERT_EQ(frames[i], i < count ? type : put(i)) << i;
    }
  };
  constexpr std::uint64_t kAll = kMost * kElement;
  for (const std::uint64_t count : {0, 1, 2, 255, 256, 257, 511, 512, 600, 1022, 1023, 1024}) {
    SCOPED_TRACE(count);
    EXPECT_EQ(ask(count, kAll, kAll), 0);
    expect_told(count);
    if (count == kMost) continue;
    // It ends there, or in the middle of an element.
    for (const std::uint64_t more : {0u, 1u, 7u}) {
      EXPECT_EQ(ask(kMost, count * kElement + more, kAll), -kEFAULT);
      expect_told(count);
    }
    EXPECT_EQ(ask(kMost, kAll, count * kElement), -kEFAULT);
    expect_told(count);
  }
}

// What was told of a page's elements are frames, when it comes a second time.
TEST_F(HypervisorPhysmapTest, TellsTheTypesOfPagesOneAfterTheOther) {
  std::vector<xen_pfn_t> frames(kPageSize / sizeof(xen_pfn_t), pv_frames[0]);
  RepeatedSpace space(frames);
  machine.hypervisor.SetRawSpace(*machine.vcpu, space);
  xen_domctl_t op = {};
  op.u.getpageframeinfo3.num = 2 * frames.size();
  op.u.getpageframeinfo3.array.p = frames.data();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getpageframeinfo3, kPv, op), 0);
  machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
  EXPECT_EQ(frames, std::vector<xen_pfn_t>(frames.size(), XEN_DOMCTL_PFINFO_XTAB));
}

TEST_F(HypervisorPhysmapTest, LogsPagesThatAGuestsCallWrote) {
  constexpr std::uint16_t kGuest = 6;
  ASSERT_EQ(machine.hypervisor.BuildDomain(
                {.id = kGuest, .pages = 64, .vcpus = 2, .space = SpaceKind::kXcom}),
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
TEST_F(HypervisorPhysmapTest, APvDomainHasNoDirtyLog) {
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

// What the second stage has taken of a pool, and each vcpu, is not given back; the rest is.
TEST_F(HypervisorPhysmapTest, PagingMemoryThatIsInUseStays) {
  xen_domctl_t op = {};
  const auto resize = [&](std::uint64_t pages) {
    op = {};
    op.u.paging_mempool.size = pages << kPageShift;
    return machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op);
  };
  const auto pages = [&] {
    op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_paging_mempool_size, kHvm, op), 0);
    return op.u.paging_mempool.size >> kPageShift;
  };
  EXPECT_EQ(resize(0), -kENOMEM);
  const std::uint64_t few = pages();
  EXPECT_GT(few, 0u);
  EXPECT_EQ(resize(few), 0);
  EXPECT_EQ(resize(few - 1), -kENOMEM);
  EXPECT_EQ(pages(), few);
  // Far memory has tables of its own. A pool that is smaller already stays so.
  std::vector<xen_pfn_t> frames = {std::uint64_t{1} << 20};
  ASSERT_EQ(Populate(kHvm, frames), 1);
  EXPECT_EQ(resize(0), -kENOMEM);
  EXPECT_EQ(pages(), few);
  ASSERT_EQ(resize(100), 0);
  EXPECT_EQ(resize(few), -kENOMEM);
  const std::uint64_t more = pages();
  EXPECT_GT(more, few);
  // A domain without vcpus is told nothing of it.
  xen_domctl_t create = TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, 8, create), 0);
  op = {};
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, 8, op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_paging_mempool_size, 8, op), 0);
  EXPECT_EQ(op.u.paging_mempool.size, 1u << kPageShift);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 8), 0);
}

TEST_F(HypervisorPhysmapTest, SetsPagingMemoryAside) {
  const std::uint64_t before = Books::StatisticsOf(machine.hypervisor).free_pages;
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_paging_mempool_size, kHvm, op), 0);
  EXPECT_EQ(op.u.paging_mempool.size, 256u << 12);
  op.u.paging_mempool.size = 1024 << 12;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, before - 768);
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
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, before - 256);
}

TEST_F(HypervisorPhysmapTest, MovesPagesInThePhysmap) {
  Touch(kHvm, 5, std::byte{55});
  xen_add_to_physmap add = {
      .domid = kHvm, .size = 0, .space = XENMAPSPACE_gmfn, .idx = 5, .gpfn = 1000};
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, add), 0);
  std::uint64_t mfn;
  EXPECT_EQ(machine.HoldFrame(kHvm, 5, Access::kRead, &mfn), -kEINVAL);
  ASSERT_EQ(machine.HoldFrame(kHvm, 1000, Access::kRead, &mfn), 0);
  EXPECT_EQ(*machine.BytesOf(mfn), std::byte{55});
  machine.ReleaseFrame(mfn);
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

// New pages where there are some already: those are the domain's still, and at no gfn. Not where a
// page of somebody else's is, nor one that must stay.
TEST_F(HypervisorPhysmapTest, PutsNewPagesOverOthers) {
  std::vector<xen_pfn_t> over = {5, 6, 100};
  std::vector<std::uint64_t> before;
  for (const xen_pfn_t gfn : over) before.push_back(machine.hypervisor.FrameOf(kHvm, gfn));
  ASSERT_EQ(Populate(kHvm, over), 3);
  EXPECT_EQ(Pages(kHvm), 67);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_NE(machine.hypervisor.FrameOf(kHvm, over[i]), before[i]);
  }
  // What was there is found nowhere, and goes with the domain.
  machine.ExpectBooksAddUp();
  std::vector<xen_pfn_t> again = {5};
  xen_memory_reservation one = TestMachine::Reservation(kHvm, again.data(), 1);
  ASSERT_EQ(MemoryOp(XENMEM_decrease_reservation, one), 1);
  EXPECT_EQ(machine.hypervisor.FrameOf(kHvm, 5), kNoFrame);
  EXPECT_EQ(Pages(kHvm), 66);

  ASSERT_EQ(machine.MapForeign(kHvm, 200, kPv, pv_frames[1]), 0);
  std::vector<xen_pfn_t> foreign = {200};
  EXPECT_EQ(Populate(kHvm, foreign), 0);
  // An extent is placed as a whole or not at all.
  std::vector<xen_pfn_t> wide = {200};
  xen_memory_reservation extent = TestMachine::Reservation(kHvm, wide.data(), 1, 2);
  wide[0] = 198 & ~3u;
  EXPECT_EQ(MemoryOp(XENMEM_populate_physmap, extent), 1);
  wide[0] = 200;
  EXPECT_EQ(MemoryOp(XENMEM_populate_physmap, extent), 0);
  for (std::uint64_t gfn = 201; gfn < 204; ++gfn) {
    EXPECT_EQ(machine.hypervisor.FrameOf(kHvm, gfn), kNoFrame);
  }
  EXPECT_EQ(Pages(kHvm), 70);
}

TEST_F(HypervisorPhysmapTest, BatchesTellTheOutcomeOfEachPage) {
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
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 1u);
  // A foreign page cannot be held again as if it were the domain's own.
  std::uint64_t mfn;
  EXPECT_EQ(machine.HoldFrame(kHvm, 2000, Access::kRead, &mfn), -kEINVAL);
  xen_remove_from_physmap remove = {.domid = kHvm, .gpfn = 2000};
  EXPECT_EQ(MemoryOp(XENMEM_remove_from_physmap, remove), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
  // Where it cannot be, it is not held either: beyond the physmap.
  gfns[0] = std::uint64_t{1} << 36;
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), 0);
  EXPECT_EQ(errors[0], -kENOMEM);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
  gfns[0] = 2000;
  // One that is left when the domain ends is given back too.
  EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), 0);
}

TEST_F(HypervisorPhysmapTest, ExchangesSmallPagesForALargeExtent) {
  std::vector<xen_pfn_t> in(pv_frames.begin() + 16, pv_frames.begin() + 32);
  xen_pfn_t out = 16;
  xen_memory_exchange exchange = {};
  exchange.in = TestMachine::Reservation(kPv, in.data(), 16, 0);
  exchange.out = TestMachine::Reservation(kPv, &out, 1, 4);
  // Not while somebody maps one of them.
  std::uint64_t mfn;
  ASSERT_EQ(machine.HoldFrame(kPv, in[15], Access::kRead, &mfn), 0);
  EXPECT_EQ(MemoryOp(XENMEM_exchange, exchange), -kEINVAL);
  machine.ReleaseFrame(mfn);
  EXPECT_EQ(exchange.nr_exchanged, 0u);
  ASSERT_EQ(MemoryOp(XENMEM_exchange, exchange), 0);
  EXPECT_EQ(exchange.nr_exchanged, 16u);
  EXPECT_EQ(Pages(kPv), 64);
  EXPECT_EQ(out % 16, 0u);
  const std::vector<std::byte> zeros(16 * kPageSize);
  EXPECT_EQ(std::memcmp(machine.BytesOf(out), zeros.data(), zeros.size()), 0);
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

TEST_F(HypervisorPhysmapTest, RefusesHostileExchanges) {
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

TEST_F(HypervisorPhysmapTest, KeepsMemoryMaps) {
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
  // An empty one is none.
  map.map.nr_entries = 0;
  EXPECT_EQ(MemoryOp(XENMEM_set_memory_map, map), 0);
  EXPECT_EQ(MemoryOp(XENMEM_memory_map, own), -kENOSYS);
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

}  // namespace
}  // namespace xencomm::hypervisor
