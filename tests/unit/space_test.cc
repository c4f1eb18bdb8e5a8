// What a Space does with any translation: runs, their merging, the cursor's life, faults midway.
#include "xencomm/space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "xencomm/copy.h"

namespace xencomm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kPage = 16;  // small enough to write every run down

// Bytes in a row, and runs no longer than the memory likes.
class FlatMemory {
 public:
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    if (physical.value >= bytes.size()) return Fault::kNoMemory;
    if (access == Access::kWrite && physical.value / kPage == read_only_page) {
      return Fault::kNotWritable;
    }
    const std::uint64_t rest =
        std::min(longest_run - physical.value % longest_run, bytes.size() - physical.value);
    return {bytes.data() + physical.value, std::min(length, rest)};
  }

  std::vector<std::byte> bytes = std::vector<std::byte>(16 * kPage);
  std::uint64_t longest_run = 1 << 20;
  std::uint64_t read_only_page = ~std::uint64_t{0};
};

// What the translation of a test was asked, and how many cursors it saw begin.
struct Log {
  struct Question {
    std::uint64_t pointer, offset, length;
    Access access;
    bool operator==(const Question&) const = default;
  };
  std::vector<Question> questions;
  int fresh_cursors = 0;
};

// Page n of the guest's is page frames[n]. Pointers are plain addresses.
class TestTranslation {
 public:
  struct Cursor {
    bool used = false;
  };

  TestTranslation(std::map<std::uint64_t, std::uint64_t> frames, Log& log)
      : frames_(std::move(frames)), log_(&log) {}

  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                    Access access, Cursor& cursor) {
    log_->questions.push_back({pointer.value, offset, length, access});
    if (!cursor.used) ++log_->fresh_cursors;
    cursor.used = true;
    VirtualAddress address;
    if (!AddOffset(pointer, offset, &address)) return Fault::kOverflow;
    const auto frame = frames_.find(address.value / kPage);
    if (frame == frames_.end()) return {FaultInfo(Fault::kNotPresent, 1, 4)};
    const std::uint64_t within = address.value % kPage;
    return {PhysicalAddress{frame->second * kPage + within}, std::min(length, kPage - within)};
  }

 private:
  std::map<std::uint64_t, std::uint64_t> frames_;
  Log* log_;
};
static_assert(Translation<TestTranslation>);

struct Visit {
  std::uint64_t place, offset, length;
  bool operator==(const Visit&) const = default;
};
void PrintTo(const Visit& visit, std::ostream* out) {
  *out << visit.length << " bytes at " << visit.place << " for offset " << visit.offset;
}

class SpaceTest : public ::testing::Test {
 protected:
  SpaceOver<TestTranslation, FlatMemory> Over(std::map<std::uint64_t, std::uint64_t> frames) {
    return {TestTranslation(std::move(frames), log_), memory_};
  }

  CopyResult Visits(Space& space, std::uint64_t pointer, std::uint64_t offset, std::uint64_t length,
                    Access access = Access::kRead) {
    visits_.clear();
    auto visit = [this](std::byte* run, std::uint64_t at, std::uint64_t bytes) {
      visits_.push_back({static_cast<std::uint64_t>(run - memory_.bytes.data()), at, bytes});
    };
    return space.ForEachRun({pointer}, offset, length, access, visit);
  }

  FlatMemory memory_;
  Log log_;
  std::vector<Visit> visits_;
};

TEST_F(SpaceTest, VisitsScatteredPagesInOrderEachOnce) {
  auto space = Over({{0, 5}, {1, 2}, {2, 9}});
  EXPECT_TRUE(Visits(space, 4, 0, 40).ok());
  EXPECT_THAT(visits_,
              ElementsAre(Visit{5 * 16 + 4, 0, 12}, Visit{2 * 16, 12, 16}, Visit{9 * 16, 28, 12}));
}

TEST_F(SpaceTest, MergesPagesThatAreNeighbours) {
  auto space = Over({{0, 5}, {1, 6}, {2, 7}, {3, 1}});
  EXPECT_TRUE(Visits(space, 4, 0, 60).ok());
  EXPECT_THAT(visits_, ElementsAre(Visit{5 * 16 + 4, 0, 44}, Visit{1 * 16, 44, 16}));
}

TEST_F(SpaceTest, DoesNotMergeBackwardsOrOntoTheSamePage) {
  auto space = Over({{0, 5}, {1, 4}, {2, 4}});
  EXPECT_TRUE(Visits(space, 0, 0, 48).ok());
  EXPECT_THAT(visits_,
              ElementsAre(Visit{5 * 16, 0, 16}, Visit{4 * 16, 16, 16}, Visit{4 * 16, 32, 16}));
}

TEST_F(SpaceTest, MergesRunsThatMemoryCutShort) {
  memory_.longest_run = 4;
  auto space = Over({{0, 5}});
  EXPECT_TRUE(Visits(space, 2, 0, 13).ok());
  EXPECT_THAT(visits_, ElementsAre(Visit{5 * 16 + 2, 0, 13}));
}

TEST_F(SpaceTest, AsksForTheRestWithThePointerAsItCame) {
  auto space = Over({{0, 5}, {1, 2}});
  EXPECT_TRUE(Visits(space, 4, 3, 20, Access::kWrite).ok());
  EXPECT_THAT(log_.questions, ElementsAre(Log::Question{4, 3, 20, Access::kWrite},
                                          Log::Question{4, 12, 11, Access::kWrite}));
}

TEST_F(SpaceTest, ACursorLivesForOneAccess) {
  auto space = Over({{0, 5}, {1, 2}, {2, 9}});
  EXPECT_TRUE(Visits(space, 0, 0, 48).ok());
  EXPECT_EQ(log_.questions.size(), 3u);
  EXPECT_EQ(log_.fresh_cursors, 1);
  EXPECT_TRUE(Visits(space, 0, 0, 48).ok());
  EXPECT_EQ(log_.fresh_cursors, 2);
  EXPECT_TRUE(space.Map({0}, 0, 1, Access::kRead, nullptr).ok());
  EXPECT_TRUE(space.Map({0}, 0, 1, Access::kRead, nullptr).ok());
  EXPECT_EQ(log_.fresh_cursors, 4);
}

TEST_F(SpaceTest, VisitsAllBeforeAFaultAndNothingBehindIt) {
  auto space = Over({{0, 5}, {1, 6}, {3, 8}});
  const CopyResult result = Visits(space, 8, 0, 56);
  EXPECT_EQ(result.bytes, 24u);
  EXPECT_EQ(result.fault, FaultInfo(Fault::kNotPresent, 1, 4));
  EXPECT_EQ(result.address.value, 32u);
  EXPECT_THAT(visits_, ElementsAre(Visit{5 * 16 + 8, 0, 24}));
}

TEST_F(SpaceTest, VisitsNothingWhenTheFirstByteFaults) {
  auto space = Over({{1, 6}});
  const CopyResult result = Visits(space, 8, 4, 24);
  EXPECT_EQ(result.bytes, 0u);
  EXPECT_EQ(result.address.value, 12u);
  EXPECT_THAT(visits_, IsEmpty());
}

TEST_F(SpaceTest, PassesOnTheFaultOfMemory) {
  memory_.read_only_page = 2;
  auto space = Over({{0, 5}, {1, 2}, {2, 1000}});
  const CopyResult written = Visits(space, 0, 0, 32, Access::kWrite);
  EXPECT_EQ(written.bytes, 16u);
  EXPECT_EQ(written.fault, FaultInfo(Fault::kNotWritable));
  const CopyResult read = Visits(space, 0, 0, 48);
  EXPECT_EQ(read.bytes, 32u);
  EXPECT_EQ(read.fault, FaultInfo(Fault::kNoMemory));
}

TEST_F(SpaceTest, ZeroBytesAskNobody) {
  auto space = Over({});
  EXPECT_TRUE(Visits(space, 0, 0, 0).ok());
  std::byte none;
  EXPECT_TRUE(CopyFrom(space, {~std::uint64_t{0}}, ~std::uint64_t{0}, &none, 0).ok());
  EXPECT_TRUE(CopyTo(space, {0}, 0, &none, 0).ok());
  EXPECT_TRUE(Clear(space, {0}, 0, 0).ok());
  EXPECT_TRUE(Probe(space, {0}, 0, 0, Access::kWrite).ok());
  EXPECT_THAT(log_.questions, IsEmpty());
}

TEST_F(SpaceTest, ARangeMayEndWithTheAddressSpaceButNotPassIt) {
  const std::uint64_t last = ~std::uint64_t{0} / kPage;
  auto space = Over({{last, 3}, {0, 4}});
  EXPECT_TRUE(Visits(space, ~std::uint64_t{7}, 0, 8).ok());
  EXPECT_THAT(visits_, ElementsAre(Visit{3 * 16 + 8, 0, 8}));

  const CopyResult past = Visits(space, ~std::uint64_t{7}, 0, 9);
  EXPECT_EQ(past.bytes, 8u);
  EXPECT_EQ(past.fault, FaultInfo(Fault::kOverflow));
  EXPECT_THAT(visits_, ElementsAre(Visit{3 * 16 + 8, 0, 8}));
}

TEST_F(SpaceTest, MapGivesTheFirstRunAndLeavesTheRest) {
  auto space = Over({{0, 5}, {1, 6}});
  const Mapping run = space.Map({12}, 0, 8, Access::kRead, nullptr);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run.start(), memory_.bytes.data() + 5 * 16 + 12);
  EXPECT_EQ(run.length(), 4u);
  EXPECT_EQ(log_.questions.size(), 1u);

  const Mapping fault = space.Map({48}, 0, 8, Access::kRead, nullptr);
  EXPECT_FALSE(fault.ok());
  EXPECT_EQ(fault.fault(), FaultInfo(Fault::kNotPresent, 1, 4));
}

TEST_F(SpaceTest, CopiesGoThroughEveryRun) {
  auto space = Over({{0, 5}, {1, 2}, {2, 9}});
  std::vector<std::byte> data(40), back(40);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i + 1);
  EXPECT_EQ(CopyTo(space, {4}, 0, data.data(), data.size()).bytes, 40u);
  EXPECT_EQ(memory_.bytes[5 * 16 + 4], std::byte{1});
  EXPECT_EQ(memory_.bytes[9 * 16 + 11], std::byte{40});
  EXPECT_EQ(memory_.bytes[9 * 16 + 12], std::byte{0}) << "not one byte further";
  EXPECT_EQ(CopyFrom(space, {4}, 0, back.data(), back.size()).bytes, 40u);
  EXPECT_EQ(back, data);
  EXPECT_EQ(Clear(space, {0}, 8, 16).bytes, 16u);
  EXPECT_EQ(memory_.bytes[5 * 16 + 7], std::byte{4});
  EXPECT_EQ(memory_.bytes[5 * 16 + 8], std::byte{0});
  EXPECT_EQ(memory_.bytes[2 * 16 + 7], std::byte{0});
  EXPECT_EQ(memory_.bytes[2 * 16 + 8], std::byte{21});
}

TEST_F(SpaceTest, AProbeChecksEveryPageAndTouchesNone) {
  memory_.read_only_page = 9;
  auto space = Over({{0, 5}, {1, 2}, {2, 9}});
  const std::vector<std::byte> before = memory_.bytes;
  EXPECT_TRUE(Probe(space, {0}, 0, 48, Access::kRead).ok());
  const CopyResult write = Probe(space, {0}, 0, 48, Access::kWrite);
  EXPECT_EQ(write.fault, FaultInfo(Fault::kNotWritable));
  EXPECT_EQ(write.bytes, 32u);
  EXPECT_EQ(memory_.bytes, before);
}

// Of as many pieces as are looked up ahead and more, of which some lie in two runs and one may not
// be there.
TEST_F(SpaceTest, PiecesTogetherAreCopiedAsOneByOne) {
  auto space = Over({{0, 5}, {1, 2}, {2, 9}});
  for (std::size_t i = 0; i < memory_.bytes.size(); ++i) {
    memory_.bytes[i] = static_cast<std::byte>(i);
  }
  constexpr std::uint64_t kLength = 6;
  for (std::size_t count = 0; count < 20; ++count) {
    for (std::size_t missing = 0; missing <= count; ++missing) {
      std::vector<VirtualAddress> pointers;
      for (std::size_t i = 0; i < count; ++i) {
        pointers.push_back({i == missing ? 45 : i * 7 % 40});
      }
      std::vector<std::byte> together(count * kLength), expected(count * kLength);
      CopyResult one_by_one;
      for (std::size_t i = 0; i < count && one_by_one.ok(); ++i) {
        const CopyResult one =
            CopyFrom(space, pointers[i], 0, expected.data() + i * kLength, kLength);
        one_by_one = {one_by_one.bytes + one.bytes, one.fault, one.address};
      }
      const CopyResult result = CopyFromEach(space, pointers, together.data(), kLength);
      EXPECT_EQ(result.bytes, one_by_one.bytes);
      EXPECT_EQ(result.fault, one_by_one.fault);
      EXPECT_EQ(result.address, one_by_one.address);
      EXPECT_EQ(result.ok(), missing == count);
      EXPECT_EQ(together, expected);
    }
  }
  const VirtualAddress nowhere[] = {{1000}};
  log_.questions.clear();
  EXPECT_TRUE(CopyFromEach(space, nowhere, nullptr, 0).ok());
  EXPECT_THAT(log_.questions, IsEmpty());
}

TEST(CursorTest, WhatASpaceKeepsBeginsEmptyWhateverLayThere) {
  struct Kept {
    std::uint64_t first = 0;
    std::uint64_t second = 3;
  };
  alignas(Cursor) std::byte place[sizeof(Cursor)];
  std::memset(place, 0xff, sizeof(place));
  auto* cursor = new (place) Cursor;
  EXPECT_TRUE(cursor->is_empty());
  EXPECT_EQ(cursor->As<Kept>().second, 3u);
  cursor->As<Kept>() = {1, 2};
  EXPECT_FALSE(cursor->is_empty());
  EXPECT_EQ(cursor->As<Kept>().second, 2u);
}

TEST(FaultTest, EachHasWordsOfItsOwn) {
  constexpr auto kLast = static_cast<unsigned>(Fault::kProtectionKey);
  std::set<std::string> words;
  for (unsigned fault = 0; fault <= kLast; ++fault) {
    words.insert(Describe(static_cast<Fault>(fault)));
  }
  EXPECT_EQ(words.size(), kLast + 1);
  const std::string unknown = Describe(static_cast<Fault>(kLast + 1));
  EXPECT_EQ(unknown, Describe(static_cast<Fault>(0xff)));
  EXPECT_FALSE(words.contains(unknown));
  EXPECT_FALSE(words.contains(""));
}

}  // namespace
}  // namespace xencomm
