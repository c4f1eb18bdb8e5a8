"""Makes the C++ header of Xen's structures and constants from the files in releases/.

It stands in for Xen's public headers, whichever the machine has installed: all that handles
hypercalls is compiled with it alone. What several releases have is as the first of them has it.
Xen's own headers may be included beside it, before or after: everything here is in xencomm::xen.
"""

import cpp
import layout

# C++ writes these otherwise.
SCALARS = {"void": "void"} | {name: f"std::{c_name}" for c_name, name in layout.C_NAMES.items()
                              if c_name.endswith("_t")}

HEAD = cpp.NOTICE + """\
//
// Xen's structures and constants, those of 4.17 and what later releases add. Xen's own headers may
// be included too, before or after.
#ifndef HCALL_SCHEMA_GENERATED_XEN_H_
#define HCALL_SCHEMA_GENERATED_XEN_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "xencomm/language.h"

namespace xencomm::xen {"""

# What no line of a release file can say.
BY_HAND = """\
// XEN_GUEST_HANDLE and XEN_GUEST_HANDLE_64: a pointer of the caller's.
template <class T>
struct GuestPointer {
  T* p;
};
static_assert(sizeof(GuestPointer<void>) == 8);

#ifndef set_xen_guest_handle
template <class T>
void set_xen_guest_handle(GuestPointer<T>& handle, std::type_identity_t<T>* pointer) {
  handle.p = pointer;
}
#endif

// The headers' macros with parameters.
#ifndef XENMEMF_address_bits
constexpr unsigned XENMEMF_address_bits(unsigned bits) { return bits; }
#endif
#ifndef XENMEMF_get_address_bits
constexpr unsigned XENMEMF_get_address_bits(unsigned flags) { return flags & 0xff; }
#endif
#ifndef XENMEMF_node
constexpr unsigned XENMEMF_node(unsigned node) { return (node + 1) << 8; }
#endif
#ifndef XENMEMF_get_node
constexpr unsigned XENMEMF_get_node(unsigned flags) { return ((flags >> 8) - 1) & 0xff; }
#endif
#ifndef XENMEMF_exact_node
constexpr unsigned XENMEMF_exact_node(unsigned node) {
  return XENMEMF_node(node) | XENMEMF_exact_node_request;
}
#endif
#ifndef XEN_DOMCTL_GRANT_version
constexpr unsigned XEN_DOMCTL_GRANT_version(unsigned version) {
  return version & XEN_DOMCTL_GRANT_version_mask;
}
#endif
"""

TAIL = """\
}  // namespace xencomm::xen

namespace xencomm {
using namespace xen;
}  // namespace xencomm

#endif  // HCALL_SCHEMA_GENERATED_XEN_H_
"""


def constant_lines(constant):
    """Of a type that a literal of the value has in C."""
    value = constant.value
    if -2**31 <= value < 2**31:
        type_, literal = "int", f"{value}"
    elif 0 <= value < 2**32:
        type_, literal = "unsigned", f"{value:#x}"
    else:
        type_, literal = "std::uint64_t", f"{value & (2**64 - 1):#x}"
    return [f"#ifndef {constant.name}", f"inline constexpr {type_} {constant.name} = {literal};",
            "#endif"]


def record_lines(record):
    yield from ["", f"// {record.header}"]
    *lines, last = body(record, record.name)
    yield from [*lines, f"{last};"]
    yield (f"static_assert(sizeof({record.name}) == {record.size} && "
           f"alignof({record.name}) == {record.alignment});")
    for path, offset in places(record):
        yield f"static_assert(offsetof({record.name}, {path}) == {offset});"


def cpp_type(type_):
    if type_.kind == "handle":
        element = ("const " if type_.is_const else "") + cpp_type(type_.element)
        return f"{element}*" if type_.name.endswith("*") else f"GuestPointer<{element}>"
    return SCALARS.get(type_.name, type_.name)


def body(record, name=""):
    """The lines of a record, and of those in it that have no name of their own."""
    packed = "[[gnu::packed]] " if record.is_packed else ""
    yield f"{record.kind} {packed}{name + ' ' if name else ''}{{"
    for field in record.fields:
        declarator = field.name + (f"[{field.count}]" if field.is_array else "")
        if field.type.is_nested:
            *lines, last = body(field.type)
            yield from ("  " + line for line in lines)
            yield f"  {last} {declarator};".replace(" ;", ";")
        else:
            bits = f" : {field.bit_width}" if field.bit_width else ""
            # A member that is called as its type is wants the type's whole name.
            whole = f"{field.type.kind} " if field.name == field.type.name else ""
            yield f"  {whole}{cpp_type(field.type)} {declarator}{bits};"
    yield "}"


def places(record, path="", base=0):
    """(path, offset) of every field of a record and of those in it without a name."""
    for field in record.fields:
        step = ".".join(filter(None, [path, field.name]))
        if field.bit_width:
            continue  # a bit-field has no offset
        if field.name:
            yield step, base + field.offset
        if field.type.is_nested:
            yield from places(field.type, step + "[0]" * field.is_array, base + field.offset)


def structures(releases):
    """The header's text. `releases`: the oldest first."""
    out = [HEAD]
    header = None
    for constant in first_of_each(release.constants for release in releases):
        if constant.header != header:
            header = constant.header
            out += ["", f"// {header}"]
        out += constant_lines(constant)
    out += ["", BY_HAND]
    typedefs = first_of_each(release.typedefs for release in releases)
    records = [record for record in first_of_each(release.records for release in releases)
               if not record.is_nested]
    out += [f"using {each.name} = {cpp_type(each.type)}{f'[{each.count}]' * each.is_array};"
            for each in typedefs if each.type.kind not in ("struct", "union", "handle")]
    for record in records:
        out += record_lines(record)
    out += ["", *(f"using {each.name} = {each.type.name};" for each in typedefs
                  if each.type.is_record)]
    return "\n".join([*out, "", TAIL])


def first_of_each(dicts):
    """The values of several dicts by name, of each name that of the first one that has it."""
    found = {}
    for each in dicts:
        for name, value in each.items():
            found.setdefault(name, value)
    return list(found.values())
