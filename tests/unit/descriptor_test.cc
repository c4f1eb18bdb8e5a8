// Historical descriptors and inline addresses.
#include "xencomm/descriptor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/unit/fake_memory.h"
#include "xencomm/copy.h"

namespace xencomm {
namespace {

using testing::FakeMemory;
using testing::HalfPages;
using testing::kPage;
using testing::ScatteredPages;

class DescriptorTest : public ::testing::TestWithParam<ByteOrder> {
 protected:
  // A descriptor at `place` of a buffer that begins `within` its first page.
  void Put(std::uint64_t place, std::uint64_t within, const std::vector<PhysicalAddress>& pages) {
    std::vector<std::byte> bytes(DescriptorBytes(pages.size()));
    StoreDescriptor(bytes.data(), static_cast<std::uint32_t>(pages.size()), GetParam(),
                    [&](std::uint32_t i) { return pages[i] + (i == 0 ? within : 0); });
    for (std::size_t i = 0; i < bytes.size(); ++i) *memory_.At(place + i) = bytes[i];
  }
  CopyResult Read(std::uint64_t pointer, std::uint64_t offset, std::uint64_t length) {
    buffer_.assign(std::max<std::uint64_t>(length, 1), 0);
    return CopyFrom(space_, {pointer}, offset, buffer_.data(), length);
  }
  Fault ReadFault(std::uint64_t pointer, std::uint64_t offset, std::uint64_t length) {
    return Read(pointer, offset, length).fault.fault;
  }

  FakeMemory memory_;
  SpaceOver<XcomTranslation<FakeMemory>, FakeMemory> space_{
      XcomTranslation<FakeMemory>(memory_, GetParam()), memory_};
  std::vector<unsigned char> buffer_;
};

INSTANTIATE_TEST_SUITE_P(Orders, DescriptorTest,
                         ::testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& order) {
                           return order.param == ByteOrder::kLittle ? "Little" : "Big";
                         });

constexpr std::uint64_t kPlace = 0x5000;

TEST(Descriptor, HasTheBytesOfXensHeader) {
  std::byte bytes[DescriptorBytes(1)];
  StoreDescriptor(bytes, 1, ByteOrder::kBig,
                  [](std::uint32_t) { return PhysicalAddress{0x0102'0304'0506'0708}; });
  const unsigned char expected[] = {0x58, 0x43, 0x4f, 0x4d, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(std::memcmp(bytes, expected, sizeof(expected)), 0);
}

TEST(Descriptor, CountsTheEntriesThatABufferNeeds) {
  EXPECT_EQ(DescriptorEntries(0, 1), 1u);
  EXPECT_EQ(DescriptorEntries(0, kPage), 1u);
  EXPECT_EQ(DescriptorEntries(0, kPage + 1), 2u);
  EXPECT_EQ(DescriptorEntries(4095, 1), 1u);
  EXPECT_EQ(DescriptorEntries(4095, 2), 2u);
  EXPECT_EQ(DescriptorEntries(8, 0), 1u) << "an offset has a page even with no bytes behind it";
}

TEST_P(DescriptorTest, CopiesAcrossPages) {
  memory_.AddPage(kPlace);
  const auto pages = ScatteredPages(memory_, 3);
  Put(kPlace, 4000, pages);
  std::vector<unsigned char> out(96 + kPage + 100);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(i * 7);
  ASSERT_TRUE(CopyTo(space_, {kPlace}, 0, out.data(), out.size()).ok());
  EXPECT_EQ(*memory_.At(pages[1].value), static_cast<std::byte>(out[96]));
  EXPECT_EQ(*memory_.At(pages[2].value + 99), static_cast<std::byte>(out.back()));
  for (std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{95}, std::uint64_t{96}, 96 + kPage - 1, 96 + kPage}) {
    ASSERT_TRUE(Read(kPlace, offset, out.size() - offset).ok()) << offset;
    EXPECT_TRUE(std::equal(buffer_.begin(), buffer_.end(),
                           out.begin() + static_cast<std::ptrdiff_t>(offset)))
        << offset;
  }
}

TEST_P(DescriptorTest, ReachesExactlyTheLastPagesEnd) {
  memory_.AddPage(kPlace);
  Put(kPlace, 100, ScatteredPages(memory_, 2));
  EXPECT_EQ(Read(kPlace, 0, 2 * kPage - 100).bytes, 2 * kPage - 100);
  const CopyResult past = Read(kPlace, 0, 2 * kPage - 99);
  EXPECT_EQ(past.fault.fault, Fault::kOutOfRange);
  EXPECT_EQ(past.bytes, 2 * kPage - 100);
}

TEST_P(DescriptorTest, HeadAtAPagesEndContinuesInTheNextPage) {
  memory_.AddPage(0x5000);
  memory_.AddPage(0x6000);
  const auto pages = ScatteredPages(memory_, 4, 9);
  Put(0x5ff8, 0, pages);
  EXPECT_TRUE(Read(0x5ff8, 0, 4 * kPage).ok());
  EXPECT_EQ(buffer_.back(), 9);
}

TEST_P(DescriptorTest, CoversAGibibyteByAnArrayOverManyPages) {
  const std::uint64_t entries = 262'144;
  for (std::uint64_t at = 0; at <= DescriptorBytes(entries); at += kPage) {
    memory_.AddPage(0x1000'0000 + at, 0xff);
  }
  const auto last = ScatteredPages(memory_, 1, 5)[0];
  Put(0x1000'0000, 0, {last});
  memory_.Put(0x1000'0000 + 4, static_cast<std::uint32_t>(entries), GetParam());
  memory_.Put(0x1000'0000 + DescriptorBytes(entries - 1), last.value, GetParam());
  EXPECT_TRUE(Read(0x1000'0000, entries * kPage - 1, 1).ok());
  EXPECT_EQ(buffer_[0], 5);
  EXPECT_EQ(ReadFault(0x1000'0000, entries * kPage, 1), Fault::kOutOfRange);
  EXPECT_EQ(ReadFault(0x1000'0000, (entries - 1) * kPage - 1, 1), Fault::kNotBacked);
}

TEST_P(DescriptorTest, MayLieInTheFirstPageOfAll) {
  memory_.AddPage(0);
  Put(8, 0, ScatteredPages(memory_, 2, 4));
  EXPECT_TRUE(Read(8, 0, 2 * kPage).ok());
  EXPECT_EQ(buffer_.back(), 4);
}

TEST_P(DescriptorTest, ACopyLooksEachPageOfTheArrayUpOnce) {
  memory_.AddPage(kPlace);
  memory_.AddPage(kPlace + kPage);
  const std::uint64_t entries = 600;
  Put(kPlace, 0, ScatteredPages(memory_, entries));
  const std::uint64_t before = memory_.maps();
  ASSERT_TRUE(Read(kPlace, 0, entries * kPage).ok());
  // The head, two pages of entries, and the pages that they name.
  EXPECT_EQ(memory_.maps() - before, 1 + 2 + entries);
}

TEST_P(DescriptorTest, TheArrayIsInWholePages) {
  memory_.AddPage(kPlace);
  Put(kPlace, 0, ScatteredPages(memory_, 2));
  HalfPages memory{memory_};
  SpaceOver space(XcomTranslation<HalfPages>(memory, GetParam()), memory);
  const Mapping run = space.Map({kPlace}, 0, 1, Access::kRead, nullptr);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.fault().fault, Fault::kNoMemory);
}

TEST_P(DescriptorTest, RefusesWhatIsNotADescriptor) {
  memory_.AddPage(kPlace);
  const auto pages = ScatteredPages(memory_, 2);
  Put(kPlace, 0, pages);
  EXPECT_EQ(ReadFault(0, 0, 1), Fault::kNull) << "null and malformed are different answers";
  EXPECT_EQ(ReadFault(kPlace + 4, 0, 1), Fault::kMisaligned);
  EXPECT_EQ(ReadFault(0x4000, 0, 1), Fault::kNoMemory);
  memory_.Put(kPlace, std::uint32_t{0x58434f4e}, GetParam());
  EXPECT_EQ(ReadFault(kPlace, 0, 1), Fault::kBadMagic);
  memory_.Put(kPlace, kDescriptorMagic, Opposite(GetParam()));
  EXPECT_EQ(ReadFault(kPlace, 0, 1), Fault::kByteOrder);
  memory_.Put(kPlace, kDescriptorMagic, GetParam());
  EXPECT_EQ(ReadFault(kPlace, 0, 1), Fault::kNone);
  memory_.Put(kPlace + 4, std::uint32_t{0}, GetParam());
  EXPECT_EQ(ReadFault(kPlace, 0, 1), Fault::kOutOfRange) << "a descriptor of nothing";
}

TEST_P(DescriptorTest, RefusesAnInvalidOrMisalignedEntryInsteadOfSkippingIt) {
  memory_.AddPage(kPlace);
  const auto pages = ScatteredPages(memory_, 3, 1);
  Put(kPlace, 0, pages);
  memory_.Put(kPlace + DescriptorBytes(1), kDescriptorInvalid, GetParam());
  const CopyResult result = Read(kPlace, 0, 3 * kPage);
  EXPECT_EQ(result.fault.fault, Fault::kNotBacked);
  EXPECT_EQ(result.bytes, kPage);
  EXPECT_EQ(ReadFault(kPlace, 2 * kPage, kPage), Fault::kNone) << "outside the range wanted";
  memory_.Put(kPlace + DescriptorBytes(1), pages[1].value + 8, GetParam());
  EXPECT_EQ(ReadFault(kPlace, kPage, 1), Fault::kMisaligned);
  memory_.Put(kPlace + DescriptorBytes(0), kDescriptorInvalid, GetParam());
  EXPECT_EQ(ReadFault(kPlace, 0, 1), Fault::kNotBacked);
}

TEST_P(DescriptorTest, ArrayThatRunsOutOfMemoryFaults) {
  memory_.AddPage(kPlace);
  const auto pages = ScatteredPages(memory_, 1);
  Put(kPlace + kPage - 16, 0, pages);
  memory_.Put(kPlace + kPage - 16 + 4, std::uint32_t{2}, GetParam());
  EXPECT_EQ(ReadFault(kPlace + kPage - 16, kPage, 1), Fault::kNoMemory);
}

TEST_P(DescriptorTest, LeavesTheGuestsDescriptorUnchanged) {
  memory_.AddPage(kPlace);
  Put(kPlace, 7, ScatteredPages(memory_, 3));
  std::vector<std::byte> before(memory_.At(kPlace), memory_.At(kPlace) + kPage);
  ASSERT_TRUE(CopyTo(space_, {kPlace}, kPage + 5, "abc", 3).ok());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), memory_.At(kPlace)));
}

TEST_P(DescriptorTest, OffsetsThatWrapAreRefused) {
  memory_.AddPage(kPlace);
  Put(kPlace, 8, ScatteredPages(memory_, 1));
  EXPECT_EQ(ReadFault(kPlace, ~std::uint64_t{0} - 3, 1), Fault::kOverflow);
  EXPECT_EQ(ReadFault(kPlace, std::uint64_t{1} << 52, 1), Fault::kOutOfRange);
}

TEST_P(DescriptorTest, InlineAddressNamesTheBytesThemselves) {
  memory_.AddPage(0x7000, 3);
  EXPECT_TRUE(Read(InlineAddress({0x7000}).value, 4, 8).ok());
  EXPECT_EQ(buffer_[0], 3);
  EXPECT_EQ(ReadFault(InlineAddress({0x7ffc}).value, 0, 8), Fault::kNoMemory);
  EXPECT_EQ(ReadFault(~std::uint64_t{0}, 1, 1), Fault::kOverflow);
  EXPECT_EQ(ReadFault(kInlineFlag | 0x7000, kInlineFlag, 1), Fault::kOverflow)
      << "an offset must not carry into the flag";
}

TEST_P(DescriptorTest, ZeroBytesTouchNothing) {
  const std::uint64_t before = memory_.maps();
  EXPECT_TRUE(Read(4, 0, 0).ok());
  EXPECT_TRUE(Read(0, 5, 0).ok());
  EXPECT_EQ(memory_.maps(), before);
}

TEST_P(DescriptorTest, ACopyReadsEachWordOnceAndUsesWhatItRead) {
  memory_.AddPage(kPlace);
  const auto pages = ScatteredPages(memory_, 4, 7);
  Put(kPlace, 100, pages);
  testing::ChangingMemory changing(memory_, {{kPlace}});
  SpaceOver space(XcomTranslation<testing::ChangingMemory>(changing, GetParam()), changing);
  std::vector<unsigned char> bytes(4 * kPage - 100);
  EXPECT_TRUE(CopyFrom(space, {kPlace}, 0, bytes.data(), bytes.size()).ok());
  EXPECT_TRUE(
      std::all_of(bytes.begin(), bytes.end(), [](unsigned char byte) { return byte == 7; }));
  EXPECT_EQ(changing.read_twice(), 0u);
}

TEST_P(DescriptorTest, CountIsReadOnceWhileAnotherVcpuChangesIt) {
  memory_.AddPage(kPlace);
  const auto pages = ScatteredPages(memory_, 4, 1);
  Put(kPlace, 0, pages);
  std::atomic<bool> stop = false;
  std::thread mutator([&] {
    while (!stop) {
      StoreSharedField(memory_.At(kPlace + 4), std::uint32_t{1}, GetParam());
      StoreSharedField(memory_.At(kPlace + 4), std::uint32_t{4}, GetParam());
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    const CopyResult result = Read(kPlace, 0, 4 * kPage);
    // Fits one of the two counts: all of it, or exactly the first page.
    ASSERT_TRUE(result.bytes == 4 * kPage || result.bytes == kPage) << result.bytes;
    ASSERT_EQ(result.ok(), result.bytes == 4 * kPage);
  }
  stop = true;
  mutator.join();
}

}  // namespace
}  // namespace xencomm
