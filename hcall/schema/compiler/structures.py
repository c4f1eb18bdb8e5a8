"""Makes the C++ header of Xen's structures and constants from the files in releases/.

It stands in for Xen's public headers, whichever the machine has installed: all that handles
hypercalls is compiled with it alone. What several releases have is as the first of them has it.
Xen's own headers may be included beside it, before or after: everything here is in xencomm::xen.
"""

import itertools

import cpp

# What no line of a release file can say.
GUEST_POINTER = """\
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

"""
FUNCTIONS = """\
XENMEMF_address_bits(unsigned bits) { return bits; }
XENMEMF_get_address_bits(unsigned flags) { return flags & 0xff; }
XENMEMF_node(unsigned node) { return (node + 1) << 8; }
XENMEMF_get_node(unsigned flags) { return ((flags >> 8) - 1) & 0xff; }
XENMEMF_exact_node(unsigned node) { return XENMEMF_node(node) | XENMEMF_exact_node_request; }
XEN_DOMCTL_GRANT_version(unsigned version) { return version & XEN_DOMCTL_GRANT_version_mask; }
"""


def unless_macro(name, declaration):
    """Xen's own headers, included before, have a macro of the name."""
    return f"#ifndef {name}\n{declaration}\n#endif\n"


def constant(each):
    """Of a type that a literal of the value has in C."""
    value = each.value
    if -2**31 <= value < 2**31:
        type_, literal = "int", f"{value}"
    elif 0 <= value < 2**32:
        type_, literal = "unsigned", f"{value:#x}"
    else:
        type_, literal = "std::uint64_t", f"{value % 2**64:#x}"
    return unless_macro(each.name, f"inline constexpr {type_} {each.name} = {literal};")


def record(each):
    name = each.name
    facts = [f"sizeof({name}) == {each.size} && alignof({name}) == {each.alignment}",
             *(f"offsetof({name}, {path}) == {offset}" for path, offset in places(each))]
    return (f"\n// {each.header}\n" + "\n".join(body(each, name)) + ";\n" +
            "".join(f"static_assert({fact});\n" for fact in facts))


def cpp_type(type_):
    if type_.kind == "handle":
        element = "const " * type_.is_const + cpp_type(type_.element)
        return f"{element}*" if type_.name.endswith("*") else f"GuestPointer<{element}>"
    return cpp.INTEGERS.get(type_.name, type_.name)


def body(record, name=""):
    """The lines of a record, and of those in it that have no name of their own."""
    packed = "[[gnu::packed]] " * record.is_packed
    yield f"{record.kind} {packed}{name} {{".replace("  {", " {")
    for field in record.fields:
        declarator = field.name + f"[{field.count}]" * field.is_array
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
    text = (f"// Xen's structures and constants, those of {releases[0].name} and what later "
            "releases add. Xen's own\n// headers may be included too, before or after.\n")
    for header, group in itertools.groupby(first_of_each(releases, "constants"),
                                           lambda each: each.header):
        text += f"\n// {header}\n" + "".join(map(constant, group))
    text += "\n" + GUEST_POINTER + "// The headers' macros with parameters.\n" + "".join(
        unless_macro(line.partition("(")[0], f"constexpr unsigned {line}")
        for line in FUNCTIONS.splitlines()) + "\n"
    using = {False: "", True: "\n"}  # of scalars; of records, which come before it
    for each in first_of_each(releases, "typedefs"):
        if each.type.kind != "handle":
            using[each.type.is_record] += (
                f"using {each.name} = {cpp_type(each.type)}{f'[{each.count}]' * each.is_array};\n")
    text += using[False] + "".join(record(each) for each in first_of_each(releases, "records")
                                   if not each.is_nested) + using[True]
    return cpp.header(
        "XEN", ["<cstddef>", "<cstdint>", "<type_traits>", '"xencomm/language.h"'],
        cpp.namespace("xencomm::xen", text + "\n") + "\n" +
        cpp.namespace("xencomm", "using namespace xen;\n"))


def first_of_each(releases, what):
    """Constants, typedefs or records of several releases, each as the first that has it."""
    found = {}
    for release in releases:
        found |= getattr(release, what) | found  # what is there stays
    return found.values()
