// physdev_op (33): the machine's devices. There are none but its interrupt controllers.

#include "hcall/hypervisor/calls/call.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::hypervisor {
namespace {

constexpr OpTable<Call, PHYSDEVOP_pci_device_reset + 1> kOps = {
    {PHYSDEVOP_pci_device_reset, nullptr, -kENODEV},
};

}  // namespace

OpAnswer AskPhysdevOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t PhysdevOp(Call& call) {
  const auto op = static_cast<std::uint32_t>(call.frame.arguments[0]);
  return call.Knows(__HYPERVISOR_physdev_op, op) ? kOps.Run(op, call) : -kENOSYS;
}

}  // namespace xencomm::hypervisor
