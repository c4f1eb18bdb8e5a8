// The ops on the log of what a domain writes, in legs: none is long, and one that is given up, or
// whose place another took, loses nothing.

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_log_dirty.h"

namespace xencomm::hypervisor {
namespace {

// Short legs: every op on the log stops many times.
class LogDirtyLegsTest : public LogDirtyTest {
 protected:
  static constexpr unsigned kInterval = 16;
  // What a leg may do beyond the interval: a word of marks, each page of which is looked for.
  static constexpr unsigned kBeyond = 65;

  LogDirtyLegsTest() : LogDirtyTest({.pages = 64, .preempt_interval = kInterval}) {}
  void TearDown() override {
    LogDirtyTest::TearDown();
    EXPECT_LE(Books::StatisticsOf(machine.hypervisor).longest_leg, kInterval + kBeyond);
  }

  // One leg; whether it stopped.
  bool Leg(HypercallFrame& registers) {
    answer = machine.hypervisor.Hypercall(*machine.vcpu, registers);
    return registers.continued;
  }

  std::int64_t answer = 0;
  xen_domctl_t op = {};
  HypercallFrame frame;
};

TEST_F(LogDirtyLegsTest, ReadingStopsAndGoesOn) {
  ASSERT_EQ(Enable(), 0);
  for (const std::uint64_t gfn : {std::uint64_t{3}, std::uint64_t{500}, kFar}) Write(gfn);
  for (const std::uint32_t which : {XEN_DOMCTL_SHADOW_OP_PEEK, XEN_DOMCTL_SHADOW_OP_CLEAN}) {
    std::vector<std::uint8_t> bits(kBitmapPages / 8, 0xff);
    op = Request(which, bits.data(), kBitmapPages);
    frame = machine.Frame(__HYPERVISOR_domctl, &op, 4711);
    unsigned legs = 0;
    while (Leg(frame)) {
      ++legs;
      // Nothing is told before the end.
      EXPECT_EQ(op.u.shadow_op.stats.dirty_count, 4711u);
    }
    EXPECT_EQ(answer, 0);
    EXPECT_GT(legs, kBitmapPages / 64 / kInterval / 2);
    EXPECT_EQ(op.u.shadow_op.stats.dirty_count, 3u);
    EXPECT_EQ(PagesIn(bits), (Pages{3, 500, kFar}));
  }
  EXPECT_EQ(Clean(), Pages{});
}

// Neither whole words nor whole bytes: what lies behind is not the bitmap's.
TEST_F(LogDirtyLegsTest, ABitmapIsWrittenUpToItsEnd) {
  constexpr std::uint64_t kOdd = kBitmapPages - 100;
  static_assert((kOdd + 7) / 8 % 8 != 0 && kOdd % 8 != 0);
  ASSERT_EQ(Enable(), 0);
  // Without a mark in its last part, and with one.
  for (const std::uint64_t gfn : {std::uint64_t{3}, kFar}) {
    ASSERT_EQ(Write(gfn), 0);
    EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK, kOdd), Pages{gfn});
    EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_CLEAN, kOdd), Pages{gfn});
  }
  // And none at all.
  for (const std::uint32_t which : {XEN_DOMCTL_SHADOW_OP_PEEK, XEN_DOMCTL_SHADOW_OP_CLEAN}) {
    ASSERT_EQ(Write(kFar), 0);
    op = Request(which, nullptr, kOdd);
    EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
    EXPECT_EQ(op.u.shadow_op.stats.dirty_count, 1u);
  }
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyLegsTest, EverythingIsToldInShortLegs) {
  spaces[0]->BeforeWrite([&] { ASSERT_EQ(Enable(), 0); });
  ASSERT_EQ(Write(9), 0);
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyLegsTest, ACleanThatIsGivenUpLosesNothing) {
  ASSERT_EQ(Enable(), 0);
  // Wherever it is given up: while it delivers marks, and while it clears them.
  for (unsigned legs = 1;; legs += 20) {
    for (const std::uint64_t gfn : {std::uint64_t{3}, std::uint64_t{500}, kFar}) Write(gfn);
    std::vector<std::uint8_t> bits(kBitmapPages / 8);
    op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, bits.data(), kBitmapPages);
    frame = machine.Frame(__HYPERVISOR_domctl, &op);
    unsigned done = 0;
    while (done < legs && Leg(frame)) ++done;
    if (done < legs) break;

    const Pages peeked = Read(XEN_DOMCTL_SHADOW_OP_PEEK);
    const Pages told = Clean();
    for (const std::uint64_t gfn : {std::uint64_t{3}, std::uint64_t{500}, kFar}) {
      EXPECT_TRUE(std::find(told.begin(), told.end(), gfn) != told.end()) << legs << " " << gfn;
      EXPECT_TRUE(std::find(peeked.begin(), peeked.end(), gfn) != peeked.end())
          << legs << " " << gfn;
    }
    if (legs == 1) {
      EXPECT_EQ(peeked, (Pages{3, 500, kFar}));
      EXPECT_EQ(told, (Pages{3, 500, kFar}));
    }
    EXPECT_EQ(Clean(), Pages{});
    // Whoever comes back to it is told that another call took its place.
    EXPECT_FALSE(Leg(frame));
    EXPECT_EQ(answer, -kEBUSY);
  }
}

TEST_F(LogDirtyLegsTest, ACleanWhosePlaceAnotherTookIsToldSo) {
  ASSERT_EQ(Enable(), 0);
  Write(3);
  std::vector<std::uint8_t> bits[2];
  xen_domctl_t ops[2];
  HypercallFrame frames[2];
  for (unsigned i = 0; i < 2; ++i) {
    bits[i].resize(kBitmapPages / 8);
    ops[i] = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, bits[i].data(), kBitmapPages);
    frames[i] = machine.Frame(__HYPERVISOR_domctl, &ops[i]);
    EXPECT_TRUE(Leg(frames[i]));
  }
  EXPECT_FALSE(Leg(frames[0]));
  EXPECT_EQ(answer, -kEBUSY);
  while (Leg(frames[1])) {
  }
  EXPECT_EQ(answer, 0);
  // Once; and nobody else, whatever their register says.
  for (std::uint64_t token = 0; token < 4; ++token) {
    std::vector<std::uint8_t> none(kBitmapPages / 8);
    ops[0] = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, none.data(), kBitmapPages);
    frames[0] = machine.Frame(__HYPERVISOR_domctl, &ops[0], token);
    while (Leg(frames[0])) {
    }
    EXPECT_EQ(answer, 0) << token;
  }
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(PagesIn(bits[1]), Pages{3});
}

TEST_F(LogDirtyLegsTest, AReadingEndsWithItsLog) {
  for (const std::uint32_t which : {XEN_DOMCTL_SHADOW_OP_PEEK, XEN_DOMCTL_SHADOW_OP_CLEAN}) {
    ASSERT_EQ(Enable(), 0);
    std::vector<std::uint8_t> bits(kBitmapPages / 8);
    op = Request(which, bits.data(), kBitmapPages);
    frame = machine.Frame(__HYPERVISOR_domctl, &op);
    ASSERT_TRUE(Leg(frame));
    ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
    ASSERT_EQ(Enable(), 0);
    Write(9);
    EXPECT_FALSE(Leg(frame));
    EXPECT_EQ(answer, -kEBUSY);
    EXPECT_EQ(Clean(), Pages{9});
    ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
  }
}

TEST_F(LogDirtyLegsTest, AFreshCallIsNotTakenForOneThatGoesOn) {
  ASSERT_EQ(Enable(), 0);
  std::vector<std::uint8_t> bits(kBitmapPages / 8);
  // The first leg of a CLEAN, and what is in the register then; with the register `held` before.
  const auto begin = [&](std::uint64_t held) {
    bits.assign(bits.size(), 0xff);
    op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, bits.data(), kBitmapPages);
    frame = machine.Frame(__HYPERVISOR_domctl, &op, held);
    EXPECT_TRUE(Leg(frame));
    return frame.arguments[1];
  };
  const auto finish = [&] {
    while (Leg(frame)) {
    }
    return answer;
  };
  Write(3);
  std::uint64_t token = begin(0);
  EXPECT_EQ(finish(), 0);
  EXPECT_EQ(PagesIn(bits), Pages{3});
  // The register still holds what it was left with.
  Write(4);
  token = begin(token);
  EXPECT_EQ(finish(), 0);
  EXPECT_EQ(PagesIn(bits), Pages{4});
  // One that was given up, into the same bitmap, with something else in the register.
  Write(5);
  begin(token);
  begin(1);
  EXPECT_EQ(finish(), 0);
  EXPECT_EQ(PagesIn(bits), Pages{5});
  // One that failed on its way.
  Write(6);
  EndingSpace space;
  space.end = &bits[kFar / 8];
  machine.hypervisor.SetRawSpace(*machine.vcpu, space);
  token = begin(0);
  EXPECT_EQ(finish(), -kEFAULT);
  machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
  begin(token);
  EXPECT_EQ(finish(), 0);
  EXPECT_EQ(PagesIn(bits), Pages{6});
}

TEST_F(LogDirtyLegsTest, TheLogEndsInLegsAndAnEndThatIsGivenUpIsNoHindrance) {
  const std::uint64_t overhead = Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages;
  ASSERT_EQ(Enable(), 0);
  Write(3);
  Write(kFar);
  op = Request(XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
  frame = machine.Frame(__HYPERVISOR_domctl, &op);
  ASSERT_TRUE(Leg(frame));
  // Given up: what is left goes before the next log begins.
  ASSERT_EQ(Enable(), 0);
  EXPECT_EQ(Clean(), Pages{});
  Write(5);
  EXPECT_EQ(Clean(), Pages{5});
  ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages, overhead);
}

}  // namespace
}  // namespace xencomm::hypervisor
