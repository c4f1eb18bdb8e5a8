#include "xencomm/arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/fake_backing.h"
#include "xencomm/address.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

using testing::ArenaTest;
using testing::FakeBacking;
using ::testing::HasSubstr;
using testing::kPage;

bool IsAlignedTo(const void* pointer, std::uint64_t alignment) {
  return IsAligned(reinterpret_cast<std::uintptr_t>(pointer), alignment);
}

TEST_F(ArenaTest, AlignsNaturally) {
  const auto arena = Make();
  const struct {
    std::size_t size;
    std::uint64_t alignment;
  } cases[] = {{1, 1},       {8, 8},       {63, 64},     {64, 64},
               {65, 128},    {144, 256},   {1024, 1024}, {2048, 2048},
               {2049, 4096}, {4096, 4096}, {4097, 4096}, {1 << 20, 4096}};
  for (const auto& [size, alignment] : cases) {
    for (int i = 0; i < 3; ++i) {
      const auto memory = arena->Allocate(size);
      ASSERT_TRUE(memory.ok()) << size << ": " << memory.status();
      EXPECT_TRUE(IsAlignedTo(*memory, alignment)) << size;
      std::memset(*memory, 0x5a, size);
    }
  }
}

TEST_F(ArenaTest, AlignsAsAsked) {
  const auto arena = Make();
  for (std::size_t alignment = 1; alignment <= kPage; alignment *= 2) {
    const auto memory = arena->Allocate(24, Contents::kAny, alignment);
    ASSERT_TRUE(memory.ok()) << memory.status();
    EXPECT_TRUE(IsAlignedTo(*memory, alignment)) << alignment;
  }
}

TEST_F(ArenaTest, RefusesAlignmentsThatAreNone) {
  const auto arena = Make();
  for (const std::size_t alignment : {std::size_t{0}, std::size_t{3}, std::size_t{8192}}) {
    const auto memory = arena->Allocate(8, Contents::kAny, alignment);
    EXPECT_EQ(memory.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(
        memory.status().message(),
        Sentence("an alignment of %u bytes: expected a power of two, at most 4096", alignment));
  }
}

TEST_F(ArenaTest, AllocationsDoNotOverlap) {
  const auto arena = Make();
  std::mt19937 random(1);
  struct Block {
    unsigned char* start;
    std::size_t size;
    unsigned char mark;
  };
  std::vector<Block> live;
  for (int i = 0; i < 20000; ++i) {
    if (live.size() > 200 || (!live.empty() && random() % 3 == 0)) {
      std::swap(live[random() % live.size()], live.back());
      const Block block = live.back();
      live.pop_back();
      ASSERT_TRUE(std::all_of(block.start, block.start + block.size,
                              [&](unsigned char byte) { return byte == block.mark; }));
      ASSERT_TRUE(arena->Free(block.start).ok());
    } else {
      const std::size_t size = (std::size_t{1} << (random() % 19)) - random() % 2;
      const auto memory = arena->Allocate(size);
      ASSERT_TRUE(memory.ok()) << memory.status();
      live.push_back({static_cast<unsigned char*>(*memory), size, static_cast<unsigned char>(i)});
      std::memset(*memory, i & 0xff, size);
    }
  }
}

TEST_F(ArenaTest, SteadyStateAsksTheBackingForNothing) {
  const auto arena = Make();
  const std::size_t sizes[] = {1, 144, 4096, 8192, 100000, 1 << 20};
  const auto round = [&] {
    std::vector<void*> live;
    for (const std::size_t size : sizes) live.push_back(*arena->Allocate(size));
    for (void* const memory : live) ASSERT_TRUE(arena->Free(memory).ok());
  };
  round();
  const int before = calls_.populate;
  for (int i = 0; i < 1000; ++i) round();
  EXPECT_EQ(calls_.populate, before);
}

TEST_F(ArenaTest, GrowsByAQuarterOfWhatItHasWithinLimits) {
  const auto arena = Make();
  for (int i = 0; i < 10000; ++i) {
    const std::uint64_t before = arena->populated();
    ASSERT_TRUE(arena->Allocate(kPage).ok());
    if (arena->populated() != before) {
      ASSERT_EQ(arena->populated() - before,
                std::clamp(before / 4 / kPage * kPage, 16 * kPage, 1024 * kPage));
    }
  }
}

TEST_F(ArenaTest, ClearsOnlyWhatIsAskedFor) {
  const auto arena = Make();
  for (const std::size_t size : {std::size_t{100}, std::size_t{5000}, std::size_t{400000}}) {
    void* const dirty = *arena->Allocate(size);
    const std::size_t room = arena->Find(dirty)->size();
    std::memset(dirty, 0xee, room);
    ASSERT_TRUE(arena->Free(dirty).ok());

    auto* const again = static_cast<unsigned char*>(*arena->Allocate(size));
    ASSERT_EQ(again, dirty);
    EXPECT_EQ(again[0], 0xee);
    EXPECT_EQ(again[size - 1], 0xee);
    ASSERT_TRUE(arena->Free(again).ok());

    auto* const clear = static_cast<unsigned char*>(*arena->Allocate(size, Contents::kCleared));
    ASSERT_EQ(clear, dirty);
    EXPECT_TRUE(std::all_of(clear, clear + size, [](unsigned char byte) { return byte == 0; }));
    EXPECT_EQ(clear[room - 1], 0xee) << "the rounding was cleared";
    ASSERT_TRUE(arena->Free(clear).ok());
  }
}

TEST_F(ArenaTest, ZeroBytesHaveAnAddressOfTheirOwn) {
  const auto arena = Make();
  void* const one = *arena->Allocate(0);
  void* const other = *arena->Allocate(0);
  EXPECT_NE(one, other);
  EXPECT_TRUE(arena->Free(one).ok());
  EXPECT_TRUE(arena->Free(other).ok());
}

TEST_F(ArenaTest, FreeingNullDoesNothing) { EXPECT_TRUE(Make()->Free(nullptr).ok()); }

TEST_F(ArenaTest, RefusesDoubleFree) {
  const auto arena = Make();
  for (const std::size_t size :
       {std::size_t{64}, std::size_t{4096}, std::size_t{8192}, std::size_t{1} << 20}) {
    void* const memory = *arena->Allocate(size);
    ASSERT_TRUE(arena->Free(memory).ok());
    const absl::Status again = arena->Free(memory);
    EXPECT_EQ(again.code(), absl::StatusCode::kNotFound) << size << ": " << again;
    EXPECT_THAT(std::string(again.message()), HasSubstr("free already"));
    // And the block is not handed out twice.
    EXPECT_NE(*arena->Allocate(size), *arena->Allocate(size));
  }
}

TEST_F(ArenaTest, RefusesInteriorPointer) {
  const auto arena = Make();
  for (const std::size_t size :
       {std::size_t{64}, std::size_t{2048}, std::size_t{8192}, std::size_t{1} << 20}) {
    auto* const memory = static_cast<std::byte*>(*arena->Allocate(size));
    for (const std::size_t into : {std::size_t{1}, size / 2, size - 1}) {
      const absl::Status status = arena->Free(memory + into);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << size << "+" << into;
      EXPECT_THAT(std::string(status.message()), HasSubstr("inside the allocation"));
    }
    EXPECT_TRUE(arena->Free(memory).ok()) << "a refusal changed something";
  }
}

TEST_F(ArenaTest, RefusesForeignPointer) {
  const auto arena = Make(1 << 20, 2 * kPage);
  void* const memory = *arena->Allocate(1);
  int local = 0;
  std::byte* const payload = arena->payload().data();
  for (void* const pointer :
       {static_cast<void*>(&local), static_cast<void*>(payload - 1),
        static_cast<void*>(payload - 2 * kPage), static_cast<void*>(payload + (1 << 20)),
        static_cast<void*>(payload + arena->populated()), reinterpret_cast<void*>(8)}) {
    const absl::Status status = arena->Free(pointer);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << pointer;
    EXPECT_EQ(std::string(status.message()),
              Sentence("%p is not memory of this arena: expected an address from %p to %p", pointer,
                       payload, payload + arena->populated()));
  }
  EXPECT_TRUE(arena->Free(memory).ok());
}

TEST_F(ArenaTest, ASlotIsAsLargeAsItsAlignment) {
  const auto arena = Make(1 << 20);
  for (std::size_t alignment = 64; alignment <= kPage; alignment *= 2) {
    void* const slot = *arena->Allocate(1, Contents::kAny, alignment);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slot) % alignment, 0u);
    EXPECT_EQ(arena->Find(slot)->size(), alignment);
  }
}

TEST_F(ArenaTest, GrowsNoMoreOnceItIsToldSo) {
  const auto arena = Make(1 << 20, kPage);
  ASSERT_TRUE(arena->Allocate(2 * kPage).ok());
  const std::size_t populated = arena->populated();
  arena->GrowNoMore();
  EXPECT_FALSE(arena->Allocate(64 * kPage).ok());
  EXPECT_EQ(arena->populated(), populated);
}

TEST_F(ArenaTest, WhereNothingIsLeftNothingIsMade) {
  const auto arena = Make(kPage);
  ASSERT_TRUE(arena->Allocate(kPage).ok());
  const auto made = arena->New<std::uint64_t>();
  EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
}

// Of a run of pages, whatever the units are in use for whose numbers are like its pages'.
TEST_F(ArenaTest, ARunIsFoundFromInside) {
  const auto arena = Make(1 << 20);
  // A page of slots of the smallest size, each in use.
  for (std::uint32_t i = 0; i < kPage / 64; ++i) ASSERT_TRUE(arena->Allocate(64).ok());
  for (unsigned i = 0; i < 40; ++i) {
    auto* const run = static_cast<std::byte*>(*arena->Allocate(3 * kPage));
    for (std::size_t into = 0; into < 3 * kPage; into += kPage / 2) {
      const auto found = arena->Find(run + into);
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(found->data(), run) << into;
      EXPECT_EQ(found->size(), 3 * kPage);
    }
  }
}

TEST_F(ArenaTest, CountsThatOverflowAreRefused) {
  const auto arena = Make();
  const auto array = arena->NewArray<std::uint64_t>((std::size_t{1} << 61) + 1);
  EXPECT_EQ(array.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(array.status().message(),
            "2305843009213693953 elements of 8 bytes: the product passes 2^64");
  EXPECT_EQ(arena->NewArray<std::uint64_t>(std::size_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(arena->Allocate(~std::size_t{0}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ArenaTest, FullArenaRefusesAndRecovers) {
  const auto arena = Make(1 << 20);
  std::vector<void*> live;
  for (;;) {
    const auto memory = arena->Allocate(3 * kPage);
    if (!memory.ok()) {
      EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(memory.status().message(),
                "no room for 12288 bytes: of the arena's 1048576, 4096 are free, but not that many "
                "in a row");
      break;
    }
    live.push_back(*memory);
  }
  EXPECT_EQ(live.size(), 256u / 3);
  for (void* const memory : live) ASSERT_TRUE(arena->Free(memory).ok());
  // Blocks that were freed in another size are joined again.
  const auto all = arena->Allocate(1 << 20);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, arena->payload().data());
}

TEST_F(ArenaTest, SaysHowMuchIsFreeThatIsNotInARow) {
  const auto arena = Make(16 * kPage);
  void* const first = *arena->Allocate(5 * kPage);
  ASSERT_TRUE(arena->Allocate(6 * kPage).ok());
  void* const last = *arena->Allocate(5 * kPage);
  ASSERT_TRUE(arena->Free(first).ok());
  ASSERT_TRUE(arena->Free(last).ok());
  EXPECT_EQ(arena->Allocate(6 * kPage).status().message(),
            "no room for 24576 bytes: of the arena's 65536, 40960 are free, but not that many in a "
            "row");
}

TEST_F(ArenaTest, SlotsAreJoinedAgain) {
  const auto arena = Make(1 << 20);
  for (std::size_t size = 1; size <= 2048; size *= 2) {
    std::vector<void*> live;
    for (auto memory = arena->Allocate(size); memory.ok(); memory = arena->Allocate(size)) {
      live.push_back(*memory);
    }
    EXPECT_EQ(live.size(), (1u << 20) / std::max(size, std::size_t{64}));
    std::shuffle(live.begin(), live.end(), std::mt19937(1));
    // One that stays keeps its page, and only that.
    for (std::size_t i = 1; i < live.size(); ++i) ASSERT_TRUE(arena->Free(live[i]).ok());
    EXPECT_FALSE(arena->Allocate(1 << 20).ok());
    const auto page = arena->Allocate(kPage);
    EXPECT_TRUE(page.ok());
    ASSERT_TRUE(arena->Free(*page).ok());
    ASSERT_TRUE(arena->Free(live[0]).ok());
    const auto all = arena->Allocate(1 << 20);
    ASSERT_TRUE(all.ok()) << size << ": " << all.status();
    ASSERT_TRUE(arena->Free(*all).ok());
  }
}

TEST_F(ArenaTest, BackingThatRunsOutIsNamedAndNothingIsLost) {
  calls_.limit = 100 * kPage;
  const auto arena = Make();
  EXPECT_EQ(std::string(arena->Allocate(101 * kPage).status().message()), "the fake is empty");
  const auto all = arena->Allocate(100 * kPage);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_FALSE(arena->Allocate(1).ok());
  ASSERT_TRUE(arena->Free(*all).ok());
  EXPECT_TRUE(arena->Allocate(1).ok());
}

TEST_F(ArenaTest, GigabyteInOnePiece) {
  const auto arena = Make(Arena::kMaxSize);
  const auto memory = arena->Allocate(Arena::kMaxSize);
  ASSERT_TRUE(memory.ok()) << memory.status();
  static_cast<std::byte*>(*memory)[Arena::kMaxSize - 1] = std::byte{1};
  EXPECT_EQ(arena->Find(static_cast<std::byte*>(*memory) + Arena::kMaxSize - 1)->size(),
            Arena::kMaxSize);
  EXPECT_TRUE(arena->Free(*memory).ok());
}

TEST_F(ArenaTest, RefusesSizesThatAreNone) {
  for (const std::uint64_t size : {std::uint64_t{0}, kPage + 1, Arena::kMaxSize + kPage}) {
    const auto arena = Arena::Create(std::make_unique<FakeBacking>(&calls_), size);
    EXPECT_EQ(arena.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(arena.status().message(),
              Sentence("an arena of %u bytes: expected a multiple of 4096, from 4096 to 1073741824",
                       size));
  }
}

TEST_F(ArenaTest, HypercallsThatScribbleDoNotReachTheMetadata) {
  const auto arena = Make(1 << 20);
  std::vector<void*> live;
  for (int i = 0; i < 100; ++i) live.push_back(*arena->Allocate(200));
  for (int i = 0; i < 100; i += 2) ASSERT_TRUE(arena->Free(live[static_cast<std::size_t>(i)]).ok());
  std::memset(arena->payload().data(), 0xff, arena->populated());
  for (int i = 1; i < 100; i += 2) ASSERT_TRUE(arena->Free(live[static_cast<std::size_t>(i)]).ok());
  EXPECT_TRUE(arena->Allocate(1 << 20).ok());
}

// A model beside it: a bit for each page.
TEST_F(ArenaTest, AgreesWithABitmap) {
  constexpr std::size_t kPages = 500;
  const auto arena = Make(kPages * kPage);
  std::vector<bool> used(kPages);
  struct Run {
    std::size_t first, count;
  };
  std::vector<Run> live;
  std::mt19937 random(7);
  std::byte* const payload = arena->payload().data();
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0 && !live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      const auto [first, count] = live.back();
      live.pop_back();
      const auto found =
          arena->Find(payload + (first + random() % count) * kPage + random() % kPage);
      ASSERT_TRUE(found.ok()) << found.status();
      ASSERT_EQ(found->data(), payload + first * kPage);
      ASSERT_EQ(found->size(), count * kPage);
      ASSERT_TRUE(arena->Free(payload + first * kPage).ok());
      std::fill_n(used.begin() + static_cast<std::ptrdiff_t>(first), count, false);
    } else {
      const std::size_t count = 1 + random() % (random() % 4 == 0 ? 100 : 20);
      const auto memory = arena->Allocate(count * kPage);
      if (!memory.ok()) {
        // Then there is no such run.
        const auto hole = std::search_n(used.begin(), used.end(), static_cast<int>(count), false);
        ASSERT_TRUE(hole == used.end());
        ++refused;
        continue;
      }
      const auto first =
          static_cast<std::size_t>(static_cast<std::byte*>(*memory) - payload) / kPage;
      for (std::size_t page = first; page < first + count; ++page) {
        ASSERT_FALSE(used[page]);
        used[page] = true;
      }
      live.push_back({first, count});
    }
    const std::size_t page = random() % (arena->populated() / kPage);
    ASSERT_EQ(arena->Find(payload + page * kPage).ok(), used[page]) << page;
  }
  EXPECT_GT(refused, 100);
}

TEST_F(ArenaTest, FindsTheAllocationThatHoldsAByte) {
  const auto arena = Make();
  for (const std::size_t size : {std::size_t{128}, std::size_t{2 * kPage}, std::size_t{1} << 20}) {
    auto* const memory = static_cast<std::byte*>(*arena->Allocate(size));
    for (const std::size_t into : {std::size_t{0}, size / 2 + 1, size - 1}) {
      const auto found = arena->Find(memory + into);
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ(found->data(), memory);
      EXPECT_EQ(found->size(), size);
    }
    EXPECT_TRUE(arena->Check(memory + 1, size - 1).ok());
    EXPECT_EQ(arena->Check(memory + 1, size).code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(arena->Check(memory + 1, ~std::size_t{0}).code(), absl::StatusCode::kOutOfRange);
    ASSERT_TRUE(arena->Free(memory).ok());
    EXPECT_EQ(arena->Check(memory, 1).code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(arena->Check(&calls_, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(arena->Check(nullptr, 0).ok()) << "zero bytes touch nothing";
}

TEST_F(ArenaTest, ForkedChildIsRefusedAndReleasesNothing) {
  auto arena = Make();
  void* const memory = *arena->Allocate(64);
  const pid_t child = fork();
  if (child == 0) {
    const bool refused =
        arena->Allocate(64).status().code() == absl::StatusCode::kFailedPrecondition &&
        arena->Free(memory).code() == absl::StatusCode::kFailedPrecondition &&
        arena->Find(memory).status().code() == absl::StatusCode::kFailedPrecondition;
    arena.reset();
    const bool released = calls_.release != 0;
    const auto own = Make();
    const bool usable = own->Free(*own->Allocate(64)).ok() && own->Free(*own->Allocate(64)).ok();
    _exit(refused && !released && usable ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(arena->Free(memory).ok());
  arena.reset();
  EXPECT_EQ(calls_.release, 1);
}

TEST_F(ArenaTest, OwnersFreeByThemselves) {
  struct Pair {
    std::uint32_t a;
    std::uint64_t b;
  };
  const auto arena = Make();
  Pair* address = nullptr;
  {
    const auto pair = arena->New<Pair>(Contents::kCleared);
    ASSERT_TRUE(pair.ok());
    address = pair->get();
    EXPECT_EQ((*pair)->b, 0u);
    EXPECT_TRUE(arena->Find(address).ok());
  }
  EXPECT_FALSE(arena->Find(address).ok());

  auto array = *arena->NewArray<std::uint32_t>(100);
  std::uint32_t* const elements = array.get();
  OwnedArray<std::uint32_t> taken = std::move(array);
  EXPECT_EQ(taken.get(), elements);
  EXPECT_EQ(taken.size(), 100u);
  taken = *arena->NewArray<std::uint32_t>(5);
  EXPECT_FALSE(arena->Find(elements).ok());
  EXPECT_EQ(arena->NewArray<std::uint32_t>(0)->size(), 0u);
}

TEST_F(ArenaTest, HandlesAreFilledInByType) {
  struct Handle {
    std::uint32_t* p;
  };
  union ConstHandle64 {
    const std::uint32_t* p;
    std::uint64_t q;
  };
  struct VoidHandle {
    void* p;
  };
  static_assert(HandleTo<Handle, std::uint32_t> && !HandleTo<Handle, std::uint64_t>);
  static_assert(!HandleTo<Handle, const std::uint32_t>);
  static_assert(HandleTo<ConstHandle64, const std::uint32_t> &&
                HandleTo<ConstHandle64, std::uint32_t>);
  static_assert(HandleTo<VoidHandle, std::uint64_t> && !HandleTo<VoidHandle, const std::uint64_t>);

  const auto arena = Make();
  const auto array = arena->NewArray<std::uint32_t>(4);
  Handle handle = {};
  SetHandle(handle, *array);
  EXPECT_EQ(handle.p, array->get());
  ConstHandle64 wide = {};
  SetHandle(wide, array->get());
  EXPECT_EQ(wide.q, reinterpret_cast<std::uintptr_t>(array->get()));
}

TEST_F(ArenaTest, SaysWhatTheRegionIs) {
  const auto arena = Make(1 << 20, 3 * kPage);
  EXPECT_EQ(arena->region().size(), (1u << 20) + 3 * kPage);
  EXPECT_EQ(arena->payload().data(), arena->region().data() + 3 * kPage);
  EXPECT_EQ(arena->order(), ByteOrder::kBig);
}

}  // namespace
}  // namespace xencomm
