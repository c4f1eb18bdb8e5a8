// The parts that hand something from one thread to another, each by itself.

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/memory/dirty_log.h"
#include "hcall/hypervisor/memory/quiescence.h"
#include "tests/litmus/explore.h"
#include "xencomm/arena.h"
#include "xencomm/numbers.h"
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
// call has it any more. The first slot is claimed from the start.
class Quiet {
 public:
  Quiet() {
    quiescence.Init(slots, 2);
    quiescence.Claim();
  }

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

TEST(PartsLitmus, WhatIsTakenAwayIsReusedWhenNoFirstCallHasIt) {
  std::optional<Quiet> quiet;
  Explore({[&] { quiet.emplace(); },
           {[&] {
              quiet->quiescence.Claim();
              quiet->Call(1);
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

TEST(PartsLitmus, ANumberIsOneThreadsAtATime) {
  std::optional<Numbers> numbers;
  std::array<int, 3> of_number;
  const auto use = [&] {
    const std::uint32_t number = numbers->Take();
    Require(number < of_number.size(), "it is the lowest");
    ++of_number[number];
    numbers->GiveBack(number);
  };
  Explore({[&] { numbers.emplace(); }, {use, use, use}, nullptr});
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

// An Arena of some pages, as the threads of a program use it, which have the numbers 0, 1 and 2.
class ArenaOf {
 public:
  explicit ArenaOf(std::size_t pages)
      : bytes_(pages * Arena::kPageSize),
        memory_(static_cast<std::byte*>(std::aligned_alloc(Arena::kPageSize, bytes_)), &std::free) {
    AskForThreadNumber();
  }

  void MakeNew() { arena_ = *Arena::Create(std::make_unique<PlainBacking>(memory_.get()), bytes_); }
  Arena& operator*() { return *arena_; }

  // Null when there is no room.
  int* Make(std::size_t size) {
    const absl::StatusOr<void*> made = arena_->Allocate(size);
    if (!made.ok()) return nullptr;
    auto* const number = static_cast<int*>(*made);
    Require(arena_->Check(number, size).ok(), "it is live");
    *number = 1;
    return number;
  }
  void Free(int* number) {
    ++*number;
    Require(arena_->Free(number).ok(), "it can be freed");
  }

 private:
  const std::size_t bytes_;
  const std::unique_ptr<std::byte, decltype(&std::free)> memory_;
  std::unique_ptr<Arena> arena_;
};

// Slots of one page and whole pages, made, freed by another thread and made anew.
TEST(PartsLitmus, AnAllocationIsOneThreadsAtATime) {
  ArenaOf arena(32);
  std::atomic<int*> passed;
  Explore({[&] {
             arena.MakeNew();
             passed = nullptr;
           },
           {[&] {
              int* const number = arena.Make(2048);
              *number = 2;
              passed.store(number, std::memory_order_release);
              arena.Make(2048);
            },
            [&] {
              if (int* const number = passed.load(std::memory_order_acquire)) {
                Require((*arena).Check(number, 2048).ok(), "it is live here, too");
                arena.Free(number);
              }
              arena.Free(arena.Make(8192));
              arena.Make(2048);
            }},
           nullptr,
           &thread_number},
          2);
}

TEST(PartsLitmus, OfTwoThreadsThatFreeOneBlockOneIsRefused) {
  ArenaOf arena(1);
  void* block;
  std::atomic<int> freed;
  const auto free_it = [&] { freed.fetch_add((*arena).Free(block).ok() ? 1 : 0); };
  Explore({[&] {
             arena.MakeNew();
             block = (*arena).Allocate(64).value();
             freed = 0;
           },
           {free_it, free_it},
           [&] { Require(freed == 1, "one of them does"); },
           &thread_number});
}

// Where there is room for one of them only, it goes from thread to thread.
TEST(PartsLitmus, WhatOneThreadKeepsAnotherTakesWhereThereIsNothingElse) {
  ArenaOf arena(1);
  const auto use_twice = [&] {
    for (int i = 0; i < 2; ++i) {
      if (int* const number = arena.Make(Arena::kPageSize)) arena.Free(number);
    }
  };
  Explore({[&] { arena.MakeNew(); }, {use_twice, use_twice}, nullptr, &thread_number}, 2);
}

// A slot that a thread had, then was part of another's page, and is a slot again.
TEST(PartsLitmus, ASlotIsOneThreadsThoughTwoRememberIt) {
  constexpr std::size_t kSlot = 512;  // two of them are taken at once
  ArenaOf arena(1);
  Explore({[&] { arena.MakeNew(); },
           {[&] {
              std::array<int*, 2> slots = {arena.Make(kSlot), arena.Make(kSlot)};
              for (int* const slot : slots) {
                if (slot != nullptr) arena.Free(slot);
              }
              arena.Make(kSlot);
            },
            [&] {
              if (int* const page = arena.Make(Arena::kPageSize)) {
                page[kSlot / sizeof(int)] = 1;
                arena.Free(page);
              }
              arena.Make(kSlot);
            }},
           nullptr,
           &thread_number},
          2);
}

}  // namespace
}  // namespace xencomm
