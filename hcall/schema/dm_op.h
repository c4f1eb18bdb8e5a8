// dm_op (41): what a device model does to the domain that it serves. Source: xen/hvm/dm_op.h.
//
// Three registers: the domain, a count, and a pointer to a list of so many buffers, each an address
// and a length in bytes. The first buffer holds struct xen_dm_op, with the op; what the second one
// holds depends on it. The lengths are all that bounds the buffers, so that a device model with few
// rights can be let through: its kernel checks addresses without knowing ops.
#ifndef HCALL_SCHEMA_DM_OP_H_
#define HCALL_SCHEMA_DM_OP_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kDmOp = {
    .number = __HYPERVISOR_dm_op,
    .name = "dm_op",
    .about = "Emulates devices for an HVM domain.",
    .arguments = {"domid", "nr_bufs", "bufs"},
    .registers = {In("domid").LowBits(16), In("nr_bufs").LowBits(32),
                  In("bufs", Elements("nr_bufs").AtMost(2)).Of("xen_dm_op_buf")},
    .op_place = OpPlace::kFirstBuffer,
    .op_field = "op",
    .pointer = "bufs",
    .type = "xen_dm_op",
    .rows = {In("op"), Zero("pad")},
    .prefix = "XEN_DMOP_",
    .others = {"XEN_DMOP_no_gfns", "XEN_DMOP_IO_RANGE_", "XEN_DMOP_EVENT_", "XEN_DMOP_IOREQ_",
               "XEN_DMOP_MEM_CACHEATTR_", "XEN_DMOP_DELETE_MEM_CACHEATTR"},
};

inline constexpr OpSpec kDmOps[] = {
    {
        .number = XEN_DMOP_create_ioreq_server,
        .name = "create_ioreq_server",
        .argument = "u.create_ioreq_server",
        .about = "Creates a server of I/O requests.",
        .rows = {In("handle_bufioreq").Enum("HVM_IOREQSRV_BUFIOREQ_"), Zero("pad"),
                 Out("id").Note("server")},
    },
    {
        .number = XEN_DMOP_get_ioreq_server_info,
        .name = "get_ioreq_server_info",
        .argument = "u.get_ioreq_server_info",
        .about = "Tells the event channel and the pages of a server.",
        .rows = {In("id").Note("server"), In("flags").Flags("XEN_DMOP_no_gfns"),
                 Out("bufioreq_port").Note("event channel for buffered requests"),
                 Out("ioreq_gfn").Note("guest frame of the requests"),
                 Out("bufioreq_gfn").Note("guest frame of the buffered ones")},
    },
    {
        .number = XEN_DMOP_map_io_range_to_ioreq_server,
        .name = "map_io_range_to_ioreq_server",
        .argument = "u.map_io_range_to_ioreq_server",
        .about = "Sends a range of ports, memory or PCI configuration to a server.",
        .rows = {In("id").Note("server"), Zero("pad"), In("type").Enum("XEN_DMOP_IO_RANGE_"),
                 In("start").Note(
                     "port, guest-physical address, or segment, bus, device and function"),
                 In("end").Note("the last one")},
    },
    {
        .number = XEN_DMOP_unmap_io_range_from_ioreq_server,
        .name = "unmap_io_range_from_ioreq_server",
        .argument = "u.unmap_io_range_from_ioreq_server",
        .about = "Takes back map_io_range_to_ioreq_server.",
        .rows = {In("id").Note("server"), Zero("pad"), In("type").Enum("XEN_DMOP_IO_RANGE_"),
                 In("start").Note(
                     "port, guest-physical address, or segment, bus, device and function"),
                 In("end").Note("the last one")},
    },
    {
        .number = XEN_DMOP_set_ioreq_server_state,
        .name = "set_ioreq_server_state",
        .argument = "u.set_ioreq_server_state",
        .about = "Switches a server on or off.",
        .rows = {In("id").Note("server"), In("enabled").Note("1: on"), Zero("pad")},
    },
    {
        .number = XEN_DMOP_destroy_ioreq_server,
        .name = "destroy_ioreq_server",
        .argument = "u.destroy_ioreq_server",
        .about = "Destroys a server.",
        .rows = {In("id").Note("server"), Zero("pad")},
    },
    {
        .number = XEN_DMOP_track_dirty_vram,
        .name = "track_dirty_vram",
        .argument = "u.track_dirty_vram",
        .about = "Tells which pages of a frame buffer were written since the last call.",
        .rows = {In("nr").Note("pages, at most 1 GiB of them; 0: stop tracking"), Zero("pad"),
                 In("first_pfn").Note("guest frame")},
        .buffers = {Out("dirty_bitmap", Bits("nr").AtMost(32768)).Of("uint8_t")},
    },
    {
        .number = XEN_DMOP_set_pci_intx_level,
        .name = "set_pci_intx_level",
        .argument = "u.set_pci_intx_level",
        .about = "Raises or lowers an interrupt pin of a PCI device.",
        .rows = {In("domain").Note("0"), In("bus").Note("0"), In("device"),
                 In("intx").Note("0: INTA; 3: INTD"), In("level").Note("1: raised; 0: lowered")},
    },
    {
        .number = XEN_DMOP_set_isa_irq_level,
        .name = "set_isa_irq_level",
        .argument = "u.set_isa_irq_level",
        .about = "Raises or lowers an ISA interrupt line.",
        .rows = {In("isa_irq").Note("line, 0 to 15"), In("level").Note("1: raised; 0: lowered")},
    },
    {
        .number = XEN_DMOP_set_pci_link_route,
        .name = "set_pci_link_route",
        .argument = "u.set_pci_link_route",
        .about = "Leads a PCI interrupt line to an ISA one.",
        .rows = {In("link"), In("isa_irq").Note("0: to none")},
    },
    {
        .number = XEN_DMOP_modified_memory,
        .name = "modified_memory",
        .argument = "u.modified_memory",
        .about = "Tells which pages the device model wrote.",
        .rows = {InOut("nr_extents").Note("out, of an error: 1 more than the extent's index"),
                 InOut("opaque").Note("progress; 0 at first")},
        .buffers = {In("extents", Elements("nr_extents")).Of("xen_dm_op_modified_memory_extent")},
    },
    {
        .number = XEN_DMOP_set_mem_type,
        .name = "set_mem_type",
        .argument = "u.set_mem_type",
        .about = "Says how a range of memory is to be treated.",
        .rows = {InOut("nr").Note("pages; counts down while the call continues"),
                 In("mem_type").Enum("HVMMEM_"), Zero("pad"),
                 InOut("first_pfn").Note("moves on while the call continues")},
    },
    {
        .number = XEN_DMOP_inject_event,
        .name = "inject_event",
        .argument = "u.inject_event",
        .about = "Injects an interrupt or an exception into a vcpu.",
        .rows = {In("vcpuid"), In("vector"), In("type").Enum("XEN_DMOP_EVENT_"),
                 In("insn_len").Note("bytes, of a software interrupt"), Zero("pad0"),
                 In("error_code").Note("~0: none"), Zero("pad1"),
                 In("cr2").Note("of a page fault; of #DB, what is pending")},
    },
    {
        .number = XEN_DMOP_inject_msi,
        .name = "inject_msi",
        .argument = "u.inject_msi",
        .about = "Injects a message-signalled interrupt.",
        .rows = {In("data").Note("as the device writes it"), Zero("pad"),
                 In("addr").Note("where the device writes it")},
    },
    {
        .number = XEN_DMOP_map_mem_type_to_ioreq_server,
        .name = "map_mem_type_to_ioreq_server",
        .argument = "u.map_mem_type_to_ioreq_server",
        .about = "Sends accesses to a type of memory to a server, or no longer.",
        .rows = {In("id").Note("server"), In("type").Enum("HVMMEM_"),
                 In("flags").Flags("XEN_DMOP_IOREQ_MEM_ACCESS_"),
                 InOut("opaque").Note("progress; 0 at first")},
    },
    {
        .number = XEN_DMOP_remote_shutdown,
        .name = "remote_shutdown",
        .argument = "u.remote_shutdown",
        .about = "Shuts the domain down.",
        .rows = {In("reason").Enum("SHUTDOWN_").Except("SHUTDOWN_MAX")},
    },
    {
        .number = XEN_DMOP_relocate_memory,
        .name = "relocate_memory",
        .argument = "u.relocate_memory",
        .about = "Moves pages of the domain to other guest frames.",
        .rows = {InOut("size").Note("pages; what it is afterwards is not defined"), Zero("pad"),
                 InOut("src_gfn").Note("first guest frame; moves on"),
                 InOut("dst_gfn").Note("first guest frame; moves on")},
    },
    {
        .number = XEN_DMOP_pin_memory_cacheattr,
        .name = "pin_memory_cacheattr",
        .argument = "u.pin_memory_cacheattr",
        .about = "Fixes how a range of memory is cached.",
        .rows = {In("start").Note("first guest frame"), In("end").Note("the last one"),
                 In("type").Enum("XEN_DMOP_MEM_CACHEATTR_"), Zero("pad")},
    },
    {
        .number = XEN_DMOP_set_irq_level,
        .name = "set_irq_level",
        .argument = "u.set_irq_level",
        .about = "Raises or lowers an interrupt line (Arm).",
        .rows = {In("irq"), In("level"), Zero("pad")},
    },
    {
        .number = XEN_DMOP_nr_vcpus,
        .name = "nr_vcpus",
        .argument = "u.nr_vcpus",
        .about = "Tells how many vcpus the domain has.",
        .rows = {Out("vcpus")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_DM_OP_H_
