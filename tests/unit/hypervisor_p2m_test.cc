// The p2m by itself, against a map that says what stands where: its table of low entries, when that
// grows and when not, and the leaves beyond it.
#include "hcall/hypervisor/memory/p2m.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/memory/dirty_log.h"
#include "hcall/hypervisor/memory/domain_memory.h"
#include "hcall/hypervisor/memory/overhead.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint64_t kLeaf = P2m::kLeafEntries;

P2mEntry LoadLow(const P2m& p2m, std::uint64_t gfn) { return P2m::LowEntries(p2m).Load(gfn); }

class P2mTest : public testing::Test, private Machine {
 protected:
  static constexpr std::uint64_t kFirstFrame = 4096;
  static constexpr std::uint32_t kFrames = 4096;
  static constexpr std::uint16_t kDomain = 3;

  P2mTest() {
    const std::uint64_t bytes = kFrames * kPageSize;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kPageSize, bytes)));
    std::memset(memory_.get(), 0xa5, bytes);
    pool_.quiescence.Init(slots_.data(), 1);
    frames = FrameTable(reinterpret_cast<std::uintptr_t>(memory_.get()) - kFirstFrame * kPageSize,
                        rows_.data(), kFirstFrame, kFrames);
    pool_.heap.Init(frames, 0, kFrames, false, *this, pool_.quiescence);
    pages.Init(pool_, kDomain, 3000);
    EXPECT_TRUE(p2m.InitTranslated(frames, pages));
  }

  // As a caller that was given room puts an entry there.
  void Put(std::uint64_t gfn) {
    const P2mEntry entry(kFirstFrame + gfn % kFrames, P2mType::kRam);
    p2m.Store(gfn, entry);
    model_[gfn] = entry.word();
    pool_.heap.Reclaim();
  }
  void Fill(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t gfn = first; gfn != first + count; ++gfn) {
      ASSERT_TRUE(p2m.Reserve(gfn, 1, pages));
      Put(gfn);
    }
  }
  void Remove(std::uint64_t gfn) {
    p2m.Store(gfn, {});
    model_.erase(gfn);
  }
  // From now on there are so many pages more.
  void LimitTo(std::uint64_t more) { pages.Init(pool_, kDomain, pages.used() + more); }
  bool IsLow(std::uint64_t gfn) const { return LoadLow(p2m, gfn).present(); }

  void Expect(std::uint64_t gfn) const {
    const auto found = model_.find(gfn);
    const std::uint64_t word = found == model_.end() ? 0 : found->second;
    ASSERT_EQ(p2m.Load(gfn).word(), word) << gfn;
    const std::uint64_t low = LoadLow(p2m, gfn).word();
    ASSERT_TRUE(low == word || low == 0) << gfn;
    ASSERT_TRUE(word == 0 || (p2m.HasLeaf(gfn) && gfn < p2m.end() && gfn < p2m.capacity())) << gfn;
  }
  void ExpectAll() const {
    EXPECT_EQ(p2m.pages(), pages.used());
    for (const auto& [gfn, word] : model_) {
      for (const std::uint64_t near : {gfn - 1, gfn, gfn + 1}) Expect(near);
    }
    for (std::uint64_t gfn = 0; gfn < 8 * kLeaf; ++gfn) Expect(gfn);
  }

  std::byte* FrameBytes(std::uint64_t index) const { return memory_.get() + index * kPageSize; }

  Pool pool_{*this};
  FrameTable& frames = pool_.frames;
  OverheadPages pages;
  P2m p2m;

 private:
  std::uint64_t NowNanoseconds() override { return 0; }
  void WriteConsole(std::string_view) override {}
  bool Discard(MachineAddress, std::uint64_t) override { return false; }

  std::unique_ptr<std::byte, decltype(&std::free)> memory_{nullptr, &std::free};
  std::vector<Frame> rows_{kFrames};
  std::array<CallerSlot, 1> slots_;
  std::map<std::uint64_t, std::uint64_t> model_;
};

TEST_F(P2mTest, WhatHasNoHolesIsOneTable) {
  Fill(0, 20 * kLeaf);
  ExpectAll();
  for (std::uint64_t gfn = 0; gfn < 20 * kLeaf; ++gfn) ASSERT_TRUE(IsLow(gfn)) << gfn;
  EXPECT_EQ(p2m.capacity(), 32 * kLeaf);
  EXPECT_EQ(p2m.end(), 20 * kLeaf);
  EXPECT_EQ(pages.used(), 32u) << "older tables were given back";
}

TEST_F(P2mTest, TheTableDoublesWhenItIsHalfFullThen) {
  for (const std::uint64_t holes : {1u, 2u}) {
    P2m sparse;
    ASSERT_TRUE(sparse.InitTranslated(frames, pages));
    const P2mEntry entry(kFirstFrame, P2mType::kReadOnly);
    for (std::uint64_t gfn = 0; gfn < kLeaf - holes; ++gfn) sparse.Store(gfn, entry);
    ASSERT_TRUE(sparse.Reserve(kLeaf, 1, pages));
    sparse.Store(kLeaf, entry);
    EXPECT_EQ(LoadLow(sparse, kLeaf).present(), holes == 1);
    EXPECT_TRUE(sparse.Load(kLeaf).present());
    EXPECT_TRUE(sparse.Load(0).present());
  }
}

TEST_F(P2mTest, EntriesAreCountedAsTheyComeAndGo) {
  Fill(0, kLeaf);
  for (const std::uint64_t gfn : {7u, 8u, 9u}) Remove(gfn);
  Remove(9);  // again
  Put(7);
  Put(7);  // again
  // One too few.
  Fill(kLeaf, 1);
  EXPECT_FALSE(IsLow(kLeaf));
  ExpectAll();
}

TEST_F(P2mTest, TheTableDoesNotGrowOverALeaf) {
  Fill(3 * kLeaf - 1, 1);
  Fill(0, kLeaf);
  Fill(kLeaf, kLeaf);
  EXPECT_TRUE(IsLow(2 * kLeaf - 1));
  Fill(2 * kLeaf, kLeaf);
  EXPECT_FALSE(IsLow(2 * kLeaf));
  EXPECT_FALSE(IsLow(3 * kLeaf - 1));
  ExpectAll();
  Fill(5 * kLeaf, 1);
  ExpectAll();
}

TEST_F(P2mTest, ARangeMayBeginInTheTableAndEndInLeaves) {
  Fill(10, 1);
  ASSERT_TRUE(p2m.Reserve(kLeaf - 1, kLeaf + 2, pages));
  EXPECT_TRUE(p2m.HasLeaf(2 * kLeaf));
  EXPECT_FALSE(p2m.HasLeaf(3 * kLeaf));
  EXPECT_EQ(pages.used(), 4u) << "the table, a top and two leaves";
  for (std::uint64_t gfn = kLeaf - 1; gfn != 2 * kLeaf + 1; ++gfn) Put(gfn);
  EXPECT_FALSE(IsLow(kLeaf));
  ExpectAll();
}

TEST_F(P2mTest, ALargeRangeMakesATableThatHoldsAllOfIt) {
  ASSERT_TRUE(p2m.Reserve(0, 4 * kLeaf, pages));
  for (std::uint64_t gfn = 0; gfn != 4 * kLeaf; ++gfn) Put(gfn);
  EXPECT_TRUE(IsLow(4 * kLeaf - 1));
  EXPECT_EQ(p2m.capacity(), 4 * kLeaf);
  ExpectAll();
}

TEST_F(P2mTest, WhereThereIsNoRoomForALargerTableALeafDoes) {
  Fill(0, 2 * kLeaf);
  LimitTo(2);
  Fill(2 * kLeaf, 1);
  EXPECT_FALSE(IsLow(2 * kLeaf));
  ExpectAll();
  EXPECT_FALSE(p2m.Reserve(3 * kLeaf, 1, pages));
  ExpectAll();
}

TEST_F(P2mTest, TheTableHasAnEnd) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 18;
  Fill(0, kMost);
  EXPECT_TRUE(IsLow(kMost - 1));
  Fill(kMost, 1);
  EXPECT_FALSE(IsLow(kMost));
  EXPECT_TRUE(IsLow(kMost - 1));
  for (const std::uint64_t gfn : {kMost - 1, kMost, kMost + 1}) Expect(gfn);
}

TEST_F(P2mTest, NoGfnIsTruncated) {
  Fill(0, 1);
  for (const std::uint64_t gfn : {P2m::kLimit, P2m::kLimit + 1, std::uint64_t{1} << 37,
                                  std::uint64_t{1} << 52, ~std::uint64_t{0}}) {
    EXPECT_FALSE(p2m.Reserve(gfn, 1, pages)) << gfn;
    EXPECT_FALSE(p2m.Load(gfn).present()) << gfn;
    EXPECT_FALSE(LoadLow(p2m, gfn).present()) << gfn;
    EXPECT_FALSE(p2m.HasLeaf(gfn)) << gfn;
  }
  EXPECT_FALSE(p2m.Reserve(P2m::kLimit - 1, 2, pages));
  EXPECT_FALSE(p2m.Reserve(1, ~std::uint64_t{0}, pages));
  Fill(P2m::kLimit - 1, 1);
  EXPECT_EQ(p2m.capacity(), P2m::kLimit);
  ExpectAll();
}

// From there on it has tables that come and go, of a page each.
TEST_F(P2mTest, OuterTablesComeAndGoWithTheirLeaves) {
  Fill(0, 1);
  const std::uint64_t before = pages.used();
  EXPECT_EQ(p2m.pages(), before);
  const std::uint64_t first = P2m::kInner;
  const std::uint64_t others[] = {first + kLeaf, first + (kLeaf << 9), first << 1, P2m::kLimit - 1};
  const unsigned taken[] = {1, 2, 3, 3};
  Fill(first, 1);
  EXPECT_EQ(pages.used(), before + 4);  // three tables and a leaf
  EXPECT_EQ(p2m.capacity(), P2m::kLimit);
  for (unsigned i = 0; i < std::size(others); ++i) {
    const std::uint64_t now = pages.used();
    Fill(others[i], 1);
    EXPECT_EQ(pages.used(), now + taken[i]) << i;
    EXPECT_EQ(p2m.pages(), pages.used());
    EXPECT_FALSE(p2m.HasLeaf(others[i] ^ kLeaf << 4));
    ExpectAll();
    // What is not there is passed by as a whole, and nothing that is there.
    EXPECT_EQ(p2m.AfterHole(others[i] ^ kLeaf << 4) & (kLeaf - 1), 0u);
    std::uint64_t at = 0;
    unsigned leaves = 0;
    for (unsigned steps = 0; at < p2m.capacity(); ++steps) {
      ASSERT_LT(steps, 8000u);
      leaves += at >= first && p2m.HasLeaf(at);
      at = p2m.HasLeaf(at) ? (at | (kLeaf - 1)) + 1 : p2m.AfterHole(at);
    }
    EXPECT_EQ(leaves, i + 2);
    EXPECT_EQ(at, P2m::kLimit);
  }
  // Together with the last that they lead to.
  for (unsigned i = 0; i < std::size(others); ++i) {
    const std::uint64_t now = pages.used();
    Remove(others[i]);
    p2m.DropLeaf(others[i], pages);
    EXPECT_EQ(pages.used(), now - taken[i]) << i;
    EXPECT_FALSE(p2m.HasLeaf(others[i]));
    EXPECT_TRUE(p2m.HasLeaf(first));
  }
  Remove(first);
  p2m.DropLeaf(first, pages);
  EXPECT_EQ(pages.used(), before);
  EXPECT_EQ(p2m.pages(), before);
  EXPECT_LT(p2m.capacity(), first);
  EXPECT_EQ(p2m.AfterHole(p2m.capacity() - 1), p2m.capacity());

  // Over the border, and over that of a table, in one.
  Fill(first - 1, 1);
  const std::uint64_t now = pages.used();
  for (const std::uint64_t border : {first, first << 1}) {
    ASSERT_TRUE(p2m.Reserve(border - 3, 6, pages));
    for (std::uint64_t gfn = border - 3; gfn != border + 3; ++gfn) Put(gfn);
  }
  EXPECT_EQ(pages.used(), now + 4 + 5);  // the first table, and then only what is behind it
  ExpectAll();
  EXPECT_FALSE(p2m.Load(first - 4).present());
  EXPECT_FALSE(p2m.Load(first + 3).present());
}

// Where memory ends on the way, nothing is left of it.
TEST_F(P2mTest, AnOuterLeafThatCannotBeMadeLeavesNothing) {
  Fill(0, 1);
  const std::uint64_t before = pages.used();
  for (std::uint64_t room = 0; room < 4; ++room) {
    LimitTo(room);
    EXPECT_FALSE(p2m.Reserve(P2m::kInner << 3, 1, pages)) << room;
    EXPECT_EQ(pages.used(), before);
    EXPECT_LT(p2m.capacity(), P2m::kInner);
  }
  LimitTo(4);
  Fill(P2m::kInner << 3, 1);
  for (std::uint64_t room = 0; room < 2; ++room) {
    LimitTo(room);
    EXPECT_FALSE(p2m.Reserve((P2m::kInner << 3) + (kLeaf << 9), 1, pages)) << room;
    EXPECT_EQ(pages.used(), before + 4);
  }
  EXPECT_EQ(pages.used(), before + 4);
  EXPECT_EQ(p2m.pages(), pages.used());
  ExpectAll();
}

// Outer pages have no marks: when one is written, all count as written.
TEST_F(P2mTest, WritesOfOuterPagesAreLoggedAsWritesOfAll) {
  DirtyLog log;
  log.Init(pages);
  ASSERT_TRUE(log.Begin());
  log.Mark(P2m::kInner - 1);
  EXPECT_FALSE(log.everything());
  EXPECT_TRUE(log.HasBlock(P2m::kInner - 64));
  EXPECT_EQ(log.Marks(P2m::kInner - 64), std::uint64_t{1} << 63);
  for (const std::uint64_t gfn : {P2m::kInner, P2m::kLimit - 1}) {
    log.Mark(gfn);
    EXPECT_TRUE(log.everything());
    EXPECT_FALSE(log.HasBlock(gfn & ~std::uint64_t{63}));
    EXPECT_EQ(log.Marks(gfn & ~std::uint64_t{63}), 0u);
    log.Settle(log.events());
  }
  // Also when the leg ends that was given them, and no others in their place.
  WriteNotes notes;
  log.NoteRun(P2m::kLimit - 2, 2, notes);
  log.Settle(log.events());
  EXPECT_FALSE(log.everything());
  log.EndLeg(notes);
  EXPECT_TRUE(log.everything());
  EXPECT_TRUE(notes.is_empty());
  log.Settle(log.events());
  log.NoteRun((std::uint64_t{1} << 32) + 128, 1, notes);
  log.EndLeg(notes);
  EXPECT_FALSE(log.HasBlock(128));
  log.NoteRun(P2m::kInner - 2, 4, notes);
  ASSERT_EQ(notes.runs().size(), 1u);
  EXPECT_EQ(notes.runs()[0].first, P2m::kInner - 2);
  EXPECT_EQ(notes.runs()[0].count, 4u);
  EXPECT_TRUE(log.everything());
  EXPECT_EQ(log.Marks(P2m::kInner - 64), std::uint64_t{3} << 62);
  Work work(~std::uint64_t{0});
  EXPECT_TRUE(log.End(work));
}

TEST_F(P2mTest, HoldsWhatAMapHolds) {
  std::mt19937_64 random(11);
  for (unsigned round = 0; round < 6000; ++round) {
    // More and more of it, with holes; and now and then far away.
    std::uint64_t gfn = random() % (kLeaf + round * 2);
    if (random() % 32 == 0) gfn = random() % (kLeaf << 14);
    if (random() % 512 == 0) gfn = random() % (P2m::kLimit - 2 * kLeaf);
    const std::uint64_t count = random() % 8 == 0 ? random() % (2 * kLeaf) + 1 : 1;
    if (random() % 4 == 0) {
      if (p2m.HasLeaf(gfn)) Remove(gfn);
    } else {
      ASSERT_TRUE(p2m.Reserve(gfn, count, pages));
      for (std::uint64_t i = 0; i != count; ++i) {
        Expect(gfn + i);
        if (random() % 16 != 0) Put(gfn + i);
      }
      Expect(gfn + count);
    }
    if (round % 256 == 0) ExpectAll();
  }
  ExpectAll();
  EXPECT_TRUE(IsLow(4 * kLeaf)) << "it grew meanwhile";
}

// A run goes on as long as frames follow each other in the machine and allow what is wanted, and no
// further than it was wanted.
TEST_F(P2mTest, ARunGoesOnWhileItsFramesFollowEachOther) {
  DirtyLog log;
  log.Init(pages);
  WriteNotes notes;
  ASSERT_TRUE(p2m.Reserve(0, kLeaf, pages));
  const struct {
    std::uint64_t frame;
    P2mType type;
  } entries[] = {{10, P2mType::kRam},      {11, P2mType::kRam}, {12, P2mType::kReadOnly},
                 {13, P2mType::kRam},      {15, P2mType::kRam}, {14, P2mType::kRam},
                 {15, P2mType::kReadOnly}, {0, P2mType::kNone}, {16, P2mType::kRam},
                 {17, P2mType::kForeign},  {18, P2mType::kRam}, {18, P2mType::kRam}};
  constexpr std::uint64_t kEnd = std::size(entries);
  for (std::uint64_t gfn = 0; gfn < kEnd; ++gfn) {
    if (entries[gfn].type == P2mType::kNone) continue;
    p2m.Store(gfn, {kFirstFrame + entries[gfn].frame, entries[gfn].type});
  }
  const auto allows = [&](std::uint64_t gfn, Access access) {
    return gfn < kEnd && (entries[gfn].type == P2mType::kRam ||
                          (entries[gfn].type == P2mType::kReadOnly && access != Access::kWrite));
  };
  DomainMemory memory(p2m, log, notes);
  for (std::uint64_t gfn = 0; gfn <= kEnd; ++gfn) {
    for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
      std::uint64_t count = allows(gfn, access) ? 1 : 0;
      while (count != 0 && allows(gfn + count, access) &&
             entries[gfn + count].frame == entries[gfn].frame + count) {
        ++count;
      }
      for (const std::uint64_t within : {0u, 1u, 4095u}) {
        const std::uint64_t most = count * kPageSize - within;
        for (const std::uint64_t length :
             {std::uint64_t{1}, kPageSize - within, kPageSize - within + 1, 2 * kPageSize - within,
              2 * kPageSize - within + 1, 5 * kPageSize, ~std::uint64_t{0}}) {
          const Mapping run = memory.Map({(gfn << kPageShift) + within}, length, access);
          ASSERT_EQ(run.ok(), count != 0) << gfn;
          if (count == 0) continue;
          ASSERT_EQ(run.start(), FrameBytes(entries[gfn].frame) + within);
          ASSERT_EQ(run.length(), std::min(length, most)) << gfn << " " << within;
        }
      }
    }
  }
}

// The look-up of a memory's quick side: what it finds is what the memory finds, and it finds
// nothing at a gfn that is not low.
TEST_F(P2mTest, WhatIsFoundQuicklyIsAlwaysFound) {
  DirtyLog log;
  log.Init(pages);
  WriteNotes notes;
  Fill(0, 4);
  Fill(3 * kLeaf, 1);
  p2m.Store(1, {kFirstFrame + 1, P2mType::kReadOnly});
  p2m.Store(2, {kFirstFrame + 2, P2mType::kForeign});
  p2m.Store(3, {kFirstFrame + 3, P2mType::kShared});
  DomainMemory memory(p2m, log, notes);
  const auto quick = memory.Quick();
  for (const bool is_logged : {false, true}) {
    ASSERT_TRUE(!is_logged || log.Begin());
    for (const std::uint64_t gfn :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{4},
          kLeaf - 1, kLeaf, 3 * kLeaf, ~std::uint64_t{0} >> kPageShift}) {
      for (const std::uint64_t within : {0u, 1u, 8u, 4095u}) {
        for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
          const PhysicalAddress place = {(gfn << kPageShift) + within};
          const Mapping expected = memory.Map(place, 1, access);
          const bool is_served =
              gfn < kLeaf && expected.ok() && !(is_logged && access == Access::kWrite);
          std::byte* page = nullptr;
          ASSERT_EQ(quick.FindPage(place, access, &page), is_served) << gfn << " " << within;
          ASSERT_EQ(page, is_served ? expected.start() - within : nullptr);
        }
      }
    }
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
