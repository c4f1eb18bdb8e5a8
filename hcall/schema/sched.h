// sched_op (29): a domain yields, waits and shuts down. Source: xen/sched.h.
//
// Two registers: a command and a pointer to a structure that depends on it. A PV domain that
// suspends gives the frame of its start info in the third.
#ifndef HCALL_SCHEMA_SCHED_H_
#define HCALL_SCHEMA_SCHED_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kSchedOp = {
    .number = __HYPERVISOR_sched_op,
    .name = "sched_op",
    .about = "Yields, waits and shuts down.",
    .arguments = {"cmd", "arg", "start_info_mfn"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "SCHEDOP_",
};

inline constexpr OpSpec kSchedOps[] = {
    {
        .number = SCHEDOP_yield,
        .name = "yield",
        .argument = nullptr,
        .about = "Lets another vcpu run.",
    },
    {
        .number = SCHEDOP_block,
        .name = "block",
        .argument = nullptr,
        .about = "Waits for an event.",
    },
    {
        .number = SCHEDOP_shutdown,
        .name = "shutdown",
        .argument = "sched_shutdown",
        .about = "Shuts the calling domain down.",
        .rows = {In("reason").Enum("SHUTDOWN_").Except("SHUTDOWN_MAX")},
        .returns = "of suspend: 1 when it was cancelled, 0 in a new domain",
    },
    {
        .number = SCHEDOP_poll,
        .name = "poll",
        .argument = "sched_poll",
        .about = "Waits for an event at one of some ports.",
        .rows = {In("ports", Elements("nr_ports").AtMost(128)),
                 In("nr_ports").Note("0: waits for the time alone"),
                 In("timeout").Note("system time in nanoseconds; 0: none")},
    },
    {
        .number = SCHEDOP_remote_shutdown,
        .name = "remote_shutdown",
        .argument = "sched_remote_shutdown",
        .about = "Shuts another domain down.",
        .rows = {In("domain_id"), In("reason").Enum("SHUTDOWN_").Except("SHUTDOWN_MAX")},
    },
    {
        .number = SCHEDOP_shutdown_code,
        .name = "shutdown_code",
        .argument = "sched_shutdown",
        .about = "Says beforehand why the calling domain will have shut down.",
        .rows = {In("reason").Enum("SHUTDOWN_").Except("SHUTDOWN_MAX")},
    },
    {
        .number = SCHEDOP_watchdog,
        .name = "watchdog",
        .argument = "sched_watchdog",
        .about = "Shuts the calling domain down unless it calls again in time.",
        .rows = {In("id").Note("0: a new one"), In("timeout").Note("seconds; 0: stop it")},
        .returns = "of a new one: its id",
    },
    {
        .number = SCHEDOP_pin_override,
        .name = "pin_override",
        .argument = "sched_pin_override",
        .about = "Keeps the calling vcpu on one processor for a while.",
        .rows = {In("pcpu").Note("negative: as it was before")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_SCHED_H_
