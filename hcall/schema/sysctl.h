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
    .rows = {In("cmd"), In("interface_version")},
    .version_field = "interface_version",
    .version = "XEN_SYSCTL_INTERFACE_VERSION",
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
                 Out("capabilities").Flags("XEN_SYSCTL_PHYSCAP_"),
                 Out("arch_capabilities").Only(Since(0x15)), Out("pad").Note("0").Only(Since(0x15)),
                 Out("total_pages"), Out("free_pages"), Out("scrub_pages"),
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
    {
        .number = XEN_SYSCTL_debug_keys,
        .name = "debug_keys",
        .argument = "u.debug_keys",
        .about = "Presses debug keys on the hypervisor's console.",
        .rows = {In("keys", Elements("nr_keys")), In("nr_keys")},
    },

    // The machine.
    {
        .number = XEN_SYSCTL_availheap,
        .name = "availheap",
        .argument = "u.availheap",
        .about = "Tells how much memory is free, of a node and a width of address.",
        .rows = {In("min_bitwidth").Note("bits; 0: any"), In("max_bitwidth").Note("bits; 0: any"),
                 In("node").Note("-1: all"), Out("avail_bytes")},
    },
    {
        .number = XEN_SYSCTL_cputopoinfo,
        .name = "cputopoinfo",
        .argument = "u.cputopoinfo",
        .about = "Tells each processor's core, socket and node.",
        .rows =
            {InOut("num_cpus"),
             Out("cputopo", Elements("num_cpus")).Filled("num_cpus").OrNull("asks for `num_cpus`")},
    },
    {
        .number = XEN_SYSCTL_numainfo,
        .name = "numainfo",
        .argument = "u.numainfo",
        .about = "Tells each node's memory, and the distances between nodes.",
        .rows = {InOut("num_nodes"),
                 Out("meminfo", Elements("num_nodes"))
                     .Filled("num_nodes")
                     .OrNull("not wanted; with both null: asks for `num_nodes`"),
                 Out("distance", Elements("num_nodes", "num_nodes"))
                     .Filled(Elements("num_nodes", "num_nodes"))
                     .OrNull("not wanted; with both null: asks for `num_nodes`")
                     .Note("row by row, as long as `num_nodes` says after the call")},
    },
    {
        .number = XEN_SYSCTL_pcitopoinfo,
        .name = "pcitopoinfo",
        .argument = "u.pcitopoinfo",
        .about = "Tells the nodes of PCI devices.",
        .rows = {InOut("num_devs").Note("out: how many were done; call again for the rest"),
                 In("devs", Elements("num_devs")),
                 Out("nodes", Elements("num_devs")).Filled("num_devs")},
    },
    {
        .number = XEN_SYSCTL_cpu_hotplug,
        .name = "cpu_hotplug",
        .argument = "u.cpu_hotplug",
        .about = "Switches a processor, or all second threads, on or off.",
        .rows = {In("cpu").Note("not looked at by the SMT ops"),
                 In("op").Enum("XEN_SYSCTL_CPU_HOTPLUG_")},
    },
    {
        .number = XEN_SYSCTL_page_offline_op,
        .name = "page_offline_op",
        .argument = "u.page_offline",
        .about = "Takes pages of memory out of use, or back, or asks about them.",
        .rows = {In("cmd").Enum("sysctl_"), In("start").Note("frame"),
                 In("end").Note("the last frame"),
                 Out("status", Range("start", "end"))
                     .Note("PG_OFFLINE_*; the owner in the upper half")},
    },
    {
        .number = XEN_SYSCTL_get_pmstat,
        .name = "get_pmstat",
        .argument = "u.get_pmstat",
        .about = "Reads or resets the statistics of a processor's performance and idle states.",
        .rows = {In("type").Enum("PMSTAT_"), In("cpuid")},
        .cases =
            {
                {When("type", PMSTAT_get_max_px), {Out("u.getpx.total")}},
                {When("type", PMSTAT_get_pxstat),
                 {InOut("u.getpx.total").Note("in: as get_max_px told"), Out("u.getpx.usable"),
                  Out("u.getpx.last"), Out("u.getpx.cur"),
                  Out("u.getpx.trans_pt", Elements("u.getpx.total", "u.getpx.total"))
                      .Filled(Elements("u.getpx.total", "u.getpx.total"))
                      .Note("transitions from each state to each, row by row"),
                  Out("u.getpx.pt", Elements("u.getpx.total")).Filled("u.getpx.total")}},
                {When("type", PMSTAT_get_max_cx), {Out("u.getcx.nr")}},
                {When("type", PMSTAT_get_cxstat),
                 {InOut("u.getcx.nr").Note("in: as get_max_cx told"), Out("u.getcx.last"),
                  Out("u.getcx.idle_time").Note("nanoseconds"),
                  Out("u.getcx.triggers", Elements("u.getcx.nr")).Filled("u.getcx.nr"),
                  Out("u.getcx.residencies", Elements("u.getcx.nr")).Filled("u.getcx.nr"),
                  InOut("u.getcx.nr_pc").Note("out: the highest that there is"),
                  InOut("u.getcx.nr_cc").Note("out: the highest that there is"),
                  Out("u.getcx.pc", Elements("u.getcx.nr_pc"))
                      .Note("nanoseconds; a state without a counter is left as it is"),
                  Out("u.getcx.cc", Elements("u.getcx.nr_cc"))
                      .Note("nanoseconds; a state without a counter is left as it is")}},
                {When("type", PMSTAT_reset_pxstat, PMSTAT_reset_cxstat), {}},
            },
    },
    {
        .number = XEN_SYSCTL_pm_op,
        .name = "pm_op",
        .argument = "u.pm_op",
        .about = "Sets or reads how processors save power.",
        .rows = {In("cmd"), In("cpuid").Note("of max_cstate: 0 states, 1 sub-states")},
        .cases =
            {
                {When("cmd", GET_CPUFREQ_PARA),
                 {InOut("u.get_para.cpu_num")
                      .Note("a number that does not match is corrected, and "
                            "the call answers -EAGAIN"),
                  InOut("u.get_para.freq_num"), InOut("u.get_para.gov_num"),
                  Out("u.get_para.affected_cpus", Elements("u.get_para.cpu_num"))
                      .Filled("u.get_para.cpu_num"),
                  Out("u.get_para.scaling_available_frequencies", Elements("u.get_para.freq_num"))
                      .Filled("u.get_para.freq_num")
                      .Note("kHz"),
                  Out("u.get_para.scaling_available_governors",
                      Multiple(CPUFREQ_NAME_LEN, "u.get_para.gov_num"))
                      .Filled(Multiple(CPUFREQ_NAME_LEN, "u.get_para.gov_num"))
                      .Note("names, one after the other"),
                  Out("u.get_para.scaling_driver"), Out("u.get_para.cpuinfo_cur_freq"),
                  Out("u.get_para.cpuinfo_max_freq"), Out("u.get_para.cpuinfo_min_freq"),
                  Out("u.get_para.scaling_cur_freq"), Out("u.get_para.scaling_governor"),
                  Out("u.get_para.scaling_max_freq"), Out("u.get_para.scaling_min_freq"),
                  Out("u.get_para.u.ondemand").Note("when that is the governor"),
                  Overlay("u.get_para.u.userspace", "u.get_para.u.ondemand"),
                  Out("u.get_para.turbo_enabled")}},
                {When("cmd", SET_CPUFREQ_GOV), {In("u.set_gov.scaling_governor")}},
                {When("cmd", SET_CPUFREQ_PARA),
                 {In("u.set_para.ctrl_type"), In("u.set_para.ctrl_value")}},
                {When("cmd", GET_CPUFREQ_AVGFREQ), {Out("u.get_avgfreq").Note("kHz")}},
                {When("cmd", XEN_SYSCTL_pm_op_set_sched_opt_smt),
                 {InOut("u.set_sched_opt_smt").Note("out: what it was")}},
                {When("cmd", XEN_SYSCTL_pm_op_get_max_cstate), {Out("u.get_max_cstate")}},
                {When("cmd", XEN_SYSCTL_pm_op_set_max_cstate), {In("u.set_max_cstate")}},
                {When("cmd", XEN_SYSCTL_pm_op_enable_turbo, XEN_SYSCTL_pm_op_disable_turbo,
                      XEN_SYSCTL_pm_op_set_vcpu_migration_delay,
                      XEN_SYSCTL_pm_op_get_vcpu_migration_delay),
                 {}},
            },
    },
    {
        .number = XEN_SYSCTL_psr_cmt_op,
        .name = "psr_cmt_op",
        .argument = "u.psr_cmt_op",
        .about = "Tells what the processors' cache monitoring can do.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_PSR_CMT_"), Zero("flags"), Out("u.data").OnlyAfter()},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_PSR_CMT_get_total_rmid,
                      XEN_SYSCTL_PSR_CMT_get_l3_upscaling_factor, XEN_SYSCTL_PSR_CMT_enabled,
                      XEN_SYSCTL_PSR_CMT_get_l3_event_mask),
                 {}},
                {When("cmd", XEN_SYSCTL_PSR_CMT_get_l3_cache_size),
                 {In("u.l3_cache.cpu").OnlyBefore(), Ignored("u.l3_cache.rsvd").OnlyBefore()}},
            },
    },
    {
        .number = XEN_SYSCTL_psr_alloc,
        .name = "psr_alloc",
        .argument = "u.psr_alloc",
        .about = "Tells how caches and memory bandwidth can be allocated.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_PSR_get_"), In("target").Note("socket")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_PSR_get_l3_info, XEN_SYSCTL_PSR_get_l2_info),
                 {Out("u.cat_info.cbm_len"), Out("u.cat_info.cos_max"),
                  Out("u.cat_info.flags").Flags("XEN_SYSCTL_PSR_CAT_")}},
                {When("cmd", XEN_SYSCTL_PSR_get_mba_info),
                 {Out("u.mba_info.thrtl_max"), Out("u.mba_info.cos_max"),
                  Out("u.mba_info.flags").Flags("XEN_SYSCTL_PSR_MBA_")}},
            },
    },
    {
        .number = XEN_SYSCTL_get_cpu_levelling_caps,
        .name = "get_cpu_levelling_caps",
        .argument = "u.cpu_levelling_caps",
        .about = "Tells which words of CPUID can be masked.",
        .rows = {Out("caps").Flags("XEN_SYSCTL_CPU_LEVELCAP_")},
    },
    {
        .number = XEN_SYSCTL_get_cpu_featureset,
        .name = "get_cpu_featureset",
        .argument = "u.cpu_featureset",
        .about = "Tells the features of the processors, or those that domains can get.",
        .rows = {In("index").Enum("XEN_SYSCTL_cpu_featureset_"), InOut("nr_features"),
                 Out("features", Elements("nr_features"))
                     .Filled("nr_features")
                     .OrNull("asks for `nr_features`")},
    },
    {
        .number = XEN_SYSCTL_get_cpu_policy,
        .name = "get_cpu_policy",
        .argument = "u.cpu_policy",
        .about = "Tells what CPUID and the feature MSRs say, or can say to domains.",
        .rows = {In("index").Enum("XEN_SYSCTL_cpu_policy_"), InOut("nr_leaves"), InOut("nr_msrs"),
                 Zero("_rsvd"),
                 Out("leaves", Elements("nr_leaves"))
                     .Filled("nr_leaves")
                     .OrNull("asks for the largest `nr_leaves`"),
                 Out("msrs", Elements("nr_msrs"))
                     .Filled("nr_msrs")
                     .OrNull("asks for the largest `nr_msrs`")},
    },

    // Processors in pools, and their schedulers.
    {
        .number = XEN_SYSCTL_cpupool_op,
        .name = "cpupool_op",
        .argument = "u.cpupool_op",
        .about = "Creates, fills, describes and destroys pools of processors.",
        .rows = {In("op").Enum("XEN_SYSCTL_CPUPOOL_OP_")},
        .cases =
            {
                {When("op", XEN_SYSCTL_CPUPOOL_OP_CREATE),
                 {InOut("cpupool_id").Note("XEN_SYSCTL_CPUPOOL_PAR_ANY: a free one"),
                  In("sched_id").Enum("XEN_SCHEDULER_"), Ignored("domid"), Ignored("cpu"),
                  Ignored("n_dom"), Ignored("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_DESTROY),
                 {In("cpupool_id"), Ignored("sched_id"), Ignored("domid"), Ignored("cpu"),
                  Ignored("n_dom"), Ignored("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_INFO),
                 {InOut("cpupool_id").Note("out: the pool of this id, or the next one"),
                  Out("sched_id").Enum("XEN_SCHEDULER_"), Ignored("domid"), Ignored("cpu"),
                  Out("n_dom"), Out("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_ADDCPU, XEN_SYSCTL_CPUPOOL_OP_RMCPU),
                 {In("cpupool_id"), Ignored("sched_id"), Ignored("domid"),
                  In("cpu").Note("XEN_SYSCTL_CPUPOOL_PAR_ANY: one that is possible"),
                  Ignored("n_dom"), Ignored("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN),
                 {In("cpupool_id"), Ignored("sched_id"), In("domid"), Ignored("cpu"),
                  Ignored("n_dom"), Ignored("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_FREEINFO),
                 {Ignored("cpupool_id"), Ignored("sched_id"), Ignored("domid"), Ignored("cpu"),
                  Ignored("n_dom"), Out("cpumap").Note("processors in no pool")}},
            },
    },
    {
        .number = XEN_SYSCTL_scheduler_op,
        .name = "scheduler_op",
        .argument = "u.scheduler_op",
        .about = "Sets or reads the parameters of a pool's scheduler.",
        .rows = {In("cpupool_id"), In("sched_id").Enum("XEN_SCHEDULER_"),
                 In("cmd").Enum("XEN_SYSCTL_SCHEDOP_")},
        .cases =
            {
                {When("sched_id", XEN_SCHEDULER_ARINC653).And("cmd", XEN_SYSCTL_SCHEDOP_putinfo),
                 {In("u.sched_arinc653.schedule", One())}},
                {When("sched_id", XEN_SCHEDULER_ARINC653).And("cmd", XEN_SYSCTL_SCHEDOP_getinfo),
                 {Out("u.sched_arinc653.schedule", One())}},
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_SYSCTL_SCHEDOP_putinfo),
                 {InOut("u.sched_credit.tslice_ms"), InOut("u.sched_credit.ratelimit_us"),
                  InOut("u.sched_credit.vcpu_migr_delay_us")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_SYSCTL_SCHEDOP_getinfo),
                 {Out("u.sched_credit.tslice_ms"), Out("u.sched_credit.ratelimit_us"),
                  Out("u.sched_credit.vcpu_migr_delay_us")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_SYSCTL_SCHEDOP_putinfo),
                 {InOut("u.sched_credit2.ratelimit_us")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_SYSCTL_SCHEDOP_getinfo),
                 {Out("u.sched_credit2.ratelimit_us")}},
            },
    },

    // The hypervisor: tracing, counting, profiling, patching.
    {
        .number = XEN_SYSCTL_tbuf_op,
        .name = "tbuf_op",
        .argument = "u.tbuf_op",
        .about = "Controls the trace buffers.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_TBUFOP_")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_TBUFOP_get_info),
                 {Ignored("cpu_mask"), Out("evt_mask"),
                  Out("buffer_mfn").Note("of the table of buffers; 0: none"),
                  Out("size").Note("bytes of the table")}},
                {When("cmd", XEN_SYSCTL_TBUFOP_set_cpu_mask),
                 {In("cpu_mask"), Ignored("evt_mask"), Ignored("buffer_mfn"), Ignored("size")}},
                {When("cmd", XEN_SYSCTL_TBUFOP_set_evt_mask),
                 {Ignored("cpu_mask"), In("evt_mask"), Ignored("buffer_mfn"), Ignored("size")}},
                {When("cmd", XEN_SYSCTL_TBUFOP_set_size),
                 {Ignored("cpu_mask"), Ignored("evt_mask"), Ignored("buffer_mfn"),
                  In("size").Note("pages for each processor")}},
                {When("cmd", XEN_SYSCTL_TBUFOP_enable, XEN_SYSCTL_TBUFOP_disable),
                 {Ignored("cpu_mask"), Ignored("evt_mask"), Ignored("buffer_mfn"),
                  Ignored("size")}},
            },
    },
    {
        .number = XEN_SYSCTL_perfc_op,
        .name = "perfc_op",
        .argument = "u.perfc_op",
        .about = "Reads the hypervisor's performance counters, and may reset them.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_PERFCOP_"),
                 InOut("nr_counters")
                     .Note("the hypervisor only writes it: it trusts that `desc` has the room that "
                           "an earlier call asked for, which is to be said here"),
                 InOut("nr_vals").Note("as `nr_counters`, for `val`"),
                 Out("desc", Elements("nr_counters"))
                     .Filled("nr_counters")
                     .OrNull("asks for `nr_counters` and `nr_vals`"),
                 Out("val", Elements("nr_vals"))
                     .Filled("nr_vals")
                     .OrNull("with `desc` null too: asks for `nr_counters` and `nr_vals`")},
    },
    {
        .number = XEN_SYSCTL_lockprof_op,
        .name = "lockprof_op",
        .argument = "u.lockprof_op",
        .about = "Reads or resets the profile of the hypervisor's locks.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_LOCKPROF_")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_LOCKPROF_reset),
                 {Ignored("max_elem"), Ignored("nr_elem"), Ignored("time"), Ignored("data")}},
                {When("cmd", XEN_SYSCTL_LOCKPROF_query),
                 {In("max_elem"), Out("nr_elem").Note("how many there are"),
                  Out("time").Note("nanoseconds since the last reset"),
                  Out("data", Elements("max_elem"))
                      .Filled("nr_elem")
                      .OrNull("with `max_elem` 0: asks for `nr_elem`")}},
            },
    },
    {
        .number = XEN_SYSCTL_coverage_op,
        .name = "coverage_op",
        .argument = "u.coverage_op",
        .about = "Reads or resets the hypervisor's test coverage.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_COVERAGE_")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_COVERAGE_get_size),
                 {Out("size").Note("bytes"), Ignored("buffer")}},
                {When("cmd", XEN_SYSCTL_COVERAGE_read),
                 {InOut("size").Note("bytes"), Out("buffer", Elements("size")).Filled("size")}},
                {When("cmd", XEN_SYSCTL_COVERAGE_reset), {Ignored("size"), Ignored("buffer")}},
            },
    },
    {
        .number = XEN_SYSCTL_livepatch_op,
        .name = "livepatch_op",
        .argument = "u.livepatch",
        .about = "Loads, lists and applies patches of the running hypervisor.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_LIVEPATCH_"), Zero("pad")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_LIVEPATCH_UPLOAD),
                 {In("u.upload.name"), In("u.upload.size").Note("bytes"),
                  In("u.upload.payload", Elements("u.upload.size")).Note("an ELF file")}},
                {When("cmd", XEN_SYSCTL_LIVEPATCH_GET),
                 {In("u.get.name"), Out("u.get.status.state").Enum("LIVEPATCH_STATE_"),
                  Out("u.get.status.rc").Note("0, or a negative errno")}},
                {When("cmd", XEN_SYSCTL_LIVEPATCH_LIST),
                 {Out("u.list.version").Note("changes when patches come or go"),
                  In("u.list.idx").Note("the first one wanted"),
                  InOut("u.list.nr").Note("0: asks for sizes; out: how many are left"),
                  Zero("u.list.pad"),
                  InOut("u.list.name_total_size")
                      .Note("bytes; the hypervisor only writes it: it trusts that `name` has the "
                            "room, which is to be said here"),
                  InOut("u.list.metadata_total_size").Note("as `name_total_size`, for `metadata`"),
                  Out("u.list.status", Elements("u.list.nr")).Filled(Returned()),
                  Out("u.list.name", Elements("u.list.name_total_size"))
                      .Filled("u.list.name_total_size")
                      .Note("strings, one after the other"),
                  Out("u.list.len", Elements("u.list.nr")).Filled(Returned()),
                  Out("u.list.metadata", Elements("u.list.metadata_total_size"))
                      .Filled("u.list.metadata_total_size")
                      .Note("strings, one after the other"),
                  Out("u.list.metadata_len", Elements("u.list.nr")).Filled(Returned())}},
                {When("cmd", XEN_SYSCTL_LIVEPATCH_ACTION),
                 {In("u.action.name"),
                  In("u.action.cmd").Enum("LIVEPATCH_ACTION_").Except("LIVEPATCH_ACTION_APPLY_"),
                  In("u.action.timeout").Note("nanoseconds; 0: the hypervisor's default"),
                  In("u.action.flags").Flags("LIVEPATCH_ACTION_APPLY_"), Zero("u.action.pad")}},
            },
        .returns = "of list: how many were described",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_SYSCTL_H_
