// platform_op (7): the machine, as the domain that owns it asks for it.

#include <array>
#include <cstring>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/bitmap.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::platform_op;

struct PlatformCall {
  Call& call;
  Argument<xen_platform_op_t>& request;
};

std::int64_t GetIdleTime(PlatformCall& op) {
  auto& [call, request] = op;
  // Only a machine whose domain 0 scales the processors' frequency needs to know.
  if (!call.core.config.dom0_scales_frequency) return -kENOSYS;
  xenpf_getidletime& idle_time = request->u.getidletime;
  const unsigned cpus = call.core.config.cpus;
  const auto map = request.Bind(rows::getidletime::cpumap_bitmap);
  const auto times = request.Bind(rows::getidletime::idletime);
  if (!HasSaneSize(map)) return -kE2BIG;
  CpuMask asked;
  if (!ReadCpus(map, idle_time.cpumap_nr_cpus, cpus, &asked)) return -kEFAULT;
  std::array<std::uint64_t, kMaxCpus> idle_times;
  const std::uint64_t now = call.core.schedule.Sample(call.vcpu, idle_times);
  CpuMask idle;
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    // Of one that never was idle nothing is told.
    if (!asked.Has(cpu) || idle_times[cpu] == 0) continue;
    idle.Set(cpu);
    if (!times.Write(cpu, idle_times[cpu]).ok()) return -kEFAULT;
  }
  idle_time.now = now;
  return WriteCpus(map, idle, cpus) ? 0 : -kEFAULT;
}

std::int64_t GetCpuInfoOp(PlatformCall& op) {
  auto& [call, request] = op;
  xenpf_pcpuinfo& info = request->u.pcpu_info;
  const unsigned cpus = call.core.config.cpus;
  if (info.xen_cpuid >= cpus) {
    info.flags = XEN_PCPU_FLAGS_INVALID;
  } else {
    info.apic_id = info.xen_cpuid;
    info.acpi_id = info.xen_cpuid;
    info.flags = XEN_PCPU_FLAGS_ONLINE;
  }
  info.max_present = cpus - 1;
  return 0;
}

std::int64_t GetCpuVersion(PlatformCall& op) {
  auto& [call, request] = op;
  constexpr char kVendor[] = {'A', 'u', 't', 'h', 'e', 'n', 't', 'i', 'c', 'A', 'M', 'D'};
  // Of leaf 1, whose extended family is 0.
  const std::uint32_t signature = HostLeaves()[1].a;
  xenpf_pcpu_version& version = request->u.pcpu_version;
  static_assert(sizeof(version.vendor_id) == sizeof(kVendor));
  const bool known = version.xen_cpuid < call.core.config.cpus;
  std::memset(version.vendor_id, 0, sizeof(version.vendor_id));
  if (known) std::memcpy(version.vendor_id, kVendor, sizeof(kVendor));
  version.family = known ? signature >> 8 & 0xf : 0;
  version.model = known ? (signature >> 12 & 0xf0) | (signature >> 4 & 0xf) : 0;
  version.stepping = known ? signature & 0xf : 0;
  version.max_present = call.core.config.cpus - 1;
  return 0;
}

// There is no wall clock to be set.
std::int64_t SetTime(PlatformCall& op) {
  const xen_platform_op_t& request = *op.request;
  return request.cmd == XENPF_settime64 && request.u.settime64.mbz != 0 ? -kEINVAL : 0;
}

// No microcode was loaded since the machine was built.
std::int64_t GetUcodeRevision(PlatformCall& op) {
  auto& revision = op.request.Part<xenpf_ucode_revision>();
  if (revision.cpu >= op.call.core.config.cpus) return -kENOENT;
  revision.signature = 0;
  revision.pf = 0;
  revision.revision = 0;
  return 0;
}

// A screen of text, as a machine has that was started by a BIOS.
std::int64_t GetDom0Console(PlatformCall& op) {
  auto& console = op.request.Part<dom0_vga_console_info>();
  std::memset(&console, 0, sizeof(console));
  console.video_type = XEN_VGATYPE_TEXT_MODE_3;
  console.u.text_mode_3.font_height = 16;
  console.u.text_mode_3.rows = 25;
  console.u.text_mode_3.columns = 80;
  return sizeof(console);
}

constexpr OpTable<PlatformCall, XENPF_microcode_update2 + 1> kOps = {
    {XENPF_getidletime, GetIdleTime},
    {XENPF_get_cpuinfo, GetCpuInfoOp},
    {XENPF_get_cpu_version, GetCpuVersion},
    {XENPF_settime32, SetTime},
    {XENPF_settime64, SetTime},
    {XENPF_get_ucode_revision, GetUcodeRevision},
    {XENPF_get_dom0_console, GetDom0Console},
    {XENPF_microcode_update2, nullptr, -kEINVAL},  // there is none that fits the processor
};

}  // namespace

OpAnswer AskPlatformOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t PlatformOp(Call& call) {
  Argument<xen_platform_op_t> request(call, call.frame.arguments[0]);
  if (!request.Fetch()) return -kEFAULT;
  if (!request.StatesVersion(__HYPERVISOR_platform_op)) return -kEACCES;
  if (!call.domain.privileged) return -kEPERM;
  if (!request.Select()) return -kENOSYS;
  std::int64_t answer;
  {
    SpinGuard guard(call.core.control);
    PlatformCall op = {call, request};
    answer = kOps.Run(request->cmd, op);
  }
  if (answer >= 0 && !request.Store()) return -kEFAULT;
  return answer;
}

}  // namespace xencomm::hypervisor
