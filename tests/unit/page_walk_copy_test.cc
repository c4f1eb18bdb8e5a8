// Copies through the x86-64 page walk: over page and table boundaries, to the ends of the address
// space, and what the cursor may remember.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "arch/x86_64/page_walk.h"
#include "tests/unit/hand_built_tables.h"
#include "xencomm/copy.h"

namespace xencomm::x86_64 {
namespace {

using namespace testing;
using xencomm::testing::QuickFakeMemory;

// Tables for many pages, still by hand: one more table wherever an index needs it.
class AddressSpace {
 public:
  explicit AddressSpace(unsigned levels) : levels_(levels) {
    root_ = NewTable();
    state_.cr3 = root_;
    if (levels == 5) state_.cr4 = kLa57;
  }

  void MapPage(std::uint64_t address, std::uint64_t frame, std::uint64_t bits = kAll) {
    std::uint64_t table = root_;
    for (unsigned level = levels_; level > 1; --level) {
      const std::uint64_t place = table + (address >> (3 + 9 * level) & 511) * 8;
      auto entry = memory.Get<std::uint64_t>(place, ByteOrder::kLittle);
      if (entry == 0) {
        entry = NewTable() | kAll;
        memory.Put(place, entry, ByteOrder::kLittle);
      }
      table = entry & ~std::uint64_t{0xfff};
    }
    memory.Put(table + (address >> 12 & 511) * 8, frame | bits, ByteOrder::kLittle);
  }

  SpaceOver<PageWalk<FakeMemory>, FakeMemory> space() {
    return {PageWalk<FakeMemory>(memory, state_), memory};
  }

  // The same by a memory that has a quick side.
  SpaceOver<PageWalk<QuickFakeMemory>, QuickFakeMemory> space_by(QuickFakeMemory& quick) {
    return {PageWalk<QuickFakeMemory>(quick, state_), quick};
  }

  FakeMemory memory;

 private:
  std::uint64_t NewTable() {
    next_ += kPage;
    memory.AddPage(next_);
    return next_;
  }

  unsigned levels_;
  std::uint64_t next_ = 0x1000;
  std::uint64_t root_;
  PagingState state_;
};

// Starts of ranges whose pages differ in one index more, up to the top one; and the last pages.
constexpr std::uint64_t kBoundaries[] = {
    0x0000'0000'0001'0000,  // inside a table
    0x0000'0000'0020'0000,  // between two PTs
    0x0000'0000'4000'0000,  // between two PDs
    0x0000'0080'0000'0000,  // between two PDPTs
    0xffff'ff80'0000'0000,  // and in the upper half
};

TEST(PageWalk, CopiesAcrossScatteredPages) {
  for (const unsigned levels : {4u, 5u}) {
    for (const std::uint64_t boundary : kBoundaries) {
      SCOPED_TRACE(::testing::Message() << levels << " levels, " << std::hex << boundary);
      AddressSpace guest(levels);
      const auto frames = xencomm::testing::ScatteredPages(guest.memory, 4);
      for (unsigned i = 0; i < 4; ++i) {
        guest.MapPage(boundary - 2 * kPage + i * kPage, frames[i].value);
      }
      auto space = guest.space();
      std::vector<std::uint8_t> data(3 * kPage + 100), back(data.size());
      for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i * 7 >> 3);
      const VirtualAddress at{boundary - 2 * kPage + 0xe00};

      const CopyResult to = CopyTo(space, at, 0, data.data(), data.size());
      EXPECT_TRUE(to.ok());
      EXPECT_EQ(to.bytes, data.size());
      for (std::size_t i = 0; i < data.size(); ++i) {
        const std::uint64_t place = 0xe00 + i;
        ASSERT_EQ(std::to_integer<std::uint8_t>(
                      *guest.memory.At(frames[place / kPage].value + place % kPage)),
                  data[i]);
      }
      const CopyResult from = CopyFrom(space, at, 0, back.data(), back.size());
      EXPECT_TRUE(from.ok());
      EXPECT_EQ(back, data);
    }
  }
}

TEST(PageWalk, SaysHowFarACopyWentAndWhereItStopped) {
  AddressSpace guest(4);
  const auto frames = xencomm::testing::ScatteredPages(guest.memory, 2);
  guest.MapPage(0x1f'f000, frames[0].value);
  guest.MapPage(0x20'0000, frames[1].value, kP | kU);
  auto space = guest.space();
  std::vector<std::byte> bytes(3 * kPage);

  const CopyResult to = CopyTo(space, {0x1f'f800}, 0, bytes.data(), bytes.size());
  EXPECT_EQ(to.bytes, 0x800u);
  EXPECT_EQ(to.fault, FaultInfo(Fault::kProtection, 1, kErrP | kErrW | kErrU));
  EXPECT_EQ(to.address.value, 0x20'0000u);

  const CopyResult from = CopyFrom(space, {0x1f'f800}, 0, bytes.data(), bytes.size());
  EXPECT_EQ(from.bytes, 0x1800u);
  EXPECT_EQ(from.fault, FaultInfo(Fault::kNotPresent, 1, kErrU));
  EXPECT_EQ(from.address.value, 0x20'1000u);

  EXPECT_TRUE(CopyFrom(space, {0x1f'f800}, 0, bytes.data(), 0x1800).ok()) << "to the last byte";
}

TEST(PageWalk, ReachesTheLastByteOfTheAddressSpaceAndNoFurther) {
  for (const unsigned levels : {4u, 5u}) {
    AddressSpace guest(levels);
    const auto frames = xencomm::testing::ScatteredPages(guest.memory, 2, 0x5a);
    guest.MapPage(~std::uint64_t{0xfff}, frames[0].value);
    guest.MapPage(0, frames[1].value);
    auto space = guest.space();
    std::byte bytes[16];
    EXPECT_TRUE(CopyFrom(space, {~std::uint64_t{15}}, 0, bytes, 16).ok());
    const CopyResult wrapped = CopyFrom(space, {~std::uint64_t{7}}, 0, bytes, 16);
    EXPECT_EQ(wrapped.bytes, 8u);
    EXPECT_EQ(wrapped.fault.fault, Fault::kOverflow);
  }
}

TEST(PageWalk, StopsAtTheEndOfTheLowerHalf) {
  AddressSpace guest(4);
  const auto frames = xencomm::testing::ScatteredPages(guest.memory, 1);
  guest.MapPage(0x7fff'ffff'f000, frames[0].value);
  auto space = guest.space();
  std::byte bytes[16];
  EXPECT_TRUE(CopyFrom(space, {0x7fff'ffff'fff0}, 0, bytes, 16).ok());
  const CopyResult result = CopyFrom(space, {0x7fff'ffff'fff8}, 0, bytes, 16);
  EXPECT_EQ(result.bytes, 8u);
  EXPECT_EQ(result.fault, FaultInfo(Fault::kNotCanonical));
  EXPECT_EQ(result.address.value, 0x8000'0000'0000u);
}

TEST(PageWalk, ZeroBytesLookAtNothing) {
  AddressSpace guest(4);
  auto space = guest.space();
  EXPECT_TRUE(CopyFrom(space, {0x8000'0000'0000'0000}, 0, nullptr, 0).ok());
  EXPECT_TRUE(CopyTo(space, {~std::uint64_t{0}}, ~std::uint64_t{0}, nullptr, 0).ok());
  EXPECT_EQ(guest.memory.maps(), 0u);
}

TEST(PageWalk, LooksALeafTableUpOnceInACopy) {
  AddressSpace guest(4);
  constexpr std::uint64_t kPages = 1024;  // two PTs, and the second half of one before
  const auto frames = xencomm::testing::ScatteredPages(guest.memory, kPages);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    guest.MapPage(0x3ff0'0000 + i * kPage, frames[i].value);
  }
  auto space = guest.space();
  std::vector<std::byte> bytes(kPages * kPage);
  const std::uint64_t before = guest.memory.maps();
  ASSERT_TRUE(CopyFrom(space, {0x3ff0'0000}, 0, bytes.data(), bytes.size()).ok());
  // Each page, and the four tables to each of the PTs.
  EXPECT_EQ(guest.memory.maps() - before, kPages + 3 * 4);
}

// Memory gives a large page piece by piece.
TEST(PageWalk, LooksALargePageUpOnceInACopy) {
  Tables tables(4, 2);
  constexpr std::uint64_t kPages = 16;
  const VirtualAddress start = {Address(4) & ~(kPageBytes[2] - 1)};
  for (std::uint64_t i = 0; i < kPages; ++i) tables.memory.AddPage(kFrame[2] + i * kPage);
  SpaceOver space(PageWalk<FakeMemory>(tables.memory, tables.state), tables.memory);
  std::vector<std::byte> bytes(kPages * kPage);
  const std::uint64_t before = tables.memory.maps();
  ASSERT_TRUE(CopyFrom(space, start, 0, bytes.data(), bytes.size()).ok());
  EXPECT_EQ(tables.memory.maps() - before, kPages + 3);
}

TEST(PageWalk, RemembersRightsOfTheTablesItKept) {
  AddressSpace guest(4);
  const auto frames = xencomm::testing::ScatteredPages(guest.memory, 2);
  guest.MapPage(0x1000, frames[0].value);
  guest.MapPage(0x2000, frames[1].value);
  // The PML4 entry, in the first table that was made, loses U/S: both pages are the supervisor's.
  const auto entry = guest.memory.Get<std::uint64_t>(0x2000, ByteOrder::kLittle);
  guest.memory.Put(std::uint64_t{0x2000}, entry & ~kW, ByteOrder::kLittle);
  const PagingState state{.cr3 = 0x2000};
  const PageWalk<FakeMemory> walk(guest.memory, state);
  typename PageWalk<FakeMemory>::Cursor cursor;
  // More is wanted than the page has, so that its table is kept.
  EXPECT_TRUE(walk.Translate({0x1000}, 0, kPage + 1, Access::kRead, cursor).ok());
  EXPECT_EQ(cursor.level, 1u);
  const Segment second = walk.Translate({0x2000}, 0, 1, Access::kWrite, cursor);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.fault(), FaultInfo(Fault::kProtection, 1, kErrP | kErrU | kErrW));
}

// What denies a leaf something does not deny its neighbour that; nor does it let in whom the
// neighbour keeps out.
TEST(PageWalk, RemembersNoRightsOfTheLeafItLeft) {
  AddressSpace guest(4);
  const auto frames = xencomm::testing::ScatteredPages(guest.memory, 2);
  guest.MapPage(0x1000, frames[0].value, kP | kW);
  guest.MapPage(0x2000, frames[1].value);
  const PagingState state{.cr3 = 0x2000, .cr4 = kSmap, .privilege = Privilege::kSupervisor};
  SpaceOver space(PageWalk<FakeMemory>(guest.memory, state), guest.memory);
  std::vector<char> bytes(2 * kPage);
  const CopyResult result = CopyFrom(space, {0x1000}, 0, bytes.data(), bytes.size());
  EXPECT_EQ(result.bytes, kPage);
  EXPECT_EQ(result.fault, FaultInfo(Fault::kProtection, 1, kErrP));
}

// Also where the table was kept, and the walk begins there.
TEST(PageWalk, MarksTheEntryOfEachPageOfACopy) {
  AddressSpace guest(4);
  const auto frames = xencomm::testing::ScatteredPages(guest.memory, 3);
  for (unsigned i = 0; i < 3; ++i) guest.MapPage(0x1000 + i * kPage, frames[i].value);
  // Where the pages' own bytes look like entries, too.
  for (const PhysicalAddress frame : frames) {
    for (unsigned i = 0; i < 3; ++i) {
      guest.memory.Put(frame.value + (1 + i) * 8, frames[i].value | kAll, ByteOrder::kLittle);
    }
  }
  const PagingState state{.cr3 = 0x2000, .mark_accessed = true};
  SpaceOver space(PageWalk<FakeMemory>(guest.memory, state), guest.memory);
  EXPECT_TRUE(Probe(space, {0x1000}, 0, 3 * kPage, Access::kWrite).ok());
  // The tables were made one after the other, from the top.
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(guest.memory.Get<std::uint64_t>(0x5000 + (1 + i) * 8, ByteOrder::kLittle),
              frames[i].value | kAll | kA | kD)
        << i;
  }
}

TEST(PageWalk, WhatIsFoundQuicklyIsWhatTheWholeWalkFinds) {
  for (const unsigned levels : {4u, 5u}) {
    AddressSpace guest(levels);
    const std::uint64_t rights[] = {kAll, kP | kU, kP | kW, kAll | kNx, 0, kAll, kAll};
    for (unsigned i = 0; i < 7; ++i) {
      const std::uint64_t frame = (0x5000 + i * 2) * kPage;
      if (i != 5) guest.memory.AddPage(frame);
      if (i == 6) guest.memory.SetReadOnly(frame);
      guest.MapPage(0x40'0000 + i * kPage, frame, rights[i]);
    }
    auto whole = guest.space();
    unsigned quick_finds = 0;
    for (const unsigned declined_look : {0u, 1u, 2u, 5u}) {
      for (std::uint64_t at = 0; at < 8 * kPage; at += 1021) {
        for (const std::uint64_t length :
             {std::uint64_t{1}, kPage - at % kPage, kPage, 3 * kPage}) {
          for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
            QuickFakeMemory memory(guest.memory);
            memory.declined_look = declined_look;
            auto space = guest.space_by(memory);
            Cursor cursor, other;
            for (const bool comes_again : {false, true}) {
              const Mapping expected =
                  whole.Map({0x40'0000}, at, length, access, comes_again ? &cursor : nullptr);
              const Mapping run =
                  space.Map({0x40'0000}, at, length, access, comes_again ? &other : nullptr);
              // What goes on in the next page is not even tried.
              ASSERT_EQ(memory.quick_looks() != 0, at % kPage + length <= kPage) << at;
              ASSERT_EQ(run.ok(), expected.ok()) << std::hex << at;
              ASSERT_EQ(run.length(), expected.length());
              if (run.ok()) {
                ASSERT_EQ(run.start(), expected.start());
                quick_finds += memory.slow_looks() == 0 ? 1 : 0;
              } else {
                ASSERT_EQ(run.fault(), expected.fault());
              }
            }
          }
        }
      }
    }
    EXPECT_GT(quick_finds, 0u);
  }
}

// What it has read is not read again for the last page, which would be found quickly.
TEST(PageWalk, ACopyThatHasBegunGoesOnByTheTablesThatItRead) {
  AddressSpace guest(4);
  for (unsigned i = 0; i < 2; ++i) {
    guest.memory.AddPage((0x5000 + i) * kPage, 7);
    guest.MapPage(0x40'0000 + i * kPage, (0x5000 + i) * kPage, kAll);
  }
  QuickFakeMemory memory(guest.memory);
  auto space = guest.space_by(memory);
  std::vector<char> bytes(kPage + 8);
  EXPECT_TRUE(CopyFrom(space, {0x40'0000}, 0, bytes.data(), bytes.size()).ok());
  EXPECT_EQ(bytes.back(), 7);
  EXPECT_EQ(memory.quick_looks(), 0u);
  EXPECT_EQ(memory.slow_looks(), 4u + 2u) << "the tables, and the pages";
}

TEST(PageWalk, RemembersNothingAcrossCopies) {
  Tables tables(4);
  SpaceOver space(PageWalk<FakeMemory>(tables.memory, tables.state), tables.memory);
  tables.memory.AddPage(kFrame[1], 1);
  tables.memory.AddPage(0x9'8000, 2);
  std::byte byte;
  ASSERT_TRUE(CopyFrom(space, {Address(4)}, 0, &byte, 1).ok());
  EXPECT_EQ(byte, std::byte{1});
  tables.Set(1, 0x9'8000 | kAll);
  ASSERT_TRUE(CopyFrom(space, {Address(4)}, 0, &byte, 1).ok());
  EXPECT_EQ(byte, std::byte{2});
  tables.Set(4, 0);
  EXPECT_EQ(CopyFrom(space, {Address(4)}, 0, &byte, 1).fault.level, 4);
}

}  // namespace
}  // namespace xencomm::x86_64
