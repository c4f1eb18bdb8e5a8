// All rows as they are written, by hypercall.
#ifndef HCALL_SCHEMA_HYPERCALLS_H_
#define HCALL_SCHEMA_HYPERCALLS_H_

#include "hcall/schema/argo.h"
#include "hcall/schema/callback.h"
#include "hcall/schema/console_io.h"
#include "hcall/schema/dm_op.h"
#include "hcall/schema/domctl.h"
#include "hcall/schema/event_channel.h"
#include "hcall/schema/flask.h"
#include "hcall/schema/grant_table.h"
#include "hcall/schema/hvm_op.h"
#include "hcall/schema/hypfs.h"
#include "hcall/schema/kexec.h"
#include "hcall/schema/mca.h"
#include "hcall/schema/meaning.h"
#include "hcall/schema/memory.h"
#include "hcall/schema/mmu.h"
#include "hcall/schema/multicall.h"
#include "hcall/schema/nmi.h"
#include "hcall/schema/physdev.h"
#include "hcall/schema/platform.h"
#include "hcall/schema/pmu.h"
#include "hcall/schema/records.h"
#include "hcall/schema/registers.h"
#include "hcall/schema/sched.h"
#include "hcall/schema/sysctl.h"
#include "hcall/schema/vcpu.h"
#include "hcall/schema/version.h"
#include "hcall/schema/xenoprof.h"

namespace xencomm::schema {

// The toolstack's first.
inline constexpr HypercallEntry kHypercallEntries[] = {
    {&kDomctl, kDomctlOps},
    {&kSysctl, kSysctlOps},
    {&kPlatformOp, kPlatformOps},
    {&kMemoryOp, kMemoryOps},
    {&kMulticall, kMulticallOps},
    {&kXenVersion, kXenVersionOps},
    {&kGrantTableOp, kGrantTableOps},
    {&kEventChannelOp, kEventChannelOps},
    {&kHvmOp, kHvmOps},
    {&kDmOp, kDmOps},
    {&kPhysdevOp, kPhysdevOps},
    {&kVcpuOp, kVcpuOps},
    {&kSchedOp, kSchedOps},
    {&kXsmOp, kFlaskOps},
    {&kArgoOp, kArgoOps},
    {&kHypfsOp, kHypfsOps},
    {&kKexecOp, kKexecOps},
    {&kMca, kMcaOps},
    {&kConsoleIo, kConsoleIoOps},
    {&kCallbackOp, kCallbackOps},
    {&kNmiOp, kNmiOps},
    {&kXenpmuOp, kXenpmuOps},
    {&kXenoprofOp, kXenoprofOps},
    {&kMmuUpdate, kMmuUpdateOps},
    {&kMmuextOp, kMmuextOps},
    {&kSetTrapTable, kSetTrapTableOps},
    {&kSetGdt, kSetGdtOps},
    {&kUpdateVaMapping, kUpdateVaMappingOps},
    {&kUpdateVaMappingOtherdomain, kUpdateVaMappingOtherdomainOps},
    {&kPhysdevOpCompat, kPhysdevCompatOps},
    {&kEventChannelOpCompat, kEventChannelCompatOps},
    {&kStackSwitch, kStackSwitchOps},
    {&kSetCallbacks, kSetCallbacksOps},
    {&kFpuTaskswitch, kFpuTaskswitchOps},
    {&kSchedOpCompat, kSchedOpCompatOps},
    {&kSetDebugreg, kSetDebugregOps},
    {&kGetDebugreg, kGetDebugregOps},
    {&kUpdateDescriptor, kUpdateDescriptorOps},
    {&kSetTimerOp, kSetTimerOpOps},
    {&kVmAssist, kVmAssistOps},
    {&kIret, kIretOps},
    {&kSetSegmentBase, kSetSegmentBaseOps},
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_HYPERCALLS_H_
