// What the hypervisor says on its console when it starts, line by line as Xen does, so that who
// reads the ring (xl dmesg) finds what is looked for there.
#ifndef HCALL_HYPERVISOR_BOOT_MESSAGES_H_
#define HCALL_HYPERVISOR_BOOT_MESSAGES_H_

#include "hcall/hypervisor/domain/core.h"

namespace xencomm::hypervisor {

void PrintBootMessages(Core& core);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BOOT_MESSAGES_H_
