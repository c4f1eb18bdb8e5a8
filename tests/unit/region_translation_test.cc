// Both translations by a region's table: the registered one and the stateless one.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/fake_memory.h"
#include "tests/unit/test_region.h"
#include "xencomm/copy.h"
#include "xencomm/region_table.h"
#include "xencomm/region_translation.h"

namespace xencomm {
namespace {

using testing::FakeMemory;
using testing::HalfPages;
using testing::kBase;
using testing::kPage;
using testing::LayoutOf;
using testing::QuickFakeMemory;
using testing::TestRegion;

// ---- Both translations, by the same expectations --------------------------------------------

enum class RegionKind { kRegistered, kStateless };

class RegionSpaceTest : public ::testing::TestWithParam<std::tuple<RegionKind, ByteOrder>> {
 protected:
  // Runs `use` with a Space over `region`.
  template <class Use>
  void WithSpace(TestRegion& region, Use use) {
    if (std::get<RegionKind>(GetParam()) == RegionKind::kRegistered) {
      const std::vector<HeldPage> pages = region.HeldPages();
      RegisteredRegion space(region.layout, pages.data(), FoundIn::kMemory);
      use(space);
    } else {
      const auto table = OpenTable(region.memory, region.table.handle(), region.order);
      ASSERT_TRUE(table.ok());
      SpaceOver space(StatelessRegion{*table}, region.memory);
      use(space);
    }
  }
  ByteOrder order() const { return std::get<ByteOrder>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(RegionKinds, RegionSpaceTest,
                         ::testing::Combine(::testing::Values(RegionKind::kRegistered,
                                                              RegionKind::kStateless),
                                            ::testing::Values(ByteOrder::kLittle, ByteOrder::kBig)),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param) == RegionKind::kRegistered
                                                  ? "Registered"
                                                  : "Stateless") +
                                  (std::get<1>(row.param) == ByteOrder::kLittle ? "Little" : "Big");
                         });

TEST_P(RegionSpaceTest, CopiesAcrossScatteredGranulesInBothDirections) {
  TestRegion region(600, order());
  for (std::uint64_t granule = 2; granule < 600; ++granule) region.BackOne(granule);
  WithSpace(region, [&](Space& space) {
    std::vector<unsigned char> out(100'000);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(i * 31);
    const VirtualAddress pointer = region.Pointer(2, 4093);
    ASSERT_EQ(CopyTo(space, pointer, 0, out.data(), out.size()).bytes, out.size());
    std::vector<unsigned char> in(out.size());
    ASSERT_EQ(CopyFrom(space, pointer, 0, in.data(), in.size()).bytes, in.size());
    EXPECT_EQ(in, out);
    // The bytes lie where the table says, not merely somewhere consistent.
    EXPECT_EQ(*region.memory.At(region.table.Base(3)->value), static_cast<std::byte>(out[3]));
    ASSERT_EQ(Clear(space, pointer, 10, 50'000).bytes, 50'000u);
    ASSERT_TRUE(CopyFrom(space, pointer, 0, in.data(), in.size()).ok());
    std::fill_n(out.begin() + 10, 50'000, static_cast<unsigned char>(0));
    EXPECT_EQ(in, out);
  });
}

TEST_P(RegionSpaceTest, RefusesPointerIntoTableInEveryDirection) {
  TestRegion region(509, order());
  region.BackOne(2);
  WithSpace(region, [&](Space& space) {
    char byte = 0;
    for (std::uint64_t offset :
         {std::uint64_t{0}, std::uint64_t{31}, std::uint64_t{40}, kPage, 2 * kPage - 1}) {
      const VirtualAddress pointer = region.Pointer(0, offset);
      EXPECT_EQ(CopyFrom(space, pointer, 0, &byte, 1).fault.fault, Fault::kInTable) << offset;
      EXPECT_EQ(CopyTo(space, pointer, 0, &byte, 1).fault.fault, Fault::kInTable) << offset;
      EXPECT_EQ(Clear(space, pointer, 0, 1).fault.fault, Fault::kInTable) << offset;
    }
    EXPECT_TRUE(CopyTo(space, region.Pointer(2), 0, &byte, 1).ok());
  });
}

TEST_P(RegionSpaceTest, FaultsAtTheFirstByteThatIsNotThere) {
  TestRegion region(8, order());
  region.BackOne(5);
  region.BackOne(7);
  WithSpace(region, [&](Space& space) {
    std::vector<char> buffer(3 * kPage);
    struct Row {
      VirtualAddress pointer;
      std::uint64_t offset, length, bytes;
      Fault fault;
      const char* what;
    };
    const std::uint64_t end = region.layout.virtual_base().value + 8 * kPage;
    for (const Row& row : {
             Row{region.Pointer(5, 4090), 0, 6, 6, Fault::kNone, "up to a granule's last byte"},
             {region.Pointer(5, 4090), 0, 7, 6, Fault::kNotBacked, "into an unbacked granule"},
             {region.Pointer(6), 0, 1, 0, Fault::kNotBacked, "at an unbacked granule"},
             {region.Pointer(7), 0, kPage, kPage, Fault::kNone, "up to the region's last byte"},
             {region.Pointer(7), 0, kPage + 1, kPage, Fault::kOutOfRange, "past the end"},
             {region.Pointer(7), kPage - 1, 2, 1, Fault::kOutOfRange, "an offset at the end"},
             {{end}, 0, 1, 0, Fault::kOutOfRange, "behind the end"},
             {{region.layout.virtual_base().value - 1}, 0, 2, 0, Fault::kOutOfRange, "before"},
             {{0}, 0, 1, 0, Fault::kOutOfRange, "null"},
             {{~std::uint64_t{0}}, 0, 2, 0, Fault::kOutOfRange, "the last byte of all"},
             {region.Pointer(7), ~std::uint64_t{0}, 1, 0, Fault::kOverflow, "an offset that wraps"},
             {{8}, region.Pointer(7).value - 8, 1, 1, Fault::kNone, "an offset that leads inside"},
         }) {
      const CopyResult result = CopyFrom(space, row.pointer, row.offset, buffer.data(), row.length);
      EXPECT_EQ(result.fault.fault, row.fault) << row.what;
      EXPECT_EQ(result.bytes, row.bytes) << row.what;
      if (!result.ok()) {
        EXPECT_EQ(result.address, row.pointer + (row.offset + row.bytes)) << row.what;
      }
    }
  });
}

TEST_P(RegionSpaceTest, ZeroBytesTouchNothing) {
  TestRegion region(4, order());
  WithSpace(region, [&](Space& space) {
    const std::uint64_t before = region.memory.maps();
    for (const std::uint64_t pointer : {std::uint64_t{0}, ~std::uint64_t{0}, kBase.value}) {
      EXPECT_TRUE(CopyFrom(space, {pointer}, ~std::uint64_t{0}, nullptr, 0).ok());
      EXPECT_TRUE(CopyTo(space, {pointer}, 1, nullptr, 0).ok());
      EXPECT_TRUE(Clear(space, {pointer}, 1, 0).ok());
    }
    EXPECT_EQ(region.memory.maps(), before);
  });
}

TEST_P(RegionSpaceTest, PageFormSharesItsPageAndGuardsItsHead) {
  TestRegion region(1, order());
  WithSpace(region, [&](Space& space) {
    const std::uint64_t value = 42;
    EXPECT_EQ(CopyTo(space, region.Pointer(0, 32), 0, &value, 8).fault.fault, Fault::kInTable);
    EXPECT_TRUE(CopyTo(space, region.Pointer(0, 40), 0, &value, 8).ok());
    EXPECT_TRUE(CopyTo(space, region.Pointer(0, 4088), 0, &value, 8).ok());
    EXPECT_EQ(CopyTo(space, region.Pointer(0, 4092), 0, &value, 8).fault.fault, Fault::kOutOfRange);
  });
}

TEST_P(RegionSpaceTest, LargeGranulesCoverManyPages) {
  FakeMemory memory;
  const RegionLayout layout = LayoutOf(3, 16, {0x10'0000});
  for (std::uint64_t page = 0; page < 48; ++page) memory.AddPage(0x80'0000 + page * kPage);
  const PhysicalAddress table_page[] = {{0x80'0000}};
  const auto table = *RegionTable<FakeMemory>::Build(memory, layout, order(), table_page);
  ASSERT_TRUE(table.Back(2, {0x82'0000}).ok());
  const std::vector<HeldPage> held =
      HeldPagesOf(memory, layout, Access::kWrite, GranuleUse::kAnyPointer,
                  [&](std::uint64_t granule) { return table.Base(granule); });
  RegisteredRegion registered(layout, held.data(), FoundIn::kMemory);
  SpaceOver stateless(StatelessRegion(*OpenTable(memory, table.handle(), order())), memory);
  Space& space = std::get<RegionKind>(GetParam()) == RegionKind::kRegistered
                     ? static_cast<Space&>(registered)
                     : static_cast<Space&>(stateless);
  const std::vector<char> out(65536, 'x');
  EXPECT_TRUE(CopyTo(space, layout.virtual_base(), 2 * 65536, out.data(), out.size()).ok());
  EXPECT_EQ(*memory.At(0x82'ffff), std::byte{'x'});
  EXPECT_EQ(CopyTo(space, layout.virtual_base(), 65536, out.data(), 1).fault.fault,
            Fault::kNotBacked);
}

TEST(RegisteredRegion, WritesOnlyWhatIsHeldForWriting) {
  TestRegion region(4, ByteOrder::kLittle);
  region.BackOne(2);
  const std::vector<HeldPage> pages = region.HeldPages(Access::kRead);
  RegisteredRegion space(region.layout, pages.data(), FoundIn::kMemory);
  char byte = 0;
  EXPECT_TRUE(CopyFrom(space, region.Pointer(2), 0, &byte, 1).ok());
  EXPECT_EQ(CopyTo(space, region.Pointer(2), 0, &byte, 1).fault.fault, Fault::kNotWritable);
}

TEST(RegisteredRegion, KnowsWhatIsForArgumentsOnlyByWhereAPointerWasFound) {
  TestRegion region(4, ByteOrder::kLittle);
  region.BackOne(1);
  region.BackOne(2);
  for (const Access held : {Access::kRead, Access::kWrite}) {
    std::vector<HeldPage> pages = region.HeldPages(held, GranuleUse::kArgumentsOnly);
    pages[1] = HeldPage(pages[1].page(), held, GranuleUse::kAnyPointer);
    RegisteredRegion registers(region.layout, pages.data(), FoundIn::kRegister);
    RegisteredRegion memory(region.layout, pages.data(), FoundIn::kMemory);
    const Fault write = held == Access::kWrite ? Fault::kNone : Fault::kNotWritable;
    char bytes[32] = {};
    EXPECT_TRUE(CopyFrom(registers, region.Pointer(2), 0, bytes, 1).ok());
    EXPECT_EQ(CopyTo(registers, region.Pointer(2), 0, bytes, 1).fault.fault, write);
    EXPECT_EQ(CopyFrom(memory, region.Pointer(2), 0, bytes, 1).fault.fault, Fault::kArgumentsOnly);
    EXPECT_EQ(CopyTo(memory, region.Pointer(2), 0, bytes, 1).fault.fault, Fault::kArgumentsOnly);
    EXPECT_EQ(CopyFrom(memory, region.Pointer(2), kPage - 1, bytes, 1).fault.fault,
              Fault::kArgumentsOnly);
    // Up to its first byte, and not on from there.
    const CopyResult across = CopyTo(memory, region.Pointer(1, kPage - 8), 0, bytes, 32);
    EXPECT_EQ(across.bytes, held == Access::kWrite ? 8u : 0u);
    EXPECT_EQ(across.fault.fault, held == Access::kWrite ? Fault::kArgumentsOnly : write);
    // What is not there at all is no such granule.
    EXPECT_EQ(CopyFrom(memory, region.Pointer(3), 0, bytes, 1).fault.fault, Fault::kNotBacked);
  }
}

TEST(RegisteredRegion, DoesNotCareWhatTheGuestWritesIntoItsTableLater) {
  TestRegion region(4, ByteOrder::kLittle);
  region.BackOne(2, 7);
  const std::vector<HeldPage> pages = region.HeldPages();
  RegisteredRegion space(region.layout, pages.data(), FoundIn::kMemory);
  std::memset(region.memory.At(region.table.handle().value), 0x5a, kPage);
  char byte = 0;
  EXPECT_TRUE(CopyFrom(space, region.Pointer(2), 0, &byte, 1).ok());
  EXPECT_EQ(byte, 7);
}

TEST(StatelessRegion, RefusesBasesThatCannotBe) {
  struct Row {
    std::uint64_t base;
    Fault fault;
  };
  for (const Row& row : {Row{0x1008, Fault::kMisaligned},
                         {~std::uint64_t{0}, Fault::kNotBacked},
                         {0xfff'ffff'ffff'f000, Fault::kNoMemory},
                         {0x1000, Fault::kNoMemory}}) {
    TestRegion region(4, ByteOrder::kBig);
    const auto table = OpenTable(region.memory, region.table.handle(), ByteOrder::kBig);
    SpaceOver space(StatelessRegion{*table}, region.memory);
    region.memory.Put(region.table.handle().value + BaseOffset(2), row.base, ByteOrder::kBig);
    char byte;
    EXPECT_EQ(CopyFrom(space, region.Pointer(2), 0, &byte, 1).fault.fault, row.fault)
        << std::hex << row.base;
  }
}

// What a space finds: the place of the run, its length, or the fault.
template <class AnySpace>
std::string Found(AnySpace& space, VirtualAddress pointer, std::uint64_t offset,
                  std::uint64_t length, Access access, Cursor* cursor = nullptr) {
  const Mapping run = space.Map(pointer, offset, length, access, cursor);
  if (!run.ok()) return Describe(run.fault().fault);
  ::testing::Message text;
  text << static_cast<const void*>(run.start()) << " " << run.length();
  return text.GetString();
}

// Regions of every shape that matters, with good bases, bad ones and none, looked at from where a
// page, a granule, the table and the region begin and end.
template <class Look>
void LookAtRegions(Look look) {
  std::minstd_rand random(3);
  struct Shape {
    std::uint64_t granules;
    unsigned shift;
  };
  for (const Shape& shape : {Shape{1, 12},
                             {2, 12},
                             {4, 13},
                             {3, 15},
                             {508, 12},
                             {509, 12},
                             {1400, 12},
                             {1019, 13},
                             {1021, 13},
                             {1600, 13},
                             {260'100, 12}}) {
    TestRegion region(shape.granules, random() % 2 == 0 ? ByteOrder::kLittle : ByteOrder::kBig,
                      shape.shift);
    std::vector<std::uint64_t> granules = {0, region.layout.table_granules() - 1};
    for (unsigned i = 0; i < 6; ++i) {
      const std::uint64_t payload = shape.granules - region.layout.table_granules();
      if (payload == 0) break;
      const std::uint64_t granule = shape.granules - 1 - (i < 2 ? i : random()) % payload;
      granules.push_back(granule);
      if (region.table.Base(granule).ok() || random() % 4 == 0) continue;
      const std::uint64_t base = (0x100 + i) << 30;
      for (std::uint64_t at = 0; at < region.layout.granule_size(); at += kPage) {
        if (random() % 8 == 0) continue;
        region.memory.AddPage(base + at);
        if (random() % 16 == 0) region.memory.SetReadOnly(base + at);
      }
      ASSERT_TRUE(region.table.Back(granule, {base}).ok());
    }
    for (const std::uint64_t granule : granules) {
      for (const std::uint64_t at :
           {std::uint64_t{0}, std::uint64_t{39}, std::uint64_t{40}, kPage,
            region.layout.granule_size() - 4, region.layout.granule_size()}) {
        for (const std::int64_t near : {-1, 0, 1}) {
          const VirtualAddress place = {region.Pointer(granule, at).value + near};
          for (const std::uint64_t length : {1u, 4u, 5u, 4096u, 4097u, 9000u}) {
            for (const std::uint64_t offset :
                 {std::uint64_t{0}, random() % kPage, place.value - 1, ~std::uint64_t{0}}) {
              look(region, VirtualAddress{place.value - offset}, offset, length);
            }
          }
        }
      }
    }
    for (const std::uint64_t wrong :
         {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
      look(region, VirtualAddress{wrong}, 0, 1);
      look(region, region.Pointer(shape.granules - 1), wrong, 1);
    }
  }
}

TEST(StatelessRegion, WhatIsFoundQuicklyIsWhatTheWholeWayFinds) {
  unsigned slow_looks = 0, quick_looks = 0;
  for (const unsigned declined_look : {0u, 1u, 2u, 3u, 7u}) {
    LookAtRegions([&](TestRegion& region, VirtualAddress pointer, std::uint64_t offset,
                      std::uint64_t length) {
      QuickFakeMemory memory(region.memory);
      const auto quick_table = OpenTable(memory, region.table.handle(), region.order);
      const auto table = OpenTable(region.memory, region.table.handle(), region.order);
      ASSERT_TRUE(quick_table.ok() && table.ok());
      memory.declined_look = declined_look;
      SpaceOver quick(StatelessRegion{*quick_table}, memory);
      SpaceOver whole(StatelessRegion{*table}, region.memory);
      for (const Access access : {Access::kRead, Access::kWrite}) {
        const std::string expected = Found(whole, pointer, offset, length, access);
        ASSERT_EQ(Found(quick, pointer, offset, length, access), expected);
        Cursor cursor, quick_cursor;
        ASSERT_EQ(Found(quick, pointer, offset, length, access, &quick_cursor),
                  Found(whole, pointer, offset, length, access, &cursor));
      }
      slow_looks += memory.slow_looks();
      quick_looks += memory.quick_looks();
    });
  }
  EXPECT_GT(quick_looks, 0u);
  EXPECT_GT(slow_looks, 0u);
}

// The quick side alone serves a byte whose base is read in one step or in two, and nothing of what
// would take three.
TEST(StatelessRegion, OneOrTwoBasesAreReadQuickly) {
  for (const std::uint64_t granules : {2u, 508u, 509u, 260'091u, 260'092u, 260'093u, 262'144u}) {
    TestRegion region(granules, ByteOrder::kLittle);
    const std::uint64_t first = region.layout.table_granules();
    for (const std::uint64_t granule : {first, granules - 1}) {
      if (!region.table.Base(granule).ok()) region.BackOne(granule);
      QuickFakeMemory memory(region.memory);
      const auto table = OpenTable(memory, region.table.handle(), region.order);
      ASSERT_TRUE(table.ok());
      SpaceOver space(StatelessRegion{*table}, memory);
      const unsigned before = memory.slow_looks();
      EXPECT_TRUE(space.Map(region.Pointer(granule), 4095, 1, Access::kWrite, nullptr).ok());
      const bool is_quick = region.layout.BaseReads(granule) <= 2;
      EXPECT_EQ(memory.slow_looks() == before, is_quick) << granules << " " << granule;
    }
  }
}

// What stands in the table's pages behind its last base, or behind the granule that its first part
// lies in, are no bases, whatever it looks like.
TEST(StatelessRegion, NothingBesideTheTableIsTakenForABase) {
  for (const std::uint64_t granules : {2u, 508u, 509u, 600u, 262'144u}) {
    TestRegion region(granules, ByteOrder::kLittle);
    const PhysicalAddress right = region.BackOne(granules - 1);
    const std::uint64_t wrong = std::uint64_t{7} << 40;
    region.memory.AddPage(wrong);
    for (std::uint64_t at = 0; at < kPage; at += 8) {
      region.memory.Put(wrong + at, wrong, ByteOrder::kLittle);
    }
    const PhysicalAddress last = region.table_pages.back();
    for (std::uint64_t at = BaseOffset(granules) % kPage; at != 0 && at < kPage; at += 8) {
      region.memory.Put(last.value + at, wrong, ByteOrder::kLittle);
    }
    const std::uint64_t behind = region.table.handle().value + kPage;
    region.memory.AddPage(behind);
    for (std::uint64_t at = 0; at < kPage; at += 8) {
      region.memory.Put(behind + at, wrong, ByteOrder::kLittle);
    }
    QuickFakeMemory memory(region.memory);
    const auto table = OpenTable(memory, region.table.handle(), region.order);
    ASSERT_TRUE(table.ok());
    SpaceOver space(StatelessRegion{*table}, memory);
    EXPECT_EQ(space.Map(region.Pointer(granules - 1), 8, 8, Access::kRead, nullptr).start(),
              region.memory.At(right.value + 8));
    for (std::uint64_t granule = granules; granule < granules + 600; ++granule) {
      const Mapping run = space.Map(region.Pointer(granule), 0, 8, Access::kRead, nullptr);
      ASSERT_FALSE(run.ok()) << granule;
      ASSERT_EQ(run.fault().fault, Fault::kOutOfRange);
    }
  }
}

// Its base has been compared with the handle; what it reads later does not matter.
TEST(StatelessRegion, GranuleZeroIsWhereTheHandleSays) {
  TestRegion region(1, ByteOrder::kBig);
  const std::uint64_t wrong = std::uint64_t{7} << 40;
  region.memory.AddPage(wrong);
  QuickFakeMemory memory(region.memory);
  const auto table = OpenTable(memory, region.table.handle(), region.order);
  ASSERT_TRUE(table.ok());
  region.memory.Put(region.table.handle().value + BaseOffset(0), wrong, ByteOrder::kBig);
  SpaceOver space(StatelessRegion{*table}, memory);
  EXPECT_EQ(space.Map(region.Pointer(0, 64), 0, 8, Access::kWrite, nullptr).start(),
            region.memory.At(region.table.handle().value + 64));
}

// The table may go on in another page in the middle of a copy, of the same granule or of another.
TEST(StatelessRegion, OneCopyGoesOnInTheNextPageOfTheTable) {
  for (const unsigned shift : {12u, 13u}) {
    TestRegion region(1600, ByteOrder::kLittle, shift);
    std::vector<char> expected, bytes;
    for (std::uint64_t granule = 500; granule < 1100; ++granule) {
      const std::uint64_t base = (0x10000 + granule * 3) << 13;
      for (std::uint64_t at = 0; at < region.layout.granule_size(); at += kPage) {
        const int fill = static_cast<int>(granule % 251 + at % 5);
        region.memory.AddPage(base + at, fill);
        expected.insert(expected.end(), kPage, static_cast<char>(fill));
      }
      ASSERT_TRUE(region.table.Back(granule, {base}).ok());
    }
    bytes.resize(expected.size());
    const auto table = OpenTable(region.memory, region.table.handle(), region.order);
    ASSERT_TRUE(table.ok());
    SpaceOver space(StatelessRegion{*table}, region.memory);
    ASSERT_TRUE(CopyFrom(space, region.Pointer(500), 0, bytes.data(), bytes.size()).ok());
    EXPECT_TRUE(bytes == expected) << shift;
  }
}

TEST(StatelessRegion, ATableIsInWholePages) {
  TestRegion region(4, ByteOrder::kLittle);
  region.BackOne(2);
  HalfPages memory{region.memory};
  const auto table = OpenTable(memory, region.table.handle(), region.order);
  ASSERT_TRUE(table.ok());
  SpaceOver space(StatelessRegion{*table}, memory);
  const Mapping run = space.Map(region.Pointer(2), 0, 8, Access::kRead, nullptr);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.fault().fault, Fault::kNoMemory);
}

TEST(RegisteredRegion, FindsWhatTheTableLeadsTo) {
  unsigned found = 0;
  LookAtRegions(
      [&](TestRegion& region, VirtualAddress pointer, std::uint64_t offset, std::uint64_t length) {
        if (region.layout.length() > 8 << 20) return;
        const auto table = OpenTable(region.memory, region.table.handle(), region.order);
        ASSERT_TRUE(table.ok());
        SpaceOver stateless(StatelessRegion{*table}, region.memory);
        const std::vector<HeldPage> pages = region.HeldPages();
        RegisteredRegion registered(region.layout, pages.data(),
                                    length % 2 == 0 ? FoundIn::kMemory : FoundIn::kRegister);
        const Mapping expected = stateless.Map(pointer, offset, length, Access::kRead, nullptr);
        const Mapping run = registered.Map(pointer, offset, length, Access::kRead, nullptr);
        const Mapping whole = registered.MapWhole(pointer, offset, length, Access::kRead);
        ASSERT_EQ(run.ok(), expected.ok());
        ASSERT_EQ(whole.ok(), run.ok() && run.length() == length);
        if (run.ok()) {
          ++found;
          ASSERT_EQ(run.start(), expected.start());
          ASSERT_EQ(run.length(), expected.length());
          ASSERT_EQ(whole.ok() ? whole.start() : run.start(), run.start());
          ASSERT_EQ(whole.ok() ? whole.length() : length, length);
        } else if (expected.fault().fault == Fault::kNoMemory) {
          ASSERT_EQ(run.fault().fault, Fault::kNotBacked);  // it was not when it was registered
        } else {
          ASSERT_EQ(run.fault().fault, expected.fault().fault);
        }
      });
  EXPECT_GT(found, 0u);
}

// At every end there is: of the address space, of the payload, of a page.
TEST(RegisteredRegion, KnowsItsPayloadToTheByte) {
  alignas(kPage) static std::byte bytes[3 * kPage];
  constexpr std::uint64_t kGranules = 5;  // the last one is not backed
  for (const VirtualAddress base : {VirtualAddress{0}, kBase, VirtualAddress{-kGranules * kPage}}) {
    const RegionLayout layout = LayoutOf(kGranules, 12, base);
    const HeldPage pages[] = {{},
                              {bytes, Access::kRead, GranuleUse::kAnyPointer},
                              {bytes + kPage, Access::kWrite, GranuleUse::kArgumentsOnly},
                              {bytes + 2 * kPage, Access::kWrite, GranuleUse::kAnyPointer},
                              {}};
    RegisteredRegion registers(layout, pages, FoundIn::kRegister);
    RegisteredRegion memory(layout, pages, FoundIn::kMemory);
    for (std::uint64_t place = kPage - 1; place <= kGranules * kPage; ++place) {
      const std::uint64_t page = place / kPage;
      const bool is_payload = page >= 1 && page < kGranules;
      for (RegisteredRegion* space : {&registers, &memory}) {
        for (const Access access : {Access::kRead, Access::kWrite}) {
          Fault expected = Fault::kNone;
          if (!is_payload) expected = page == 0 ? Fault::kInTable : Fault::kOutOfRange;
          if (base.value + place < base.value) expected = Fault::kOverflow;
          if (page == 4) expected = Fault::kNotBacked;
          if (page == 1 && access == Access::kWrite) expected = Fault::kNotWritable;
          if (page == 2 && space == &memory) expected = Fault::kArgumentsOnly;
          const std::uint64_t rest = kPage - place % kPage;
          for (const std::uint64_t length : {std::uint64_t{1}, rest, rest + 1}) {
            const Mapping run = space->Map(base, place, length, access, nullptr);
            const Mapping whole = space->MapWhole(base, place, length, access);
            ASSERT_EQ(whole.ok(), expected == Fault::kNone && length <= rest);
            ASSERT_EQ(run.ok(), expected == Fault::kNone) << place;
            if (!run.ok()) {
              ASSERT_EQ(run.fault().fault, expected) << place;
              continue;
            }
            ASSERT_EQ(run.start(), bytes + (place - kPage));
            ASSERT_EQ(run.length(), std::min(length, rest));
            if (!whole.ok()) continue;
            ASSERT_EQ(whole.start(), run.start());
            ASSERT_EQ(whole.length(), length);
          }
        }
      }
    }
    const Mapping wrapped = memory.Map(base + kPage, ~std::uint64_t{0}, 1, Access::kRead, nullptr);
    ASSERT_FALSE(wrapped.ok());
    EXPECT_EQ(wrapped.fault().fault, Fault::kOverflow);
  }
}

// Also where the base of a table's granule comes first.
TEST(StatelessRegion, ACallReadsEachWordOfTheTableOnceAndUsesWhatItRead) {
  for (const std::uint64_t granules : {5u, 700u}) {
    TestRegion region(granules, ByteOrder::kLittle);
    for (std::uint64_t i = 1; i <= 3; ++i) region.BackOne(granules - i, 7);
    testing::ChangingMemory changing(region.memory, region.table_pages);
    const auto table = OpenTable(changing, region.table.handle(), ByteOrder::kLittle);
    ASSERT_TRUE(table.ok());
    SpaceOver space(StatelessRegion{*table}, changing);
    std::vector<unsigned char> bytes(3 * kPage);
    EXPECT_TRUE(CopyFrom(space, region.Pointer(granules - 3), 0, bytes.data(), bytes.size()).ok());
    EXPECT_TRUE(
        std::all_of(bytes.begin(), bytes.end(), [](unsigned char byte) { return byte == 7; }));
    EXPECT_EQ(changing.read_twice(), 0u);
  }
}

TEST(StatelessRegion, SeesOneOfTwoBasesNeverAMixWhileAnotherVcpuWrites) {
  TestRegion region(4, ByteOrder::kBig);
  // Chosen so that a torn read would be neither.
  const std::uint64_t a = 0x0000'0001'0000'1000, b = 0x0000'0002'0000'2000;
  region.memory.AddPage(a, 'a');
  region.memory.AddPage(b, 'b');
  ASSERT_TRUE(region.table.Back(2, {a}).ok());
  const auto table = OpenTable(region.memory, region.table.handle(), ByteOrder::kBig);
  ASSERT_TRUE(table.ok());
  std::byte* word = region.memory.At(region.table.handle().value + BaseOffset(2));
  std::atomic<bool> stop = false;
  std::thread mutator([&] {
    while (!stop) {
      StoreSharedField(word, a, ByteOrder::kBig);
      StoreSharedField(word, b, ByteOrder::kBig);
    }
  });
  SpaceOver space(StatelessRegion{*table}, region.memory);
  for (int i = 0; i < 100'000; ++i) {
    char bytes[2];
    ASSERT_TRUE(CopyFrom(space, region.Pointer(2), 0, bytes, 2).ok());
    ASSERT_TRUE((bytes[0] == 'a' || bytes[0] == 'b') && bytes[0] == bytes[1]);
  }
  stop = true;
  mutator.join();
}

}  // namespace
}  // namespace xencomm
