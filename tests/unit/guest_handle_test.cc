// Typed guest handles: indices, sub-ranges, directions, byte order.
#include "xencomm/guest_handle.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/unit/fake_memory.h"
#include "xencomm/descriptor.h"

namespace xencomm {
namespace {

using testing::FakeMemory;
using testing::kPage;

struct Extent {
  std::uint64_t gfn;
  std::uint32_t order;
  std::uint32_t flags;
  friend bool operator==(const Extent&, const Extent&) = default;
};
void SwapBytes(Extent& extent) {
  xencomm::SwapBytes(extent.gfn);
  xencomm::SwapBytes(extent.order);
  xencomm::SwapBytes(extent.flags);
}

struct Padded {
  std::uint8_t small;
  std::uint64_t large;
};
void SwapBytes(Padded& padded) { xencomm::SwapBytes(padded.large); }

// Direction is part of the type: what must not compile.
template <class Handle, class T>
concept CanWrite = requires(const Handle& handle, const T& value) {
  handle.Write(0, value);
};
static_assert(CanWrite<GuestHandle<Extent>, Extent>);
static_assert(!CanWrite<GuestHandle<const Extent>, Extent>);
static_assert(!CanWrite<GuestHandle<Padded>, Padded>, "padding would leak the stack");
static_assert(CanWrite<GuestHandle<Padded>, Cleared<Padded>>);
static_assert(!std::is_convertible_v<GuestHandle<const Extent>, GuestHandle<Extent>>);
static_assert(std::is_convertible_v<GuestHandle<Extent>, GuestHandle<const Extent>>);

class GuestHandleTest : public ::testing::TestWithParam<ByteOrder> {
 protected:
  GuestHandleTest() {
    // Two pages that are neighbours for the guest and strangers here.
    memory_.AddPage(0x8000, 0xcc);
    memory_.AddPage(0x9000, 0xcc);
  }

  GuestHandle<Extent> HandleAt(std::uint64_t physical, std::uint64_t count) {
    return GuestHandle<Extent>(space_, InlineAddress({physical}), count, GetParam());
  }

  FakeMemory memory_;
  SpaceOver<XcomTranslation<FakeMemory>, FakeMemory> space_{
      XcomTranslation<FakeMemory>(memory_, GetParam()), memory_};
};

INSTANTIATE_TEST_SUITE_P(Orders, GuestHandleTest,
                         ::testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& order) {
                           return order.param == ByteOrder::kLittle ? "Little" : "Big";
                         });

TEST_P(GuestHandleTest, ReadsAndWritesElementsInTheDomainsOrder) {
  const GuestHandle<Extent> handle = HandleAt(0x8000, 3);
  const Extent extent = {0x0102'0304'0506'0708, 9, 1};
  EXPECT_EQ(handle.Write(1, extent).bytes, sizeof(Extent));
  EXPECT_EQ(memory_.Get<std::uint64_t>(0x8010, GetParam()), extent.gfn);
  EXPECT_EQ(memory_.Get<std::uint32_t>(0x8018, GetParam()), extent.order);
  EXPECT_EQ(memory_.Get<std::uint8_t>(0x800f, GetParam()), 0xcc) << "neighbours are untouched";
  EXPECT_EQ(memory_.Get<std::uint8_t>(0x8020, GetParam()), 0xcc);
  Extent back = {};
  EXPECT_EQ(handle.Read(1, back).bytes, sizeof(Extent));
  EXPECT_EQ(back, extent);
}

TEST_P(GuestHandleTest, ElementsMayStraddlePages) {
  const GuestHandle<Extent> handle = HandleAt(0x8ff8, 4);
  std::vector<Extent> extents = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}};
  EXPECT_EQ(handle.Write(0, std::span<const Extent>(extents)).bytes, 64u);
  Extent one = {};
  ASSERT_TRUE(handle.Read(0, one).ok());
  EXPECT_EQ(one, extents[0]);
  std::vector<Extent> back(4);
  ASSERT_TRUE(handle.Read(0, std::span<Extent>(back)).ok());
  EXPECT_EQ(back, extents);
  ASSERT_TRUE(handle.Write(0, Extent{9, 9, 9}).ok());
  EXPECT_EQ(memory_.Get<std::uint32_t>(0x9000, GetParam()), 9u);
}

TEST_P(GuestHandleTest, IndicesOutsideAreFaultsAndTouchNothing) {
  const GuestHandle<Extent> handle = HandleAt(0x8000, 2);
  const std::uint64_t before = memory_.maps();
  Extent extent = {};
  std::array<Extent, 2> two = {};
  const auto expect_out = [&](const CopyResult& result, std::uint64_t index) {
    EXPECT_EQ(result.fault.fault, Fault::kOutOfRange) << index;
    EXPECT_EQ(result.bytes, 0u) << index;
    // Where that element would be.
    EXPECT_EQ(result.address, InlineAddress({0x8000}) + index * sizeof(Extent)) << index;
  };
  for (std::uint64_t index : {std::uint64_t{2}, std::uint64_t{1} << 60, ~std::uint64_t{0}}) {
    expect_out(handle.Read(index, extent), index);
    expect_out(handle.Read(index, std::span<Extent>(two)), index);
    expect_out(handle.Write(index, extent), index);
    expect_out(handle.Write(index, std::span<const Extent>(two)), index);
    expect_out(handle.Clear(index, 1), index);
  }
  expect_out(handle.Write(1, std::span<const Extent>(two)), 1);
  expect_out(handle.Clear(1, 2), 1);
  EXPECT_EQ(handle.Read(1, std::span<Extent>(two)).fault.fault, Fault::kOutOfRange);
  EXPECT_EQ(handle.Clear(1, ~std::uint64_t{0}).fault.fault, Fault::kOutOfRange);
  EXPECT_EQ(memory_.maps(), before);
}

TEST_P(GuestHandleTest, CountsThatOverflowAreRefused) {
  const std::uint64_t fits = ~std::uint64_t{0} / sizeof(Extent);
  const auto make = [&](std::uint64_t count) {
    return GuestHandle<Extent>::Make(space_, {0}, count, GetParam()).fault().fault;
  };
  EXPECT_EQ(make(fits), Fault::kNone);
  EXPECT_EQ(make(fits + 1), Fault::kOverflow);
  EXPECT_EQ(make(~std::uint64_t{0}), Fault::kOverflow);
}

TEST_P(GuestHandleTest, StopsWhereMemoryEndsAndSaysHowFarItCame) {
  const GuestHandle<Extent> handle = HandleAt(0x9ff0, 3);
  std::array<Extent, 3> three = {};
  const CopyResult read = handle.Read(0, std::span<Extent>(three));
  EXPECT_EQ(read.bytes, 16u);
  EXPECT_EQ(read.fault.fault, Fault::kNoMemory);
  EXPECT_EQ(read.address, InlineAddress({0xa000}));
  const CopyResult written = handle.Write(0, std::span<const Extent>(three));
  EXPECT_EQ(written.bytes, 16u);
  EXPECT_EQ(written.fault.fault, Fault::kNoMemory);
  EXPECT_EQ(handle.Probe().fault.fault, Fault::kNoMemory);
  EXPECT_TRUE(HandleAt(0x9ff0, 1).Probe().ok());
}

TEST_P(GuestHandleTest, ReadOnlyFramesRefuseWrites) {
  memory_.SetReadOnly(0x9000);
  const GuestHandle<Extent> handle = HandleAt(0x8ff8, 1);
  const CopyResult result = handle.Write(0, Extent{1, 2, 3});
  EXPECT_EQ(result.fault.fault, Fault::kNotWritable);
  EXPECT_EQ(result.bytes, 8u);
  const GuestHandle<const Extent> readable = handle;
  EXPECT_TRUE(readable.Probe().ok());
  EXPECT_FALSE(handle.Probe().ok());
}

TEST_P(GuestHandleTest, PaddingLeavesAsZeros) {
  GuestHandle<Padded> handle(space_, InlineAddress({0x8000}), 1, GetParam());
  Cleared<Padded> value;
  value->small = 1;
  value->large = 2;
  ASSERT_TRUE(handle.Write(0, value).ok());
  for (std::uint64_t i = 1; i < 8; ++i) EXPECT_EQ(*memory_.At(0x8000 + i), std::byte{0}) << i;
  EXPECT_EQ(memory_.Get<std::uint64_t>(0x8008, GetParam()), 2u);
}

TEST_P(GuestHandleTest, NoElementsTouchNothing) {
  const GuestHandle<Extent> handle(space_, {0}, 0, GetParam());
  EXPECT_TRUE(handle.is_null());
  EXPECT_TRUE(handle.Read(0, std::span<Extent>()).ok());
  EXPECT_TRUE(handle.Write(0, std::span<const Extent>()).ok());
  EXPECT_TRUE(handle.Clear(0, 0).ok());
  EXPECT_TRUE(handle.Probe().ok());
  EXPECT_EQ(memory_.maps(), 0u);
}

}  // namespace
}  // namespace xencomm
