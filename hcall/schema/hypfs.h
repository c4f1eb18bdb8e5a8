// hypfs_op (42): the hypervisor's own small filesystem of settings. Source: xen/hypfs.h.
//
// Five registers: a command, a path with its length, and a buffer with its length, in bytes.
#ifndef HCALL_SCHEMA_HYPFS_H_
#define HCALL_SCHEMA_HYPFS_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kHypfsOp = {
    .number = __HYPERVISOR_hypfs_op,
    .name = "hypfs_op",
    .about = "Reads and writes the hypervisor's settings.",
    .arguments = {"cmd", "arg1", "arg2", "arg3", "arg4"},
    .registers = {In("cmd").LowBits(32)},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .prefix = "XEN_HYPFS_OP_",
};

inline constexpr OpSpec kHypfsOps[] = {
    {
        .number = XEN_HYPFS_OP_get_version,
        .name = "get_version",
        .argument = nullptr,
        .about = "Tells the newest version of this interface.",
        .outer = {In("arg1", Exactly(0)).Of("void").OrNull("the only value allowed"), Zero("arg2"),
                  In("arg3", Exactly(0)).Of("void").OrNull("the only value allowed"), Zero("arg4")},
        .returns = "a version",
    },
    {
        .number = XEN_HYPFS_OP_read,
        .name = "read",
        .argument = nullptr,
        .about = "Reads an entry: a file's contents, or a folder's entries. -ENOBUFS with too "
                 "little room, where only the first structure is filled in, with the size.",
        .outer =
            {In("arg1", Elements("arg2").AtMost(XEN_HYPFS_MAX_PATHLEN)).Of("char").Note("path"),
             In("arg2").Note("bytes, the zero included"),
             Out("arg3", Elements("arg4"))
                 .Of("void")
                 .Note("xen_hypfs_direntry, then the contents; of a folder, one "
                       "xen_hypfs_dirlistentry after the other"),
             In("arg4").Note("bytes")},
    },
    {
        .number = XEN_HYPFS_OP_write_contents,
        .name = "write_contents",
        .argument = nullptr,
        .about = "Writes a file's contents.",
        .outer =
            {In("arg1", Elements("arg2").AtMost(XEN_HYPFS_MAX_PATHLEN)).Of("char").Note("path"),
             In("arg2").Note("bytes, the zero included"),
             In("arg3", Elements("arg4"))
                 .Of("void")
                 .Note("as large as the file, of text with its zero"),
             In("arg4").Note("bytes")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_HYPFS_H_
