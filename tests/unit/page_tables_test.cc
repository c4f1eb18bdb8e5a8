// The builder of x86-64 page tables: what it builds is what the walk finds.
#include "arch/x86_64/page_tables.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "arch/x86_64/page_walk.h"
#include "tests/unit/fake_memory.h"

namespace xencomm::x86_64 {
namespace {

using xencomm::testing::FakeMemory;
using xencomm::testing::kPage;

constexpr std::uint64_t kUserData = kEntryWritable | kEntryUser | kEntryNoExecute;
constexpr std::uint64_t k2MBytes = 0x20'0000, k1GBytes = 0x4000'0000;

// Frames of what was there before, since a builder must not count on cleared ones.
class DirtyFrames {
 public:
  explicit DirtyFrames(FakeMemory& memory) : memory_(memory) {}

  Result<PhysicalAddress> Allocate() {
    if (left == 0) return Fault::kNoMemory;
    --left;
    ++used;
    next_ += kPage;
    memory_.AddPage(next_, 0xff);
    return PhysicalAddress{next_};
  }

  unsigned left = 1000;
  unsigned used = 0;

 private:
  FakeMemory& memory_;
  std::uint64_t next_ = 0x8000'0000;
};

class PageTablesTest : public ::testing::TestWithParam<unsigned> {
 protected:
  PageTablesTest()
      : tables_(*PageTables<FakeMemory, DirtyFrames>::Make(memory_, frames_, GetParam())) {}

  Trace Walk(std::uint64_t address, Access access = Access::kRead,
             Privilege privilege = Privilege::kUser) {
    const PagingState state{
        .cr3 = tables_.root().value, .cr4 = GetParam() == 5 ? kCr4La57 : 0, .privilege = privilege};
    return PageWalk<FakeMemory>(memory_, state).TraceOf({address}, access);
  }

  FakeMemory memory_;
  DirtyFrames frames_{memory_};
  PageTables<FakeMemory, DirtyFrames> tables_;
};

INSTANTIATE_TEST_SUITE_P(Levels, PageTablesTest, ::testing::Values(4, 5));

TEST_P(PageTablesTest, MapsWhatWasAskedForAndNothingBeside) {
  ASSERT_TRUE(tables_.Map({0x7000'0000}, {0x12'3000}, 3 * kPage, kUserData).ok());
  for (std::uint64_t i = 0; i < 3; ++i) {
    const Trace trace = Walk(0x7000'0000 + i * kPage + 5);
    ASSERT_TRUE(trace.end.ok());
    EXPECT_EQ(trace.end.start().value, 0x12'3000 + i * kPage + 5);
    EXPECT_EQ(trace.end.length(), kPage - 5);
  }
  EXPECT_EQ(Walk(0x6fff'ffff).end.fault().fault, Fault::kNotPresent);
  EXPECT_EQ(Walk(0x7000'3000).end.fault().fault, Fault::kNotPresent);
}

TEST_P(PageTablesTest, MapsTheUpperHalfAndTheLastPage) {
  ASSERT_TRUE(tables_.Map({~std::uint64_t{0} - 0xffff}, {0x10'0000}, 0x1'0000, kUserData).ok());
  const Trace trace = Walk(~std::uint64_t{0});
  ASSERT_TRUE(trace.end.ok());
  EXPECT_EQ(trace.end.start().value, 0x10'ffffu);
}

TEST_P(PageTablesTest, GivesTheRightsOfTheLeaf) {
  struct {
    std::uint64_t flags;
    Access access;
    Privilege privilege;
    Fault fault;
  } const kCases[] = {
      {kUserData, Access::kWrite, Privilege::kUser, Fault::kNone},
      {kUserData, Access::kExecute, Privilege::kUser, Fault::kNoExecute},
      {kEntryUser, Access::kWrite, Privilege::kUser, Fault::kProtection},
      {kEntryUser, Access::kExecute, Privilege::kUser, Fault::kNone},
      {kEntryWritable, Access::kRead, Privilege::kUser, Fault::kProtection},
      {kEntryWritable, Access::kWrite, Privilege::kSupervisor, Fault::kNone},
      {0, Access::kWrite, Privilege::kSupervisor, Fault::kProtection},
  };
  std::uint64_t address = 0x10'0000;
  for (const auto& each : kCases) {
    address += kPage;
    ASSERT_TRUE(tables_.Map({address}, {0x5000}, kPage, each.flags).ok());
    const Segment page = Walk(address, each.access, each.privilege).end;
    EXPECT_EQ(page.ok() ? Fault::kNone : page.fault().fault, each.fault);
  }
}

TEST_P(PageTablesTest, UsesTheLargestPagesThatFit) {
  // From 4 KiB before a 1 GiB boundary to 4 KiB past 1 GiB and 2 MiB behind it.
  const std::uint64_t start = 5 * k1GBytes - kPage;
  const std::uint64_t frame = 9 * k1GBytes - kPage;
  ASSERT_TRUE(
      tables_.Map({start}, {frame}, k1GBytes + k2MBytes + 2 * kPage, kUserData, PageSize::k1G)
          .ok());
  struct {
    std::uint64_t address;
    unsigned level;
  } const kCases[] = {{5 * k1GBytes - 1, 1},
                      {5 * k1GBytes, 3},
                      {6 * k1GBytes - 1, 3},
                      {6 * k1GBytes, 2},
                      {6 * k1GBytes + k2MBytes, 1}};
  for (const auto& each : kCases) {
    const Trace trace = Walk(each.address);
    ASSERT_TRUE(trace.end.ok());
    EXPECT_EQ(trace.end.start().value, each.address + 4 * k1GBytes);
    EXPECT_EQ(trace.steps[trace.count - 1].level, each.level) << std::hex << each.address;
  }
}

TEST_P(PageTablesTest, UsesALargePageForExactlyItsBytes) {
  const struct {
    PageSize largest;
    std::uint64_t bytes;
  } kCases[] = {{PageSize::k4K, kPage}, {PageSize::k2M, k2MBytes}, {PageSize::k1G, k1GBytes}};
  for (const auto& [largest, bytes] : kCases) {
    const unsigned level = static_cast<unsigned>(largest);
    const std::uint64_t start = 8 * level * k1GBytes;
    ASSERT_TRUE(tables_.Map({start}, {4 * k1GBytes}, bytes, kUserData, PageSize::k1G).ok());
    EXPECT_EQ(Walk(start).steps[Walk(start).count - 1].level, level);
    EXPECT_EQ(Walk(start + bytes - 1).end.start().value, 4 * k1GBytes + bytes - 1);
    EXPECT_EQ(Walk(start + bytes).end.fault().fault, Fault::kNotPresent);
    // A page less is made of smaller ones, to the last.
    const std::uint64_t less = start + 4 * k1GBytes;
    ASSERT_TRUE(tables_.Map({less}, {4 * k1GBytes}, bytes - kPage, kUserData, largest).ok());
    if (level == 1) continue;
    EXPECT_EQ(Walk(less).steps[Walk(less).count - 1].level, level - 1);
    EXPECT_EQ(Walk(less + bytes - kPage - 1).steps[GetParam() - 1].level, 1);
    EXPECT_EQ(Walk(less + bytes - kPage).end.fault().fault, Fault::kNotPresent);
  }
}

TEST_P(PageTablesTest, UsesNoLargerPagesThanAllowedOrAligned) {
  ASSERT_TRUE(tables_.Map({k1GBytes}, {k1GBytes}, k2MBytes, kUserData).ok());
  EXPECT_EQ(Walk(k1GBytes).steps[Walk(k1GBytes).count - 1].level, 1);
  ASSERT_TRUE(
      tables_.Map({3 * k1GBytes}, {k2MBytes + kPage}, k2MBytes, kUserData, PageSize::k1G).ok());
  EXPECT_EQ(Walk(3 * k1GBytes).steps[Walk(3 * k1GBytes).count - 1].level, 1);
}

TEST_P(PageTablesTest, NeverReplacesAnEntry) {
  ASSERT_TRUE(tables_.Map({k2MBytes}, {0x3000}, kPage, kUserData).ok());
  EXPECT_EQ(tables_.Map({k2MBytes}, {0x4000}, kPage, kUserData), FaultInfo(Fault::kNotWritable));
  EXPECT_EQ(Walk(k2MBytes).end.start().value, 0x3000u);
  // Neither a table by a large page, nor a part of a large page by a table.
  EXPECT_EQ(tables_.Map({k2MBytes}, {0}, k2MBytes, kUserData, PageSize::k2M),
            FaultInfo(Fault::kNotWritable));
  ASSERT_TRUE(tables_.Map({2 * k2MBytes}, {0}, k2MBytes, kUserData, PageSize::k2M).ok());
  EXPECT_EQ(tables_.Map({2 * k2MBytes + kPage}, {0}, kPage, kUserData),
            FaultInfo(Fault::kNotWritable));
}

TEST_P(PageTablesTest, RefusesWhatIsNotAlignedOrNotAnAddress) {
  EXPECT_EQ(tables_.Map({1}, {0}, kPage, 0), FaultInfo(Fault::kMisaligned));
  EXPECT_EQ(tables_.Map({0}, {8}, kPage, 0), FaultInfo(Fault::kMisaligned));
  EXPECT_EQ(tables_.Map({0}, {0}, 100, 0), FaultInfo(Fault::kMisaligned));
  EXPECT_EQ(tables_.Map({~std::uint64_t{0xfff}}, {0}, 2 * kPage, 0), FaultInfo(Fault::kOverflow));
  EXPECT_EQ(tables_.Map({GetParam() == 4 ? std::uint64_t{1} << 47 : std::uint64_t{1} << 56}, {0},
                        kPage, 0),
            FaultInfo(Fault::kNotCanonical));
  EXPECT_EQ(frames_.used, 1u) << "the root and nothing else";
}

// An address that an entry has no room for would be another one, with other rights.
TEST_P(PageTablesTest, RefusesAddressesAndFlagsThatAnEntryCannotHold) {
  constexpr std::uint64_t kEnd = std::uint64_t{1} << 52;
  for (unsigned bit = 52; bit < 64; ++bit) {
    EXPECT_EQ(tables_.Map({k1GBytes}, {std::uint64_t{1} << bit}, kPage, kUserData),
              FaultInfo(Fault::kReserved))
        << bit;
  }
  EXPECT_EQ(tables_.Map({k1GBytes}, {kEnd - kPage}, 2 * kPage, kUserData),
            FaultInfo(Fault::kReserved));
  EXPECT_EQ(tables_.Map({k1GBytes}, {kEnd - k2MBytes}, k1GBytes, kUserData, PageSize::k1G),
            FaultInfo(Fault::kReserved));
  for (unsigned bit = 12; bit < 52; ++bit) {
    EXPECT_EQ(tables_.Map({k1GBytes}, {0x3000}, kPage, kUserData | std::uint64_t{1} << bit),
              FaultInfo(Fault::kReserved))
        << bit;
  }
  EXPECT_EQ(tables_.Map({k1GBytes}, {0x3000}, kPage, kUserData | kEntryLargePage),
            FaultInfo(Fault::kReserved));
  EXPECT_EQ(frames_.used, 1u) << "the root and nothing else";

  ASSERT_TRUE(tables_.Map({k1GBytes}, {kEnd - kPage}, kPage, kUserData).ok());
  EXPECT_EQ(Walk(k1GBytes + 5).end.start().value, kEnd - kPage + 5);
}

// Of a range that runs into the hole between the halves, or over it, nothing is mapped.
TEST_P(PageTablesTest, MapsNothingOfARangeThatIsNotCanonicalToItsEnd) {
  const std::uint64_t half = std::uint64_t{1} << (GetParam() == 4 ? 47 : 56);
  EXPECT_EQ(tables_.Map({half - kPage}, {0}, 2 * kPage, kUserData),
            FaultInfo(Fault::kNotCanonical));
  EXPECT_EQ(tables_.Map({0 - half - kPage}, {0}, 2 * kPage, kUserData),
            FaultInfo(Fault::kNotCanonical));
  EXPECT_EQ(frames_.used, 1u) << "the root and nothing else";
  EXPECT_TRUE(tables_.Map({half - kPage}, {0}, kPage, kUserData).ok());
  EXPECT_TRUE(tables_.Map({0 - half}, {0}, kPage, kUserData).ok());
  EXPECT_TRUE(tables_.Map({half}, {0}, 0, kUserData).ok()) << "of no bytes nothing is looked at";
}

// A frame for a table that an entry cannot name is not used.
TEST(PageTables, RefusesFramesThatAnEntryCannotHold) {
  struct OddFrames {
    Result<PhysicalAddress> Allocate() { return PhysicalAddress{address}; }
    std::uint64_t address;
  };
  FakeMemory memory;
  memory.AddPage(0x8000'0000, 0);
  OddFrames frames{0x8000'0000};
  const auto tables = PageTables<FakeMemory, OddFrames>::Make(memory, frames, 4);
  ASSERT_TRUE(tables.ok());
  for (const std::uint64_t address :
       {std::uint64_t{1} << 52 | 0x8000'0000, std::uint64_t{1} << 63 | 0x8000'0000,
        std::uint64_t{0x8000'0800}}) {
    frames.address = address;
    EXPECT_EQ(tables->Map({0}, {0}, kPage, kUserData), FaultInfo(Fault::kReserved)) << address;
    EXPECT_FALSE((PageTables<FakeMemory, OddFrames>::Make(memory, frames, 4)).ok());
  }
}

TEST_P(PageTablesTest, FollowsNoEntryThatIsNotPresent) {
  ASSERT_TRUE(tables_.Map({0}, {0x3000}, kPage, kUserData).ok());
  // A note where the table of the next 2 MiB would stand.
  const PhysicalAddress place = Walk(0).steps[GetParam() - 2].address + sizeof(std::uint64_t);
  const Mapping entry = memory_.Map(place, sizeof(std::uint64_t), Access::kWrite);
  StoreSharedField(entry.start(), std::uint64_t{0x8000'0000}, ByteOrder::kLittle);
  const unsigned used = frames_.used;
  EXPECT_EQ(tables_.Map({k2MBytes}, {0x4000}, kPage, kUserData), FaultInfo(Fault::kNotWritable));
  EXPECT_EQ(frames_.used, used);
}

// A table out of reach, wherever in the descent, is that fault: no frame is taken for another one.
TEST_P(PageTablesTest, FollowsNoEntryThatLeadsToNoMemory) {
  ASSERT_TRUE(tables_.Map({0}, {0x3000}, kPage, kUserData).ok());
  const Trace trace = Walk(0);
  const unsigned used = frames_.used;
  for (unsigned i = 0; i + 1 < trace.count; ++i) {
    // Beside the entry that the walk took: a range of which nothing is mapped yet.
    const PhysicalAddress place = trace.steps[i].address + sizeof(std::uint64_t);
    const std::uint64_t address = std::uint64_t{1} << (12 + 9 * (trace.steps[i].level - 1));
    const std::uint64_t entry = 0x7000'0000 | kEntryPresent | kEntryWritable | kEntryUser;
    memory_.Put(place.value, entry, ByteOrder::kLittle);
    EXPECT_EQ(tables_.Map({address}, {0x4000}, kPage, kUserData), FaultInfo(Fault::kNoMemory))
        << "level " << unsigned{trace.steps[i].level};
    EXPECT_EQ(memory_.Get<std::uint64_t>(place.value, ByteOrder::kLittle), entry);
    EXPECT_EQ(frames_.used, used);
  }
  EXPECT_TRUE(Walk(0).end.ok());
}

// ... and one that cannot be written to stays as it is.
TEST_P(PageTablesTest, WhatCannotBeWrittenIsThatFault) {
  ASSERT_TRUE(tables_.Map({0}, {0x3000}, kPage, kUserData).ok());
  const Trace trace = Walk(0);
  for (unsigned i = 0; i < trace.count; ++i) {
    const PhysicalAddress place = trace.steps[i].address + sizeof(std::uint64_t);
    const std::uint64_t address = std::uint64_t{1} << (12 + 9 * (trace.steps[i].level - 1));
    memory_.SetReadOnly(place.value / kPage * kPage);
    EXPECT_EQ(tables_.Map({address}, {0x4000}, kPage, kUserData), FaultInfo(Fault::kNotWritable))
        << "level " << unsigned{trace.steps[i].level};
    EXPECT_EQ(*memory_.At(place.value), std::byte{0});
    EXPECT_FALSE(Walk(address).end.ok());
  }
}

// The same of the frames for tables: none is linked that could not be cleared.
TEST(PageTables, UsesNoFrameThatCannotBeCleared) {
  struct OneFrame {
    Result<PhysicalAddress> Allocate() { return PhysicalAddress{address}; }
    std::uint64_t address;
  };
  FakeMemory memory;
  for (const std::uint64_t root : {0x8000'0000, 0x8000'1000}) memory.AddPage(root, 0xff);
  memory.SetReadOnly(0x8000'1000);
  const std::pair<std::uint64_t, Fault> kCases[] = {{0x8000'1000, Fault::kNotWritable},
                                                    {0x8000'2000, Fault::kNoMemory}};
  for (const auto& [address, fault] : kCases) {
    OneFrame frames{address};
    const auto none = PageTables<FakeMemory, OneFrame>::Make(memory, frames, 4);
    EXPECT_EQ(none.fault(), FaultInfo(fault));
    frames.address = 0x8000'0000;
    const auto tables = PageTables<FakeMemory, OneFrame>::Make(memory, frames, 4);
    ASSERT_TRUE(tables.ok());
    frames.address = address;
    EXPECT_EQ(tables->Map({0}, {0}, kPage, kUserData), FaultInfo(fault));
    for (std::uint64_t i = 0; i < kPage; ++i) {
      ASSERT_EQ(*memory.At(0x8000'0000 + i), std::byte{0}) << i;
    }
  }
}

TEST_P(PageTablesTest, SaysWhenThereAreNoFrames) {
  frames_.left = GetParam() - 1;
  ASSERT_TRUE(tables_.Map({0x1000}, {0x1000}, kPage, kUserData).ok()) << "just enough";
  EXPECT_EQ(tables_.Map({k1GBytes}, {0x1000}, kPage, kUserData), FaultInfo(Fault::kNoMemory));
  EXPECT_TRUE(Walk(0x1000).end.ok());
  EXPECT_FALSE(Walk(k1GBytes).end.ok());

  DirtyFrames none(memory_);
  none.left = 0;
  const auto tables = PageTables<FakeMemory, DirtyFrames>::Make(memory_, none, GetParam());
  ASSERT_FALSE(tables.ok());
  EXPECT_EQ(tables.fault().fault, Fault::kNoMemory);
}

TEST_P(PageTablesTest, SetsAccessedAndDirtySoThatNobodyHasTo) {
  ASSERT_TRUE(tables_.Map({0x1000}, {0x1000}, kPage, kUserData).ok());
  const Trace trace = Walk(0x1000);
  for (unsigned i = 0; i < trace.count; ++i) {
    EXPECT_NE(trace.steps[i].entry & kEntryAccessed, 0u);
  }
  EXPECT_NE(trace.steps[trace.count - 1].entry & kEntryDirty, 0u);
}

}  // namespace
}  // namespace xencomm::x86_64
