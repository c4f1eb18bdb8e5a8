// argo_op (39): messages between domains, copied by the hypervisor. Source: xen/argo.h.
//
// Five registers, of which the command says what they are: two may be pointers, the third counts
// what the second points at.
#ifndef HCALL_SCHEMA_ARGO_H_
#define HCALL_SCHEMA_ARGO_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kArgoOp = {
    .number = __HYPERVISOR_argo_op,
    .name = "argo_op",
    .about = "Sends messages from domain to domain.",
    .arguments = {"cmd", "arg1", "arg2", "arg3", "arg4"},
    .registers = {In("cmd").LowBits(32), In("arg1", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg1",
    .prefix = "XEN_ARGO_OP_",
};

inline constexpr OpSpec kArgoOps[] = {
    {
        .number = XEN_ARGO_OP_register_ring,
        .name = "register_ring",
        .argument = "xen_argo_register_ring",
        .about = "Gives the hypervisor pages to put messages into.",
        .rows = {In("aport").Note("port that messages are sent to"),
                 In("partner_id").Note("who may send; XEN_ARGO_DOMID_ANY: all"), Zero("pad"),
                 In("len").Note("bytes, a multiple of 16")},
        .outer = {In("arg2", Elements("arg3").AtMost(XEN_ARGO_MAX_RING_SIZE / 4096))
                      .Of("uint64_t")
                      .Note("guest frames"),
                  In("arg3").Note("pages"), In("arg4").Flags("XEN_ARGO_REGISTER_FLAG_")},
    },
    {
        .number = XEN_ARGO_OP_unregister_ring,
        .name = "unregister_ring",
        .argument = "xen_argo_unregister_ring",
        .about = "Takes back register_ring.",
        .rows = {In("aport").Note("as register_ring was told"),
                 In("partner_id").Note("as register_ring was told"), Zero("pad")},
        .outer = {In("arg2", Exactly(0)).Of("void").OrNull("the only value allowed"), Zero("arg3"),
                  Zero("arg4")},
    },
    {
        .number = XEN_ARGO_OP_sendv,
        .name = "sendv",
        .argument = "xen_argo_send_addr",
        .about = "Sends a message that lies in several buffers. -EAGAIN: no room in the ring; an "
                 "event tells when there is.",
        .rows = {In("src.aport").Note("port of the sender"),
                 In("src.domain_id").Note("the caller, or XEN_ARGO_DOMID_ANY"), Zero("src.pad"),
                 In("dst.aport").Note("port of the receiver"), In("dst.domain_id").Note("receiver"),
                 Zero("dst.pad")},
        .outer = {In("arg2", Elements("arg3").AtMost(XEN_ARGO_MAXIOV)).Of("xen_argo_iov"),
                  In("arg3").Note("buffers"), In("arg4").Note("type of the message")},
        .returns = "bytes sent",
    },
    {
        .number = XEN_ARGO_OP_notify,
        .name = "notify",
        .argument = "xen_argo_ring_data",
        .about = "Asks whether there is room in other domains' rings, and for a notification when "
                 "there is.",
        .rows = {In("nent").Note("entries, at most 256, or -EACCES"), Zero("pad"),
                 InOut("data", Elements("nent").AtMost(256)).Trailing()},
        .outer = {InOut("arg1", One()).OrNull("only looks after notifications that are due"),
                  In("arg2", Exactly(0)).Of("void").OrNull("the only value allowed"), Zero("arg3"),
                  Zero("arg4")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_ARGO_H_
