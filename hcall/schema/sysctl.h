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
    .rows = {In("cmd"), In("interface_version").Note("any other: -EACCES")},
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
        .about = "Reads the hypervisor's messages, which it keeps in a ring: old ones are lost.",
        .rows = {In("clear").Note("not 0: forget what was read"),
                 In("incremental")
                     .Note("not 0: begin at `index`, when that is in the ring; else at the oldest"),
                 Ignored("pad0"), Ignored("pad1"),
                 InOut("index").Note(
                     "in, when incremental: where to begin; out: where the next read begins"),
                 Out("buffer", Elements("count")).Filled("count"), InOut("count").Note("bytes")},
    },
    {
        .number = XEN_SYSCTL_physinfo,
        .name = "physinfo",
        .argument = "u.physinfo",
        .about = "Describes the machine: processors, nodes, memory, what it can do.",
        .rows = {Out("threads_per_core").Note("of processor 0, of those that are on"),
                 Out("cores_per_socket").Note("of processor 0, of those that are on"),
                 Out("nr_cpus").Note("processors that are on"),
                 Out("max_cpu_id").Note("the highest possible"),
                 Out("nr_nodes").Note("nodes that are there"),
                 Out("max_node_id").Note("the highest possible"),
                 Out("cpu_khz").Note("kHz of the time stamp counter"),
                 Out("capabilities").Flags("XEN_SYSCTL_PHYSCAP_"),
                 Out("arch_capabilities").Only(Since(0x15)).Note("0 on x86"),
                 Out("pad").Note("0").Only(Since(0x15)), Out("total_pages").Note("of 4096 bytes"),
                 Out("free_pages").Note("claimed ones included"), Out("scrub_pages").Note("0"),
                 Out("outstanding_pages").Note("claimed, and not allocated yet"),
                 Out("max_mfn").Note("highest machine frame"),
                 Out("hw_cap").Note("the first words of the processor's features")},
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
        .about = "Describes the domains from an id on, ascending; those that the caller may not "
                 "see are left out.",
        .rows = {In("first_domain").Note("the lowest id wanted"),
                 In("max_domains").Note("room; to go on, ask from the last id + 1"),
                 Out("buffer", Elements("max_domains")).Filled("num_domains"),
                 Out("num_domains").Note("described")},
    },
    {
        .number = XEN_SYSCTL_getcpuinfo,
        .name = "getcpuinfo",
        .argument = "u.getcpuinfo",
        .about = "Tells for each processor, from 0 on, how long it was idle.",
        .rows = {In("max_cpus").Note("room"),
                 Out("info", Elements("max_cpus")).Filled("nr_cpus").Note("nanoseconds"),
                 Out("nr_cpus").Note("0 to the highest possible, at most `max_cpus`")},
    },
    {
        .number = XEN_SYSCTL_debug_keys,
        .name = "debug_keys",
        .argument = "u.debug_keys",
        .about = "Presses debug keys on the hypervisor's console, one after the other: 'h' lists "
                 "them there.",
        .rows = {In("keys", Elements("nr_keys")), In("nr_keys")},
    },

    // The machine.
    {
        .number = XEN_SYSCTL_availheap,
        .name = "availheap",
        .argument = "u.availheap",
        .about = "Tells how much memory is free, of a node and a range of address widths.",
        .rows = {In("min_bitwidth").Note("bits; 0: any"), In("max_bitwidth").Note("bits; 0: any"),
                 In("node").Note("-1: all"), Out("avail_bytes").Note("whole pages")},
    },
    {
        .number = XEN_SYSCTL_cputopoinfo,
        .name = "cputopoinfo",
        .argument = "u.cputopoinfo",
        .about = "Tells each processor's core, socket and node; of one that is not there, "
                 "XEN_INVALID_*_ID.",
        .rows =
            {InOut("num_cpus")
                 .Note("in: room; out: described, or of a question the highest processor + 1"),
             Out("cputopo", Elements("num_cpus")).Filled("num_cpus").OrNull("asks for `num_cpus`")},
    },
    {
        .number = XEN_SYSCTL_numainfo,
        .name = "numainfo",
        .argument = "u.numainfo",
        .about = "Tells each node's memory in bytes, and the distances between nodes; of a node "
                 "that is not there, XEN_INVALID_*.",
        .rows = {InOut("num_nodes")
                     .Note("in: room; out: described, or of a question the highest node + 1"),
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
        .about = "Tells the nodes of PCI devices. Neither pointer may be null.",
        .rows = {InOut("num_devs").Note("out: how many were done; call again for the rest"),
                 In("devs", Elements("num_devs")),
                 Out("nodes", Elements("num_devs"))
                     .Filled("num_devs")
                     .Note("XEN_INVALID_DEV: no such device; XEN_INVALID_NODE_ID: no node")},
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
        .about = "Takes pages of memory out of use, or back, or asks about them. It stops at the "
                 "first error; all of `status` is written.",
        .rows = {In("cmd").Enum("sysctl_"), In("start").Note("machine frame"),
                 In("end").Note("the last machine frame; below `start`: -EINVAL"),
                 Out("status", Range("start", "end"))
                     .Note("PG_OFFLINE_*; the owner in the upper half")},
    },
    {
        .number = XEN_SYSCTL_get_pmstat,
        .name = "get_pmstat",
        .argument = "u.get_pmstat",
        .about = "Reads or resets the statistics of a processor's performance states (Px) and idle "
                 "states (Cx).",
        .rows = {In("type").Enum("PMSTAT_get_ PMSTAT_reset_"), In("cpuid")},
        .cases =
            {
                {When("type", PMSTAT_get_max_px), {Out("u.getpx.total").Note("states")}},
                {When("type", PMSTAT_get_pxstat),
                 {InOut("u.getpx.total")
                      .Note("the hypervisor only writes it: it trusts that there is the room that "
                            "get_max_px told of, which is to be said here"),
                  Out("u.getpx.usable").Note("states that the platform allows"),
                  Out("u.getpx.last").Note("state before this one"),
                  Out("u.getpx.cur").Note("state at this moment"),
                  Out("u.getpx.trans_pt", Elements("u.getpx.total", "u.getpx.total"))
                      .Filled(Elements("u.getpx.total", "u.getpx.total"))
                      .Note("transitions from each state to each, row by row"),
                  Out("u.getpx.pt", Elements("u.getpx.total"))
                      .Filled("u.getpx.total")
                      .Note("MHz, nanoseconds in the state, times that it was entered")}},
                {When("type", PMSTAT_get_max_cx), {Out("u.getcx.nr").Note("states")}},
                {When("type", PMSTAT_get_cxstat),
                 {InOut("u.getcx.nr").Note("in: room; out: how many there are, 0: no statistics"),
                  Out("u.getcx.last").Note("state that it was in last"),
                  Out("u.getcx.idle_time").Note("nanoseconds"),
                  Out("u.getcx.triggers", Elements("u.getcx.nr"))
                      .Filled("u.getcx.nr")
                      .Note("times that each was entered"),
                  Out("u.getcx.residencies", Elements("u.getcx.nr"))
                      .Filled("u.getcx.nr")
                      .Note("nanoseconds in each"),
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
        .about = "Sets or reads how processors save power: the frequency (cpufreq), its governor, "
                 "the deepest idle state.",
        .rows = {In("cmd").Enum("GET_CPUFREQ_ SET_CPUFREQ_ XEN_SYSCTL_pm_op_"),
                 In("cpuid").Note("processor; of max_cstate 0 for states, 1 for sub-states; of "
                                  "set_sched_opt_smt 0")},
        .cases =
            {
                {When("cmd", GET_CPUFREQ_PARA),
                 {InOut("u.get_para.cpu_num")
                      .Note("has to be right, as the next two: else all are corrected, and the "
                            "answer is -EAGAIN"),
                  InOut("u.get_para.freq_num").Note("frequencies"),
                  InOut("u.get_para.gov_num").Note("governors"),
                  Out("u.get_para.affected_cpus", Elements("u.get_para.cpu_num"))
                      .Filled("u.get_para.cpu_num")
                      .Note("processors whose frequency changes together"),
                  Out("u.get_para.scaling_available_frequencies", Elements("u.get_para.freq_num"))
                      .Filled("u.get_para.freq_num")
                      .Note("kHz"),
                  Out("u.get_para.scaling_available_governors",
                      Multiple(CPUFREQ_NAME_LEN, "u.get_para.gov_num"))
                      .Filled(Multiple(CPUFREQ_NAME_LEN, "u.get_para.gov_num"))
                      .Note("one text, with spaces between"),
                  Out("u.get_para.scaling_driver").Note("name"),
                  Out("u.get_para.cpuinfo_cur_freq").Note("kHz"),
                  Out("u.get_para.cpuinfo_max_freq").Note("kHz"),
                  Out("u.get_para.cpuinfo_min_freq").Note("kHz"),
                  Out("u.get_para.scaling_cur_freq").Note("kHz"),
                  Out("u.get_para.scaling_governor").Note("name"),
                  Out("u.get_para.scaling_max_freq").Note("kHz"),
                  Out("u.get_para.scaling_min_freq").Note("kHz"),
                  Out("u.get_para.u.ondemand")
                      .Note("when that is the governor: microseconds, and percent; of userspace "
                            "the first word, in kHz"),
                  Overlay("u.get_para.u.userspace", "u.get_para.u.ondemand"),
                  Out("u.get_para.turbo_enabled").Note("1: faster than nominal when possible")}},
                {When("cmd", SET_CPUFREQ_GOV), {In("u.set_gov.scaling_governor").Note("name")}},
                {When("cmd", SET_CPUFREQ_PARA),
                 {In("u.set_para.ctrl_type").Enum("SCALING_ SAMPLING_RATE UP_THRESHOLD"),
                  In("u.set_para.ctrl_value")
                      .Note("kHz; of SAMPLING_RATE microseconds, of UP_THRESHOLD percent")}},
                {When("cmd", GET_CPUFREQ_AVGFREQ),
                 {Out("u.get_avgfreq").Note("kHz, since the last call")}},
                {When("cmd", XEN_SYSCTL_pm_op_set_sched_opt_smt),
                 {InOut("u.set_sched_opt_smt")
                      .Note("fill cores before waking others; out: what it was")}},
                {When("cmd", XEN_SYSCTL_pm_op_get_max_cstate),
                 {Out("u.get_max_cstate").Note("XEN_SYSCTL_CX_UNLIMITED: any")}},
                {When("cmd", XEN_SYSCTL_pm_op_set_max_cstate),
                 {In("u.set_max_cstate").Note("XEN_SYSCTL_CX_UNLIMITED: any")}},
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
        .about = "Tells what the processors' cache monitoring can do. -ENODEV without it.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_PSR_CMT_"), Zero("flags"),
                 Out("u.data").OnlyAfter().Note(
                     "what `cmd` asks for; of the cache size KiB, of enabled 1 or 0")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_PSR_CMT_get_total_rmid,
                      XEN_SYSCTL_PSR_CMT_get_l3_upscaling_factor, XEN_SYSCTL_PSR_CMT_enabled,
                      XEN_SYSCTL_PSR_CMT_get_l3_event_mask),
                 {}},
                {When("cmd", XEN_SYSCTL_PSR_CMT_get_l3_cache_size),
                 {In("u.l3_cache.cpu").OnlyBefore().Note("one that is on"),
                  Ignored("u.l3_cache.rsvd").OnlyBefore()}},
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
                 {Out("u.cat_info.cbm_len").Note("bits of a mask of cache ways"),
                  Out("u.cat_info.cos_max").Note("highest class of service"),
                  Out("u.cat_info.flags").Flags("XEN_SYSCTL_PSR_CAT_")}},
                {When("cmd", XEN_SYSCTL_PSR_get_mba_info),
                 {Out("u.mba_info.thrtl_max").Note("the most throttling"),
                  Out("u.mba_info.cos_max").Note("highest class of service"),
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
        .about = "Tells the features of the processors, or those that domains can get, as words of "
                 "bits. -ENOBUFS, with what fits, when there are more.",
        .rows = {In("index").Enum("XEN_SYSCTL_cpu_featureset_"),
                 InOut("nr_features").Note("32-bit words"),
                 Out("features", Elements("nr_features"))
                     .Filled("nr_features")
                     .OrNull("asks for `nr_features`")},
    },
    {
        .number = XEN_SYSCTL_get_cpu_policy,
        .name = "get_cpu_policy",
        .argument = "u.cpu_policy",
        .about = "Tells what CPUID and the feature MSRs say, or can say to domains. -ENOBUFS with "
                 "too little room; -EOPNOTSUPP of a kind of domain that cannot run.",
        .rows = {In("index").Enum("XEN_SYSCTL_cpu_policy_"), InOut("nr_leaves").Note("elements"),
                 InOut("nr_msrs").Note("elements"), Zero("_rsvd"),
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
        .about =
            "Creates, fills, describes and destroys pools of processors. -ENOENT: no such pool.",
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
                  Out("n_dom").Note("domains in it"), Out("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_ADDCPU, XEN_SYSCTL_CPUPOOL_OP_RMCPU),
                 {In("cpupool_id"), Ignored("sched_id"), Ignored("domid"),
                  In("cpu").Note("with all that share its scheduling unit; "
                                 "XEN_SYSCTL_CPUPOOL_PAR_ANY: one that is possible"),
                  Ignored("n_dom"), Ignored("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN),
                 {In("cpupool_id"), Ignored("sched_id"), In("domid").Note("not DOMID_SELF"),
                  Ignored("cpu"), Ignored("n_dom"), Ignored("cpumap")}},
                {When("op", XEN_SYSCTL_CPUPOOL_OP_FREEINFO),
                 {Ignored("cpupool_id"), Ignored("sched_id"), Ignored("domid"), Ignored("cpu"),
                  Ignored("n_dom"), Out("cpumap").Note("processors in no pool")}},
            },
    },
    {
        .number = XEN_SYSCTL_scheduler_op,
        .name = "scheduler_op",
        .argument = "u.scheduler_op",
        .about = "Sets or reads the parameters of a pool's scheduler. putinfo sets all, and tells "
                 "what they have become.",
        .rows = {In("cpupool_id").Note("pool"), In("sched_id").Enum("XEN_SCHEDULER_"),
                 In("cmd").Enum("XEN_SYSCTL_SCHEDOP_")},
        .cases =
            {
                {When("sched_id", XEN_SCHEDULER_ARINC653).And("cmd", XEN_SYSCTL_SCHEDOP_putinfo),
                 {In("u.sched_arinc653.schedule", One())
                      .Note("a major frame and its entries, in nanoseconds")}},
                {When("sched_id", XEN_SCHEDULER_ARINC653).And("cmd", XEN_SYSCTL_SCHEDOP_getinfo),
                 {Out("u.sched_arinc653.schedule", One())
                      .Note("a major frame and its entries, in nanoseconds")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_SYSCTL_SCHEDOP_putinfo),
                 {InOut("u.sched_credit.tslice_ms").Note("milliseconds, 1 to 1000"),
                  InOut("u.sched_credit.ratelimit_us").Note("microseconds, 100 to 500000; 0: none"),
                  InOut("u.sched_credit.vcpu_migr_delay_us").Note("microseconds, at most 100000")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_SYSCTL_SCHEDOP_getinfo),
                 {Out("u.sched_credit.tslice_ms").Note("milliseconds, 1 to 1000"),
                  Out("u.sched_credit.ratelimit_us").Note("microseconds, 100 to 500000; 0: none"),
                  Out("u.sched_credit.vcpu_migr_delay_us").Note("microseconds, at most 100000")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_SYSCTL_SCHEDOP_putinfo),
                 {InOut("u.sched_credit2.ratelimit_us")
                      .Note("microseconds, 100 to 500000; 0: none")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_SYSCTL_SCHEDOP_getinfo),
                 {Out("u.sched_credit2.ratelimit_us")
                      .Note("microseconds, 100 to 500000; 0: none")}},
            },
    },

    // The hypervisor: tracing, counting, profiling, patching.
    {
        .number = XEN_SYSCTL_tbuf_op,
        .name = "tbuf_op",
        .argument = "u.tbuf_op",
        .about = "Controls the trace buffers. They can be sized once, before they are enabled.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_TBUFOP_")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_TBUFOP_get_info),
                 {Ignored("cpu_mask"), Out("evt_mask").Note("TRC_* classes that are recorded"),
                  Out("buffer_mfn").Note("of the table of buffers; 0: none"),
                  Out("size").Note("bytes of the table")}},
                {When("cmd", XEN_SYSCTL_TBUFOP_set_cpu_mask),
                 {In("cpu_mask"), Ignored("evt_mask"), Ignored("buffer_mfn"), Ignored("size")}},
                {When("cmd", XEN_SYSCTL_TBUFOP_set_evt_mask),
                 {Ignored("cpu_mask"), In("evt_mask").Note("TRC_* classes that are recorded"),
                  Ignored("buffer_mfn"), Ignored("size")}},
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
        .about = "Reads the hypervisor's performance counters, and may reset them. Only in "
                 "hypervisors built with them.",
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
        .about = "Reads or resets the profile of the hypervisor's locks. Only in hypervisors built "
                 "with it.",
        .rows = {In("cmd").Enum("XEN_SYSCTL_LOCKPROF_")},
        .cases =
            {
                {When("cmd", XEN_SYSCTL_LOCKPROF_reset),
                 {Ignored("max_elem"), Ignored("nr_elem"), Ignored("time"), Ignored("data")}},
                {When("cmd", XEN_SYSCTL_LOCKPROF_query),
                 {In("max_elem").Note("room"), Out("nr_elem").Note("how many there are"),
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
        .about =
            "Reads or resets the hypervisor's test coverage. Only in hypervisors built with it.",
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
                  In("u.upload.payload", Elements("u.upload.size").AtMost(2u << 20))
                      .Note("an ELF file")}},
                {When("cmd", XEN_SYSCTL_LIVEPATCH_GET),
                 {In("u.get.name"), Out("u.get.status.state").Enum("LIVEPATCH_STATE_"),
                  Out("u.get.status.rc").Note("0, or a negative errno")}},
                {When("cmd", XEN_SYSCTL_LIVEPATCH_LIST),
                 {Out("u.list.version").Note("changes when patches come or go"),
                  In("u.list.idx").Note("the first one wanted"),
                  InOut("u.list.nr")
                      .Note("room, at most 1024, or -E2BIG; 0: asks for sizes; out: how many are "
                            "left"),
                  Zero("u.list.pad"),
                  InOut("u.list.name_total_size")
                      .Note("bytes; the hypervisor only writes it: it trusts that `name` has the "
                            "room, which is to be said here"),
                  InOut("u.list.metadata_total_size").Note("as `name_total_size`, for `metadata`"),
                  Out("u.list.status", Elements("u.list.nr")).Filled(Returned()),
                  Out("u.list.name", Elements("u.list.name_total_size"))
                      .Filled("u.list.name_total_size")
                      .Note("strings, one after the other"),
                  Out("u.list.len", Elements("u.list.nr"))
                      .Filled(Returned())
                      .Note("bytes of each name, the zero included"),
                  Out("u.list.metadata", Elements("u.list.metadata_total_size"))
                      .Filled("u.list.metadata_total_size")
                      .Note("strings, one after the other"),
                  Out("u.list.metadata_len", Elements("u.list.nr"))
                      .Filled(Returned())
                      .Note("bytes of each one's metadata")}},
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
