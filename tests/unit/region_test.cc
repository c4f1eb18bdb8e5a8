// The region format, and the kernel's part that writes it.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "tests/unit/fake_memory.h"
#include "tests/unit/test_region.h"
#include "xencomm/region_table.h"
#include "xencomm/region_translation.h"

namespace xencomm {
namespace {

using testing::FakeMemory;
using testing::kBase;
using testing::kPage;
using testing::LayoutOf;
using testing::ScatteredPages;
using testing::TestRegion;

// ---- The shape -----------------------------------------------------------------------------

TEST(RegionLayout, ReachesEveryGranuleInTheStatedNumberOfBaseReads) {
  struct Row {
    std::uint64_t granules, table_granules;
    unsigned reads;  // to reach the last one
  };
  // The table of the design, and both sides of each step.
  for (const Row& row : {Row{2, 1, 1},
                         {507, 1, 1},
                         {508, 1, 1},
                         {509, 2, 2},
                         {1020, 2, 2},
                         {260'091, 508, 2},
                         {260'092, 508, 2},
                         {260'093, 509, 3},
                         {262'144, 513, 3}}) {
    const RegionLayout layout = LayoutOf(row.granules);
    EXPECT_EQ(layout.table_granules(), row.table_granules) << row.granules;
    EXPECT_EQ(layout.BaseReads(row.granules - 1), row.reads) << row.granules;
  }
  EXPECT_EQ(LayoutOf(262'144).BaseReads(260'091), 2u);
  EXPECT_EQ(LayoutOf(262'144).BaseReads(260'092), 3u);
}

TEST(RegionLayout, BaseChainsOfAGibibyteAreThoseOfTheDesign) {
  const RegionLayout layout = LayoutOf(262'144);
  EXPECT_EQ(layout.BaseGranule(262'143), 512u);
  EXPECT_EQ(layout.BaseGranule(512), 1u);
  EXPECT_EQ(layout.BaseGranule(1), 0u);
}

TEST(RegionLayout, EveryBaseLiesInALowerGranuleForEveryShift) {
  for (unsigned shift = kMinGranuleShift; shift <= kMaxGranuleShift; ++shift) {
    const std::uint64_t most = shift < 32 ? 0xffff'ffffu : 0;
    const RegionLayout layout = LayoutOf(most, shift, {0});
    const std::uint64_t per_granule = layout.granule_size() / 8;
    for (std::uint64_t i :
         {std::uint64_t{1}, std::uint64_t{2}, per_granule - 5, per_granule - 4, per_granule - 3,
          std::uint64_t{507}, std::uint64_t{508}, std::uint64_t{509}, std::uint64_t{260'091},
          std::uint64_t{260'092}, most - 2, most - 1}) {
      EXPECT_LT(layout.BaseGranule(i), i) << "shift " << shift << " base " << i;
      EXPECT_LE(layout.BaseReads(i), kMaxBaseReads) << "shift " << shift << " base " << i;
    }
  }
}

TEST(RegionLayout, PayloadBeginsBehindTheTable) {
  EXPECT_EQ(LayoutOf(1).payload_offset(), 40u);  // the page form shares its granule
  EXPECT_EQ(LayoutOf(2).payload_offset(), kPage);
  EXPECT_EQ(LayoutOf(508).payload_offset(), kPage);
  EXPECT_EQ(LayoutOf(509).payload_offset(), 2 * kPage);
  EXPECT_EQ(LayoutOf(2, 16).payload_offset(), 65536u);
}

TEST(RegionLayout, RefusesNumbersThatCannotBeARegions) {
  struct Row {
    std::uint64_t base, length;
    unsigned shift;
    Fault fault;
    const char* what;
  };
  const std::uint64_t top = ~std::uint64_t{0} - kPage + 1;
  for (const Row& row : {
           Row{0, kPage, 11, Fault::kBadHeader, "granule below 4 KiB"},
           {0, std::uint64_t{1} << 31, 31, Fault::kBadHeader, "granule above 1 GiB"},
           {8, kPage, 12, Fault::kMisaligned, "base inside a granule"},
           {kPage, 65536, 16, Fault::kMisaligned, "base aligned to a page only"},
           {0, 0, 12, Fault::kBadHeader, "empty"},
           {0, kPage + 8, 12, Fault::kBadHeader, "a part of a granule"},
           {0, kPage << 32, 12, Fault::kBadHeader, "more bases than 32 bits count"},
           {top, 2 * kPage, 12, Fault::kOverflow, "past 2^64"},
       }) {
    EXPECT_EQ(RegionLayout::Make({row.base}, row.length, row.shift).fault().fault, row.fault)
        << row.what;
  }
  EXPECT_TRUE(RegionLayout::Make({top}, kPage, 12).ok()) << "ending exactly at 2^64";
}

// ---- The header ----------------------------------------------------------------------------

class RegionHeaderTest : public ::testing::TestWithParam<ByteOrder> {
 protected:
  std::array<std::byte, sizeof(RegionHeader)> Stored(const RegionLayout& layout) {
    std::array<std::byte, sizeof(RegionHeader)> bytes;
    layout.Store(bytes.data(), GetParam());
    return bytes;
  }
};

std::string OrderName(const ::testing::TestParamInfo<ByteOrder>& order) {
  return order.param == ByteOrder::kLittle ? "Little" : "Big";
}
INSTANTIATE_TEST_SUITE_P(Orders, RegionHeaderTest,
                         ::testing::Values(ByteOrder::kLittle, ByteOrder::kBig), OrderName);

TEST_P(RegionHeaderTest, ReadsBackWhatWasStored) {
  for (unsigned shift : {12u, 16u, 21u, 30u}) {
    const RegionLayout layout = LayoutOf(3, shift, {std::uint64_t{1} << 40});
    const Result<RegionLayout> parsed = RegionLayout::Parse(Stored(layout).data(), GetParam());
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, layout);
  }
}

TEST(RegionHeader, HasTheBytesOfTheDesign) {
  std::array<std::byte, sizeof(RegionHeader)> bytes;
  RegionLayout::Make({0x1122'3344'5566'7000}, 2 * kPage, 12)->Store(bytes.data(), ByteOrder::kBig);
  const unsigned char expected[] = {0x58, 0x43, 0x52, 0x47, 0, 1, 12, 0, 0x11, 0x22, 0x33,
                                    0x44, 0x55, 0x66, 0x70, 0, 0, 0,  0, 0,    0,    0,
                                    32,   0,    0,    0,    0, 2, 0,  0, 0,    0};
  EXPECT_EQ(std::memcmp(bytes.data(), expected, sizeof(expected)), 0);
}

TEST_P(RegionHeaderTest, RefusesEachDamagedField) {
  struct Row {
    std::size_t offset;
    std::size_t size;
    std::uint64_t value;
    Fault fault;
    const char* what;
  };
  for (const Row& row : {
           Row{offsetof(RegionHeader, magic), 4, 0x58435248, Fault::kBadMagic, "magic"},
           {offsetof(RegionHeader, magic), 4, 0x58434f4d, Fault::kBadMagic, "XCOM's magic"},
           {offsetof(RegionHeader, magic), 4, __builtin_bswap32(kRegionMagic), Fault::kByteOrder,
            "magic swapped"},
           {offsetof(RegionHeader, version), 2, 0, Fault::kBadVersion, "version 0"},
           {offsetof(RegionHeader, version), 2, 2, Fault::kBadVersion, "version 2"},
           {offsetof(RegionHeader, granule_shift), 1, 11, Fault::kBadHeader, "shift 11"},
           {offsetof(RegionHeader, granule_shift), 1, 255, Fault::kBadHeader, "shift 255"},
           {offsetof(RegionHeader, flags), 1, 1, Fault::kBadHeader, "flags"},
           {offsetof(RegionHeader, virtual_base), 8, 1, Fault::kMisaligned, "base"},
           {offsetof(RegionHeader, virtual_base), 8, ~std::uint64_t{0} - 4095, Fault::kOverflow,
            "base at the end"},
           {offsetof(RegionHeader, length), 8, 0, Fault::kBadHeader, "no length"},
           {offsetof(RegionHeader, length), 8, ~std::uint64_t{0}, Fault::kBadHeader, "odd length"},
           {offsetof(RegionHeader, length), 8, 4 * kPage, Fault::kBadHeader, "count unlike length"},
           {offsetof(RegionHeader, base_count), 4, 4, Fault::kBadHeader, "length unlike count"},
           {offsetof(RegionHeader, reserved), 4, 1, Fault::kBadHeader, "reserved"},
       }) {
    auto bytes = Stored(LayoutOf(3));
    std::byte* field = bytes.data() + row.offset;
    if (row.size == 1) StoreField(field, static_cast<std::uint8_t>(row.value), GetParam());
    if (row.size == 2) StoreField(field, static_cast<std::uint16_t>(row.value), GetParam());
    if (row.size == 4) StoreField(field, static_cast<std::uint32_t>(row.value), GetParam());
    if (row.size == 8) StoreField(field, row.value, GetParam());
    EXPECT_EQ(RegionLayout::Parse(bytes.data(), GetParam()).fault().fault, row.fault) << row.what;
  }
}

TEST_P(RegionHeaderTest, RefusesTheOtherByteOrder) {
  EXPECT_EQ(RegionLayout::Parse(Stored(LayoutOf(3)).data(), Opposite(GetParam())).fault().fault,
            Fault::kByteOrder);
}

// ---- The table, written by the kernel's part and read by both translations ------------------

TEST_P(RegionHeaderTest, TableIsReachedThroughItself) {
  for (std::uint64_t granules : {2u, 508u, 509u, 1021u, 5000u}) {
    TestRegion region(granules, GetParam());
    const PhysicalAddress last = region.BackOne(granules - 1);
    const auto table = OpenTable(region.memory, region.table.handle(), GetParam());
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(table->layout(), region.layout);
    TableReader<FakeMemory>::Cursor cursor;
    const auto base = table->Base(granules - 1, cursor);
    ASSERT_TRUE(base.ok());
    EXPECT_EQ(*base, last);
    for (std::uint64_t i = 0; i < region.table_pages.size(); ++i) {
      TableReader<FakeMemory>::Cursor fresh;
      EXPECT_EQ(*table->Base(i, fresh), region.table_pages[i]);
    }
  }
}

TEST(RegionTable, ReadsNoMoreBasesThanTheLayoutSays) {
  TestRegion region(262'144, ByteOrder::kBig);
  region.BackOne(262'143);
  const auto table = OpenTable(region.memory, region.table.handle(), ByteOrder::kBig);
  TableReader<FakeMemory>::Cursor cursor;
  const std::uint64_t before = region.memory.maps();
  ASSERT_TRUE(table->Base(262'143, cursor).ok());
  EXPECT_EQ(region.memory.maps() - before, region.layout.BaseReads(262'143));
  // A neighbour in the same page of the table costs no look at memory.
  EXPECT_EQ(table->Base(262'142, cursor).fault().fault, Fault::kNotBacked);
  EXPECT_EQ(region.memory.maps() - before, region.layout.BaseReads(262'143));
}

TEST(RegionTable, NeverReplacesALiveBase) {
  TestRegion region(4, ByteOrder::kLittle);
  const PhysicalAddress first = region.BackOne(2);
  const PhysicalAddress other = ScatteredPages(region.memory, 1, 0, 9000)[0];
  EXPECT_EQ(region.table.Back(2, other).fault, Fault::kNotWritable);
  EXPECT_EQ(*region.table.Base(2), first);
}

TEST(RegionTable, RefusesWhatIsNotAPayloadGranule) {
  TestRegion region(509, ByteOrder::kLittle);
  const PhysicalAddress page = ScatteredPages(region.memory, 1, 0, 9000)[0];
  EXPECT_EQ(region.table.Back(0, page).fault, Fault::kInTable);
  EXPECT_EQ(region.table.Back(1, page).fault, Fault::kInTable);
  EXPECT_TRUE(region.table.Back(2, page).ok());
  EXPECT_EQ(region.table.Back(509, page).fault, Fault::kOutOfRange);
  EXPECT_EQ(region.table.Base(508).fault().fault, Fault::kNotBacked);
  EXPECT_EQ(region.table.Base(509).fault().fault, Fault::kOutOfRange);
  EXPECT_EQ(region.table.Base(1 << 20).fault().fault, Fault::kOutOfRange);
  EXPECT_EQ(region.table.Back(3, page + 8).fault, Fault::kMisaligned);
}

TEST(RegionTable, RefusesTheWrongNumberOfTableGranules) {
  FakeMemory memory;
  const auto pages = ScatteredPages(memory, 2);
  const auto build = [&](std::uint64_t granules) {
    return RegionTable<FakeMemory>::Build(memory, LayoutOf(granules), ByteOrder::kLittle, pages)
        .fault()
        .fault;
  };
  EXPECT_EQ(build(508), Fault::kOutOfRange);
  EXPECT_EQ(build(509), Fault::kNone);
  EXPECT_EQ(build(1021), Fault::kOutOfRange);
}

TEST(RegionTable, FailsWithoutARegionWhenItsMemoryIsGone) {
  FakeMemory memory;
  auto pages = ScatteredPages(memory, 2);
  memory.RemovePage(pages[1].value);
  EXPECT_EQ(RegionTable<FakeMemory>::Build(memory, LayoutOf(509), ByteOrder::kLittle, pages)
                .fault()
                .fault,
            Fault::kNoMemory);
  EXPECT_EQ(OpenTable(memory, pages[0], ByteOrder::kLittle).fault().fault, Fault::kBadMagic);
}

TEST(RegionTable, HandleMustBeTheFirstBase) {
  TestRegion region(4, ByteOrder::kLittle);
  // A copy of a table elsewhere: the forged header of a hostile process.
  const PhysicalAddress copy = ScatteredPages(region.memory, 1, 0, 9000)[0];
  std::memcpy(region.memory.At(copy.value), region.memory.At(region.table.handle().value), kPage);
  EXPECT_EQ(OpenTable(region.memory, copy, ByteOrder::kLittle).fault().fault, Fault::kBadHeader);
  EXPECT_EQ(OpenTable(region.memory, region.table.handle() + 8, ByteOrder::kLittle).fault().fault,
            Fault::kMisaligned);
  EXPECT_EQ(OpenTable(region.memory, {0x1000}, ByteOrder::kLittle).fault().fault, Fault::kNoMemory);
}

// The bases that lead to a granule, and then its own; the last one tells why there is no more.
TEST_P(RegionHeaderTest, TraceShowsEachBaseAsItWasRead) {
  constexpr std::uint64_t kGranule = 262'143;
  constexpr std::uint64_t kChain[] = {1, 512, kGranule};
  TestRegion region(kGranule + 1, GetParam());
  const StatelessRegion<FakeMemory> stateless = region.table.AsStateless();
  const VirtualAddress pointer = region.layout.virtual_base() + kGranule * kPage + 0x123;
  const auto expect_steps = [&](const Trace& trace, std::uint64_t last) {
    ASSERT_EQ(trace.count, std::size(kChain));
    for (unsigned i = 0; i < trace.count; ++i) {
      const Step& step = trace.steps[i];
      const std::uint64_t at = BaseOffset(kChain[i]);
      EXPECT_STREQ(step.table, "base");
      EXPECT_EQ(step.level, 0u);
      EXPECT_EQ(step.index, kChain[i]);
      EXPECT_EQ(step.address, region.table_pages[at / kPage] + at % kPage);
      EXPECT_EQ(step.entry, i == 2 ? last : region.table_pages[kChain[i]].value);
    }
  };
  const Trace before = stateless.TraceOf(pointer);
  EXPECT_EQ(before.end.fault().fault, Fault::kNotBacked);
  expect_steps(before, kNotBackedBase);

  const PhysicalAddress last = region.BackOne(kGranule);
  const Trace backed = stateless.TraceOf(pointer);
  ASSERT_TRUE(backed.end.ok());
  EXPECT_EQ(backed.end.start(), last + 0x123);
  EXPECT_EQ(backed.end.length(), kPage - 0x123);
  expect_steps(backed, last.value);

  const Trace table = stateless.TraceOf(region.layout.virtual_base() + 8);
  EXPECT_EQ(table.end.fault().fault, Fault::kInTable);
  EXPECT_EQ(table.count, 0u);
}

}  // namespace
}  // namespace xencomm
