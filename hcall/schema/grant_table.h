// grant_table_op (20): memory that domains grant one another. Source: xen/grant_table.h.
//
// Three registers: a command, a pointer to an array of structures that depend on it, and how many.
// Each structure tells its own outcome. A call that was interrupted keeps its progress in the bits
// of the command above the op.
#ifndef HCALL_SCHEMA_GRANT_TABLE_H_
#define HCALL_SCHEMA_GRANT_TABLE_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kGrantTableOp = {
    .number = __HYPERVISOR_grant_table_op,
    .name = "grant_table_op",
    .about = "Maps, copies and describes memory that domains grant one another.",
    .arguments = {"cmd", "uop", "count"},
    .registers = {In("cmd").LowBits(32), In("uop", Elements("count")), In("count").LowBits(32)},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .op_mask = 0xfff,
    .pointer = "uop",
    .prefix = "GNTTABOP_",
};

inline constexpr OpSpec kGrantTableOps[] = {
    {
        .number = GNTTABOP_map_grant_ref,
        .name = "map_grant_ref",
        .argument = "gnttab_map_grant_ref",
        .about = "Maps a page that another domain grants.",
        .rows = {In("host_addr")
                     .Note("where to; or, with GNTMAP_contains_pte, the machine address "
                           "of the page-table entry"),
                 In("flags").Flags("GNTMAP_"),
                 In("ref").Note("the grant, a number of the granting domain"),
                 In("dom").Note("who grants"), Out("status").Enum("GNTST_"),
                 Out("handle").Note("for unmap_grant_ref"),
                 Out("dev_bus_addr").Note("machine address, for devices")},
    },
    {
        .number = GNTTABOP_unmap_grant_ref,
        .name = "unmap_grant_ref",
        .argument = "gnttab_unmap_grant_ref",
        .about = "Takes back map_grant_ref.",
        .rows = {In("host_addr").Note("as map_grant_ref was told; 0: not mapped"),
                 In("dev_bus_addr").Note("as map_grant_ref told; 0: none"),
                 In("handle").Note("as map_grant_ref told"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_setup_table,
        .name = "setup_table",
        .argument = "gnttab_setup_table",
        .about = "Grows a domain's grant table and tells its frames. One structure in a call.",
        .rows = {In("dom").Note("DOMID_SELF: the caller"),
                 In("nr_frames")
                     .Note("frames wanted; more than the domain may have: GNTST_general_error"),
                 Out("status").Enum("GNTST_"),
                 Out("frame_list", Elements("nr_frames"))
                     .Note("machine frames, or guest frames of a translated domain")},
        .outer = {InOut("uop", Elements("count").AtMost(1))},
    },
    {
        .number = GNTTABOP_dump_table,
        .name = "dump_table",
        .argument = "gnttab_dump_table",
        .about = "Prints a domain's grant table on the hypervisor's console.",
        .rows = {In("dom"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_transfer,
        .name = "transfer",
        .argument = "gnttab_transfer",
        .about = "Gives a page away for good.",
        .rows = {In("mfn").Note("page to give away"), In("domid").Note("who gets it"),
                 In("ref").Note("grant that the receiver made for it"),
                 Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_copy,
        .name = "copy",
        .argument = "gnttab_copy",
        .about = "Copies inside a page, from or to one that is granted.",
        .rows = {In("source.domid").Note("DOMID_SELF: the caller"),
                 In("source.offset").Note("bytes in the page"),
                 In("dest.domid").Note("DOMID_SELF: the caller"),
                 In("dest.offset").Note("bytes in the page"), In("len").Note("bytes"),
                 In("flags").Flags("GNTCOPY_"), Out("status").Enum("GNTST_")},
        .cases =
            {
                {WhenFlag("flags", GNTCOPY_source_gref), {In("source.u.ref").Note("grant")}},
                {UnlessFlag("flags", GNTCOPY_source_gref),
                 {In("source.u.gmfn").Note("guest frame")}},
                {WhenFlag("flags", GNTCOPY_dest_gref), {In("dest.u.ref").Note("grant")}},
                {UnlessFlag("flags", GNTCOPY_dest_gref), {In("dest.u.gmfn").Note("guest frame")}},
            },
    },
    {
        .number = GNTTABOP_query_size,
        .name = "query_size",
        .argument = "gnttab_query_size",
        .about =
            "Tells how large a domain's grant table is and may become. One structure in a call.",
        .rows = {In("dom").Note("DOMID_SELF: the caller"), Out("nr_frames").Note("frames"),
                 Out("max_nr_frames").Note("frames"), Out("status").Enum("GNTST_")},
        .outer = {InOut("uop", Elements("count").AtMost(1))},
    },
    {
        .number = GNTTABOP_unmap_and_replace,
        .name = "unmap_and_replace",
        .argument = "gnttab_unmap_and_replace",
        .about = "Takes back map_grant_ref and puts another page in its place.",
        .rows = {In("host_addr").Note("as map_grant_ref was told"),
                 In("new_addr").Note("of the mapping that moves there"),
                 In("handle").Note("as map_grant_ref told"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_set_version,
        .name = "set_version",
        .argument = "gnttab_set_version",
        .about = "Chooses the format of the calling domain's grant table.",
        .rows = {InOut("version").Note("1 or 2; out: the one in use")},
        .outer = {InOut("uop", One()).Note("whatever `count` says")},
    },
    {
        .number = GNTTABOP_get_status_frames,
        .name = "get_status_frames",
        .argument = "gnttab_get_status_frames",
        .about = "Tells the frames that hold the status of grants, in version 2. One structure in "
                 "a call.",
        .rows = {In("nr_frames").Note("frames wanted"), In("dom").Note("DOMID_SELF: the caller"),
                 Out("status").Enum("GNTST_"),
                 Out("frame_list", Elements("nr_frames"))
                     .Note("machine frames, or guest frames of a translated domain")},
        .outer = {InOut("uop", Elements("count").AtMost(1))},
    },
    {
        .number = GNTTABOP_get_version,
        .name = "get_version",
        .argument = "gnttab_get_version",
        .about = "Tells the format of a domain's grant table.",
        .rows = {In("dom").Note("DOMID_SELF: the caller"), Ignored("pad"),
                 Out("version").Note("1 or 2")},
        .outer = {InOut("uop", One()).Note("whatever `count` says")},
    },
    {
        .number = GNTTABOP_swap_grant_ref,
        .name = "swap_grant_ref",
        .argument = "gnttab_swap_grant_ref",
        .about = "Swaps two entries of the calling domain's grant table.",
        .rows = {In("ref_a").Note("grant"), In("ref_b").Note("grant"),
                 Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_cache_flush,
        .name = "cache_flush",
        .argument = "gnttab_cache_flush",
        .about = "Cleans or invalidates the caches for part of a granted page (Arm).",
        .rows = {In("offset").Note("bytes in the page"), In("length").Note("bytes"),
                 In("op").Flags("GNTTAB_CACHE_")},
        .cases =
            {
                {WhenFlag("op", GNTTAB_CACHE_SOURCE_GREF), {In("a.ref").Note("grant")}},
                {UnlessFlag("op", GNTTAB_CACHE_SOURCE_GREF),
                 {In("a.dev_bus_addr").Note("machine address")}},
            },
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_GRANT_TABLE_H_
