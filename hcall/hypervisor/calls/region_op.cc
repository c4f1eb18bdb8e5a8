// xencomm_op (55): the calls by which a guest's kernel manages its regions.

#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/region_registry.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {

std::int64_t RegionOp(Call& call) {
  std::uint64_t* arguments = call.frame.arguments;
  const RegionHandle handle = RegionHandle::FromRegister(arguments[1]);
  RegionRegistry::Progress progress = {.answer = -kENOSYS};
  switch (static_cast<XencommOp>(arguments[0])) {
    case XencommOp::kRegister:
      progress = RegionRegistry::Register(call.core, call.domain, {arguments[1]}, arguments[2],
                                          &arguments[3], call.work);
      break;
    case XencommOp::kExtend:
      progress = RegionRegistry::Extend(call.core, call.domain, handle, &arguments[2],
                                        &arguments[3], arguments[4], call.work);
      break;
    case XencommOp::kUnregister:
      progress = RegionRegistry::Unregister(call.core, call.domain, handle, call.work);
      break;
  }
  return progress.stopped ? call.Continue() : progress.answer;
}

}  // namespace xencomm::hypervisor
