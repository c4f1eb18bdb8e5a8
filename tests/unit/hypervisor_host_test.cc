// What a toolstack asks of the machine: topology, cpupools, the console, processors.

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/cpu_mask.h"
#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_toolstack.h"

namespace xencomm::hypervisor {
namespace {

using HypervisorHostTest = ToolstackTest;

TEST_F(HypervisorHostTest, DescribesTopologyAndPools) {
  xen_sysctl_cputopo_t cpus[2];
  xen_sysctl_t op = {};
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_cputopoinfo, op), 0);
  EXPECT_EQ(op.u.cputopoinfo.num_cpus, 2u);
  op.u.cputopoinfo.cputopo.p = cpus;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_cputopoinfo, op), 0);
  EXPECT_EQ(cpus[1].core, 1u);

  op = {};
  xen_sysctl_meminfo_t memory;
  std::uint32_t distance;
  op.u.numainfo.num_nodes = 1;
  op.u.numainfo.meminfo.p = &memory;
  op.u.numainfo.distance.p = &distance;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_numainfo, op), 0);
  EXPECT_EQ(distance, 10u);
  EXPECT_GT(memory.memsize, memory.memfree);

  op = {};
  std::uint8_t map[4] = {0xff, 0xff, 0xff, 0xff};
  op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
  op.u.cpupool_op.cpumap.bitmap.p = map;
  op.u.cpupool_op.cpumap.nr_bits = 32;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_cpupool_op, op), 0);
  EXPECT_EQ(op.u.cpupool_op.n_dom, 3u);
  EXPECT_EQ(map[0], 3);
  EXPECT_EQ(map[1], 0);
  op.u.cpupool_op.cpupool_id = 1;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_cpupool_op, op), -kENOENT);

  op = {};
  op.u.get_pmstat.type = PMSTAT_get_max_px;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_pmstat, op), -kENODEV);
  op.u.get_pmstat.cpuid = 9;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_pmstat, op), -kEINVAL);

  op = {};
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_get_cpu_featureset, op), 0);
  std::vector<std::uint32_t> features(op.u.cpu_featureset.nr_features);
  op.u.cpu_featureset.features.p = features.data();
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_get_cpu_featureset, op), 0);
  EXPECT_NE(features[0], 0u);
  op.u.cpu_featureset.nr_features = 1;
  EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_cpu_featureset, op), -kENOBUFS);
  EXPECT_EQ(op.u.cpu_featureset.nr_features, 1u);
}

TEST_F(HypervisorHostTest, TellsWhatItFoundWhenItBegan) {
  EXPECT_EQ(machine.console, "(XEN) Xen version 4.17.7 (xencomm@embedded) (" __VERSION__
                             ")\n"
                             "(XEN) Embedded hypervisor of xencomm, answering as Xen 4.17\n"
                             "(XEN) Command line: \n"
                             "(XEN) System RAM: 64MB (65536kB)\n"
                             "(XEN) Domain heap initialised\n"
                             "(XEN) Using scheduler: SMP Credit Scheduler rev2 (credit2)\n"
                             "(XEN) Detected 1000.000 MHz processor.\n"
                             "(XEN) Allocated console ring of 16 KiB.\n"
                             "(XEN) HVM: Hardware Assisted Paging (HAP) detected\n"
                             "(XEN) Brought up 2 CPUs\n"
                             "(XEN) Scheduling granularity: cpu, 1 CPU per sched-resource\n");
  xen_sysctl_t op = {};
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_physinfo, op), 0);
  EXPECT_EQ(op.u.physinfo.cpu_khz, 1000000u);
  const std::uint32_t features[] = {0x078bfbff, 0x80002001, 0x20100800, 5, 0, 0, 0, 0};
  EXPECT_EQ(std::memcmp(op.u.physinfo.hw_cap, features, sizeof(features)), 0);
}

TEST_F(HypervisorHostTest, ConsoleKeepsWhatWasPrinted) {
  char keys[] = {'h', 'q'};
  xen_sysctl_t op = {};
  op.u.debug_keys.nr_keys = 2;
  op.u.debug_keys.keys.p = keys;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_debug_keys, op), 0);
  EXPECT_NE(machine.console.find("'q' pressed"), std::string::npos);
  std::vector<char> buffer(4096, 'x');
  op = {};
  op.u.readconsole.count = 8;
  op.u.readconsole.buffer.p = buffer.data();
  op.u.readconsole.incremental = 1;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  EXPECT_EQ(op.u.readconsole.count, 8u);
  const std::uint32_t position = op.u.readconsole.index;
  op.u.readconsole.count = 4096;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  EXPECT_EQ(op.u.readconsole.count, machine.console.size() - 8);
  EXPECT_EQ(op.u.readconsole.index, position + op.u.readconsole.count);
  op.u.readconsole.clear = 1;
  op.u.readconsole.incremental = 0;
  op.u.readconsole.count = 4096;
  op.u.readconsole.buffer.p = buffer.data();
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  op.u.readconsole.count = 4096;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
  EXPECT_EQ(op.u.readconsole.count, 0u);
}

// Memory to which nothing is written before something more is printed.
class TalkativeSpace final : public Space {
 public:
  explicit TalkativeSpace(TestMachine& machine)
      : machine_(machine), vcpu_(machine.hypervisor.ClaimVcpu(0, 1)) {
    machine.hypervisor.SetRawSpace(*vcpu_, direct_);
  }
  ~TalkativeSpace() { machine_.hypervisor.ReleaseVcpu(*vcpu_); }

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    if (access == Access::kWrite) Print();
    return direct_.Map(pointer, offset, length, access, cursor);
  }

 private:
  void Print() {
    const std::string text(1000, '.');
    machine_.hypervisor.Call(
        *vcpu_, machine_.Frame(__HYPERVISOR_console_io, CONSOLEIO_write, text.size(), text.data()));
  }

  TestMachine& machine_;
  Vcpu* vcpu_;
  DirectSpace direct_;
};

TEST_F(HypervisorHostTest, ReadingTheConsoleEndsWhoeverGoesOnPrinting) {
  std::vector<char> buffer(1 << 20);
  {
    TalkativeSpace space(machine);
    machine.hypervisor.SetRawSpace(*machine.vcpu, space);
    xen_sysctl_t op = {};
    op.u.readconsole.count = static_cast<std::uint32_t>(buffer.size());
    op.u.readconsole.buffer.p = buffer.data();
    ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_readconsole, op), 0);
    // No more than are kept.
    EXPECT_LE(op.u.readconsole.count, 16384u);
    EXPECT_GT(op.u.readconsole.count, 0u);
  }
  machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
}

TEST_F(HypervisorHostTest, DomainZeroWritesOnTheConsole) {
  const char text[] = "hello from domain 0\n";
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, sizeof(text) - 1, text), 0);
  EXPECT_NE(machine.console.find("hello from domain 0"), std::string::npos);
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, 0xffffffff, text), -kEINVAL);
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, 5, std::uint64_t{0}), -kEFAULT);
}

// Text that is written in many legs comes whole and once.
TEST(HypervisorLongTextTest, IsWrittenToItsEnd) {
  TestMachine machine({.preempt_interval = 1});
  std::string text;
  while (text.size() < 1000) text += std::to_string(text.size()) + ' ';
  text += '\n';
  EXPECT_EQ(machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, text.size(), text.data()), 0);
  EXPECT_TRUE(machine.console.ends_with(text));
}

// A machine without devices has the answers of one.
TEST(HypervisorMachineTest, WithoutDevices) {
  class Bare final : public Machine {
  } machine;
  constexpr std::size_t kBytes = std::size_t{4} << 20;
  const std::unique_ptr<void, decltype(&std::free)> pool(std::aligned_alloc(kPageSize, kBytes),
                                                         &std::free);
  Hypervisor hypervisor;
  MachineConfig config = {.memory = reinterpret_cast<std::uintptr_t>(pool.get()),
                          .pool_end = kBytes};
  ASSERT_EQ(hypervisor.Init(config, machine), 0);
  ASSERT_EQ(
      hypervisor.BuildDomain({.id = 0, .pages = 16, .space = SpaceKind::kRaw, .privileged = true}),
      0);
  Vcpu* const vcpu = hypervisor.ClaimVcpu(0, 0);
  ASSERT_NE(vcpu, nullptr);
  DirectSpace direct;
  hypervisor.SetRawSpace(*vcpu, direct);
  xen_hvm_get_time time = {.now = 7};
  HypercallFrame frame = {.index = __HYPERVISOR_hvm_op, .arguments = {HVMOP_get_time}};
  frame.arguments[1] = reinterpret_cast<std::uint64_t>(&time);
  EXPECT_EQ(hypervisor.Call(*vcpu, frame), 0);
  EXPECT_EQ(time.now, 0u);
  const char text[] = "nobody reads this\n";
  frame = {.index = __HYPERVISOR_console_io, .arguments = {CONSOLEIO_write, sizeof(text) - 1}};
  frame.arguments[2] = reinterpret_cast<std::uint64_t>(text);
  EXPECT_EQ(hypervisor.Call(*vcpu, frame), 0);
}

// Configurations at the end of what makes sense, and past it.
TEST(HypervisorMachineTest, TakesNoNonsense) {
  class Bare final : public Machine {
  } machine;
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  const std::unique_ptr<void, decltype(&std::free)> pool(std::aligned_alloc(kPageSize, kBytes),
                                                         &std::free);
  const auto init = [&](const std::function<void(MachineConfig&)>& change) {
    MachineConfig config = {.memory = reinterpret_cast<std::uintptr_t>(pool.get()),
                            .pool_end = kBytes};
    change(config);
    Hypervisor hypervisor;
    return hypervisor.Init(config, machine);
  };
  EXPECT_EQ(init([](MachineConfig&) {}), 0);
  EXPECT_EQ(init([](MachineConfig& c) { c.memory += 1; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.pool_begin = 1; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.pool_end -= 1; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.pool_begin = c.pool_end; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.pool_begin = c.pool_end + kPageSize; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.cpus = 0; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.cpus = kMaxCpus; }), 0);
  EXPECT_EQ(init([](MachineConfig& c) { c.cpus = kMaxCpus + 1; }), -kEINVAL);
  EXPECT_EQ(init([](MachineConfig& c) { c.preempt_interval = 0; }), -kEINVAL);
  // Frames are counted in 32 bits, one of which means none.
  EXPECT_EQ(init([](MachineConfig& c) { c.pool_end = std::uint64_t{0xffffffff} << 12; }), -kEINVAL);
  // Its own tables must fit, and leave something.
  std::uint64_t least = kPageSize;
  while (init([&](MachineConfig& c) { c.pool_end = least; }) == -kENOMEM) least += kPageSize;
  MachineConfig config = {.memory = reinterpret_cast<std::uintptr_t>(pool.get()),
                          .pool_end = least};
  Hypervisor hypervisor;
  ASSERT_EQ(hypervisor.Init(config, machine), 0);
  EXPECT_EQ(Books::StatisticsOf(hypervisor).total_pages, 1u);
  EXPECT_EQ(hypervisor.BuildDomain({.id = 0}), -kENOMEM);
}

TEST(HypervisorMachineTest, BuildsNoNonsense) {
  TestMachine machine;
  const std::uint64_t free = Books::StatisticsOf(machine.hypervisor).free_pages;
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 0, .pages = 1}), -kEEXIST);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 0x7ff0, .pages = 1}), -kEINVAL);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 5, .vcpus = 0}), -kEINVAL);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 5, .vcpus = 129}), -kEINVAL);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 5, .pages = 2 * free}), -kENOMEM);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 1u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 5, .pages = 1, .vcpus = 128}), 0);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 0x7fef, .pages = 1}), 0);
  // Domains that run.
  for (const std::uint16_t id : std::initializer_list<std::uint16_t>{0, 5, 0x7fef}) {
    xen_domctl_t op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, id, op), 0);
    EXPECT_EQ(op.u.getdomaininfo.flags & XEN_DOMINF_paused, 0u);
    EXPECT_EQ(op.u.getdomaininfo.nr_online_vcpus, op.u.getdomaininfo.max_vcpu_id + 1);
    EXPECT_EQ(op.u.getdomaininfo.tot_pages, op.u.getdomaininfo.max_pages);
    op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, id, op), id == 0 ? -kEINVAL : -kEEXIST);
  }
}

// A vcpu is one caller's, and no more of them call than the machine has been told.
TEST(HypervisorMachineTest, HasSoManyCallers) {
  TestMachine machine;
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = 5, .pages = 1, .vcpus = 128}), 0);
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(0, 0), nullptr);    // is claimed
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(5, 128), nullptr);  // there is none
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(6, 0), nullptr);
  std::vector<Vcpu*> vcpus;
  for (unsigned i = 0; i < 63; ++i) {
    vcpus.push_back(machine.hypervisor.ClaimVcpu(5, i));
    ASSERT_NE(vcpus.back(), nullptr);
  }
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(5, 100), nullptr);
  machine.hypervisor.ReleaseVcpu(*vcpus[7]);
  Vcpu* const last = machine.hypervisor.ClaimVcpu(5, 100);
  EXPECT_NE(last, nullptr);
  vcpus[7] = last;
  for (Vcpu* vcpu : vcpus) machine.hypervisor.ReleaseVcpu(*vcpu);
}

TEST_F(HypervisorHostTest, PlatformOpDescribesProcessors) {
  xen_platform_op_t op = {};
  op.cmd = XENPF_get_cpuinfo;
  op.u.pcpu_info.xen_cpuid = 1;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), -kEACCES);
  op.interface_version = XENPF_INTERFACE_VERSION;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), 0);
  EXPECT_EQ(op.u.pcpu_info.max_present, 1u);
  EXPECT_EQ(op.u.pcpu_info.flags, std::uint32_t{XEN_PCPU_FLAGS_ONLINE});
  op.u.pcpu_info.xen_cpuid = 5;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), 0);
  EXPECT_EQ(op.u.pcpu_info.flags, std::uint32_t{XEN_PCPU_FLAGS_INVALID});
  // Whose processors they are is what a leaf says, too.
  std::vector<xen_cpuid_leaf_t> leaves(100);
  xen_domctl_t policy = {};
  policy.u.cpu_policy.nr_leaves = static_cast<std::uint32_t>(leaves.size());
  policy.u.cpu_policy.leaves.p = leaves.data();
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, policy), 0);
  const std::uint32_t vendor[] = {leaves[0].b, leaves[0].d, leaves[0].c};
  xenpf_pcpu_version& version = op.u.pcpu_version;
  op.cmd = XENPF_get_cpu_version;
  version = {};
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), 0);
  EXPECT_EQ(std::memcmp(version.vendor_id, vendor, sizeof(vendor)), 0);
  EXPECT_EQ(version.family, leaves[1].a >> 8 & 0xf);
  EXPECT_EQ(version.model, leaves[1].a >> 4 & 0xf);
  EXPECT_EQ(version.stepping, leaves[1].a & 0xf);
  EXPECT_EQ(version.max_present, 1u);
  version.xen_cpuid = 2;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), 0);
  EXPECT_EQ(std::string_view(version.vendor_id, sizeof(vendor)), std::string(sizeof(vendor), 0));
  EXPECT_EQ(version.family, 0u);
  EXPECT_EQ(version.model, 0u);
  op.cmd = XENPF_getidletime;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), -kENOSYS);
}

}  // namespace
}  // namespace xencomm::hypervisor
