// A domain's life by domctl, and what toolstacks are told about domains and the machine.

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

class HypervisorDomainTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(machine.init_result, 0);
    ASSERT_EQ(machine.build_result, 0);
    ASSERT_NE(machine.vcpu, nullptr);
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  }

  // The domain's page for the table of domains stays.
  void ExpectNothingLeaked() {
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.free_pages, free_before);
    EXPECT_EQ(now.domains, 1u);
    EXPECT_EQ(now.held_frames, 0u);
    EXPECT_EQ(now.pinned_frames, 0u);
  }

  TestMachine machine;
  std::uint64_t free_before = 0;
};

TEST_F(HypervisorDomainTest, UnknownHypercallsAreNotImplemented) {
  for (const std::uint64_t index : {std::uint64_t{63}, std::uint64_t{1000}, ~std::uint64_t{0}}) {
    EXPECT_EQ(machine.Call(index), -kENOSYS) << index;
  }
}

TEST_F(HypervisorDomainTest, CallsFromUserModeAreRefused) {
  HypercallFrame frame = machine.Frame(__HYPERVISOR_xen_version, XENVER_version);
  frame.from_kernel = false;
  EXPECT_EQ(machine.hypervisor.Hypercall(*machine.vcpu, frame), -kEPERM);
}

TEST(HypervisorDomainsTest, ThereAreAsManyAsTheMachineIsToHave) {
  TestMachine machine({.max_domains = 2});
  EXPECT_EQ(machine.CreateDomain(7, 1), 7);
  EXPECT_EQ(machine.CreateDomain(8, 1), 8);
  EXPECT_EQ(machine.CreateDomain(8, 1), -kEEXIST);
  EXPECT_EQ(machine.CreateDomain(9, 1), -kENOMEM);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 7), 0);
  EXPECT_EQ(machine.CreateDomain(9, 1), 9);
}

TEST_F(HypervisorDomainTest, CreatesFindsAndDestroysADomain) {
  EXPECT_EQ(machine.CreateDomain(7, 100), 7);
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), 0);
  EXPECT_EQ(op.u.getdomaininfo.domain, 7);
  EXPECT_EQ(op.u.getdomaininfo.max_pages, 100u);
  EXPECT_EQ(op.u.getdomaininfo.tot_pages, 0u);
  EXPECT_EQ(op.u.getdomaininfo.max_vcpu_id, 0u);
  EXPECT_EQ(op.u.getdomaininfo.nr_online_vcpus, 0u);
  // The reason to have been shut down is all ones while there was none.
  EXPECT_EQ(op.u.getdomaininfo.flags, std::uint32_t{XEN_DOMINF_paused} | 0xffff0000u);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 7), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 7), -kESRCH);
  ExpectNothingLeaked();
}

TEST_F(HypervisorDomainTest, ChoosesAnIdWhenNoneIsGiven) {
  EXPECT_EQ(machine.CreateDomain(0, 10), 1);
  EXPECT_EQ(machine.CreateDomain(0, 10), 2);
  EXPECT_EQ(machine.CreateDomain(DOMID_FIRST_RESERVED, 10), 3);
  // An id is not given out again at once.
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 3), 0);
  EXPECT_EQ(machine.CreateDomain(0, 10), 4);
  EXPECT_EQ(machine.CreateDomain(4, 10), -kEEXIST);
}

TEST_F(HypervisorDomainTest, MakesMoreDomainsThanALeafOfTheirTableHas) {
  constexpr std::uint16_t kMany = 1100;
  for (std::uint16_t id = 1; id <= kMany; ++id) {
    xen_domctl_t op = TestMachine::CreateRequest();
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, id, op), 0) << id;
  }
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, kMany + 1u);
  std::vector<xen_domctl_getdomaininfo_t> infos(kMany + 2);
  xen_sysctl_t op = {};
  op.u.getdomaininfolist.max_domains = kMany + 2;
  op.u.getdomaininfolist.buffer.p = infos.data();
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), 0);
  ASSERT_EQ(op.u.getdomaininfolist.num_domains, kMany + 1u);
  for (std::uint16_t id = 0; id <= kMany; ++id) EXPECT_EQ(infos[id].domain, id);
}

TEST_F(HypervisorDomainTest, RefusesConfigurationsThatXenRefuses) {
  struct Case {
    const char* why;
    std::int64_t error;
    void (*change)(xen_domctl_createdomain&);
  };
  const Case cases[] = {
      {"unknown flag", kEINVAL, [](auto& c) { c.flags = 1u << 31; }},
      {"no vcpus", kEINVAL, [](auto& c) { c.max_vcpus = 0; }},
      {"too many vcpus", kEINVAL, [](auto& c) { c.max_vcpus = 8193; }},
      {"HAP without HVM", kEINVAL, [](auto& c) { c.flags = XEN_DOMCTL_CDF_hap; }},
      {"IOMMU that is not there", kEINVAL, [](auto& c) { c.flags = XEN_DOMCTL_CDF_iommu; }},
      {"integrity checks of tboot", kEINVAL,
       [](auto& c) { c.flags = XEN_DOMCTL_CDF_s3_integrity; }},
      {"IOMMU options alone", kEINVAL, [](auto& c) { c.iommu_opts = 1; }},
      {"grant options", kEINVAL, [](auto& c) { c.grant_opts = 0x100; }},
      {"grant version 0", kEINVAL, [](auto& c) { c.grant_opts = 0; }},
      {"grant version 3", kEINVAL, [](auto& c) { c.grant_opts = 3; }},
      {"no grant frames", kEINVAL, [](auto& c) { c.max_grant_frames = 0; }},
      {"unknown emulation", kEINVAL, [](auto& c) { c.arch.emulation_flags = 1u << 31; }},
      {"emulation of a PV domain", kEOPNOTSUPP,
       [](auto& c) { c.arch.emulation_flags = XEN_X86_EMU_LAPIC; }},
      {"trace buffers", kEINVAL, [](auto& c) { c.vmtrace_size = 4096; }},
      {"unknown pool", kESRCH, [](auto& c) { c.cpupool_id = 9; }},
  };
  for (const Case& each : cases) {
    xen_domctl_t op = TestMachine::CreateRequest();
    each.change(op.u.createdomain);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, 5, op), -each.error) << each.why;
  }
  ExpectNothingLeaked();
}

TEST_F(HypervisorDomainTest, ChecksVersionThenDomainThenPermission) {
  xen_domctl_t op = {};
  op.cmd = XEN_DOMCTL_pausedomain;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION + 1;
  op.domain = 99;
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kEACCES);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_pausedomain, 99, op), -kESRCH);
  EXPECT_EQ(machine.Domctl(9999, 0, op), -kENOSYS);
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, std::uint64_t{0}), -kEFAULT);
  xen_sysctl_t sysctl = {};
  sysctl.cmd = XEN_SYSCTL_physinfo;
  EXPECT_EQ(machine.Call(__HYPERVISOR_sysctl, &sysctl), -kEACCES);
  EXPECT_EQ(machine.Sysctl(9999, sysctl), -kENOSYS);
}

TEST(HypervisorPermissionTest, OrdinaryDomainsControlOnlyThemselves) {
  TestMachine machine({.privileged = false});
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_pausedomain, 0), -kEPERM);
  xen_sysctl_t sysctl = {};
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_physinfo, sysctl), -kEPERM);
  xen_memory_domain self = {.domid = DOMID_SELF};
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_current_reservation, &self), 256);
}

TEST_F(HypervisorDomainTest, InfoOfAMissingDomainIsTheNextOnes) {
  machine.CreateDomain(10, 1);
  machine.CreateDomain(20, 1);
  const std::pair<std::uint16_t, std::int64_t> cases[] = {{1, 10}, {10, 10}, {11, 20}, {20, 20}};
  for (const auto& [asked, found] : cases) {
    xen_domctl_t op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, asked, op), 0) << asked;
    EXPECT_EQ(op.domain, found) << asked;
  }
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 21), -kESRCH);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, DOMID_FIRST_RESERVED), -kEINVAL);
}

TEST_F(HypervisorDomainTest, OnlyOutputsOfADomctlChange) {
  machine.CreateDomain(3, 1);
  xen_domctl_t op;
  std::memset(&op, 0x5a, sizeof(op));
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 3, op), 0);
  const auto* bytes = reinterpret_cast<const unsigned char*>(&op);
  for (std::size_t i = offsetof(xen_domctl_t, u) + sizeof(op.u.getdomaininfo); i < sizeof(op);
       ++i) {
    EXPECT_EQ(bytes[i], 0x5a) << i;
  }
  EXPECT_EQ(op.cmd, std::uint32_t{XEN_DOMCTL_getdomaininfo});
}

TEST_F(HypervisorDomainTest, ListsDomainsFromTheFirstOneAsked) {
  machine.CreateDomain(10, 1);
  machine.CreateDomain(20, 1);
  std::vector<xen_domctl_getdomaininfo_t> infos(5);
  xen_sysctl_t op = {};
  op.u.getdomaininfolist.max_domains = 5;
  op.u.getdomaininfolist.buffer.p = infos.data();
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), 0);
  EXPECT_EQ(op.u.getdomaininfolist.num_domains, 3u);
  EXPECT_EQ(infos[0].domain, 0);
  EXPECT_EQ(infos[1].domain, 10);
  EXPECT_EQ(infos[2].domain, 20);
  EXPECT_TRUE((infos[0].flags & XEN_DOMINF_running) != 0);

  op.u.getdomaininfolist.first_domain = 11;
  op.u.getdomaininfolist.max_domains = 1;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), 0);
  EXPECT_EQ(op.u.getdomaininfolist.num_domains, 1u);
  EXPECT_EQ(infos[0].domain, 20);

  op.u.getdomaininfolist.first_domain = 21;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), 0);
  EXPECT_EQ(op.u.getdomaininfolist.num_domains, 0u);

  op.u.getdomaininfolist.first_domain = 0;
  op.u.getdomaininfolist.buffer.p = nullptr;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), -kEFAULT);
}

TEST_F(HypervisorDomainTest, FindsTheNextDomainUpToTheLastOneThatThereIs) {
  constexpr int kNone = -1;
  constexpr std::uint16_t kLast = DOMID_FIRST_RESERVED - 1;
  const auto next = [&](std::uint16_t first) -> int {
    xen_domctl_getdomaininfo_t info;
    xen_sysctl_t op = {};
    op.u.getdomaininfolist.first_domain = first;
    op.u.getdomaininfolist.max_domains = 1;
    op.u.getdomaininfolist.buffer.p = &info;
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), 0);
    return op.u.getdomaininfolist.num_domains == 0 ? kNone : info.domain;
  };
  EXPECT_EQ(next(0), 0);
  EXPECT_EQ(next(1), kNone);
  // On both sides of a leaf's end, and as far away as there can be one.
  for (const std::uint16_t id : {std::uint16_t{511}, std::uint16_t{512}, kLast}) {
    ASSERT_EQ(machine.CreateDomain(id, 1), id);
    EXPECT_EQ(next(id), id);
    EXPECT_EQ(next(id + 1u), kNone);
  }
  EXPECT_EQ(next(1), 511);
  EXPECT_EQ(next(513), kLast);
  EXPECT_EQ(next(0xffff), kNone);

  for (const std::uint16_t id : {kLast, std::uint16_t{511}}) {
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, id), 0);
  }
  EXPECT_EQ(next(1), 512);
  EXPECT_EQ(next(513), kNone);
  EXPECT_EQ(next(kLast), kNone);
  for (const std::uint16_t id : {kLast, std::uint16_t{600}}) {
    ASSERT_EQ(machine.CreateDomain(id, 1), id);
  }
  EXPECT_EQ(next(513), 600);
  EXPECT_EQ(next(601), kLast);
}

TEST_F(HypervisorDomainTest, PausesAreCounted) {
  machine.CreateDomain(3, 1);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_unpausedomain, 3), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_unpausedomain, 3), -kEINVAL);
  for (int i = 0; i < 255; ++i) ASSERT_EQ(machine.Domctl(XEN_DOMCTL_pausedomain, 3), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_pausedomain, 3), -kEOVERFLOW);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_pausedomain, 0), -kEINVAL);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 0), -kEINVAL);
}

TEST_F(HypervisorDomainTest, MaxVcpusMustBeWhatTheDomainWasCreatedFor) {
  xen_domctl_t create = TestMachine::CreateRequest(0, 130);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, 3, create), 0);
  xen_domctl_t op = {};
  op.u.max_vcpus.max = 4;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, 3, op), -kEINVAL);
  op.u.max_vcpus.max = 130;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, 3, op), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, 3, op), 0);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 3, op), 0);
  EXPECT_EQ(op.u.getdomaininfo.max_vcpu_id, 129u);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 3), 0);
  ExpectNothingLeaked();
}

TEST_F(HypervisorDomainTest, DescribesTheMachine) {
  xen_sysctl_t op = {};
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_physinfo, op), 0);
  EXPECT_EQ(op.u.physinfo.nr_cpus, 2u);
  EXPECT_EQ(op.u.physinfo.free_pages, free_before);
  EXPECT_GT(op.u.physinfo.total_pages, free_before);
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_sched_id, op), 0);
  EXPECT_EQ(op.u.sched_id.sched_id, std::uint32_t{XEN_SCHEDULER_CREDIT2});

  xen_sysctl_cpuinfo_t cpus[3];
  std::memset(cpus, 0xff, sizeof(cpus));
  op.u.getcpuinfo.max_cpus = 3;
  op.u.getcpuinfo.info.p = cpus;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_getcpuinfo, op), 0);
  EXPECT_EQ(op.u.getcpuinfo.nr_cpus, 2u);
  EXPECT_LT(cpus[0].idletime, cpus[1].idletime);
  EXPECT_EQ(cpus[1].idletime, machine.now);
  EXPECT_EQ(cpus[2].idletime, ~std::uint64_t{0});
}

TEST_F(HypervisorDomainTest, TellsTheVersionThatToolstacksExpect) {
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_pagesize), 4096);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_pagesize, std::uint64_t{8192}), -kEINVAL);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, 99), -kENOSYS);

  char text[XEN_CAPABILITIES_INFO_LEN + 1];
  std::memset(text, 'x', sizeof(text));
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_capabilities, text), 0);
  EXPECT_TRUE(std::string_view(text).starts_with("xen-3.0-x86_64 "));
  EXPECT_EQ(text[XEN_CAPABILITIES_INFO_LEN - 1], '\0');
  EXPECT_EQ(text[XEN_CAPABILITIES_INFO_LEN], 'x');
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_capabilities, std::uint64_t{0}),
            -kEFAULT);

  xen_feature_info_t features = {.submap_idx = 0, .submap = 0};
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_get_features, &features), 0);
  EXPECT_TRUE((features.submap & 1u << XENFEAT_dom0) != 0);
  features.submap_idx = 1;
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_get_features, &features), -kEINVAL);

  const std::int64_t size = machine.Call(__HYPERVISOR_xen_version, XENVER_build_id);
  ASSERT_GT(size, 0);
  std::vector<unsigned char> build_id(sizeof(xen_build_id_t) + static_cast<std::size_t>(size));
  auto* head = reinterpret_cast<xen_build_id_t*>(build_id.data());
  head->len = static_cast<std::uint32_t>(size) - 1;
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_build_id, head), -kENOBUFS);
  head->len = 0;
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_build_id, head), -kEINVAL);
  head->len = static_cast<std::uint32_t>(size);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_build_id, head), size);
}

}  // namespace
}  // namespace xencomm::hypervisor
