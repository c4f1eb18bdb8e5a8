// xsm_op (27): the security policy, when it is FLASK. Source: xen/xsm/flask_op.h.
//
// One structure of fixed size, struct xen_flask_op: a command, the interface version, and a union
// with a member for each kind of op.
#ifndef HCALL_SCHEMA_FLASK_H_
#define HCALL_SCHEMA_FLASK_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kXsmOp = {
    .number = __HYPERVISOR_xsm_op,
    .name = "xsm_op",
    .about = "Loads, asks and changes the security policy.",
    .arguments = {"op"},
    .registers = {In("op", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "op",
    .type = "xen_flask_op",
    .rows = {In("cmd"), In("interface_version")},
    .version_field = "interface_version",
    .version = "XEN_FLASK_INTERFACE_VERSION",
    .prefix = "FLASK_",
    .scope = "xen_flask_op",
};

inline constexpr OpSpec kFlaskOps[] = {
    {
        .number = FLASK_LOAD,
        .name = "load",
        .argument = "u.load",
        .about = "Loads a policy.",
        .rows = {In("buffer", Elements("size")), In("size").Note("bytes")},
    },
    {
        .number = FLASK_GETENFORCE,
        .name = "getenforce",
        .argument = nullptr,
        .about = "Tells whether the policy is enforced.",
        .returns = "1 or 0",
    },
    {
        .number = FLASK_SETENFORCE,
        .name = "setenforce",
        .argument = "u.enforce",
        .about = "Enforces the policy, or only logs.",
        .rows = {In("enforcing")},
    },
    {
        .number = FLASK_CONTEXT_TO_SID,
        .name = "context_to_sid",
        .argument = "u.sid_context",
        .about = "Turns a context's text into its number.",
        .rows = {Out("sid"), In("size"), In("context", Elements("size"))},
    },
    {
        .number = FLASK_SID_TO_CONTEXT,
        .name = "sid_to_context",
        .argument = "u.sid_context",
        .about = "Turns a context's number into its text.",
        .rows = {In("sid"), InOut("size").Note("out: what it takes"),
                 Out("context", Elements("size")).Filled("size")},
    },
    {
        .number = FLASK_ACCESS,
        .name = "access",
        .argument = "u.access",
        .about = "Asks what a subject may do to an object.",
        .rows = {In("ssid"), In("tsid"), In("tclass"), In("req"), Out("allowed"),
                 Out("audit_allow"), Out("audit_deny"), Out("seqno")},
    },
    {
        .number = FLASK_CREATE,
        .name = "create",
        .argument = "u.transition",
        .about = "Asks for the label of a new object.",
        .rows = {In("ssid"), In("tsid"), In("tclass"), Out("newsid")},
    },
    {
        .number = FLASK_RELABEL,
        .name = "relabel",
        .argument = "u.transition",
        .about = "Asks for the label of an object that is relabelled.",
        .rows = {In("ssid"), In("tsid"), In("tclass"), Out("newsid")},
    },
    {
        .number = FLASK_USER,
        .name = "user",
        .argument = nullptr,
        .about = "Listed a user's labels; no longer implemented.",
    },
    {
        .number = FLASK_POLICYVERS,
        .name = "policyvers",
        .argument = nullptr,
        .about = "Tells the newest version of policies that can be loaded.",
        .returns = "a version",
    },
    {
        .number = FLASK_GETBOOL,
        .name = "getbool",
        .argument = "u.boolean",
        .about = "Reads a switch of the policy.",
        .rows = {InOut("bool_id").Note("~0: by name; out: its number"), Out("enforcing"),
                 Out("pending"), Ignored("new_value"), Ignored("commit"),
                 InOut("size").Note("of the name; out: its length, or 0 when it was given")},
        .cases =
            {
                {When("bool_id", 0xffffffff), {In("name", Elements("size"))}},
                {Unless("bool_id", 0xffffffff), {Out("name", Elements("size")).Filled("size")}},
            },
    },
    {
        .number = FLASK_SETBOOL,
        .name = "setbool",
        .argument = "u.boolean",
        .about = "Turns a switch of the policy.",
        .rows = {InOut("bool_id").Note("~0: by name; out: its number"), Out("enforcing"),
                 Out("pending"), In("new_value"), In("commit"),
                 InOut("size").Note("of the name; out: 0 when it was given")},
        .cases =
            {
                {When("bool_id", 0xffffffff), {In("name", Elements("size"))}},
                {Unless("bool_id", 0xffffffff), {Ignored("name")}},
            },
    },
    {
        .number = FLASK_COMMITBOOLS,
        .name = "commitbools",
        .argument = nullptr,
        .about = "Makes switches that were turned take effect.",
    },
    {
        .number = FLASK_MLS,
        .name = "mls",
        .argument = nullptr,
        .about = "Tells whether the policy has several levels.",
        .returns = "1 or 0",
    },
    {
        .number = FLASK_DISABLE,
        .name = "disable",
        .argument = nullptr,
        .about = "Switched FLASK off; no longer implemented.",
    },
    {
        .number = FLASK_GETAVC_THRESHOLD,
        .name = "getavc_threshold",
        .argument = nullptr,
        .about = "Tells how many decisions are cached.",
        .returns = "entries",
    },
    {
        .number = FLASK_SETAVC_THRESHOLD,
        .name = "setavc_threshold",
        .argument = "u.setavc_threshold",
        .about = "Sets how many decisions are cached.",
        .rows = {In("threshold").Note("entries")},
    },
    {
        .number = FLASK_AVC_HASHSTATS,
        .name = "avc_hashstats",
        .argument = "u.hash_stats",
        .about = "Tells how full the cache of decisions is.",
        .rows = {Out("entries"), Out("buckets_used"), Out("buckets_total"), Out("max_chain_len")},
    },
    {
        .number = FLASK_AVC_CACHESTATS,
        .name = "avc_cachestats",
        .argument = "u.cache_stats",
        .about = "Tells how well the cache of decisions does on a processor.",
        .rows = {In("cpu"), Out("lookups"), Out("hits"), Out("misses"), Out("allocations"),
                 Out("reclaims"), Out("frees")},
    },
    {
        .number = FLASK_MEMBER,
        .name = "member",
        .argument = "u.transition",
        .about = "Asks for the label of a member of an object.",
        .rows = {In("ssid"), In("tsid"), In("tclass"), Out("newsid")},
    },
    {
        .number = FLASK_ADD_OCONTEXT,
        .name = "add_ocontext",
        .argument = "u.ocontext",
        .about = "Labels interrupts, ports, memory or devices.",
        .rows = {In("ocon").Note("of what"), In("sid"), In("low"), In("high")},
    },
    {
        .number = FLASK_DEL_OCONTEXT,
        .name = "del_ocontext",
        .argument = "u.ocontext",
        .about = "Takes back add_ocontext.",
        .rows = {In("ocon").Note("of what"), Ignored("sid"), In("low"), In("high")},
    },
    {
        .number = FLASK_GET_PEER_SID,
        .name = "get_peer_sid",
        .argument = "u.peersid",
        .about = "Tells the label of the other end of an event channel.",
        .rows = {In("evtchn"), Out("sid")},
    },
    {
        .number = FLASK_RELABEL_DOMAIN,
        .name = "relabel_domain",
        .argument = "u.relabel",
        .about = "Relabels a domain.",
        .rows = {In("domid"), In("sid")},
    },
    {
        .number = FLASK_DEVICETREE_LABEL,
        .name = "devicetree_label",
        .argument = "u.devicetree_label",
        .about = "Labels a node of the device tree.",
        .rows = {In("sid"), In("length").Note("of the path"), In("path", Elements("length"))},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_FLASK_H_
