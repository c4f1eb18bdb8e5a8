// What a toolstack asks of the machine: topology, cpupools, the console, processors.

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

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

  Mapping Map(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
              Access access) override {
    if (access == Access::kWrite) Print();
    return direct_.Map(pointer, offset, length, access);
  }
  CopyResult ForEachRun(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                        Access access, RunVisitor visit) override {
    if (access == Access::kWrite) Print();
    return direct_.ForEachRun(pointer, offset, length, access, visit);
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
  op.cmd = XENPF_getidletime;
  EXPECT_EQ(machine.Call(__HYPERVISOR_platform_op, &op), -kENOSYS);
}

}  // namespace
}  // namespace xencomm::hypervisor
