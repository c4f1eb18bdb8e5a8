// A grant table that gets another version, or another order of its entries, while some are in use;
// and all of it for a domain of either byte order.

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
constexpr std::uint16_t kOwner = 8;  // of the table
constexpr std::uint32_t kReserved = 3;

class GrantTableTest : public GrantsTest, public testing::WithParamInterface<ByteOrder> {
 protected:
  void SetUp() override {
    GrantsTest::SetUp();
    Build(kOwner, {.order = GetParam()});
  }

  template <class T>
  T Swapped(T value) {
    return InOrder(value, GetParam());
  }
  std::int16_t SwapRefs(std::uint32_t a, std::uint32_t b) {
    gnttab_swap_grant_ref op = {.ref_a = Swapped(a), .ref_b = Swapped(b), .status = 7};
    EXPECT_EQ(Op(kOwner, GNTTABOP_swap_grant_ref, &op), 0);
    return static_cast<std::int16_t>(Swapped(static_cast<std::uint16_t>(op.status)));
  }
  std::uint64_t FrameIn(std::uint32_t ref) { return EntryOf(kOwner, ref).LoadFrame(); }
  int FlagsIn(std::uint32_t ref) { return EntryOf(kOwner, ref).LoadHead().flags(); }
};
INSTANTIATE_TEST_SUITE_P(Orders, GrantTableTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const testing::TestParamInfo<ByteOrder>& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

TEST_P(GrantTableTest, OnlyReservedGrantsAreInUseWhenTheVersionChanges) {
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kOwner, version);
    for (const std::uint32_t ref : {7u, 8u, 255u}) {
      Grant(kOwner, ref, kMapper, 7);
      std::uint32_t handle;
      ASSERT_EQ(Map(kMapper, kOwner, ref, kWindow, kRead, &handle), 0);
      EXPECT_EQ(SetVersion(kOwner, 3 - version), ref < 8 ? 0 : -kEBUSY) << ref;
      EXPECT_EQ(SetVersion(kOwner, version), 0);
      EXPECT_EQ(Shown(kOwner, ref), GTF_reading);
      ASSERT_EQ(Unmap(kMapper, handle, kWindow), 0);
      EXPECT_EQ(Shown(kOwner, ref), 0);
    }
  }
}

TEST_P(GrantTableTest, AReservedGrantIsCarriedOverAsItIsInUse) {
  std::uint32_t reads, writes;
  Grant(kOwner, kReserved, kMapper, 7, GTF_permit_access);
  Grant(kOwner, kReserved + 1, kMapper, 8, GTF_permit_access | GTF_readonly);
  Grant(kOwner, 8, kMapper, 9);
  ASSERT_EQ(Map(kMapper, kOwner, kReserved, kWindow, kWrite, &writes), 0);
  ASSERT_EQ(Map(kMapper, kOwner, kReserved + 1, kWindow + 1, kRead, &reads), 0);
  for (const std::uint32_t version : {2, 1, 2, 1}) {
    ASSERT_EQ(SetVersion(kOwner, version), 0);
    const int apart = version == 2 ? 0 : ~0;
    EXPECT_EQ(Shown(kOwner, kReserved), kInUse);
    EXPECT_EQ(Shown(kOwner, kReserved + 1), GTF_reading);
    EXPECT_EQ(FlagsIn(kReserved), GTF_permit_access | (kInUse & apart));
    EXPECT_EQ(FlagsIn(kReserved + 1), GTF_permit_access | GTF_readonly | (GTF_reading & apart));
    EXPECT_EQ(FrameIn(kReserved), 7u);
    EXPECT_EQ(EntryOf(kOwner, kReserved).LoadHead().grantee(), kMapper);
    // The others begin anew.
    EXPECT_EQ(FlagsIn(8), 0);
    EXPECT_EQ(FrameIn(8), 0u);
    machine.ExpectBooksAddUp();
    // In use for writing no more, and again.
    ASSERT_EQ(Unmap(kMapper, writes, kWindow), 0);
    EXPECT_EQ(Shown(kOwner, kReserved), 0);
    ASSERT_EQ(Map(kMapper, kOwner, kReserved, kWindow, kWrite, &writes), 0);
    EXPECT_EQ(Shown(kOwner, kReserved), kInUse);
  }
  ASSERT_EQ(Unmap(kMapper, reads, kWindow + 1), 0);
  ASSERT_EQ(Unmap(kMapper, writes, kWindow), 0);
  EXPECT_EQ(Shown(kOwner, kReserved), 0);
}

TEST_P(GrantTableTest, WhatVersion1CannotSayKeepsVersion2) {
  ASSERT_EQ(SetVersion(kOwner, 2), 0);
  const auto entry = [&](int flags, std::uint64_t frame) {
    grant_entry_v2_t made = {};
    made.full_page.frame = Swapped(frame);
    Put(kOwner, kReserved, kMapper, flags, made);
  };
  const std::uint64_t far = (std::uint64_t{1} << 32) + 7;
  entry(GTF_transitive, 7);
  EXPECT_EQ(SetVersion(kOwner, 1), -kERANGE);
  entry(GTF_permit_access, far);
  EXPECT_EQ(SetVersion(kOwner, 1), -kERANGE);
  EXPECT_EQ(FrameIn(kReserved), far);
  // Of no grant nothing is kept, whatever stands there, and what comes after the reserved ones is
  // not looked at.
  PassOn(kOwner, 8, kMapper, kThird, 1);
  for (const int flags : {GTF_invalid, GTF_accept_transfer}) {
    entry(flags | GTF_readonly, far);
    EXPECT_EQ(SetVersion(kOwner, 1), 0);
    EXPECT_EQ(FlagsIn(kReserved), 0);
    EXPECT_EQ(FrameIn(kReserved), 0u);
    ASSERT_EQ(SetVersion(kOwner, 2), 0);
  }
  // The other way round all of them are.
  ASSERT_EQ(SetVersion(kOwner, 1), 0);
  EntryOf(kOwner, kReserved).Store(GTF_accept_transfer | GTF_PWT, kThird, ~std::uint32_t{0});
  ASSERT_EQ(SetVersion(kOwner, 2), 0);
  EXPECT_EQ(FlagsIn(kReserved), GTF_accept_transfer | GTF_PWT);
  EXPECT_EQ(FrameIn(kReserved), 0xffffffffu);
  EXPECT_EQ(EntryOf(kOwner, kReserved).LoadHead().grantee(), kThird);
}

TEST_P(GrantTableTest, EntriesAreSwappedWholeUnlessTheyAreInUse) {
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kOwner, version);
    Grant(kOwner, kRef, kMapper, 7, GTF_permit_access | GTF_readonly);
    Grant(kOwner, kRef + 1, kThird, 8);
    EntryOf(kOwner, kRef + 1).SetInUse(GTF_writing);  // as the domain says
    EXPECT_EQ(SwapRefs(kRef, kRef + 1), GNTST_okay);
    EXPECT_EQ(FrameIn(kRef), 8u);
    EXPECT_EQ(FrameIn(kRef + 1), 7u);
    EXPECT_EQ(Shown(kOwner, kRef), GTF_writing);
    EXPECT_EQ(Shown(kOwner, kRef + 1), 0);
    EXPECT_EQ(EntryOf(kOwner, kRef).LoadHead().grantee(), kThird);
    EXPECT_EQ(FlagsIn(kRef + 1), GTF_permit_access | GTF_readonly);
    std::uint32_t handle;
    ASSERT_EQ(Map(kMapper, kOwner, kRef + 1, kWindow, kRead, &handle), 0);
    const std::uint32_t beyond = version == 1 ? 512 : 256;
    const struct {
      std::uint32_t a, b;
      std::int16_t status;
    } kCases[] = {
        {kRef, kRef + 1, GNTST_eagain},       {kRef + 1, kRef, GNTST_eagain},
        {kRef + 1, kRef + 1, GNTST_okay},     {kRef + 1, beyond, GNTST_bad_gntref},
        {beyond, kRef + 1, GNTST_bad_gntref}, {~0u, ~0u, GNTST_bad_gntref},
        {kRef, beyond - 1, GNTST_okay},       {beyond - 1, kRef, GNTST_okay},
    };
    for (const auto& each : kCases) EXPECT_EQ(SwapRefs(each.a, each.b), each.status) << each.a;
    EXPECT_EQ(FrameIn(kRef), 8u);
    EXPECT_EQ(FrameIn(kRef + 1), 7u);
    ASSERT_EQ(Unmap(kMapper, handle, kWindow), 0);
    EXPECT_EQ(SwapRefs(kRef, kRef + 1), GNTST_okay);
    EXPECT_EQ(FrameIn(kRef), 7u);
  }
}

// As who grants, for whom there are three kinds of copies; and as who maps.
TEST_P(GrantTableTest, EachSideReadsItsOwnOrder) {
  for (std::uint64_t page = 0; page < 16; ++page) {
    std::memset(BytesOf(kOwner, page), static_cast<int>(page), kPageSize);
  }
  Grant(kOwner, kRef, kMapper, 7);
  EXPECT_EQ(Copy(kMapper, Granted(kOwner, kRef), Own(2), 8), GNTST_okay);
  EXPECT_EQ(std::to_integer<int>(*BytesOf(kMapper, 2)), 7);
  ASSERT_EQ(SetVersion(kOwner, 2), 0);
  GrantPart(kOwner, kRef, kMapper, 9, 0x100, 0x20);
  EXPECT_EQ(Copy(kMapper, Granted(kOwner, kRef, 0x100), Own(2), 0x20), GNTST_okay);
  EXPECT_EQ(std::to_integer<int>(*BytesOf(kMapper, 2)), 9);
  EXPECT_EQ(Copy(kMapper, Granted(kOwner, kRef, 0x101), Own(2), 0x20), GNTST_general_error);
  Grant(kGranter, 0x123, kOwner, 5);
  std::memset(BytesOf(kGranter, 5), 0x77, kPageSize);
  PassOn(kOwner, kRef, kMapper, kGranter, 0x123);
  EXPECT_EQ(Copy(kMapper, Granted(kOwner, kRef), Own(2), 8), GNTST_okay);
  EXPECT_EQ(std::to_integer<int>(*BytesOf(kMapper, 2)), 0x77);

  gnttab_map_grant_ref op = {};
  op.host_addr = Swapped(kWindow << kPageShift);
  op.flags = Swapped(kWrite);
  op.ref = Swapped(0x123u);
  op.dom = Swapped(kGranter);
  ASSERT_EQ(Op(kOwner, GNTTABOP_map_grant_ref, &op), 0);
  ASSERT_EQ(op.status, 0);
  EXPECT_EQ(Swapped(op.dev_bus_addr), MfnOf(kGranter, 5) << kPageShift);
  EXPECT_TRUE(Maps(kOwner, kWindow, MfnOf(kGranter, 5)));
  gnttab_unmap_grant_ref end = {};
  end.host_addr = op.host_addr;
  end.handle = op.handle;
  ASSERT_EQ(Op(kOwner, GNTTABOP_unmap_grant_ref, &end), 0);
  EXPECT_EQ(end.status, 0);
  EXPECT_EQ(Shown(kGranter, 0x123), 0);
}

// The machine has no page left: a handle is what there is no room for.
TEST_F(GrantsTest, WithoutMemoryThereIsNoHandle) {
  constexpr std::uint16_t kTaker = 77;
  Grant(kGranter, kRef, kMapper, 7);
  ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20), kTaker);
  std::vector<xen_pfn_t> frames(Books::StatisticsOf(machine.hypervisor).free_pages);
  std::iota(frames.begin(), frames.end(), 0);
  xen_memory_reservation all = TestMachine::Reservation(kTaker, frames.data(), frames.size());
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &all),
            static_cast<std::int64_t>(frames.size()));
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow), GNTST_no_space);
  EXPECT_EQ(Map(kMapper, kNoDomain, kRef, kWindow), GNTST_bad_domain);
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(2), 8), GNTST_general_error);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
  machine.ExpectBooksAddUp();
  ASSERT_EQ(Destroy(kTaker), 0);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow), GNTST_okay);
}

// What later releases answer otherwise.
TEST(GrantReleaseTest, NothingIsLookedAtForNoBytesFrom4_19OnNorFlushedFrom4_21On) {
  constexpr schema::Releases kOldest = schema::kSince4_17 & ~schema::kSince4_18;
  for (unsigned minor = 17; minor <= 22; ++minor) {
    TestMachine machine({.pool_bytes = std::uint64_t{8} << 20,
                         .release = static_cast<schema::Releases>(kOldest << (minor - 17)),
                         .pages = 32});
    gnttab_copy copy = {};
    copy.source.domid = kNoDomain;
    copy.flags = GNTCOPY_source_gref;
    EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_copy, &copy, 1), 0);
    EXPECT_EQ(copy.status, minor < 19 ? GNTST_bad_domain : GNTST_okay) << minor;
    copy.len = 1;
    EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_copy, &copy, 1), 0);
    EXPECT_EQ(copy.status, GNTST_bad_domain) << minor;
    gnttab_cache_flush flush = {};
    flush.a.dev_bus_addr = machine.hypervisor.FrameOf(0, 3) << kPageShift;
    flush.length = 8;
    flush.op = GNTTAB_CACHE_CLEAN;
    EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_cache_flush, &flush, 1),
              minor < 21 ? 0 : -kENOSYS)
        << minor;
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
