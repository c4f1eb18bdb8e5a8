// When a machine is told of a domain's events, and what the hypervisor tells domain 0 of by itself.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint16_t kGuest = 5;
constexpr std::uint16_t kOther = 6;

class HypervisorEventsTest : public testing::Test {
 protected:
  using Upcalls = std::vector<std::pair<std::uint16_t, unsigned>>;

  HypervisorEventsTest() {
    machine.on_upcall = [this](std::uint16_t domain, unsigned vcpu) {
      upcalls_.emplace_back(domain, vcpu);
    };
  }

  template <class T>
  std::int64_t EventOp(std::uint64_t op, T argument) {
    return machine.Call(__HYPERVISOR_event_channel_op, op, &argument);
  }
  std::uint32_t BindVirq(std::uint32_t virq) {
    evtchn_bind_virq request = {.virq = virq, .vcpu = 0, .port = 0};
    EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, &request), 0);
    return request.port;
  }
  std::uint32_t BindIpi(std::uint32_t vcpu) {
    evtchn_bind_ipi request = {.vcpu = vcpu, .port = 0};
    EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &request), 0);
    return request.port;
  }
  std::int64_t Send(std::uint32_t port) {
    return EventOp(EVTCHNOP_send, evtchn_send{.port = port});
  }

  Upcalls TakeUpcalls() { return std::exchange(upcalls_, {}); }
  shared_info_t& SharedInfo(std::uint16_t domain = 0) {
    return *reinterpret_cast<shared_info_t*>(machine.hypervisor.SharedInfoOf(domain));
  }
  // Whether the port has an event, which is then handled as a kernel does.
  bool TakeEvent(std::uint32_t port) {
    shared_info_t& info = SharedInfo();
    for (auto& vcpu : info.vcpu_info) vcpu.evtchn_upcall_pending = 0;
    for (auto& vcpu : info.vcpu_info) vcpu.evtchn_pending_sel = 0;
    const std::uint64_t bit = std::uint64_t{1} << port % 64;
    const bool has = (info.evtchn_pending[port / 64] & bit) != 0;
    info.evtchn_pending[port / 64] &= ~bit;
    return has;
  }

  TestMachine machine;

 private:
  Upcalls upcalls_;
};

TEST_F(HypervisorEventsTest, AnUpcallIsToldOnceUntilTheKernelHasTakenIt) {
  const std::uint32_t first = BindIpi(1), second = BindIpi(1), third = BindIpi(0);
  EXPECT_EQ(Send(first), 0);
  EXPECT_EQ(Send(first), 0);
  EXPECT_EQ(Send(second), 0);
  EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(0, 1u)));
  EXPECT_EQ(Send(third), 0);
  EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(0, 0u)));
  EXPECT_TRUE(TakeEvent(first));
  EXPECT_TRUE(TakeEvent(second));
  EXPECT_EQ(Send(second), 0);
  EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(0, 1u)));
}

TEST_F(HypervisorEventsTest, AMaskedEventIsToldWhenItIsUnmasked) {
  const std::uint32_t port = BindIpi(0);
  SharedInfo().evtchn_mask[0] = ~std::uint64_t{0};
  EXPECT_EQ(Send(port), 0);
  EXPECT_THAT(TakeUpcalls(), IsEmpty());
  EXPECT_EQ(EventOp(EVTCHNOP_unmask, evtchn_unmask{.port = port}), 0);
  EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(0, 0u)));
  EXPECT_TRUE(TakeEvent(port));
}

TEST_F(HypervisorEventsTest, OnlyDomainsThatTheMachineBuiltHaveUpcallsOfItsOwn) {
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = kGuest, .pages = 32, .vcpus = 1}), 0);
  ASSERT_EQ(machine.CreateDomain(kOther, 0), kOther);
  EXPECT_NE(machine.hypervisor.SharedInfoOf(kGuest), nullptr);
  EXPECT_NE(machine.hypervisor.SharedInfoOf(kGuest), machine.hypervisor.SharedInfoOf(0));
  EXPECT_EQ(machine.hypervisor.SharedInfoOf(kOther), nullptr);
  EXPECT_EQ(machine.hypervisor.SharedInfoOf(77), nullptr);
  for (const std::uint16_t domain : {kGuest, kOther}) {
    evtchn_alloc_unbound offer = {.dom = domain, .remote_dom = 0, .port = 0};
    ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
    evtchn_bind_interdomain bind = {
        .remote_dom = domain, .remote_port = offer.port, .local_port = 0};
    ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &bind), 0);
    EXPECT_TRUE(TakeEvent(bind.local_port));  // of its binding
    TakeUpcalls();
    EXPECT_EQ(Send(bind.local_port), 0);
    if (domain == kGuest) {
      EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(kGuest, 0u)));
    } else {
      EXPECT_THAT(TakeUpcalls(), IsEmpty());
    }
  }
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kOther), 0);
}

TEST_F(HypervisorEventsTest, Domain0IsToldOfADomainsEnd) {
  ASSERT_EQ(machine.CreateDomain(kGuest, 0), kGuest);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_THAT(TakeUpcalls(), IsEmpty()) << "nobody has bound it";

  const std::uint32_t other = BindVirq(VIRQ_CON_RING), port = BindVirq(VIRQ_DOM_EXC);
  ASSERT_EQ(machine.CreateDomain(kGuest, 0), kGuest);
  EXPECT_FALSE(TakeEvent(port));
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(0, 0u)));
  EXPECT_TRUE(TakeEvent(port));
  EXPECT_FALSE(TakeEvent(other));
}

// When it is dead, and again when nobody uses it any more and it is gone.
TEST_F(HypervisorEventsTest, Domain0IsToldOfADeadDomainAndOfOneThatIsGone) {
  const std::uint32_t port = BindVirq(VIRQ_DOM_EXC);
  ASSERT_EQ(machine.CreateDomain(kGuest, 10), kGuest);
  xen_pfn_t frame = 0;
  xen_memory_reservation reservation = TestMachine::Reservation(kGuest, &frame, 1);
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation), 1);
  std::uint64_t mfn = 0;
  ASSERT_EQ(machine.HoldFrame(kGuest, frame, Access::kRead, &mfn), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_TRUE(TakeEvent(port));
  xen_domctl_t info = {};
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kGuest, info), 0);
  EXPECT_EQ(info.domain, kGuest);
  machine.ReleaseFrame(mfn);
  EXPECT_TRUE(TakeEvent(port));
}

TEST_F(HypervisorEventsTest, Domain0IsToldOfAShutdownOnce) {
  const std::uint32_t port = BindVirq(VIRQ_DOM_EXC);
  ASSERT_EQ(machine.CreateDomain(kGuest, 0), kGuest);
  sched_remote_shutdown request = {.domain_id = kGuest, .reason = SHUTDOWN_poweroff};
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), 0);
  EXPECT_TRUE(TakeEvent(port));
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), 0);
  EXPECT_FALSE(TakeEvent(port));
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_TRUE(TakeEvent(port));
}

// A domain that was suspended tells whoever subscribed to that, by the port that they have chosen.
TEST_F(HypervisorEventsTest, ASubscriberIsToldOfASuspendedDomainInPlaceOfDomain0) {
  const std::uint32_t port = BindVirq(VIRQ_DOM_EXC);
  for (const unsigned reason : {SHUTDOWN_suspend, SHUTDOWN_reboot}) {
    ASSERT_EQ(machine.CreateDomain(kGuest, 0), kGuest);
    evtchn_alloc_unbound offer = {.dom = kGuest, .remote_dom = 0, .port = 0};
    ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
    evtchn_bind_interdomain bind = {
        .remote_dom = kGuest, .remote_port = offer.port, .local_port = 0};
    ASSERT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &bind), 0);
    EXPECT_TRUE(TakeEvent(bind.local_port));
    xen_domctl_t op = {};
    op.u.subscribe.port = offer.port;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_subscribe, kGuest, op), 0);
    sched_remote_shutdown request = {.domain_id = kGuest, .reason = reason};
    EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), 0);
    EXPECT_EQ(TakeEvent(bind.local_port), reason == SHUTDOWN_suspend);
    EXPECT_EQ(TakeEvent(port), reason != SHUTDOWN_suspend);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
    EXPECT_TRUE(TakeEvent(port));
    EXPECT_EQ(EventOp(EVTCHNOP_close, evtchn_close{.port = bind.local_port}), 0);
  }
}

TEST_F(HypervisorEventsTest, APollLooksAtItsPortsUnlessAnUpcallIsPending) {
  const std::uint32_t port = BindIpi(0), other = BindIpi(0);
  std::vector<evtchn_port_t> ports(129, port);
  const auto poll = [&](evtchn_port_t* list, std::uint32_t count) {
    sched_poll request = {};
    request.ports.p = list;
    request.nr_ports = count;
    return machine.Call(__HYPERVISOR_sched_op, SCHEDOP_poll, &request);
  };
  EXPECT_EQ(poll(ports.data(), 128), 0);
  EXPECT_EQ(poll(ports.data(), 129), -kEINVAL);
  EXPECT_EQ(poll(nullptr, 0), 0);
  EXPECT_EQ(poll(nullptr, 1), -kEFAULT);
  ports = {port, 60, other};  // of which one is free
  EXPECT_EQ(poll(ports.data(), 3), -kEINVAL);
  ports = {port, 0};
  EXPECT_EQ(poll(ports.data(), 2), -kEINVAL);
  ports = {other, 4096};
  EXPECT_EQ(poll(ports.data(), 2), -kEINVAL);
  // Behind one that is pending it does not look.
  SharedInfo().evtchn_mask[0] = ~std::uint64_t{0};
  EXPECT_EQ(Send(other), 0);
  EXPECT_EQ(poll(ports.data(), 2), 0);
  ports = {4096, other};
  EXPECT_EQ(poll(ports.data(), 2), -kEINVAL);
  SharedInfo().vcpu_info[0].evtchn_upcall_pending = 1;
  EXPECT_EQ(poll(ports.data(), 2), 0);
}

TEST_F(HypervisorEventsTest, AVirqIsBoundOnceWhereItBelongs) {
  const auto bind = [&](std::uint32_t virq, std::uint32_t vcpu) {
    return EventOp(EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = virq, .vcpu = vcpu, .port = 0});
  };
  for (const std::uint32_t own : {VIRQ_TIMER, VIRQ_DEBUG, VIRQ_XENOPROF, VIRQ_XENPMU}) {
    for (const std::uint32_t vcpu : {1u, 0u}) {
      EXPECT_EQ(bind(own, vcpu), 0) << own;
      EXPECT_EQ(bind(own, vcpu), -kEEXIST) << own;
    }
    EXPECT_EQ(bind(own, 2), -kENOENT) << own;
  }
  const std::uint32_t port = BindVirq(VIRQ_DOM_EXC);
  EXPECT_EQ(bind(VIRQ_DOM_EXC, 0), -kEEXIST);
  EXPECT_EQ(bind(VIRQ_DOM_EXC, 1), -kEINVAL);
  EXPECT_EQ(bind(VIRQ_CON_RING, 2), -kEINVAL) << "which is looked at first";
  EXPECT_EQ(bind(24, 0), -kEINVAL);
  EXPECT_EQ(bind(~0u, 0), -kEINVAL);
  // Moved, it is bound still, and told where it was moved to.
  EXPECT_EQ(EventOp(EVTCHNOP_bind_vcpu, evtchn_bind_vcpu{.port = port, .vcpu = 1}), 0);
  EXPECT_EQ(bind(VIRQ_DOM_EXC, 0), -kEEXIST);
  ASSERT_EQ(machine.CreateDomain(kGuest, 0), kGuest);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_THAT(TakeUpcalls(), ElementsAre(std::pair(0, 1u)));
  EXPECT_EQ(EventOp(EVTCHNOP_close, evtchn_close{.port = port}), 0);
  EXPECT_EQ(bind(VIRQ_DOM_EXC, 0), 0);
}

TEST_F(HypervisorEventsTest, Domain0IsToldOfWhatXenPrints) {
  const std::uint32_t other = BindVirq(VIRQ_DOM_EXC), port = BindVirq(VIRQ_CON_RING);
  char keys[] = {'h'};
  xen_sysctl_t op = {};
  op.u.debug_keys.nr_keys = 1;
  op.u.debug_keys.keys.p = keys;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_debug_keys, op), 0);
  EXPECT_TRUE(TakeEvent(port));
  EXPECT_FALSE(TakeEvent(other));
}

}  // namespace
}  // namespace xencomm::hypervisor
