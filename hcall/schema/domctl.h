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
    .rows = {In("cmd"), In("interface_version").Note("any other: -EACCES"),
             In("domain").Note("an id; DOMID_SELF is none here"), Ignored("_pad")},
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
        .about = "Creates a domain, without memory and vcpus yet. It is paused, once.",
        .rows =
            {
                In("ssidref").Note("security label, for XSM"),
                In("handle").Note("UUID; the hypervisor only keeps it"),
                In("flags").Flags("XEN_DOMCTL_CDF_"),
                In("iommu_opts").Flags("XEN_DOMCTL_IOMMU_"),
                In("max_vcpus").Note("1 or more; op max_vcpus creates them"),
                In("max_evtchn_port").Note("the highest that the domain can use; ~0: any"),
                In("max_grant_frames").Note("negative: the hypervisor's default"),
                In("max_maptrack_frames").Note("negative: the hypervisor's default"),
                In("grant_opts").Note("grant table version in the low four bits"),
                In("vmtrace_size").Note("bytes for each vcpu; 0: no tracing"),
                In("cpupool_id").Note("0: the first pool").Only(Since(0x15)),
                In("arch").Note("x86: what devices the hypervisor emulates"),
            },
        .outer = {InOut("domain").Note(
            "0 or a reserved id: the hypervisor chooses one; one in use: -EEXIST")},
    },
    {
        .number = XEN_DOMCTL_destroydomain,
        .name = "destroydomain",
        .argument = nullptr,
        .about = "Kills a domain and gives its resources back. Continues by itself until all are; "
                 "frames that others map stay until they are unmapped.",
    },
    {
        .number = XEN_DOMCTL_pausedomain,
        .name = "pausedomain",
        .argument = nullptr,
        .about = "Keeps a domain's vcpus from running. Counted: it takes as many unpausedomain to "
                 "let them run again.",
    },
    {
        .number = XEN_DOMCTL_unpausedomain,
        .name = "unpausedomain",
        .argument = nullptr,
        .about =
            "Takes back one pausedomain, or starts a new domain. -EINVAL when it is not paused.",
    },
    {
        .number = XEN_DOMCTL_resumedomain,
        .name = "resumedomain",
        .argument = nullptr,
        .about = "Lets a domain run on that had shut down for suspend, where it is.",
    },
    {
        .number = XEN_DOMCTL_soft_reset,
        .name = "soft_reset",
        .argument = nullptr,
        .about = "Resets what the hypervisor keeps for a domain (event channels, grants, vcpus), "
                 "and leaves its memory.",
        .outer = {InOut("cmd").Note(
            "stays XEN_DOMCTL_soft_reset_cont, 23, when the call had to continue")},
    },

    // What it is, what it may have.
    {
        .number = XEN_DOMCTL_getdomaininfo,
        .name = "getdomaininfo",
        .argument = "u.getdomaininfo",
        .about = "Describes a domain, or the first one after it when there is none of that id. "
                 "-ESRCH: none from there on.",
        .rows =
            {
                Out("domain"),
                Ignored("pad1"),
                Out("flags").Flags("XEN_DOMINF_").Note("a shutdown's code: bits 16 to 23"),
                Out("tot_pages").Note("allocated"),
                Out("max_pages").Note("the limit, as max_mem set it"),
                Out("outstanding_pages").Note("claimed and not allocated yet"),
                Out("shr_pages").Note("shared with other domains"),
                Out("paged_pages").Note("paged out"),
                Out("shared_info_frame").Note("guest frame"),
                Out("cpu_time").Note("nanoseconds that its vcpus ran, together"),
                Out("nr_online_vcpus").Note("those that are up"),
                Out("max_vcpu_id").Note("the highest in use; ~0: there are no vcpus"),
                Out("ssidref").Note("security label, for XSM"),
                Out("handle").Note("UUID"),
                Out("cpupool").Note("id of its pool of processors"),
                Out("gpaddr_bits").Note("width of guest-physical addresses"),
                Ignored("pad2"),
                Out("arch_config").Note("x86: as createdomain was told"),
            },
        .outer = {InOut("domain").Note("the one that was found")},
    },
    {
        .number = XEN_DOMCTL_max_vcpus,
        .name = "max_vcpus",
        .argument = "u.max_vcpus",
        .about = "Creates a domain's vcpus; those that are there already stay.",
        .rows = {In("max").Note("as createdomain was told: -EINVAL with any other")},
    },
    {
        .number = XEN_DOMCTL_max_mem,
        .name = "max_mem",
        .argument = "u.max_mem",
        .about =
            "Limits a domain's memory. What it has beyond the limit already is not taken away.",
        .rows = {In("max_memkb").Note("KiB, cut to whole pages")},
    },
    {
        .number = XEN_DOMCTL_setdomainhandle,
        .name = "setdomainhandle",
        .argument = "u.setdomainhandle",
        .about = "Replaces a domain's UUID.",
        .rows = {In("handle").Note("UUID")},
    },
    {
        .number = XEN_DOMCTL_setdebugging,
        .name = "setdebugging",
        .argument = "u.setdebugging",
        .about = "Says whether a debugger is attached to a domain.",
        .rows = {In("enable").Note("0 or 1")},
    },
    {
        .number = XEN_DOMCTL_set_target,
        .name = "set_target",
        .argument = "u.set_target",
        .about =
            "Lets a stub domain act on the domain that it serves. Once: -EINVAL when it has one.",
        .rows = {In("target").Note("an HVM domain")},
    },
    {
        .number = XEN_DOMCTL_subscribe,
        .name = "subscribe",
        .argument = "u.subscribe",
        .about = "Notifies an event channel when the domain shuts down for suspend.",
        .rows = {In("port").Note("of the domain itself: who is at the other end is told")},
    },
    {
        .number = XEN_DOMCTL_set_virq_handler,
        .name = "set_virq_handler",
        .argument = "u.set_virq_handler",
        .about = "Makes the domain the receiver of a global virtual interrupt, which domain 0 is "
                 "at first.",
        .rows = {In("virq").Enum("VIRQ_").Except("VIRQ_MCA")},
    },
    {
        .number = XEN_DOMCTL_settimeoffset,
        .name = "settimeoffset",
        .argument = "u.settimeoffset",
        .about = "Shifts a domain's wallclock.",
        .rows =
            {In("time_offset_seconds").Note("added to the machine's wallclock; may be negative")},
    },
    {
        .number = XEN_DOMCTL_gettscinfo,
        .name = "gettscinfo",
        .argument = "u.tsc_info",
        .about = "Reads how a domain sees the time stamp counter, to take it along in a migration.",
        .rows = {Out("tsc_mode").Note("0: emulated when needed; 1: always; 2: never"),
                 Out("gtsc_khz").Note("kHz that the domain is told"),
                 Out("incarnation").Note("how often it was restored"), Ignored("pad"),
                 Out("elapsed_nsec").Note("nanoseconds since it was started")},
    },
    {
        .number = XEN_DOMCTL_settscinfo,
        .name = "settscinfo",
        .argument = "u.tsc_info",
        .about = "Restores what gettscinfo read.",
        .rows = {In("tsc_mode").Note("0: emulated when needed; 1: always; 2: never"),
                 In("gtsc_khz").Note("kHz that the domain is told"),
                 In("incarnation").Note("how often it was restored"), Ignored("pad"),
                 In("elapsed_nsec").Note("nanoseconds since it was started")},
    },
    {
        .number = XEN_DOMCTL_hypercall_init,
        .name = "hypercall_init",
        .argument = "u.hypercall_init",
        .about = "Fills a page of the domain with the stubs of the hypercalls.",
        .rows = {In("gmfn").Note("guest frame, of a page that may be written")},
    },
    {
        .number = XEN_DOMCTL_set_address_size,
        .name = "set_address_size",
        .argument = "u.address_size",
        .about = "Chooses the width of a PV domain. To 32 only while it has no memory.",
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
        .rows = {In("trigger").Enum("XEN_DOMCTL_SENDTRIGGER_"),
                 In("vcpu").Note("of an NMI; a button is the domain's, but the vcpu must exist")},
    },

    // Vcpus.
    {
        .number = XEN_DOMCTL_getvcpuinfo,
        .name = "getvcpuinfo",
        .argument = "u.getvcpuinfo",
        .about = "Tells what a vcpu is doing.",
        .rows = {In("vcpu"), Out("online").Note("1: up"),
                 Out("blocked").Note("1: waits for an event"),
                 Out("running").Note("1: on a processor at this moment"),
                 Out("cpu_time").Note("nanoseconds"), Out("cpu").Note("where it runs or ran last")},
    },
    {
        .number = XEN_DOMCTL_setvcpucontext,
        .name = "setvcpucontext",
        .argument = "u.vcpucontext",
        .about = "Sets a vcpu's registers. Not of the calling domain.",
        .rows = {In("vcpu"), In("ctxt", One())
                                 .OrNull("resets the vcpu")
                                 .Note("of a 32-bit PV domain: in its own form, which is shorter")},
    },
    {
        .number = XEN_DOMCTL_getvcpucontext,
        .name = "getvcpucontext",
        .argument = "u.vcpucontext",
        .about = "Reads a vcpu's registers. -ENODATA: they were never set.",
        .rows = {In("vcpu"), Out("ctxt", One())
                                 .Note("of a 32-bit PV domain: in its own form, which is shorter")},
    },
    {
        .number = XEN_DOMCTL_set_ext_vcpucontext,
        .name = "set_ext_vcpucontext",
        .argument = "u.ext_vcpucontext",
        .about = "Restores a vcpu's callbacks for system calls and its machine check state.",
        .rows = {In("vcpu"),
                 In("size").Note(
                     "bytes of this structure that hold something; up to `vmce` at least"),
                 In("syscall32_callback_eip").Note("PV: entry of SYSCALL from 32-bit code"),
                 In("sysenter_callback_eip").Note("PV: entry of SYSENTER"),
                 In("syscall32_callback_cs"), In("sysenter_callback_cs"),
                 In("syscall32_disables_events").Note("1: the entry masks events"),
                 In("sysenter_disables_events").Note("1: the entry masks events"),
                 In("vmce").Note("what MCG_CAP and MCi_CTL2 hold"), Overlay("mcg_cap", "vmce")},
    },
    {
        .number = XEN_DOMCTL_get_ext_vcpucontext,
        .name = "get_ext_vcpucontext",
        .argument = "u.ext_vcpucontext",
        .about = "Reads a vcpu's callbacks for system calls and its machine check state.",
        .rows = {In("vcpu"), Out("size").Note("bytes of this structure that hold something"),
                 Out("syscall32_callback_eip").Note("PV: entry of SYSCALL from 32-bit code"),
                 Out("sysenter_callback_eip").Note("PV: entry of SYSENTER"),
                 Out("syscall32_callback_cs"), Out("sysenter_callback_cs"),
                 Out("syscall32_disables_events").Note("1: the entry masks events"),
                 Out("sysenter_disables_events").Note("1: the entry masks events"),
                 Out("vmce").Note("what MCG_CAP and MCi_CTL2 hold"), Overlay("mcg_cap", "vmce")},
    },
    {
        .number = XEN_DOMCTL_setvcpuextstate,
        .name = "setvcpuextstate",
        .argument = "u.vcpuextstate",
        .about = "Restores a vcpu's extended state (XSAVE). Compacted areas are refused with "
                 "-EOPNOTSUPP.",
        .rows = {In("vcpu"), Ignored("xfeature_mask"),
                 In("size").Note("bytes: 16 and an XSAVE area, or 16 alone"),
                 In("buffer", Elements("size"))
                     .Of("void")
                     .Note("xcr0 and xcr0_accum, 8 bytes each, then an XSAVE area")},
    },
    {
        .number = XEN_DOMCTL_getvcpuextstate,
        .name = "getvcpuextstate",
        .argument = "u.vcpuextstate",
        .about = "Reads a vcpu's extended state (XSAVE).",
        .rows = {In("vcpu"), InOut("xfeature_mask").Note("in: as the question for sizes told"),
                 InOut("size").Note("bytes; 0, with `xfeature_mask` 0, asks as null does"),
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
        .about = "Reads the model-specific registers of a PV domain's vcpu that have a value other "
                 "than 0.",
        .rows =
            {In("vcpu"),
             InOut("msr_count").Note("out: how many there are; with too little room also -ENOBUFS"),
             Out("msrs", Elements("msr_count"))
                 .Filled("msr_count")
                 .OrNull("asks for the largest `msr_count`")},
    },
    {
        .number = XEN_DOMCTL_set_vcpu_msrs,
        .name = "set_vcpu_msrs",
        .argument = "u.vcpu_msrs",
        .about = "Restores what get_vcpu_msrs read, one register after the other.",
        .rows = {In("vcpu"), InOut("msr_count").Note("after an error: the index it is about"),
                 In("msrs", Elements("msr_count"))},
    },

    // Where it runs, and how much.
    {
        .number = XEN_DOMCTL_setvcpuaffinity,
        .name = "setvcpuaffinity",
        .argument = "u.vcpuaffinity",
        .about = "Says where a vcpu must (hard) and where it should run (soft). Each bitmap that "
                 "its flag names is read, and answered with what it comes to on the processors of "
                 "the domain's pool.",
        .rows =
            {In("vcpu"),
             In("flags")
                 .Flags("XEN_VCPUAFFINITY_")
                 .Note("HARD, SOFT or both; FORCE ends what pin_override of sched_op left behind")},
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
        .about = "Tells where a vcpu must (hard) and where it should run (soft).",
        .rows = {In("vcpu"), In("flags").Flags("XEN_VCPUAFFINITY_").Note("HARD, SOFT or both")},
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
        .about = "Says on which NUMA nodes a domain's memory should lie. -EINVAL for none.",
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
        .about = "Sets or reads a domain's share of the processors. The scheduler has to be that "
                 "of the domain's pool: -EINVAL.",
        .rows = {In("sched_id").Enum("XEN_SCHEDULER_").Note("the scheduler of the domain's pool"),
                 In("cmd").Enum("XEN_DOMCTL_SCHEDOP_")},
        .cases =
            {
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_DOMCTL_SCHEDOP_putinfo),
                 {In("u.credit.weight").Note("relative to other domains\'; 0: as it is"),
                  In("u.credit.cap")
                      .Note("percent of one processor; 0: no limit; 0xffff: as it is")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT).And("cmd", XEN_DOMCTL_SCHEDOP_getinfo),
                 {Out("u.credit.weight").Note("relative to other domains\'"),
                  Out("u.credit.cap").Note("percent of one processor; 0: no limit")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_DOMCTL_SCHEDOP_putinfo),
                 {In("u.credit2.weight").Note("relative to other domains\'; 0: as it is"),
                  In("u.credit2.cap")
                      .Note("percent of one processor; 0: no limit; 0xffff: as it is")}},
                {When("sched_id", XEN_SCHEDULER_CREDIT2).And("cmd", XEN_DOMCTL_SCHEDOP_getinfo),
                 {Out("u.credit2.weight").Note("relative to other domains\'"),
                  Out("u.credit2.cap").Note("percent of one processor; 0: no limit")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_putinfo),
                 {In("u.rtds.period").Note("microseconds"),
                  In("u.rtds.budget").Note("microseconds in each period"),
                  Ignored("u.rtds.flags")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_getinfo),
                 {Out("u.rtds.period")
                      .Note("microseconds; the scheduler's default, not the domain's"),
                  Out("u.rtds.budget")
                      .Note("microseconds; the scheduler's default, not the domain's"),
                  Ignored("u.rtds.flags")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_putvcpuinfo),
                 {In("u.v.vcpus", Elements("u.v.nr_vcpus")),
                  InOut("u.v.nr_vcpus").Note("out: how many were done; call again for the rest"),
                  Ignored("u.v.padding")}},
                {When("sched_id", XEN_SCHEDULER_RTDS).And("cmd", XEN_DOMCTL_SCHEDOP_getvcpuinfo),
                 {InOut("u.v.vcpus", Elements("u.v.nr_vcpus")).Filled("u.v.nr_vcpus"),
                  InOut("u.v.nr_vcpus").Note("out: how many were done; call again for the rest"),
                  Ignored("u.v.padding")}},
            },
    },
    {
        .number = XEN_DOMCTL_setvnumainfo,
        .name = "setvnumainfo",
        .argument = "u.vnuma",
        .about = "Gives a domain its virtual NUMA topology, in place of the one that it had. The "
                 "distances, and the ranges, have to fit into a page each: -EINVAL.",
        .rows =
            {In("nr_vnodes").Note("1 to 32"), In("nr_vmemranges"),
             In("nr_vcpus").Note("as createdomain was told"), Zero("pad"),
             In("vdistance", Elements("nr_vnodes", "nr_vnodes").AtMost(1024)).Note("row by row"),
             In("vcpu_to_vnode", Elements("nr_vcpus")).Note("virtual node of each vcpu"),
             In("vnode_to_pnode", Elements("nr_vnodes")).Note("node of the machine for each"),
             In("vmemrange", Elements("nr_vmemranges").AtMost(4096 / sizeof(xen_vmemrange_t)))
                 .Note("guest-physical addresses, the end excluded; `flags` must be zero")},
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
                {When("cmd", XEN_DOMCTL_PSR_CMT_OP_QUERY_RMID),
                 {Out("data").Note("the RMID that it is monitored by; 0: none")}},
            },
    },
    {
        .number = XEN_DOMCTL_psr_alloc,
        .name = "psr_alloc",
        .argument = "u.psr_alloc",
        .about = "Sets or reads a domain's share of caches (CBM, with code and data apart: CODE, "
                 "DATA) and of memory bandwidth (MBA).",
        .rows = {In("cmd").Enum("XEN_DOMCTL_PSR_", "xen_domctl_psr_alloc"),
                 In("target").Note("socket")},
        .cases =
            {
                {When("cmd", XEN_DOMCTL_PSR_SET_L3_CBM, XEN_DOMCTL_PSR_SET_L3_CODE,
                      XEN_DOMCTL_PSR_SET_L3_DATA, XEN_DOMCTL_PSR_SET_L2_CBM,
                      XEN_DOMCTL_PSR_SET_MBA_THRTL),
                 {In("data").Note(
                     "CBM, CODE, DATA: a bit for each part of the cache; MBA: throttling")}},
                {When("cmd", XEN_DOMCTL_PSR_GET_L3_CBM, XEN_DOMCTL_PSR_GET_L3_CODE,
                      XEN_DOMCTL_PSR_GET_L3_DATA, XEN_DOMCTL_PSR_GET_L2_CBM,
                      XEN_DOMCTL_PSR_GET_MBA_THRTL),
                 {Out("data").Note(
                     "CBM, CODE, DATA: a bit for each part of the cache; MBA: throttling")}},
            },
    },
    {
        .number = XEN_DOMCTL_get_cpu_policy,
        .name = "get_cpu_policy",
        .argument = "u.cpu_policy",
        .about =
            "Reads what CPUID and the feature MSRs tell a domain. -ENOBUFS with too little room.",
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
        .about = "Changes what CPUID and the feature MSRs tell a domain. Leaves and MSRs that are "
                 "not named stay; -EEXIST once it has run.",
        .rows = {In("nr_leaves"), In("nr_msrs"), In("leaves", Elements("nr_leaves")),
                 In("msrs", Elements("nr_msrs")),
                 Out("err_leaf").Note("of an error: the leaf it is about; ~0: none"),
                 Out("err_subleaf").Note("of an error: the subleaf"),
                 Out("err_msr").Note("of an error: the MSR it is about; ~0: none")},
    },

    // Memory.
    {
        .number = XEN_DOMCTL_getpageframeinfo3,
        .name = "getpageframeinfo3",
        .argument = "u.getpageframeinfo3",
        .about = "Tells the types of frames: each frame number is replaced by its type.",
        .rows = {InOut("num").Note("at most 1024, or -E2BIG; counts down while the call continues"),
                 InOut("array", Elements("num"))
                     .Note("in: frame numbers; out: XEN_DOMCTL_PFINFO_*. The hypervisor moves this "
                           "pointer on while the call continues")},
    },
    {
        .number = XEN_DOMCTL_shadow_op,
        .name = "shadow_op",
        .argument = "u.shadow_op",
        .about = "Tracks the pages that a domain writes (log-dirty), and sizes the pool for its "
                 "shadow or HAP tables. Not of the calling domain.",
        .rows = {In("op").Enum("XEN_DOMCTL_SHADOW_OP_")},
        .cases =
            {
                {When("op", XEN_DOMCTL_SHADOW_OP_ENABLE),
                 {In("mode")
                      .Flags("XEN_DOMCTL_SHADOW_ENABLE_")
                      .Note("with LOG_DIRTY: as ENABLE_LOGDIRTY"),
                  Ignored("mb"), Ignored("dirty_bitmap"), Ignored("pages"), Ignored("stats")}},
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
                 {In("mode")
                      .Flags("XEN_DOMCTL_SHADOW_LOGDIRTY_")
                      .Note(
                          "FINAL: pages that the hypervisor has mapped for writing count as dirty"),
                  Ignored("mb"),
                  Out("dirty_bitmap", Bits("pages"))
                      .Filled(Bits("pages"))
                      .OrNull("only cleans, or only asks for `stats`"),
                  InOut("pages")
                      .Note("bits that there is room for, from guest frame 0; out: bits written"),
                  Out("stats").Note("since the last CLEAN, which resets them")}},
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
        .rows = {In("size").Note("bytes, in whole pages")},
        .versions = Since(0x15),
    },
    {
        .number = XEN_DOMCTL_cacheflush,
        .name = "cacheflush",
        .argument = "u.cacheflush",
        .about = "Writes a range of a domain's memory back from the caches (Arm).",
        .rows = {In("start_pfn").Note("guest frame"), In("nr_pfns").Note("at most 2^18")},
    },
    {
        .number = XEN_DOMCTL_mem_sharing_op,
        .name = "mem_sharing_op",
        .argument = "u.mem_sharing_op",
        .about = "Switches memory sharing for a domain on or off.",
        .rows = {In("op").Enum("XEN_DOMCTL_MEM_SHARING_")},
        .cases = {{When("op", XEN_DOMCTL_MEM_SHARING_CONTROL), {In("u.enable").Note("0 or 1")}}},
    },
    {
        .number = XEN_DOMCTL_audit_p2m,
        .name = "audit_p2m",
        .argument = "u.audit_p2m",
        .about = "Counts errors in a domain's physical-to-machine map. Only in hypervisors built "
                 "for debugging.",
        .rows = {Out("orphans").Note("pages that no guest frame leads to"),
                 Out("m2p_bad").Note("entries that lead to no page of it"),
                 Out("p2m_bad").Note("entries that lead to the wrong page")},
    },
    {
        .number = XEN_DOMCTL_set_broken_page_p2m,
        .name = "set_broken_page_p2m",
        .argument = "u.set_broken_page_p2m",
        .about = "Marks a page of a domain as broken.",
        .rows = {In("pfn").Note("guest frame")},
    },
    {
        .number = XEN_DOMCTL_set_access_required,
        .name = "set_access_required",
        .argument = "u.access_required",
        .about = "Says whether a listener must be present to handle page access events.",
        .rows = {In("access_required")
                     .Note("1: a vcpu waits for a listener to come; 0: the access is allowed")},
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
        .about =
            "Saves the state of an HVM domain's virtual hardware. -ENOSPC with too little room.",
        .rows = {InOut("size").Note("bytes"),
                 Out("buffer", Elements("size"))
                     .Filled("size")
                     .OrNull("asks for `size`")
                     .Note("records, each with a header: xen/hvm/save.h")},
    },
    {
        .number = XEN_DOMCTL_sethvmcontext,
        .name = "sethvmcontext",
        .argument = "u.hvmcontext",
        .about = "Restores the state of an HVM domain's virtual hardware.",
        .rows = {In("size").Note("bytes"),
                 In("buffer", Elements("size")).Note("records, as gethvmcontext saved them")},
    },
    {
        .number = XEN_DOMCTL_gethvmcontext_partial,
        .name = "gethvmcontext_partial",
        .argument = "u.hvmcontext_partial",
        .about = "Saves one record of an HVM domain's virtual hardware. -ENOBUFS with too little "
                 "room; -ENOENT, -ENODATA: no such record.",
        .rows = {In("type").Note("HVM_SAVE_CODE of the record"),
                 In("instance").Note("vcpu, or number of the device"), InOut("bufsz").Note("bytes"),
                 Out("buffer", Elements("bufsz"))
                     .Filled("bufsz")
                     .OrNull("asks for `bufsz`")
                     .Note("without its header")},
    },

    // Devices and access to hardware.
    {
        .number = XEN_DOMCTL_irq_permission,
        .name = "irq_permission",
        .argument = "u.irq_permission",
        .about = "Lets a domain use an interrupt, or no longer.",
        .rows = {In("pirq").Note("number that the calling domain has for it"),
                 In("allow_access").Note("1: it may; 0: it may not"), Ignored("pad")},
    },
    {
        .number = XEN_DOMCTL_iomem_permission,
        .name = "iomem_permission",
        .argument = "u.iomem_permission",
        .about = "Lets a domain map a range of I/O memory, or no longer. -EPERM for what the "
                 "caller may not use.",
        .rows = {In("first_mfn").Note("machine frame"), In("nr_mfns").Note("pages"),
                 In("allow_access").Note("1: it may; 0: it may not")},
    },
    {
        .number = XEN_DOMCTL_ioport_permission,
        .name = "ioport_permission",
        .argument = "u.ioport_permission",
        .about = "Lets a domain use a range of I/O ports, or no longer. -EPERM for what the caller "
                 "may not use.",
        .rows = {In("first_port").Note("of the machine"), In("nr_ports").Note("1 or more"),
                 In("allow_access").Note("1: it may; 0: it may not")},
    },
    {
        .number = XEN_DOMCTL_assign_device,
        .name = "assign_device",
        .argument = "u.assign_device",
        .about = "Gives a device to a domain, behind the IOMMU. DOMID_IO keeps it from all.",
        .rows = {In("dev").Enum("XEN_DOMCTL_DEV_").Except("XEN_DOMCTL_DEV_RDM_"),
                 In("flags").Flags("XEN_DOMCTL_DEV_RDM_")},
        .cases =
            {
                {When("dev", XEN_DOMCTL_DEV_PCI),
                 {In("u.pci.machine_sbdf")
                      .Note("segment << 16 | bus << 8 | device << 3 | function")}},
                {When("dev", XEN_DOMCTL_DEV_DT),
                 {In("u.dt.size").Note("length of the path"),
                  In("u.dt.path", Elements("u.dt.size"))}},
            },
    },
    {
        .number = XEN_DOMCTL_test_assign_device,
        .name = "test_assign_device",
        .argument = "u.assign_device",
        .about =
            "Asks whether a device could be given to a domain. DOMID_INVALID: whether it is free.",
        .rows = {In("dev").Enum("XEN_DOMCTL_DEV_").Except("XEN_DOMCTL_DEV_RDM_"), Zero("flags")},
        .cases =
            {
                {When("dev", XEN_DOMCTL_DEV_PCI),
                 {In("u.pci.machine_sbdf")
                      .Note("segment << 16 | bus << 8 | device << 3 | function")}},
                {When("dev", XEN_DOMCTL_DEV_DT),
                 {In("u.dt.size").Note("length of the path"),
                  In("u.dt.path", Elements("u.dt.size"))}},
            },
    },
    {
        .number = XEN_DOMCTL_deassign_device,
        .name = "deassign_device",
        .argument = "u.assign_device",
        .about = "Takes a device from a domain. A PCI device comes back to domain 0, or stays with "
                 "nobody.",
        .rows = {In("dev").Enum("XEN_DOMCTL_DEV_").Except("XEN_DOMCTL_DEV_RDM_"), Zero("flags")},
        .cases =
            {
                {When("dev", XEN_DOMCTL_DEV_PCI),
                 {In("u.pci.machine_sbdf")
                      .Note("segment << 16 | bus << 8 | device << 3 | function")}},
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
        .rows = {In("machine_sbdf").Note("segment << 16 | bus << 8 | device << 3 | function"),
                 In("max_sdevs").Note("room"), Out("num_sdevs"),
                 Out("sdev_array", Elements("max_sdevs"))
                     .Filled("num_sdevs")
                     .Note("each as `machine_sbdf`")},
    },
    {
        .number = XEN_DOMCTL_bind_pt_irq,
        .name = "bind_pt_irq",
        .argument = "u.bind_pt_irq",
        .about = "Leads a machine interrupt into an HVM domain.",
        .rows = {In("machine_irq").Note("the domain's pirq, as map_pirq of physdev_op gave it"),
                 In("irq_type").Enum("PT_IRQ_TYPE_")},
        .cases =
            {
                {When("irq_type", PT_IRQ_TYPE_ISA), {In("u.isa.isa_irq").Note("line, 0 to 15")}},
                {When("irq_type", PT_IRQ_TYPE_PCI, PT_IRQ_TYPE_MSI_TRANSLATE),
                 {In("u.pci.bus").Note("as the domain sees the device"),
                  In("u.pci.device").Note("as the domain sees the device"),
                  In("u.pci.intx").Note("0: INTA; 3: INTD")}},
                {When("irq_type", PT_IRQ_TYPE_MSI),
                 {In("u.msi.gvec").Note("vector in the domain"),
                  In("u.msi.gflags").Flags("XEN_DOMCTL_VMSI_X86_"),
                  In("u.msi.gtable")
                      .Note("guest-physical address of the device's MSI-X table; 0: none")}},
                {When("irq_type", PT_IRQ_TYPE_SPI),
                 {In("u.spi.spi").Note("interrupt in the domain (Arm)")}},
            },
    },
    {
        .number = XEN_DOMCTL_unbind_pt_irq,
        .name = "unbind_pt_irq",
        .argument = "u.bind_pt_irq",
        .about = "Takes back bind_pt_irq.",
        .rows = {In("machine_irq").Note("the domain's pirq, as map_pirq of physdev_op gave it"),
                 In("irq_type").Enum("PT_IRQ_TYPE_")},
        .cases =
            {
                {When("irq_type", PT_IRQ_TYPE_ISA), {In("u.isa.isa_irq").Note("line, 0 to 15")}},
                {When("irq_type", PT_IRQ_TYPE_PCI, PT_IRQ_TYPE_MSI_TRANSLATE),
                 {In("u.pci.bus").Note("as the domain sees the device"),
                  In("u.pci.device").Note("as the domain sees the device"),
                  In("u.pci.intx").Note("0: INTA; 3: INTD")}},
                {When("irq_type", PT_IRQ_TYPE_MSI),
                 {In("u.msi.gvec").Note("vector in the domain"),
                  In("u.msi.gflags").Flags("XEN_DOMCTL_VMSI_X86_"),
                  In("u.msi.gtable")
                      .Note("guest-physical address of the device's MSI-X table; 0: none")}},
                {When("irq_type", PT_IRQ_TYPE_SPI),
                 {In("u.spi.spi").Note("interrupt in the domain (Arm)")}},
            },
    },
    {
        .number = XEN_DOMCTL_memory_mapping,
        .name = "memory_mapping",
        .argument = "u.memory_mapping",
        .about = "Maps machine frames of a device into a domain, or removes them.",
        .rows = {In("first_gfn").Note("guest frame"), In("first_mfn").Note("machine frame"),
                 In("nr_mfns").Note("pages"), In("add_mapping").Enum("DPCI_"), Ignored("padding")},
        .returns = "frames done, when fewer than asked: call again for the rest",
    },
    {
        .number = XEN_DOMCTL_ioport_mapping,
        .name = "ioport_mapping",
        .argument = "u.ioport_mapping",
        .about = "Maps machine I/O ports into an HVM domain, or removes them, and the right to use "
                 "them.",
        .rows = {In("first_gport").Note("in the domain"), In("first_mport").Note("of the machine"),
                 In("nr_ports").Note("1 or more"), In("add_mapping").Enum("DPCI_")},
    },
    {
        .number = XEN_DOMCTL_vuart_op,
        .name = "vuart_op",
        .argument = "u.vuart_op",
        .about = "Sets up a virtual UART (Arm).",
        .rows = {In("cmd").Enum("XEN_DOMCTL_VUART_OP_"), In("type").Enum("XEN_DOMCTL_VUART_TYPE_"),
                 In("gfn").Note("of the ring"), In("console_domid").Note("who serves the ring"),
                 Ignored("pad"),
                 Out("evtchn").Note("port of the domain, for the server to connect to")},
    },

    // Watching and debugging.
    {
        .number = XEN_DOMCTL_debug_op,
        .name = "debug_op",
        .argument = "u.debug_op",
        .about = "Switches single-stepping of a vcpu of an HVM domain on or off.",
        .rows = {In("op").Enum("XEN_DOMCTL_DEBUG_OP_"), In("vcpu")},
    },
    {
        .number = XEN_DOMCTL_vm_event_op,
        .name = "vm_event_op",
        .argument = "u.vm_event_op",
        .about = "Opens and closes the rings on which a domain's events are reported. GET_VERSION "
                 "asks for no domain: DOMID_INVALID will do.",
        .rows = {In("op").Enum("XEN_VM_EVENT_"), In("mode").Enum("XEN_DOMCTL_VM_EVENT_OP_")},
        .cases =
            {
                {When("op", XEN_VM_EVENT_ENABLE),
                 {Out("u.enable.port").Note("port of the domain, for the caller to connect to")}},
                {When("op", XEN_VM_EVENT_GET_VERSION),
                 {Out("u.version").Note("VM_EVENT_INTERFACE_VERSION")}},
                {When("op", XEN_VM_EVENT_DISABLE, XEN_VM_EVENT_RESUME), {}},
            },
    },
    {
        .number = XEN_DOMCTL_monitor_op,
        .name = "monitor_op",
        .argument = "u.monitor_op",
        .about = "Chooses the events of a domain that are reported. -EEXIST when one is as wanted "
                 "already.",
        .rows = {In("op").Enum("XEN_DOMCTL_MONITOR_OP_")},
        .cases =
            {
                {When("op", XEN_DOMCTL_MONITOR_OP_GET_CAPABILITIES),
                 {Out("event").Note("a bit for each XEN_DOMCTL_MONITOR_EVENT_*")}},
                {When("op", XEN_DOMCTL_MONITOR_OP_EMULATE_EACH_REP),
                 {In("event").Note("no event here: 0: a repeated instruction is emulated as one; "
                                   "else each repetition is")}},
                {When("op", XEN_DOMCTL_MONITOR_OP_CONTROL_REGISTERS), {Ignored("event")}},
                {When("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("event").Enum("XEN_DOMCTL_MONITOR_EVENT_")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_WRITE_CTRLREG)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.mov_to_cr.index").Note("VM_EVENT_X86_CR0 0, CR3 1, CR4 2, XCR0 3"),
                  In("u.mov_to_cr.sync").Note("1: the vcpu waits for the answer"),
                  In("u.mov_to_cr.onchangeonly")
                      .Note("1: writes of the same value are not reported"),
                  Zero("u.mov_to_cr.pad1"), Zero("u.mov_to_cr.pad2"),
                  In("u.mov_to_cr.bitmask").Note("bits whose changes are not reported")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_MOV_TO_MSR)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.mov_to_msr.msr").Note("its index"),
                  In("u.mov_to_msr.onchangeonly")
                      .Note("1: writes of the same value are not reported")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_GUEST_REQUEST)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.guest_request.sync").Note("1: the vcpu waits for the answer"),
                  In("u.guest_request.allow_userspace")
                      .Note("1: the domain's user mode may request too")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_DEBUG_EXCEPTION)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.debug_exception.sync").Note("1: the vcpu waits for the answer")}},
                {When("event", XEN_DOMCTL_MONITOR_EVENT_VMEXIT)
                     .And("op", XEN_DOMCTL_MONITOR_OP_ENABLE, XEN_DOMCTL_MONITOR_OP_DISABLE),
                 {In("u.vmexit.sync").Note("1: the vcpu waits for the answer")},
                 Since(0x15)},
            },
    },
    {
        .number = XEN_DOMCTL_vmtrace_op,
        .name = "vmtrace_op",
        .argument = "u.vmtrace_op",
        .about = "Controls the processor's trace of a vcpu of an HVM domain that createdomain gave "
                 "room for it.",
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
        .about = "Reads or writes a domain's memory for a debugger. `uva` is a plain number that "
                 "holds a pointer.",
        .rows = {In("pgd3val").Note("entry of a kernel's page directory; 0: none"),
                 In("gva").Note("virtual address in the domain"), In("len").Note("bytes"),
                 In("gwr").Note("0: read the domain; else: write it"),
                 Out("remain").Note("bytes not copied: 0, since with any left the answer is "
                                    "-EFAULT, and nothing is told")},
        .cases =
            {
                {When("gwr", 0), {Out("uva", Elements("len")).Of("void")}},
                {Unless("gwr", 0), {In("uva", Elements("len")).Of("void")}},
            },
    },
    {
        .number = XEN_DOMCTL_gdbsx_pausevcpu,
        .name = "gdbsx_pausevcpu",
        .argument = "u.gdbsx_pauseunp_vcpu",
        .about =
            "Keeps one vcpu of a paused domain from running. -EBUSY when the domain is not paused.",
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
        .rows = {Out("paused").Note("1: it is"), Out("vcpu_id").Note("~0: none"),
                 Out("vcpu_ev").Note("what stopped it, when there is one; asking forgets it")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_DOMCTL_H_
