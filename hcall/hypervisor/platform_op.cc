// platform_op (7): the machine, as the domain that owns it asks for it.

#include <cstring>

#include "hcall/hypervisor/argument.h"
#include "hcall/hypervisor/bitmap.h"
#include "hcall/hypervisor/call.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::platform_op;

using Request = Argument<xen_platform_op_t>;

std::int64_t GetIdleTime(Call& call, Request& request) {
  // Only a machine whose domain 0 scales the processors' frequency needs to know.
  if (!call.core.config.dom0_scales_frequency) return -kENOSYS;
  xenpf_getidletime& op = request->u.getidletime;
  const unsigned cpus = call.core.config.cpus;
  const auto map = request.Bind(rows::getidletime::cpumap_bitmap);
  const auto times = request.Bind(rows::getidletime::idletime);
  if (!map.ok() || !times.ok()) return -kEFAULT;
  CpuMask asked;
  if (!ReadCpus(*map, op.cpumap_nr_cpus, cpus, &asked)) return -kEFAULT;
  const std::uint64_t now = call.core.machine.NowNanoseconds();
  CpuMask idle;
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    // The processor that makes this call has not been idle.
    if (!asked.Has(cpu) || cpu == call.vcpu.processor) continue;
    idle.Set(cpu);
    if (!times->Write(cpu, now).ok()) return -kEFAULT;
  }
  op.now = now;
  return WriteCpus(*map, idle, cpus) ? 0 : -kEFAULT;
}

std::int64_t GetCpuInfoOp(Call& call, Request& request) {
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

std::int64_t GetCpuVersion(Call& call, Request& request) {
  constexpr char kVendor[] = {'A', 'u', 't', 'h', 'e', 'n', 't', 'i', 'c', 'A', 'M', 'D'};
  constexpr std::uint32_t kFamily = 15;
  xenpf_pcpu_version& version = request->u.pcpu_version;
  static_assert(sizeof(version.vendor_id) == sizeof(kVendor));
  const bool known = version.xen_cpuid < call.core.config.cpus;
  std::memset(version.vendor_id, 0, sizeof(version.vendor_id));
  if (known) std::memcpy(version.vendor_id, kVendor, sizeof(kVendor));
  version.family = known ? kFamily : 0;
  version.model = 0;
  version.stepping = 0;
  version.max_present = call.core.config.cpus - 1;
  return 0;
}

std::int64_t RunOp(Call& call, Request& request) {
  switch (request->cmd) {
    case XENPF_getidletime:
      return GetIdleTime(call, request);
    case XENPF_get_cpuinfo:
      return GetCpuInfoOp(call, request);
    case XENPF_get_cpu_version:
      return GetCpuVersion(call, request);
    case XENPF_settime32:
    case XENPF_settime64:
      return 0;  // there is no wall clock to be set
    default:
      return -kENOSYS;
  }
}

}  // namespace

std::int64_t PlatformOp(Call& call) {
  Request request(call, call.frame.arguments[0]);
  if (!request.Fetch()) return -kEFAULT;
  if (request.Raw(request->interface_version) != XENPF_INTERFACE_VERSION) return -kEACCES;
  if (!call.domain.privileged) return -kEPERM;
  if (!request.Select(__HYPERVISOR_platform_op, request.Raw(request->cmd))) return -kENOSYS;
  std::int64_t answer;
  {
    SpinGuard guard(call.core.control);
    answer = RunOp(call, request);
  }
  if (answer == 0 && !request.Store()) return -kEFAULT;
  return answer;
}

}  // namespace xencomm::hypervisor
