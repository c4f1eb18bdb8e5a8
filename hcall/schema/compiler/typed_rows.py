"""rows.h: a namespace for each op, with a typed row for each of its buffers; and types.h, the
C++ structure of each type. C++ has the structures of the base release (structures.py)."""

import cpp
import layout
import resolve
from cpp import enumerator, init

SCALARS = {"void": "std::byte", "char": "char"} | {
    name: f"std::{c_name}" for c_name, name in layout.C_NAMES.items() if c_name.endswith("_t")}


def is_cpp(type_):
    return type_.kind != "handle" and not type_.is_nested


def cpp_name(type_):
    return SCALARS.get(type_.name) or f"xen::{type_.name}"


def identifier(path):
    name = path.replace(".", "_")
    return name + "_" if name == "register" else name


def rows(parts, argument, own, own_offset):
    """A buffer of an op, whatever the cases that it is there in."""
    done = set()
    for part in parts:
        if part.element is None or part.direction == "ignored":
            continue
        has_others = any(other.path == part.path and
                         other.direction not in (part.direction, "ignored") for other in parts)
        name = identifier(part.path) + f"_{part.direction.replace(' ', '_')}" * has_others
        if name not in done:
            done.add(name)
            fields = init(part.offset, own_offset, part.row.trailing, cpp.amount(part.room),
                          cpp.amount(part.filled))
            yield (f"inline constexpr BufferRow<{argument}, {own}, {cpp_name(part.element)}, "
                   f"{enumerator('Direction', part.direction)}> {name} = {{\n"
                   f"    {fields[1:]};\n")


def op_rows(op):
    text = "".join(rows(op.registers, "Registers", "Registers", 0))
    if op.argument is not None and is_cpp(op.argument):
        argument = cpp_name(op.argument)
        own = cpp_name(op.own) if op.own.is_record and is_cpp(op.own) else argument
        text += "".join(rows(op.parts, argument, own, op.own_offset if own != argument else 0))
    return text


def newer_fields(call, op, facts):
    """What the base release's structure lacks, of an op that other releases lay out otherwise."""
    fields = {}
    for form in call.ops:
        if form.base is op and form.moves():
            for part in form.parts:
                if all(part.path != other.path for other in op.parts):
                    key = (identifier(part.path), part.offset, part.size)
                    fields.setdefault(key, []).extend(form.releases)
    taken = set()
    for (name, *place), releases in fields.items():
        if name in taken:
            name += "_" + releases[0].replace(".", "_")
        taken.add(name)
        yield (f"inline constexpr FieldRow {name} = "
               f"{init(f'0x{facts.mask(releases):x}', place)};\n")


def text(table, facts, newer):
    """`newer` are names of structures that C++ has of a later release, as the base has none."""
    out = ["namespace xencomm::schema::rows {"]
    for call in table:
        out.append(f"\n// {call.row.about}\nnamespace {call.row.name} {{")
        for op in call.ops:
            is_new = op.own is not None and op.own.name in newer
            if facts.names[0] not in op.releases and not is_new:
                continue  # C++ does not know its types
            inner = op_rows(op) + "".join(newer_fields(call, op, facts))
            if inner:
                name = identifier(op.row.name)
                out.append(f"\n// {op.row.about}\nnamespace {name} {{\n{inner}}}"
                           f"  // namespace {name}")
        out.append(f"\n}}  // namespace {call.row.name}")
    return cpp.header("ROWS", ["bind.h", "generated/types.h"],
                      [*out, "\n}  // namespace xencomm::schema::rows\n"])


def types(facts, base):
    """types.h: which of the table's types a C++ structure is."""
    out = ["namespace xencomm::schema {\n", "// That release and all later ones.",
           *(f"inline constexpr Releases kSince{name.replace('.', '_')} = 0x{0xff & -(1 << i):x};"
             for i, name in enumerate(facts.names)), ""]
    done = set()
    for index, type_ in enumerate(facts.type_list):
        if not type_.is_record or type_.is_nested or type_.name in done:
            continue
        in_base = base.records.get(type_.name, type_)
        if resolve.type_key(in_base) != resolve.type_key(type_):
            continue
        done.add(type_.name)
        if resolve.units(type_) is None:
            out.append(f"// Which member of a union of {type_.name} is meant, only the op can say.")
        else:
            out.append("template <>\n"
                       f"inline constexpr Index kTypeIndex<xen::{type_.name}> = {index};")
    return cpp.header("TYPES", ["cpp_type.h", "generated/xen.h"],
                      [*out, "\n}  // namespace xencomm::schema\n"])
