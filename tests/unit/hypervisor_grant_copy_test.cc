// Copies between pages that are granted and one's own: what may be copied, how much of it, and of
// what is granted in parts or passed on.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_grants.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint64_t kOwnFrom = 2, kOwnTo = 3;

class GrantCopyTest : public GrantsTest {
 protected:
  void SetUp() override {
    GrantsTest::SetUp();
    for (const std::uint16_t id : {kGranter, kMapper, kThird, kPv}) {
      for (std::uint64_t page = 0; page < kDomainPages; ++page) Refill(id, page);
    }
  }
  // Each page is unlike the others, and each byte unlike its neighbours.
  void Refill(std::uint16_t id, std::uint64_t page) {
    std::byte* const bytes = BytesOf(id, page);
    for (std::uint64_t i = 0; i < kPageSize; ++i) bytes[i] = ByteOf(id, page, i);
  }
  static std::byte ByteOf(std::uint16_t id, std::uint64_t page, std::uint64_t i) {
    return static_cast<std::byte>(id * 67 + page * 31 + i + i / 256);
  }
  // Whether a page has this at `offset`, and its own bytes around it.
  void ExpectCopied(std::uint16_t id, std::uint64_t page, std::uint64_t offset,
                    std::uint64_t length, std::uint16_t from, std::uint64_t from_page,
                    std::uint64_t from_offset) {
    const std::byte* const bytes = BytesOf(id, page);
    for (std::uint64_t i = 0; i < kPageSize; ++i) {
      const bool is_inside = i >= offset && i < offset + length;
      const std::byte wanted =
          is_inside ? ByteOf(from, from_page, from_offset + i - offset) : ByteOf(id, page, i);
      if (bytes[i] == wanted) continue;
      ADD_FAILURE() << "domain " << id << ", page " << page << " at " << i;
      return;
    }
  }
  void ExpectUntouched(std::uint16_t id, std::uint64_t page) {
    ExpectCopied(id, page, 0, 0, id, page, 0);
  }
};

// To and from one's own and what is granted, of domains of either kind and of one's own.
TEST_F(GrantCopyTest, EachSideIsGrantedOrOnesOwn) {
  for (const std::uint16_t by : {kMapper, kPv}) {
    for (const std::uint16_t other : {kGranter, kThird, kMapper, kPv}) {
      for (const bool grants_from : {false, true}) {
        for (const bool grants_to : {false, true}) {
          Grant(other, kRef, by, 7, GTF_permit_access | GTF_readonly);
          Grant(other, kRef + 1, by, 8);
          const Side from =
              grants_from ? Granted(other, kRef, 0x123) : Own(FrameOf(by, kOwnFrom), 0x123);
          const Side to =
              grants_to ? Granted(other, kRef + 1, 0xabc) : Own(FrameOf(by, kOwnTo), 0xabc);
          ASSERT_EQ(Copy(by, from, to, 0x321), GNTST_okay);
          ExpectCopied(grants_to ? other : by, grants_to ? 8 : kOwnTo, 0xabc, 0x321,
                       grants_from ? other : by, grants_from ? 7 : kOwnFrom, 0x123);
          Refill(other, 8);
          Refill(by, kOwnTo);
          EXPECT_EQ(Shown(other, kRef), 0);
          EXPECT_EQ(Shown(other, kRef + 1), 0);
        }
      }
    }
  }
}

struct Case {
  const char* what;
  std::uint16_t from;  // a domain
  bool grants_from;
  std::uint64_t from_number;
  unsigned from_offset;
  std::uint16_t to;
  bool grants_to;
  std::uint64_t to_number;
  unsigned to_offset;
  unsigned length;
  std::int16_t status;
};
constexpr std::uint32_t kReadOnlyRef = kRef + 1, kNoPageRef = kRef + 2, kOthersRef = kRef + 3;
constexpr std::uint64_t kNoPage = 1000;
constexpr unsigned kEnd = kPageSize;
// Each with all that would be found later wrong, too.
constexpr Case kRefused[] = {
    {"of nobody's", kNoDomain, true, kNoPage, kEnd, kGranter, false, kNoPage, kEnd, 9,
     GNTST_bad_domain},
    {"to nobody's", kGranter, false, kNoPage, kEnd, kNoDomain, false, kNoPage, kEnd, 9,
     GNTST_bad_domain},
    {"a page of another's", kGranter, false, kNoPage, kEnd, kGranter, false, kNoPage, kEnd, 9,
     GNTST_permission_denied},
    {"a page of one's own by its id", kMapper, false, 2, 0, DOMID_SELF, false, 3, 0, 8,
     GNTST_permission_denied},
    {"no grant", kGranter, true, 9999, kEnd, kGranter, false, kNoPage, kEnd, 9, GNTST_bad_gntref},
    {"to a page of another's", kGranter, true, kRef, kEnd, kGranter, false, kNoPage, kEnd, 9,
     GNTST_permission_denied},
    {"to one's own by its id", DOMID_SELF, false, 2, 0, kMapper, false, 3, 0, 8,
     GNTST_permission_denied},
    {"another's grant", kGranter, true, kOthersRef, kEnd, kGranter, true, 9999, kEnd, 9,
     GNTST_general_error},
    {"a grant of no page", kGranter, true, kNoPageRef, kEnd, kGranter, true, 9999, kEnd, 9,
     GNTST_bad_page},
    {"of no page", DOMID_SELF, false, kNoPage, kEnd, kGranter, true, 9999, kEnd, 9, GNTST_bad_page},
    {"to no grant", kGranter, true, kRef, kEnd, kGranter, true, 9999, kEnd, 9, GNTST_bad_gntref},
    {"to what is read-only", kGranter, true, kRef, kEnd, kGranter, true, kReadOnlyRef, kEnd, 9,
     GNTST_general_error},
    {"to a grant of no page", kGranter, true, kRef, kEnd, kGranter, true, kNoPageRef, kEnd, 9,
     GNTST_bad_page},
    {"to no page", kGranter, true, kRef, kEnd, DOMID_SELF, false, kNoPage, kEnd, 9, GNTST_bad_page},
    {"beyond the page", kGranter, true, kRef, kEnd - 8, DOMID_SELF, false, 3, 0, 9,
     GNTST_bad_copy_arg},
    {"to beyond the page", kGranter, true, kRef, 0, DOMID_SELF, false, 3, kEnd - 8, 9,
     GNTST_bad_copy_arg},
    {"from the page's end", kGranter, true, kRef, kEnd, DOMID_SELF, false, 3, 0, 1,
     GNTST_bad_copy_arg},
    {"more than a page", kGranter, true, kRef, 0, DOMID_SELF, false, 3, 0, kEnd + 1,
     GNTST_bad_copy_arg},
    {"as much as can be said", DOMID_SELF, false, 2, 0, kGranter, true, kRef, 0, 0xffff,
     GNTST_bad_copy_arg},
    {"from as far as can be said", DOMID_SELF, false, 2, 0xffff, kGranter, true, kRef, 0xffff, 1,
     GNTST_bad_copy_arg},
    {"as far, as much", DOMID_SELF, false, 2, 0xffff, kGranter, true, kRef, 0xffff, 0xffff,
     GNTST_bad_copy_arg},
    {"beyond a page that is its own by far", DOMID_SELF, false, std::uint64_t{1} << 52 | 2, 0,
     DOMID_SELF, false, 3, 0, 8, GNTST_bad_page},
};

TEST_F(GrantCopyTest, WhatIsWrongIsFoundInXensOrder) {
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kGranter, version);
    Grant(kGranter, kRef, kMapper, 7);
    Grant(kGranter, kReadOnlyRef, kMapper, 7, GTF_permit_access | GTF_readonly);
    Grant(kGranter, kNoPageRef, kMapper, kNoPage);
    Grant(kGranter, kOthersRef, kThird, kNoPage);
    for (const Case& each : kRefused) {
      const Side from = {each.from, each.from_number, static_cast<std::uint16_t>(each.from_offset),
                         each.grants_from};
      const Side to = {each.to, each.to_number, static_cast<std::uint16_t>(each.to_offset),
                       each.grants_to};
      EXPECT_EQ(Copy(kMapper, from, to, each.length), each.status) << each.what;
      for (std::uint32_t ref = kRef; ref <= kOthersRef; ++ref) EXPECT_EQ(Shown(kGranter, ref), 0);
      ExpectUntouched(kGranter, 7);
      ExpectUntouched(kMapper, 3);
    }
  }
  machine.ExpectBooksAddUp();
}

TEST_F(GrantCopyTest, ACopyIsOfAsManyBytesAsItSays) {
  Grant(kGranter, kRef, kMapper, 7);
  const struct {
    unsigned from, to, length;
  } kBounds[] = {{0, 0, kEnd},     {0, 0, 0},        {kEnd, kEnd, 0},
                 {kEnd - 1, 0, 1}, {0, kEnd - 1, 1}, {kEnd - 1, kEnd - 1, 1},
                 {1, 0, kEnd - 1}, {0, 1, kEnd - 1}};
  for (const auto& each : kBounds) {
    EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef, each.from), Own(3, each.to), each.length),
              GNTST_okay)
        << each.length;
    ExpectCopied(kMapper, 3, each.to, each.length, kGranter, 7, each.from);
    Refill(kMapper, 3);
  }
}

// Inside one page as between two: all is read before it is overwritten.
TEST_F(GrantCopyTest, PartsOfAPageMayOverlap) {
  Grant(kGranter, kRef, kMapper, 7);
  for (const bool backwards : {false, true}) {
    for (const bool grants : {false, true}) {
      const std::uint16_t whose = grants ? kGranter : kMapper;
      const unsigned from = backwards ? 300 : 100, to = backwards ? 100 : 300;
      const Side source = grants ? Granted(kGranter, kRef, from) : Own(7, from);
      const Side dest = grants ? Granted(kGranter, kRef, to) : Own(7, to);
      EXPECT_EQ(Copy(kMapper, source, dest, 2000), GNTST_okay);
      ExpectCopied(whose, 7, to, 2000, whose, 7, from);
      Refill(whose, 7);
    }
  }
}

TEST_F(GrantCopyTest, APageTableIsCopiedFromAndNotTo) {
  std::memset(BytesOf(kPv, 7), 0, kPageSize);
  mmuext_op op = {};
  op.cmd = MMUEXT_PIN_L1_TABLE;
  op.arg1.mfn = pv_frames[7];
  ASSERT_EQ(machine.Call(__HYPERVISOR_mmuext_op, &op, 1, 0, kPv), 0);
  for (const std::uint16_t by : {kMapper, kPv}) {
    Grant(kPv, kRef, by, 7);
    EXPECT_EQ(Copy(by, Own(FrameOf(by, 2)), Granted(kPv, kRef), 8), GNTST_general_error);
    EXPECT_EQ(Shown(kPv, kRef), 0);
    EXPECT_EQ(Copy(by, Granted(kPv, kRef), Own(FrameOf(by, 2)), 8), GNTST_okay);
  }
  EXPECT_EQ(Copy(kPv, Own(pv_frames[2]), Own(pv_frames[7]), 8), GNTST_general_error);
  EXPECT_EQ(std::count(BytesOf(kPv, 7), BytesOf(kPv, 7) + kPageSize, std::byte{0}),
            static_cast<std::ptrdiff_t>(kPageSize));
  op.cmd = MMUEXT_UNPIN_TABLE;
  ASSERT_EQ(machine.Call(__HYPERVISOR_mmuext_op, &op, 1, 0, kPv), 0);
  EXPECT_EQ(Copy(kPv, Own(pv_frames[2]), Own(pv_frames[7]), 8), GNTST_okay);
}

TEST_F(GrantCopyTest, APageThatMayOnlyBeReadIsNotWritten) {
  Grant(kGranter, kRef, kMapper, 7);
  Books::MakeReadOnly(machine.hypervisor, kGranter, 7);
  Books::MakeReadOnly(machine.hypervisor, kMapper, 3);
  EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef), 8), GNTST_general_error);
  EXPECT_EQ(Copy(kMapper, Own(2), Own(3), 8), GNTST_general_error);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow), GNTST_general_error);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(2), 8), GNTST_okay);
}

// A mapping and a copy at a time are one use.
TEST_F(GrantCopyTest, WhatIsMappedIsCopiedByWhoMapsIt) {
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kGranter, version);
    Grant(kGranter, kRef, kMapper, 7);
    std::uint32_t handle;
    ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, GNTMAP_host_map | GNTMAP_readonly, &handle), 0);
    EXPECT_EQ(Copy(kThird, Granted(kGranter, kRef), Own(2), 8), GNTST_general_error);
    EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(2), 8), GNTST_okay);
    EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef), 8), GNTST_okay);
    EXPECT_EQ(Shown(kGranter, kRef), GTF_reading);
    // A copy that writes looks at the entry: that must say the same still.
    Grant(kGranter, kRef, kMapper, 8);
    EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef), 8), GNTST_general_error);
    EXPECT_EQ(Shown(kGranter, kRef), GTF_reading);
    Grant(kGranter, kRef, kMapper, 7, GTF_permit_access | GTF_readonly);
    EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef), 8), GNTST_general_error);
    EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(2), 8), GNTST_okay);
    ExpectUntouched(kGranter, 8);
    ASSERT_EQ(Unmap(kMapper, handle, kWindow), 0);
    Refill(kGranter, 7);
  }
}

TEST_F(GrantCopyTest, AnEndedDomainsGrantsAreCopiedNoMore) {
  Grant(kGranter, kRef, kMapper, 7);
  Grant(kGranter, kRef + 1, kMapper, 8);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, kRef, kWindow, GNTMAP_host_map, &handle), 0);
  End(kGranter);
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef + 1), Own(2), 8), GNTST_bad_page);
  // What is mapped still is not copied either, as in Xen.
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(2), 8), GNTST_bad_domain);
  EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef), 8), GNTST_bad_domain);
  ASSERT_EQ(Unmap(kMapper, handle, kWindow), 0);
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(2), 8), GNTST_bad_domain);
}

// Version 2

TEST_F(GrantCopyTest, APartOfAPageIsCopiedAndNoMoreOfIt) {
  ASSERT_EQ(SetVersion(kGranter, 2), 0);
  const struct {
    unsigned begin, length;  // granted
    unsigned offset, copied;
    std::int16_t status;
  } kCases[] = {
      {0x100, 0x20, 0x100, 0x20, GNTST_okay},
      {0x100, 0x20, 0x100, 0x21, GNTST_general_error},
      {0x100, 0x20, 0xff, 0x20, GNTST_general_error},
      {0x100, 0x20, 0xff, 1, GNTST_general_error},
      {0x100, 0x20, 0x120, 1, GNTST_general_error},
      {0x100, 0x20, 0x11f, 1, GNTST_okay},
      {0x100, 0x20, 0x120, 0, GNTST_okay},
      {0x100, 0x20, 0x121, 0, GNTST_general_error},
      {0x100, 0, 0x100, 0, GNTST_okay},
      {0x100, 0, 0x100, 1, GNTST_general_error},
      {0, kEnd, 0, kEnd, GNTST_okay},
      {0xfff, 1, 0xfff, 1, GNTST_okay},
      // Beyond the page whatever is granted.
      {0xff0, 0xffff, 0xff0, 0x10, GNTST_okay},
      {0xff0, 0xffff, 0xff0, 0x11, GNTST_bad_copy_arg},
      {0x1000, 0x1000, 0x1000, 1, GNTST_bad_copy_arg},
      {0xffff, 0xffff, 0, 1, GNTST_general_error},
  };
  for (const auto& each : kCases) {
    GrantPart(kGranter, kRef, kMapper, 7, static_cast<std::uint16_t>(each.begin),
              static_cast<std::uint16_t>(each.length));
    EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef, each.offset), Own(3), each.copied), each.status)
        << each.begin << " " << each.offset;
    ExpectCopied(kMapper, 3, 0, each.status == GNTST_okay ? each.copied : 0, kGranter, 7,
                 each.offset);
    Refill(kMapper, 3);
    EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef, each.offset), each.copied),
              each.status);
    ExpectCopied(kGranter, 7, each.offset, each.status == GNTST_okay ? each.copied : 0, kMapper, 2,
                 0);
    Refill(kGranter, 7);
    EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow, GNTMAP_host_map), GNTST_general_error);
  }
  GrantPart(kGranter, kRef, kMapper, 7, 0x100, 0x20, GTF_readonly);
  EXPECT_EQ(Copy(kMapper, Own(2), Granted(kGranter, kRef, 0x100), 1), GNTST_general_error);
  // In version 1 there are no parts: of what looks like one all is granted, but to be copied alone.
  ASSERT_EQ(SetVersion(kGranter, 1), 0);
  Grant(kGranter, kRef, kMapper, 7, GTF_permit_access | GTF_sub_page);
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(3), kEnd), GNTST_okay);
  EXPECT_EQ(Map(kMapper, kGranter, kRef, kWindow, GNTMAP_host_map), GNTST_general_error);
  Grant(kGranter, kRef, kMapper, 7, GTF_transitive);
  EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(3), 8), GNTST_general_error);
}

TEST_F(GrantCopyTest, WhatIsPassedOnIsCopiedAsItIsGrantedToWhoPassesItOn) {
  for (const std::uint32_t version : {1, 2}) {
    UseVersion(kGranter, version);
    UseVersion(kThird, 2);
    Grant(kGranter, kRef, kThird, 7);
    PassOn(kThird, 20, kMapper, kGranter, kRef);
    PassOn(kThird, 21, kMapper, kGranter, kRef, GTF_readonly);
    PassOn(kThird, 22, kPv, kGranter, kRef);
    EXPECT_EQ(Copy(kMapper, Granted(kThird, 20, 5), Own(3, 6), 100), GNTST_okay);
    ExpectCopied(kMapper, 3, 6, 100, kGranter, 7, 5);
    EXPECT_EQ(Copy(kMapper, Own(2, 9), Granted(kThird, 20, 8), 100), GNTST_okay);
    ExpectCopied(kGranter, 7, 8, 100, kMapper, 2, 9);
    Refill(kGranter, 7);
    Refill(kMapper, 3);
    EXPECT_EQ(Copy(kMapper, Granted(kThird, 21), Own(3), 8), GNTST_okay);
    EXPECT_EQ(Copy(kMapper, Own(2), Granted(kThird, 21), 8), GNTST_general_error);
    EXPECT_EQ(Copy(kMapper, Granted(kThird, 22), Own(3), 8), GNTST_general_error);
    // Mapped it is not.
    EXPECT_EQ(Map(kMapper, kThird, 20, kWindow), GNTST_general_error);
    // Nor is it copied by who is granted it, unless he grants it to himself.
    EXPECT_EQ(Copy(kMapper, Granted(kGranter, kRef), Own(3), 8), GNTST_general_error);
    for (const std::uint32_t ref : {20u, 21u, 22u}) EXPECT_EQ(Shown(kThird, ref), 0);
    EXPECT_EQ(Shown(kGranter, kRef), 0);
    machine.ExpectBooksAddUp();
    ASSERT_EQ(SetVersion(kThird, 1), 0);
    Refill(kMapper, 3);
  }
}

// Whoever the origin is, and whatever it has become.
TEST_F(GrantCopyTest, OnlyWhatIsGrantedIsPassedOn) {
  ASSERT_EQ(SetVersion(kThird, 2), 0);
  ASSERT_EQ(SetVersion(kGranter, 2), 0);
  Grant(kGranter, kRef, kThird, 7);
  const auto copy = [&](std::uint16_t origin, std::uint32_t ref) {
    PassOn(kThird, 20, kMapper, origin, ref);
    const std::int16_t reads = Copy(kMapper, Granted(kThird, 20), Own(3), 8);
    const std::int16_t writes = Copy(kMapper, Own(2), Granted(kThird, 20), 8);
    EXPECT_EQ(Shown(kThird, 20), 0);
    EXPECT_EQ(reads, writes);
    return reads;
  };
  EXPECT_EQ(copy(kGranter, kRef), GNTST_okay);
  Grant(kThird, 30, kThird, 5);
  EXPECT_EQ(copy(kThird, 30), GNTST_general_error);  // its own
  EXPECT_EQ(copy(kNoDomain, kRef), GNTST_general_error);
  EXPECT_EQ(copy(DOMID_SELF, kRef), GNTST_general_error);
  EXPECT_EQ(copy(kGranter, 256), GNTST_bad_gntref);
  EXPECT_EQ(copy(kGranter, kRef + 1), GNTST_general_error);
  Grant(kGranter, kRef + 1, kThird, kNoPage);
  EXPECT_EQ(copy(kGranter, kRef + 1), GNTST_bad_page);
  Grant(kGranter, kRef + 1, kMapper, 7);  // to who copies, not to who passes it on
  EXPECT_EQ(copy(kGranter, kRef + 1), GNTST_general_error);
  // Twice.
  PassOn(kGranter, kRef + 1, kThird, kPv, kRef);
  Grant(kPv, kRef, kGranter, 7);
  EXPECT_EQ(copy(kGranter, kRef + 1), GNTST_general_error);
  EXPECT_EQ(Shown(kGranter, kRef + 1), 0);
  EXPECT_EQ(Shown(kPv, kRef), 0);
  // Back to where it came from.
  Grant(kMapper, kRef, kThird, 9);
  EXPECT_EQ(copy(kMapper, kRef), GNTST_okay);
  // A part, read-only, taken back.
  GrantPart(kGranter, kRef, kThird, 7, 0x100, 0x20);
  PassOn(kThird, 20, kMapper, kGranter, kRef);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20, 0x100), Own(3), 0x20), GNTST_okay);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20, 0x100), Own(3), 0x21), GNTST_general_error);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20, 0xff), Own(3), 0x20), GNTST_general_error);
  Grant(kGranter, kRef, kThird, 7, GTF_permit_access | GTF_readonly);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20), Own(3), 8), GNTST_okay);
  EXPECT_EQ(Copy(kMapper, Own(3), Granted(kThird, 20), 8), GNTST_general_error);
  Grant(kGranter, kRef, kThird, 7, GTF_invalid);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20), Own(3), 8), GNTST_general_error);
  // The origin's end.
  Grant(kGranter, kRef, kThird, 7);
  std::uint64_t mfn;
  ASSERT_EQ(machine.HoldFrame(kGranter, 5, Access::kRead, &mfn), 0);
  End(kGranter);
  ASSERT_TRUE(Exists(kGranter));
  EXPECT_EQ(copy(kGranter, kRef), GNTST_bad_page);
  machine.ReleaseFrame(mfn);
  EXPECT_EQ(copy(kGranter, kRef), GNTST_general_error);
}

// An origin's grant is counted for whoever copies through it.
TEST_F(GrantCopyTest, WhatIsPassedOnIsInUseAtItsOrigin) {
  ASSERT_EQ(SetVersion(kThird, 2), 0);
  Grant(kGranter, kRef, kThird, 7);
  PassOn(kThird, 20, kMapper, kGranter, kRef);
  std::vector<gnttab_map_grant_ref> maps;
  for (unsigned i = 0; i < 128; ++i) {
    maps.push_back(MapOp(kGranter, kRef, kWindow + i, GNTMAP_host_map | GNTMAP_readonly));
  }
  ASSERT_EQ(Op(kThird, GNTTABOP_map_grant_ref, maps.data(), maps.size()), 0);
  EXPECT_EQ(maps.back().status, GNTST_okay);
  // Read it is not once more, written it is.
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20), Own(3), 8), GNTST_general_error);
  EXPECT_EQ(Copy(kMapper, Own(2), Granted(kThird, 20), 8), GNTST_okay);
  EXPECT_EQ(Shown(kThird, 20), 0);
  EXPECT_EQ(Shown(kGranter, kRef), GTF_reading);
  ASSERT_EQ(Unmap(kThird, maps[0].handle, kWindow), 0);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20), Own(3), 8), GNTST_okay);
}

// What is mapped as a page of the granter's own is not passed on meanwhile, whatever the entry
// says; and the origin is not in use for that.
TEST_F(GrantCopyTest, WhatIsMappedDoesNotBecomeWhatIsPassedOn) {
  ASSERT_EQ(SetVersion(kThird, 2), 0);
  Grant(kGranter, kRef, kThird, 7);
  Grant(kThird, 20, kMapper, 9);
  std::uint32_t reads, writes;
  ASSERT_EQ(Map(kMapper, kThird, 20, kWindow, GNTMAP_host_map | GNTMAP_readonly, &reads), 0);
  PassOn(kThird, 20, kMapper, kGranter, kRef);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20), Own(3), 8), GNTST_general_error);
  EXPECT_EQ(Copy(kMapper, Own(2), Granted(kThird, 20), 8), GNTST_general_error);
  EXPECT_EQ(Shown(kThird, 20), GTF_reading);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
  ASSERT_EQ(Map(kMapper, kThird, 20, kWindow + 1, GNTMAP_host_map, &writes), 0);
  EXPECT_EQ(Copy(kMapper, Own(2), Granted(kThird, 20), 8), GNTST_general_error);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
  ExpectUntouched(kGranter, 7);
  ExpectUntouched(kMapper, 3);
  machine.ExpectBooksAddUp();
  ASSERT_EQ(Unmap(kMapper, writes, kWindow + 1), 0);
  ASSERT_EQ(Unmap(kMapper, reads, kWindow), 0);
  EXPECT_EQ(Copy(kMapper, Granted(kThird, 20), Own(3), 8), GNTST_okay);
}

// Each element has its own status, and a bad one stops nobody.
TEST_F(GrantCopyTest, EachOfAListIsDoneAndToldApart) {
  Grant(kGranter, kRef, kMapper, 7);
  std::vector<gnttab_copy> copies = {
      CopyOp(Granted(kGranter, kRef), Own(3), 8),
      CopyOp(Granted(kGranter, kRef + 1), Own(4), 8),
      CopyOp(Granted(kGranter, kRef, 8), Own(3, 8), 8),
      CopyOp(Granted(kNoDomain, kRef), Own(4), 8),
      CopyOp(Granted(kGranter, kRef, kEnd), Own(4), 8),
      CopyOp(Granted(kGranter, kRef, 16), Own(3, 16), 8),
  };
  ASSERT_EQ(Op(kMapper, GNTTABOP_copy, copies.data(), 5), 0);
  const std::vector<std::int16_t> statuses = {
      0, GNTST_general_error, 0, GNTST_bad_domain, GNTST_bad_copy_arg, 7};
  for (std::size_t i = 0; i < copies.size(); ++i) EXPECT_EQ(copies[i].status, statuses[i]) << i;
  ExpectCopied(kMapper, 3, 0, 16, kGranter, 7, 0);
  ExpectUntouched(kMapper, 4);
}

}  // namespace
}  // namespace xencomm::hypervisor
