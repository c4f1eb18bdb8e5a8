// vcpu_op (24): a domain's own vcpus. Source: xen/vcpu.h.
//
// Three registers: a command, a vcpu, and a pointer to a structure that depends on the command. Two
// of the structures hold a pointer that outlives the call: the hypervisor writes there whenever it
// has something new.
#ifndef HCALL_SCHEMA_VCPU_H_
#define HCALL_SCHEMA_VCPU_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kVcpuOp = {
    .number = __HYPERVISOR_vcpu_op,
    .name = "vcpu_op",
    .about = "Starts, stops and times a domain's own vcpus.",
    .arguments = {"cmd", "vcpuid", "extra_args"},
    .registers = {In("cmd").LowBits(32), In("vcpuid").LowBits(32), In("extra_args", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "extra_args",
    .prefix = "VCPUOP_",
};

inline constexpr OpSpec kVcpuOps[] = {
    {
        .number = VCPUOP_initialise,
        .name = "initialise",
        .argument = nullptr,
        .about = "Sets a vcpu's registers before it runs for the first time.",
        .outer = {In("extra_args", One())
                      .Of("vcpu_guest_context")
                      .Note("of a PV domain; an HVM one gives vcpu_hvm_context, which is shorter")},
    },
    {
        .number = VCPUOP_up,
        .name = "up",
        .argument = nullptr,
        .about = "Lets a vcpu run.",
    },
    {
        .number = VCPUOP_down,
        .name = "down",
        .argument = nullptr,
        .about = "Keeps a vcpu from running.",
    },
    {
        .number = VCPUOP_is_up,
        .name = "is_up",
        .argument = nullptr,
        .about = "Tells whether a vcpu may run.",
        .returns = "1 or 0",
    },
    {
        .number = VCPUOP_get_runstate_info,
        .name = "get_runstate_info",
        .argument = "vcpu_runstate_info",
        .about = "Tells what a vcpu is doing, and for how long it did what.",
        .rows = {Out("state").Enum("RUNSTATE_"), Out("state_entry_time").Note("nanoseconds"),
                 Out("time").Note("nanoseconds in each RUNSTATE_*")},
    },
    {
        .number = VCPUOP_register_runstate_memory_area,
        .name = "register_runstate_memory_area",
        .argument = "vcpu_register_runstate_memory_area",
        .about = "Has what get_runstate_info tells written at each change.",
        .rows = {Out("addr.h", One()).UntilReplaced().OrNull("no longer"),
                 Overlay("addr.v", "addr.h"), Overlay("addr.p", "addr.h")},
    },
    {
        .number = VCPUOP_set_periodic_timer,
        .name = "set_periodic_timer",
        .argument = "vcpu_set_periodic_timer",
        .about = "Starts a vcpu's periodic timer.",
        .rows = {In("period_ns").Note("nanoseconds, 1000000 or more")},
    },
    {
        .number = VCPUOP_stop_periodic_timer,
        .name = "stop_periodic_timer",
        .argument = nullptr,
        .about = "Stops a vcpu's periodic timer.",
    },
    {
        .number = VCPUOP_set_singleshot_timer,
        .name = "set_singleshot_timer",
        .argument = "vcpu_set_singleshot_timer",
        .about = "Starts a vcpu's timer, for once.",
        .rows = {In("timeout_abs_ns").Note("system time"), In("flags").Flags("VCPU_SSHOTTMR_")},
    },
    {
        .number = VCPUOP_stop_singleshot_timer,
        .name = "stop_singleshot_timer",
        .argument = nullptr,
        .about = "Stops a vcpu's timer.",
    },
    {
        .number = VCPUOP_register_vcpu_info,
        .name = "register_vcpu_info",
        .argument = "vcpu_register_vcpu_info",
        .about = "Moves a vcpu's vcpu_info to a place of the domain's choice, once.",
        .rows = {In("mfn").Note("guest frame"), In("offset").Note("in the page"), Ignored("rsvd")},
    },
    {
        .number = VCPUOP_send_nmi,
        .name = "send_nmi",
        .argument = nullptr,
        .about = "Sends a vcpu an NMI.",
    },
    {
        .number = VCPUOP_get_physid,
        .name = "get_physid",
        .argument = "vcpu_get_physid",
        .about = "Tells the processor that a pinned vcpu runs on.",
        .rows = {Out("phys_id").Note("APIC id in the lower half, ACPI id in the upper")},
    },
    {
        .number = VCPUOP_register_vcpu_time_memory_area,
        .name = "register_vcpu_time_memory_area",
        .argument = "vcpu_register_time_memory_area",
        .about = "Has a vcpu's time parameters written to a second place at each change.",
        .rows = {Out("addr.h", One()).UntilReplaced().OrNull("no longer"),
                 Overlay("addr.v", "addr.h"), Overlay("addr.p", "addr.h")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_VCPU_H_
