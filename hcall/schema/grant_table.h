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
    .registers = {In("cmd"), In("uop", Elements("count")), In("count")},
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
                 In("flags").Flags("GNTMAP_"), In("ref"), In("dom"), Out("status").Enum("GNTST_"),
                 Out("handle"), Out("dev_bus_addr")},
    },
    {
        .number = GNTTABOP_unmap_grant_ref,
        .name = "unmap_grant_ref",
        .argument = "gnttab_unmap_grant_ref",
        .about = "Takes back map_grant_ref.",
        .rows = {In("host_addr"), In("dev_bus_addr"), In("handle"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_setup_table,
        .name = "setup_table",
        .argument = "gnttab_setup_table",
        .about = "Grows a domain's grant table and tells its frames.",
        .rows = {In("dom"), In("nr_frames"), Out("status").Enum("GNTST_"),
                 Out("frame_list", Elements("nr_frames"))},
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
        .rows = {In("mfn"), In("domid"), In("ref"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_copy,
        .name = "copy",
        .argument = "gnttab_copy",
        .about = "Copies inside a page, from or to one that is granted.",
        .rows = {In("source.domid"), In("source.offset"), In("dest.domid"), In("dest.offset"),
                 In("len").Note("bytes"), In("flags").Flags("GNTCOPY_"),
                 Out("status").Enum("GNTST_")},
        .cases =
            {
                {WhenFlag("flags", GNTCOPY_source_gref), {In("source.u.ref")}},
                {UnlessFlag("flags", GNTCOPY_source_gref), {In("source.u.gmfn")}},
                {WhenFlag("flags", GNTCOPY_dest_gref), {In("dest.u.ref")}},
                {UnlessFlag("flags", GNTCOPY_dest_gref), {In("dest.u.gmfn")}},
            },
    },
    {
        .number = GNTTABOP_query_size,
        .name = "query_size",
        .argument = "gnttab_query_size",
        .about = "Tells how large a domain's grant table is and may become.",
        .rows = {In("dom"), Out("nr_frames"), Out("max_nr_frames"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_unmap_and_replace,
        .name = "unmap_and_replace",
        .argument = "gnttab_unmap_and_replace",
        .about = "Takes back map_grant_ref and puts another page in its place.",
        .rows = {In("host_addr"), In("new_addr"), In("handle"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_set_version,
        .name = "set_version",
        .argument = "gnttab_set_version",
        .about = "Chooses the format of the calling domain's grant table.",
        .rows = {InOut("version").Note("1 or 2; out: the one in use")},
    },
    {
        .number = GNTTABOP_get_status_frames,
        .name = "get_status_frames",
        .argument = "gnttab_get_status_frames",
        .about = "Tells the frames that hold the status of grants, in version 2.",
        .rows = {In("nr_frames"), In("dom"), Out("status").Enum("GNTST_"),
                 Out("frame_list", Elements("nr_frames"))},
    },
    {
        .number = GNTTABOP_get_version,
        .name = "get_version",
        .argument = "gnttab_get_version",
        .about = "Tells the format of a domain's grant table.",
        .rows = {In("dom"), Ignored("pad"), Out("version")},
    },
    {
        .number = GNTTABOP_swap_grant_ref,
        .name = "swap_grant_ref",
        .argument = "gnttab_swap_grant_ref",
        .about = "Swaps two entries of the calling domain's grant table.",
        .rows = {In("ref_a"), In("ref_b"), Out("status").Enum("GNTST_")},
    },
    {
        .number = GNTTABOP_cache_flush,
        .name = "cache_flush",
        .argument = "gnttab_cache_flush",
        .about = "Cleans or invalidates the caches for part of a granted page (Arm).",
        .rows = {In("offset"), In("length").Note("bytes"), In("op").Flags("GNTTAB_CACHE_")},
        .cases =
            {
                {WhenFlag("op", GNTTAB_CACHE_SOURCE_GREF), {In("a.ref")}},
                {UnlessFlag("op", GNTTAB_CACHE_SOURCE_GREF), {In("a.dev_bus_addr")}},
            },
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_GRANT_TABLE_H_
