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
    .rows = {In("cmd"), In("interface_version").Note("any other: -ENOSYS")},
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
        .rows =
            {In("buffer", Elements("size").AtMost(64u << 20)).Note("as checkpolicy(8) compiles it"),
             In("size").Note("bytes")},
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
        .rows = {In("enforcing").Note("0 or 1")},
    },
    {
        .number = FLASK_CONTEXT_TO_SID,
        .name = "context_to_sid",
        .argument = "u.sid_context",
        .about = "Turns a context's text into its number (sid).",
        .rows = {Out("sid").Note("number"),
                 In("size").Note(
                     "bytes, a zero at the end is not needed; at most 4096, or -ENOBUFS"),
                 In("context", Elements("size"))},
    },
    {
        .number = FLASK_SID_TO_CONTEXT,
        .name = "sid_to_context",
        .argument = "u.sid_context",
        .about = "Turns a context's number (sid) into its text. -ERANGE with too little room, and "
                 "nothing tells how much it takes.",
        .rows = {In("sid").Note("number"),
                 InOut("size").Note("bytes; out: with the zero at the end"),
                 Out("context", Elements("size")).Filled("size")},
    },
    {
        .number = FLASK_ACCESS,
        .name = "access",
        .argument = "u.access",
        .about = "Asks what a subject may do to an object.",
        .rows = {In("ssid").Note("of the subject"), In("tsid").Note("of the object"),
                 In("tclass").Note("class of the object"),
                 In("req").Note("permissions that are wanted"),
                 Out("allowed").Note("permissions, a bit each"),
                 Out("audit_allow").Note("those that are logged when allowed"),
                 Out("audit_deny").Note("those that are logged when denied"),
                 Out("seqno").Note("of the policy")},
    },
    {
        .number = FLASK_CREATE,
        .name = "create",
        .argument = "u.transition",
        .about = "Asks for the label of a new object.",
        .rows = {In("ssid").Note("of the subject"), In("tsid").Note("of the object"),
                 In("tclass").Note("class of the object"), Out("newsid").Note("the answer")},
    },
    {
        .number = FLASK_RELABEL,
        .name = "relabel",
        .argument = "u.transition",
        .about = "Asks for the label of an object that is relabelled.",
        .rows = {In("ssid").Note("of the subject"), In("tsid").Note("of the object"),
                 In("tclass").Note("class of the object"), Out("newsid").Note("the answer")},
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
        .rows = {InOut("bool_id").Note("~0: by name; out: its number"),
                 Out("enforcing").Note("its value"),
                 Out("pending").Note("its value after commitbools"), Ignored("new_value"),
                 Ignored("commit"),
                 InOut("size").Note(
                     "bytes of the name, at most 4096, or -ENOBUFS; out: its length, or 0 when it "
                     "was given; in 0: the name is not wanted")},
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
        .rows = {InOut("bool_id").Note("~0: by name; out: its number"),
                 Out("enforcing").Note("its value"),
                 Out("pending").Note("its value after commitbools"), In("new_value").Note("0 or 1"),
                 In("commit").Note("1: takes effect at once"),
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
        .rows = {Out("entries").Note("decisions"), Out("buckets_used").Note("of the hash table"),
                 Out("buckets_total").Note("of the hash table"),
                 Out("max_chain_len").Note("in one bucket")},
    },
    {
        .number = FLASK_AVC_CACHESTATS,
        .name = "avc_cachestats",
        .argument = "u.cache_stats",
        .about = "Tells how well the cache of decisions does on a processor.",
        .rows = {In("cpu").Note("processor"), Out("lookups").Note("since the machine booted"),
                 Out("hits"), Out("misses"), Out("allocations"), Out("reclaims"), Out("frees")},
    },
    {
        .number = FLASK_MEMBER,
        .name = "member",
        .argument = "u.transition",
        .about = "Asks for the label of a member of an object.",
        .rows = {In("ssid").Note("of the subject"), In("tsid").Note("of the object"),
                 In("tclass").Note("class of the object"), Out("newsid").Note("the answer")},
    },
    {
        .number = FLASK_ADD_OCONTEXT,
        .name = "add_ocontext",
        .argument = "u.ocontext",
        .about = "Labels interrupts, ports, memory or devices.",
        .rows = {In("ocon").Note("1: pirq, 2: I/O port, 3: machine frame, 4: PCI device"),
                 In("sid").Note("label"), In("low").Note("the first number"),
                 In("high").Note("the last number")},
    },
    {
        .number = FLASK_DEL_OCONTEXT,
        .name = "del_ocontext",
        .argument = "u.ocontext",
        .about = "Takes back add_ocontext.",
        .rows = {In("ocon").Note("1: pirq, 2: I/O port, 3: machine frame, 4: PCI device"),
                 Ignored("sid"), In("low").Note("the first number"),
                 In("high").Note("the last number")},
    },
    {
        .number = FLASK_GET_PEER_SID,
        .name = "get_peer_sid",
        .argument = "u.peersid",
        .about = "Tells the label of the other end of an event channel.",
        .rows = {In("evtchn").Note("port of the caller"), Out("sid").Note("label")},
    },
    {
        .number = FLASK_RELABEL_DOMAIN,
        .name = "relabel_domain",
        .argument = "u.relabel",
        .about = "Relabels a domain.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), In("sid").Note("label")},
    },
    {
        .number = FLASK_DEVICETREE_LABEL,
        .name = "devicetree_label",
        .argument = "u.devicetree_label",
        .about = "Labels a node of the device tree.",
        .rows = {In("sid").Note("label"),
                 In("length").Note("bytes of the path, at most 4096, or -ENOBUFS"),
                 In("path", Elements("length"))},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_FLASK_H_
