#!/usr/bin/python3
"""Reads the public headers of one Xen release with libclang and writes its layout: every constant,
structure, union and guest handle, as text, one a line.

The files in releases/ are made by it, one for each release:

  read_headers.py --release 4.20 --include FOLDER --output ../releases/4.20.layout

with the headers in FOLDER/xen. layout.py reads them back, and says what a line means. What a field
means is not to be found in a header: it is written by hand, in rows/.
"""

import argparse
import os
import pathlib
import re

from clang.cindex import CursorKind, Diagnostic, Index, TranslationUnit, TypeKind

import headers
import layout

TREE = pathlib.Path(__file__).resolve().parents[3]
ABI = "hcall/schema/abi.h"  # structures that the public headers leave to words

# The layout is x86-64's, whatever machine reads it: all targets share this ABI.
ARGUMENTS = ["-x", "c++", "-std=gnu++20", "-target", "x86_64-linux-gnu", "-ferror-limit=0",
             f"-I{TREE}", "-isystem"]

SCALARS = {TypeKind.VOID: "void", TypeKind.CHAR_S: "char"}
UNSIGNED = {TypeKind.UCHAR, TypeKind.USHORT, TypeKind.UINT, TypeKind.ULONG, TypeKind.ULONGLONG,
            TypeKind.BOOL, TypeKind.ENUM}
SIGNED = {TypeKind.SCHAR, TypeKind.SHORT, TypeKind.INT, TypeKind.LONG, TypeKind.LONGLONG}
ARRAYS = {TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY}

# A definition that was turned into a comment: "/* #define NAME 41 Removed - use dmop */".
REMOVED = re.compile(r"^/\*\s*#define[ \t]+(\w+)[ \t]+(\d+)[ \t\-]*([^*\n]*)\*/", re.MULTILINE)


class Parsed:
    """One release's headers, parsed."""

    def __init__(self, include):
        self.include = os.path.abspath(include)
        self.source = headers.source(include) + f"#include <{ABI}>\n"
        cursors, errors = self.parse(self.source)
        if errors:
            raise SystemExit("\n".join(map(str, errors)))
        self.cursors = [cursor for cursor in cursors if self.header(cursor)]

    def parse(self, text):
        """What stands in a text at top level, and the errors in it."""
        unit = Index.create().parse(
            "headers.cc", [*ARGUMENTS, self.include], unsaved_files=[("headers.cc", text)],
            options=TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        return unit.cursor.get_children(), [
            each for each in unit.diagnostics if each.severity >= Diagnostic.Error]

    def header(self, cursor):
        """That it stands in, as xen/domctl.h; None: in another file, or in none."""
        path = os.path.normpath(str(cursor.location.file)).removeprefix(f"{self.include}/")
        return ABI if path == f"{TREE}/{ABI}" else path if path.startswith("xen/") else None


# --- Constants ------------------------------------------------------------------------------------


def read_constants(parsed):
    """The lines of every macro whose value is an integer, and of every enumerator, in the order of
    the headers."""
    extents = [(parsed.header(cursor), cursor.extent.start.line, cursor.extent.end.line,
                cursor.spelling) for cursor in parsed.cursors
               if cursor.kind == CursorKind.STRUCT_DECL]
    found = {}  # by name: header, line, scope
    for cursor in parsed.cursors:
        header, line = parsed.header(cursor), cursor.location.line
        if cursor.kind == CursorKind.MACRO_DEFINITION:
            scopes = [name for where, first, last, name in extents
                      if where == header and first <= line <= last]
            found[cursor.spelling] = header, line, "".join(scopes)
        elif cursor.kind == CursorKind.ENUM_DECL:
            scope = "" if is_unnamed(cursor.type) else cursor.type.spelling
            for child in cursor.get_children():
                found[child.spelling] = header, child.location.line, scope
    # The compiler is the judge of a constant's value: an enumerator is initialised with each, and
    # those it refuses are no integers.
    cursors, errors = parsed.parse(parsed.source + "".join(
        f"enum : long long {{ probe_{name} = static_cast<long long>({name}) }};\n"
        for name in found))
    refused = {error.location.line for error in errors}
    values = {child.spelling: child.enum_value for cursor in cursors
              if cursor.kind == CursorKind.ENUM_DECL and cursor.location.line not in refused
              for child in cursor.get_children()}
    return [f"constant {name} {values[f'probe_{name}']} {header} {scope}".rstrip()
            for name, (header, _, scope) in sorted(found.items(), key=lambda item: item[1])
            if f"probe_{name}" in values]


def read_removed(parsed):
    files = {(cursor.location.file.name, parsed.header(cursor)) for cursor in parsed.cursors}
    return [f"removed {name} {number} {header} {words.strip(' ()')}".rstrip()
            for path, header in sorted(files)
            for name, number, words in REMOVED.findall(pathlib.Path(path).read_text())]


# --- Structures and handles -----------------------------------------------------------------------


class Types:
    """The lines of all records, handles and typedefs, by name."""

    def __init__(self, parsed):
        self.parsed = parsed
        self.records, self.handles, self.typedefs = {}, {}, {}
        self.wide = {place(cursor) for cursor in parsed.cursors
                     if cursor.kind == CursorKind.MACRO_INSTANTIATION
                     and cursor.spelling == "XEN_GUEST_HANDLE_64"}
        for cursor in parsed.cursors:
            if is_handle(cursor):
                continue  # has a line of its own where it is used
            if cursor.kind == CursorKind.TYPEDEF_DECL:
                element, array, _ = elements(cursor.underlying_typedef_type)
                name, type_ = cursor.spelling, self.type_of(element, "", cursor)
                if type_ != name:
                    self.typedefs[name] = [
                        f"typedef {name} {type_}{array} {parsed.header(cursor)}"]
            elif cursor.kind in (CursorKind.STRUCT_DECL, CursorKind.UNION_DECL) and \
                    cursor.is_definition() and not is_unnamed(cursor):
                self.record(cursor.type, cursor.spelling)

    def record(self, type_, name):
        if name not in self.records:
            declaration = type_.get_declaration()
            packed = " packed" * any(child.kind == CursorKind.PACKED_ATTR
                                     for child in declaration.get_children())
            lines = self.records[name] = [
                f"{keyword(type_)} {name} {type_.get_size()} {type_.get_align()} "
                f"{self.parsed.header(declaration)}{packed}"]
            lines += [self.field(name, member) for member in type_.get_fields()]
        return name

    def field(self, record, member):
        element, array, count = elements(member.type)
        size = element.get_canonical().get_size()
        bit = member.get_field_offsetof()
        offset = bit // 8
        if member.is_bitfield():
            offset = offset // size * size
            array = f":{member.get_bitfield_width()}@{bit - offset * 8}"
        name = "-" if is_unnamed(member) else member.spelling
        type_ = self.type_of(element, f"{record}.{f'@{offset}' if name == '-' else name}", member)
        spelling = type_ if type_ in self.handles else spell(member.type)
        return f"  {offset} {size * count} {name} {type_}{array} {spelling}"

    def type_of(self, written, nested, member):
        """The name of a type, whose line is written on first sight; `nested` is that of a record
        inside another, or without its own."""
        type_ = written.get_canonical()
        if type_.kind in SCALARS:
            return SCALARS[type_.kind]
        if type_.kind in UNSIGNED | SIGNED:
            return f"{'u' if type_.kind in UNSIGNED else 's'}{type_.get_size() * 8}"
        if type_.kind == TypeKind.POINTER:
            # A plain pointer: an alias of a handle in some unions.
            return self.handle(written.spelling.replace(" ", ""), type_.get_pointee(), member)
        if type_.kind != TypeKind.RECORD:
            raise SystemExit(f"{place(member)}: {member.spelling} is a {type_.kind.name.lower()}: "
                             "expected an integer, a structure, a union or a pointer")
        if is_handle(type_):
            # Which macro was written: 64 bits wide for 32-bit callers too, or not.
            macro = "XEN_GUEST_HANDLE" + "_64" * (place(member) in self.wide)
            tag = type_.spelling.split("__guest_handle_")[-1]
            pointee = next(iter(type_.get_fields())).type.get_pointee()
            return self.handle(f"{macro}({tag})", pointee, member)
        declaration = type_.get_declaration()
        at_top = declaration.semantic_parent.kind == CursorKind.TRANSLATION_UNIT
        is_called = at_top and not is_unnamed(declaration)
        return self.record(type_, type_.spelling if is_called or not nested else nested)

    def handle(self, spelling, pointee, member):
        if spelling not in self.handles:
            element = self.type_of(pointee, "", member)
            const = " const" * pointee.get_canonical().is_const_qualified()
            self.handles[spelling] = [f"handle {spelling} {element}{const}"]
        return spelling


def place(cursor):
    return f"{cursor.location.file}:{cursor.location.line}"


def is_unnamed(cursor_or_type):
    name = cursor_or_type.spelling
    return not name or "(unnamed" in name or "(anonymous" in name


def is_handle(cursor_or_type):
    return "__guest_handle_" in cursor_or_type.spelling


def keyword(type_):
    is_union = type_.get_declaration().kind == CursorKind.UNION_DECL
    return "union" if is_union else "struct"


def elements(type_):
    """What an array is of, its length in brackets, and as a number; of no array: itself, "", 1."""
    array, count = "", 1
    while type_.get_canonical().kind in ARRAYS:
        type_ = type_ if type_.kind in ARRAYS else type_.get_canonical()
        count *= type_.element_count if type_.kind == TypeKind.CONSTANTARRAY else 0
        array = f"[{count or ''}]"
        type_ = type_.element_type
    return type_, array, count


def spell(type_):
    """The type as the header writes it before a member's name."""
    while type_.kind in ARRAYS:
        type_ = type_.element_type
    return keyword(type_) if is_unnamed(type_) else type_.spelling.split("::")[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--release", required=True, help="whose headers these are, such as 4.20")
    parser.add_argument("--include", type=pathlib.Path, required=True,
                        help="the folder that holds xen/")
    parser.add_argument("--output", type=pathlib.Path, default="/dev/stdout",
                        help="the file to write; default: stdout")
    options = parser.parse_args()
    parsed = Parsed(options.include)
    types = Types(parsed)
    lines = ["# What the public headers of one Xen release say, by read_headers.py;",
             "# hcall/schema/compiler/layout.py says what a line means.",
             layout.FORMAT, f"release {options.release}", *read_constants(parsed),
             *read_removed(parsed)]
    for by_name in (types.handles, types.typedefs, types.records):
        for _, of_one in sorted(by_name.items()):
            lines += of_one
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
