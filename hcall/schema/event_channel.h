// event_channel_op (32): notifications between domains, and from the machine. Source:
// xen/event_channel.h.
//
// Two registers: a command and a pointer to a structure that depends on it. The older hypercall 16
// has the command in the structure.
#ifndef HCALL_SCHEMA_EVENT_CHANNEL_H_
#define HCALL_SCHEMA_EVENT_CHANNEL_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kEventChannelOp = {
    .number = __HYPERVISOR_event_channel_op,
    .name = "event_channel_op",
    .about = "Binds, sends and closes event channels.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "EVTCHNOP_",
};

inline constexpr OpSpec kEventChannelOps[] = {
    {
        .number = EVTCHNOP_bind_interdomain,
        .name = "bind_interdomain",
        .argument = "evtchn_bind_interdomain",
        .about = "Connects to a port that another domain offers.",
        .rows = {In("remote_dom").Note("who offers it"), In("remote_port").Note("its port"),
                 Out("local_port").Note("the new one, of the caller")},
    },
    {
        .number = EVTCHNOP_bind_virq,
        .name = "bind_virq",
        .argument = "evtchn_bind_virq",
        .about = "Binds a port to a virtual interrupt.",
        .rows = {In("virq").Enum("VIRQ_").Except("VIRQ_MCA"), In("vcpu").Note("that is notified"),
                 Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_bind_pirq,
        .name = "bind_pirq",
        .argument = "evtchn_bind_pirq",
        .about = "Binds a port to a machine interrupt.",
        .rows = {In("pirq").Note("as map_pirq of physdev_op told"),
                 In("flags").Flags("BIND_PIRQ__"), Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_close,
        .name = "close",
        .argument = "evtchn_close",
        .about = "Closes a port.",
        .rows = {In("port")},
    },
    {
        .number = EVTCHNOP_send,
        .name = "send",
        .argument = "evtchn_send",
        .about = "Notifies the other end.",
        .rows = {In("port")},
    },
    {
        .number = EVTCHNOP_status,
        .name = "status",
        .argument = "evtchn_status",
        .about = "Tells what a port is bound to.",
        .rows = {In("dom").Note("DOMID_SELF: the caller"), In("port"),
                 Out("status").Enum("EVTCHNSTAT_"), Out("vcpu").Note("that is notified")},
        .cases =
            {
                {When("status", EVTCHNSTAT_unbound),
                 {Out("u.unbound.dom").OnlyAfter().Note("who may connect")}},
                {When("status", EVTCHNSTAT_interdomain),
                 {Out("u.interdomain.dom").OnlyAfter().Note("the other end"),
                  Out("u.interdomain.port").OnlyAfter().Note("the other end")}},
                {When("status", EVTCHNSTAT_pirq),
                 {Out("u.pirq").OnlyAfter().Note("machine interrupt, as the domain calls it")}},
                {When("status", EVTCHNSTAT_virq),
                 {Out("u.virq").Enum("VIRQ_").Except("VIRQ_MCA").OnlyAfter()}},
            },
    },
    {
        .number = EVTCHNOP_alloc_unbound,
        .name = "alloc_unbound",
        .argument = "evtchn_alloc_unbound",
        .about = "Offers a port to another domain.",
        .rows = {In("dom").Note("whose port; DOMID_SELF: the caller"),
                 In("remote_dom").Note("who may connect"), Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_bind_ipi,
        .name = "bind_ipi",
        .argument = "evtchn_bind_ipi",
        .about = "Binds a port to interrupts between vcpus.",
        .rows = {In("vcpu").Note("that is notified"), Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_bind_vcpu,
        .name = "bind_vcpu",
        .argument = "evtchn_bind_vcpu",
        .about = "Chooses the vcpu that a port notifies.",
        .rows = {In("port"), In("vcpu")},
    },
    {
        .number = EVTCHNOP_unmask,
        .name = "unmask",
        .argument = "evtchn_unmask",
        .about = "Unmasks a port, and notifies when an event is pending.",
        .rows = {In("port")},
    },
    {
        .number = EVTCHNOP_reset,
        .name = "reset",
        .argument = "evtchn_reset",
        .about = "Closes all ports of a domain.",
        .rows = {In("dom").Note("DOMID_SELF: the caller")},
    },
    {
        .number = EVTCHNOP_init_control,
        .name = "init_control",
        .argument = "evtchn_init_control",
        .about = "Shares a vcpu's control block of the FIFO form of events.",
        .rows = {In("control_gfn").Note("guest frame"),
                 In("offset").Note("bytes in the page, a multiple of 8"), In("vcpu"),
                 Out("link_bits").Note("bits of an event word that hold a port"), Ignored("_pad")},
    },
    {
        .number = EVTCHNOP_expand_array,
        .name = "expand_array",
        .argument = "evtchn_expand_array",
        .about = "Shares one more page of events, in the FIFO form.",
        .rows = {In("array_gfn").Note("guest frame")},
    },
    {
        .number = EVTCHNOP_set_priority,
        .name = "set_priority",
        .argument = "evtchn_set_priority",
        .about = "Sets a port's priority, in the FIFO form.",
        .rows = {In("port"), In("priority").Note("0: first; 15: last; 7 unless it is set")},
    },
};

inline constexpr HypercallSpec kEventChannelOpCompat = {
    .number = __HYPERVISOR_event_channel_op_compat,
    .name = "event_channel_op_compat",
    .about = "The form of event_channel_op before 0x00030202.",
    .arguments = {"uop"},
    .registers = {In("uop", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "uop",
    .type = "evtchn_op",
    .rows = {In("cmd")},
};

inline constexpr OpSpec kEventChannelCompatOps[] = {
    {
        .number = EVTCHNOP_bind_interdomain,
        .name = "bind_interdomain",
        .argument = "u.bind_interdomain",
        .about = "Connects to a port that another domain offers.",
        .rows = {In("remote_dom").Note("who offers it"), In("remote_port").Note("its port"),
                 Out("local_port").Note("the new one, of the caller")},
    },
    {
        .number = EVTCHNOP_bind_virq,
        .name = "bind_virq",
        .argument = "u.bind_virq",
        .about = "Binds a port to a virtual interrupt.",
        .rows = {In("virq").Enum("VIRQ_").Except("VIRQ_MCA"), In("vcpu").Note("that is notified"),
                 Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_bind_pirq,
        .name = "bind_pirq",
        .argument = "u.bind_pirq",
        .about = "Binds a port to a machine interrupt.",
        .rows = {In("pirq").Note("as map_pirq of physdev_op told"),
                 In("flags").Flags("BIND_PIRQ__"), Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_close,
        .name = "close",
        .argument = "u.close",
        .about = "Closes a port.",
        .rows = {In("port")},
    },
    {
        .number = EVTCHNOP_send,
        .name = "send",
        .argument = "u.send",
        .about = "Notifies the other end.",
        .rows = {In("port")},
    },
    {
        .number = EVTCHNOP_status,
        .name = "status",
        .argument = "u.status",
        .about = "Tells what a port is bound to.",
        .rows = {In("dom").Note("DOMID_SELF: the caller"), In("port"),
                 Out("status").Enum("EVTCHNSTAT_"), Out("vcpu").Note("that is notified")},
        .cases =
            {
                {When("status", EVTCHNSTAT_unbound),
                 {Out("u.unbound.dom").OnlyAfter().Note("who may connect")}},
                {When("status", EVTCHNSTAT_interdomain),
                 {Out("u.interdomain.dom").OnlyAfter().Note("the other end"),
                  Out("u.interdomain.port").OnlyAfter().Note("the other end")}},
                {When("status", EVTCHNSTAT_pirq),
                 {Out("u.pirq").OnlyAfter().Note("machine interrupt, as the domain calls it")}},
                {When("status", EVTCHNSTAT_virq),
                 {Out("u.virq").Enum("VIRQ_").Except("VIRQ_MCA").OnlyAfter()}},
            },
    },
    {
        .number = EVTCHNOP_alloc_unbound,
        .name = "alloc_unbound",
        .argument = "u.alloc_unbound",
        .about = "Offers a port to another domain.",
        .rows = {In("dom").Note("whose port; DOMID_SELF: the caller"),
                 In("remote_dom").Note("who may connect"), Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_bind_ipi,
        .name = "bind_ipi",
        .argument = "u.bind_ipi",
        .about = "Binds a port to interrupts between vcpus.",
        .rows = {In("vcpu").Note("that is notified"), Out("port").Note("the new one")},
    },
    {
        .number = EVTCHNOP_bind_vcpu,
        .name = "bind_vcpu",
        .argument = "u.bind_vcpu",
        .about = "Chooses the vcpu that a port notifies.",
        .rows = {In("port"), In("vcpu")},
    },
    {
        .number = EVTCHNOP_unmask,
        .name = "unmask",
        .argument = "u.unmask",
        .about = "Unmasks a port, and notifies when an event is pending.",
        .rows = {In("port")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_EVENT_CHANNEL_H_
