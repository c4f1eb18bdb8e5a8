// callback_op (30): where a PV kernel is entered. Source: xen/callback.h.
//
// Two registers: a command and a pointer to a structure that depends on it.
#ifndef HCALL_SCHEMA_CALLBACK_H_
#define HCALL_SCHEMA_CALLBACK_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kCallbackOp = {
    .number = __HYPERVISOR_callback_op,
    .name = "callback_op",
    .about = "Says where a PV kernel wants to be entered.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "CALLBACKOP_",
};

inline constexpr OpSpec kCallbackOps[] = {
    {
        .number = CALLBACKOP_register,
        .name = "register",
        .argument = "callback_register",
        .about = "Sets an entry.",
        .rows = {In("type").Enum("CALLBACKTYPE_"), In("flags").Flags("CALLBACKF_"),
                 In("address").Note("of the entry in the kernel")},
    },
    {
        .number = CALLBACKOP_unregister,
        .name = "unregister",
        .argument = "callback_unregister",
        .about = "Takes an entry back.",
        .rows = {In("type").Enum("CALLBACKTYPE_"), Ignored("_unused")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_CALLBACK_H_
