// nmi_op (28): the handler of a PV kernel's NMIs. Source: xen/nmi.h.
//
// Two registers: a command and a pointer to struct xennmi_callback.
#ifndef HCALL_SCHEMA_NMI_H_
#define HCALL_SCHEMA_NMI_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kNmiOp = {
    .number = __HYPERVISOR_nmi_op,
    .name = "nmi_op",
    .about = "Says where NMIs go.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "XENNMI_",
};

inline constexpr OpSpec kNmiOps[] = {
    {
        .number = XENNMI_register_callback,
        .name = "register_callback",
        .argument = "xennmi_callback",
        .about = "Sets the handler of the calling vcpu's NMIs.",
        .rows = {In("handler_address").Note("in the kernel"), Ignored("pad")},
    },
    {
        .number = XENNMI_unregister_callback,
        .name = "unregister_callback",
        .argument = nullptr,
        .about = "Takes back register_callback.",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_NMI_H_
