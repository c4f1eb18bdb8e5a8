// memory_op (12): what a domain's memory consists of. Source: xen/memory.h.
//
// Two registers: a command and a pointer to a structure that depends on it. The low six bits of the
// command are the op; in the rest a call that was interrupted keeps its progress (how many extents
// are done), so that a continued call, or a multicall's entry after one, reads differently from
// what was asked. Toolstacks send it inside a multicall.
#ifndef HCALL_SCHEMA_MEMORY_H_
#define HCALL_SCHEMA_MEMORY_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kMemoryOp = {
    .number = __HYPERVISOR_memory_op,
    .name = "memory_op",
    .about = "Changes and describes the memory of a domain.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd"), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .op_mask = 0x3f,
    .pointer = "arg",
    .prefix = "XENMEM_",
    .others = {"XENMEM_paging_op_", "XENMEM_access_op_", "XENMEM_sharing_op_", "XENMEM_SHARING_OP_",
               "XENMEM_FORK_"},
};

inline constexpr OpSpec kMemoryOps[] = {
    // A domain's reservation. An extent is 2^extent_order pages.
    {
        .number = XENMEM_increase_reservation,
        .name = "increase_reservation",
        .argument = "xen_memory_reservation",
        .about = "Gives a domain more memory.",
        .rows = {Out("extent_start", Elements("nr_extents"))
                     .Filled(Returned())
                     .OrNull("the frame numbers are not wanted")
                     .Note("machine frames; a translated domain is told none"),
                 In("nr_extents"), In("extent_order"), In("mem_flags").Flags("XENMEMF_"),
                 In("domid")},
        .returns = "extents done, also when not all could be",
    },
    {
        .number = XENMEM_decrease_reservation,
        .name = "decrease_reservation",
        .argument = "xen_memory_reservation",
        .about = "Takes memory from a domain.",
        .rows = {In("extent_start", Elements("nr_extents")).Note("guest frames"), In("nr_extents"),
                 In("extent_order"), In("mem_flags"), In("domid")},
        .returns = "extents done, also when not all could be",
    },
    {
        .number = XENMEM_populate_physmap,
        .name = "populate_physmap",
        .argument = "xen_memory_reservation",
        .about = "Puts memory behind guest frames of a domain.",
        .rows = {InOut("extent_start", Elements("nr_extents"))
                     .Filled(Returned())
                     .Note(
                         "in: guest frames; out: machine frames, unless the domain is translated"),
                 In("nr_extents"), In("extent_order"), In("mem_flags").Flags("XENMEMF_"),
                 In("domid")},
        .returns = "extents done, also when not all could be",
    },
    {
        .number = XENMEM_exchange,
        .name = "exchange",
        .argument = "xen_memory_exchange",
        .about = "Swaps extents of a PV domain for others of a different size or place.",
        .rows = {In("in.extent_start", Elements("in.nr_extents")).Note("frames to give up"),
                 In("in.nr_extents"), In("in.extent_order"), In("in.mem_flags"), In("in.domid"),
                 InOut("out.extent_start", Elements("out.nr_extents"))
                     .Note("in: guest frames; out: the machine frames that they have got"),
                 In("out.nr_extents"), In("out.extent_order"),
                 In("out.mem_flags").Flags("XENMEMF_"), In("out.domid"),
                 InOut("nr_exchanged").Note("in: 0; out: extents of `in` that were exchanged")},
    },
    {
        .number = XENMEM_claim_pages,
        .name = "claim_pages",
        .argument = "xen_memory_reservation",
        .about = "Reserves an amount of memory for a domain, without frames yet.",
        .rows = {In("extent_start", Exactly(0)).OrNull("the only value allowed"),
                 In("nr_extents").Note("pages"), Zero("extent_order"), Zero("mem_flags"),
                 In("domid")},
    },
    {
        .number = XENMEM_current_reservation,
        .name = "current_reservation",
        .argument = "xen_memory_domain",
        .about = "Tells how many pages a domain has.",
        .rows = {In("domid")},
        .returns = "pages",
    },
    {
        .number = XENMEM_maximum_reservation,
        .name = "maximum_reservation",
        .argument = "xen_memory_domain",
        .about = "Tells how many pages a domain may have.",
        .rows = {In("domid")},
        .returns = "pages",
    },
    {
        .number = XENMEM_maximum_gpfn,
        .name = "maximum_gpfn",
        .argument = "xen_memory_domain",
        .about = "Tells the highest guest frame in use.",
        .rows = {In("domid")},
        .returns = "a guest frame number",
    },
    {
        .number = XENMEM_maximum_ram_page,
        .name = "maximum_ram_page",
        .argument = nullptr,
        .about = "Tells the highest machine frame of memory.",
        .returns = "a machine frame number",
    },
    {
        .number = XENMEM_set_pod_target,
        .name = "set_pod_target",
        .argument = "xen_pod_target",
        .about = "Sets how much memory a populate-on-demand domain gets.",
        .rows = {In("target_pages"), Out("tot_pages"), Out("pod_cache_pages"), Out("pod_entries"),
                 In("domid")},
    },
    {
        .number = XENMEM_get_pod_target,
        .name = "get_pod_target",
        .argument = "xen_pod_target",
        .about = "Tells how much memory a populate-on-demand domain has got.",
        .rows = {Ignored("target_pages"), Out("tot_pages"), Out("pod_cache_pages"),
                 Out("pod_entries"), In("domid")},
    },

    // What lies at which guest frame.
    {
        .number = XENMEM_add_to_physmap,
        .name = "add_to_physmap",
        .argument = "xen_add_to_physmap",
        .about = "Puts a page of some kind at a guest frame.",
        .rows = {In("domid"), In("size").Note("pages; only of a gmfn_range"),
                 In("space").Enum("XENMAPSPACE_"), In("idx"), In("gpfn")},
    },
    {
        .number = XENMEM_add_to_physmap_batch,
        .name = "add_to_physmap_batch",
        .argument = "xen_add_to_physmap_batch",
        .about = "Puts pages of some kind at guest frames, and tells the outcome of each.",
        .rows = {In("domid"), In("space").Enum("XENMAPSPACE_"), In("size"),
                 In("u.foreign_domid").Note("only of gmfn_foreign; else 0"),
                 Overlay("u.res0", "u.foreign_domid"), In("idxs", Elements("size")),
                 In("gpfns", Elements("size")), Out("errs", Elements("size"))},
    },
    {
        .number = XENMEM_remove_from_physmap,
        .name = "remove_from_physmap",
        .argument = "xen_remove_from_physmap",
        .about = "Takes the page at a guest frame away.",
        .rows = {In("domid"), In("gpfn")},
    },
    {
        .number = XENMEM_acquire_resource,
        .name = "acquire_resource",
        .argument = "xen_mem_acquire_resource",
        .about = "Gets the pages of a resource of another domain, to be mapped.",
        .rows = {In("domid"), In("type").Note("XENMEM_resource_*"), In("id"), InOut("nr_frames"),
                 Zero("pad"), In("frame").Note("the first one wanted"),
                 InOut("frame_list", Elements("nr_frames"))
                     .OrNull("asks for the size, in `nr_frames`, which has to be 0")
                     .Note("in: guest frames of a translated caller; out: machine frames of a PV "
                           "caller")},
    },

    // Memory maps.
    {
        .number = XENMEM_memory_map,
        .name = "memory_map",
        .argument = "xen_memory_map",
        .about = "Tells the calling domain's memory map.",
        .rows = {InOut("nr_entries"),
                 Out("buffer", Elements("nr_entries")).Filled("nr_entries").Of("e820_entry")},
    },
    {
        .number = XENMEM_machine_memory_map,
        .name = "machine_memory_map",
        .argument = "xen_memory_map",
        .about = "Tells the machine's memory map.",
        .rows = {InOut("nr_entries"), Out("buffer", Elements("nr_entries"))
                                          .Filled("nr_entries")
                                          .Of("e820_entry")
                                          .OrNull("asks for `nr_entries`")},
    },
    {
        .number = XENMEM_set_memory_map,
        .name = "set_memory_map",
        .argument = "xen_foreign_memory_map",
        .about = "Sets the memory map that a domain is told.",
        .rows = {In("domid"), In("map.nr_entries").Note("at most 128"),
                 In("map.buffer", Elements("map.nr_entries")).Of("e820_entry")},
    },
    {
        .number = XENMEM_reserved_device_memory_map,
        .name = "reserved_device_memory_map",
        .argument = "xen_reserved_device_memory_map",
        .about = "Lists guest frames that devices need for themselves.",
        .rows = {In("flags").Flags("XENMEM_RDM_"),
                 InOut("nr_entries").Note("out: how many there are"),
                 Out("buffer", Elements("nr_entries")).Filled("nr_entries"),
                 In("dev.pci").Note("not looked at with XENMEM_RDM_ALL")},
    },
    {
        .number = XENMEM_get_vnumainfo,
        .name = "get_vnumainfo",
        .argument = "xen_vnuma_topology_info",
        .about = "Tells a domain's virtual NUMA topology.",
        .rows = {In("domid"), Zero("pad"), InOut("nr_vnodes"), InOut("nr_vcpus"),
                 InOut("nr_vmemranges"),
                 Out("vdistance.h", Elements("nr_vnodes", "nr_vnodes"))
                     .Filled(Elements("nr_vnodes", "nr_vnodes"))
                     .Note("row by row"),
                 Overlay("vdistance.pad", "vdistance.h"),
                 Out("vcpu_to_vnode.h", Elements("nr_vcpus")).Filled("nr_vcpus"),
                 Overlay("vcpu_to_vnode.pad", "vcpu_to_vnode.h"),
                 Out("vmemrange.h", Elements("nr_vmemranges")).Filled("nr_vmemranges"),
                 Overlay("vmemrange.pad", "vmemrange.h")},
    },
    {
        .number = XENMEM_machphys_mfn_list,
        .name = "machphys_mfn_list",
        .argument = "xen_machphys_mfn_list",
        .about = "Lists the frames of the machine-to-physical table, one for each 2 MiB.",
        .rows = {In("max_extents"),
                 Out("extent_start", Elements("max_extents")).Filled("nr_extents"),
                 Out("nr_extents")},
    },
    {
        .number = XENMEM_machphys_compat_mfn_list,
        .name = "machphys_compat_mfn_list",
        .argument = "xen_machphys_mfn_list",
        .about = "Lists the frames of the machine-to-physical table for 32-bit domains.",
        .rows = {In("max_extents"),
                 Out("extent_start", Elements("max_extents")).Filled("nr_extents"),
                 Out("nr_extents")},
    },
    {
        .number = XENMEM_machphys_mapping,
        .name = "machphys_mapping",
        .argument = "xen_machphys_mapping",
        .about = "Tells where the machine-to-physical table is mapped.",
        .rows = {Out("v_start"), Out("v_end"), Out("max_mfn")},
    },

    // Paging, access and sharing of single pages.
    {
        .number = XENMEM_paging_op,
        .name = "paging_op",
        .argument = "xen_mem_paging_op",
        .about = "Pages a page of a domain out, or back in.",
        .rows = {In("op").Enum("XENMEM_paging_op_"), In("domain"), In("gfn")},
        .cases =
            {
                {When("op", XENMEM_paging_op_nominate, XENMEM_paging_op_evict),
                 {Ignored("buffer")}},
                {When("op", XENMEM_paging_op_prep),
                 {In("buffer", Exactly(4096))
                      .OrNull("the page has its contents already")
                      .Note("the page's contents")}},
            },
    },
    {
        .number = XENMEM_access_op,
        .name = "access_op",
        .argument = "xen_mem_access_op",
        .about = "Sets or reads how a domain may access its pages.",
        .rows = {In("op").Enum("XENMEM_access_op_"), In("domid")},
        .cases =
            {
                {When("op", XENMEM_access_op_set_access),
                 {In("access").Enum("XENMEM_access_", "xenmem_access_t"), In("nr"),
                  In("pfn").Note("~0: what pages have by default"), Ignored("pfn_list"),
                  Ignored("access_list")}},
                {When("op", XENMEM_access_op_get_access),
                 {Out("access").Enum("XENMEM_access_", "xenmem_access_t"), Ignored("nr"),
                  In("pfn").Note("~0: what pages have by default"), Ignored("pfn_list"),
                  Ignored("access_list")}},
                {When("op", XENMEM_access_op_set_access_multi),
                 {Ignored("access"), In("nr"), Ignored("pfn"), In("pfn_list", Elements("nr")),
                  In("access_list", Elements("nr")).Note("XENMEM_access_*, one for each page")}},
            },
    },
    {
        .number = XENMEM_sharing_op,
        .name = "sharing_op",
        .argument = "xen_mem_sharing_op",
        .about = "Lets domains share pages that are equal.",
        .rows = {In("op").Enum("XENMEM_sharing_op_"), In("domain")},
        .cases =
            {
                {When("op", XENMEM_sharing_op_nominate_gfn),
                 {In("u.nominate.u.gfn"), Out("u.nominate.handle")}},
                {When("op", XENMEM_sharing_op_nominate_gref),
                 {In("u.nominate.u.grant_ref"), Out("u.nominate.handle")}},
                {When("op", XENMEM_sharing_op_share, XENMEM_sharing_op_add_physmap),
                 {In("u.share.source_gfn"), In("u.share.source_handle"), In("u.share.client_gfn"),
                  In("u.share.client_handle"), In("u.share.client_domain")}},
                {When("op", XENMEM_sharing_op_debug_gfn), {In("u.debug.u.gfn")}},
                {When("op", XENMEM_sharing_op_debug_mfn), {In("u.debug.u.mfn")}},
                {When("op", XENMEM_sharing_op_debug_gref), {In("u.debug.u.gref")}},
                {When("op", XENMEM_sharing_op_range_share),
                 {In("u.range.first_gfn"), In("u.range.last_gfn"),
                  InOut("u.range.opaque").Note("progress; 0 at first, and when all is done"),
                  In("u.range.client_domain"), Zero("u.range._pad")}},
                {When("op", XENMEM_sharing_op_fork, XENMEM_sharing_op_fork_reset),
                 {In("u.fork.parent_domain"), In("u.fork.flags").Flags("XENMEM_FORK_"),
                  Zero("u.fork.pad")}},
                {When("op", XENMEM_sharing_op_audit), {}},
            },
        .returns = "of audit: errors found",
    },
    {
        .number = XENMEM_get_sharing_freed_pages,
        .name = "get_sharing_freed_pages",
        .argument = nullptr,
        .about = "Tells how many pages sharing has saved.",
        .returns = "pages",
    },
    {
        .number = XENMEM_get_sharing_shared_pages,
        .name = "get_sharing_shared_pages",
        .argument = nullptr,
        .about = "Tells how many pages are shared.",
        .returns = "pages",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_MEMORY_H_
