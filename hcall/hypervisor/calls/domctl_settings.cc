// domctl: properties of a domain that the hypervisor only keeps.

#include <cstring>

#include "hcall/hypervisor/calls/bitmap.h"
#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {

std::int64_t SetHandleOp(DomctlCall& op) {
  std::memcpy(op.target->handle.data(), op.argument->u.setdomainhandle.handle,
              op.target->handle.size());
  return 0;
}

std::int64_t SetDebuggingOp(DomctlCall& op) {
  if (op.target == &op.call.domain) return -kEINVAL;
  op.target->debugger_attached = op.argument->u.setdebugging.enable != 0;
  return 0;
}

std::int64_t SetTimeOffsetOp(DomctlCall& op) {
  op.target->time_offset_seconds = op.argument->u.settimeoffset.time_offset_seconds;
  return 0;
}

std::int64_t SubscribeOp(DomctlCall& op) {
  op.target->suspend_port = op.argument->u.subscribe.port;
  return 0;
}

std::int64_t ResumeOp(DomctlCall& op) {
  if (op.target == &op.call.domain) return -kEINVAL;
  op.target->shut_down = false;
  op.target->shutdown_code = Domain::kNoShutdownCode;
  return 0;
}

std::int64_t AddressSizeOp(DomctlCall& op) {
  xen_domctl_address_size& request = op.argument->u.address_size;
  if (op.target->hvm) return -kEOPNOTSUPP;
  if (op.argument->cmd == XEN_DOMCTL_get_address_size) {
    request.size = 64;
    op.copy_back = true;
    return 0;
  }
  // A hypervisor without 32-bit PV domains.
  return request.size == 64 ? 0 : request.size == 32 ? -kEOPNOTSUPP : -kEINVAL;
}

std::int64_t TscInfoOp(DomctlCall& op) {
  if (op.argument->cmd == XEN_DOMCTL_settscinfo) {
    if (op.target == &op.call.domain) return -kEINVAL;
    const std::uint32_t mode = op.argument->u.tsc_info.tsc_mode;
    if (mode > 2) return -kEINVAL;  // TSC_MODE_NEVER_EMULATE is the last
    op.target->tsc_mode = mode;
    op.target->tsc_incarnation = op.argument->u.tsc_info.incarnation + 1;
    return 0;
  }
  if (op.target == &op.call.domain) return -kEINVAL;
  xen_domctl_tsc_info& info = op.argument->u.tsc_info;
  info.tsc_mode = op.target->tsc_mode;
  info.elapsed_nsec = op.call.core.machine.NowNanoseconds();
  info.gtsc_khz = op.target->tsc_khz;
  info.incarnation = op.target->tsc_incarnation;
  op.copy_back = true;
  return 0;
}

std::int64_t NodeAffinityOp(DomctlCall& op) {
  // There is node 0.
  const xenctl_bitmap& map = op.argument->u.nodeaffinity.nodemap;
  if (op.argument->cmd == XEN_DOMCTL_setnodeaffinity) {
    const auto nodes = op.argument.Bind(schema::rows::domctl::setnodeaffinity::nodemap_bitmap);
    std::uint8_t first = 0;
    if (map.nr_bits != 0 && !nodes.Read(0, first).ok()) return -kEFAULT;
    return (first & 1) != 0 ? 0 : -kEINVAL;
  }
  const auto nodes = op.argument.Bind(schema::rows::domctl::getnodeaffinity::nodemap_bitmap);
  if (!HasSaneSize(nodes)) return -kE2BIG;
  if (nodes.count() == 0) return 0;
  if (!nodes.Write(0, std::uint8_t{1}).ok()) return -kEFAULT;
  return nodes.Clear(1, nodes.count() - 1).ok() ? 0 : -kEFAULT;
}

}  // namespace xencomm::hypervisor
