// Where a granted page is mapped, and what that keeps it and its neighbours from: the physmap of
// who maps it, page tables of a PV domain that grants it, logs of what is written, and callers that
// reach every page anyway.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_grants.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kRead = GNTMAP_host_map | GNTMAP_readonly;
constexpr std::uint32_t kWrite = GNTMAP_host_map;
constexpr std::uint32_t kDeviceRead = GNTMAP_device_map | GNTMAP_readonly;
constexpr std::uint32_t kDeviceWrite = GNTMAP_device_map;

class GrantPlaceTest : public GrantsTest {
 protected:
  using GrantsTest::GrantsTest;

  std::int64_t AddToPhysmap(std::uint16_t by, unsigned space, std::uint64_t index,
                            std::uint64_t gfn) {
    xen_add_to_physmap request = {
        .domid = DOMID_SELF, .size = 0, .space = space, .idx = index, .gpfn = gfn};
    return machine.Called(machine.hypervisor.Call(
        *vcpus.at(by), machine.Frame(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &request)));
  }
  template <class T>
  std::int64_t MemoryOp(std::uint16_t by, unsigned op, T& argument) {
    return machine.Called(machine.hypervisor.Call(
        *vcpus.at(by), machine.Frame(__HYPERVISOR_memory_op, op, &argument)));
  }
  std::int64_t Ext(unsigned cmd, std::uint64_t mfn) {
    mmuext_op op = {};
    op.cmd = cmd;
    op.arg1.mfn = mfn;
    return machine.Call(__HYPERVISOR_mmuext_op, &op, 1, 0, kPv);
  }
};

TEST_F(GrantPlaceTest, APageOfItsOwnMakesWayAndStaysTheDomains) {
  Grant(kGranter, kRef, kMapper, 7);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, 5, kWrite, &handle), 0);
  EXPECT_TRUE(Maps(kMapper, 5, MfnOf(kGranter, 7)));
  EXPECT_EQ(PagesOf(kMapper), kDomainPages);
  EXPECT_EQ(PagesOf(kGranter), kDomainPages);
  EXPECT_EQ(Decrease(kMapper, 5), 0);
  ASSERT_EQ(Unmap(kMapper, handle, 5), 0);
  EXPECT_EQ(machine.hypervisor.FrameOf(kMapper, 5), kNoFrame);
  EXPECT_EQ(PagesOf(kMapper), kDomainPages);
}

TEST_F(GrantPlaceTest, NothingElseComesWhereAGrantIs) {
  xen_domctl_t op = {};
  op.u.max_mem.max_memkb = 1000 << 2;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kMapper, op), 0);
  Grant(kGranter, kRef, kMapper, 7);
  Grant(kGranter, kRef + 1, kMapper, 8);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kWrite, &handle), 0);
  EXPECT_EQ(Map(kMapper, kGranter, kRef + 1, kWindow), GNTST_general_error);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow), GNTST_general_error);
  EXPECT_EQ(AddToPhysmap(kMapper, XENMAPSPACE_gmfn, 7, kWindow), -kENXIO);
  EXPECT_EQ(AddToPhysmap(kMapper, XENMAPSPACE_gmfn, kWindow, kWindow + 1), -kEINVAL);
  EXPECT_EQ(AddToPhysmap(kMapper, XENMAPSPACE_shared_info, 0, kWindow), -kENXIO);
  EXPECT_EQ(AddToPhysmap(kMapper, XENMAPSPACE_grant_table, 0, kWindow), -kENXIO);
  xen_remove_from_physmap remove = {.domid = DOMID_SELF, .gpfn = kWindow};
  EXPECT_EQ(MemoryOp(kMapper, XENMEM_remove_from_physmap, remove), -kENOENT);
  xen_pfn_t frame = kWindow;
  xen_memory_reservation one = TestMachine::Reservation(DOMID_SELF, &frame, 1);
  EXPECT_EQ(MemoryOp(kMapper, XENMEM_decrease_reservation, one), 0);
  EXPECT_EQ(MemoryOp(kMapper, XENMEM_populate_physmap, one), 0);
  xen_pfn_t in = 3;
  xen_memory_exchange exchange = {};
  exchange.in = TestMachine::Reservation(DOMID_SELF, &frame, 1);
  exchange.out = TestMachine::Reservation(DOMID_SELF, &in, 1);
  EXPECT_EQ(MemoryOp(kMapper, XENMEM_exchange, exchange), -kEINVAL);
  exchange.in = TestMachine::Reservation(DOMID_SELF, &in, 1);
  exchange.out = TestMachine::Reservation(DOMID_SELF, &frame, 1);
  EXPECT_EQ(MemoryOp(kMapper, XENMEM_exchange, exchange), -kEBUSY);
  EXPECT_NE(machine.MapForeign(kMapper, kWindow, kThird, 3), 0);
  EXPECT_TRUE(Maps(kMapper, kWindow, MfnOf(kGranter, 7)));
  EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_okay);
  EXPECT_EQ(AddToPhysmap(kMapper, XENMAPSPACE_gmfn, 7, kWindow), 0);
}

TEST_F(GrantPlaceTest, NobodyReachesAGrantThroughWhoMapsIt) {
  Grant(kGranter, kRef, kMapper, 7);
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kWrite), 0);
  ASSERT_EQ(machine.MapForeign(kMapper, kWindow + 1, kThird, 3), 0);
  EXPECT_EQ(machine.MapForeign(0, kWindow, kMapper, kWindow), -kEINVAL);
  for (const std::uint64_t page : {kWindow, kWindow + 1}) {
    std::uint64_t mfn;
    EXPECT_EQ(machine.HoldFrame(kMapper, page, Access::kRead, &mfn), -kEINVAL);
    Grant(kMapper, kRef, kThird, page);
    EXPECT_EQ(Map(kThird, kMapper, kRef, kWindow, kRead), GNTST_bad_page);
    EXPECT_EQ(Copy(kThird, Granted(kMapper, kRef), Own(2), 8), GNTST_bad_page);
    EXPECT_EQ(Copy(kMapper, Own(page), Own(2), 8), GNTST_bad_page);
    EXPECT_EQ(Copy(kMapper, Own(2), Own(page), 8), GNTST_bad_page);
    EXPECT_EQ(Shown(kMapper, kRef), 0);
  }
  // Nor is a grant mapped where somebody else's page is, or a gfn that there is not.
  for (const std::uint64_t place : {kWindow + 1, std::uint64_t{1} << 36, ~std::uint64_t{0} >> 12}) {
    EXPECT_EQ(Map(kMapper, kGranter, kRef, place), GNTST_general_error) << place;
  }
  EXPECT_EQ(Shown(kGranter, kRef), kInUse);
}

// A page where an area is, or a region, stays where it is.
TEST_F(GrantPlaceTest, NoGrantComesWhereAPinnedPageIs) {
  Grant(kGranter, kRef, kMapper, 7);
  const vcpu_register_runstate_memory_area area = {
      .addr = {.p = reinterpret_cast<std::uint64_t>(BytesOf(kMapper, 5))}};
  ASSERT_EQ(machine.hypervisor.Call(*vcpus[kMapper],
                                    machine.Frame(__HYPERVISOR_vcpu_op,
                                                  VCPUOP_register_runstate_memory_area, 0, &area)),
            0);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, 5), GNTST_general_error);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, 6), GNTST_okay);
  // A page that is pinned can be granted, and is given up after that.
  Grant(kMapper, kRef, kThird, 5);
  EXPECT_EQ(Map(kThird, kMapper, kRef, kWindow), GNTST_okay);
}

TEST_F(GrantPlaceTest, APageTableOfAPvDomainIsGrantedForReadingAlone) {
  std::memset(BytesOf(kPv, 7), 0, kPageSize);
  Grant(kPv, kRef, kMapper, 7);
  ASSERT_EQ(Ext(MMUEXT_PIN_L1_TABLE, pv_frames[7]), 0);
  EXPECT_EQ(Map(kMapper, kPv, kRef, kWindow, kWrite), GNTST_general_error);
  EXPECT_EQ(Shown(kPv, kRef), 0);
  std::uint32_t reads, writes;
  ASSERT_EQ(Map(kMapper, kPv, kRef, kWindow, kRead, &reads), 0);
  EXPECT_EQ(Map(kMapper, kPv, kRef, kWindow + 1, kWrite), GNTST_general_error);
  EXPECT_EQ(Shown(kPv, kRef), GTF_reading);
  ASSERT_EQ(Ext(MMUEXT_UNPIN_TABLE, pv_frames[7]), 0);
  // The other way round: what is written becomes no table, until the last mapping has gone.
  ASSERT_EQ(Map(kMapper, kPv, kRef, kWindow + 1, kWrite, &writes), 0);
  EXPECT_EQ(Ext(MMUEXT_PIN_L1_TABLE, pv_frames[7]), -kEINVAL);
  ASSERT_EQ(Unmap(kMapper, writes, kWindow + 1), 0);
  EXPECT_EQ(Ext(MMUEXT_PIN_L1_TABLE, pv_frames[7]), 0);
  ASSERT_EQ(Unmap(kMapper, reads, kWindow), 0);
  EXPECT_EQ(Ext(MMUEXT_UNPIN_TABLE, pv_frames[7]), 0);
}

// By who maps them as a device would: a PV domain. All of its own pages, too.
TEST_F(GrantPlaceTest, APageIsMappedForADeviceByItsMachineAddress) {
  std::memset(BytesOf(kPv, 7), 0, kPageSize);
  for (const std::uint16_t granter : {kGranter, kPv}) {
    Grant(granter, kRef, kPv, 7);
    const std::uint64_t address = MfnOf(granter, 7) << kPageShift;
    gnttab_map_grant_ref op = MapOp(granter, kRef, kWindow, kDeviceWrite);
    ASSERT_EQ(Map(kPv, op), 0);
    EXPECT_EQ(op.dev_bus_addr, address);
    EXPECT_EQ(op.host_addr, kWindow << kPageShift);
    EXPECT_EQ(Shown(granter, kRef), kInUse);
    gnttab_map_grant_ref to_read = MapOp(granter, kRef, 0, kDeviceRead);
    ASSERT_EQ(Map(kPv, to_read), 0);
    EXPECT_EQ(Ext(MMUEXT_PIN_L1_TABLE, pv_frames[7]), granter == kPv ? -kEINVAL : 0);
    EXPECT_EQ(Ext(MMUEXT_UNPIN_TABLE, pv_frames[7]), granter == kPv ? -kEINVAL : 0);
    for (const std::uint64_t wrong : {address + 1, address + kPageSize, std::uint64_t{1}}) {
      EXPECT_EQ(Unmap(kPv, op.handle, 0, wrong), GNTST_bad_dev_addr);
      EXPECT_EQ(Unmap(kPv, op.handle, kWindow, wrong), GNTST_bad_dev_addr);
    }
    EXPECT_EQ(Unmap(kPv, op.handle, kWindow, 0), GNTST_okay);
    machine.ExpectBooksAddUp();
    EXPECT_EQ(Shown(granter, kRef), kInUse);
    EXPECT_EQ(Unmap(kPv, op.handle, 0, address), GNTST_okay);
    EXPECT_EQ(Shown(granter, kRef), GTF_reading);
    EXPECT_EQ(Unmap(kPv, op.handle, 0, address), GNTST_bad_handle);
    EXPECT_EQ(Unmap(kPv, to_read.handle, 1, address), GNTST_okay);
    EXPECT_EQ(Shown(granter, kRef), 0);
    // Its page tables are nobody's to write here.
    for (const std::uint32_t flags : {kWrite, kRead, kWrite | kDeviceWrite,
                                      kWrite | GNTMAP_contains_pte | GNTMAP_application_map}) {
      EXPECT_EQ(Map(kPv, granter, kRef, kWindow, flags), GNTST_general_error) << flags;
      EXPECT_EQ(Shown(granter, kRef), 0);
    }
  }
}

// A flag that means nothing is not taken for one of the hypervisor's own: it would tell where the
// hypervisor has the page.
TEST_F(GrantPlaceTest, AFlagThatMeansNothingIsNone) {
  Grant(kGranter, kRef, kPv, 7);
  for (std::uint32_t bit = 5; bit < 32; ++bit) {
    gnttab_map_grant_ref op = MapOp(kGranter, kRef, kWindow, kDeviceRead | 1u << bit);
    ASSERT_EQ(Map(kPv, op), 0) << bit;
    EXPECT_EQ(op.host_addr, kWindow << kPageShift) << bit;
    EXPECT_EQ(Unmap(kPv, op.handle, 0, 0), GNTST_okay);
    EXPECT_EQ(Shown(kGranter, kRef), GTF_reading) << bit;
    EXPECT_EQ(Unmap(kPv, op.handle, 0, op.dev_bus_addr), GNTST_okay);
    EXPECT_EQ(Shown(kGranter, kRef), 0) << bit;
    EXPECT_EQ(Map(kPv, kGranter, kRef, kWindow, 1u << bit), GNTST_bad_gntref) << bit;
  }
}

// A page of the hypervisor's own that a domain has can be granted as its memory can, and is not
// given back meanwhile.
TEST_F(GrantPlaceTest, AFrameOfAGrantTableIsGrantedItself) {
  ASSERT_EQ(SetVersion(kGranter, 2), 0);
  ASSERT_EQ(AddToPhysmap(kGranter, XENMAPSPACE_grant_table, XENMAPIDX_grant_table_status, kWindow),
            0);
  Grant(kGranter, 1, kMapper, kWindow);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, 1, kWindow, kRead, &handle), 0);
  EXPECT_EQ(SetVersion(kGranter, 1), -kEBUSY);
  ASSERT_EQ(Unmap(kMapper, handle, kWindow), 0);
  EXPECT_EQ(SetVersion(kGranter, 1), 0);
  EXPECT_EQ(Map(kMapper, kGranter, 1, kWindow, kRead), GNTST_bad_page);
  // And it outlives its domain.
  ASSERT_EQ(AddToPhysmap(kGranter, XENMAPSPACE_shared_info, 0, kWindow), 0);
  Grant(kGranter, 2, kMapper, kWindow);
  ASSERT_EQ(Map(kMapper, kGranter, 2, kWindow, kWrite, &handle), 0);
  End(kGranter);
  EXPECT_TRUE(Exists(kGranter));
  EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_okay);
  EXPECT_FALSE(Exists(kGranter));
}

// What a domain's pages are written

class GrantLogTest : public GrantPlaceTest {
 protected:
  xen_domctl_t Shadow(std::uint16_t domain, std::uint32_t which, std::uint8_t* bitmap = nullptr) {
    xen_domctl_t op = {};
    op.u.shadow_op.op = which;
    op.u.shadow_op.pages = bitmap == nullptr ? 0 : kBits;
    op.u.shadow_op.dirty_bitmap.p = bitmap;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, domain, op), 0);
    return op;
  }
  void Log(std::uint16_t domain) {
    Shadow(domain, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY);
    Written(domain);
  }
  std::vector<std::uint64_t> Written(std::uint16_t domain) {
    std::vector<std::uint8_t> bits(kBits / 8);
    Shadow(domain, XEN_DOMCTL_SHADOW_OP_CLEAN, bits.data());
    std::vector<std::uint64_t> pages;
    for (std::uint64_t i = 0; i < kBits; ++i) {
      if ((bits[i / 8] >> i % 8 & 1) != 0) pages.push_back(i);
    }
    return pages;
  }

  static constexpr std::uint64_t kBits = 1024;
  using Pages = std::vector<std::uint64_t>;
};

TEST_F(GrantLogTest, AWritableMappingMarksItsPageInTheGrantersLog) {
  Log(kGranter);
  Log(kMapper);
  Grant(kGranter, kRef, kMapper, 7);
  std::uint32_t reads, writes, again;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kRead, &reads), 0);
  EXPECT_EQ(Written(kGranter), Pages{});
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow + 1, kWrite, &writes), 0);
  EXPECT_EQ(Written(kGranter), Pages{7});
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow + 2, kWrite, &again), 0);
  EXPECT_EQ(Written(kGranter), Pages{7});
  // What was written since is told when it ends, and only then.
  EXPECT_EQ(Written(kGranter), Pages{});
  ASSERT_EQ(Unmap(kMapper, writes, kWindow + 1), 0);
  EXPECT_EQ(Written(kGranter), Pages{7});
  ASSERT_EQ(Unmap(kMapper, reads, kWindow), 0);
  EXPECT_EQ(Written(kGranter), Pages{});
  // Not in the log of who maps it; there it is no page.
  EXPECT_EQ(Written(kMapper), Pages{});
  End(kMapper);
  EXPECT_EQ(Written(kGranter), Pages{7});
}

TEST_F(GrantLogTest, ACopyMarksWhatItWritesWhereverThatIs) {
  Log(kGranter);
  Log(kMapper);
  Grant(kGranter, kRef, kMapper, 7);
  ASSERT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(4), 8), 0);
  EXPECT_EQ(Written(kMapper), Pages{4});
  EXPECT_EQ(Written(kGranter), Pages{});
  ASSERT_EQ(Copy(kMapper, Own(4), Granted(kGranter, kRef), 8), 0);
  EXPECT_EQ(Written(kMapper), Pages{});
  EXPECT_EQ(Written(kGranter), Pages{7});
  // Passed on, it is the origin's page that is written.
  ASSERT_EQ(SetVersion(kThird, 2), 0);
  Grant(kGranter, kRef + 1, kThird, 8);
  PassOn(kThird, kRef, kMapper, kGranter, kRef + 1);
  Log(kThird);
  ASSERT_EQ(Copy(kMapper, Own(4), Granted(kThird, kRef), 8), 0);
  EXPECT_EQ(Written(kGranter), Pages{8});
  EXPECT_EQ(Written(kThird), Pages{});
}

// Callers that reach every page: a mapping says where it is, and holds it.

class GrantReachTest : public GrantPlaceTest {
 protected:
  GrantReachTest()
      : GrantPlaceTest(
            {.pool_bytes = std::uint64_t{8} << 20, .pages = 32, .reaches_frames = true}) {}
};

TEST_F(GrantReachTest, APageIsReachedWhereItIs) {
  for (const std::uint16_t granter : {kGranter, kPv}) {
    Grant(granter, kRef, 0, 7);
    gnttab_map_grant_ref reads = MapOp(granter, kRef, 0, GNTMAP_readonly);
    gnttab_map_grant_ref writes = MapOp(granter, kRef, 0, 0);
    ASSERT_EQ(Map(0, reads), 0);
    EXPECT_EQ(Shown(granter, kRef), GTF_reading);
    ASSERT_EQ(Map(0, writes), 0);  // a grant is mapped more than once
    EXPECT_EQ(Shown(granter, kRef), kInUse);
    for (const gnttab_map_grant_ref& op : {reads, writes}) {
      EXPECT_EQ(op.host_addr, reinterpret_cast<std::uint64_t>(BytesOf(granter, 7)));
      EXPECT_EQ(op.dev_bus_addr, MfnOf(granter, 7) << kPageShift);
    }
    EXPECT_EQ(writes.handle, reads.handle + 1);
    gnttab_unmap_grant_ref end = UnmapOp(reads.handle, 0);
    for (const std::uint64_t wrong :
         {reads.host_addr + 1, reads.host_addr + kPageSize, kPageSize}) {
      end.host_addr = wrong;
      ASSERT_EQ(Op(0, GNTTABOP_unmap_grant_ref, &end), 0);
      EXPECT_EQ(end.status, GNTST_bad_virt_addr);
    }
    gnttab_unmap_and_replace replace = {
        .host_addr = 0, .new_addr = 4096, .handle = reads.handle, .status = 7};
    ASSERT_EQ(Op(0, GNTTABOP_unmap_and_replace, &replace), 0);
    EXPECT_EQ(replace.status, GNTST_general_error);
    end.host_addr = reads.host_addr;
    ASSERT_EQ(Op(0, GNTTABOP_unmap_grant_ref, &end), 0);
    EXPECT_EQ(end.status, GNTST_okay);
    EXPECT_EQ(Shown(granter, kRef), kInUse);
    ASSERT_EQ(Op(0, GNTTABOP_unmap_grant_ref, &end), 0);
    EXPECT_EQ(end.status, GNTST_bad_handle);
    EXPECT_EQ(Unmap(0, writes.handle, 0), GNTST_okay);  // without an address, too
    EXPECT_EQ(Shown(granter, kRef), 0);
  }
}

TEST_F(GrantReachTest, APageThatIsReachedStaysWhateverBecomesOfItsDomain) {
  for (const std::uint16_t granter : {kGranter, kPv}) {
    Grant(granter, kRef, 0, 7);
    std::memset(BytesOf(granter, 7), 0x5a, kPageSize);
    gnttab_map_grant_ref op = MapOp(granter, kRef, 0, 0);
    ASSERT_EQ(Map(0, op), 0);
    ASSERT_EQ(Decrease(granter, 7), 1);
    EXPECT_EQ(PagesOf(granter), kDomainPages);
    End(granter);
    EXPECT_TRUE(Exists(granter));
    const auto* page = reinterpret_cast<const std::byte*>(op.host_addr);
    EXPECT_EQ(std::to_integer<int>(page[kPageSize - 1]), 0x5a);
    EXPECT_EQ(Unmap(0, op.handle, 0), GNTST_okay);
    EXPECT_FALSE(Exists(granter));
  }
}

TEST_F(GrantReachTest, OnlyWhoReachesFramesIsToldWhereTheyAre) {
  for (const std::uint16_t by : {kMapper, kPv}) {
    Grant(kGranter, kRef, by, 7);
    for (const std::uint32_t flags : {0, GNTMAP_readonly}) {
      gnttab_map_grant_ref op = MapOp(kGranter, kRef, kWindow, flags);
      EXPECT_EQ(Map(by, op), GNTST_bad_gntref);
      EXPECT_EQ(op.host_addr, kWindow << kPageShift);
    }
  }
  // The checks are the same as for any mapping.
  const struct {
    std::uint16_t granter;
    std::uint32_t ref;
    std::uint32_t flags;
    std::int16_t status;
  } kCases[] = {
      {kNoDomain, kRef, 0, GNTST_bad_domain},   {DOMID_SELF, kRef, 0, GNTST_bad_domain},
      {kGranter, 512, 0, GNTST_bad_gntref},     {kGranter, ~0u, 0, GNTST_bad_gntref},
      {kGranter, kRef, 0, GNTST_general_error}, {kGranter, kRef + 1, 0, GNTST_general_error},
      {kGranter, kRef + 2, 0, GNTST_bad_page},  {kGranter, kRef + 1, GNTMAP_readonly, GNTST_okay},
  };
  Grant(kGranter, kRef + 1, 0, 7, GTF_permit_access | GTF_readonly);
  Grant(kGranter, kRef + 2, 0, 1000);
  for (const auto& each : kCases) {
    gnttab_map_grant_ref op = MapOp(each.granter, each.ref, kWindow, each.flags);
    EXPECT_EQ(Map(0, op), each.status);
    EXPECT_EQ(op.host_addr == kWindow << kPageShift, op.status != GNTST_okay);
    EXPECT_EQ(Unmap(0, op.handle, 0), op.status == GNTST_okay ? GNTST_okay : GNTST_bad_handle);
  }
  // By a translated domain it can be mapped in the ordinary way, too.
  Grant(kGranter, kRef, 0, 7);
  std::uint32_t handle;
  ASSERT_EQ(Map(0, kGranter, kRef, kWindow, kWrite, &handle), 0);
  EXPECT_TRUE(Maps(0, kWindow, MfnOf(kGranter, 7)));
  EXPECT_EQ(Unmap(0, handle, kWindow), GNTST_okay);
}

// As many entries as the table's frames have, no more and no fewer.
TEST_F(GrantReachTest, ATableHasTheEntriesThatItsFramesHave) {
  constexpr std::uint32_t kFrames = 64;
  for (const std::uint32_t version : {1, 2}) {
    const std::uint32_t count = kFrames * (version == 1 ? 512 : 256);
    UseVersion(kGranter, version);
    Grant(kGranter, count - 1, 0, 7);
    gnttab_map_grant_ref op = MapOp(kGranter, count - 1, 0, 0);
    EXPECT_EQ(Map(0, op), GNTST_okay);
    EXPECT_EQ(Shown(kGranter, count - 1), kInUse);
    EXPECT_EQ(Unmap(0, op.handle, 0), GNTST_okay);
    for (const std::uint32_t ref : {count, count + 1, count * 2, count * kFrames}) {
      op = MapOp(kGranter, ref, 0, 0);
      EXPECT_EQ(Map(0, op), GNTST_bad_gntref) << ref;
      EXPECT_EQ(Copy(0, Granted(kGranter, ref), Own(3), 8), GNTST_bad_gntref) << ref;
    }
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
