"""rows.h: a namespace for each op, with a typed row for each of its buffers; and types.h, the
C++ structure of each type. C++ has the structures of the base release (structures.py)."""

import cpp
import resolve
import structures
from cpp import enumerator, init

SCALARS = {"void": "std::byte", "char": "char"} | cpp.INTEGERS


def cpp_name(type_):
    return SCALARS.get(type_.name) or f"xen::{type_.name}"


def identifier(path):
    name = path.replace(".", "_")
    return name + "_" if name == "register" else name


def rows(parts, argument, own, own_offset):
    """A buffer of an op, whatever the cases that it is there in."""
    found = {}
    for part in parts:
        if part.element is None or part.direction == "ignored":
            continue
        has_others = any(other.path == part.path and
                         other.direction not in (part.direction, "ignored") for other in parts)
        name = identifier(part.path) + f"_{part.direction.replace(' ', '_')}" * has_others
        fields = init(part.offset, own_offset, part.row.trailing, cpp.amount(part.room),
                      cpp.amount(part.filled))
        found.setdefault(name, (
            f"inline constexpr BufferRow<{argument}, {own}, {cpp_name(part.element)}, "
            f"{enumerator('Direction', part.direction)}> {name} = {{\n"
            f"    {fields[1:]};\n"))
    return "".join(found.values())


def op_rows(op):
    text = rows(op.registers, "Registers", "Registers", 0)
    if op.argument is not None:
        argument = cpp_name(op.argument)
        own = cpp_name(op.own) if op.own.is_record and not op.own.is_nested else argument
        text += rows(op.parts, argument, own, op.own_offset if own != argument else 0)
    return text


def newer_fields(call, op, facts):
    """What the base release's structure lacks, of an op that other releases lay out otherwise."""
    known, fields = {part.path for part in op.parts}, {}
    for form in call.ops:
        for part in form.parts if form.base is op and form.moves() else ():
            if part.path not in known:
                key = (identifier(part.path), part.offset, part.size)
                fields.setdefault(key, []).extend(form.releases)
    lines = {}
    for (name, *place), releases in fields.items():
        if name in lines:
            name += "_" + releases[0].replace(".", "_")
        value = init(f"{facts.mask(releases):#x}", place)
        lines[name] = f"inline constexpr FieldRow {name} = {value};\n"
    return "".join(lines.values())


def text(table, facts, base):
    spaces = ""
    for call in table:
        inner = ""
        for op in call.ops:
            # Of a later release C++ has structures that the base has none of.
            is_new = op.own is not None and op.own.is_record and op.own.name not in base.records
            if base.name in op.releases or is_new:
                found = op_rows(op) + newer_fields(call, op, facts)
                inner += found and (f"\n// {op.row.about}\n" +
                                    cpp.namespace(identifier(op.row.name), found))
        spaces += f"\n// {call.row.about}\n" + cpp.namespace(call.row.name, inner + "\n")
    return cpp.header("ROWS", ['"hcall/schema/bind.h"', '"hcall/schema/generated/types.h"'],
                      cpp.namespace("xencomm::schema::rows", spaces + "\n"))


def types(facts, releases):
    """types.h: which of the table's types a C++ structure is."""
    out = "\n// That release and all later ones.\n" + "".join(
        f"inline constexpr Releases kSince{name.replace('.', '_')} = {0xff & -(1 << i):#x};\n"
        for i, name in enumerate(facts.names)) + "\n"
    in_cpp = {resolve.type_key(each) for each in structures.first_of_each(releases, "records")}
    for index, type_ in enumerate(facts.types.of):
        if type_.is_nested or resolve.type_key(type_) not in in_cpp:
            continue
        if resolve.units(type_) is None:
            out += f"// Which member of a union of {type_.name} is meant, only the op can say.\n"
        else:
            out += f"template <>\ninline constexpr Index kTypeIndex<xen::{type_.name}> = {index};\n"
    return cpp.header("TYPES", ['"hcall/schema/cpp_type.h"', '"hcall/schema/generated/xen.h"'],
                      cpp.namespace("xencomm::schema", out + "\n"))
