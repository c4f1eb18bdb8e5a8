// The parts that hand something from one thread to another, each by itself.

#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/memory/dirty_log.h"
#include "hcall/hypervisor/memory/quiescence.h"
#include "tests/litmus/explore.h"
#include "xencomm/arena.h"
#include "xencomm/free_stack.h"
#include "xencomm/process_slot.h"

namespace xencomm {
namespace {

using litmus::Explore;
using litmus::Require;

TEST(PartsLitmus, ASpinLockKeepsThreadsApart) {
  std::optional<hypervisor::SpinLock> lock;
  int count;
  const auto add = [&] {
    hypervisor::SpinGuard guard(*lock);
    ++count;
  };
  Explore({[&] {
             lock.emplace();
             count = 0;
           },
           {add, add, add},
           [&] { Require(count == 3, "one is lost"); }});
}

// Something that calls find and use, and that others take away and use for something else once no
// call has it any more.
class Quiet {
 public:
  Quiet() { quiescence.Init(slots, 2); }

  void Call(unsigned slot) {
    quiescence.Enter(slots[slot]);
    if (is_there.load(std::memory_order_relaxed)) ++bytes;
    hypervisor::Quiescence::Leave(slots[slot]);
  }
  std::uint64_t TakeAway() {
    is_there.store(false, std::memory_order_relaxed);
    return quiescence.Stamp();
  }
  void ReuseIfFree(std::uint64_t stamp) {
    if (stamp < quiescence.OldestInUse()) bytes = 7;
  }

  hypervisor::CallerSlot slots[2];
  hypervisor::Quiescence quiescence;
  std::atomic<bool> is_there = true;
  int bytes = 0;
};

TEST(PartsLitmus, WhatIsTakenAwayIsReusedWhenNoCallHasIt) {
  std::optional<Quiet> quiet;
  Explore({[&] { quiet.emplace(); },
           {[&] {
              quiet->Call(0);
              quiet->Call(0);
            },
            [&] { quiet->ReuseIfFree(quiet->TakeAway()); }},
           nullptr},
          4);
}

// Who takes it away need not be who reuses it.
TEST(PartsLitmus, WhatOneTakesAwayAnotherReuses) {
  std::optional<Quiet> quiet;
  std::atomic<std::uint64_t> stamp;
  Explore(
      {[&] {
         quiet.emplace();
         stamp = 0;
       },
       {[&] { quiet->Call(0); }, [&] { stamp.store(quiet->TakeAway(), std::memory_order_release); },
        [&] {
          const std::uint64_t taken = stamp.load(std::memory_order_acquire);
          if (taken != 0) quiet->ReuseIfFree(taken);
        }},
       nullptr},
      4);
}

// A call that began before a stamp is seen, or else all that it did.
TEST(PartsLitmus, ACallThatBeganBeforeIsSeenOrItsTraceIs) {
  std::optional<Quiet> quiet;
  std::atomic<bool> is_noting;
  Explore({[&] {
             quiet.emplace();
             is_noting = false;
           },
           {[&] {
              quiet->quiescence.Enter(quiet->slots[0]);
              if (!is_noting.load(std::memory_order_relaxed)) ++quiet->bytes;
              hypervisor::Quiescence::Leave(quiet->slots[0]);
            },
            [&] {
              is_noting.store(true, std::memory_order_relaxed);
              const std::uint64_t stamp = quiet->quiescence.Stamp();
              if (!quiet->quiescence.BeganBefore(quiet->slots[0], stamp)) ++quiet->bytes;
            }},
           nullptr},
          4);
}

// What nobody could note one by one is written when it is said that everything is.
TEST(PartsLitmus, WhoKnowsThatEverythingIsWrittenSeesIt) {
  std::optional<hypervisor::DirtyLog> log;
  int bytes;
  Explore({[&] {
             log.emplace();
             bytes = 0;
           },
           {[&] {
              bytes = 1;
              log->SetEverything();
            },
            [&] {
              if (log->everything()) Require(bytes == 1, "it is written");
            }},
           nullptr});
}

// Blocks and what lies in them.
class Blocks {
 public:
  Blocks() {
    for (std::uint32_t i = 0; i < 2; ++i) stack_.Push(i, link_of_);
  }

  std::uint32_t Pop() {
    const std::uint32_t block = stack_.Pop(link_of_);
    if (block != FreeStack::kNone) ++bytes_[block];
    return block;
  }
  void Push(std::uint32_t block) {
    ++bytes_[block];
    stack_.Push(block, link_of_);
  }
  void PopAndPush() {
    const std::uint32_t block = Pop();
    if (block != FreeStack::kNone) Push(block);
  }
  void TakeAll() {
    for (std::uint32_t block = stack_.TakeAll(); block != FreeStack::kNone;) {
      const std::uint32_t next = links_[block].load(std::memory_order_relaxed);
      ++bytes_[block];
      block = next;
    }
  }
  unsigned Count() {
    unsigned count = 0;
    while (Pop() != FreeStack::kNone) ++count;
    return count;
  }

 private:
  FreeStack stack_;
  std::atomic<std::uint32_t> links_[4] = {};
  int bytes_[4] = {};
  const std::function<std::atomic<std::uint32_t>&(std::uint32_t)> link_of_ =
      [this](std::uint32_t block) -> std::atomic<std::uint32_t>& { return links_[block]; };
};

TEST(PartsLitmus, APieceIsOneThreadsAtATime) {
  std::optional<Blocks> blocks;
  Explore({[&] { blocks.emplace(); },
           {[&] {
              blocks->PopAndPush();
              blocks->Pop();
            },
            [&] { blocks->PopAndPush(); }, [&] { blocks->Pop(); }},
           nullptr});
}

TEST(PartsLitmus, NoPieceIsLost) {
  std::optional<Blocks> blocks;
  Explore({[&] { blocks.emplace(); },
           {[&] {
              blocks->Push(2);
              blocks->PopAndPush();
            },
            [&] {
              blocks->PopAndPush();
              blocks->Push(3);
            }},
           [&] { Require(blocks->Count() == 4, "all are there"); }});
}

TEST(PartsLitmus, AllPiecesAreTakenAtOnce) {
  std::optional<Blocks> blocks;
  Explore({[&] { blocks.emplace(); },
           {[&] { blocks->PopAndPush(); }, [&] { blocks->TakeAll(); }, [&] { blocks->Push(2); }},
           nullptr});
}

// Which process runs is what this says.
struct FakeMarker {
  static inline int process = 0;

  int of = process;
  bool in_same_process() const { return of == process; }
};

TEST(PartsLitmus, AForkedChildHasOneSlot) {
  struct Counter {
    int value = 0;
  };
  std::optional<ProcessSlot<Counter, FakeMarker>> slot;
  std::array<Counter*, 2> found;
  Explore({[&] {
             slot.emplace();
             ++FakeMarker::process;
           },
           {[&] {
              found[0] = &slot->OfThisProcess();
              Require(found[0]->value == 0, "it is new");
            },
            [&] {
              found[1] = &slot->OfThisProcess();
              Require(found[1]->value == 0, "it is new");
            }},
           [&] { Require(found[0] == found[1], "both have the same"); }});
}

class PlainBacking final : public Backing {
 public:
  explicit PlainBacking(std::byte* memory) : memory_(memory) {}

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override {
    return Reservation{.base = memory_, .payload_size = payload_size};
  }
  absl::Status Populate(std::uint64_t, std::uint64_t) override { return absl::OkStatus(); }
  void Release() override {}

 private:
  std::byte* memory_;
};

// Slots of one page and whole pages, made, freed by another thread and made anew.
TEST(PartsLitmus, AnAllocationIsOneThreadsAtATime) {
  constexpr std::size_t kBytes = 32 * Arena::kPageSize;
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(Arena::kPageSize, kBytes)), &std::free);
  std::unique_ptr<Arena> arena;
  std::atomic<int*> passed;
  const auto use = [&](std::size_t size) {
    const absl::StatusOr<void*> made = arena->Allocate(size, Contents::kAny);
    Require(made.ok(), "there is room");
    auto* const number = static_cast<int*>(*made);
    *number = 1;
    Require(arena->Check(number, size).ok(), "it is live");
    return number;
  };
  Explore({[&] {
             arena = *Arena::Create(std::make_unique<PlainBacking>(memory.get()), kBytes);
             passed = nullptr;
           },
           {[&] {
              int* const number = use(2048);
              *number = 2;
              passed.store(number, std::memory_order_release);
              use(2048);
            },
            [&] {
              if (int* const number = passed.load(std::memory_order_acquire)) {
                Require(arena->Check(number, 2048).ok(), "it is live here, too");
                ++*number;
                Require(arena->Free(number).ok(), "it can be freed");
              }
              Require(arena->Free(use(8192)).ok(), "it can be freed");
              use(2048);
            }},
           [&] { arena = nullptr; }},
          2);
}

}  // namespace
}  // namespace xencomm
