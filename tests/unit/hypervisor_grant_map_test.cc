// Grants that are mapped: what is checked, in Xen's order; what a granter is shown; where the page
// is then, and how long it lasts.

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_grants.h"

namespace xencomm::hypervisor {
namespace {

using GrantMapTest = GrantsTest;

constexpr std::uint32_t kRead = GNTMAP_host_map | GNTMAP_readonly;
constexpr std::uint32_t kWrite = GNTMAP_host_map;

// One mistake, and all that Xen would find later.
struct Mistake {
  const char* what;
  std::int16_t status;
};
constexpr Mistake kMistakes[] = {
    {"no flag", GNTST_bad_gntref},
    {"for a device", GNTST_general_error},
    {"nobody's", GNTST_bad_domain},
    {"no handle", GNTST_no_space},
    {"no such grant", GNTST_bad_gntref},
    {"another's", GNTST_general_error},
    {"read-only", GNTST_general_error},
    {"no such page", GNTST_bad_page},
    {"a flag that a translated domain has no use for", GNTST_general_error},
    {"none", GNTST_okay},
};
enum { kNoFlag, kDevice, kNobody, kNoHandle, kNoGrant, kOthers, kReadOnly, kNoPage, kFlag };

// Whose handles end with the first frame of them.
constexpr std::uint16_t kScarce = 7;
constexpr std::uint32_t kHvmFlags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;

TEST_F(GrantMapTest, WhatIsWrongIsFoundInXensOrder) {
  ASSERT_EQ(CreateGranting(kScarce, kHvmFlags, 1), kScarce);
  Claim(kScarce);
  for (std::uint32_t ref : {20, 21}) Grant(kThird, ref, kScarce, 3);
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kGranter, version);
    for (int first = kNoFlag; first <= kFlag + 1; ++first) {
      std::vector<std::uint32_t> taken;
      const auto is_wrong = [&](int mistake) { return first <= mistake; };
      if (is_wrong(kNoHandle)) {
        for (std::uint32_t i = 0; i < 255; ++i) {
          std::uint32_t handle;
          ASSERT_EQ(Map(kScarce, kThird, 20 + i / 128, kWindow + 1 + i, kRead, &handle), 0);
          taken.push_back(handle);
        }
      }
      gnttab_map_grant_ref op = MapOp(kGranter, kRef, kWindow, kWrite);
      Grant(kGranter, kRef, is_wrong(kOthers) ? kThird : kScarce,
            is_wrong(kNoPage) ? kDomainPages : 7,
            GTF_permit_access | (is_wrong(kReadOnly) ? GTF_readonly : 0));
      if (is_wrong(kFlag)) op.flags |= 1u << _GNTMAP_guest_avail0;
      if (is_wrong(kNoGrant)) op.ref = version == 1 ? 512 : 256;
      if (is_wrong(kNobody)) op.dom = kNoDomain;
      if (is_wrong(kDevice)) op.flags |= GNTMAP_device_map;
      if (is_wrong(kNoFlag)) op.flags &= ~std::uint32_t{GNTMAP_device_map | GNTMAP_host_map};
      op.handle = 4711;
      op.dev_bus_addr = 4712;
      EXPECT_EQ(Map(kScarce, op), kMistakes[first].status) << kMistakes[first].what;
      EXPECT_EQ(Shown(kGranter, kRef), first > kFlag ? kInUse : 0) << kMistakes[first].what;
      EXPECT_EQ(op.host_addr, kWindow << kPageShift);
      if (op.status == GNTST_okay) {
        EXPECT_EQ(op.dev_bus_addr, MfnOf(kGranter, 7) << kPageShift);
        ASSERT_EQ(Unmap(kScarce, op.handle, kWindow), 0);
      } else {
        EXPECT_EQ(op.handle, 4711u);
        EXPECT_EQ(op.dev_bus_addr, 4712u);
      }
      for (std::uint32_t i = 0; i < taken.size(); ++i) {
        ASSERT_EQ(Unmap(kScarce, taken[i], kWindow + 1 + i), 0);
      }
    }
  }
}

struct Entry {
  const char* what;
  int flags;
  std::uint16_t to;
  std::uint64_t page;
  std::uint32_t map;
  std::int16_t status;
};
constexpr Entry kEntries[] = {
    {"nothing", GTF_invalid, kMapper, 7, kRead, GNTST_general_error},
    {"a transfer", GTF_accept_transfer, kMapper, 7, kRead, GNTST_general_error},
    {"what is passed on", GTF_transitive, kMapper, 7, kRead, GNTST_general_error},
    {"a part", GTF_permit_access | GTF_sub_page, kMapper, 7, kRead, GNTST_general_error},
    {"another's", GTF_permit_access, kThird, 7, kRead, GNTST_general_error},
    {"by DOMID_SELF", GTF_permit_access, DOMID_SELF, 7, kRead, GNTST_general_error},
    {"another's, and no page", GTF_permit_access, kThird, 1000, kRead, GNTST_general_error},
    {"no page", GTF_permit_access, kMapper, 1000, kRead, GNTST_bad_page},
    {"the first page that is none", GTF_permit_access, kMapper, kDomainPages, kWrite,
     GNTST_bad_page},
    {"read-only, for writing", GTF_permit_access | GTF_readonly, kMapper, 7, kWrite,
     GNTST_general_error},
    {"read-only, no page, for writing", GTF_permit_access | GTF_readonly, kMapper, 1000, kWrite,
     GNTST_general_error},
    {"read-only", GTF_permit_access | GTF_readonly, kMapper, 7, kRead, GNTST_okay},
    {"for writing, to read", GTF_permit_access, kMapper, 7, kRead, GNTST_okay},
    {"for writing", GTF_permit_access, kMapper, 7, kWrite, GNTST_okay},
    {"with attributes", GTF_permit_access | GTF_PWT | GTF_PCD, kMapper, 7, kWrite, GNTST_okay},
    {"in use, as the granter says", GTF_permit_access | kInUse, kMapper, 7, kWrite, GNTST_okay},
};

TEST_F(GrantMapTest, AnEntryGrantsWhatItSays) {
  for (const std::uint16_t granter : {kGranter, kPv}) {
    for (const std::uint32_t version : {1, 2}) {
      UseVersion(granter, version);
      for (const Entry& entry : kEntries) {
        const std::uint64_t frame =
            entry.page < kDomainPages ? FrameOf(granter, entry.page) : entry.page;
        EntryOf(granter, kRef).Store(static_cast<std::uint16_t>(entry.flags), entry.to, frame);
        std::uint32_t handle;
        EXPECT_EQ(Map(kMapper, granter, kRef, kWindow, entry.map, &handle), entry.status)
            << entry.what << ", version " << version;
        if (entry.status != GNTST_okay) {
          EXPECT_EQ(EntryOf(granter, kRef).LoadHead().flags(), entry.flags) << entry.what;
          EXPECT_EQ(Shown(granter, kRef), version == 1 ? entry.flags & kInUse : 0) << entry.what;
          continue;
        }
        EXPECT_TRUE(Maps(kMapper, kWindow, MfnOf(granter, 7)));
        EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_okay);
        EXPECT_EQ(machine.hypervisor.FrameOf(kMapper, kWindow), kNoFrame);
      }
    }
  }
}

// As it is in use, by the mapping that came last.
TEST_F(GrantMapTest, AGranterSeesWhatItsGrantIsInUseFor) {
  struct Step {
    bool maps;
    std::uint32_t flags;
    int shown;
  };
  constexpr Step kSteps[] = {
      {true, kRead, GTF_reading},   {true, kRead, GTF_reading}, {true, kWrite, kInUse},
      {true, kWrite, kInUse},       {false, kWrite, kInUse},    {false, kRead, kInUse},
      {false, kWrite, GTF_reading}, {true, kWrite, kInUse},     {false, kRead, kInUse},
      {false, kWrite, 0},           {true, kWrite, kInUse},     {true, kRead, kInUse},
      {false, kWrite, GTF_reading}, {false, kRead, 0},
  };
  for (const std::uint16_t granter : {kGranter, kPv}) {
    for (const std::uint32_t version : {1, 2}) {
      UseVersion(granter, version);
      Grant(granter, kRef, kMapper, 7);
      std::vector<std::pair<std::uint32_t, std::uint64_t>> mapped[2];
      std::uint64_t next = kWindow;
      for (const Step& step : kSteps) {
        auto& same = mapped[step.flags == kRead];
        if (step.maps) {
          std::uint32_t handle;
          ASSERT_EQ(Map(kMapper, granter, kRef, next, step.flags, &handle), 0);
          same.emplace_back(handle, next++);
        } else {
          ASSERT_EQ(Unmap(kMapper, same.back().first, same.back().second), 0);
          same.pop_back();
        }
        EXPECT_EQ(Shown(granter, kRef), step.shown) << &step - kSteps << ", version " << version;
        machine.ExpectBooksAddUp();
      }
      // Elsewhere nothing is shown.
      EXPECT_EQ(EntryOf(granter, kRef).LoadHead().flags(), GTF_permit_access);
    }
  }
}

// What is mapped is no longer the entry's to say, but that nobody is to write it from now on.
TEST_F(GrantMapTest, WhatIsInUseStaysWhatItIsWhateverTheEntrySays) {
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kGranter, version);
    Grant(kGranter, kRef, kMapper, 7, GTF_permit_access);
    std::uint32_t handle[3];
    ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kRead, &handle[0]), 0);
    Grant(kGranter, kRef, kThird, 8, GTF_invalid | GTF_readonly);
    EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow + 1, kWrite), GNTST_general_error);
    EXPECT_EQ(Map(kThird, kGranter, kRef, kWindow, kRead), GNTST_general_error);
    EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow + 1, kRead, &handle[1]), 0);
    EXPECT_TRUE(Maps(kMapper, kWindow + 1, MfnOf(kGranter, 7)));
    Grant(kGranter, kRef, kThird, 8, GTF_invalid);
    EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow + 2, kWrite, &handle[2]), 0);
    EXPECT_TRUE(Maps(kMapper, kWindow + 2, MfnOf(kGranter, 7)));
    for (unsigned i = 0; i < 3; ++i) ASSERT_EQ(Unmap(kMapper, handle[i], kWindow + i), 0);
    EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow, kRead), GNTST_general_error);
    Grant(kGranter, kRef, kThird, 8);
    ASSERT_EQ(Map(kThird, kGranter, kRef, kWindow, kRead, &handle[0]), 0);
    EXPECT_TRUE(Maps(kThird, kWindow, MfnOf(kGranter, 8)));
    ASSERT_EQ(Unmap(kThird, handle[0], kWindow), 0);
  }
}

// Each kind of use is counted in a byte.
TEST_F(GrantMapTest, AGrantIsMapped128TimesInEachWay) {
  Grant(kGranter, kRef, kMapper, 7);
  std::vector<gnttab_map_grant_ref> maps;
  for (const std::uint32_t flags : {kRead, kWrite}) {
    for (unsigned i = 0; i < 129; ++i) {
      maps.push_back(MapOp(kGranter, kRef, kWindow + maps.size(), flags));
    }
  }
  ASSERT_EQ(Op(kMapper, GNTTABOP_map_grant_ref, maps.data(), maps.size()), 0);
  std::vector<gnttab_unmap_grant_ref> unmaps;
  for (std::size_t i = 0; i < maps.size(); ++i) {
    EXPECT_EQ(maps[i].status, i % 129 < 128 ? GNTST_okay : GNTST_general_error) << i;
    if (maps[i].status != GNTST_okay) continue;
    unmaps.push_back(UnmapOp(maps[i].handle, kWindow + i));
  }
  EXPECT_EQ(Map(kThird, kGranter, kRef, kWindow, kRead), GNTST_general_error);
  machine.ExpectBooksAddUp();
  // One gone, one more.
  ASSERT_EQ(Op(kMapper, GNTTABOP_unmap_grant_ref, unmaps.data()), 0);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow, kRead, &unmaps[0].handle), GNTST_okay);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow + 500, kRead), GNTST_general_error);
  ASSERT_EQ(Op(kMapper, GNTTABOP_unmap_grant_ref, unmaps.data(), unmaps.size()), 0);
  for (const gnttab_unmap_grant_ref& unmap : unmaps) EXPECT_EQ(unmap.status, GNTST_okay);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
}

// The page

TEST_F(GrantMapTest, APageThatIsGivenUpStaysForAsLongAsItIsMapped) {
  for (const std::uint16_t granter : {kGranter, kPv}) {
    Grant(granter, kRef, kMapper, 7);
    const std::uint64_t mfn = MfnOf(granter, 7);
    std::memset(machine.BytesOf(mfn), 0x5a, kPageSize);
    std::uint32_t handle[2];
    for (unsigned i = 0; i < 2; ++i) {
      ASSERT_EQ(Map(kMapper, granter, kRef, kWindow + i, kWrite, &handle[i]), 0);
    }
    ASSERT_EQ(Decrease(granter, 7), 1);
    EXPECT_EQ(PagesOf(granter), kDomainPages);
    EXPECT_EQ(std::to_integer<int>(machine.BytesOf(mfn)[kPageSize - 1]), 0x5a);
    EXPECT_TRUE(Maps(kMapper, kWindow, mfn));
    // It is granted to nobody anew, but for what is in use.
    Grant(granter, kRef + 1, kMapper, 7);
    EXPECT_EQ(Map(kMapper, granter, kRef + 1, kWindow + 2), GNTST_bad_page);
    ASSERT_EQ(Unmap(kMapper, handle[0], kWindow), 0);
    EXPECT_EQ(PagesOf(granter), kDomainPages);
    ASSERT_EQ(Map(kMapper, granter, kRef, kWindow, kRead, &handle[0]), 0);
    machine.ExpectBooksAddUp();
    for (unsigned i = 0; i < 2; ++i) ASSERT_EQ(Unmap(kMapper, handle[i], kWindow + i), 0);
    EXPECT_EQ(PagesOf(granter), kDomainPages - 1);
    EXPECT_EQ(Map(kMapper, granter, kRef, kWindow), GNTST_bad_page);
  }
}

TEST_F(GrantMapTest, AGranterThatEndsStaysForAsLongAsAPageOfItsIsMapped) {
  for (const std::uint16_t granter : {kGranter, kPv}) {
    for (const std::uint32_t ref : {kRef, kRef + 1}) Grant(granter, ref, kMapper, ref);
    const std::uint64_t mfn = MfnOf(granter, kRef);
    std::memset(machine.BytesOf(mfn), 0x5a, kPageSize);
    std::uint32_t handle;
    ASSERT_EQ(Map(kMapper, granter, kRef, kWindow, kWrite, &handle), 0);
    const std::uint64_t free = Books::StatisticsOf(machine.hypervisor).free_pages;
    End(granter);
    EXPECT_TRUE(Exists(granter));
    EXPECT_EQ(PagesOf(granter), 1u);
    EXPECT_EQ(std::to_integer<int>(machine.BytesOf(mfn)[5]), 0x5a);
    EXPECT_EQ(Map(kMapper, granter, kRef + 1, kWindow + 1), GNTST_bad_page);
    EXPECT_EQ(Map(kMapper, granter, 1000, kWindow + 1), GNTST_bad_gntref);
    EXPECT_EQ(Map(kMapper, granter, kRef + 2, kWindow + 1), GNTST_general_error);
    // What is in use can be in use once more, as in Xen.
    std::uint32_t more;
    EXPECT_EQ(Map(kMapper, granter, kRef, kWindow + 1, kRead, &more), GNTST_okay);
    EXPECT_EQ(Unmap(kMapper, more, kWindow + 1), GNTST_okay);
    EXPECT_TRUE(Exists(granter));
    machine.ExpectBooksAddUp();
    EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_okay);
    EXPECT_FALSE(Exists(granter));
    EXPECT_GT(Books::StatisticsOf(machine.hypervisor).free_pages, free + kDomainPages - 1);
    // Nobody sees what was there.
    ASSERT_EQ(CreateGranting(granter, kHvmFlags), granter);
    Populate(granter);
    for (std::uint64_t page = 0; page < kDomainPages; ++page) {
      EXPECT_EQ(std::to_integer<int>(machine.BytesOf(machine.hypervisor.FrameOf(granter, page))[5]),
                0);
    }
    EXPECT_EQ(Map(kMapper, granter, kRef, kWindow), GNTST_general_error);
    ASSERT_EQ(Destroy(granter), 0);
  }
}

// Whoever of them ends last: the end of who maps it takes the ended granter with it.
TEST_F(GrantMapTest, AnEndedGranterGoesWithTheLastWhoMapsAPageOfIts) {
  for (const std::uint16_t granter : {kGranter, kPv}) {
    Grant(granter, kRef, kMapper, 7);
    ASSERT_EQ(Map(kMapper, granter, kRef, kWindow + granter), 0);
  }
  End(kGranter);
  End(kPv);
  EXPECT_TRUE(Exists(kGranter));
  EXPECT_TRUE(Exists(kPv));
  End(kMapper);
  EXPECT_FALSE(Exists(kGranter));
  EXPECT_FALSE(Exists(kPv));
}

// Handles

TEST_F(GrantMapTest, HandlesEndWhereADomainsLimitIs) {
  struct Limit {
    int frames;
    unsigned handles;
  };
  for (const Limit& limit : {Limit{0, 0}, Limit{1, 255}, Limit{2, 511}, Limit{3, 767}}) {
    ASSERT_EQ(CreateGranting(kScarce, kHvmFlags, limit.frames), kScarce);
    Claim(kScarce);
    std::vector<gnttab_map_grant_ref> maps;
    for (std::uint32_t i = 0; i <= limit.handles; ++i) {
      Grant(kGranter, kRef + i / 128, kScarce, 7);
      maps.push_back(MapOp(kGranter, kRef + i / 128, kWindow + i, kRead));
    }
    ASSERT_EQ(Op(kScarce, GNTTABOP_map_grant_ref, maps.data(), maps.size()), 0);
    for (std::uint32_t i = 0; i <= limit.handles; ++i) {
      EXPECT_EQ(maps[i].status, i < limit.handles ? GNTST_okay : GNTST_no_space) << i;
    }
    machine.ExpectBooksAddUp();
    if (limit.handles != 0) {
      // One is given back: there is one.
      ASSERT_EQ(Unmap(kScarce, maps[100].handle, kWindow + 100), 0);
      EXPECT_EQ(Map(kScarce, kGranter, kRef, kWindow + 100, kRead), GNTST_okay);
      EXPECT_EQ(Map(kScarce, kGranter, kRef, kWindow + 1000, kRead), GNTST_no_space);
    }
    End(kScarce);
    EXPECT_EQ(Shown(kGranter, kRef), 0);
  }
}

// So that who holds on to an old one meets nothing for long.
TEST_F(GrantMapTest, TheHandleThatWasGivenBackLastIsGivenOutLast) {
  Grant(kGranter, kRef, kMapper, 7);
  std::vector<std::uint32_t> handles(5);
  for (std::uint32_t i = 0; i < 5; ++i) {
    ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow + i, kRead, &handles[i]), 0);
    EXPECT_EQ(handles[i], i);
  }
  for (const std::uint32_t i : {3u, 1u}) ASSERT_EQ(Unmap(kMapper, handles[i], kWindow + i), 0);
  // 5 … 255, then those; and one of them stays.
  std::vector<std::uint32_t> more;
  for (std::uint32_t i = 0; i < 252; ++i) {
    std::uint32_t handle;
    Grant(kGranter, kRef + 1 + i / 120, kMapper, 7);
    ASSERT_EQ(Map(kMapper, kGranter, kRef + 1 + i / 120, kWindow + 10 + i, kRead, &handle), 0);
    more.push_back(handle);
  }
  for (std::uint32_t i = 0; i < 251; ++i) EXPECT_EQ(more[i], 5 + i);
  EXPECT_EQ(more[251], 3u);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow + 1, kRead, &handle), 0);
  EXPECT_EQ(handle, 256u);  // of a frame more, which comes first
}

TEST_F(GrantMapTest, AMappingEndsByItsHandleAndItsAddressAlone) {
  for (const std::uint32_t ref : {kRef, kRef + 1}) Grant(kGranter, ref, kMapper, ref);
  Grant(kGranter, kRef + 2, kThird, 3);
  std::uint32_t handle, other, theirs;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kWrite, &handle), 0);
  ASSERT_EQ(Map(kMapper, kGranter, kRef + 1, kWindow + 1, kWrite, &other), 0);
  ASSERT_EQ(Map(kThird, kGranter, kRef + 2, kWindow, kWrite, &theirs), 0);
  for (const std::uint32_t wrong : {2u, 255u, 256u, 1u << 20, ~0u}) {
    EXPECT_EQ(Unmap(kMapper, wrong, kWindow), GNTST_bad_handle) << wrong;
  }
  EXPECT_EQ(Unmap(kThird, other, kWindow), GNTST_bad_handle);
  EXPECT_EQ(Unmap(kPv, handle, kWindow), GNTST_bad_handle);
  for (const std::uint64_t wrong : {kWindow + 1, kWindow + 2, std::uint64_t{7},
                                    std::uint64_t{1} << 40, ~std::uint64_t{0} >> 12}) {
    EXPECT_EQ(Unmap(kMapper, handle, wrong), GNTST_general_error) << wrong;
  }
  machine.ExpectBooksAddUp();
  // No address: nothing ends.
  EXPECT_EQ(Unmap(kMapper, handle, 0), GNTST_okay);
  EXPECT_EQ(Unmap(kMapper, handle, 0, MfnOf(kGranter, kRef) << kPageShift), GNTST_okay);
  EXPECT_TRUE(Maps(kMapper, kWindow, MfnOf(kGranter, kRef)));
  EXPECT_EQ(Shown(kGranter, kRef), kInUse);
  // A wrong bus address does not matter where no device has it.
  EXPECT_EQ(Unmap(kMapper, handle, kWindow, 4096), GNTST_okay);
  EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_bad_handle);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
}

// A handle for reading does not leave a page writable that nobody is said to write.
TEST_F(GrantMapTest, AMappingForWritingEndsByAHandleForWriting) {
  Grant(kGranter, kRef, kMapper, 7);
  std::uint32_t reads, writes;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kRead, &reads), 0);
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow + 1, kWrite, &writes), 0);
  EXPECT_EQ(Unmap(kMapper, writes, kWindow), GNTST_general_error);
  EXPECT_EQ(Unmap(kMapper, reads, kWindow + 1), GNTST_general_error);
  EXPECT_EQ(Shown(kGranter, kRef), kInUse);
  EXPECT_EQ(Unmap(kMapper, writes, kWindow + 1), GNTST_okay);
  EXPECT_EQ(Shown(kGranter, kRef), GTF_reading);
  EXPECT_EQ(Unmap(kMapper, reads, kWindow), GNTST_okay);
}

TEST_F(GrantMapTest, NothingComesInAMappingsPlaceWhereTranslationIsXens) {
  Grant(kGranter, kRef, kMapper, 7);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, kWrite, &handle), 0);
  const auto replace = [&](std::uint64_t gfn, std::uint64_t new_gfn) {
    gnttab_unmap_and_replace op = {.host_addr = gfn << kPageShift,
                                   .new_addr = new_gfn << kPageShift,
                                   .handle = handle,
                                   .status = 7};
    EXPECT_EQ(Op(kMapper, GNTTABOP_unmap_and_replace, &op), 0);
    return op.status;
  };
  EXPECT_EQ(replace(kWindow, 3), GNTST_general_error);
  EXPECT_EQ(replace(kWindow + 1, 0), GNTST_general_error);
  EXPECT_EQ(replace(0, 0), GNTST_okay);
  EXPECT_TRUE(Maps(kMapper, kWindow, MfnOf(kGranter, 7)));
  EXPECT_EQ(replace(kWindow, 0), GNTST_okay);
  EXPECT_EQ(replace(kWindow, 0), GNTST_bad_handle);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
}

}  // namespace
}  // namespace xencomm::hypervisor
