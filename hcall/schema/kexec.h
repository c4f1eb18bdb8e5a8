// kexec_op (37): loads the kernel that runs after this one, or after a crash. Source: xen/kexec.h.
//
// Two registers: a command and a pointer to a structure that depends on it.
#ifndef HCALL_SCHEMA_KEXEC_H_
#define HCALL_SCHEMA_KEXEC_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kKexecOp = {
    .number = __HYPERVISOR_kexec_op,
    .name = "kexec_op",
    .about = "Loads and starts another kernel in this one's place.",
    .arguments = {"op", "uarg"},
    .registers = {In("op"), In("uarg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "op",
    .pointer = "uarg",
    .prefix = "KEXEC_CMD_",
};

inline constexpr OpSpec kKexecOps[] = {
    {
        .number = KEXEC_CMD_kexec,
        .name = "kexec",
        .argument = "xen_kexec_exec",
        .about = "Starts the kernel that was loaded; comes back only on an error.",
        .rows = {In("type").Enum("KEXEC_TYPE_")},
    },
    {
        .number = KEXEC_CMD_kexec_load_v1,
        .name = "kexec_load_v1",
        .argument = "xen_kexec_load_v1",
        .about = "Loads a kernel, in the form before 0x00040400.",
        .rows = {In("type").Enum("KEXEC_TYPE_"), In("image").Note("machine addresses")},
    },
    {
        .number = KEXEC_CMD_kexec_unload_v1,
        .name = "kexec_unload_v1",
        .argument = "xen_kexec_load_v1",
        .about = "Unloads a kernel, in the form before 0x00040400.",
        .rows = {In("type").Enum("KEXEC_TYPE_"), Ignored("image")},
    },
    {
        .number = KEXEC_CMD_kexec_get_range,
        .name = "kexec_get_range",
        .argument = "xen_kexec_range",
        .about = "Tells where memory lies that the other kernel has to know of.",
        .rows = {In("range").Enum("KEXEC_RANGE_MA_"), In("nr").Note("processor, of MA_CPU"),
                 Out("size").Note("bytes"), Out("start").Note("machine address")},
    },
    {
        .number = KEXEC_CMD_kexec_load,
        .name = "kexec_load",
        .argument = "xen_kexec_load",
        .about = "Loads a kernel, in pieces.",
        .rows = {In("type").Enum("KEXEC_TYPE_"), Ignored("_pad"), In("arch").Note("EM_* of ELF"),
                 In("nr_segments").Note("pieces"),
                 In("segments.h", Elements("nr_segments").AtMost(15)),
                 Overlay("segments._pad", "segments.h"), In("entry_maddr").Note("machine address")},
    },
    {
        .number = KEXEC_CMD_kexec_unload,
        .name = "kexec_unload",
        .argument = "xen_kexec_unload",
        .about = "Unloads a kernel.",
        .rows = {In("type").Enum("KEXEC_TYPE_")},
    },
    {
        .number = KEXEC_CMD_kexec_status,
        .name = "kexec_status",
        .argument = "xen_kexec_status",
        .about = "Tells whether a kernel is loaded.",
        .rows = {In("type").Enum("KEXEC_TYPE_")},
        .returns = "1 or 0",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_KEXEC_H_
