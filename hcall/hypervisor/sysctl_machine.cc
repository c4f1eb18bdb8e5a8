// sysctl: the machine, its memory and its processors.

#include <cstring>

#include "hcall/hypervisor/sysctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

// One node, one socket of single-threaded cores.
constexpr std::uint32_t kMaxNodeId = 63;  // MAX_NUMNODES - 1
constexpr std::uint32_t kCpuKilohertz = 1000000;

}  // namespace

std::int64_t PhysInfo(SysctlCall& op) {
  Core& core = op.call.core;
  xen_sysctl_physinfo& info = op.argument->u.physinfo;
  std::memset(&info, 0, sizeof(info));
  info.threads_per_core = 1;
  info.cores_per_socket = core.config.cpus;
  info.nr_cpus = core.config.cpus;
  info.max_cpu_id = core.config.cpus - 1;
  info.nr_nodes = 1;
  info.max_node_id = kMaxNodeId;
  info.cpu_khz = kCpuKilohertz;
  info.capabilities = XEN_SYSCTL_PHYSCAP_hvm | XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_hap |
                      XEN_SYSCTL_PHYSCAP_shadow | XEN_SYSCTL_PHYSCAP_gnttab_v1 |
                      XEN_SYSCTL_PHYSCAP_gnttab_v2;
  info.total_pages = core.total_pages;
  info.free_pages = core.heap.free_pages();
  info.max_mfn = core.max_page() - 1;
  for (Domain* domain = core.domains.FindFrom(0); domain != nullptr;
       domain = core.domains.FindFrom(std::uint64_t{domain->id} + 1)) {
    info.outstanding_pages += domain->outstanding_pages.load(std::memory_order_relaxed);
  }
  return 0;
}

std::int64_t GetCpuInfo(SysctlCall& op) {
  xen_sysctl_getcpuinfo& request = op.argument->u.getcpuinfo;
  const auto info = op.argument.Bind(schema::rows::sysctl::getcpuinfo::info);
  if (!info.ok()) return -kEFAULT;
  const unsigned cpus = op.call.core.config.cpus;
  const std::uint32_t count = request.max_cpus < cpus ? request.max_cpus : cpus;
  for (std::uint32_t i = 0; i < count; ++i) {
    Cleared<xen_sysctl_cpuinfo_t> cpu;
    // The processor that makes this call is not idle, the others have nothing to do.
    if (i != op.call.vcpu.processor) cpu->idletime = op.call.core.machine.NowNanoseconds();
    if (!info->Write(i, cpu).ok()) return -kEFAULT;
  }
  request.nr_cpus = count;
  return 0;
}

}  // namespace xencomm::hypervisor
