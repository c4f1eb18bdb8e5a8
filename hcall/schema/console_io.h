// console_io (18): the hypervisor's console. Source: xen/xen.h.
//
// Three registers: a command, a count of bytes, and a pointer to so many.
#ifndef HCALL_SCHEMA_CONSOLE_IO_H_
#define HCALL_SCHEMA_CONSOLE_IO_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kConsoleIo = {
    .number = __HYPERVISOR_console_io,
    .name = "console_io",
    .about = "Writes and reads the hypervisor's console.",
    .arguments = {"cmd", "count", "buffer"},
    .registers = {In("cmd").LowBits(32), In("count").LowBits(32).Note("bytes")},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .prefix = "CONSOLEIO_",
};

inline constexpr OpSpec kConsoleIoOps[] = {
    {
        .number = CONSOLEIO_write,
        .name = "write",
        .argument = nullptr,
        .about = "Writes to the console.",
        .outer = {In("buffer", Elements("count")).Of("char")},
    },
    {
        .number = CONSOLEIO_read,
        .name = "read",
        .argument = nullptr,
        .about = "Reads what was typed at the console.",
        .outer = {Out("buffer", Elements("count")).Filled(Returned()).Of("char")},
        .returns = "bytes read",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_CONSOLE_IO_H_
