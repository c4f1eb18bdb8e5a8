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
        .about = "Gives a domain more memory, extent by extent.",
        .rows =
            {Out("extent_start", Elements("nr_extents"))
                 .Filled(Returned())
                 .OrNull("the frame numbers are not wanted")
                 .Note("machine frames; a translated domain is told none"),
             In("nr_extents"), In("extent_order").Note("an extent is 2^extent_order pages"),
             In("mem_flags")
                 .Flags("XENMEMF_")
                 .Note(
                     "width of addresses in bits 0 to 7, 0: any; node + 1 in bits 8 to 15, 0: any"),
             In("domid").Note("DOMID_SELF: the caller")},
        .returns = "extents done, also when not all could be",
    },
    {
        .number = XENMEM_decrease_reservation,
        .name = "decrease_reservation",
        .argument = "xen_memory_reservation",
        .about = "Takes memory from a domain, extent by extent.",
        .rows = {In("extent_start", Elements("nr_extents"))
                     .Note("guest frames, the first of each extent"),
                 In("nr_extents"), In("extent_order").Note("an extent is 2^extent_order pages"),
                 In("mem_flags").Note("0"), In("domid").Note("DOMID_SELF: the caller")},
        .returns = "extents done, also when not all could be",
    },
    {
        .number = XENMEM_populate_physmap,
        .name = "populate_physmap",
        .argument = "xen_memory_reservation",
        .about = "Puts memory behind guest frames of a domain, extent by extent.",
        .rows =
            {InOut("extent_start", Elements("nr_extents"))
                 .Filled(Returned())
                 .Note("in: guest frames, the first of each extent; out: machine frames, unless "
                       "the domain is translated, or with XENMEMF_populate_on_demand"),
             In("nr_extents"), In("extent_order").Note("an extent is 2^extent_order pages"),
             In("mem_flags")
                 .Flags("XENMEMF_")
                 .Note(
                     "width of addresses in bits 0 to 7, 0: any; node + 1 in bits 8 to 15, 0: any"),
             In("domid").Note("DOMID_SELF: the caller")},
        .returns = "extents done, also when not all could be",
    },
    {
        .number = XENMEM_exchange,
        .name = "exchange",
        .argument = "xen_memory_exchange",
        .about = "Swaps extents of a PV domain for as much memory in extents of a different size "
                 "or place.",
        .rows = {In("in.extent_start", Elements("in.nr_extents"))
                     .Note("frames to give up, the first of each extent"),
                 In("in.nr_extents"),
                 In("in.extent_order").Note("an extent is 2^extent_order pages"),
                 Ignored("in.mem_flags"), In("in.domid").Note("DOMID_SELF: the caller"),
                 InOut("out.extent_start", Elements("out.nr_extents"))
                     .Note("in: guest frames; out: the machine frames that they have got"),
                 In("out.nr_extents"),
                 In("out.extent_order").Note("as many pages in all as `in`, or -EINVAL"),
                 In("out.mem_flags").Flags("XENMEMF_").Note("as populate_physmap's"),
                 In("out.domid").Note("as `in`"),
                 InOut("nr_exchanged")
                     .Note("in: 0, or where to go on; out, of an error too: extents of `in` that "
                           "were exchanged")},
    },
    {
        .number = XENMEM_claim_pages,
        .name = "claim_pages",
        .argument = "xen_memory_reservation",
        .about = "Sets memory aside for a domain, without frames yet; what is allocated later "
                 "comes out of it. 0 pages: takes it back.",
        .rows = {In("extent_start", Exactly(0)).OrNull("the only value allowed"),
                 In("nr_extents")
                     .Note(
                         "pages, those that it has already included; no more than those: -EINVAL"),
                 Zero("extent_order"), Zero("mem_flags"), In("domid").Note("not DOMID_SELF")},
    },
    {
        .number = XENMEM_current_reservation,
        .name = "current_reservation",
        .argument = "xen_memory_domain",
        .about = "Tells how many pages a domain has.",
        .rows = {In("domid").Note("DOMID_SELF: the caller")},
        .returns = "pages",
    },
    {
        .number = XENMEM_maximum_reservation,
        .name = "maximum_reservation",
        .argument = "xen_memory_domain",
        .about = "Tells how many pages a domain may have.",
        .rows = {In("domid").Note("DOMID_SELF: the caller")},
        .returns = "pages",
    },
    {
        .number = XENMEM_maximum_gpfn,
        .name = "maximum_gpfn",
        .argument = "xen_memory_domain",
        .about = "Tells the highest guest frame in use.",
        .rows = {In("domid").Note("DOMID_SELF: the caller")},
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
        .rows = {In("target_pages").Note("with what is populated already"),
                 Out("tot_pages").Note("pages that it has"),
                 Out("pod_cache_pages").Note("of these, waiting to be put somewhere"),
                 Out("pod_entries").Note("guest pages that are not populated yet"), In("domid")},
    },
    {
        .number = XENMEM_get_pod_target,
        .name = "get_pod_target",
        .argument = "xen_pod_target",
        .about = "Tells how much memory a populate-on-demand domain has got.",
        .rows = {Ignored("target_pages"), Out("tot_pages").Note("pages that it has"),
                 Out("pod_cache_pages").Note("of these, waiting to be put somewhere"),
                 Out("pod_entries").Note("guest pages that are not populated yet"), In("domid")},
    },

    // What lies at which guest frame.
    {
        .number = XENMEM_add_to_physmap,
        .name = "add_to_physmap",
        .argument = "xen_add_to_physmap",
        .about = "Puts a page of some kind at a guest frame of a translated domain. Pages of other "
                 "domains: add_to_physmap_batch.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"),
                 In("size").Note("pages; only of a gmfn_range"), In("space").Enum("XENMAPSPACE_"),
                 In("idx").Note("which one: of gmfn the guest frame, of grant_table the frame"),
                 In("gpfn").Note("guest frame; what is there is taken away")},
    },
    {
        .number = XENMEM_add_to_physmap_batch,
        .name = "add_to_physmap_batch",
        .argument = "xen_add_to_physmap_batch",
        .about = "Puts pages of some kind at guest frames, and tells the outcome of each.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), In("space").Enum("XENMAPSPACE_"),
                 In("size").Note("elements of each list"),
                 In("u.foreign_domid").Note("only of gmfn_foreign; else 0"),
                 Overlay("u.res0", "u.foreign_domid"),
                 In("idxs", Elements("size")).Note("as `idx` of add_to_physmap"),
                 In("gpfns", Elements("size")).Note("guest frames"),
                 Out("errs", Elements("size")).Note("0, or a negative errno")},
    },
    {
        .number = XENMEM_remove_from_physmap,
        .name = "remove_from_physmap",
        .argument = "xen_remove_from_physmap",
        .about =
            "Takes the page at a guest frame of a translated domain away. -ENOENT: there is none.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), In("gpfn").Note("guest frame")},
    },
    {
        .number = XENMEM_acquire_resource,
        .name = "acquire_resource",
        .argument = "xen_mem_acquire_resource",
        .about = "Gets the pages of a resource of another domain, to be mapped.",
        .rows = {In("domid").Note("not the caller's"), In("type").Note("XENMEM_resource_*"),
                 In("id").Note("of ioreq_server its id; of grant_table "
                               "XENMEM_resource_grant_table_id_*; of vmtrace_buf the vcpu"),
                 InOut("nr_frames").Note("in: how many; out, of a question: how many there are"),
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
        .about = "Tells the calling domain's memory map, as set_memory_map gave it. -ENOSYS: there "
                 "is none.",
        .rows = {InOut("nr_entries").Note("in: room; out: what was told, cut to the room"),
                 Out("buffer", Elements("nr_entries"))
                     .Filled("nr_entries")
                     .Of("e820_entry")
                     .Note("addresses and sizes in bytes")},
    },
    {
        .number = XENMEM_machine_memory_map,
        .name = "machine_memory_map",
        .argument = "xen_memory_map",
        .about = "Tells the machine's memory map, as the caller may see it.",
        .rows = {InOut("nr_entries").Note("in: room, more than there are entries, or -EINVAL"),
                 Out("buffer", Elements("nr_entries"))
                     .Filled("nr_entries")
                     .Of("e820_entry")
                     .OrNull("asks for `nr_entries`")
                     .Note("addresses and sizes in bytes")},
    },
    {
        .number = XENMEM_set_memory_map,
        .name = "set_memory_map",
        .argument = "xen_foreign_memory_map",
        .about = "Sets the memory map that a domain is told by memory_map.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), In("map.nr_entries"),
                 In("map.buffer", Elements("map.nr_entries").AtMost(1024))
                     .Of("e820_entry")
                     .Note("addresses and sizes in bytes")},
    },
    {
        .number = XENMEM_reserved_device_memory_map,
        .name = "reserved_device_memory_map",
        .argument = "xen_reserved_device_memory_map",
        .about = "Lists guest frames that devices need for themselves. -ENOBUFS, with what fits, "
                 "when there are more.",
        .rows = {In("flags").Flags("XENMEM_RDM_"),
                 InOut("nr_entries").Note("out: how many there are"),
                 Out("buffer", Elements("nr_entries"))
                     .Filled("nr_entries")
                     .Note("first guest frame, and pages"),
                 In("dev.pci").Note("not looked at with XENMEM_RDM_ALL")},
    },
    {
        .number = XENMEM_get_vnumainfo,
        .name = "get_vnumainfo",
        .argument = "xen_vnuma_topology_info",
        .about = "Tells a domain's virtual NUMA topology. -ENOBUFS, with the numbers that are "
                 "needed, when one of the three is too low; -EOPNOTSUPP: it has none.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), Zero("pad"),
                 InOut("nr_vnodes").Note("in: room; out: how many"),
                 InOut("nr_vcpus").Note("in: room; out: how many"),
                 InOut("nr_vmemranges").Note("in: room; out: how many"),
                 Out("vdistance.h", Elements("nr_vnodes", "nr_vnodes"))
                     .Filled(Elements("nr_vnodes", "nr_vnodes"))
                     .Note("row by row"),
                 Overlay("vdistance.pad", "vdistance.h"),
                 Out("vcpu_to_vnode.h", Elements("nr_vcpus"))
                     .Filled("nr_vcpus")
                     .Note("virtual node of each vcpu"),
                 Overlay("vcpu_to_vnode.pad", "vcpu_to_vnode.h"),
                 Out("vmemrange.h", Elements("nr_vmemranges"))
                     .Filled("nr_vmemranges")
                     .Note("guest-physical addresses, the end excluded"),
                 Overlay("vmemrange.pad", "vmemrange.h")},
    },
    {
        .number = XENMEM_machphys_mfn_list,
        .name = "machphys_mfn_list",
        .argument = "xen_machphys_mfn_list",
        .about = "Lists the frames of the machine-to-physical table, one for each 2 MiB.",
        .rows = {In("max_extents").Note("room"),
                 Out("extent_start", Elements("max_extents"))
                     .Filled("nr_extents")
                     .Note("machine frames"),
                 Out("nr_extents")},
    },
    {
        .number = XENMEM_machphys_compat_mfn_list,
        .name = "machphys_compat_mfn_list",
        .argument = "xen_machphys_mfn_list",
        .about = "Lists the frames of the machine-to-physical table for 32-bit domains.",
        .rows = {In("max_extents").Note("room"),
                 Out("extent_start", Elements("max_extents"))
                     .Filled("nr_extents")
                     .Note("machine frames"),
                 Out("nr_extents")},
    },
    {
        .number = XENMEM_machphys_mapping,
        .name = "machphys_mapping",
        .argument = "xen_machphys_mapping",
        .about = "Tells where the machine-to-physical table is mapped.",
        .rows = {Out("v_start").Note("address in the caller"),
                 Out("v_end").Note("address in the caller, excluded"),
                 Out("max_mfn").Note("highest machine frame in it")},
    },

    // Paging, access and sharing of single pages.
    {
        .number = XENMEM_paging_op,
        .name = "paging_op",
        .argument = "xen_mem_paging_op",
        .about = "Pages a page of a domain out (nominate, then evict), or gets it ready to be "
                 "paged in (prep).",
        .rows = {In("op").Enum("XENMEM_paging_op_"), In("domain").Note("not DOMID_SELF"),
                 In("gfn").Note("guest frame")},
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
        .about = "Sets or reads how a domain may access its pages. Needs a listener of monitor "
                 "events: -ENODEV.",
        .rows = {In("op").Enum("XENMEM_access_op_"), In("domid").Note("not the caller's")},
        .cases =
            {
                {When("op", XENMEM_access_op_set_access),
                 {In("access").Enum("XENMEM_access_", "xenmem_access_t"), In("nr").Note("pages"),
                  In("pfn").Note("~0: what pages have by default"), Ignored("pfn_list"),
                  Ignored("access_list")}},
                {When("op", XENMEM_access_op_get_access),
                 {Out("access").Enum("XENMEM_access_", "xenmem_access_t"), Ignored("nr"),
                  In("pfn").Note("~0: what pages have by default"), Ignored("pfn_list"),
                  Ignored("access_list")}},
                {When("op", XENMEM_access_op_set_access_multi),
                 {Ignored("access"), In("nr").Note("pages"), Ignored("pfn"),
                  In("pfn_list", Elements("nr")).Note("guest frames"),
                  In("access_list", Elements("nr")).Note("XENMEM_access_*, one for each page")}},
            },
    },
    {
        .number = XENMEM_sharing_op,
        .name = "sharing_op",
        .argument = "xen_mem_sharing_op",
        .about =
            "Lets domains share pages that are equal; a write gives the writer a copy of its own.",
        .rows = {In("op").Enum("XENMEM_sharing_op_"),
                 In("domain").Note("not the caller's; not looked at by audit")},
        .cases =
            {
                {When("op", XENMEM_sharing_op_nominate_gfn),
                 {In("u.nominate.u.gfn").Note("guest frame"),
                  Out("u.nominate.handle").Note("valid until the page changes")}},
                {When("op", XENMEM_sharing_op_nominate_gref),
                 {In("u.nominate.u.grant_ref").Note("grant that names the page"),
                  Out("u.nominate.handle").Note("valid until the page changes")}},
                {When("op", XENMEM_sharing_op_share, XENMEM_sharing_op_add_physmap),
                 {In("u.share.source_gfn")
                      .Note("guest frame, or XENMEM_SHARING_OP_MAKE_GREF of a grant"),
                  In("u.share.source_handle").Note("as nominate told"),
                  In("u.share.client_gfn").Note("as `source_gfn`, of the other domain"),
                  In("u.share.client_handle")
                      .Note("as nominate told; not looked at by add_physmap"),
                  In("u.share.client_domain").Note("not the caller's")}},
                {When("op", XENMEM_sharing_op_debug_gfn),
                 {In("u.debug.u.gfn").Note("guest frame")}},
                {When("op", XENMEM_sharing_op_debug_mfn),
                 {In("u.debug.u.mfn").Note("machine frame; not implemented in 4.17")}},
                {When("op", XENMEM_sharing_op_debug_gref), {In("u.debug.u.gref").Note("grant")}},
                {When("op", XENMEM_sharing_op_range_share),
                 {In("u.range.first_gfn").Note("guest frame"),
                  In("u.range.last_gfn").Note("guest frame, included"),
                  InOut("u.range.opaque").Note("progress; 0 at first, and when all is done"),
                  In("u.range.client_domain").Note("domain that gets the same pages"),
                  Zero("u.range._pad")}},
                {When("op", XENMEM_sharing_op_fork, XENMEM_sharing_op_fork_reset),
                 {In("u.fork.parent_domain")
                      .Note("the domain becomes a copy of it; not looked at by fork_reset"),
                  In("u.fork.flags").Flags("XENMEM_FORK_"), Zero("u.fork.pad")}},
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
