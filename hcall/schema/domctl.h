// domctl (36): what a toolstack does to one domain. Source: xen/domctl.h.
//
// One structure of fixed size, struct xen_domctl: a command, the interface version, the domain, and
// a union with a member for each op. An op that names no member of the union needs nothing but the
// domain. This call, sysctl and platform_op are what the historical dom0_op became.
#ifndef HCALL_SCHEMA_DOMCTL_H_
#define HCALL_SCHEMA_DOMCTL_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kDomctl = {
    .number = __HYPERVISOR_domctl,
    .name = "domctl",
    .about = "Controls one domain: builds, runs, inspects and destroys it.",
    .arguments = {"u_domctl"},
    .registers = {In("u_domctl", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "u_domctl",
    .type = "xen_domctl",
    .rows = {In("cmd"), In("interface_version"), In("domain"), Ignored("_pad")},
    .version_field = "interface_version",
    .version = "XEN_DOMCTL_INTERFACE_VERSION",
    .prefix = "XEN_DOMCTL_",
    .others = {"XEN_DOMCTL_INTERFACE_VERSION"},
    .scope = "xen_domctl",
};

inline constexpr OpSpec kDomctlOps[] = {
    // Life and death.
    {
        .number = XEN_DOMCTL_createdomain,
        .name = "createdomain",
        .argument = "u.createdomain",
        .about = "Creates a domain, without memory and vcpus yet.",
        .rows =
            {
                In("ssidref").Note("security label, for XSM"),
                In("handle").Note("UUID"),
                In("flags").Flags("XEN_DOMCTL_CDF_"),
                In("iommu_opts").Flags("XEN_DOMCTL_IOMMU_"),
                In("max_vcpus"),
                In("max_evtchn_port").Note("the highest that the domain can use"),
                In("max_grant_frames").Note("negative: the hypervisor's default"),
                In("max_maptrack_frames").Note("negative: the hypervisor's default"),
                In("grant_opts").Note("grant table version in the low four bits"),
                In("vmtrace_size").Note("bytes for each vcpu; 0: no tracing"),
                In("cpupool_id").Note("0: the first pool").Only(Since(0x15)),
                In("arch").Note("x86: what devices the hypervisor emulates"),
            },
        .outer = {InOut("domain").Note("0 or a reserved id: the hypervisor chooses one")},
    },
    {
        .number = XEN_DOMCTL_destroydomain,
        .name = "destroydomain",
        .argument = nullptr,
        .about = "Kills a domain and gives its resources back; continues until all are.",
    },
    {
        .number = XEN_DOMCTL_pausedomain,
        .name = "pausedomain",
        .argument = nullptr,
        .about = "Keeps a domain's vcpus from running; counted.",
    },
    {
        .number = XEN_DOMCTL_unpausedomain,
        .name = "unpausedomain",
        .argument = nullptr,
        .about = "Takes back one pausedomain.",
    },
    {
        .number = XEN_DOMCTL_resumedomain,
        .name = "resumedomain",
        .argument = nullptr,
        .about = "Lets a domain run on that had shut down for suspend.",
    },
    {
        .number = XEN_DOMCTL_soft_reset,
        .name = "soft_reset",
        .argument = nullptr,
        .about = "Resets what the hypervisor keeps for a domain, and leaves its memory.",
    },

    // What it is, what it may have.
    {
        .number = XEN_DOMCTL_getdomaininfo,
        .name = "getdomaininfo",
        .argument = "u.getdomaininfo",
        .about = "Describes a domain, or the first one after it when there is none of that id.",
        .rows =
            {
                Out("domain"),
                Ignored("pad1"),
                Out("flags").Flags("XEN_DOMINF_"),
                Out("tot_pages"),
                Out("max_pages"),
                Out("outstanding_pages").Note("claimed and not allocated yet"),
                Out("shr_pages"),
                Out("paged_pages"),
                Out("shared_info_frame"),
                Out("cpu_time").Note("nanoseconds"),
                Out("nr_online_vcpus"),
                Out("max_vcpu_id"),
                Out("ssidref"),
                Out("handle"),
                Out("cpupool"),
                Out("gpaddr_bits"),
                Ignored("pad2"),
                Out("arch_config"),
            },
        .outer = {InOut("domain").Note("the one that was found")},
    },
    {
        .number = XEN_DOMCTL_max_vcpus,
        .name = "max_vcpus",
        .argument = "u.max_vcpus",
        .about = "Creates a domain's vcpus.",
        .rows = {In("max").Note("as createdomain was told")},
    },
    {
        .number = XEN_DOMCTL_max_mem,
        .name = "max_mem",
        .argument = "u.max_mem",
        .about = "Limits a domain's memory.",
        .rows = {In("max_memkb").Note("KiB")},
    },
    {
        .number = XEN_DOMCTL_setdomainhandle,
        .name = "setdomainhandle",
        .argument = "u.setdomainhandle",
        .about = "Replaces a domain's UUID.",
        .rows = {In("handle")},
    },
    {
        .number = XEN_DOMCTL_setdebugging,
        .name = "setdebugging",
        .argument = "u.setdebugging",
        .about = "Says whether a debugger is attached to a domain.",
        .rows = {In("enable")},
    },
    {
        .number = XEN_DOMCTL_set_target,
        .name = "set_target",
        .argument = "u.set_target",
        .about = "Lets a stub domain act on the domain that it serves.",
        .rows = {In("target")},
    },
    {
        .number = XEN_DOMCTL_subscribe,
        .name = "subscribe",
        .argument = "u.subscribe",
        .about = "Notifies an event channel when the domain suspends.",
        .rows = {In("port")},
    },
    {
        .number = XEN_DOMCTL_set_virq_handler,
        .name = "set_virq_handler",
        .argument = "u.set_virq_handler",
        .about = "Makes the domain the receiver of a global virtual interrupt.",
        .rows = {In("virq").Enum("VIRQ_").Except("VIRQ_MCA")},
    },
    {
        .number = XEN_DOMCTL_settimeoffset,
        .name = "settimeoffset",
        .argument = "u.settimeoffset",
        .about = "Shifts a domain's wallclock.",
        .rows = {In("time_offset_seconds")},
    },
    {
        .number = XEN_DOMCTL_gettscinfo,
        .name = "gettscinfo",
        .argument = "u.tsc_info",
        .about = "Reads how a domain sees the time stamp counter, to take it along in a migration.",
        .rows = {Out("tsc_mode"), Out("gtsc_khz"), Out("incarnation"), Ignored("pad"),
                 Out("elapsed_nsec")},
    },
    {
        .number = XEN_DOMCTL_settscinfo,
        .name = "settscinfo",
        .argument = "u.tsc_info",
        .about = "Restores what gettscinfo read.",
        .rows = {In("tsc_mode"), In("gtsc_khz"), In("incarnation"), Ignored("pad"),
                 In("elapsed_nsec")},
    },
    {
        .number = XEN_DOMCTL_hypercall_init,
        .name = "hypercall_init",
        .argument = "u.hypercall_init",
        .about = "Fills a page of the domain with the stubs of the hypercalls.",
        .rows = {In("gmfn")},
    },
    {
        .number = XEN_DOMCTL_set_address_size,
        .name = "set_address_size",
        .argument = "u.address_size",
        .about = "Chooses the width of a PV domain.",
        .rows = {In("size").Note("bits: 32 or 64")},
    },
    {
        .number = XEN_DOMCTL_get_address_size,
        .name = "get_address_size",
        .argument = "u.address_size",
        .about = "Tells the width of a PV domain.",
        .rows = {Out("size").Note("bits: 32 or 64")},
    },
    {
        .number = XEN_DOMCTL_sendtrigger,
        .name = "sendtrigger",
        .argument = "u.sendtrigger",
        .about = "Sends an NMI, or presses the power or the sleep button.",
        .rows = {In("trigger").Enum("XEN_DOMCTL_SENDTRIGGER_"), In("vcpu")},
    },

    // Vcpus.
    {
        .number = XEN_DOMCTL_getvcpuinfo,
        .name = "getvcpuinfo",
        .argument = "u.getvcpuinfo",
        .about = "Tells what a vcpu is doing.",
        .rows = {In("vcpu"), Out("online"), Out("blocked"), Out("running"),
                 Out("cpu_time").Note("nanoseconds"), Out("cpu").Note("where it runs or ran last")},
    },
    {
        .number = XEN_DOMCTL_setvcpucontext,
        .name = "setvcpucontext",
        .argument = "u.vcpucontext",
        .about = "Sets a vcpu's registers.",
        .rows = {In("vcpu"), In("ctxt", One()).OrNull("resets the vcpu")},
    },
    {
        .number = XEN_DOMCTL_getvcpucontext,
        .name = "getvcpucontext",
        .argument = "u.vcpucontext",
        .about = "Reads a vcpu's registers.",
        .rows = {In("vcpu"), Out("ctxt", One())},
    },
    {
        .number = XEN_DOMCTL_set_ext_vcpucontext,
        .name = "set_ext_vcpucontext",
        .argument = "u.ext_vcpucontext",
        .about = "Restores a vcpu's callbacks for system calls and its machine check state.",
        .rows = {In("vcpu"), In("size").Note("bytes of this structure that hold something"),
                 In("syscall32_callback_eip"), In("sysenter_callback_eip"),
                 In("syscall32_callback_cs"), In("sysenter_callback_cs"),
                 In("syscall32_disables_events"), In("sysenter_disables_events"), In("vmce"),
                 Overlay("mcg_cap", "vmce")},
    },
    {
        .number = XEN_DOMCTL_get_ext_vcpucontext,
        .name = "get_ext_vcpucontext",
        .argument = "u.ext_vcpucontext",
        .about = "Reads a vcpu's callbacks for system calls and its machine check state.",
        .rows = {In("vcpu"), Out("size").Note("bytes of this structure that hold something"),
                 Out("syscall32_callback_eip"), Out("sysenter_callback_eip"),
                 Out("syscall32_callback_cs"), Out("sysenter_callback_cs"),
                 Out("syscall32_disables_events"), Out("sysenter_disables_events"), Out("vmce"),
                 Overlay("mcg_cap", "vmce")},
    },
    {
        .number = XEN_DOMCTL_setvcpuextstate,
        .name = "setvcpuextstate",
        .argument = "u.vcpuextstate",
        .about = "Restores a vcpu's extended state (XSAVE).",
        .rows = {In("vcpu"), Ignored("xfeature_mask"), In("size").Note("bytes"),
                 In("buffer", Elements("size"))
                     .Of("void")
                     .Note("xcr0 and xcr0_accum, 8 bytes each, then an XSAVE area")},
    },
    {
        .number = XEN_DOMCTL_getvcpuextstate,
        .name = "getvcpuextstate",
        .argument = "u.vcpuextstate",
        .about = "Reads a vcpu's extended state (XSAVE).",
        .rows = {In("vcpu"), InOut("xfeature_mask"), InOut("size").Note("bytes"),
                 Out("buffer", Elements("size"))
                     .Filled("size")
                     .Of("void")
                     .OrNull("asks for `size` and `xfeature_mask`")
                     .Note("xcr0 and xcr0_accum, 8 bytes each, then an XSAVE area")},
    },
    {
        .number = XEN_DOMCTL_get_vcpu_msrs,
        .name = "get_vcpu_msrs",
        .argument = "u.vcpu_msrs",
        .about = "Reads the model-specific registers of a vcpu that have a value other than 0.",
        .rows = {In("vcpu"), InOut("msr_count"),
                 Out("msrs", Elements("msr_count"))
                     .Filled("msr_count")
                     .OrNull("asks for the largest `msr_count`")},
    },
    {
        .number = XEN_DOMCTL_set_vcpu_msrs,
        .name = "set_vcpu_msrs",
        .argument = "u.vcpu_msrs",
        .about = "Restores what get_vcpu_msrs read.",
        .rows = {In("vcpu"), InOut("msr_count").Note("after an error: the index it is about"),
                 In("msrs", Elements("msr_count"))},
    },

    // Where it runs, and how much.
    {
        .number = XEN_DOMCTL_setvcpuaffinity,
        .name = "setvcpuaffinity",
        .argument = "u.vcpuaffinity",
        .about = "Says where a vcpu must and where it should run; answers what that comes to.",
        .rows = {In("vcpu"), In("flags").Flags("XEN_VCPUAFFINITY_")},
        .cases =
            {
                {WhenFlag("flags", XEN_VCPUAFFINITY_HARD), {InOut("cpumap_hard")}},
                {WhenFlag("flags", XEN_VCPUAFFINITY_SOFT), {InOut("cpumap_soft")}},
            },
    },
    {
        .number = XEN_DOMCTL_getvcpuaffinity,
        .name = "getvcpuaffinity",
        .argument = "u.vcpuaffinity",
        .about = "Tells where a vcpu must and where it should run.",
        .rows = {In("vcpu"), In("flags").Flags("XEN_VCPUAFFINITY_")},
        .cases =
            {
                {WhenFlag("flags", XEN_VCPUAFFINITY_HARD), {Out("cpumap_hard")}},
                {WhenFlag("flags", XEN_VCPUAFFINITY_SOFT), {Out("cpumap_soft")}},
            },
    },
    {
        .number = XEN_DOMCTL_setnodeaffinity,
        .name = "setnodeaffinity",
        .argument = "u.nodeaffinity",
        .about = "Says on which NUMA nodes a domain's memory should lie.",
        .rows = {In("nodemap")},
    },
    {
        .number = XEN_DOMCTL_getnodeaffinity,
        .name = "getnodeaffinity",
        .argument = "u.nodeaffinity",
        .about = "Tells on which NUMA nodes a domain's memory should lie.",
        .rows = {Out("nodemap")},
    },
    {
        .number = XEN_DOMCTL_scheduler_op,
        .name = "scheduler_op",
        .argument = "u.scheduler_op",
        .about = "Sets or reads a domain's share of the processors.",
        .rows = {In("sched_id").Enum("XEN_SCHEDULER_").Note("the scheduler of the domain's pool"),
                 In("cmd").Enum("XEN_DOMCTL_SCHEDOP_")},
        .cases =
            {
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_DOMCTL_SCHEDOP_putinfo),
                 {In("u.credit.weight").Note("share of the processors, relative to other domains'"),
                  In("u.credit.cap").Note("percent of one processor; 0: no limit")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_DOMCTL_SCHEDOP_getinfo),
                 {Out("u.credit.weight")
                      .Note("share of the processors, relative to other domains'"),
                  Out("u.credit.cap").Note("percent of one processor; 0: no limit")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_DOMCTL_SCHEDOP_putinfo),
                 {In("u.credit2.weight")
                      .Note("share of the processors, relative to other domains'"),
                  In("u.credit2.cap").Note("percent of one processor; 0: no limit")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_DOMCTL_SCHEDOP_getinfo),
                 {Out("u.credit2.weight")
                      .Note("share of the processors, relative to other domains'"),
                  Out("u.credit2.cap").Note("percent of one processor; 0: no limit")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_putinfo),
                 {In("u.rtds.period").Note("microseconds"),
                  In("u.rtds.budget").Note("microseconds in each period"),
                  Ignored("u.rtds.flags")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_getinfo),
                 {Out("u.rtds.period").Note("microseconds"),
                  Out("u.rtds.budget").Note("microseconds in each period"),
                  Ignored("u.rtds.flags")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_putvcpuinfo),
                 {In("u.v.vcpus", Elements("u.v.nr_vcpus")),
                  InOut("u.v.nr_vcpus").Note("how many were done"), Ignored("u.v.padding")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_getvcpuinfo),
                 {InOut("u.v.vcpus", Elements("u.v.nr_vcpus")).Filled("u.v.nr_vcpus"),
                  InOut("u.v.nr_vcpus").Note("how many were done"), Ignored("u.v.padding")}},
            },
    },
    {
        .number = XEN_DOMCTL_setvnumainfo,
        .name = "setvnumainfo",
        .argument = "u.vnuma",
        .about = "Gives a domain its virtual NUMA topology.",
        .rows = {In("nr_vnodes"), In("nr_vmemranges"), In("nr_vcpus"), Zero("pad"),
                 In("vdistance", Elements("nr_vnodes", "nr_vnodes")).Note("row by row"),
                 In("vcpu_to_vnode", Elements("nr_vcpus")),
                 In("vnode_to_pnode", Elements("nr_vnodes")),
                 In("vmemrange", Elements("nr_vmemranges"))},
    },
    {
        .number = XEN_DOMCTL_psr_cmt_op,
        .name = "psr_cmt_op",
        .argument = "u.psr_cmt_op",
        .about = "Attaches a domain to cache monitoring.",
        .rows = {In("cmd").Enum("XEN_DOMCTL_PSR_CMT_OP_")},
        .cases =
            {
                {When("cmd", XEN_DOMCTL_PSR_CMT_OP_DETACH, XEN_DOMCTL_PSR_CMT_OP_ATTACH),
                 {Ignored("data")}},
                {When("cmd", XEN_DOMCTL_PSR_CMT_OP_QUERY_RMID), {Out("data").Note("the RMID")}},
            },
    },
    {
        .number = XEN_DOMCTL_psr_alloc,
        .name = "psr_alloc",
        .argument = "u.psr_alloc",
        .about = "Sets or reads a domain's share of caches and memory bandwidth.",
        .rows = {In("cmd").Enum("XEN_DOMCTL_PSR_", "xen_domctl_psr_alloc"),
                 In("target").Note("socket")},
        .cases =
            {
                {When("cmd", XEN_DOMCTL_PSR_SET_L3_CBM, XEN_DOMCTL_PSR_SET_L3_CODE,
                      XEN_DOMCTL_PSR_SET_L3_DATA, XEN_DOMCTL_PSR_SET_L2_CBM,
                      XEN_DOMCTL_PSR_SET_MBA_THRTL),
                 {In("data")}},
                {When("cmd", XEN_DOMCTL_PSR_GET_L3_CBM, XEN_DOMCTL_PSR_GET_L3_CODE,
                      XEN_DOMCTL_PSR_GET_L3_DATA, XEN_DOMCTL_PSR_GET_L2_CBM,
                      XEN_DOMCTL_PSR_GET_MBA_THRTL),
                 {Out("data")}},
            },
    },
    {
        .number = XEN_DOMCTL_get_cpu_policy,
        .name = "get_cpu_policy",
        .argument = "u.cpu_policy",
        .about = "Reads what CPUID and the feature MSRs tell a domain.",
        .rows = {InOut("nr_leaves"), InOut("nr_msrs"),
                 Out("leaves", Elements("nr_leaves"))
                     .Filled("nr_leaves")
                     .OrNull("asks for the largest `nr_leaves`"),
                 Out("msrs", Elements("nr_msrs"))
                     .Filled("nr_msrs")
                     .OrNull("asks for the largest `nr_msrs`"),
                 Ignored("err_leaf"), Ignored("err_subleaf"), Ignored("err_msr")},
    },
    {
        .number = XEN_DOMCTL_set_cpu_policy,
        .name = "set_cpu_policy",
        .argument = "u.cpu_policy",
        .about = "Changes what CPUID and the feature MSRs tell a domain.",
        .rows = {In("nr_leaves"), In("nr_msrs"), In("leaves", Elements("nr_leaves")),
                 In("msrs", Elements("nr_msrs")),
                 Out("err_leaf").Note("this and the next two: what an error is about, or ~0"),
                 Out("err_subleaf"), Out("err_msr")},
    },

    // Memory.
    {
        .number = XEN_DOMCTL_getpageframeinfo3,
        .name = "getpageframeinfo3",
        .argument = "u.getpageframeinfo3",
        .about = "Tells the types of frames: each frame number is replaced by its type.",
        .rows = {InOut("num").Note("at most 1024; counts down while the call continues"),
                 InOut("array", Elements("num"))
                     .Note("in: frame numbers; out: XEN_DOMCTL_PFINFO_*. The hypervisor moves this "
                           "pointer on while the call continues")},
    },
    {
        .number = XEN_DOMCTL_shadow_op,
        .name = "shadow_op",
        .argument = "u.shadow_op",
        .about = "Controls shadow paging, and tracks the pages that a domain writes.",
        .rows = {In("op").Enum("XEN_DOMCTL_SHADOW_OP_")},
        .cases =
            {
                {When("op", XEN_DOMCTL_SHADOW_OP_ENABLE),
                 {In("mode").Flags("XEN_DOMCTL_SHADOW_ENABLE_"), Ignored("mb"),
                  Ignored("dirty_bitmap"), Ignored("pages"), Ignored("stats")}},
                {When("op", XEN_DOMCTL_SHADOW_OP_OFF, XEN_DOMCTL_SHADOW_OP_ENABLE_TEST,
                      XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY),
                 {Ignored("mode"), Ignored("mb"), Ignored("dirty_bitmap"), Ignored("pages"),
                  Ignored("stats")}},
                {When("op", XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION),
                 {Ignored("mode"), Out("mb").Note("MiB"), Ignored("dirty_bitmap"), Ignored("pages"),
                  Ignored("stats")}},
                {When("op", XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION),
                 {Ignored("mode"), InOut("mb").Note("MiB; out: what it has come to"),
                  Ignored("dirty_bitmap"), Ignored("pages"), Ignored("stats")}},
                {When("op", XEN_DOMCTL_SHADOW_OP_CLEAN, XEN_DOMCTL_SHADOW_OP_PEEK),
                 {In("mode").Flags("XEN_DOMCTL_SHADOW_LOGDIRTY_"), Ignored("mb"),
                  Out("dirty_bitmap", Bits("pages"))
                      .Filled(Bits("pages"))
                      .OrNull("only cleans, or only asks for `stats`"),
                  InOut("pages").Note("bits that there is room for; out: bits written"),
                  Out("stats")}},
            },
    },
    {
        .number = XEN_DOMCTL_get_paging_mempool_size,
        .name = "get_paging_mempool_size",
        .argument = "u.paging_mempool",
        .about = "Tells the size of the pool for a domain's page tables.",
        .rows = {Out("size").Note("bytes")},
        .versions = Since(0x15),
    },
    {
        .number = XEN_DOMCTL_set_paging_mempool_size,
        .name = "set_paging_mempool_size",
        .argument = "u.paging_mempool",
        .about = "Sets the size of the pool for a domain's page tables.",
        .rows = {In("size").Note("bytes")},
        .versions = Since(0x15),
    },
    {
        .number = XEN_DOMCTL_cacheflush,
        .name = "cacheflush",
        .argument = "u.cacheflush",
        .about = "Writes a range of a domain's memory back from the caches (Arm).",
        .rows = {In("start_pfn"), In("nr_pfns")},
    },
    {
        .number = XEN_DOMCTL_mem_sharing_op,
        .name = "mem_sharing_op",
        .argument = "u.mem_sharing_op",
        .about = "Switches memory sharing for a domain on or off.",
        .rows = {In("op").Enum("XEN_DOMCTL_MEM_SHARING_")},
        .cases = {{When("op", XEN_DOMCTL_MEM_SHARING_CONTROL), {In("u.enable")}}},
    },
    {
        .number = XEN_DOMCTL_audit_p2m,
        .name = "audit_p2m",
        .argument = "u.audit_p2m",
        .about = "Counts errors in a domain's physical-to-machine map.",
        .rows = {Out("orphans"), Out("m2p_bad"), Out("p2m_bad")},
    },
    {
        .number = XEN_DOMCTL_set_broken_page_p2m,
        .name = "set_broken_page_p2m",
        .argument = "u.set_broken_page_p2m",
        .about = "Marks a page of a domain as broken.",
        .rows = {In("pfn")},
    },
    {
        .number = XEN_DOMCTL_set_access_required,
        .name = "set_access_required",
        .argument = "u.access_required",
        .about = "Says whether a listener must be present to handle page access events.",
        .rows = {In("access_required")},
    },
    {
        .number = XEN_DOMCTL_real_mode_area,
        .name = "real_mode_area",
        .argument = nullptr,
        .about = "Sized a domain's real mode area on PowerPC; no longer implemented.",
    },
    {
        .number = XEN_DOMCTL_set_opt_feature,
        .name = "set_opt_feature",
        .argument = nullptr,
        .about = "Set optional features on IA-64; no longer implemented.",
    },

    // An HVM domain's saved state.
    {
        .number = XEN_DOMCTL_gethvmcontext,
        .name = "gethvmcontext",
        .argument = "u.hvmcontext",
        .about = "Saves the state of an HVM domain's virtual hardware.",
        .rows = {InOut("size").Note("bytes"),
                 Out("buffer", Elements("size")).Filled("size").OrNull("asks for `size`")},
    },
    {
        .number = XEN_DOMCTL_sethvmcontext,
        .name = "sethvmcontext",
        .argument = "u.hvmcontext",
        .about = "Restores the state of an HVM domain's virtual hardware.",
        .rows = {In("size").Note("bytes"), In("buffer", Elements("size"))},
    },
    {
        .number = XEN_DOMCTL_gethvmcontext_partial,
        .name = "gethvmcontext_partial",
        .argument = "u.hvmcontext_partial",
        .about = "Saves one record of an HVM domain's virtual hardware.",
        .rows = {In("type"), In("instance"), InOut("bufsz").Note("bytes"),
                 Out("buffer", Elements("bufsz")).Filled("bufsz").OrNull("asks for `bufsz`")},
    },

    // Devices and access to hardware.
    {
        .number = XEN_DOMCTL_irq_permission,
        .name = "irq_permission",
        .argument = "u.irq_permission",
        .about = "Lets a domain use an interrupt, or no longer.",
        .rows = {In("pirq"), In("allow_access"), Ignored("pad")},
    },
    {
        .number = XEN_DOMCTL_iomem_permission,
        .name = "iomem_permission",
        .argument = "u.iomem_permission",
        .about = "Lets a domain map a range of I/O memory, or no longer.",
        .rows = {In("first_mfn"), In("nr_mfns"), In("allow_access")},
    },
    {
        .number = XEN_DOMCTL_ioport_permission,
        .name = "ioport_permission",
        .argument = "u.ioport_permission",
        .about = "Lets a domain use a range of I/O ports, or no longer.",
        .rows = {In("first_port"), In("nr_ports"), In("allow_access")},
    },
    {
        .number = XEN_DOMCTL_assign_device,
        .name = "assign_device",
        .argument = "u.assign_device",
        .about = "Gives a device to a domain.",
        .rows = {In("dev").Enum("XEN_DOMCTL_DEV_").Except("XEN_DOMCTL_DEV_RDM_"),
                 In("flags").Flags("XEN_DOMCTL_DEV_RDM_")},
        .cases =
            {
                {When("dev", XEN_DOMCTL_DEV_PCI),
                 {In("u.pci.machine_sbdf").Note("segment, bus, device and function")}},
                {When("dev", XEN_DOMCTL_DEV_DT),
                 {In("u.dt.size").Note("length of the path"),
                  In("u.dt.path", Elements("u.dt.size"))}},
            },
    },
    {
        .number = XEN_DOMCTL_test_assign_device,
        .name = "test_assign_device",
        .argument = "u.assign_device",
        .about = "Asks whether a device could be given to a domain.",
        .rows = {In("dev").Enum("XEN_DOMCTL_DEV_").Except("XEN_DOMCTL_DEV_RDM_"), Zero("flags")},
        .cases =
            {
                {When("dev", XEN_DOMCTL_DEV_PCI),
                 {In("u.pci.machine_sbdf").Note("segment, bus, device and function")}},
                {When("dev", XEN_DOMCTL_DEV_DT),
                 {In("u.dt.size").Note("length of the path"),
                  In("u.dt.path", Elements("u.dt.size"))}},
            },
    },
    {
        .number = XEN_DOMCTL_deassign_device,
        .name = "deassign_device",
        .argument = "u.assign_device",
        .about = "Takes a device from a domain.",
        .rows = {In("dev").Enum("XEN_DOMCTL_DEV_").Except("XEN_DOMCTL_DEV_RDM_"), Zero("flags")},
        .cases =
            {
                {When("dev", XEN_DOMCTL_DEV_PCI),
                 {In("u.pci.machine_sbdf").Note("segment, bus, device and function")}},
                {When("dev", XEN_DOMCTL_DEV_DT),
                 {In("u.dt.size").Note("length of the path"),
                  In("u.dt.path", Elements("u.dt.size"))}},
            },
    },
    {
        .number = XEN_DOMCTL_get_device_group,
        .name = "get_device_group",
        .argument = "u.get_device_group",
        .about = "Lists the devices that can only be assigned together with one.",
        .rows = {In("machine_sbdf"), In("max_sdevs"), Out("num_sdevs"),
                 Out("sdev_array", Elements("max_sdevs")).Filled("num_sdevs")},
    },
    {
        .number = XEN_DOMCTL_bind_pt_irq,
        .name = "bind_pt_irq",
        .argument = "u.bind_pt_irq",
        .about = "Leads a machine interrupt into an HVM domain.",
        .rows = {In("machine_irq"), In("irq_type").Enum("PT_IRQ_TYPE_")},
        .cases =
            {
                {When("irq_type", PT_IRQ_TYPE_ISA), {In("u.isa.isa_irq")}},
                {When("irq_type", PT_IRQ_TYPE_PCI, PT_IRQ_TYPE_MSI_TRANSLATE),
                 {In("u.pci.bus"), In("u.pci.device"), In("u.pci.intx")}},
                {When("irq_type", PT_IRQ_TYPE_MSI),
                 {In("u.msi.gvec"), In("u.msi.gflags").Flags("XEN_DOMCTL_VMSI_X86_"),
                  In("u.msi.gtable")}},
                {When("irq_type", PT_IRQ_TYPE_SPI), {In("u.spi.spi")}},
            },
    },
    {
        .number = XEN_DOMCTL_unbind_pt_irq,
        .name = "unbind_pt_irq",
        .argument = "u.bind_pt_irq",
        .about = "Takes back bind_pt_irq.",
        .rows = {In("machine_irq"), In("irq_type").Enum("PT_IRQ_TYPE_")},
        .cases =
            {
                {When("irq_type", PT_IRQ_TYPE_ISA), {In("u.isa.isa_irq")}},
                {When("irq_type", PT_IRQ_TYPE_PCI, PT_IRQ_TYPE_MSI_TRANSLATE),
                 {In("u.pci.bus"), In("u.pci.device"), In("u.pci.intx")}},
                {When("irq_type", PT_IRQ_TYPE_MSI),
                 {In("u.msi.gvec"), In("u.msi.gflags").Flags("XEN_DOMCTL_VMSI_X86_"),
                  In("u.msi.gtable")}},
                {When("irq_type", PT_IRQ_TYPE_SPI), {In("u.spi.spi")}},
            },
    },
    {
        .number = XEN_DOMCTL_memory_mapping,
        .name = "memory_mapping",
        .argument = "u.memory_mapping",
        .about = "Maps machine frames of a device into a domain, or removes them.",
        .rows = {In("first_gfn"), In("first_mfn"), In("nr_mfns"), In("add_mapping").Enum("DPCI_"),
                 Ignored("padding")},
        .returns = "frames done, when fewer than asked: call again for the rest",
    },
    {
        .number = XEN_DOMCTL_ioport_mapping,
        .name = "ioport_mapping",
        .argument = "u.ioport_mapping",
        .about = "Maps machine I/O ports into a domain, or removes them.",
        .rows = {In("first_gport"), In("first_mport"), In("nr_ports"),
                 In("add_mapping").Enum("DPCI_")},
    },
    {
        .number = XEN_DOMCTL_vuart_op,
        .name = "vuart_op",
        .argument = "u.vuart_op",
        .about = "Sets up a virtual UART (Arm).",
        .rows = {In("cmd").Enum("XEN_DOMCTL_VUART_OP_"), In("type").Enum("XEN_DOMCTL_VUART_TYPE_"),
                 In("gfn").Note("of the ring"), In("console_domid"), Ignored("pad"), Out("evtchn")},
    },

    // Watching and debugging.
    {
        .number = XEN_DOMCTL_debug_op,
        .name = "debug_op",
        .argument = "u.debug_op",
        .about = "Switches single-stepping of a vcpu on or off.",
        .rows = {In("op").Enum("XEN_DOMCTL_DEBUG_OP_"), In("vcpu")},
    },
    {
        .number = XEN_DOMCTL_vm_event_op,
        .name = "vm_event_op",
        .argument = "u.vm_event_op",
        .about = "Opens and closes the rings on which a domain's events are reported.",
        .rows = {In("op").Enum("XEN_VM_EVENT_"), In("mode").Enum("XEN_DOMCTL_VM_EVENT_OP_")},
        .cases =
            {
                {When("op", XEN_VM_EVENT_ENABLE), {Out("u.enable.port")}},
                {When("op", XEN_VM_EVENT_GET_VERSION), {Out("u.version")}},
                {When("op", XEN_VM_EVENT_DISABLE, XEN_VM_EVENT_RESUME), {}},
            },
    },
    {
        .number = XEN_DOMCTL_monitor_op,
        .name = "monitor_op",
        .argument = "u.monitor_op",
        .about = "Chooses the events of a domain that are reported.",
        .rows = {In("op").Enum("XEN_DOMCTL_MONITOR_OP_")},
        .cases =
            {
                {When("op", XEN_DOMCTL_MONITOR_OP_GET_CAPABILITIES),
                 {Out("event").Note("a bit for each XEN_DOMCTL_MONITOR_EVENT_*")}},
                {When("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE,
                      XEN_DOMCTL_MONITOR_OP_EMULATE_EACH_REP,
                      XEN_DOMCTL_MONITOR_OP_CONTROL_REGISTERS),
                 {In("event").Enum("XEN_DOMCTL_MONITOR_EVENT_")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_WRITE_CTRLREG)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.mov_to_cr.index"), In("u.mov_to_cr.sync"), In("u.mov_to_cr.onchangeonly"),
                  Zero("u.mov_to_cr.pad1"), Zero("u.mov_to_cr.pad2"), In("u.mov_to_cr.bitmask")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_MOV_TO_MSR)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.mov_to_msr.msr"), In("u.mov_to_msr.onchangeonly")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_GUEST_REQUEST)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.guest_request.sync"), In("u.guest_request.allow_userspace")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_DEBUG_EXCEPTION)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.debug_exception.sync")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_VMEXIT)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.vmexit.sync")},
                 Since(0x15)},
            },
    },
    {
        .number = XEN_DOMCTL_vmtrace_op,
        .name = "vmtrace_op",
        .argument = "u.vmtrace_op",
        .about = "Controls the processor's trace of a vcpu.",
        .rows = {In("cmd").Enum("XEN_DOMCTL_vmtrace_"), In("vcpu")},
        .cases =
            {
                {When("cmd", XEN_DOMCTL_vmtrace_enable, XEN_DOMCTL_vmtrace_disable,
                      XEN_DOMCTL_vmtrace_reset_and_enable),
                 {Ignored("key"), Ignored("value")}},
                {When("cmd", XEN_DOMCTL_vmtrace_output_position),
                 {Ignored("key"), Out("value").Note("bytes from the start of the buffer")}},
                {When("cmd", XEN_DOMCTL_vmtrace_get_option),
                 {In("key").Note("index of an MSR"), Out("value")}},
                {When("cmd", XEN_DOMCTL_vmtrace_set_option),
                 {In("key").Note("index of an MSR"), In("value")}},
            },
    },
    {
        .number = XEN_DOMCTL_gdbsx_guestmemio,
        .name = "gdbsx_guestmemio",
        .argument = "u.gdbsx_guest_memio",
        .about = "Reads or writes a domain's memory for a debugger.",
        .rows = {In("pgd3val").Note("entry of a kernel's page directory; 0: none"), In("gva"),
                 In("len").Note("bytes"), In("gwr").Note("0: read the domain; 1: write it"),
                 Out("remain").Note("bytes that were not copied")},
        .cases =
            {
                {When("gwr", 0), {Out("uva", Elements("len")).Of("void")}},
                {When("gwr", 1), {In("uva", Elements("len")).Of("void")}},
            },
    },
    {
        .number = XEN_DOMCTL_gdbsx_pausevcpu,
        .name = "gdbsx_pausevcpu",
        .argument = "u.gdbsx_pauseunp_vcpu",
        .about = "Keeps one vcpu of a paused domain from running.",
        .rows = {In("vcpu")},
    },
    {
        .number = XEN_DOMCTL_gdbsx_unpausevcpu,
        .name = "gdbsx_unpausevcpu",
        .argument = "u.gdbsx_pauseunp_vcpu",
        .about = "Takes back gdbsx_pausevcpu.",
        .rows = {In("vcpu")},
    },
    {
        .number = XEN_DOMCTL_gdbsx_domstatus,
        .name = "gdbsx_domstatus",
        .argument = "u.gdbsx_domstatus",
        .about = "Tells whether a domain stopped for the debugger, and where.",
        .rows = {Out("paused"), Out("vcpu_id").Note("~0: none"), Out("vcpu_ev")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_DOMCTL_H_
