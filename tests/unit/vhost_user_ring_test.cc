// Split virtqueues, well used and ill.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "hcall/sharing/vhost_user/virtqueue.h"
#include "tests/unit/fake_pages.h"
#include "tests/unit/vhost_user_driver.h"
#include "xencomm/copy.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPage = FakePages::kPage;
constexpr std::uint64_t kGrant = MemoryRegion::kGrantAddress;
constexpr std::uint64_t kAll = Virtqueue::kIndirect | Virtqueue::kEventIndex;

// The ring in foreign frames, from 0 on; the rest in grants, from reference 1000 on, at each
// access.
class RingTest : public testing::Test {
 protected:
  static constexpr std::uint16_t kSize = 8;
  static constexpr std::size_t kFrames = 64;
  static constexpr std::uint64_t kData = 4 * kPage;

  void SetUp() override {
    const MemoryRegion ring = {.guest_address = 0,
                               .size = 4 * kPage,
                               .flags = MemoryRegion::kForeign,
                               .domain = FakePages::kDomain};
    const MemoryRegion data = {.guest_address = kGrant | 1000 * kPage,
                               .size = kFrames * kPage,
                               .flags = MemoryRegion::kGrants | MemoryRegion::kNoAdvance,
                               .domain = FakePages::kDomain};
    for (std::uint32_t i = 0; i < kFrames; ++i) pages_.Give(1000 + i, {.frame = i});
    ASSERT_TRUE(memory_.Add(ring, FileDescriptor()).ok());
    ASSERT_TRUE(memory_.Add(data, FileDescriptor()).ok());
  }
  void TearDown() override {
    queue_.reset();
    memory_.Clear();
    EXPECT_EQ(pages_.mapped_pages(), 0);
  }

  static Virtqueue::Place Place(std::uint32_t size = kSize) {
    return {.size = size,
            .descriptors = {Driver::kDescriptorsAt},
            .available = {Driver::kAvailableAt},
            .used = {Driver::kUsedAt}};
  }
  void Start(std::uint64_t features = kAll, std::uint16_t next = 0) {
    auto queue = Virtqueue::Map(memory_, Place(), next, features);
    ASSERT_TRUE(queue.ok()) << queue.status();
    queue_ = *std::move(queue);
  }
  bool Next() {
    const absl::StatusOr<bool> next = queue_->Next(&chain_);
    EXPECT_TRUE(next.ok()) << next.status();
    return next.ok() && *next;
  }
  // Why the ring is broken: a part of the sentence.
  void ExpectBroken(const char* sentence) {
    const absl::StatusOr<bool> next = queue_->Next(&chain_);
    ASSERT_TRUE(absl::IsOutOfRange(next.status())) << next.status();
    EXPECT_THAT(std::string(next.status().message()), HasSubstr(sentence));
    EXPECT_EQ(driver_.UsedIndex(), 0) << "nothing is given back";
    EXPECT_EQ(pages_.mapped_pages(), 4);
  }

  FakePages pages_{kFrames};
  GuestMemory memory_{&pages_};
  Driver driver_{pages_.bytes(), [](std::uint64_t at) { return (kGrant | 1000 * kPage) + at; },
                 kSize};
  std::unique_ptr<Virtqueue> queue_;
  Chain chain_;
};

TEST_F(RingTest, ChainsAreTakenInTheOrderInWhichTheyWereOffered) {
  Start();
  EXPECT_FALSE(Next());
  const Driver::Buffer first[] = {{kData, 16}, {kData + 100, 7, true}, {kData + 200, 1, true}};
  const Driver::Buffer second[] = {{kData + 300, 5}};
  driver_.DescribeChain(0, 2, first);
  driver_.DescribeChain(0, 6, second);
  driver_.Offer(6);
  driver_.Offer(2);
  ASSERT_TRUE(Next());
  EXPECT_EQ(chain_.head, 6);
  EXPECT_EQ(chain_.readable.size(), 5u);
  EXPECT_EQ(chain_.writable.size(), 0u);
  ASSERT_TRUE(Next());
  EXPECT_EQ(chain_.head, 2);
  EXPECT_EQ(chain_.readable.size(), 16u);
  EXPECT_EQ(chain_.writable.size(), 8u);
  EXPECT_EQ(chain_.writable.count(), 2u);
  EXPECT_FALSE(Next());
  queue_->Complete(2, 8);
  queue_->Complete(6, 0);
  const auto used = driver_.TakeUsed();
  EXPECT_EQ(used->head, 2u);
  EXPECT_EQ(used->written, 8u);
  EXPECT_EQ(driver_.TakeUsed()->head, 6u);
  EXPECT_FALSE(driver_.TakeUsed().has_value());
}

TEST_F(RingTest, ABufferIsFoundByItsOffsetInTheChain) {
  Buffers buffers;
  EXPECT_FALSE(buffers.At(0, 1).ok());
  buffers.Add({0x1000}, 10);
  buffers.Add({0x8000}, 5);
  const struct {
    std::uint64_t offset, length, address, run;
  } cases[] = {{0, 100, 0x1000, 10}, {9, 100, 0x1009, 1}, {9, 1, 0x1009, 1},
               {10, 100, 0x8000, 5}, {14, 9, 0x8004, 1},  {2, 3, 0x1002, 3}};
  for (const auto& each : cases) {
    const Segment segment = buffers.At(each.offset, each.length);
    ASSERT_TRUE(segment.ok()) << each.offset;
    EXPECT_EQ(segment.start().value, each.address) << each.offset;
    EXPECT_EQ(segment.length(), each.run) << each.offset;
  }
  EXPECT_EQ(buffers.At(15, 1).fault(), Fault::kOutOfRange);
  EXPECT_EQ(buffers.At(~std::uint64_t{0}, 1).fault(), Fault::kOutOfRange);
  // Nor by an offset that wraps.
  BufferAccess access(memory_, buffers);
  std::byte byte;
  EXPECT_EQ(CopyFrom(access.space(), {5}, ~std::uint64_t{0}, &byte, 1).fault, Fault::kOverflow);
}

TEST_F(RingTest, IndicesWrapPast16Bits) {
  driver_.BeginAt(0xfffd);
  Start(kAll, 0xfffd);
  const Driver::Buffer buffer[] = {{kData, 1}};
  for (std::uint16_t i = 0; i < 6; ++i) {
    driver_.DescribeChain(0, i, buffer);
    driver_.Offer(i);
  }
  for (std::uint16_t i = 0; i < 6; ++i) {
    ASSERT_TRUE(Next());
    EXPECT_EQ(chain_.head, i);
    queue_->Complete(i, i);
    EXPECT_EQ(driver_.TakeUsed()->written, i);
  }
  EXPECT_FALSE(Next());
  EXPECT_EQ(queue_->next(), 3);
}

TEST_F(RingTest, AFullRingIsTakenWhole) {
  Start();
  std::vector<Driver::Buffer> all(kSize, {kData, 1});
  driver_.DescribeChain(0, 0, all);
  for (int i = 0; i < kSize; ++i) driver_.Offer(0);
  for (int i = 0; i < kSize; ++i) {
    ASSERT_TRUE(Next());
    EXPECT_EQ(chain_.readable.count(), kSize);
  }
  EXPECT_FALSE(Next());
}

TEST_F(RingTest, IndirectTablesAreFollowed) {
  Start();
  // Over the end of a page, of which each is mapped by its own.
  const std::uint64_t table = kData + kPage - 16;
  const Driver::Buffer buffers[] = {{kData + 10, 3}, {kData + 20, 4, true}, {kData + 30, 5, true}};
  driver_.DescribeChain(table, 0, buffers);
  const Driver::Buffer before[] = {{kData, 16}, {table, 48}};
  driver_.DescribeChain(0, 0, before);
  driver_.Describe(0, 1, driver_.AddressOf(table), 48, Driver::kIndirect);
  driver_.Offer(0);
  ASSERT_TRUE(Next());
  EXPECT_EQ(chain_.readable.size(), 19u);
  EXPECT_EQ(chain_.writable.size(), 9u);
  EXPECT_EQ(pages_.mapped_pages(), 4) << "the table no longer";
}

// Sets up a chain that begins at descriptor 0 and is wrong.
struct HostileCase {
  const char* what;
  std::function<void(Driver&)> make;
  const char* sentence;
  std::uint64_t features = kAll;
};

TEST_F(RingTest, WhatBreaksTheRulesBreaksTheRing) {
  constexpr std::uint64_t kTable = kData + 2 * kPage;
  const auto indirect = [](Driver& driver, std::uint32_t bytes, std::uint16_t flags = 0) {
    driver.Describe(0, 0, driver.AddressOf(kTable), bytes,
                    static_cast<std::uint16_t>(Driver::kIndirect | flags), 1);
    driver.Offer(0);
  };
  const HostileCase cases[] = {
      {"an index that jumps", [](Driver& driver) { driver.SetAvailable(kSize + 1); },
       "expected at most 8 more"},
      {"an index that goes back", [](Driver& driver) { driver.SetAvailable(0xffff); },
       "expected at most 8 more"},
      {"a head out of range", [](Driver& driver) { driver.Offer(kSize); }, "descriptor 8 of 8"},
      {"a head far out of range", [](Driver& driver) { driver.Offer(0xffff); }, "descriptor 65535"},
      {"a next out of range",
       [](Driver& driver) {
         driver.Describe(0, 0, kData, 1, Driver::kNext, kSize);
         driver.Offer(0);
       },
       "descriptor 8 of 8"},
      {"a loop",
       [](Driver& driver) {
         driver.Describe(0, 0, kData, 1, Driver::kNext, 1);
         driver.Describe(0, 1, kData, 1, Driver::kNext, 0);
         driver.Offer(0);
       },
       "more than 8"},
      {"a loop of one",
       [](Driver& driver) {
         driver.Describe(0, 0, kData, 1, Driver::kNext, 0);
         driver.Offer(0);
       },
       "more than 8"},
      {"readable after writable",
       [](Driver& driver) {
         driver.Describe(0, 0, kData, 1, Driver::kNext | Driver::kWrite, 1);
         driver.Describe(0, 1, kData, 1);
         driver.Offer(0);
       },
       "readable descriptor after a writable"},
      {"no bytes",
       [](Driver& driver) {
         driver.Describe(0, 0, kData, 0);
         driver.Offer(0);
       },
       "descriptor of 0 bytes"},
      {"bytes past 2^64",
       [](Driver& driver) {
         driver.Describe(0, 0, ~std::uint64_t{0}, 2);
         driver.Offer(0);
       },
       "expected bytes before 2^64"},
      {"an indirect one that was not negotiated", [&](Driver& driver) { indirect(driver, 16); },
       "indirect descriptor", Virtqueue::kEventIndex},
      {"an indirect one with a next", [&](Driver& driver) { indirect(driver, 16, Driver::kNext); },
       "indirect descriptor"},
      {"an indirect table of no bytes", [&](Driver& driver) { indirect(driver, 0); },
       "table of 0 bytes"},
      {"an indirect table of half a descriptor", [&](Driver& driver) { indirect(driver, 24); },
       "table of 24 bytes"},
      {"a huge indirect table", [&](Driver& driver) { indirect(driver, 0xfffffff0); },
       "table of 4294967280 bytes"},
      {"an indirect table of one too many", [&](Driver& driver) { indirect(driver, 1025 * 16); },
       "table of 16400 bytes"},
      {"an indirect table that is nowhere",
       [&](Driver& driver) {
         driver.Describe(0, 0, 0x7000'0000, 16, Driver::kIndirect);
         driver.Offer(0);
       },
       "no memory at this"},
      {"an indirect table whose end is nowhere",
       [&](Driver& driver) {
         driver.Describe(0, 0, driver.AddressOf(kFrames * kPage - 16), 32, Driver::kIndirect);
         driver.Offer(0);
       },
       "no memory at this"},
      {"an indirect table past 2^64",
       [&](Driver& driver) {
         driver.Describe(0, 0, ~std::uint64_t{15}, 32, Driver::kIndirect);
         driver.Offer(0);
       },
       "indirect table at"},
      {"an indirect one in an indirect table",
       [&](Driver& driver) {
         driver.Describe(kTable, 0, driver.AddressOf(kTable), 16, Driver::kIndirect);
         indirect(driver, 16);
       },
       "indirect descriptor"},
      {"a loop in an indirect table",
       [&](Driver& driver) {
         driver.Describe(kTable, 0, kData, 1, Driver::kNext, 1);
         driver.Describe(kTable, 1, kData, 1, Driver::kNext, 0);
         indirect(driver, 32);
       },
       "more than 2"},
      {"a next out of an indirect table",
       [&](Driver& driver) {
         driver.Describe(kTable, 0, kData, 1, Driver::kNext, 2);
         indirect(driver, 32);
       },
       "descriptor 2 of 2"},
      {"readable in an indirect table, after writable",
       [&](Driver& driver) {
         driver.Describe(kTable, 0, kData, 1);
         driver.Describe(0, 0, kData, 1, Driver::kNext | Driver::kWrite, 1);
         driver.Describe(0, 1, driver.AddressOf(kTable), 16, Driver::kIndirect);
         driver.Offer(0);
       },
       "readable descriptor after a writable"},
  };
  for (const HostileCase& each : cases) {
    SCOPED_TRACE(each.what);
    std::memset(pages_.bytes().data(), 0, pages_.bytes().size());
    driver_.BeginAt(0);
    Start(each.features);
    each.make(driver_);
    ExpectBroken(each.sentence);
  }
}

TEST_F(RingTest, TheMostThatAnIndirectTableMayHaveIsFollowed) {
  Start();
  const std::vector<Driver::Buffer> buffers(Virtqueue::kMostEntries, {kData, 1});
  driver_.DescribeChain(kData + 2 * kPage, 0, buffers);
  driver_.Describe(0, 0, driver_.AddressOf(kData + 2 * kPage), Virtqueue::kMostEntries * 16,
                   Driver::kIndirect);
  driver_.Offer(0);
  ASSERT_TRUE(Next());
  EXPECT_EQ(chain_.readable.count(), Virtqueue::kMostEntries);
}

TEST_F(RingTest, RingsThatCannotBeAreRefused) {
  const auto refused = [&](auto change) {
    Virtqueue::Place place = Place();
    change(place);
    return absl::IsInvalidArgument(Virtqueue::Map(memory_, place, 0, kAll).status());
  };
  EXPECT_FALSE(refused([](auto&) {}));
  for (const std::uint32_t size : {0u, 3u, 2048u, 0x80000000u, 0xffffffffu}) {
    EXPECT_TRUE(refused([size](auto& place) { place.size = size; })) << size;
  }
  EXPECT_TRUE(refused([](auto& place) { place.descriptors.value += 8; })) << "aligned to 16";
  EXPECT_TRUE(refused([](auto& place) { place.available.value += 1; })) << "aligned to 2";
  EXPECT_TRUE(refused([](auto& place) { place.used.value += 2; })) << "aligned to 4";
  EXPECT_TRUE(refused([](auto& place) { place.used = {64 * kPage}; })) << "nowhere";
  // The whole of it in a region: its last bytes are for the events.
  const std::uint64_t end = 4 * kPage;
  EXPECT_FALSE(refused([end](auto& place) { place.available = {end - 22}; }));
  EXPECT_TRUE(refused([end](auto& place) { place.available = {end - 20}; }));
  EXPECT_FALSE(refused([end](auto& place) { place.used = {end - 72}; }));
  EXPECT_TRUE(refused([end](auto& place) { place.used = {end - 68}; }));
  EXPECT_FALSE(refused([end](auto& place) { place.descriptors = {end - 128}; }));
  EXPECT_TRUE(refused([end](auto& place) { place.descriptors = {end - 112}; }));
}

TEST_F(RingTest, ARingInWhatIsNoAdvanceIsMappedForAsLongAsItRuns) {
  const long before = pages_.mapped_pages();
  Virtqueue::Place place = Place();
  for (PhysicalAddress* part : {&place.descriptors, &place.available, &place.used}) {
    part->value += kGrant | 1000 * kPage;
  }
  auto queue = Virtqueue::Map(memory_, place, 0, kAll);
  ASSERT_TRUE(queue.ok()) << queue.status();
  EXPECT_EQ(pages_.mapped_pages(), before + 3);
  const Driver::Buffer buffer[] = {{kData, 1}};
  driver_.DescribeChain(0, 3, buffer);
  driver_.Offer(3);
  EXPECT_TRUE(*(*queue)->Next(&chain_));
  (*queue)->Complete(3, 0);
  EXPECT_EQ(driver_.TakeUsed()->head, 3u);
  queue->reset();
  EXPECT_EQ(pages_.mapped_pages(), before);
}

TEST_F(RingTest, AUsedRingThatMayNotBeWrittenIsRefused) {
  pages_.Give(1002, {.frame = 2, .is_writable = false});
  Virtqueue::Place place = Place();
  place.used.value += kGrant | 1000 * kPage;
  EXPECT_FALSE(Virtqueue::Map(memory_, place, 0, kAll).ok());
}

TEST_F(RingTest, SignalsAreSuppressedByTheFlag) {
  Start(0);
  EXPECT_FALSE(queue_->ShouldSignal()) << "nothing was completed";
  queue_->Complete(0, 0);
  EXPECT_TRUE(queue_->ShouldSignal());
  EXPECT_FALSE(queue_->ShouldSignal());
  driver_.SetNoSignals(true);
  queue_->Complete(0, 0);
  EXPECT_FALSE(queue_->ShouldSignal());
}

TEST_F(RingTest, SignalsAreGivenAtTheEventIndex) {
  driver_.BeginAt(0xfffe);
  Start(kAll, 0xfffe);
  driver_.SetNoSignals(true);  // which is not looked at
  driver_.SetUsedEvent(0xffff);
  queue_->Complete(0, 0);
  EXPECT_FALSE(queue_->ShouldSignal()) << "0xfffe was completed";
  queue_->Complete(0, 0);
  EXPECT_TRUE(queue_->ShouldSignal());
  driver_.SetUsedEvent(2);
  for (int i = 0; i < 2; ++i) {
    queue_->Complete(0, 0);
    EXPECT_FALSE(queue_->ShouldSignal()) << i;
  }
  for (int i = 0; i < 3; ++i) queue_->Complete(0, 0);
  EXPECT_TRUE(queue_->ShouldSignal()) << "it was among these";
}

TEST_F(RingTest, KicksAreAskedForBeforeItWaits) {
  Start(0);
  queue_->SuppressKicks();
  EXPECT_EQ(driver_.UsedFlags(), 1);
  driver_.Offer(0);
  EXPECT_TRUE(queue_->AskForKicks()) << "of which no kick tells";
  EXPECT_EQ(driver_.UsedFlags(), 0);

  Start(kAll, 1);
  queue_->SuppressKicks();
  EXPECT_EQ(driver_.UsedFlags(), 0) << "it has the index";
  EXPECT_FALSE(queue_->AskForKicks());
  EXPECT_EQ(driver_.AvailableEvent(), 1);
}

// Of what another vcpu writes meanwhile, one value or the other is used, and none out of bounds.
TEST_F(RingTest, DescriptorsThatChangeMeanwhileAreReadOnce) {
  Start();
  std::atomic<bool> ends = false;
  std::thread vcpu([&] {
    for (std::uint16_t i = 0; !ends.load(); ++i) {
      // A good one and a bad one; never half of each.
      driver_.Describe(0, 0, driver_.AddressOf(kData), i % 2 == 0 ? 16 : 0,
                       i % 3 == 0 ? Driver::kNext : 0, static_cast<std::uint16_t>(i % 2 * 1000));
      driver_.Store<std::uint16_t>(Driver::kAvailableAt + 4, i % 5 == 0 ? 0x4000 : 0);
    }
  });
  driver_.SetAvailable(1);
  for (int i = 0; i < 200'000; ++i) {
    const absl::StatusOr<bool> next = queue_->Next(&chain_);
    if (!next.ok()) continue;
    ASSERT_TRUE(*next);
    ASSERT_EQ(chain_.readable.size() % 16, 0u);
    ASSERT_NE(chain_.readable.size(), 0u);
    // Offered again.
    driver_.SetAvailable(static_cast<std::uint16_t>(queue_->next() + 1));
    if (queue_->next() % kSize != 0) Start(kAll, 0), driver_.SetAvailable(1);
  }
  ends.store(true);
  vcpu.join();
}

}  // namespace
}  // namespace xencomm::vhost_user
