// Hypercalls without a pointer: all that they need is in registers. They are here so that a list of
// calls with one of them in it is no unknown. Source: xen/xen.h, xen/arch-x86/xen-x86_64.h.
#ifndef HCALL_SCHEMA_REGISTERS_H_
#define HCALL_SCHEMA_REGISTERS_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kStackSwitch = {
    .number = __HYPERVISOR_stack_switch,
    .name = "stack_switch",
    .about = "Sets the kernel stack of the calling vcpu.",
    .arguments = {"ss", "esp"},
    .registers = {In("ss"), In("esp")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kStackSwitchOps[] = {
    {.number = 0,
     .name = "stack_switch",
     .argument = nullptr,
     .about = "Sets the kernel stack of the calling vcpu."},
};

inline constexpr HypercallSpec kSetCallbacks = {
    .number = __HYPERVISOR_set_callbacks,
    .name = "set_callbacks",
    .about = "Sets where a PV kernel is entered; see callback_op.",
    .arguments = {"event_address", "failsafe_address", "syscall_address"},
    .registers = {In("event_address"), In("failsafe_address"), In("syscall_address")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kSetCallbacksOps[] = {
    {.number = 0,
     .name = "set_callbacks",
     .argument = nullptr,
     .about = "Sets where a PV kernel is entered; see callback_op."},
};

inline constexpr HypercallSpec kFpuTaskswitch = {
    .number = __HYPERVISOR_fpu_taskswitch,
    .name = "fpu_taskswitch",
    .about = "Sets whether the next use of the FPU traps.",
    .arguments = {"set"},
    .registers = {In("set")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kFpuTaskswitchOps[] = {
    {.number = 0,
     .name = "fpu_taskswitch",
     .argument = nullptr,
     .about = "Sets whether the next use of the FPU traps."},
};

inline constexpr HypercallSpec kSchedOpCompat = {
    .number = __HYPERVISOR_sched_op_compat,
    .name = "sched_op_compat",
    .about = "The form of sched_op before 0x00030101, with its argument in a register.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd"), In("arg")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kSchedOpCompatOps[] = {
    {.number = 0,
     .name = "sched_op_compat",
     .argument = nullptr,
     .about = "The form of sched_op before 0x00030101, with its argument in a register."},
};

inline constexpr HypercallSpec kSetDebugreg = {
    .number = __HYPERVISOR_set_debugreg,
    .name = "set_debugreg",
    .about = "Sets a debug register.",
    .arguments = {"reg", "value"},
    .registers = {In("reg"), In("value")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kSetDebugregOps[] = {
    {.number = 0, .name = "set_debugreg", .argument = nullptr, .about = "Sets a debug register."},
};

inline constexpr HypercallSpec kGetDebugreg = {
    .number = __HYPERVISOR_get_debugreg,
    .name = "get_debugreg",
    .about = "Reads a debug register.",
    .arguments = {"reg"},
    .registers = {In("reg")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kGetDebugregOps[] = {
    {.number = 0, .name = "get_debugreg", .argument = nullptr, .about = "Reads a debug register."},
};

inline constexpr HypercallSpec kUpdateDescriptor = {
    .number = __HYPERVISOR_update_descriptor,
    .name = "update_descriptor",
    .about = "Changes an entry of a descriptor table.",
    .arguments = {"pa", "desc"},
    .registers = {In("pa"), In("desc")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kUpdateDescriptorOps[] = {
    {.number = 0,
     .name = "update_descriptor",
     .argument = nullptr,
     .about = "Changes an entry of a descriptor table."},
};

inline constexpr HypercallSpec kSetTimerOp = {
    .number = __HYPERVISOR_set_timer_op,
    .name = "set_timer_op",
    .about = "Sets when the calling vcpu is to be notified.",
    .arguments = {"timeout"},
    .registers = {In("timeout")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kSetTimerOpOps[] = {
    {.number = 0,
     .name = "set_timer_op",
     .argument = nullptr,
     .about = "Sets when the calling vcpu is to be notified."},
};

inline constexpr HypercallSpec kVmAssist = {
    .number = __HYPERVISOR_vm_assist,
    .name = "vm_assist",
    .about = "Switches an assistance to PV kernels on or off.",
    .arguments = {"cmd", "type"},
    .registers = {In("cmd"), In("type")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kVmAssistOps[] = {
    {.number = 0,
     .name = "vm_assist",
     .argument = nullptr,
     .about = "Switches an assistance to PV kernels on or off."},
};

inline constexpr HypercallSpec kIret = {
    .number = __HYPERVISOR_iret,
    .name = "iret",
    .about = "Returns from an exception; what to return to is on the kernel's stack.",
    .arguments = {},
    .registers = {},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kIretOps[] = {
    {.number = 0,
     .name = "iret",
     .argument = nullptr,
     .about = "Returns from an exception; what to return to is on the kernel's stack."},
};

inline constexpr HypercallSpec kSetSegmentBase = {
    .number = __HYPERVISOR_set_segment_base,
    .name = "set_segment_base",
    .about = "Sets the base of FS or GS.",
    .arguments = {"which", "base"},
    .registers = {In("which"), In("base")},
    .op_place = OpPlace::kNone,
};
inline constexpr OpSpec kSetSegmentBaseOps[] = {
    {.number = 0,
     .name = "set_segment_base",
     .argument = nullptr,
     .about = "Sets the base of FS or GS."},
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_REGISTERS_H_
