// sysctl (35): what a toolstack does to the machine. Source: xen/sysctl.h.
//
// One structure of fixed size, struct xen_sysctl: a command, the interface version, and a union
// with a member for each op.
#ifndef HCALL_SCHEMA_SYSCTL_H_
#define HCALL_SCHEMA_SYSCTL_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kSysctl = {
    .number = __HYPERVISOR_sysctl,
    .name = "sysctl",
    .about = "Describes and controls the machine and the hypervisor.",
    .arguments = {"u_sysctl"},
    .registers = {In("u_sysctl", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "u_sysctl",
    .type = "xen_sysctl",
    .rows = {In("cmd").Enum("XEN_SYSCTL_"), In("interface_version")},
    .version_field = "interface_version",
    .versions = {XEN_SYSCTL_INTERFACE_VERSION},
    .prefix = "XEN_SYSCTL_",
    .others = {"XEN_SYSCTL_INTERFACE_VERSION"},
    .scope = "xen_sysctl",
};

inline constexpr OpSpec kSysctlOps[] = {
    {
        .number = XEN_SYSCTL_readconsole,
        .name = "readconsole",
        .argument = "u.readconsole",
        .about = "Reads the hypervisor's messages.",
        .rows = {In("clear").Note("not 0: forget what was read"),
                 In("incremental").Note("not 0: begin at `index`, else at the oldest"),
                 Ignored("pad0"), Ignored("pad1"),
                 InOut("index").Note("out: where the next read begins"),
                 Out("buffer", Elements("count")).Filled("count"), InOut("count").Note("bytes")},
    },
    {
        .number = XEN_SYSCTL_physinfo,
        .name = "physinfo",
        .argument = "u.physinfo",
        .about = "Describes the machine: processors, nodes, memory, what it can do.",
        .rows = {Out("threads_per_core"), Out("cores_per_socket"), Out("nr_cpus"),
                 Out("max_cpu_id"), Out("nr_nodes"), Out("max_node_id"), Out("cpu_khz"),
                 Out("capabilities").Flags("XEN_SYSCTL_PHYSCAP_"), Out("arch_capabilities"),
                 Out("pad").Note("0"), Out("total_pages"), Out("free_pages"), Out("scrub_pages"),
                 Out("outstanding_pages"), Out("max_mfn"), Out("hw_cap").Note("words of CPUID")},
    },
    {
        .number = XEN_SYSCTL_sched_id,
        .name = "sched_id",
        .argument = "u.sched_id",
        .about = "Tells the default scheduler.",
        .rows = {Out("sched_id").Enum("XEN_SCHEDULER_")},
    },
    {
        .number = XEN_SYSCTL_getdomaininfolist,
        .name = "getdomaininfolist",
        .argument = "u.getdomaininfolist",
        .about = "Describes domains, from an id on.",
        .rows = {In("first_domain"), In("max_domains"),
                 Out("buffer", Elements("max_domains")).Filled("num_domains"), Out("num_domains")},
    },
    {
        .number = XEN_SYSCTL_getcpuinfo,
        .name = "getcpuinfo",
        .argument = "u.getcpuinfo",
        .about = "Tells for each processor how long it was idle.",
        .rows = {In("max_cpus"), Out("info", Elements("max_cpus")).Filled("nr_cpus"),
                 Out("nr_cpus")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_SYSCTL_H_
