// xencomm_op (55): the calls by which a guest's kernel manages its regions.

#include "hcall/hypervisor/call.h"
#include "hcall/hypervisor/region_registry.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {

std::int64_t RegionOp(Call& call) {
  const std::uint64_t* arguments = call.frame.arguments;
  const RegionHandle handle = RegionHandle::FromRegister(arguments[1]);
  switch (static_cast<XencommOp>(arguments[0])) {
    case XencommOp::kRegister:
      return RegionRegistry::Register(call.core, call.domain, {arguments[1]}, arguments[2]);
    case XencommOp::kExtend:
      return RegionRegistry::Extend(call.core, call.domain, handle, arguments[2], arguments[3]);
    case XencommOp::kUnregister:
      return RegionRegistry::Unregister(call.core, call.domain, handle);
  }
  return -kENOSYS;
}

}  // namespace xencomm::hypervisor
