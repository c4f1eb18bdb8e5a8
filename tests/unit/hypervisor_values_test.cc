// Which values of a field are taken and which refused: the first, the last, and the one past it.
// As Xen 4.17 has them: hvm_set_param (arch/x86/hvm/hvm.c), do_pm_op, cpupool_do_sysctl, credit2's
// csched2_sys_cntl, xenmem_add_to_physmap, paging_domctl, domctl_createdomain.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_toolstack.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint64_t kAllOnes = ~std::uint64_t{0};

class HypervisorValuesTest : public ToolstackTest {
 protected:
  std::int64_t Param(unsigned op, std::uint16_t domain, std::uint32_t index, std::uint64_t& value) {
    return ParamBy(*machine.vcpu, op, domain, index, value);
  }
  std::int64_t ParamBy(Vcpu& caller, unsigned op, std::uint16_t domain, std::uint32_t index,
                       std::uint64_t& value) {
    xen_hvm_param param = {};
    param.domid = domain;
    param.index = index;
    param.value = value;
    const std::int64_t answer = machine.Called(
        machine.hypervisor.Call(caller, machine.Frame(__HYPERVISOR_hvm_op, op, &param)));
    value = param.value;
    return answer;
  }
};

struct HvmParam {
  std::uint32_t index;
  std::vector<std::uint64_t> accepted = {0, 1, kAllOnes};
  std::vector<std::uint64_t> refused = {};
  enum class Guest { kNothing, kGets, kSets } guest = Guest::kNothing;
  bool once = false;
  std::uint64_t first = 0;  // before it is set
  std::int64_t refusal = -kEINVAL;
  bool is_gone = false;
};

std::vector<HvmParam> HvmParams() {
  using enum HvmParam::Guest;
  std::vector<HvmParam> special = {
      {.index = HVM_PARAM_CALLBACK_IRQ, .guest = kSets},
      {.index = HVM_PARAM_STORE_PFN, .guest = kGets},
      {.index = HVM_PARAM_STORE_EVTCHN, .guest = kSets},
      {.index = HVM_PARAM_IOREQ_PFN, .once = true},
      {.index = HVM_PARAM_BUFIOREQ_PFN, .once = true},
      // Bit 0 must be there, and others may that the headers name.
      {.index = HVM_PARAM_VIRIDIAN,
       .accepted = {1, HVMPV_feature_mask},
       .refused = {0, 2, HVMPV_feature_mask - 1, (HVMPV_feature_mask + 1) | 1},
       .once = true},
      {.index = HVM_PARAM_TIMER_MODE, .accepted = {0, 1, 2, 3}, .refused = {4, kAllOnes}},
      {.index = HVM_PARAM_ACPI_S_STATE, .accepted = {0, 3}, .refused = {1, 2, 4, kAllOnes}},
      {.index = HVM_PARAM_VM86_TSS,
       .accepted = {0, 0xffffffff},
       .refused = {0x100000000},
       .guest = kSets},
      {.index = HVM_PARAM_CONSOLE_PFN, .guest = kGets},
      {.index = HVM_PARAM_CONSOLE_EVTCHN, .guest = kSets},
      {.index = HVM_PARAM_ACPI_IOPORTS_LOCATION,
       .accepted = {},
       .refused = {0, 1, 2, kAllOnes},
       .guest = kSets,
       .refusal = -kENODEV},
      {.index = HVM_PARAM_TRIPLE_FAULT_REASON,
       .accepted = {0, 5},
       .refused = {6, kAllOnes},
       .first = SHUTDOWN_reboot},
      {.index = HVM_PARAM_IOREQ_SERVER_PFN, .once = true},
      {.index = HVM_PARAM_NR_IOREQ_SERVER_PAGES,
       .accepted = {1, 64},
       .refused = {0, 65, kAllOnes},
       .once = true},
      {.index = HVM_PARAM_VM_GENERATION_ID_ADDR, .guest = kSets},
      {.index = HVM_PARAM_ALTP2M,
       .accepted = {0, 1, 3},
       .refused = {4, kAllOnes},
       .guest = kGets,
       .once = true},
      {.index = HVM_PARAM_X87_FIP_WIDTH,
       .accepted = {0, 4, 8},
       .refused = {1, 3, 5, 7, 9},
       .guest = kSets},
      // Its size in the upper half: no less than a TSS has.
      {.index = HVM_PARAM_VM86_TSS_SIZED,
       .accepted = {std::uint64_t{104} << 32, std::uint64_t{0x2089} << 32 | 5},
       .refused = {(std::uint64_t{104} << 32) - 1, 0},
       .guest = kSets},
      {.index = HVM_PARAM_MCA_CAP, .accepted = {0}, .refused = {1, 2, 3, kAllOnes}, .once = true},
  };
  // What Xen no longer knows.
  const std::vector<std::uint32_t> gone = {
      HVM_PARAM_PAE_ENABLED,      HVM_PARAM_DM_DOMAIN,
      HVM_PARAM_MEMORY_EVENT_CR0, HVM_PARAM_MEMORY_EVENT_CR3,
      HVM_PARAM_MEMORY_EVENT_CR4, HVM_PARAM_MEMORY_EVENT_INT3,
      HVM_PARAM_NESTEDHVM,        HVM_PARAM_MEMORY_EVENT_SINGLE_STEP,
      HVM_PARAM_BUFIOREQ_EVTCHN,  HVM_PARAM_MEMORY_EVENT_MSR,
  };
  for (const std::uint32_t index : gone) {
    special.push_back({.index = index, .accepted = {}, .refused = {0, 1}, .is_gone = true});
  }
  std::vector<HvmParam> all;
  for (std::uint32_t index = 0; index < HVM_NR_PARAMS; ++index) {
    const auto found = std::find_if(special.begin(), special.end(),
                                    [&](const HvmParam& each) { return each.index == index; });
    all.push_back(found != special.end() ? *found : HvmParam{.index = index});
  }
  return all;
}

TEST_F(HypervisorValuesTest, HvmParametersOfOthers) {
  std::uint64_t got = 0;
  for (const HvmParam& param : HvmParams()) {
    EXPECT_EQ(Param(HVMOP_get_param, kHvm, param.index, got), param.is_gone ? -kEINVAL : 0)
        << param.index;
    EXPECT_EQ(got, param.is_gone ? 0 : param.first);
    got = 0;
  }
  for (const HvmParam& param : HvmParams()) {
    SCOPED_TRACE(param.index);
    std::uint64_t last = param.first;
    for (const std::uint64_t value : param.accepted) {
      std::uint64_t given = value;
      const bool stays = param.once && last != 0 && value != last;
      EXPECT_EQ(Param(HVMOP_set_param, kHvm, param.index, given), stays ? -kEEXIST : 0) << value;
      if (!stays) last = value;
      EXPECT_EQ(Param(HVMOP_get_param, kHvm, param.index, got), 0);
      EXPECT_EQ(got, last);
    }
    for (const std::uint64_t value : param.refused) {
      std::uint64_t given = value;
      EXPECT_EQ(Param(HVMOP_set_param, kHvm, param.index, given),
                param.once && last != 0 ? -kEEXIST : param.refusal)
          << value;
      if (param.is_gone) continue;
      EXPECT_EQ(Param(HVMOP_get_param, kHvm, param.index, got), 0);
      EXPECT_EQ(got, last);
    }
  }
  for (const unsigned op : {HVMOP_set_param, HVMOP_get_param}) {
    std::uint64_t value = 0;
    EXPECT_EQ(Param(op, kHvm, HVM_NR_PARAMS, value), -kEINVAL);
    EXPECT_EQ(Param(op, kHvm, ~std::uint32_t{0}, value), -kEINVAL);
    EXPECT_EQ(Param(op, kPv, HVM_PARAM_STORE_PFN, value), -kEINVAL);
    EXPECT_EQ(Param(op, kMissing, HVM_PARAM_STORE_PFN, value), -kESRCH);
  }
}

// Where nothing has been set yet.
TEST_F(HypervisorValuesTest, HvmParametersThatAreRefusedAtFirst) {
  for (const HvmParam& param : HvmParams()) {
    SCOPED_TRACE(param.index);
    for (const std::uint64_t value : param.refused) {
      std::uint64_t given = value;
      EXPECT_EQ(Param(HVMOP_set_param, kHvm, param.index, given), param.refusal) << value;
    }
  }
}

TEST_F(HypervisorValuesTest, HvmParametersOfOneself) {
  Vcpu* const guest = machine.hypervisor.ClaimVcpu(kHvm, 0);
  ASSERT_NE(guest, nullptr);
  machine.hypervisor.SetRawSpace(*guest, machine.direct);
  for (const HvmParam& param : HvmParams()) {
    SCOPED_TRACE(param.index);
    const std::int64_t no = param.is_gone ? -kEINVAL : -kEPERM;
    const std::int64_t yes = param.accepted.empty() ? param.refusal : 0;
    std::uint64_t value = param.accepted.empty() ? 0 : param.accepted.back();
    EXPECT_EQ(ParamBy(*guest, HVMOP_set_param, DOMID_SELF, param.index, value),
              param.guest == HvmParam::Guest::kSets ? yes : no);
    EXPECT_EQ(ParamBy(*guest, HVMOP_get_param, kHvm, param.index, value),
              param.guest != HvmParam::Guest::kNothing ? 0 : no);
    EXPECT_EQ(ParamBy(*guest, HVMOP_get_param, 0, param.index, value), -kEINVAL);
  }
  machine.hypervisor.ReleaseVcpu(*guest);
}

// The old parameter of the TSS tells its place alone, and stands for one of 128 bytes.
TEST_F(HypervisorValuesTest, TheTwoParametersOfTheTss) {
  std::uint64_t value = 0x1234000;
  EXPECT_EQ(Param(HVMOP_set_param, kHvm, HVM_PARAM_VM86_TSS, value), 0);
  EXPECT_EQ(Param(HVMOP_get_param, kHvm, HVM_PARAM_VM86_TSS_SIZED, value), 0);
  EXPECT_EQ(value, std::uint64_t{128} << 32 | 0x1234000);
  value = std::uint64_t{200} << 32 | 0x5678000;
  EXPECT_EQ(Param(HVMOP_set_param, kHvm, HVM_PARAM_VM86_TSS_SIZED, value), 0);
  EXPECT_EQ(Param(HVMOP_get_param, kHvm, HVM_PARAM_VM86_TSS, value), 0);
  EXPECT_EQ(value, 0x5678000u);
  // It has no more than redirections, and permissions of all ports.
  value = kAllOnes;
  EXPECT_EQ(Param(HVMOP_set_param, kHvm, HVM_PARAM_VM86_TSS_SIZED, value), 0);
  EXPECT_EQ(Param(HVMOP_get_param, kHvm, HVM_PARAM_VM86_TSS_SIZED, value), 0);
  EXPECT_EQ(value, std::uint64_t{0x2089} << 32 | 0xffffffff);
  value = 0;
  EXPECT_EQ(Param(HVMOP_set_param, kHvm, HVM_PARAM_VM86_TSS, value), 0);
  EXPECT_EQ(Param(HVMOP_get_param, kHvm, HVM_PARAM_VM86_TSS_SIZED, value), 0);
  EXPECT_EQ(value, 0u);
}

TEST_F(HypervisorValuesTest, ThePowerOfProcessors) {
  struct Row {
    std::uint32_t cmd;
    std::uint32_t cpuid;
    std::int64_t answer;
  };
  const Row rows[] = {
      {XEN_SYSCTL_pm_op_set_sched_opt_smt, 0, 0},
      {XEN_SYSCTL_pm_op_set_sched_opt_smt, 1, -kEINVAL},
      {XEN_SYSCTL_pm_op_get_max_cstate, 1, 0},
      {XEN_SYSCTL_pm_op_get_max_cstate, 2, -kEINVAL},
      {XEN_SYSCTL_pm_op_set_max_cstate, 2, -kEINVAL},
      {XEN_SYSCTL_pm_op_enable_turbo, 1, -kEACCES},
      {XEN_SYSCTL_pm_op_disable_turbo, 0, -kEACCES},
      {XEN_SYSCTL_pm_op_enable_turbo, 2, -kEINVAL},
      {GET_CPUFREQ_PARA, 0, -kEINVAL},
      {SET_CPUFREQ_GOV, 1, -kEINVAL},
      {0x2f, 0, -kENOSYS},
      {0x2f, 1, -kENOSYS},
      {0x2f, 2, -kEINVAL},
  };
  xen_sysctl_t op = {};
  for (const Row& row : rows) {
    op.u.pm_op.cmd = row.cmd;
    op.u.pm_op.cpuid = row.cpuid;
    op.u.pm_op.u.set_sched_opt_smt = 1;
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_pm_op, op), row.answer) << row.cmd << ' ' << row.cpuid;
    if (row.cmd == XEN_SYSCTL_pm_op_set_sched_opt_smt && row.answer == 0) {
      EXPECT_EQ(op.u.pm_op.u.set_sched_opt_smt, 0u);  // what it was
    }
  }
  // The limits of states and of states within them, each its own.
  for (const std::uint32_t which : {0u, 1u}) {
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_get_max_cstate;
    op.u.pm_op.cpuid = which;
    ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_pm_op, op), 0);
    EXPECT_EQ(op.u.pm_op.u.get_max_cstate, ~std::uint32_t{0});
  }
  for (const std::uint32_t which : {0u, 1u}) {
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_set_max_cstate;
    op.u.pm_op.cpuid = which;
    op.u.pm_op.u.set_max_cstate = 5 + which;
    ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_pm_op, op), 0);
  }
  for (const std::uint32_t which : {0u, 1u}) {
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_get_max_cstate;
    op.u.pm_op.cpuid = which;
    ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_pm_op, op), 0);
    EXPECT_EQ(op.u.pm_op.u.get_max_cstate, 5 + which);
  }
}

TEST_F(HypervisorValuesTest, StatisticsOfPower) {
  std::uint64_t triggers[3] = {7, 7, 7};
  std::uint64_t residencies[3] = {7, 7, 7};
  struct Row {
    std::uint32_t type;
    std::uint32_t cpuid;
    std::int64_t answer;
  };
  const Row rows[] = {
      {PMSTAT_get_max_cx, 1, 0},        {PMSTAT_get_max_cx, 2, -kEINVAL},
      {PMSTAT_reset_cxstat, 0, 0},      {PMSTAT_CATEGORY_MASK & PMSTAT_get_cxstat, 0, -kENOSYS},
      {PMSTAT_get_max_px, 0, -kENODEV}, {PMSTAT_get_pxstat, 1, -kENODEV},
  };
  for (const Row& row : rows) {
    xen_sysctl_t op = {};
    op.u.get_pmstat.type = row.type;
    op.u.get_pmstat.cpuid = row.cpuid;
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_get_pmstat, op), row.answer) << row.type;
    if (row.type == PMSTAT_get_max_cx && row.answer == 0) {
      EXPECT_EQ(op.u.get_pmstat.u.getcx.nr, 2u);
    }
  }
  // The processor that asks was idle until domain 0 came, the other one always is. No more is told
  // than there is room for, and how much there is.
  xen_sysctl_cpuinfo_t idle_before = {};
  xen_sysctl_t ask = {};
  ask.u.getcpuinfo.max_cpus = 1;
  ask.u.getcpuinfo.info.p = &idle_before;
  ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_getcpuinfo, ask), 0);
  for (const std::uint32_t room : {0u, 1u, 2u, 3u}) {
    for (const std::uint32_t cpu : {0u, 1u}) {
      std::fill(std::begin(triggers), std::end(triggers), 7);
      std::fill(std::begin(residencies), std::end(residencies), 7);
      xen_sysctl_t op = {};
      op.u.get_pmstat.type = PMSTAT_get_cxstat;
      op.u.get_pmstat.cpuid = cpu;
      op.u.get_pmstat.u.getcx.nr = room;
      op.u.get_pmstat.u.getcx.nr_pc = op.u.get_pmstat.u.getcx.nr_cc = 9;
      op.u.get_pmstat.u.getcx.last = 9;
      op.u.get_pmstat.u.getcx.triggers.p = triggers;
      op.u.get_pmstat.u.getcx.residencies.p = residencies;
      ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_get_pmstat, op), 0);
      const auto& got = op.u.get_pmstat.u.getcx;
      EXPECT_EQ(got.nr, 2u);
      EXPECT_EQ(got.nr_pc, 0u);
      EXPECT_EQ(got.nr_cc, 0u);
      EXPECT_EQ(got.last, 0u);
      EXPECT_EQ(got.idle_time, cpu == 0 ? idle_before.idletime : machine.now.load());
      const std::uint64_t spent[2] = {machine.now.load() - got.idle_time, got.idle_time};
      for (unsigned i = 0; i < 3; ++i) {
        EXPECT_EQ(triggers[i], i < std::min(room, 2u) ? 1u : 7u);
        EXPECT_EQ(residencies[i], i < std::min(room, 2u) ? spent[i] : 7u);
      }
    }
  }
}

// A toolstack may ask for either, for both, or for the number only.
TEST_F(HypervisorValuesTest, WhatIsToldOfNodes) {
  for (const bool memory : {false, true}) {
    for (const bool distances : {false, true}) {
      for (const std::uint32_t room : {0u, 1u, 3u}) {
        xen_sysctl_meminfo_t meminfo[3] = {{7, 7}, {7, 7}, {7, 7}};
        std::uint32_t distance[9] = {77, 77, 77, 77, 77, 77, 77, 77, 77};
        xen_sysctl_t op = {};
        op.u.numainfo.num_nodes = room;
        op.u.numainfo.meminfo.p = memory ? meminfo : nullptr;
        op.u.numainfo.distance.p = distances ? distance : nullptr;
        SCOPED_TRACE(testing::Message() << room << (memory ? " with memory" : "")
                                        << (distances ? " with distances" : ""));
        ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_numainfo, op), 0);
        const bool told = room != 0;
        EXPECT_EQ(op.u.numainfo.num_nodes, memory || distances ? std::min(room, 1u) : 1u);
        EXPECT_EQ(meminfo[0].memsize != 7, memory && told);
        EXPECT_EQ(meminfo[1].memsize, 7u);
        EXPECT_EQ(distance[0], distances && told ? 10u : 77u);
        EXPECT_EQ(distance[1], 77u);
      }
    }
  }
}

TEST_F(HypervisorValuesTest, PoolsOfProcessors) {
  struct Row {
    std::uint32_t op;
    std::uint32_t pool;
    std::uint32_t about;  // a processor or a domain
    std::int64_t answer;
  };
  const Row rows[] = {
      {XEN_SYSCTL_CPUPOOL_OP_CREATE, 1, 0, -kEOPNOTSUPP},
      {XEN_SYSCTL_CPUPOOL_OP_DESTROY, 0, 0, -kEBUSY},
      {XEN_SYSCTL_CPUPOOL_OP_DESTROY, 1, 0, -kENOENT},
      {XEN_SYSCTL_CPUPOOL_OP_INFO, 1, 0, -kENOENT},
      {XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 0, 1, -kENODEV},
      {XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 0, 2, -kEINVAL},
      {XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 0, XEN_SYSCTL_CPUPOOL_PAR_ANY, -kENODEV},
      {XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 1, 1, -kENOENT},
      {XEN_SYSCTL_CPUPOOL_OP_RMCPU, 0, 1, -kEBUSY},
      {XEN_SYSCTL_CPUPOOL_OP_RMCPU, 1, 1, -kENOENT},
      {XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0, 0, -kEPERM},
      {XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0, kMissing, -kESRCH},
      {XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 1, kMissing, -kESRCH},
      {XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0, kPv, 0},
      {XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 1, kPv, -kENOENT},
      {0, 0, 0, -kENOSYS},
      {XEN_SYSCTL_CPUPOOL_OP_FREEINFO + 1, 0, 0, -kENOSYS},
  };
  for (const Row& row : rows) {
    xen_sysctl_t op = {};
    op.u.cpupool_op.op = row.op;
    op.u.cpupool_op.cpupool_id = row.pool;
    op.u.cpupool_op.cpu = row.about;
    op.u.cpupool_op.domid = row.about;
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_cpupool_op, op), row.answer)
        << row.op << ' ' << row.pool << ' ' << row.about;
  }
}

TEST_F(HypervisorValuesTest, TheSchedulersRateLimit) {
  struct Row {
    std::uint32_t cmd;
    std::uint32_t pool;
    std::uint32_t scheduler;
    std::uint32_t limit;
    std::int64_t answer;
  };
  constexpr std::uint32_t kPut = XEN_SYSCTL_SCHEDOP_putinfo, kGet = XEN_SYSCTL_SCHEDOP_getinfo;
  const Row rows[] = {
      {kPut, 0, XEN_SCHEDULER_CREDIT2, 100, 0},
      {kPut, 0, XEN_SCHEDULER_CREDIT2, 99, -kEINVAL},
      {kPut, 0, XEN_SCHEDULER_CREDIT2, 500000, 0},
      {kPut, 0, XEN_SCHEDULER_CREDIT2, 500001, -kEINVAL},
      {kPut, 0, XEN_SCHEDULER_CREDIT2, 0, 0},
      {kPut, 0, XEN_SCHEDULER_CREDIT, 100, -kEINVAL},
      {kPut, 1, XEN_SCHEDULER_CREDIT2, 100, -kESRCH},
      {kGet, 0, XEN_SCHEDULER_CREDIT, 0, -kEINVAL},
      {kGet, 1, XEN_SCHEDULER_CREDIT2, 0, -kESRCH},
      {2, 0, XEN_SCHEDULER_CREDIT2, 100, -kEINVAL},
  };
  std::uint32_t kept = 1000;
  for (const Row& row : rows) {
    xen_sysctl_t op = {};
    op.u.scheduler_op.cmd = row.cmd;
    op.u.scheduler_op.cpupool_id = row.pool;
    op.u.scheduler_op.sched_id = row.scheduler;
    op.u.scheduler_op.u.sched_credit2.ratelimit_us = row.limit;
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_scheduler_op, op), row.answer) << row.limit;
    if (row.answer == 0) kept = row.limit;
    op.u.scheduler_op.cmd = kGet;
    op.u.scheduler_op.cpupool_id = 0;
    op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
    op.u.scheduler_op.u.sched_credit2.ratelimit_us = 7;
    ASSERT_EQ(machine.Sysctl(XEN_SYSCTL_scheduler_op, op), 0);
    EXPECT_EQ(op.u.scheduler_op.u.sched_credit2.ratelimit_us, kept);
  }
}

TEST_F(HypervisorValuesTest, AffinityToTheNode) {
  // One node there is; a mask names it or nothing that there is.
  std::uint8_t mask[8] = {};
  xen_domctl_t op = {};
  op.u.nodeaffinity.nodemap.bitmap.p = mask;
  op.u.nodeaffinity.nodemap.nr_bits = 64;
  const auto set = [&](std::uint8_t first, std::uint8_t last) {
    std::fill(std::begin(mask), std::end(mask), 0);
    mask[0] = first;
    mask[7] = last;
    return machine.Domctl(XEN_DOMCTL_setnodeaffinity, kPv, op);
  };
  EXPECT_EQ(set(1, 0), 0);
  EXPECT_EQ(set(0, 0), -kEINVAL);
  EXPECT_EQ(set(2, 0), -kEINVAL);
  EXPECT_EQ(set(0, 0x80), -kEINVAL);
  EXPECT_EQ(set(0xff, 0xff), 0);
}

TEST_F(HypervisorValuesTest, ModesOfShadowOp) {
  struct Row {
    std::uint16_t domain;
    std::uint32_t op;
    std::uint32_t mode;
    std::int64_t answer;
  };
  const Row rows[] = {
      {0, XEN_DOMCTL_SHADOW_OP_OFF, 0, -kEINVAL},  // oneself
      {kHvm, 0x7f, 0, -kEINVAL},
      {kPv, 0x7f, 0, -kEINVAL},
      {kPv, XEN_DOMCTL_SHADOW_OP_OFF, 0, -kEINVAL},
      {kPv, XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION, 0, -kEINVAL},
      {kHvm, XEN_DOMCTL_SHADOW_OP_OFF, 0, 0},
      {kHvm, XEN_DOMCTL_SHADOW_OP_ENABLE, 0, -kEINVAL},
      {kHvm, XEN_DOMCTL_SHADOW_OP_ENABLE, XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE, -kEINVAL},
      {kHvm, XEN_DOMCTL_SHADOW_OP_ENABLE, XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY, 0},
      {kHvm, XEN_DOMCTL_SHADOW_OP_ENABLE, XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY, -kEINVAL},
      {kHvm, XEN_DOMCTL_SHADOW_OP_OFF, 0, 0},
      {kHvm, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, 0, 0},
      {kHvm, XEN_DOMCTL_SHADOW_OP_OFF, 0, 0},
  };
  for (const Row& row : rows) {
    xen_domctl_t op = {};
    op.u.shadow_op.op = row.op;
    op.u.shadow_op.mode = row.mode;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, row.domain, op), row.answer)
        << row.domain << ' ' << row.op << ' ' << row.mode;
  }
}

TEST_F(HypervisorValuesTest, PlacesInAPhysmap) {
  struct Row {
    std::uint16_t domain;
    std::uint32_t space;
    std::uint64_t index;
    std::uint64_t gfn;
    std::uint16_t size;
    std::int64_t answer;
  };
  const Row rows[] = {
      {kHvm, XENMAPSPACE_shared_info, 0, 1000, 0, 0},
      {kHvm, XENMAPSPACE_shared_info, 1, 1000, 0, -kEINVAL},
      {kHvm, XENMAPSPACE_shared_info, 0, kAllOnes, 0, -kEINVAL},
      {kPv, XENMAPSPACE_shared_info, 0, 1000, 0, -kEACCES},
      {kMissing, XENMAPSPACE_shared_info, 0, 1000, 0, -kESRCH},
      {kHvm, XENMAPSPACE_dev_mmio, 0, 1000, 0, -kEACCES},
      {kHvm, XENMAPSPACE_dev_mmio + 1, 0, 1000, 0, -kEINVAL},
      {kHvm, XENMAPSPACE_gmfn_foreign, 0, 1000, 0, -kENOSYS},
      {kHvm, XENMAPSPACE_gmfn, 64, 1000, 0, -kEINVAL},
      // Ranges, to the end of all numbers and beyond.
      {kHvm, XENMAPSPACE_gmfn_range, 0, kAllOnes - 1, 2, -kEOVERFLOW},
      {kHvm, XENMAPSPACE_gmfn_range, kAllOnes - 1, 1000, 2, -kEOVERFLOW},
      {kHvm, XENMAPSPACE_gmfn_range, kAllOnes - 2, 1000, 2, -kEINVAL},
      {kHvm, XENMAPSPACE_gmfn_range, 0, 2000, 0, 0},
      {kHvm, XENMAPSPACE_gmfn_range, 60, 2000, 4, 0},
      {kHvm, XENMAPSPACE_gmfn_range, 2000, 60, 4, 0},
  };
  for (const Row& row : rows) {
    xen_add_to_physmap request = {};
    request.domid = row.domain;
    request.space = row.space;
    request.idx = row.index;
    request.gpfn = row.gfn;
    request.size = row.size;
    EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, request), row.answer)
        << row.space << ' ' << row.index << ' ' << row.gfn;
  }
  // By a batch, an error for each.
  struct BatchRow {
    std::uint32_t space;
    std::uint16_t foreign;
    std::uint64_t index;
    int error;
  };
  const BatchRow batches[] = {
      {XENMAPSPACE_dev_mmio, 0, 0, -kEACCES},
      {XENMAPSPACE_dev_mmio + 1, 0, 0, -kEINVAL},
      {XENMAPSPACE_gmfn_foreign, kMissing, 0, -kESRCH},
      {XENMAPSPACE_gmfn_foreign, kHvm, 0, -kEINVAL},
      {XENMAPSPACE_gmfn_foreign, 0, 0, -kEPERM},  // the caller's own
      {XENMAPSPACE_gmfn_foreign, kPv, kAllOnes, -kEINVAL},
      {XENMAPSPACE_gmfn_foreign, kPv, pv_frames[63], 0},
  };
  for (const BatchRow& row : batches) {
    std::uint64_t index = row.index;
    xen_pfn_t gfn = 3000;
    int error = 7;
    xen_add_to_physmap_batch batch = {};
    batch.domid = kHvm;
    batch.space = static_cast<std::uint16_t>(row.space);
    batch.u.foreign_domid = row.foreign;
    batch.size = 1;
    batch.idxs.p = &index;
    batch.gpfns.p = &gfn;
    batch.errs.p = &error;
    EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap_batch, batch), 0);
    EXPECT_EQ(error, row.error) << row.space << ' ' << row.foreign;
  }
}

// A range of gfns that is moved a piece at a time ends up where it is to be.
TEST(HypervisorLongRangeTest, IsMovedWhole) {
  TestMachine machine({.preempt_interval = 1});
  constexpr std::uint64_t kPages = 40;
  std::vector<std::uint64_t> before;
  for (std::uint64_t gfn = 0; gfn < kPages; ++gfn) {
    before.push_back(machine.hypervisor.FrameOf(0, gfn));
  }
  xen_add_to_physmap request = {};
  request.domid = DOMID_SELF;
  request.space = XENMAPSPACE_gmfn_range;
  request.gpfn = 1000;
  request.size = kPages;
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &request), 0);
  std::vector<std::uint64_t> indices;
  std::vector<xen_pfn_t> gfns;
  std::vector<int> errors(kPages, 7);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(machine.hypervisor.FrameOf(0, i), kNoFrame);
    EXPECT_EQ(machine.hypervisor.FrameOf(0, 1000 + i), before[i]);
    indices.push_back(1000 + i);
    gfns.push_back(2000 + i);
  }
  xen_add_to_physmap_batch batch = {};
  batch.domid = DOMID_SELF;
  batch.space = XENMAPSPACE_gmfn;
  batch.size = kPages;
  batch.idxs.p = indices.data();
  batch.gpfns.p = gfns.data();
  batch.errs.p = errors.data();
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, &batch), 0);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(errors[i], 0);
    EXPECT_EQ(machine.hypervisor.FrameOf(0, 2000 + i), before[i]);
  }
}

// An exchange that goes on a chunk at a time takes each page once.
TEST(HypervisorLongRangeTest, IsExchangedWhole) {
  TestMachine machine({.preempt_interval = 1});
  constexpr std::uint64_t kPages = 16;
  std::vector<xen_pfn_t> given, taken;
  std::vector<std::uint64_t> before;
  for (std::uint64_t i = 0; i < kPages; ++i) {
    given.push_back(i);
    taken.push_back(500 + i);
    before.push_back(machine.hypervisor.FrameOf(0, i));
  }
  xen_memory_exchange exchange = {};
  exchange.in = TestMachine::Reservation(DOMID_SELF, given.data(), kPages);
  exchange.out = TestMachine::Reservation(DOMID_SELF, taken.data(), kPages);
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_exchange, &exchange), 0);
  EXPECT_EQ(exchange.nr_exchanged, kPages);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(machine.hypervisor.FrameOf(0, i), kNoFrame);
    EXPECT_NE(machine.hypervisor.FrameOf(0, 500 + i), kNoFrame);
  }
  EXPECT_LE(Books::StatisticsOf(machine.hypervisor).longest_leg, 2u);
}

// Extents of different sizes on either side: a page for each page.
TEST(HypervisorLongRangeTest, IsExchangedForOtherExtents) {
  for (const auto& [in_order, out_order] :
       {std::pair{3u, 1u}, std::pair{1u, 3u}, std::pair{2u, 1u}, std::pair{0u, 2u}}) {
    SCOPED_TRACE(testing::Message() << in_order << " for " << out_order);
    TestMachine machine;
    constexpr std::uint64_t kPages = 16;
    std::vector<xen_pfn_t> given, taken;
    for (std::uint64_t i = 0; i < kPages; i += 1u << in_order) given.push_back(i);
    for (std::uint64_t i = 0; i < kPages; i += 1u << out_order) taken.push_back(512 + i);
    xen_memory_exchange exchange = {};
    exchange.in = TestMachine::Reservation(DOMID_SELF, given.data(), given.size(), in_order);
    exchange.out = TestMachine::Reservation(DOMID_SELF, taken.data(), taken.size(), out_order);
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_exchange, &exchange), 0);
    EXPECT_EQ(exchange.nr_exchanged, given.size());
    for (std::uint64_t i = 0; i < kPages; ++i) {
      EXPECT_EQ(machine.hypervisor.FrameOf(0, i), kNoFrame) << i;
      EXPECT_NE(machine.hypervisor.FrameOf(0, 512 + i), kNoFrame) << i;
    }
    EXPECT_EQ(machine.hypervisor.FrameOf(0, 512 + kPages), kNoFrame);
  }
}

// What a continued call has come to is the guest's to change: it is looked at anew.
TEST_F(HypervisorValuesTest, WhereAContinuedListGoesOn) {
  constexpr unsigned kShift = 6;  // MEMOP_EXTENT_SHIFT
  std::uint64_t indices[2] = {0, 1};
  xen_pfn_t gfns[2] = {4000, 4001};
  int errors[2] = {7, 7};
  xen_add_to_physmap_batch batch = {};
  batch.domid = kHvm;
  batch.space = XENMAPSPACE_gmfn;
  batch.size = 2;
  batch.idxs.p = indices;
  batch.gpfns.p = gfns;
  batch.errs.p = errors;
  const auto batch_from = [&](std::uint64_t start) {
    return MemoryOp(static_cast<unsigned>(XENMEM_add_to_physmap_batch | start << kShift), batch);
  };
  EXPECT_EQ(batch_from(2), -kEILSEQ);
  EXPECT_EQ(batch_from(3), -kEILSEQ);
  EXPECT_EQ(batch_from(0x10000), -kEDOM);
  EXPECT_EQ(batch_from(1), 0);
  EXPECT_EQ(errors[0], 7);
  EXPECT_EQ(errors[1], 0);

  // A list that cannot be gone on with stays where it is.
  xen_pfn_t extents[] = {4010, 4011};
  const auto reserve_from = [&](std::uint64_t start, std::uint16_t domain, unsigned order) {
    xen_memory_reservation list = TestMachine::Reservation(domain, extents, 2, order);
    return MemoryOp(static_cast<unsigned>(XENMEM_populate_physmap | start << kShift), list);
  };
  for (const std::uint64_t start : {0, 1}) {
    EXPECT_EQ(reserve_from(start, kMissing, 0), static_cast<std::int64_t>(start));
    EXPECT_EQ(reserve_from(start, kHvm, 64), static_cast<std::int64_t>(start));
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap | start << kShift, 0),
              static_cast<std::int64_t>(start));
  }

  xen_add_to_physmap range = {};
  range.domid = kHvm;
  range.space = XENMAPSPACE_gmfn_range;
  range.idx = 10;
  range.gpfn = 5000;
  range.size = 2;
  const auto range_from = [&](std::uint64_t start) {
    return MemoryOp(static_cast<unsigned>(XENMEM_add_to_physmap | start << kShift), range);
  };
  EXPECT_EQ(range_from(3), -kEILSEQ);
  EXPECT_EQ(range_from(0x10000), -kEDOM);
  EXPECT_EQ(range_from(2), 0);
  EXPECT_EQ(range_from(1), 0);
  EXPECT_NE(machine.hypervisor.FrameOf(kHvm, 10), kNoFrame);
  EXPECT_NE(machine.hypervisor.FrameOf(kHvm, 5001), kNoFrame);
}

TEST_F(HypervisorValuesTest, FeaturesOfDomains) {
  const auto features = [&](Vcpu& caller) {
    xen_feature_info info = {.submap_idx = 0, .submap = 7};
    EXPECT_EQ(machine.hypervisor.Call(
                  caller, machine.Frame(__HYPERVISOR_xen_version, XENVER_get_features, &info)),
              0);
    return info.submap;
  };
  constexpr std::uint32_t kAll = 1u << XENFEAT_memory_op_vnode_supported;
  constexpr std::uint32_t kTranslated = 1u << XENFEAT_writable_page_tables |
                                        1u << XENFEAT_auto_translated_physmap |
                                        1u << XENFEAT_not_direct_mapped;
  constexpr std::uint32_t kNoHvm = 1u << XENFEAT_mmu_pt_update_preserve_ad |
                                   1u << XENFEAT_highmem_assist |
                                   1u << XENFEAT_gnttab_map_avail_bits;
  constexpr std::uint32_t kHvmOnly =
      1u << XENFEAT_hvm_safe_pvclock | 1u << XENFEAT_hvm_callback_vector;
  EXPECT_EQ(features(*machine.vcpu), kAll | kTranslated | kNoHvm | 1u << XENFEAT_dom0);
  for (const auto& [domain, expected] :
       {std::pair{kPv, kAll | kNoHvm | 1u << XENFEAT_direct_mapped},
        std::pair{kHvm, kAll | kTranslated | kHvmOnly}}) {
    Vcpu* const vcpu = machine.hypervisor.ClaimVcpu(domain, 0);
    ASSERT_NE(vcpu, nullptr);
    machine.hypervisor.SetRawSpace(*vcpu, machine.direct);
    EXPECT_EQ(features(*vcpu), expected);
    machine.hypervisor.ReleaseVcpu(*vcpu);
  }
}

TEST_F(HypervisorValuesTest, RegistersThatAToolstackDoesNotSetStay) {
  const auto get = [&] {
    std::vector<xen_msr_entry_t> registers(100);
    xen_domctl_t op = {};
    op.u.cpu_policy.nr_msrs = 100;
    op.u.cpu_policy.msrs.p = registers.data();
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
    std::vector<std::pair<std::uint32_t, std::uint64_t>> all;
    for (std::uint32_t i = 0; i < op.u.cpu_policy.nr_msrs; ++i) {
      all.emplace_back(registers[i].idx, registers[i].val);
    }
    return all;
  };
  auto expected = get();
  ASSERT_GT(expected.size(), 1u);
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), 0);
  EXPECT_EQ(get(), expected);
  for (auto& [index, value] : expected) {
    xen_msr_entry_t msr = {.idx = index, .flags = 0, .val = value = ~value};
    op = {};
    op.u.cpu_policy.nr_msrs = 1;
    op.u.cpu_policy.msrs.p = &msr;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), 0);
    EXPECT_EQ(get(), expected);
  }
}

TEST_F(HypervisorValuesTest, VcpusGoDownAndComeUp) {
  for (const auto& [op, is_up] : {std::pair{VCPUOP_down, 0}, std::pair{VCPUOP_up, 1}}) {
    ASSERT_EQ(machine.Call(__HYPERVISOR_vcpu_op, op, 1, 0), 0);
    EXPECT_EQ(machine.Call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 1, 0), is_up);
    EXPECT_EQ(machine.Call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0, 0), 1);
  }
}

TEST_F(HypervisorValuesTest, LeavesThatAPolicyHadNot) {
  std::vector<xen_cpuid_leaf_t> had(1000);
  xen_domctl_t op = {};
  const auto get = [&](std::vector<xen_cpuid_leaf_t>& leaves) {
    leaves.resize(1000);
    op.u.cpu_policy.nr_leaves = 1000;
    op.u.cpu_policy.leaves.p = leaves.data();
    op.u.cpu_policy.nr_msrs = 0;
    op.u.cpu_policy.msrs.p = nullptr;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
    leaves.resize(op.u.cpu_policy.nr_leaves);
  };
  const auto set = [&](std::vector<xen_cpuid_leaf_t> leaves) {
    op.u.cpu_policy.nr_leaves = static_cast<std::uint32_t>(leaves.size());
    op.u.cpu_policy.leaves.p = leaves.data();
    op.u.cpu_policy.nr_msrs = 0;
    return machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op);
  };
  get(had);
  // The last and the one past it of each range of numbers, and a subleaf of one that is there.
  struct Row {
    std::uint32_t leaf, subleaf;
    std::int64_t answer;
  };
  const Row rows[] = {
      {0x0000000d, 63, 0},         {0x0000000e, 0, -kERANGE}, {0x40000000, 0, 0},
      {0x3fffffff, 0, -kERANGE},   {0x40000001, 0, -kERANGE}, {0x40000100, 0, 0},
      {0x400000ff, 0, -kERANGE},   {0x40000101, 0, -kERANGE}, {0x80000000, 5, 0},
      {0x7fffffff, 0, -kERANGE},   {0x80000021, 0, 0},        {0x80000022, 0, -kERANGE},
      {0x00000000, 0xfffffff0, 0},
  };
  std::vector<xen_cpuid_leaf_t> wanted = had;
  for (const Row& row : rows) {
    const xen_cpuid_leaf_t leaf = {row.leaf, row.subleaf, 1, 2, 3, 4};
    EXPECT_EQ(set({leaf}), row.answer) << std::hex << row.leaf;
    if (row.answer != 0) {
      EXPECT_EQ(op.u.cpu_policy.err_leaf, row.leaf);
      EXPECT_EQ(op.u.cpu_policy.err_subleaf, row.subleaf);
      EXPECT_EQ(op.u.cpu_policy.err_msr, ~std::uint32_t{0});
      continue;
    }
    const auto same = std::find_if(wanted.begin(), wanted.end(), [&](const auto& each) {
      return each.leaf == leaf.leaf && each.subleaf == leaf.subleaf;
    });
    if (same != wanted.end()) {
      *same = leaf;
    } else {
      wanted.push_back(leaf);
    }
  }
  std::sort(wanted.begin(), wanted.end(), [](const auto& one, const auto& two) {
    return std::pair(one.leaf, one.subleaf) < std::pair(two.leaf, two.subleaf);
  });
  std::vector<xen_cpuid_leaf_t> has;
  get(has);
  ASSERT_EQ(has.size(), wanted.size());
  for (std::size_t i = 0; i < has.size(); ++i) {
    EXPECT_EQ(std::memcmp(&has[i], &wanted[i], sizeof(has[i])), 0) << i;
  }
  // Of a list that is refused at its end nothing stays, and no list is longer than all policies.
  EXPECT_EQ(set({{1, 0, 9, 9, 9, 9}, {0x50000000, 0, 0, 0, 0, 0}}), -kERANGE);
  std::vector<xen_cpuid_leaf_t> now;
  get(now);
  EXPECT_EQ(std::memcmp(now.data(), has.data(), has.size() * sizeof(has[0])), 0);
  op.u.cpu_policy.nr_leaves = 0;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), -kENOBUFS);
  op.u.cpu_policy.leaves.p = nullptr;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  const std::uint32_t most = op.u.cpu_policy.nr_leaves;
  const xen_cpuid_leaf_t zero = {};
  EXPECT_EQ(set(std::vector<xen_cpuid_leaf_t>(most, zero)), 0);
  EXPECT_EQ(set(std::vector<xen_cpuid_leaf_t>(most + 1, zero)), -kE2BIG);
  // As many different ones as there is room for.
  for (std::uint32_t subleaf = 100; get(now), now.size() < most; ++subleaf) {
    ASSERT_EQ(set({{4, subleaf, 0, 0, 0, 0}}), 0);
  }
  EXPECT_EQ(set({{4, 99, 0, 0, 0, 0}}), -kERANGE);
}

TEST(HypervisorNumbersTest, OfNewDomains) {
  TestMachine machine;
  const auto create = [&](std::uint16_t wanted) {
    xen_domctl_t op = TestMachine::CreateRequest();
    const std::int64_t answer = machine.Domctl(XEN_DOMCTL_createdomain, wanted, op);
    return answer != 0 ? answer : op.domain;
  };
  EXPECT_EQ(create(3), 3);
  EXPECT_EQ(create(3), -kEEXIST);
  EXPECT_EQ(create(0x7fef), 0x7fef);  // the last before those that Xen reserves
  EXPECT_EQ(create(0x7fef), -kEEXIST);
  // No number, and numbers that are reserved, mean the next one that is free.
  EXPECT_EQ(create(0), 1);
  EXPECT_EQ(create(0x7ff0), 2);
  EXPECT_EQ(create(0xffff), 4);
  for (const unsigned id : {1, 2, 3, 4, 0x7fef}) {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, static_cast<std::uint16_t>(id)), 0);
  }
  EXPECT_EQ(create(0), 5);
}

// A domain that was created and has no vcpus yet.
TEST_F(HypervisorValuesTest, VcpusThatAreNotThereYet) {
  constexpr std::uint16_t kNew = 9;
  constexpr unsigned kVcpus = 2;
  xen_domctl_t create = TestMachine::CreateRequest(0, kVcpus);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, kNew, create), 0);
  std::uint8_t map[2] = {1, 0};
  std::vector<vcpu_guest_context_t> context(1);
  context[0].ctrlreg[3] = pv_frames[5] << 12;
  xen_domctl_t op = {};
  const auto expect = [&](std::uint32_t cmd, std::int64_t absent, std::int64_t beyond, auto& vcpu) {
    for (unsigned i = 0; i <= kVcpus; ++i) {
      vcpu = i;
      EXPECT_EQ(machine.Domctl(cmd, kNew, op), i < kVcpus ? absent : beyond) << cmd;
    }
  };
  expect(XEN_DOMCTL_getvcpuinfo, -kESRCH, -kEINVAL, op.u.getvcpuinfo.vcpu);
  op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
  op.u.vcpuaffinity.cpumap_hard.bitmap.p = map;
  op.u.vcpuaffinity.cpumap_hard.nr_bits = 16;
  expect(XEN_DOMCTL_getvcpuaffinity, -kESRCH, -kEINVAL, op.u.vcpuaffinity.vcpu);
  expect(XEN_DOMCTL_setvcpuaffinity, -kESRCH, -kEINVAL, op.u.vcpuaffinity.vcpu);
  op = {};
  op.u.vcpucontext.ctxt.p = context.data();
  expect(XEN_DOMCTL_setvcpucontext, -kEINVAL, -kEINVAL, op.u.vcpucontext.vcpu);
  expect(XEN_DOMCTL_getvcpucontext, -kEINVAL, -kEINVAL, op.u.vcpucontext.vcpu);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kNew), 0);
}

// Also of neighbours, by their ids.
TEST_F(HypervisorValuesTest, ClaimsOfAllDomainsTogether) {
  const auto claim = [&](std::uint16_t domain, std::uint64_t pages) {
    xen_memory_reservation request = TestMachine::Reservation(domain, nullptr, pages);
    return MemoryOp(XENMEM_claim_pages, request);
  };
  const auto outstanding = [&] {
    xen_sysctl_t op = {};
    EXPECT_EQ(machine.Sysctl(XEN_SYSCTL_physinfo, op), 0);
    return op.u.physinfo.outstanding_pages;
  };
  static_assert(kHvm == kPv + 1);
  EXPECT_EQ(claim(kPv, 64), -kEINVAL);  // it has them
  EXPECT_EQ(claim(kPv, 65), 0);
  EXPECT_EQ(outstanding(), 1u);
  EXPECT_EQ(claim(kHvm, 201), -kEINVAL);  // beyond max_mem
  EXPECT_EQ(claim(kHvm, 200), 0);
  EXPECT_EQ(outstanding(), 1u + 136u);
  EXPECT_EQ(claim(kHvm, 200), -kEINVAL);  // a second one
  EXPECT_EQ(claim(kPv, 0), 0);
  EXPECT_EQ(outstanding(), 136u);
  EXPECT_EQ(claim(kHvm, 0), 0);
  // As much as there is, and no more.
  const std::uint64_t free = Books::StatisticsOf(machine.hypervisor).free_pages;
  xen_domctl_t op = {};
  op.u.max_mem.max_memkb = ~std::uint64_t{0};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kHvm, op), 0);
  EXPECT_EQ(claim(kHvm, 64 + free + 1), -kENOMEM);
  EXPECT_EQ(outstanding(), 0u);
  EXPECT_EQ(claim(kHvm, 64 + free), 0);
  EXPECT_EQ(outstanding(), free);
  // What a domain gets it claims no more, also when it gets more.
  std::vector<xen_pfn_t> frames = {100, 101};
  EXPECT_EQ(Populate(kHvm, frames), 2);
  EXPECT_EQ(outstanding(), free - 2);
  EXPECT_EQ(claim(kHvm, 0), 0);
  EXPECT_EQ(claim(kPv, 65), 0);
  xen_pfn_t extent = 0;
  xen_memory_reservation two = TestMachine::Reservation(kPv, &extent, 1, 1);
  EXPECT_EQ(MemoryOp(XENMEM_populate_physmap, two), 1);
  EXPECT_EQ(outstanding(), 0u);
}

// A PV domain says itself, in its shared info, where its memory ends.
TEST_F(HypervisorValuesTest, TheHighestFrame) {
  const auto highest = [&](std::uint16_t domain) {
    xen_memory_domain request = {.domid = domain};
    return MemoryOp(XENMEM_maximum_gpfn, request);
  };
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kPv, op), 0);
  auto* const shared_info =
      reinterpret_cast<shared_info_t*>(machine.BytesOf(op.u.getdomaininfo.shared_info_frame));
  EXPECT_EQ(highest(kPv), 0);
  for (const std::uint64_t end : {1u, 2u, 12345u}) {
    shared_info->arch.max_pfn = end;
    EXPECT_EQ(highest(kPv), static_cast<std::int64_t>(end - 1));
  }
  // A translated one's is known.
  EXPECT_EQ(highest(kHvm), 63);
  ASSERT_EQ(machine.CreateDomain(9, 10, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap), 9);
  EXPECT_EQ(highest(9), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 9), 0);
}

TEST_F(HypervisorValuesTest, VcpuContextsOfPvDomains) {
  constexpr std::uint64_t kHole = std::uint64_t{1} << 47;
  std::vector<vcpu_guest_context_t> contexts(1);
  vcpu_guest_context_t& context = contexts[0];
  const auto set = [&](const std::function<void()>& change) {
    std::memset(static_cast<void*>(&context), 0, sizeof(context));
    context.ctrlreg[3] = pv_frames[5] << 12;
    context.flags = VGCF_in_kernel;
    change();
    // A vcpu that has tables keeps them.
    xen_domctl_t op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), 0);
    op.u.vcpucontext.ctxt.p = &context;
    return machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op);
  };
  EXPECT_EQ(set([] {}), 0);
  // Addresses: the last below the hole, and the first in it.
  for (const std::uint64_t address : {kHole - 1, ~kHole + 1}) {
    EXPECT_EQ(set([&] { context.user_regs.rip = address; }), 0);
    EXPECT_EQ(set([&] { context.trap_ctxt[255].address = address; }), 0);
  }
  for (const std::uint64_t address : {kHole, ~kHole}) {
    EXPECT_EQ(set([&] { context.user_regs.rip = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.user_regs.rsp = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.kernel_sp = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.fs_base = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.gs_base_kernel = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.gs_base_user = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.event_callback_eip = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.syscall_callback_eip = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.failsafe_callback_eip = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.trap_ctxt[0].address = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.trap_ctxt[255].address = address; }), -kEINVAL);
    EXPECT_EQ(set([&] { context.ldt_base = address & ~std::uint64_t{0xfff}; }), -kEINVAL);
  }
  // Tables of descriptors.
  EXPECT_EQ(set([&] { context.ldt_base = 0x1000; }), 0);
  EXPECT_EQ(set([&] { context.ldt_base = 0x1008; }), -kEINVAL);
  EXPECT_EQ(set([&] { context.ldt_ents = 8192; }), 0);
  EXPECT_EQ(set([&] { context.ldt_ents = 8193; }), -kEINVAL);
  const auto gdt = [&](std::uint32_t entries, unsigned frames) {
    return set([&, entries, frames] {
      context.gdt_ents = entries;
      for (unsigned i = 0; i < frames; ++i) context.gdt_frames[i] = pv_frames[i];
      for (unsigned i = frames; i < 16; ++i) context.gdt_frames[i] = kAllOnes;
    });
  };
  EXPECT_EQ(gdt(512, 1), 0);
  EXPECT_EQ(gdt(513, 1), -kEINVAL);
  EXPECT_EQ(gdt(513, 2), 0);
  EXPECT_EQ(gdt(1, 0), -kEINVAL);
  EXPECT_EQ(gdt(14 * 512, 14), 0);
  EXPECT_EQ(gdt(14 * 512 + 1, 15), -kEINVAL);
}

}  // namespace
}  // namespace xencomm::hypervisor
