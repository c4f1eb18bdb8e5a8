// Queues of events while somebody else is at them: guests that keep to the FIFO ABI lose none, and
// guests that do not lose only their own; what a guest leaves closed and linked makes no call long.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/hypervisor/domain/event_link.h"
#include "tests/fuzz/random_call.h"
#include "tests/unit/event_fifo_guest.h"

namespace xencomm::hypervisor {
namespace {

using fuzz::Random;
using ::testing::ElementsAre;

constexpr std::uint16_t kGuest = 5;
constexpr std::uint32_t kPending = FifoGuest::kPending, kLinked = FifoGuest::kLinked;

// A word that a guest changes before it is written: `guest` says what it becomes.
class ChangingWord {
 public:
  using Guest = std::function<std::uint32_t(std::uint32_t word, unsigned writes)>;

  ChangingWord(std::uint32_t word, Guest guest) : word_(word), guest_(std::move(guest)) {}

  std::uint32_t Load() const { return word_; }
  void Set(std::uint32_t bit) const {
    word_ |= 1u << bit;
    was_busy_ = true;
  }
  void Clear(std::uint32_t bit) const { word_ &= ~(1u << bit); }
  bool Exchange(std::uint32_t& expected, std::uint32_t value) const {
    word_ = guest_(word_, writes_++);
    const bool is_done = word_ == expected;
    expected = word_;
    if (is_done) word_ = value;
    return is_done;
  }

  std::uint32_t word() const { return word_; }
  unsigned writes() const { return writes_; }
  bool was_busy() const { return was_busy_; }

 private:
  mutable std::uint32_t word_;
  mutable unsigned writes_ = 0;
  mutable bool was_busy_ = false;
  Guest guest_;
};

TEST(HypervisorEventLinkTest, AWordThatChangesOnceIsKeptBusyAndLinked) {
  const ChangingWord quiet(kPending | kLinked | 5, [](auto word, unsigned) { return word; });
  EXPECT_TRUE(LinkBehind(quiet, 9));
  EXPECT_EQ(quiet.word(), kPending | kLinked | 9);
  EXPECT_FALSE(quiet.was_busy());

  const ChangingWord masked(kPending | kLinked, [](auto word, unsigned writes) {
    return writes == 0 ? word | FifoGuest::kMasked : word;
  });
  EXPECT_TRUE(LinkBehind(masked, 9));
  EXPECT_EQ(masked.word(), kPending | kLinked | FifoGuest::kMasked | 9);
  EXPECT_TRUE(masked.was_busy());
}

TEST(HypervisorEventLinkTest, AWordThatIsTakenOffIsNotLinkedAndNotBusy) {
  const ChangingWord off(kPending, [](auto word, unsigned) { return word; });
  EXPECT_FALSE(LinkBehind(off, 9));
  EXPECT_EQ(off.word(), kPending);
  for (const unsigned when : {0u, 1u, 4u}) {
    const ChangingWord taken(kPending | kLinked | 5, [&](auto word, unsigned writes) {
      if (writes == when) return word & ~(kLinked | FifoGuest::kLink);
      return writes < when ? word ^ FifoGuest::kMasked : word;
    });
    // At the last try nobody looks any more whether it is there.
    EXPECT_EQ(LinkBehind(taken, 9), when == 4) << when;
    EXPECT_EQ(taken.word() & (kLinked | FifoGuest::kBusy | FifoGuest::kLink), 0u) << when;
  }
}

TEST(HypervisorEventLinkTest, AWordThatNeverHoldsStillIsGivenUp) {
  const ChangingWord restless(kPending | kLinked,
                              [](auto word, unsigned) { return word ^ FifoGuest::kMasked; });
  EXPECT_TRUE(LinkBehind(restless, 9)) << "nobody is told of a head that is none";
  EXPECT_EQ(restless.writes(), 5u);
  EXPECT_EQ(restless.word() & (FifoGuest::kBusy | FifoGuest::kLink), 0u);
  // Once less, and it is linked.
  const ChangingWord calmer(kPending | kLinked, [](auto word, unsigned writes) {
    return writes < 4 ? word ^ FifoGuest::kMasked : word;
  });
  EXPECT_TRUE(LinkBehind(calmer, 9));
  EXPECT_EQ(calmer.word() & (FifoGuest::kBusy | FifoGuest::kLink), 9u);
}

// What a guest may write anywhere, for all that the hypervisor cares.
TEST(HypervisorEventQueuesTest, LinksThatAGuestWroteAreNotFollowed) {
  TestMachine machine;
  FifoGuest guest(machine, kGuest, kNativeOrder);
  guest.Share();
  const std::uint32_t a = guest.NewIpi(), b = guest.NewIpi(), c = guest.NewIpi();
  EXPECT_EQ(guest.Send(a), 0);
  guest.SetWord(a, kPending | kLinked | FifoGuest::kBusy | FifoGuest::kLink);
  EXPECT_EQ(guest.Send(b), 0);
  EXPECT_EQ(guest.Word(a), kPending | kLinked | b) << "not busy, and linked to what came next";
  // Taken off behind its back: the next one is a head.
  guest.SetWord(b, FifoGuest::kLink);
  guest.Info().vcpu_info[0].evtchn_upcall_pending = 0;
  EXPECT_EQ(guest.Send(c), 0);
  EXPECT_EQ(guest.Word(b), FifoGuest::kLink);
  EXPECT_EQ(guest.Head(0, 7), c);
  EXPECT_FALSE(guest.IsCalled(0)) << "ready is still set";
  // Linked by the guest, and on no queue: nobody is told.
  guest.SetWord(b, kLinked);
  EXPECT_EQ(guest.Send(b), 0);
  EXPECT_EQ(guest.Word(b), kPending | kLinked);
  EXPECT_EQ(guest.Word(c), kPending | kLinked);
}

TEST(HypervisorEventQueuesTest, AGuestThatWritesEverythingAllTheTimeLosesItsOwnEventsOnly) {
  TestMachine machine;
  FifoGuest guest(machine, kGuest, kNativeOrder);
  guest.Share(3);
  constexpr std::uint32_t kPorts = 12;
  for (std::uint32_t i = 1; i < kPorts; ++i) ASSERT_EQ(guest.BindIpi(i % 3), i);
  machine.has_threads = true;
  std::atomic<bool> is_done = false;
  std::atomic<unsigned> turns = 0;
  std::thread mutator([&] {
    Random random{11};
    auto* words = reinterpret_cast<std::uint32_t*>(guest.Page(FifoGuest::kArrayGfn));
    auto* blocks = reinterpret_cast<std::uint32_t*>(guest.Page(FifoGuest::kControlGfn));
    while (!is_done) {
      std::atomic_ref word(words[random.Below(2 * kPorts)]);
      switch (random.Below(4)) {
        case 0:
          word.store(static_cast<std::uint32_t>(random.Next()));
          break;
        case 1:
          word.fetch_xor(1u << random.Below(32));
          break;
        case 2:
          word.fetch_or(kLinked);
          break;
        default:
          std::atomic_ref(blocks[random.Below(96)])
              .store(static_cast<std::uint32_t>(random.Next()));
      }
      ++turns;
    }
  });
  Random random{12};
  for (unsigned i = 0; i < 60000 || turns < 60000; ++i) {
    const auto port = static_cast<std::uint32_t>(random.Below(kPorts));
    switch (random.Below(8)) {
      case 0:
        guest.Unmask(port);
        break;
      case 1:
        guest.SetPriority(port, static_cast<std::uint32_t>(random.Below(16)));
        break;
      case 2:
        guest.Close(port);
        break;
      case 3:
        guest.BindIpi(static_cast<std::uint32_t>(random.Below(3)));
        break;
      default:
        guest.Send(port);
    }
  }
  is_done = true;
  mutator.join();
  machine.ExpectBooksAddUp(false);
  EXPECT_EQ(guest.Reset(), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  // As good as new.
  for (std::uint32_t i = 0; i < FifoGuest::kWordsPerPage; ++i) guest.SetWord(i, 0);
  std::fill_n(guest.Page(FifoGuest::kControlGfn), kPageSize, std::byte{0});
  guest.Share();
  const std::uint32_t port = guest.NewIpi();
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Head(0, 7), port);
}

// What was sent last is seen at the end, whatever happens to a port's queue meanwhile.
TEST(HypervisorEventQueuesTest, AGuestThatTakesEventsWhileTheyAreSentMissesNone) {
  TestMachine machine;
  FifoGuest guest(machine, kGuest, kNativeOrder);
  guest.Share(2);
  constexpr unsigned kPairs = 6;
  std::array<std::array<std::uint32_t, 2>, kPairs> pairs;
  for (auto& pair : pairs) pair = guest.NewPair();
  guest.Take(0);
  machine.has_threads = true;
  std::array<std::atomic<unsigned>, kPairs> sent = {}, seen = {};
  std::atomic<bool> is_done = false;
  const auto take = [&] {
    bool any = false;
    for (const unsigned of : {0u, 1u}) {
      for (const std::uint32_t port : guest.Take(of)) {
        for (unsigned i = 0; i < kPairs; ++i) {
          if (pairs[i][1] == port) seen[i] = sent[i].load();
        }
        any = true;
      }
    }
    return any;
  };
  std::atomic<unsigned> taken = 0;
  std::thread kernel([&] {
    while (!is_done) taken += take();
  });
  Random random{13};
  for (unsigned i = 0; i < 50000 || taken < 1000; ++i) {
    const auto which = static_cast<std::size_t>(random.Below(kPairs));
    if (random.OneIn(5)) guest.BindVcpu(pairs[which][1], static_cast<unsigned>(random.Below(2)));
    if (random.OneIn(5)) guest.SetPriority(pairs[which][1], static_cast<unsigned>(random.Below(3)));
    if (random.OneIn(9)) {
      guest.Mask(pairs[which][1]);
      ++sent[which];
      guest.Send(pairs[which][0]);
      guest.Unmask(pairs[which][1]);
    } else {
      ++sent[which];
      guest.Send(pairs[which][0]);
    }
  }
  is_done = true;
  kernel.join();
  while (take()) {
  }
  for (unsigned i = 0; i < kPairs; ++i) EXPECT_EQ(seen[i], sent[i]) << i;
}

// By a model of queues: all that a guest takes, in its order, and when it is told.
class HypervisorEventModelTest : public testing::TestWithParam<ByteOrder> {
 protected:
  static constexpr unsigned kVcpus[] = {0, 3, 33};  // the last one has no place for an upcall
  struct ModelPort {
    std::uint32_t from = 0;  // what sends to it: itself, or the other end
    unsigned vcpu = 0;
    unsigned priority = 7;
    bool is_open = true, is_pending = false, is_masked = false, is_linked = false;
  };
  using Queue = std::vector<std::uint32_t>;

  void Link(std::uint32_t port) {
    ModelPort& row = ports[port];
    if (!row.is_pending || row.is_masked || row.is_linked) return;
    row.is_linked = true;
    Queue& queue = queues[{row.vcpu, row.priority}];
    if (queue.empty()) called.insert(row.vcpu);
    queue.push_back(port);
  }
  std::vector<std::uint32_t> Take(unsigned of) {
    std::vector<std::uint32_t> taken;
    for (auto& [place, queue] : queues) {
      if (place.first != of) continue;
      for (const std::uint32_t port : std::exchange(queue, {})) {
        ModelPort& row = ports[port];
        row.is_linked = false;
        if (row.is_pending && !row.is_masked) {
          row.is_pending = false;
          taken.push_back(port);
        }
      }
    }
    called.erase(of);
    return taken;
  }

  TestMachine machine;
  FifoGuest guest{machine, kGuest, GetParam(), 40};
  std::map<std::uint32_t, ModelPort> ports;
  std::map<std::pair<unsigned, unsigned>, Queue> queues;
  std::set<unsigned> called;
};

INSTANTIATE_TEST_SUITE_P(, HypervisorEventModelTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

TEST_P(HypervisorEventModelTest, WhatAGuestTakesIsWhatWasSent) {
  for (const unsigned each : kVcpus) ASSERT_EQ(guest.InitControl(each), 0);
  ASSERT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn), 0);
  for (unsigned i = 0; i < 6; ++i) {
    const auto [from, port] = guest.NewPair();
    ports[port].from = from;
    ports[from].from = port;
    // Of its binding.
    ports[from].is_pending = true;
    Link(from);
  }
  for (unsigned i = 0; i < 6; ++i) {
    const unsigned to = kVcpus[i % 3];
    const std::uint32_t port = guest.NewIpi(to);
    ports[port] = {.from = port, .vcpu = to};
  }
  const auto count = static_cast<std::uint32_t>(ports.size());
  Random random{14};
  unsigned events = 0;
  for (unsigned i = 0; i < 30000 && !HasFailure(); ++i) {
    const auto port = 1 + static_cast<std::uint32_t>(random.Below(count));
    const unsigned of = kVcpus[random.Below(3)];
    ModelPort& row = ports[port];
    const bool is_ipi = row.from == port;
    switch (random.Below(10)) {
      case 0:
        guest.Mask(port);
        row.is_masked = true;
        break;
      case 1:
      case 2:
        EXPECT_EQ(guest.Unmask(port), 0);
        if (!row.is_open) break;
        row.is_masked = false;
        Link(port);
        break;
      case 3:
        EXPECT_EQ(guest.BindVcpu(port, of), is_ipi ? -kEINVAL : 0);
        if (!is_ipi) row.vcpu = of;
        break;
      case 4: {
        const auto priority = static_cast<unsigned>(random.Below(18));
        EXPECT_EQ(guest.SetPriority(port, priority), !row.is_open    ? -kEACCES
                                                     : priority > 15 ? -kEINVAL
                                                                     : 0);
        if (row.is_open && priority < 16) row.priority = priority;
        break;
      }
      case 5:
        if (!is_ipi) break;
        EXPECT_EQ(guest.Close(port), row.is_open ? 0 : -kEINVAL);
        row.is_open = row.is_pending = false;
        break;
      case 6: {
        const auto is_free = [](const auto& each) {
          return !each.second.is_open && !each.second.is_linked;
        };
        const auto found = std::ranges::find_if(ports, is_free);
        if (found == ports.end()) break;
        EXPECT_EQ(guest.BindIpi(of), found->first);
        found->second.is_open = true;
        found->second.vcpu = of;
        found->second.priority = 7;
        break;
      }
      case 7: {
        const std::vector<std::uint32_t> taken = guest.Take(of);
        EXPECT_EQ(taken, Take(of)) << "vcpu " << of << ", step " << i;
        events += static_cast<unsigned>(taken.size());
        break;
      }
      default:
        EXPECT_EQ(guest.Send(row.from), row.is_open ? 0 : -kEINVAL);
        if (!row.is_open) break;
        row.is_pending = true;
        Link(port);
    }
    for (const unsigned each : {0u, 3u}) {
      ASSERT_EQ(guest.IsCalled(each), called.contains(each)) << "vcpu " << each << ", step " << i;
    }
  }
  EXPECT_GT(events, 3000u);
}

// Ports that were closed and that their guest leaves on a queue.
TEST(HypervisorEventSearchTest, APortIsLookedForInLegs) {
  constexpr unsigned kInterval = 32, kPorts = 300;
  TestMachine machine({.preempt_interval = kInterval});
  FifoGuest guest(machine, kGuest, kNativeOrder);
  guest.Share();
  for (unsigned i = 1; i <= kPorts; ++i) {
    ASSERT_EQ(guest.BindIpi(0), i);
    ASSERT_EQ(guest.Send(i), 0);
  }
  constexpr std::uint32_t kOpen = 2;
  for (unsigned i = 1; i <= kPorts; ++i) {
    if (i == kOpen) continue;
    ASSERT_EQ(guest.Close(i), 0);
  }
  const auto search = [&](evtchn_bind_ipi& request) {
    HypercallFrame frame =
        machine.Frame(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &request);
    unsigned legs = 0;
    do {
      ++legs;
      EXPECT_EQ(machine.hypervisor.Hypercall(*guest.vcpu, frame), 0);
    } while (frame.continued);
    return legs;
  };
  evtchn_bind_ipi request = {};
  EXPECT_EQ(search(request), kPorts / kInterval + 1);
  EXPECT_EQ(request.port, kPorts + 1);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).longest_leg, kInterval);

  // What is closed behind a search is not passed by.
  HypercallFrame frame = machine.Frame(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &request);
  machine.hypervisor.Hypercall(*guest.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  guest.SetWord(kOpen, 0);
  EXPECT_EQ(guest.Close(kOpen), 0);
  EXPECT_EQ(machine.hypervisor.Call(*guest.vcpu, frame), 0);
  EXPECT_EQ(request.port, kOpen);
  // And the next one begins at the first port, however far another one came that was given up.
  machine.hypervisor.Hypercall(*guest.vcpu, frame);
  guest.SetWord(1, 0);
  EXPECT_EQ(search(request), kPorts / kInterval);
  EXPECT_EQ(search(request), 1u);
  EXPECT_EQ(request.port, 1u);
}

TEST(HypervisorEventSearchTest, OfADomainWithFewPortsNoneIsFreeInTheEnd) {
  constexpr std::uint16_t kSmall = 6;
  TestMachine machine;
  xen_domctl_t create = TestMachine::CreateRequest();
  create.u.createdomain.max_evtchn_port = 65;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, kSmall, create), 0);
  evtchn_alloc_unbound offer = {.dom = kSmall, .remote_dom = 0, .port = 0};
  for (std::uint32_t port = 1; port <= 65; ++port) {
    ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
    ASSERT_EQ(offer.port, port);
  }
  EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), -kENOSPC);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kSmall), 0);
}

TEST(HypervisorEventResetTest, PortsThatAreOpenedMeanwhileAreLeft) {
  constexpr unsigned kInterval = 32;
  TestMachine machine({.preempt_interval = kInterval});
  FifoGuest guest(machine, kGuest, kNativeOrder);
  guest.Share();
  for (unsigned i = 1; i <= 100; ++i) ASSERT_EQ(guest.BindIpi(0), i);
  evtchn_reset reset = {.dom = DOMID_SELF};
  HypercallFrame frame = machine.Frame(__HYPERVISOR_event_channel_op, EVTCHNOP_reset, &reset);
  machine.hypervisor.Hypercall(*guest.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  ASSERT_EQ(guest.BindIpi(0), 1);
  EXPECT_EQ(machine.hypervisor.Call(*guest.vcpu, frame), -kEAGAIN);
  EXPECT_EQ(guest.SetPriority(1, 3), 0) << "in this ABI still";
  EXPECT_EQ(guest.Send(1), 0);
  EXPECT_THAT(guest.Take(0), ElementsAre(1u));
  EXPECT_EQ(guest.Reset(), 0);
  EXPECT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn), -kEOPNOTSUPP);
}

}  // namespace
}  // namespace xencomm::hypervisor
