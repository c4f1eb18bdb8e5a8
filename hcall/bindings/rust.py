#!/usr/bin/python3
"""Writes a Rust module of Xen's structures and constants, and of what each op points at.

    rust.py --releases 4.17,4.20 --output xen.rs

One file, which a crate takes as it is (`mod xen;`): it needs `core` alone, and rustc 1.63 or newer.
For each release there is a module in it, xen_4_17, with

  structures  #[repr(C)], called as in the headers, with zeroed() and Default. One without a name is
              called after that around it: xen_domctl_u, cpu_user_regs_at_8; such a member is at_8.
              Bit-fields are one member, bits_0, and methods to read and to set each. A guest
              pointer is a GuestHandle, char is u8, an array of open length has none.
  constants   u32, or i32 when negative, or u64 when neither can hold the value
  DOMCTL_OPS  the ops of a hypercall and their pointers (HYPERCALLS: of all), as rust_head.rs says

The layout is that of 64-bit x86. A target for which Rust's would differ does not compile it.
"""

import argparse
import itertools
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE.parent / "schema"
sys.path.append(str(SCHEMA / "compiler"))

import compile as table_compiler
import layout
import resolve
import rows

SCALARS = {"void": "c_void", "char": "u8"} | {
    f"{sign}{bits}": f"{rust}{bits}" for sign, rust in ("uu", "si") for bits in (8, 16, 32, 64)}
KEYWORDS = set("""abstract as async await become box break const continue do dyn else enum extern
false final fn for gen if impl in let loop macro match mod move mut override priv pub ref return
static struct trait true try type typeof unsafe unsized use virtual where while yield""".split())
# What each variant of Rust's Count has of an Amount, and what Pointer::USUAL says.
COUNTED = {"number": ("a", "b", "scale", "per", "more"), "range": ("a", "b"), "until_zero": ("a",),
           "inside": ("at", "per", "scale", "least")}
USUAL = {"most": 0, "filled": rows.Count(), "phase": "Phase::Both", "when": (), "inside": (),
         "may_be_null": False, "second_null": 0, "flags": 0, "is_trailing": False, "is_kept": False}


def identifier(name):
    """Of a name in the layout, where what has none is @OFFSET."""
    name = re.sub(r"\W", "_", name.replace("@", "at_"))
    return f"r#{name}" if name in KEYWORDS else name


def rust_type(type_):
    if isinstance(type_, layout.Handle):
        return f"GuestHandle<{rust_type(type_.element)}>"
    return SCALARS.get(type_.name) or identifier(type_.name)


def declared(each):
    return f"[{rust_type(each.type)}; {each.count}]" if each.is_array else rust_type(each.type)


def constant(each):
    number = each.value
    type_ = "u32" if 0 <= number < 2**32 else "i32" if -2**31 <= number < 0 else "u64"
    return f"pub const {each.name}: {type_} = {number % 2**64 if type_ == 'u64' else number:#x};"


# --- Structures -----------------------------------------------------------------------------------


def record_lines(record, empty):
    """`empty`: names of the records in which there is one without fields."""
    name = identifier(record.name)
    natural = max((field.type.alignment for field in record.fields), default=1)
    kind, exception = "union" if record.is_union else "struct", ""
    if record.alignment != natural:
        exception = f", {'align' if record.alignment > natural else 'packed'}({record.alignment})"
    yield from ["", f"/// `{record.name}` of {record.header}", "#[derive(Clone, Copy)]",
                f"#[repr(C{exception})]", f"pub {kind} {name} {{"]
    bits = []
    for is_bits, fields in itertools.groupby(record.fields, lambda field: field.bit_width > 0):
        for offset, size, shared in storages(fields) if is_bits else ():
            yield f"    pub bits_{offset}: u{size * 8},"
            bits += [f"bits!({name}, bits_{offset}: u{size * 8}, {identifier(field.name)}, "
                     f"set_{field.name}: {rust_type(field.type)}, "
                     f"{(field.offset - offset) * 8 + field.bit_offset}, {field.bit_width});"
                     for field in shared]
        for field in fields if not is_bits else ():
            yield from [f"    /// {field.spelling}"] * isinstance(field.type, layout.Handle)
            yield f"    pub {identifier(field.name or f'at_{field.offset}')}: {declared(field)},"
    expected = f", {record.size}, {record.alignment}"
    # C++, as which the headers are read, gives an empty structure a byte. C and Rust do not.
    if not record.fields or any(field.type.name in empty for field in record.fields):
        empty.add(record.name)
        expected = ""
    yield from ["}", *bits, f"record!({name}{expected});"]


def storages(fields):
    """(offset, size, bit-fields) of each integer that bit-fields share."""
    found = []
    for field in sorted(fields, key=lambda field: (field.offset, -field.size)):
        if not found or field.offset >= found[-1][0] + found[-1][1]:
            found.append((field.offset, field.size, []))
        found[-1][2].append(field)
    return found


# --- Ops, and the module --------------------------------------------------------------------------


def constant_name(name, what="POINTERS"):
    return f"{identifier(name)}_{what}".upper()


def structure(type_, values, rest=""):
    text = ", ".join(f"{key}: {value(each)}" for key, each in values.items()) + rest
    return f"{type_} {{ {text} }}" if text else type_


def value(each):
    """What Rust writes for a value of the op table's; a text is Rust already."""
    match each:
        case tuple():
            return f"&[{', '.join(map(value, each))}]"
        case rows.Ref() | rows.Test():
            return structure(type(each).__name__, vars(each))
        case rows.Count():
            fields = {key: getattr(each, key) for key in COUNTED.get(each.kind, ())}
            fields |= {key: f"Some({value(ref)})" if ref.size else "None"
                       for key, ref in fields.items() if isinstance(ref, rows.Ref)}
            return structure(f"Count::{each.kind.title().replace('_', '')}", fields)
    return str(each).lower() if isinstance(each, bool) else f"{each}"


def pointer(part, offset):
    row, record = part.row, part.record
    inside = record and (record.name if isinstance(record, resolve.Op) else record.row.type)
    values = {
        "path": json.dumps(part.path), "offset": offset,
        "direction": f"Direction::{part.direction.title().replace(' ', '')}",
        "element": json.dumps(rust_type(part.element)), "element_size": part.element.size,
        "count": part.room, "most": part.room.most, "filled": part.filled,
        "phase": f"Phase::{row.phase.title()}", "when": part.tests,
        "inside": constant_name(inside) if inside else (),
        "may_be_null": part.null is not None, "second_null": part.second_null,
        "flags": ~(-1 if row.address_bits is None else row.address_bits) % 2**64,
        "is_trailing": row.trailing, "is_kept": row.until_replaced}
    return structure("Pointer", {key: each for key, each in values.items()
                                 if key not in USUAL or each != USUAL[key]}, ", ..Pointer::USUAL")


def pointers(parts, is_list=False):
    found = [f"\n    {pointer(part, place if is_list else part.offset)},"
             for place, part in enumerate(parts, 1) if part.element is not None and
             part.direction != "ignored" and part.row.overlays is None]
    return f"&[{''.join(found)}]"


def module(table, resolver):
    release = resolver.release
    yield from ["", f"/// Xen {release.name}", f"pub mod xen_{release.name.replace('.', '_')} {{",
                "use super::*;"]
    for header, found in itertools.groupby(release.constants.values(), lambda each: each.header):
        yield from ["", f"// {header}", *map(constant, found)]
    yield from ["", *(f"pub type {identifier(each.name)} = {declared(each)};"
                      for each in release.typedefs.values())]
    empty = set()
    for record in release.records.values():
        yield from record_lines(record, empty)
    yield from ["", *(f"const {constant_name(name)}: &[Pointer] = {pointers(record.parts)};"
                      for name, record in resolver.records.items())]
    hypercalls = []
    for call in table:
        ops = []
        for op in sorted(call.ops, key=lambda op: op.number):
            if release.name in op.releases:
                inside = constant_name(op.name)
                yield f"const {inside}: &[Pointer] = {pointers(op.parts)};"
                ops.append(structure("Op", {
                    "name": json.dumps(op.row.name), "number": op.number,
                    "argument": json.dumps(rust_type(op.argument) if op.argument else ""),
                    "argument_size": op.argument.size if op.argument else 0,
                    "registers": pointers(op.registers), "pointers": inside,
                    "buffers": pointers(op.buffers, is_list=True)}))
        if ops:
            name = constant_name(call.row.name, "OPS")
            yield from [f"pub const {name}: &[Op] = &[", *(f"    {op}," for op in ops), "];"]
            hypercalls.append(structure("Hypercall", {
                "name": json.dumps(call.row.name), "number": call.number, "ops": name}))
    yield from ["pub const HYPERCALLS: &[Hypercall] = &[", *(f"    {call}," for call in hypercalls),
                "];", "}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--releases", help="such as 4.17,4.20; default: all that there are")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the file to write")
    options = parser.parse_args()
    errors = rows.Errors()
    table, resolvers = table_compiler.load(SCHEMA / "rows", SCHEMA / "releases", errors)
    known = [resolver.release.name for resolver in resolvers]
    wanted = options.releases.split(",") if options.releases else known
    for name in set(wanted) - set(known) if resolvers else ():
        errors.add("--releases", f"{name}: expected some of {', '.join(known)}")
    if errors.messages:
        return "\n".join(errors.messages)
    lines = [line for resolver in resolvers if resolver.release.name in wanted
             for line in module(table, resolver)]
    options.output.write_text((HERE / "rust_head.rs").read_text() + "\n".join([*lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
