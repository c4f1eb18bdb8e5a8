// sysctl: the machine, its memory and its processors.

#include <array>
#include <cstring>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/calls/sysctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

// One node, one socket of single-threaded cores.
constexpr std::uint32_t kMaxNodeId = 63;  // MAX_NUMNODES - 1

// The word of leaf 0x80000001's edx, and its bits that AMD repeats there of leaf 1's.
constexpr unsigned kExtendedFeatures = 2;
constexpr std::uint32_t kRepeatedFeatures = 0x0183f3ff;

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
                      XEN_SYSCTL_PHYSCAP_gnttab_v1 | XEN_SYSCTL_PHYSCAP_gnttab_v2;
  std::memcpy(info.hw_cap, HostFeatureset().data(), sizeof(info.hw_cap));
  // What AMD repeats there of the first word is said once.
  info.hw_cap[kExtendedFeatures] &= ~kRepeatedFeatures;
  info.total_pages = core.total_pages;
  info.free_pages = core.heap.free_pages();
  info.max_mfn = core.max_page() - 1;
  info.outstanding_pages = core.outstanding_pages.load(std::memory_order_relaxed);
  return 0;
}

std::int64_t GetCpuInfo(SysctlCall& op) {
  xen_sysctl_getcpuinfo& request = op.argument->u.getcpuinfo;
  const auto info = op.argument.Bind(schema::rows::sysctl::getcpuinfo::info);
  const unsigned cpus = op.call.core.config.cpus;
  const std::uint32_t count = request.max_cpus < cpus ? request.max_cpus : cpus;
  std::array<std::uint64_t, kMaxCpus> idle_times;
  op.call.core.schedule.Sample(op.call.vcpu, idle_times);
  for (std::uint32_t i = 0; i < count; ++i) {
    Cleared<xen_sysctl_cpuinfo_t> cpu;
    cpu->idletime = idle_times[i];
    if (!info.Write(i, cpu).ok()) return -kEFAULT;
  }
  request.nr_cpus = count;
  return 0;
}

std::int64_t AvailHeap(SysctlCall& op) {
  xen_sysctl_availheap& request = op.argument->u.availheap;
  // One zone and one node, so that widths and node change nothing.
  request.avail_bytes = op.call.core.heap.free_pages() << kPageShift;
  return 0;
}

std::int64_t CpuTopology(SysctlCall& op) {
  xen_sysctl_cputopoinfo& request = op.argument->u.cputopoinfo;
  std::uint32_t count = op.call.core.config.cpus;
  const auto topology = op.argument.Bind(schema::rows::sysctl::cputopoinfo::cputopo);
  if (!topology.is_null()) {
    if (count > request.num_cpus) count = request.num_cpus;
    for (std::uint32_t i = 0; i < count; ++i) {
      Cleared<xen_sysctl_cputopo_t> cpu;
      cpu->core = i;
      if (!topology.Write(i, cpu).ok()) return -kEFAULT;
    }
  }
  request.num_cpus = count;
  return 0;
}

std::int64_t NumaInfo(SysctlCall& op) {
  // The distance of a node from itself (ACPI, SLIT).
  constexpr std::uint32_t kLocal = 10;
  Core& core = op.call.core;
  xen_sysctl_numainfo& request = op.argument->u.numainfo;
  const auto meminfo = op.argument.Bind(schema::rows::sysctl::numainfo::meminfo);
  const auto distance = op.argument.Bind(schema::rows::sysctl::numainfo::distance);
  std::uint32_t nodes = 1;
  if (!meminfo.is_null() || !distance.is_null()) {
    if (request.num_nodes == 0) nodes = 0;
    if (nodes != 0 && !meminfo.is_null()) {
      Cleared<xen_sysctl_meminfo_t> memory;
      memory->memsize = core.max_page() << kPageShift;
      memory->memfree = core.heap.free_pages() << kPageShift;
      if (!meminfo.Write(0, memory).ok()) return -kEFAULT;
    }
    if (nodes != 0 && !distance.is_null() && !distance.Write(0, kLocal).ok()) return -kEFAULT;
  }
  request.num_nodes = nodes;
  return 0;
}

std::int64_t PciTopology(SysctlCall& op) {
  xen_sysctl_pcitopoinfo& request = op.argument->u.pcitopoinfo;
  const auto devices = op.argument.Bind(schema::rows::sysctl::pcitopoinfo::devs);
  const auto nodes = op.argument.Bind(schema::rows::sysctl::pcitopoinfo::nodes);
  if (devices.is_null() || nodes.is_null()) return -kEINVAL;
  std::uint32_t done = 0;
  while (done < request.num_devs) {
    physdev_pci_device_t device;
    if (!devices.Read(done, device).ok()) return -kEFAULT;
    // There are none.
    if (!nodes.Write(done, std::uint32_t{XEN_INVALID_DEV}).ok()) return -kEFAULT;
    ++done;
    // Cut short, as in Xen; the caller sees how far it came.
    if (op.call.ShouldPreempt()) break;
  }
  request.num_devs = done;
  return 0;
}

// Every frame is in use, or may be: none is ever taken out, which is what the op is for. Xen stops
// at the first that it does not have, and sets each byte of the statuses from there on.
std::int64_t PageOffline(SysctlCall& op) {
  constexpr std::uint32_t kAtOnce = 256, kInvalid = 0x01010101 * PG_OFFLINE_INVALID;
  const MachineConfig& config = op.call.core.config;
  const xen_sysctl_page_offline_op& request = op.argument->u.page_offline;
  if (request.end < request.start) return -kEINVAL;
  if (request.cmd == sysctl_page_offline) {
    NoteMissing(op.call, XEN_SYSCTL_page_offline_op);
    return -kENOSYS;
  }
  const bool is_known =
      request.cmd == sysctl_page_online || request.cmd == sysctl_query_page_offline;
  const auto status = op.argument.Bind(schema::rows::sysctl::page_offline_op::status);
  const std::uint64_t pages = std::uint64_t{request.end} - request.start + 1;
  std::int64_t answer = 0;
  std::array<std::uint32_t, kAtOnce> statuses;
  for (std::uint64_t done = 0; done < pages;) {
    const std::uint64_t count = pages - done < kAtOnce ? pages - done : kAtOnce;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t address = (request.start + done + i) << kPageShift;
      const bool is_ram = config.pool_begin <= address && address < config.pool_end;
      if (!is_known || !is_ram) answer = -kEINVAL;
      statuses[i] = answer == 0 ? 0 : kInvalid;
    }
    if (!status.Write(done, std::span<const std::uint32_t>(statuses).first(count)).ok()) {
      return -kEFAULT;
    }
    done += count;
    // Xen goes on; there is no place to keep how far it came.
    if (done != pages && op.call.ShouldPreempt()) return -kE2BIG;
  }
  return answer;
}

}  // namespace xencomm::hypervisor
