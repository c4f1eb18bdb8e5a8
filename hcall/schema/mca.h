// mca (48): machine checks, reported and injected. Source: xen/arch-x86/xen-mca.h.
//
// One structure of fixed size, struct xen_mc: a command, the interface version, and a union with a
// member for each op.
#ifndef HCALL_SCHEMA_MCA_H_
#define HCALL_SCHEMA_MCA_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kMca = {
    .number = __HYPERVISOR_mca,
    .name = "mca",
    .about = "Reports and injects machine checks.",
    .arguments = {"u_xen_mc"},
    .registers = {In("u_xen_mc", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "u_xen_mc",
    .type = "xen_mc",
    .rows = {In("cmd"), In("interface_version").Note("any other: -EACCES")},
    .version_field = "interface_version",
    .version = "XEN_MCA_INTERFACE_VERSION",
    .prefix = "XEN_MC_",
    .others = {"XEN_MC_NONURGENT", "XEN_MC_URGENT", "XEN_MC_ACK", "XEN_MC_OK", "XEN_MC_FETCHFAILED",
               "XEN_MC_NODATA", "XEN_MC_NOMATCH", "XEN_MC_CANNOTHANDLE", "XEN_MC_NOTDELIVERED",
               "XEN_MC_VCPUID_INVALID", "XEN_MC_INJECT_"},
};

inline constexpr OpSpec kMcaOps[] = {
    {
        .number = XEN_MC_fetch,
        .name = "fetch",
        .argument = "u.mc_fetch",
        .about =
            "Fetches the oldest report of a machine check, or acknowledges one that was fetched.",
        .rows = {InOut("flags").Note("in: XEN_MC_URGENT or NONURGENT, XEN_MC_ACK; out: XEN_MC_OK "
                                     "or what was wrong"),
                 Ignored("_pad0"),
                 InOut("fetch_id")
                     .Note("out: of the report, or 0; in, to acknowledge: as it was told")},
        .cases =
            {
                {WhenFlag("flags", XEN_MC_ACK), {Ignored("data")}},
                {UnlessFlag("flags", XEN_MC_ACK),
                 {Out("data", One())
                      .Note("mi_data holds structures of different kinds, each with "
                            "its type and size in front")}},
            },
    },
    {
        .number = XEN_MC_notifydomain,
        .name = "notifydomain",
        .argument = "u.mc_notifydomain",
        .about = "Notified a domain of a machine check; no longer implemented.",
        .rows = {In("mc_domid"), In("mc_vcpuid"), InOut("flags")},
    },
    {
        .number = XEN_MC_physcpuinfo,
        .name = "physcpuinfo",
        .argument = "u.mc_physcpuinfo",
        .about = "Describes the machine's processors.",
        .rows = {InOut("ncpus").Note("in: room; out: described, or of a question how many are on"),
                 Ignored("_pad0"),
                 Out("info", Elements("ncpus")).Filled("ncpus").OrNull("asks for `ncpus`")},
    },
    {
        .number = XEN_MC_msrinject,
        .name = "msrinject",
        .argument = "u.mc_msrinject",
        .about = "Writes MSRs of a processor, to try machine checks out.",
        .rows = {In("mcinj_cpunr").Note("processor"), In("mcinj_flags").Flags("MC_MSRINJ_F_"),
                 In("mcinj_count").Note("MSRs, at most 8"),
                 In("mcinj_domid").Note("whose addresses, with MC_MSRINJ_F_GPADDR"),
                 Ignored("_pad0"), In("mcinj_msr").Note("index and value of each")},
    },
    {
        .number = XEN_MC_mceinject,
        .name = "mceinject",
        .argument = "u.mc_mceinject",
        .about = "Raises a machine check on a processor.",
        .rows = {In("mceinj_cpunr").Note("processor")},
    },
    {
        .number = XEN_MC_inject_v2,
        .name = "inject_v2",
        .argument = "u.mc_inject_v2",
        .about = "Raises a machine check on some processors.",
        .rows = {In("flags").Note("XEN_MC_INJECT_*")},
        .cases =
            {
                {WhenFlag("flags", XEN_MC_INJECT_CPU_BROADCAST), {Ignored("cpumap")}},
                {UnlessFlag("flags", XEN_MC_INJECT_CPU_BROADCAST), {In("cpumap")}},
            },
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_MCA_H_
