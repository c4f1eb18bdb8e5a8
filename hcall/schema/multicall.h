// multicall (13): many calls in one. Source: xen/xen.h, struct multicall_entry.
//
// Each entry holds the number, the registers and the result of another hypercall: what it points at
// is that hypercall's to say. The entries are taken in order, and a call that was interrupted goes
// on in its entry.
#ifndef HCALL_SCHEMA_MULTICALL_H_
#define HCALL_SCHEMA_MULTICALL_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kMulticall = {
    .number = __HYPERVISOR_multicall,
    .name = "multicall",
    .about = "Makes a list of hypercalls, one after the other.",
    .arguments = {"call_list", "nr_calls"},
    .registers = {In("call_list", Elements("nr_calls")), In("nr_calls").LowBits(32)},
    .op_place = OpPlace::kNone,
    .pointer = "call_list",
    .holds_calls = true,
};

inline constexpr OpSpec kMulticallOps[] = {
    {
        .number = 0,
        .name = "multicall",
        .argument = "multicall_entry",
        .about = "Makes a list of hypercalls, one after the other.",
        .rows = {InOut("op").Note("changes when the call in it was interrupted"),
                 Out("result").Note("as the hypercall answers"),
                 InOut("args").Note("registers; a call that goes on may change them")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_MULTICALL_H_
