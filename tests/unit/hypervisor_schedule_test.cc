// Time and places: who ran where and for how long, as all ops that tell of it agree.
#include "hcall/hypervisor/domain/schedule.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "hcall/hypervisor/base/errno.h"
#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kCpus = 3;
constexpr unsigned kVcpus = 5;

class HypervisorScheduleTest : public testing::Test {
 protected:
  HypervisorScheduleTest() {
    vcpus[0] = machine.vcpu;
    for (unsigned i = 1; i < kVcpus; ++i) {
      vcpus[i] = machine.hypervisor.ClaimVcpu(0, i);
      machine.hypervisor.SetRawSpace(*vcpus[i], machine.direct);
    }
  }
  ~HypervisorScheduleTest() override {
    for (unsigned i = 1; i < kVcpus; ++i) {
      if (vcpus[i] != nullptr) machine.hypervisor.ReleaseVcpu(*vcpus[i]);
    }
  }

  // All that is told at a moment to one of domain 0's vcpus.
  struct Seen {
    std::array<xen_domctl_getvcpuinfo, kVcpus> vcpus = {};
    std::array<std::uint64_t, kCpus> idle = {};
    xen_domctl_getdomaininfo domain = {};

    std::uint64_t Ran(unsigned vcpu) const { return vcpus[vcpu].cpu_time; }
    bool Runs(unsigned vcpu) const { return vcpus[vcpu].running != 0; }
    bool Waits(unsigned vcpu) const { return !Runs(vcpu) && vcpus[vcpu].blocked == 0; }
  };
  Seen SeenBy(unsigned caller, std::uint64_t time) {
    Seen seen;
    for (unsigned i = 0; i < kVcpus; ++i) {
      seen.vcpus[i] = Domctl(caller, time, XEN_DOMCTL_getvcpuinfo, 0, i).u.getvcpuinfo;
    }
    seen.domain = Domctl(caller, time, XEN_DOMCTL_getdomaininfo, 0, 0).u.getdomaininfo;
    xen_sysctl_cpuinfo_t cpus[kCpus] = {};
    xen_sysctl_t op = {};
    op.cmd = XEN_SYSCTL_getcpuinfo;
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    op.u.getcpuinfo.max_cpus = kCpus;
    op.u.getcpuinfo.info.p = cpus;
    EXPECT_EQ(CallAt(caller, time, __HYPERVISOR_sysctl, &op), 0);
    for (unsigned i = 0; i < kCpus; ++i) seen.idle[i] = cpus[i].idletime;

    // What vcpus ran for and what processors were idle for is all that there was.
    std::uint64_t ran = 0;
    CpuMask taken;
    for (const xen_domctl_getvcpuinfo& vcpu : seen.vcpus) {
      ran += vcpu.cpu_time;
      EXPECT_LE(vcpu.cpu_time, time);
      EXPECT_LT(vcpu.cpu, kCpus);
      EXPECT_FALSE(vcpu.running != 0 && vcpu.blocked != 0);
      if (vcpu.running == 0) continue;
      EXPECT_FALSE(taken.Has(vcpu.cpu)) << "two run on processor " << vcpu.cpu;
      taken.Set(vcpu.cpu);
    }
    EXPECT_EQ(seen.domain.cpu_time, ran);
    EXPECT_EQ(std::accumulate(seen.idle.begin(), seen.idle.end(), ran), kCpus * time);
    EXPECT_TRUE(seen.Runs(caller));
    EXPECT_NE(seen.domain.flags & XEN_DOMINF_running, 0u);
    return seen;
  }

  // While vcpus 0 to `count` - 1 are in a call each, of the kind that holds no lock that others
  // want.
  void WhileInCalls(unsigned count, const std::function<void()>& what) {
    if (count == 0) return what();
    machine.meanwhile = [&] { WhileInCalls(count - 1, what); };
    Runstate(count - 1, machine.now + kTick, 0);
  }

  std::int64_t Pin(unsigned vcpu, std::uint8_t hard, std::uint8_t soft = 0xff) {
    xen_domctl_t op = {};
    op.u.vcpuaffinity.vcpu = vcpu;
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
    op.u.vcpuaffinity.cpumap_hard.bitmap.p = &hard;
    op.u.vcpuaffinity.cpumap_soft.bitmap.p = &soft;
    op.u.vcpuaffinity.cpumap_hard.nr_bits = op.u.vcpuaffinity.cpumap_soft.nr_bits = 8;
    return machine.Domctl(XEN_DOMCTL_setvcpuaffinity, 0, op);
  }

  vcpu_runstate_info Runstate(unsigned caller, std::uint64_t time, unsigned vcpu) {
    vcpu_runstate_info info = {};
    EXPECT_EQ(CallAt(caller, time, __HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, vcpu, &info), 0);
    return info;
  }

  xen_domctl_t Domctl(unsigned caller, std::uint64_t time, std::uint32_t cmd, std::uint16_t domain,
                      std::uint32_t vcpu) {
    xen_domctl_t op = {};
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    op.u.getvcpuinfo.vcpu = vcpu;
    EXPECT_EQ(CallAt(caller, time, __HYPERVISOR_domctl, &op), 0);
    return op;
  }

  template <class... Arguments>
  std::int64_t CallAt(unsigned caller, std::uint64_t time, Arguments... arguments) {
    machine.now = time - kTick;  // which it moves on by whenever it is asked
    return machine.hypervisor.Call(*vcpus[caller], machine.Frame(arguments...));
  }

  static constexpr std::uint64_t kTick = 1000;

  TestMachine machine{{.cpus = kCpus, .vcpus = kVcpus}};
  std::array<Vcpu*, kVcpus> vcpus = {};
};

TEST_F(HypervisorScheduleTest, WhoAsksHasRun) {
  const Seen first = SeenBy(0, 100000);
  const Seen second = SeenBy(0, 150000);
  EXPECT_EQ(second.Ran(0), first.Ran(0) + 50000);
  EXPECT_EQ(second.idle[0], first.idle[0]);
  EXPECT_EQ(second.idle[1], 150000u);
  for (unsigned i = 1; i < kVcpus; ++i) {
    EXPECT_EQ(second.Ran(i), 0u);
    EXPECT_TRUE(second.vcpus[i].blocked);
    EXPECT_TRUE(second.vcpus[i].online);
  }
  // Before it was there to run, its processor was idle.
  EXPECT_EQ(second.Ran(0) + second.idle[0], 150000u);
  EXPECT_NE(second.idle[0], 0u);
}

TEST_F(HypervisorScheduleTest, WhoIsInACallRunsToo) {
  const Seen before = SeenBy(0, 100000);
  WhileInCalls(2, [&] {
    const Seen seen = SeenBy(2, 150000);
    for (const unsigned i : {0u, 1u, 2u}) {
      EXPECT_TRUE(seen.Runs(i)) << i;
      EXPECT_EQ(seen.Ran(i), before.Ran(i) + 50000) << i;
      EXPECT_EQ(seen.vcpus[i].cpu, i);
    }
    EXPECT_EQ(seen.idle[2], 100000u);
  });
  const Seen after = SeenBy(0, 200000);
  EXPECT_TRUE(after.vcpus[1].blocked && after.vcpus[2].blocked);
}

// Vcpus 0 and 3 are on processor 0, 1 and 4 on processor 1, and nobody but 2 on processor 2.
TEST_F(HypervisorScheduleTest, VcpusGoWhereAProcessorIsFree) {
  WhileInCalls(1, [&] {
    const Seen seen = SeenBy(3, 100000);
    EXPECT_EQ(seen.vcpus[3].cpu, 0u);
    EXPECT_EQ(seen.vcpus[0].cpu, 1u);
    EXPECT_TRUE(seen.Runs(0));
  });
}

TEST_F(HypervisorScheduleTest, MoreThanThereAreProcessorsWait) {
  SeenBy(0, 100000);
  WhileInCalls(4, [&] {
    const Seen seen = SeenBy(4, 150000);
    unsigned waiting = 0;
    for (unsigned i = 0; i < kVcpus; ++i) waiting += seen.Waits(i);
    EXPECT_EQ(waiting, kVcpus - kCpus);
    EXPECT_EQ(seen.idle, SeenBy(4, 150000).idle);
    const vcpu_runstate_info info = Runstate(4, 150000, 3);
    EXPECT_EQ(info.state, RUNSTATE_runnable);
    EXPECT_EQ(info.time[RUNSTATE_runnable], 50000u);
    EXPECT_EQ(info.state_entry_time, 100000u);
  });
}

TEST_F(HypervisorScheduleTest, WhatIsPinnedIsWhereItMayBe) {
  ASSERT_EQ(Pin(0, 2), 0);
  EXPECT_EQ(SeenBy(1, 100000).vcpus[0].cpu, 1u);
  Seen seen = SeenBy(0, 150000);
  EXPECT_EQ(seen.vcpus[0].cpu, 1u);
  EXPECT_EQ(seen.idle[1], SeenBy(0, 200000).idle[1]);
  EXPECT_EQ(seen.idle[0], 150000u);
  // It stays where it may still be, and goes where it would like to.
  ASSERT_EQ(Pin(0, 7, 1), 0);
  EXPECT_EQ(SeenBy(0, 200000).vcpus[0].cpu, 1u);
  ASSERT_EQ(Pin(0, 0xf5, 4), 0);
  EXPECT_EQ(SeenBy(1, 250000).vcpus[0].cpu, 2u);
  // Which it cannot where there is no such processor.
  ASSERT_EQ(Pin(0, 0xf9, 0xf6), 0);
  EXPECT_EQ(SeenBy(1, 250000).vcpus[0].cpu, 0u);
  EXPECT_EQ(Pin(0, 0xf8), -kEINVAL);
  EXPECT_EQ(SeenBy(1, 250000).vcpus[0].cpu, 0u);
}

TEST_F(HypervisorScheduleTest, WhatIsPinnedToOneProcessorWaitsForIt) {
  ASSERT_EQ(Pin(0, 2), 0);
  ASSERT_EQ(Pin(1, 2), 0);
  const Seen before = SeenBy(2, 100000);
  WhileInCalls(1, [&] {
    const Seen seen = SeenBy(1, 150000);
    EXPECT_TRUE(seen.Waits(0));
    EXPECT_EQ(seen.Ran(0), before.Ran(0));
    EXPECT_EQ(seen.vcpus[0].cpu, 1u);
    EXPECT_EQ(seen.idle[0], 150000u);
  });
}

TEST_F(HypervisorScheduleTest, WhoMakesNoCallsAnyMoreStops) {
  SeenBy(1, 100000);
  Vcpu* const vcpu = std::exchange(vcpus[1], nullptr);
  machine.now = 150000 - kTick;
  machine.hypervisor.ReleaseVcpu(*vcpu);
  const Seen seen = SeenBy(0, 200000);
  EXPECT_TRUE(seen.vcpus[1].blocked);
  EXPECT_EQ(seen.Ran(0), 50000u);  // since the release, which is a sample
  const vcpu_runstate_info since = Runstate(0, 210000, 1);
  EXPECT_EQ(Runstate(0, 230000, 1).time[RUNSTATE_blocked], since.time[RUNSTATE_blocked] + 20000);
  const std::uint64_t ran = seen.Ran(1);
  machine.now = 250000 - kTick;
  vcpus[1] = machine.hypervisor.ClaimVcpu(0, 1);
  machine.hypervisor.SetRawSpace(*vcpus[1], machine.direct);
  EXPECT_EQ(SeenBy(1, 300000).Ran(1), ran + 50000);
}

TEST_F(HypervisorScheduleTest, ItsFourTimesAreAllOfAVcpusTime) {
  machine.now = 10000 - kTick;
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = 7, .pages = 8, .vcpus = 2}), 0);
  ASSERT_EQ(machine.CreateDomain(8, 8, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2), 8);
  vcpu_guest_context_t context = {};
  context.flags = VGCF_online;
  xen_domctl_t op = {};
  op.u.vcpucontext.ctxt.p = &context;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, 8, op), 0);
  const auto total = [](const vcpu_runstate_info& info) {
    return std::accumulate(std::begin(info.time), std::end(info.time), std::uint64_t{0});
  };
  const std::uint64_t made = 100000 - total(Runstate(0, 100000, 0));
  for (const std::uint64_t time : {110000u, 120000u, 130000u}) {
    for (unsigned i = 0; i < kVcpus; ++i) {
      const vcpu_runstate_info info = Runstate(i, time, 3);
      EXPECT_LE(made, time - total(info));
      EXPECT_LE(time - total(info), 9000u);
      EXPECT_EQ(info.state, i == 3 ? RUNSTATE_running : RUNSTATE_blocked);
    }
  }
  // One that was never started, and one that is.
  const auto blocked = [&](std::uint16_t id) {
    return Domctl(0, 140000, XEN_DOMCTL_getvcpuinfo, id, 0).u.getvcpuinfo.blocked != 0;
  };
  const auto flag = [&](std::uint16_t id) {
    return Domctl(0, 140000, XEN_DOMCTL_getdomaininfo, id, 0).u.getdomaininfo.flags &
           XEN_DOMINF_blocked;
  };
  EXPECT_TRUE(blocked(7));
  EXPECT_NE(flag(7), 0u);
  EXPECT_FALSE(blocked(8));
  EXPECT_EQ(flag(8), 0u);
  EXPECT_EQ(flag(0), 0u);  // one of its vcpus is not
  // Nor is one that is down.
  ASSERT_EQ(CallAt(0, 150000, __HYPERVISOR_vcpu_op, VCPUOP_down, 4), 0);
  EXPECT_FALSE(SeenBy(0, 150000).vcpus[4].blocked);
  EXPECT_EQ(Runstate(0, 160000, 4).state, RUNSTATE_offline);
}

TEST_F(HypervisorScheduleTest, EachOpThatTellsTakesASample) {
  const std::uint64_t ran = SeenBy(0, 100000).domain.cpu_time;
  EXPECT_EQ(Domctl(0, 110000, XEN_DOMCTL_getdomaininfo, 0, 0).u.getdomaininfo.cpu_time,
            ran + 10000);
  xen_domctl_getdomaininfo_t info = {};
  xen_sysctl_t op = {};
  op.cmd = XEN_SYSCTL_getdomaininfolist;
  op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  op.u.getdomaininfolist.max_domains = 1;
  op.u.getdomaininfolist.buffer.p = &info;
  ASSERT_EQ(CallAt(0, 120000, __HYPERVISOR_sysctl, &op), 0);
  EXPECT_EQ(info.cpu_time, ran + 20000);
  EXPECT_EQ(Domctl(0, 130000, XEN_DOMCTL_getvcpuinfo, 0, 0).u.getvcpuinfo.cpu_time, ran + 30000);
}

// Another vcpu's sample comes between a clock that was read and its use.
TEST_F(HypervisorScheduleTest, TimeNeverGoesBack) {
  const Seen before = SeenBy(0, 100000);
  machine.meanwhile = [&] {
    SeenBy(1, 200000);
    machine.now = 150000 - kTick;
  };
  const vcpu_runstate_info info = Runstate(0, 150000, 0);
  EXPECT_EQ(info.time[RUNSTATE_running], before.Ran(0) + 100000);
  const Seen seen = SeenBy(0, 200000);
  EXPECT_EQ(seen.Ran(1), 100000u);
  SeenBy(0, 300000);
}

}  // namespace
}  // namespace xencomm::hypervisor
