// sysctl (35): what its ops share.
//
// One structure of fixed size. Version and permission are checked before an op sees it. An op's
// outputs are written when it succeeds, and in the cases in which Xen writes them all the same.
#ifndef HCALL_HYPERVISOR_CALLS_SYSCTL_H_
#define HCALL_HYPERVISOR_CALLS_SYSCTL_H_

#include <cstdint>

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"

namespace xencomm::hypervisor {

struct SysctlCall {
  Call& call;
  Argument<xen_sysctl_t>& argument;
  bool copy_back_always = false;  // also when the op fails
};

// sysctl_machine.cc
std::int64_t PhysInfo(SysctlCall& op);
std::int64_t GetCpuInfo(SysctlCall& op);
std::int64_t AvailHeap(SysctlCall& op);
std::int64_t CpuTopology(SysctlCall& op);
std::int64_t NumaInfo(SysctlCall& op);
std::int64_t PciTopology(SysctlCall& op);
std::int64_t PageOffline(SysctlCall& op);

// sysctl_cpu.cc
std::int64_t CpuFeatureset(SysctlCall& op);
std::int64_t SystemCpuPolicy(SysctlCall& op);
std::int64_t PowerStatistics(SysctlCall& op);
std::int64_t PowerControl(SysctlCall& op);
std::int64_t CpuPool(SysctlCall& op);
std::int64_t SchedulerParameters(SysctlCall& op);

// sysctl_console.cc
std::int64_t ReadConsole(SysctlCall& op);
std::int64_t DebugKeys(SysctlCall& op);

// sysctl_livepatch.cc
std::int64_t LivePatch(SysctlCall& op);

std::int64_t GetDomainInfoList(SysctlCall& op);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_SYSCTL_H_
