// The FIFO ABI of event channels: what the hypervisor writes into a guest's control blocks and
// words, when it tells of it, and what it does with a guest that keeps to no rule. In both byte
// orders.

#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/event_fifo_guest.h"

namespace xencomm::hypervisor {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint16_t kGuest = 5;
constexpr unsigned kDefault = 7;  // priority
constexpr std::uint32_t kPending = FifoGuest::kPending, kMasked = FifoGuest::kMasked;
constexpr std::uint32_t kLinked = FifoGuest::kLinked;

class HypervisorEventFifoTest : public testing::TestWithParam<ByteOrder> {
 protected:
  std::uint64_t PinnedFrames() { return Books::StatisticsOf(machine.hypervisor).pinned_frames; }
  std::uint64_t Overhead() {
    return Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages;
  }
  std::int64_t GiveUp(std::uint64_t gfn) {
    xen_pfn_t frame = gfn;
    xen_memory_reservation request = TestMachine::Reservation(kGuest, &frame, 1);
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request);
  }

  TestMachine machine;
  FifoGuest guest{machine, kGuest, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(, HypervisorEventFifoTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

TEST_P(HypervisorEventFifoTest, TheFirstControlBlockChangesTheAbi) {
  const std::uint32_t port = guest.NewIpi();
  EXPECT_EQ(guest.SetPriority(port, 3), -kENOSYS);
  EXPECT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn), -kEOPNOTSUPP);
  EXPECT_EQ(guest.InitControl(1), 0);
  EXPECT_EQ(guest.SetPriority(port, 3), 0);
  EXPECT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn), 0);
  EXPECT_EQ(PinnedFrames(), 2u);
  EXPECT_EQ(guest.InitControl(0), 0);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Info().evtchn_pending[0], 0u);
  EXPECT_THAT(guest.Take(0), ElementsAre(port));
}

TEST_P(HypervisorEventFifoTest, AControlBlockThatCannotBeIsRefusedAndChangesNothing) {
  constexpr std::uint64_t kGfn = FifoGuest::kControlGfn;
  Books::MakeReadOnly(machine.hypervisor, kGuest, 30);
  xen_add_to_physmap add = {
      .domid = kGuest, .size = 0, .space = XENMAPSPACE_shared_info, .idx = 0, .gpfn = 31};
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
  constexpr std::uint16_t kOther = 6;
  ASSERT_EQ(machine.CreateDomain(kOther, 1, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap), kOther);
  xen_pfn_t frame = 0;
  xen_memory_reservation reservation = TestMachine::Reservation(kOther, &frame, 1);
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation), 1);
  ASSERT_EQ(machine.MapForeign(kGuest, 32, kOther, 0), 0);
  const struct {
    std::uint32_t vcpu;
    std::uint64_t gfn;
    std::uint32_t offset;
    std::int64_t answer;
  } kRefused[] = {
      {4, kGfn, 0, -kENOENT},
      {0x80000000, kGfn, 0, -kENOENT},
      {4, kGfn, 4, -kENOENT},  // whatever else is wrong
      {0, kGfn, 4, -kEINVAL},
      {0, kGfn, 4024 + 1, -kEINVAL},
      {0, kGfn, 4024 + 8, -kEINVAL},  // beyond the page's end
      {0, kGfn, 0xfffffff8, -kEINVAL},
      {0, 64, 0, -kEINVAL},  // nothing there
      {0, std::uint64_t{1} << 60, 0, -kEINVAL},
      {0, ~std::uint64_t{0}, 0, -kEINVAL},
      {0, 30, 0, -kEINVAL},  // not the guest's to write
      {0, 31, 0, -kEINVAL},  // the hypervisor's own
      {0, 32, 0, -kEINVAL},  // somebody else's
  };
  const std::uint32_t port = guest.NewIpi();
  const std::uint64_t overhead = Overhead();
  for (const auto& [vcpu, gfn, offset, answer] : kRefused) {
    EXPECT_EQ(guest.InitControl(vcpu, gfn, offset), answer) << vcpu << " " << gfn << " " << offset;
    EXPECT_EQ(PinnedFrames(), 0u);
    EXPECT_EQ(Overhead(), overhead);
    EXPECT_EQ(guest.SetPriority(port, 0), -kENOSYS);
  }
  EXPECT_EQ(guest.InitControl(0, kGfn, 4024), 0);  // the last place
  EXPECT_EQ(guest.InitControl(0, kGfn, 0), -kEINVAL) << "it has one";
  EXPECT_EQ(guest.InitControl(1, 64, 0), -kEINVAL);
  EXPECT_EQ(guest.SetPriority(port, 0), 0) << "of the first one's refusal nothing is seen";
  EXPECT_EQ(PinnedFrames(), 1u);
}

TEST_P(HypervisorEventFifoTest, TheArrayGrowsToAllPortsAndNoFurther) {
  constexpr std::uint16_t kLarge = 6;
  FifoGuest large(machine, kLarge, GetParam(), 1, 160);
  ASSERT_EQ(large.InitControl(0), 0);
  EXPECT_EQ(large.ExpandArray(1000), -kEINVAL);
  EXPECT_EQ(PinnedFrames(), 1u);
  for (std::uint64_t i = 0; i < 128; ++i) ASSERT_EQ(large.ExpandArray(FifoGuest::kArrayGfn + i), 0);
  EXPECT_EQ(PinnedFrames(), 129u);
  EXPECT_EQ(large.ExpandArray(FifoGuest::kArrayGfn + 128), -kENOSPC);
  EXPECT_EQ(large.ExpandArray(1000), -kENOSPC);
  // Every port, the last one of them too, which has the last word.
  machine.has_threads = true;  // no need to look at the books so often
  for (std::uint32_t port = 1; port < 1u << 17; ++port) ASSERT_EQ(large.BindIpi(0), port);
  EXPECT_EQ(large.BindIpi(0), -kENOSPC);
  EXPECT_EQ(large.Close(70000), 0);
  EXPECT_EQ(large.Close(300), 0);
  EXPECT_EQ(large.BindIpi(0), 300);
  EXPECT_EQ(large.BindIpi(0), 70000);
  EXPECT_EQ(large.BindIpi(0), -kENOSPC);
  EXPECT_EQ(large.Send((1u << 17) - 1), 0);
  EXPECT_EQ(large.Send(1u << 17), -kEINVAL);
  EXPECT_EQ(large.Word((1u << 17) - 1), kPending | kLinked);
  EXPECT_THAT(large.Take(0), ElementsAre((1u << 17) - 1));
  // Back to where there are fewer: those are closed, and there still.
  EXPECT_EQ(large.Reset(), 0);
  EXPECT_EQ(PinnedFrames(), 0u);
  evtchn_status status = {};
  status.dom = kLarge;
  status.port = (1u << 17) - 1;
  EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_status, &status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_closed});
  EXPECT_EQ(large.Close((1u << 17) - 1), -kEINVAL);
  for (std::uint32_t port = 1; port < 4096; ++port) ASSERT_EQ(large.BindIpi(0), port);
  EXPECT_EQ(large.BindIpi(0), -kENOSPC);
}

TEST_P(HypervisorEventFifoTest, EventsAreLinkedInTheirOrderAndToldOfOnce) {
  guest.Share();
  const std::uint32_t a = guest.NewIpi(), b = guest.NewIpi(), c = guest.NewIpi();
  EXPECT_EQ(guest.Send(b), 0);
  EXPECT_EQ(guest.Word(b), kPending | kLinked);
  EXPECT_EQ(guest.Head(0, kDefault), b);
  EXPECT_EQ(guest.Ready(0), 1u << kDefault);
  EXPECT_TRUE(guest.IsCalled(0));
  EXPECT_FALSE(guest.IsCalled(1));
  guest.Info().vcpu_info[0].evtchn_upcall_pending = 0;

  EXPECT_EQ(guest.Send(a), 0);
  EXPECT_EQ(guest.Send(b), 0);
  EXPECT_EQ(guest.Send(c), 0);
  EXPECT_FALSE(guest.IsCalled(0)) << "it looks at the queue to its end";
  EXPECT_EQ(guest.Head(0, kDefault), b);
  EXPECT_EQ(guest.Word(b), kPending | kLinked | a);
  EXPECT_EQ(guest.Word(a), kPending | kLinked | c);
  EXPECT_EQ(guest.Word(c), kPending | kLinked);
  EXPECT_THAT(guest.Take(0), ElementsAre(b, a, c));
  EXPECT_THAT(guest.Take(0), IsEmpty());
  // From an empty queue on.
  EXPECT_EQ(guest.Send(c), 0);
  EXPECT_TRUE(guest.IsCalled(0));
  EXPECT_THAT(guest.Take(0), ElementsAre(c));
}

TEST_P(HypervisorEventFifoTest, EachPriorityOfAVcpuHasAQueue) {
  guest.Share();
  const std::uint32_t a = guest.NewIpi(), b = guest.NewIpi(), c = guest.NewIpi(),
                      other = guest.NewIpi(1);
  EXPECT_EQ(guest.SetPriority(a, 15), 0);
  EXPECT_EQ(guest.SetPriority(b, 16), -kEINVAL);
  EXPECT_EQ(guest.SetPriority(b, ~0u), -kEINVAL);
  EXPECT_EQ(guest.SetPriority(c, 0), 0);
  EXPECT_EQ(guest.SetPriority(0, 0), -kEACCES);    // reserved
  EXPECT_EQ(guest.SetPriority(63, 16), -kEACCES);  // free
  EXPECT_EQ(guest.SetPriority(64, 16), -kEINVAL);  // no port
  for (const std::uint32_t port : {a, b, c, other}) EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Ready(0), 1u << 15 | 1u << kDefault | 1u);
  EXPECT_EQ(guest.Head(0, 15), a);
  EXPECT_EQ(guest.Head(0, 0), c);
  EXPECT_EQ(guest.Head(1, kDefault), other);
  EXPECT_THAT(guest.Take(0), ElementsAre(c, b, a));
  EXPECT_THAT(guest.Take(1), ElementsAre(other));
  // Who binds the port next has the default again.
  EXPECT_EQ(guest.Close(a), 0);
  EXPECT_EQ(guest.NewIpi(), a);
  EXPECT_EQ(guest.Send(a), 0);
  EXPECT_EQ(guest.Ready(0), 1u << kDefault);
}

TEST_P(HypervisorEventFifoTest, AMaskedEventIsLinkedWhenItIsUnmasked) {
  guest.Share();
  const std::uint32_t port = guest.NewIpi();
  guest.Mask(port);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Word(port), kPending | kMasked);
  EXPECT_FALSE(guest.IsCalled(0));
  EXPECT_EQ(guest.Unmask(port), 0);
  EXPECT_EQ(guest.Word(port), kPending | kLinked);
  EXPECT_TRUE(guest.IsCalled(0));
  EXPECT_THAT(guest.Take(0), ElementsAre(port));
  guest.Mask(port);
  EXPECT_EQ(guest.Unmask(port), 0);
  EXPECT_EQ(guest.Word(port), 0u) << "nothing was pending";
  EXPECT_FALSE(guest.IsCalled(0));
  // Of what is no port in use, nothing is written.
  guest.Mask(50);
  EXPECT_EQ(guest.Unmask(50), 0);
  EXPECT_EQ(guest.Word(50), kMasked);
  EXPECT_EQ(guest.Unmask(64), -kEINVAL);
}

// A port that was a queue's tail goes to another one: what comes next to the old one is its head,
// and not linked to a word that is on the new one.
TEST_P(HypervisorEventFifoTest, AnEventThatGoesToAnotherQueueIsTheOldOnesTailNoMore) {
  guest.Share();
  const auto [from, moves] = guest.NewPair();
  const std::uint32_t stays = guest.NewIpi(0), other = guest.NewIpi(1);
  guest.Take(0);
  struct Way {
    std::uint32_t vcpu;
    std::uint32_t priority;
  };
  for (const Way way : {Way{1, kDefault}, Way{0, kDefault}, Way{0, 3}, Way{0, kDefault}}) {
    // Last on its old queue, and taken from there.
    EXPECT_EQ(guest.Send(from), 0);
    guest.Take(0);
    guest.Take(1);
    EXPECT_EQ(guest.BindVcpu(moves, way.vcpu), 0);
    EXPECT_EQ(guest.SetPriority(moves, way.priority), 0);
    EXPECT_EQ(guest.Send(from), 0);
    EXPECT_EQ(guest.Send(stays), 0);
    EXPECT_EQ(guest.Send(other), 0);
    std::vector<std::uint32_t> zero = {stays}, one = {other};
    (way.vcpu == 0 ? zero : one).push_back(moves);
    EXPECT_THAT(guest.Take(0), ::testing::UnorderedElementsAreArray(zero));
    EXPECT_THAT(guest.Take(1), ::testing::UnorderedElementsAreArray(one));
  }
}

TEST_P(HypervisorEventFifoTest, AnEventOnAQueueStaysThereThatIsBoundToAnotherOne) {
  guest.Share();
  const auto [from, port] = guest.NewPair();
  guest.Take(0);
  EXPECT_EQ(guest.Send(from), 0);
  EXPECT_EQ(guest.BindVcpu(port, 1), 0);
  EXPECT_EQ(guest.SetPriority(port, 0), 0);
  EXPECT_EQ(guest.Send(from), 0);
  EXPECT_THAT(guest.Take(1), IsEmpty());
  EXPECT_THAT(guest.Take(0), ElementsAre(port));
  EXPECT_EQ(guest.Send(from), 0);
  EXPECT_EQ(guest.Ready(1), 1u);
  EXPECT_THAT(guest.Take(1), ElementsAre(port));
}

TEST_P(HypervisorEventFifoTest, WhatIsPendingInTheOtherAbiWaitsForItsWord) {
  const std::uint32_t pending = guest.NewIpi(), not_pending = guest.NewIpi(),
                      closed = guest.NewIpi();
  EXPECT_EQ(guest.Send(pending), 0);
  EXPECT_EQ(guest.Send(closed), 0);
  std::uint32_t last = closed;
  while (last != 70) last = guest.NewIpi();  // of another word
  EXPECT_EQ(guest.Send(last), 0);
  ASSERT_EQ(guest.InitControl(0), 0);
  EXPECT_EQ(guest.Ready(0), 0u);
  EXPECT_EQ(guest.Close(closed), 0);
  EXPECT_EQ(guest.BindIpi(0), closed);
  ASSERT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn), 0);
  EXPECT_EQ(guest.Word(not_pending), 0u);
  EXPECT_THAT(guest.Take(0), ElementsAre(pending, last));
}

TEST_P(HypervisorEventFifoTest, AnEventWithoutAWordWaitsForIt) {
  guest.Share();
  std::uint32_t port = 0;
  while (port < FifoGuest::kWordsPerPage) port = guest.NewIpi();
  ASSERT_EQ(port, FifoGuest::kWordsPerPage);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Unmask(port), 0);
  EXPECT_THAT(guest.Take(0), IsEmpty());
  ASSERT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn + 1), 0);
  EXPECT_EQ(guest.Word(port), kPending | kLinked);
  EXPECT_THAT(guest.Take(0), ElementsAre(port));
  // Once: another domain's first page, after a reset, has nothing of it.
  EXPECT_EQ(guest.Reset(), 0);
  guest.Share();
  ASSERT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn + 1), 0);
  EXPECT_THAT(guest.Take(0), IsEmpty());
}

TEST_P(HypervisorEventFifoTest, AVcpuWithoutAControlBlockHasNoEvents) {
  guest.Share(1);
  const std::uint32_t port = guest.NewIpi(1), far = guest.NewIpi(3);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Send(far), 0);
  EXPECT_EQ(guest.Word(port), 0u);
  EXPECT_FALSE(guest.IsCalled(1));
  ASSERT_EQ(guest.InitControl(1), 0);
  EXPECT_THAT(guest.Take(1), IsEmpty());
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_THAT(guest.Take(1), ElementsAre(port));
}

TEST_P(HypervisorEventFifoTest, AClosedPortIsNobodysUntilItIsTakenOff) {
  guest.Share();
  const std::uint32_t first = guest.NewIpi(), port = guest.NewIpi();
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Close(port), 0);
  EXPECT_EQ(guest.Word(port), kLinked) << "not pending, and on its queue";
  EXPECT_EQ(guest.BindIpi(0), port + 1);
  EXPECT_EQ(guest.Send(first), 0);
  EXPECT_THAT(guest.Take(0), ElementsAre(first));
  EXPECT_EQ(guest.BindIpi(1), port);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_THAT(guest.Take(1), ElementsAre(port));
}

// A port that is bound anew may still be its last queue's tail.
TEST_P(HypervisorEventFifoTest, APortRemembersItsQueueBeyondItsEnd) {
  guest.Share();
  const std::uint32_t first = guest.NewIpi(), port = guest.NewIpi();
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_THAT(guest.Take(0), ElementsAre(port));
  EXPECT_EQ(guest.Close(port), 0);
  EXPECT_EQ(guest.BindIpi(1), port);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Send(first), 0);
  EXPECT_EQ(guest.Head(0, kDefault), first);
  EXPECT_EQ(guest.Word(port), kPending | kLinked);
  EXPECT_THAT(guest.Take(0), ElementsAre(first));
  EXPECT_THAT(guest.Take(1), ElementsAre(port));
}

TEST_P(HypervisorEventFifoTest, PagesAreTheHypervisorsToUseUntilTheReset) {
  const std::uint64_t overhead = Overhead();
  guest.Share();
  const std::uint32_t port = guest.NewIpi();
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(PinnedFrames(), 2u);
  EXPECT_EQ(GiveUp(FifoGuest::kControlGfn), 0);
  EXPECT_EQ(GiveUp(FifoGuest::kArrayGfn), 0);

  EXPECT_EQ(guest.Reset(), 0);
  EXPECT_EQ(PinnedFrames(), 0u);
  EXPECT_LE(Overhead(), overhead + 3) << "rows stay, queues do not";
  EXPECT_EQ(guest.ExpandArray(FifoGuest::kArrayGfn), -kEOPNOTSUPP);
  // Two levels again, and the pages are the guest's alone.
  EXPECT_EQ(guest.BindIpi(0), port);
  const std::uint32_t word = guest.Word(port);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_NE(guest.Info().evtchn_pending[0], 0u);
  EXPECT_EQ(guest.Word(port), word);
  EXPECT_EQ(guest.Reset(), 0);
  // And FIFO again, with nothing of the old queues.
  guest.SetWord(port, kLinked);
  guest.Share();
  guest.SetWord(port, 0);
  EXPECT_EQ(guest.BindIpi(0), port);
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_EQ(guest.Head(0, kDefault), port);
  EXPECT_EQ(guest.Reset(), 0);
  EXPECT_EQ(GiveUp(FifoGuest::kControlGfn), 1);
  EXPECT_EQ(GiveUp(FifoGuest::kArrayGfn), 1);
}

TEST_P(HypervisorEventFifoTest, ADomainEndsWithEventsOnItsQueues) {
  guest.Share();
  evtchn_alloc_unbound offer = {.dom = kGuest, .remote_dom = 0, .port = 0};
  ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
  evtchn_bind_interdomain bind = {.remote_dom = kGuest, .remote_port = offer.port, .local_port = 0};
  ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &bind), 0);
  evtchn_send send = {.port = bind.local_port};
  EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send), 0);
  EXPECT_EQ(guest.Word(offer.port), kPending | kLinked);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_EQ(PinnedFrames(), 0u);
  EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send), 0);  // to nobody
  EXPECT_EQ(guest.InitControl(2), -kESRCH);
  machine.hypervisor.ReleaseVcpu(*guest.vcpu);
}

// From its end's beginning on it has two levels, and its ports still.
TEST_P(HypervisorEventFifoTest, OfADomainThatEndsNoBitIsBeyondItsPage) {
  constexpr std::uint16_t kEnds = 6;
  TestMachine small({.preempt_interval = 32});
  small.has_threads = true;  // no need to look at the books so often
  FifoGuest ends(small, kEnds, GetParam());
  ends.Share();
  for (std::uint32_t port = 1; port < 4096; ++port) ASSERT_EQ(ends.BindIpi(0), port);
  evtchn_alloc_unbound offer = {.dom = kEnds, .remote_dom = 0, .port = 0};
  ASSERT_EQ(small.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
  ASSERT_EQ(offer.port, 4096u);
  evtchn_bind_interdomain bind = {.remote_dom = kEnds, .remote_port = 4096, .local_port = 0};
  ASSERT_EQ(small.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &bind), 0);
  shared_info_t& info = ends.Info();
  xen_domctl_t destroy = {};
  destroy.cmd = XEN_DOMCTL_destroydomain;
  destroy.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  destroy.domain = kEnds;
  HypercallFrame frame = small.Frame(__HYPERVISOR_domctl, &destroy);
  small.hypervisor.Hypercall(*small.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  evtchn_send send = {.port = bind.local_port};
  EXPECT_EQ(small.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send), 0);
  for (const auto word : info.evtchn_mask) EXPECT_EQ(word, 0u);
  EXPECT_EQ(info.vcpu_info[0].evtchn_pending_sel, 0u);
  small.hypervisor.Call(*small.vcpu, frame);
  small.hypervisor.ReleaseVcpu(*ends.vcpu);
}

TEST_P(HypervisorEventFifoTest, WhoLogsWhatIsWrittenFindsItsPages) {
  guest.Share();
  constexpr std::uint64_t kSecondGfn = FifoGuest::kArrayGfn + 1;
  ASSERT_EQ(guest.ExpandArray(kSecondGfn), 0);
  const std::uint32_t port = guest.NewIpi(), second = guest.NewIpi();
  std::uint32_t far = second;
  while (far != FifoGuest::kWordsPerPage) far = guest.NewIpi();
  xen_domctl_t op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
  const auto written = [&] {
    std::uint8_t bitmap[8] = {};
    xen_domctl_t clean = {};
    clean.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
    clean.u.shadow_op.dirty_bitmap.p = bitmap;
    clean.u.shadow_op.pages = 64;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, clean), 0);
    std::vector<unsigned> gfns;
    for (unsigned i = 0; i < 64; ++i) {
      if ((bitmap[i / 8] >> i % 8 & 1) != 0) gfns.push_back(i);
    }
    return gfns;
  };
  written();
  EXPECT_THAT(written(), IsEmpty());
  EXPECT_EQ(guest.Send(port), 0);
  EXPECT_THAT(written(), ElementsAre(FifoGuest::kControlGfn, FifoGuest::kArrayGfn));
  EXPECT_EQ(guest.Send(second), 0);
  EXPECT_THAT(written(), ElementsAre(FifoGuest::kArrayGfn));
  EXPECT_EQ(guest.Send(far), 0);
  EXPECT_THAT(written(), ElementsAre(FifoGuest::kArrayGfn, kSecondGfn)) << "the tail's, too";
  EXPECT_EQ(guest.Unmask(0), 0);
  EXPECT_THAT(written(), IsEmpty());
  EXPECT_EQ(guest.Unmask(port), 0);
  EXPECT_THAT(written(), ElementsAre(FifoGuest::kArrayGfn));
  EXPECT_EQ(guest.Close(port), 0);
  EXPECT_THAT(written(), ElementsAre(FifoGuest::kArrayGfn));
}

}  // namespace
}  // namespace xencomm::hypervisor
