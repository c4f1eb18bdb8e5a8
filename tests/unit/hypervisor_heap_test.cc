// The heap and its quiescence by themselves, against a model that says of each frame whose it is,
// and of each block that waits which calls it waits for.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/memory/frame_heap.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kSuperpage = 9;  // the order of what the machine is asked to discard
constexpr unsigned kCallers = 3;

// Frames on both sides of 2^12, so that their numbers are 12 or 13 bits wide; the first ones are
// not the heap's.
constexpr std::uint64_t kFirstFrame = 4096 - 1500;
constexpr std::uint32_t kNotFree = 5;
constexpr std::uint32_t kFrames = 3500;

struct Block {
  std::uint64_t mfn;
  unsigned order;

  std::uint64_t pages() const { return std::uint64_t{1} << order; }
  friend bool operator==(const Block&, const Block&) = default;
  friend void PrintTo(const Block& block, std::ostream* out) {
    *out << "order " << block.order << " at " << block.mfn;
  }
};

class Heap : private Machine {
 public:
  explicit Heap(bool zero = false, std::uint32_t frames = kFrames)
      : memory_(std::make_unique<std::byte[]>(frames * kPageSize)), rows_(frames) {
    if (!zero) std::memset(memory_.get(), 0xff, frames * kPageSize);
    quiescence.Init(slots.data(), kCallers);
    frames_ = FrameTable(reinterpret_cast<std::uintptr_t>(memory_.get()) - kFirstFrame * kPageSize,
                         rows_.data(), kFirstFrame, frames);
    heap.Init(frames_, kNotFree, frames_.count(), zero, *this, quiescence);
  }

  std::byte* BytesOf(std::uint64_t mfn) { return frames_.Bytes(mfn); }
  bool IsZero(const Block& block) {
    const std::byte* const bytes = BytesOf(block.mfn);
    return bytes[0] == std::byte{0} &&
           std::memcmp(bytes, bytes + 1, block.pages() * kPageSize - 1) == 0;
  }
  // A block that its owner has written on.
  Block Take(unsigned order) {
    const Block block = {heap.Allocate(order), order};
    EXPECT_NE(block.mfn, kNoFrame);
    EXPECT_TRUE(IsZero(block));
    std::memset(BytesOf(block.mfn), 0xff, block.pages() * kPageSize);
    return block;
  }

  std::array<CallerSlot, kCallers> slots;
  Quiescence quiescence;
  FrameHeap heap;
  // Whether the machine can discard; what it was asked to.
  bool discards = false;
  std::vector<Block> asked;

 private:
  bool Discard(MachineAddress start, std::uint64_t bytes) override {
    const Block block = {start.value >> kPageShift,
                         static_cast<unsigned>(std::countr_zero(bytes >> kPageShift))};
    EXPECT_EQ(bytes, block.pages() * kPageSize);
    EXPECT_EQ(block.mfn % block.pages(), 0u);
    EXPECT_GE(block.order, kSuperpage);
    asked.push_back(block);
    std::memset(BytesOf(block.mfn), discards ? 0 : 0xee, bytes);
    return discards;
  }

  std::unique_ptr<std::byte[]> memory_;
  std::vector<Frame> rows_;
  FrameTable frames_;
};

// What a machine can discard is not cleared by hand, nor asked for twice.
TEST(HypervisorHeapTest, SuperpagesAreDiscardedWhereTheMachineCan) {
  for (const bool can : {false, true}) {
    for (const unsigned order : {kSuperpage, kSuperpage + 1}) {
      // As a whole, and in parts that grow together again.
      for (unsigned part = kSuperpage - 1; part <= order; ++part) {
        SCOPED_TRACE(testing::Message() << "order " << order << " in parts of " << part
                                        << (can ? "" : " of a machine that cannot"));
        Heap on(true);
        on.discards = can;
        const Block block = on.Take(order);
        EXPECT_THAT(on.asked, testing::IsEmpty());  // it was zero before
        std::vector<Block> expected;
        for (std::uint64_t i = 0; i < block.pages(); i += std::uint64_t{1} << part) {
          on.heap.Free(block.mfn + i, part);
          const Block freed = {block.mfn + i, part};
          if (part >= kSuperpage) expected.push_back(freed);
          if (part < kSuperpage && i / freed.pages() % 2 == 1) {
            expected.push_back({freed.mfn - freed.pages(), kSuperpage});
          }
          EXPECT_EQ(on.asked, expected);
        }
        // Whoever gets it finds it zero; where it could not be discarded then, that is tried again.
        EXPECT_EQ(on.Take(order), block);
        if (!can) expected.push_back(block);
        EXPECT_EQ(on.asked, expected);
      }
    }
  }
}

// No leg pays for all that waited for another one, but one that finds nothing else goes on until
// there is something.
TEST(HypervisorHeapTest, WhatWaitsIsReclaimedAPieceAtATime) {
  constexpr std::uint32_t kPiece = 8192;  // blocks
  for (const std::uint32_t count : {kPiece, kPiece + 1}) {
    Heap on(true, kNotFree + count);
    const auto take_all = [&] {
      for (std::uint32_t i = 0; i < count; ++i) ASSERT_NE(on.heap.Allocate(0), kNoFrame) << i;
      ASSERT_EQ(on.heap.Allocate(0), kNoFrame);
    };
    const auto give_all_up = [&] {
      for (std::uint64_t i = 0; i < count; ++i) on.heap.FreeLater(kFirstFrame + kNotFree + i, 0);
      EXPECT_EQ(on.heap.free_pages(), count);
    };
    take_all();
    give_all_up();
    on.heap.Reclaim();
    EXPECT_EQ(on.heap.has_waiting(), count > kPiece);
    on.heap.Reclaim();
    EXPECT_FALSE(on.heap.has_waiting());

    take_all();
    give_all_up();
    ASSERT_NE(on.heap.Allocate(0), kNoFrame);
    EXPECT_EQ(on.heap.has_waiting(), count > kPiece);
    for (std::uint32_t i = 1; i < count; ++i) ASSERT_NE(on.heap.Allocate(0), kNoFrame) << i;
    EXPECT_FALSE(on.heap.has_waiting());
  }
}

// Random histories. Each call has a number of its own.
class Model {
 public:
  explicit Model(unsigned seed) : random_(seed), on_(seed % 2 == 0), is_owned_(kFrames) {}

  void Step() {
    switch (Random(16)) {
      case 0:
      case 1:
        Enter();
        break;
      case 2:
      case 3:
        Leave();
        break;
      case 4:
        stamps_.push_back({on_.quiescence.Stamp(), UnderWay()});
        break;
      case 5:
        Reclaim();
        break;
      case 6:
      case 7:
      case 8:
        GiveUp(false);
        break;
      case 9:
      case 10:
        GiveUp(true);
        break;
      default:
        Allocate();
        break;
    }
    on_.discards = Random(2) == 0;
    EXPECT_EQ(on_.heap.free_pages(), kFrames - kNotFree - owned_pages_);
    for (unsigned i = 0; i < kCallers; ++i) {
      EXPECT_TRUE(calls_[i] == 0 || on_.heap.RanShort(on_.slots[i]) == ran_short_[i]);
      for (const Stamp& stamp : stamps_) {
        EXPECT_EQ(on_.quiescence.BeganBefore(on_.slots[i], stamp.value),
                  calls_[i] != 0 && stamp.calls.contains(calls_[i]));
      }
    }
    if (stamps_.size() > 8) stamps_.erase(stamps_.begin());
  }

 private:
  using Calls = std::set<std::uint64_t>;
  struct Waiting {
    Block block;
    Calls calls;  // that were under way
  };
  struct Stamp {
    std::uint64_t value;
    Calls calls;
  };

  std::uint64_t Random(std::uint64_t below) { return random_() % below; }

  Calls UnderWay() const {
    Calls calls(calls_.begin(), calls_.end());
    calls.erase(0);
    return calls;
  }
  void Enter() {
    CallerSlot* const slot = on_.quiescence.Claim();
    if (slot == nullptr) return;
    const auto i = static_cast<std::size_t>(slot - on_.slots.data());
    calls_[i] = ++last_call_;
    ran_short_[i] = false;
    on_.quiescence.Enter(*slot);
  }
  void Leave() {
    const std::uint64_t i = Random(kCallers);
    if (calls_[i] == 0) return;
    calls_[i] = 0;
    Quiescence::Leave(on_.slots[i]);
    Quiescence::Release(on_.slots[i]);
  }

  // From here on, what waited only for calls that have ended counts as free.
  void Settle() {
    const Calls now = UnderWay();
    std::erase_if(waiting_, [&](const Waiting& each) {
      return std::ranges::none_of(each.calls, [&](auto call) { return now.contains(call); });
    });
  }
  void Reclaim() {
    Settle();
    on_.heap.Reclaim();
    EXPECT_EQ(on_.heap.has_waiting(), !waiting_.empty());
  }

  bool IsFree(const Block& block) const {
    for (std::uint64_t i = 0; i < block.pages(); ++i) {
      if (is_owned_[block.mfn - kFirstFrame + i]) return false;
    }
    return std::ranges::none_of(waiting_, [&](const Waiting& each) {
      return each.block.mfn < block.mfn + block.pages() &&
             block.mfn < each.block.mfn + each.block.pages();
    });
  }
  static bool Has(const Block& block) {
    return block.mfn >= kFirstFrame + kNotFree && block.mfn % block.pages() == 0 &&
           block.mfn + block.pages() <= kFirstFrame + kFrames;
  }
  void Own(const Block& block, bool is_owned) {
    for (std::uint64_t i = 0; i < block.pages(); ++i) {
      is_owned_[block.mfn - kFirstFrame + i] = is_owned;
    }
    owned_pages_ += is_owned ? block.pages() : -block.pages();
  }

  void Allocate() {
    const unsigned order = static_cast<unsigned>(Random(8) == 0 ? Random(12) : Random(5));
    const unsigned width = std::array{FrameHeap::kAnyWidth, 13u, 12u, 11u}[Random(4)];
    const std::uint64_t limit = width < 64 ? std::uint64_t{1} << width : kNoFrame;
    Settle();
    const std::uint64_t mfn = Random(2) == 0 ? on_.heap.Allocate(order, width)
                                             : on_.heap.AllocateMemory(Random(64), order, width);
    if (mfn == kNoFrame) {
      for (Block block = {0, order}; block.mfn < kFirstFrame + kFrames;
           block.mfn += block.pages()) {
        if (!Has(block) || block.mfn + block.pages() > limit) continue;
        ASSERT_FALSE(IsFree(block)) << block.mfn << " of order " << order << " is free";
      }
      if (!waiting_.empty()) ran_short_.fill(true);
      return;
    }
    const Block block = {mfn, order};
    ASSERT_TRUE(Has(block));
    EXPECT_LE(mfn + block.pages(), limit);
    EXPECT_TRUE(IsFree(block));
    EXPECT_TRUE(on_.IsZero(block));
    std::memset(on_.BytesOf(mfn), 0xff, block.pages() * kPageSize);
    Own(block, true);
    owned_.push_back(block);
  }
  void GiveUp(bool later) {
    if (owned_.empty()) return;
    std::swap(owned_[Random(owned_.size())], owned_.back());
    const Block block = owned_.back();
    owned_.pop_back();
    Own(block, false);
    on_.asked.clear();
    if (!later) {
      on_.heap.Free(block.mfn, block.order);
      if (block.order >= kSuperpage) {
        ASSERT_FALSE(on_.asked.empty());
        EXPECT_EQ(on_.asked.front(), block);
      }
      return;
    }
    waiting_.push_back({block, UnderWay()});
    on_.heap.FreeLater(block.mfn, block.order);
    EXPECT_TRUE(on_.heap.has_waiting());
    EXPECT_TRUE(on_.asked.empty());
  }

  std::mt19937_64 random_;
  Heap on_;
  std::vector<bool> is_owned_;
  std::uint64_t owned_pages_ = 0;
  std::vector<Block> owned_;
  std::vector<Waiting> waiting_;
  std::vector<Stamp> stamps_;
  std::array<std::uint64_t, kCallers> calls_ = {};  // under way, or 0
  std::array<bool, kCallers> ran_short_ = {};
  std::uint64_t last_call_ = 0;
};

TEST(HypervisorHeapTest, GivesWhatIsFreeAndNothingElse) {
  for (unsigned seed = 0; seed < 8 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Model model(seed);
    for (unsigned step = 0; step < 1000 && !testing::Test::HasFailure(); ++step) model.Step();
  }
}

TEST(HypervisorHeapTest, NoBlockIsLargerThanTheLargest) {
  Heap on;
  EXPECT_EQ(on.heap.Allocate(FrameHeap::kMaxOrder + 1), kNoFrame);
  EXPECT_EQ(on.heap.Allocate(64), kNoFrame);
}

TEST(HypervisorQuiescenceTest, EachSlotIsOneCallers) {
  Heap on;
  for (CallerSlot& slot : on.slots) EXPECT_EQ(on.quiescence.Claim(), &slot);
  EXPECT_EQ(on.quiescence.Claim(), nullptr);
  Quiescence::Release(on.slots[1]);
  EXPECT_EQ(on.quiescence.Claim(), &on.slots[1]);
  EXPECT_EQ(on.quiescence.Claim(), nullptr);
}

}  // namespace
}  // namespace xencomm::hypervisor
