// What several threads do with one Arena, and what a thread keeps for itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/fake_backing.h"
#include "xencomm/arena.h"
#include "xencomm/process_slot.h"

namespace xencomm {
namespace {

using testing::ArenaTest;
using ::testing::Contains;
using ::testing::Each;
using testing::kPage;

TEST_F(ArenaTest, ThreadsShareIt) {
  const auto arena = Make();
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<unsigned char*, std::size_t>> live;
      for (int i = 0; i < 20000; ++i) {
        if (live.size() > 20) {
          std::swap(live[random() % live.size()], live.back());
          const auto [start, size] = live.back();
          live.pop_back();
          EXPECT_EQ(start[0], t);
          EXPECT_EQ(start[size - 1], t);
          EXPECT_TRUE(arena->Free(start).ok());
        } else {
          const std::size_t size = 1 + random() % (random() % 16 == 0 ? 600000 : 9000);
          auto* const start = static_cast<unsigned char*>(*arena->Allocate(size));
          start[0] = start[size - 1] = static_cast<unsigned char>(t);
          live.emplace_back(start, size);
        }
      }
      for (const auto& [start, size] : live) EXPECT_TRUE(arena->Free(start).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(arena->Allocate(64 << 20).ok()) << "something was lost";
}

// Does it in a thread of its own, and waits for its end.
template <class Function>
void InAThread(Function function) {
  std::thread(function).join();
}

// Looks all the time at first, so that who waits goes on at once.
template <class Condition>
void WaitUntil(Condition is_so) {
  for (int looks = 0; !is_so(); ++looks) {
    if (looks > 1000) std::this_thread::yield();
  }
}

TEST_F(ArenaTest, OfTwoThreadsThatFreeOnePieceOneIsRefused) {
  const auto arena = Make();
  constexpr int kTimes = 3000;
  std::atomic<void*> memory = nullptr;
  std::atomic<int> ready = 0;  // threads, over all times
  std::atomic<int> done = 0;
  std::atomic<int> freed = 0;
  const auto free_it = [&](int time) {
    ++ready;
    WaitUntil([&] { return ready >= 2 * time; });
    freed += arena->Free(memory).ok() ? 1 : 0;
    ++done;
    WaitUntil([&] { return done >= 2 * time; });
  };
  std::thread other([&] {
    for (int time = 1; time <= kTimes; ++time) free_it(time);
  });
  for (int time = 1; time <= kTimes; ++time) {
    memory = *arena->Allocate(time % 2 == 0 ? 64 : 1 << 20);
    free_it(time);
    EXPECT_EQ(freed, time);
  }
  other.join();
}

TEST_F(ArenaTest, WhatOneThreadFreedNoOtherFreesAgain) {
  const auto arena = Make();
  for (const std::size_t size : {std::size_t{64}, std::size_t{4096}, std::size_t{1} << 20}) {
    void* const memory = *arena->Allocate(size);
    InAThread([&] { EXPECT_TRUE(arena->Free(memory).ok()); });
    EXPECT_EQ(arena->Free(memory).code(), absl::StatusCode::kNotFound) << size;
    InAThread([&] { EXPECT_EQ(arena->Free(memory).code(), absl::StatusCode::kNotFound) << size; });
  }
}

// What one thread makes another frees, many times more than there is room for at once.
TEST_F(ArenaTest, WhatOtherThreadsFreeComesBack) {
  const auto arena = Make(16 * kPage);
  for (const std::size_t size : {std::size_t{256}, std::size_t{1000}, std::size_t{3} * kPage}) {
    std::atomic<void*> passed = nullptr;
    constexpr int kTimes = 1000;
    std::thread other([&] {
      for (int i = 0; i < kTimes; ++i) {
        void* memory;
        WaitUntil([&] { return (memory = passed.exchange(nullptr)) != nullptr; });
        EXPECT_TRUE(arena->Free(memory).ok());
      }
    });
    for (int i = 0; i < kTimes; ++i) {
      const auto memory = arena->Allocate(size);
      EXPECT_TRUE(memory.ok()) << i << ": " << memory.status();
      WaitUntil([&] { return passed == nullptr; });
      passed = *memory;
    }
    other.join();
  }
  EXPECT_TRUE(arena->Allocate(16 * kPage).ok()) << "something was lost";
}

TEST_F(ArenaTest, WhatAThreadKeptTheNextOneHas) {
  const auto arena = Make();
  void* kept = nullptr;
  const auto use = [&] {
    void* const memory = *arena->Allocate(2 * kPage);
    if (kept == nullptr) kept = memory;
    EXPECT_EQ(memory, kept);
    EXPECT_TRUE(arena->Free(memory).ok());
  };
  for (int i = 0; i < 200; ++i) InAThread(use);
  EXPECT_EQ(calls_.populate, 1);
}

TEST_F(ArenaTest, ManyArenasAreUsedByOneThreadAndOutlivedByIt) {
  std::vector<std::unique_ptr<Arena>> arenas;
  std::vector<void*> kept;
  for (int i = 0; i < 10; ++i) {
    arenas.push_back(Make(16 * kPage));
    kept.push_back(*arenas.back()->Allocate(100));
    ASSERT_TRUE(arenas.back()->Free(kept.back()).ok());
  }
  for (std::size_t i = 0; i < arenas.size(); ++i) EXPECT_EQ(*arenas[i]->Allocate(100), kept[i]);
  arenas.clear();
  EXPECT_EQ(calls_.release, 10);
  EXPECT_TRUE(Make(16 * kPage)->Allocate(100).ok());
}

// What threads keep which do nothing, with what lies in a page beside what is live.
TEST_F(ArenaTest, WhatThreadsKeepIsThereWhenNothingElseIs) {
  const auto arena = Make(256 * kPage);
  constexpr int kThreads = 3;
  std::barrier together(kThreads + 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      std::vector<void*> live;
      for (const std::size_t size : {64, 64, 512, 2048, 4096, 4096, 12288, 262144}) {
        live.push_back(*arena->Allocate(size));
      }
      for (void* const memory : live) EXPECT_TRUE(arena->Free(memory).ok());
      together.arrive_and_wait();
      together.arrive_and_wait();  // everything is somebody else's
      for (const std::size_t size : {64, 512, 2048, 4096, 12288, 262144}) {
        EXPECT_EQ(arena->Allocate(size).status().code(), absl::StatusCode::kResourceExhausted);
      }
      together.arrive_and_wait();
      together.arrive_and_wait();  // nothing is
      for (const std::size_t size : {64, 512, 2048, 4096, 12288}) {
        const auto memory = arena->Allocate(size);
        EXPECT_TRUE(memory.ok()) << memory.status();
      }
    });
  }
  together.arrive_and_wait();
  const auto all = arena->Allocate(256 * kPage);
  EXPECT_TRUE(all.ok()) << all.status();
  together.arrive_and_wait();
  together.arrive_and_wait();
  EXPECT_TRUE(arena->Free(*all).ok());
  together.arrive_and_wait();
  for (std::thread& thread : threads) thread.join();
}

// A slot whose page is not free as a whole.
TEST_F(ArenaTest, ASlotThatAnotherThreadKeepsIsThereWhenNothingElseIs) {
  const auto arena = Make(kPage);
  void* const stays = *arena->Allocate(1024);
  std::vector<void*> kept;
  InAThread([&] {
    for (int i = 0; i < 3; ++i) kept.push_back(*arena->Allocate(1024));
    for (void* const memory : kept) EXPECT_TRUE(arena->Free(memory).ok());
  });
  for (int i = 0; i < 3; ++i) EXPECT_THAT(kept, Contains(*arena->Allocate(1024)));
  EXPECT_FALSE(arena->Allocate(1024).ok());
  EXPECT_TRUE(arena->Free(stays).ok());
}

TEST_F(ArenaTest, WhatAThreadKeepsComesBeforeNewMemoryAndThatBeforeWhatOthersKeep) {
  for (const std::size_t size : {std::size_t{64}, std::size_t{2048}, std::size_t{kPage}}) {
    const auto arena = Make();
    calls_.populate = 0;
    std::vector<void*> live;
    for (std::size_t i = 0; i < 16 * kPage / size; ++i) live.push_back(*arena->Allocate(size));
    for (void* const memory : live) ASSERT_TRUE(arena->Free(memory).ok());
    EXPECT_EQ(calls_.populate, 1);
    void* const run = *arena->Allocate(16 * kPage);
    EXPECT_EQ(calls_.populate, 1);
    ASSERT_TRUE(arena->Free(run).ok());
    InAThread([&] { EXPECT_NE(*arena->Allocate(16 * kPage), run); });
    EXPECT_EQ(calls_.populate, 2);
    EXPECT_EQ(*arena->Allocate(16 * kPage), run);
  }
}

TEST_F(ArenaTest, AThreadKeepsSoManyBlocksOfASize) {
  constexpr std::size_t kBlocks = 48;  // three times what the Arena grows by
  static_assert(Arena::kKept == 31);
  const struct { std::size_t freed, kept; } cases[] = {{1, 1}, {31, 31}, {32, 15}, {48, 31}};
  for (const auto& [freed, kept] : cases) {
    const auto arena = Make();
    std::vector<void*> live;
    for (std::size_t i = 0; i < kBlocks; ++i) live.push_back(*arena->Allocate(kPage));
    live.resize(freed);
    for (void* const memory : live) ASSERT_TRUE(arena->Free(memory).ok());
    // What it does not keep is there for others.
    const int before = calls_.populate;
    std::size_t others = 0;
    InAThread([&] {
      while (arena->Allocate(kPage).ok() && calls_.populate == before) ++others;
    });
    EXPECT_EQ(others, freed - kept);
    std::size_t own = 0;
    for (void* memory = *arena->Allocate(kPage); std::ranges::count(live, memory) != 0;
         memory = *arena->Allocate(kPage)) {
      ++own;
    }
    EXPECT_EQ(own, kept);
  }
}

// While another holds it.
TEST_F(ArenaTest, SteadyStateTakesNoLock) {
  const auto arena = Make();
  const auto round = [&] {
    std::vector<void*> live;
    for (const std::size_t size : {std::size_t{0}, std::size_t{144}, kPage, 64 * kPage}) {
      for (int i = 0; i < 4; ++i) live.push_back(*arena->Allocate(size));
    }
    for (void* const memory : live) {
      EXPECT_TRUE(arena->Check(memory, 1).ok());
      EXPECT_TRUE(arena->Free(memory).ok());
    }
  };
  round();
  std::promise<void> is_growing, is_done;
  calls_.before_populate = [&] {
    is_growing.set_value();
    EXPECT_EQ(is_done.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  };
  std::thread other([&] { EXPECT_TRUE(arena->Allocate(32 << 20).ok()); });
  is_growing.get_future().wait();
  for (int i = 0; i < 100; ++i) round();
  is_done.set_value();
  other.join();
}

// So that they write no cache line in common: 64 bytes of what is known of slots are of a KiB.
TEST_F(ArenaTest, ThreadsTakeSlotsApart) {
  const auto arena = Make();
  for (const std::size_t size : {64, 128, 256, 512}) {
    std::vector<std::uintptr_t> taken;
    const auto take = [&] {
      void* const one = *arena->Allocate(size);
      void* const other = *arena->Allocate(size);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one) / 1024,
                reinterpret_cast<std::uintptr_t>(other) / 1024);
      taken.push_back(reinterpret_cast<std::uintptr_t>(one) / 1024);
    };
    take();
    std::thread other([&] {
      take();
      InAThread(take);
    });
    other.join();
    EXPECT_NE(taken[0], taken[1]);
    EXPECT_NE(taken[0], taken[2]);
    EXPECT_NE(taken[1], taken[2]);
  }
}

TEST_F(ArenaTest, MoreThreadsThanKeepAnythingShareIt) {
  const auto arena = Make(1024 * kPage);
  constexpr int kThreads = 80;
  std::barrier together(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        for (const std::size_t size : {std::size_t{64}, std::size_t{700}, 2 * kPage}) {
          auto* const memory = static_cast<unsigned char*>(*arena->Allocate(size));
          memory[0] = memory[size - 1] = static_cast<unsigned char>(t);
          together.arrive_and_wait();
          EXPECT_EQ(memory[0], t);
          EXPECT_EQ(memory[size - 1], t);
          EXPECT_TRUE(arena->Free(memory).ok());
          EXPECT_EQ(arena->Free(memory).code(), absl::StatusCode::kNotFound);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(arena->Allocate(1024 * kPage).ok()) << "something was lost";
}

// In the destructor of a variable that goes after what the Arena has of the thread, which another
// thread has then.
TEST_F(ArenaTest, AThreadThatEndsCanAllocateAndFree) {
  static Arena* used;
  struct AtEnd {
    ~AtEnd() {
      EXPECT_TRUE(used->Free(memory).ok());
      std::promise<void*> kept;
      std::promise<void> done;
      std::thread next([&] {
        void* const others = *used->Allocate(2 * kPage);
        EXPECT_TRUE(used->Free(others).ok());
        kept.set_value(others);
        done.get_future().wait();
        EXPECT_EQ(*used->Allocate(2 * kPage), others);
        EXPECT_TRUE(used->Free(others).ok());
      });
      void* const others = kept.get_future().get();
      void* const own = *used->Allocate(2 * kPage);
      EXPECT_NE(own, others);
      EXPECT_TRUE(used->Free(own).ok());
      done.set_value();
      next.join();
    }
    void* memory = nullptr;
  };
  const auto arena = Make(16 * kPage);
  used = arena.get();
  for (int i = 0; i < 100; ++i) {
    InAThread([] {
      static thread_local AtEnd at_end;
      at_end.memory = *used->Allocate(64);
    });
  }
  EXPECT_TRUE(arena->Allocate(16 * kPage).ok()) << "something was lost";
}

// More is asked for than there is, so threads take what others keep all the time; blocks go from
// thread to thread.
TEST_F(ArenaTest, ThreadsShareWhatIsScarce) {
  constexpr std::uint64_t kPages = 48;
  const auto arena = Make(kPages * kPage);
  struct Block {
    unsigned char* start;
    std::size_t size;
    unsigned char mark;
  };
  std::mutex mutex;
  std::vector<Block> live;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 10000; ++i) {
        Block block = {};
        if (random() % 2 == 0) {
          block.size = std::size_t{1} + random() % (random() % 4 == 0 ? 5 * kPage : kPage / 2);
          block.mark = static_cast<unsigned char>(random());
          const auto made = arena->Allocate(block.size);
          if (!made.ok()) {
            EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
            continue;
          }
          block.start = static_cast<unsigned char*>(*made);
          std::memset(block.start, block.mark, block.size);
          const std::lock_guard lock(mutex);
          live.push_back(block);
        } else {
          {
            const std::lock_guard lock(mutex);
            if (live.empty()) continue;
            std::swap(live[random() % live.size()], live.back());
            block = live.back();
            live.pop_back();
          }
          EXPECT_TRUE(std::all_of(block.start, block.start + block.size,
                                  [&](unsigned char byte) { return byte == block.mark; }));
          EXPECT_TRUE(arena->Check(block.start, block.size).ok());
          EXPECT_TRUE(arena->Free(block.start).ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Block& block : live) EXPECT_TRUE(arena->Free(block.start).ok());
  EXPECT_TRUE(arena->Allocate(kPages * kPage).ok()) << "something was lost";
}

// As ForkMarker, of forks that a test says there were.
struct FakeMarker {
  static inline std::atomic<int> forks = 0;
  const int made = forks;
  bool in_same_process() const { return made == forks; }
};

TEST(ProcessSlot, EachProcessHasOneOfItsOwnWhicheverThreadAsksFirst) {
  struct Value {
    int number = 5;
  };
  // Neither goes: a child's parent has its own still.
  static auto* const slot = new ProcessSlot<Value, FakeMarker>;
  static auto* const parents = new std::vector<Value*>;
  for (int round = 0; round < 50; ++round) {
    Value& parent = slot->OfThisProcess();
    EXPECT_EQ(&slot->OfThisProcess(), &parent);
    EXPECT_EQ(std::exchange(parent.number, round), 5);
    parents->push_back(&parent);
    ++FakeMarker::forks;
    constexpr unsigned kThreads = 3;
    std::barrier together(kThreads);
    Value* seen[kThreads] = {};
    std::vector<std::thread> threads;
    for (Value*& each : seen) {
      threads.emplace_back([&] {
        together.arrive_and_wait();
        each = &slot->OfThisProcess();
        EXPECT_EQ(each->number, 5);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_THAT(seen, Each(&slot->OfThisProcess()));
    EXPECT_NE(seen[0], &parent);
    EXPECT_EQ(parent.number, round);
  }
}

}  // namespace
}  // namespace xencomm
