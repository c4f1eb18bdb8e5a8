#!/usr/bin/python3
"""Reads the public headers of one Xen release with libclang and writes its layout: every constant,
structure, union and guest handle, as text, one a line.

The files in releases/ are made by it, one for each release:

  read_headers.py --release 4.20 --include FOLDER --output ../releases/4.20.layout

with the headers in FOLDER/xen. layout.py reads them back, and says what a line means. What a field
means is not to be found in a header: it is written by hand, in rows/.
"""

import argparse
import ctypes
import os
import pathlib
import re
import sys

from clang import cindex
from clang.cindex import CursorKind, TypeKind

import headers
import layout

# The layout is x86-64's, whatever machine reads it: all targets share this ABI.
ARGUMENTS = ["-x", "c++", "-std=gnu++20", "-target", "x86_64-linux-gnu", "-ferror-limit=0"]

# Structures that the public headers leave to words.
TREE = pathlib.Path(__file__).resolve().parents[3]
ABI = "hcall/schema/abi.h"

INTEGERS = {
    TypeKind.BOOL: "u", TypeKind.UCHAR: "u", TypeKind.USHORT: "u", TypeKind.UINT: "u",
    TypeKind.ULONG: "u", TypeKind.ULONGLONG: "u", TypeKind.SCHAR: "s", TypeKind.SHORT: "s",
    TypeKind.INT: "s", TypeKind.LONG: "s", TypeKind.LONGLONG: "s", TypeKind.ENUM: "u",
}

# A definition that was turned into a comment: "/* #define NAME 41 Removed - use dmop */".
REMOVED = re.compile(r"^/\*\s*#define[ \t]+(\w+)[ \t]+(\d+)[ \t\-]*([^*\n]*)\*/", re.MULTILINE)


class Parsed:
    """One release's headers, parsed."""

    def __init__(self, include):
        self.include = str(include.absolute())
        self.source = headers.source(include) + f"#include <{ABI}>\n"
        unit = self.parse(self.source, cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        errors = [str(d) for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
        if errors:
            raise SystemExit("\n".join(errors))
        self.cursors = [c for c in unit.cursor.get_children() if self.is_xen(c)]
        read = {str(include.include.name) for include in unit.get_includes()}
        self.files = sorted(path for path in read if path.startswith(self.include + "/xen/"))

    def parse(self, text, options=0):
        arguments = ARGUMENTS + [f"-I{TREE}", "-isystem", self.include]
        return cindex.Index.create().parse("headers.cc", arguments, options=options,
                                           unsaved_files=[("headers.cc", text)])

    def is_mine(self, path):
        return str(path).startswith(self.include + "/xen/") or str(path).endswith(ABI)

    def is_xen(self, cursor):
        return cursor.location.file is not None and self.is_mine(cursor.location.file.name)

    def header(self, path):
        path = str(path)
        return ABI if path.endswith(ABI) else os.path.normpath(path)[len(self.include) + 1:]


# --- constants -----------------------------------------------------------------------------------


def read_constants(parsed):
    """The lines of every macro without parameters whose value is an integer, and of every
    enumerator, in the order of the headers."""
    extents = {}
    for cursor in parsed.cursors:
        if cursor.kind == CursorKind.STRUCT_DECL:
            extents.setdefault(cursor.location.file.name, []).append(
                (cursor.extent.start.line, cursor.extent.end.line, cursor.spelling))
    is_function = cindex.conf.lib.clang_Cursor_isMacroFunctionLike
    is_function.argtypes = [cindex.Cursor]
    is_function.restype = ctypes.c_uint
    found = {}  # by name: (header, line), scope
    for cursor in parsed.cursors:
        place = (parsed.header(cursor.location.file.name), cursor.location.line)
        if cursor.kind == CursorKind.MACRO_DEFINITION:
            if is_function(cursor) or len(list(cursor.get_tokens())) < 2:
                continue
            if re.match(r"^(__XEN_PUBLIC|_?XEN_PUBLIC|PRI)", cursor.spelling):
                continue
            scopes = [name for first, last, name in extents.get(cursor.location.file.name, [])
                      if first <= cursor.location.line <= last]
            found[cursor.spelling] = place, scopes[-1] if scopes else ""
        elif cursor.kind == CursorKind.ENUM_DECL:
            for child in cursor.get_children():
                if child.kind == CursorKind.ENUM_CONSTANT_DECL:
                    scope = "" if "(" in cursor.type.spelling else cursor.type.spelling
                    found[child.spelling] = (place[0], child.location.line), scope
    # The compiler is the judge of a constant's value: an enumerator is initialised with each, and
    # those it refuses are no integers.
    probe = parsed.source + "".join(
        f"enum : long long {{ probe_{name} = static_cast<long long>({name}) }};\n"
        for name in found)
    unit = parsed.parse(probe)
    refused = {d.location.line for d in unit.diagnostics
               if d.severity >= cindex.Diagnostic.Error and str(d.location.file) == "headers.cc"}
    values = {}
    for cursor in unit.cursor.get_children():
        if cursor.kind == CursorKind.ENUM_DECL and cursor.location.line not in refused:
            for child in cursor.get_children():
                values[child.spelling] = child.enum_value
    lines = []
    for name, ((header, _), scope) in sorted(found.items(), key=lambda item: item[1][0]):
        if f"probe_{name}" in values:
            lines.append(f"constant {name} {values[f'probe_{name}']} {header} {scope}".rstrip())
    return lines


def read_removed(parsed):
    lines = []
    for path in parsed.files:
        for name, number, words in REMOVED.findall(pathlib.Path(path).read_text()):
            lines.append(f"removed {name} {number} {parsed.header(path)} {words.strip(' ()')}"
                         .rstrip())
    return lines


# --- structures and handles ----------------------------------------------------------------------


class Types:
    """The lines of all records, handles and typedefs, by name."""

    def __init__(self, parsed):
        self.parsed = parsed
        self.records, self.handles, self.typedefs = {}, {}, {}
        self.wide = {(c.location.file.name, c.location.line) for c in parsed.cursors
                     if c.kind == CursorKind.MACRO_INSTANTIATION
                     and c.spelling == "XEN_GUEST_HANDLE_64"}
        for cursor in parsed.cursors:
            if cursor.kind in (CursorKind.STRUCT_DECL, CursorKind.UNION_DECL):
                if cursor.is_definition() and not is_unnamed(cursor) and not is_handle(cursor):
                    self.record(cursor.type)
            elif cursor.kind == CursorKind.TYPEDEF_DECL:
                self.typedef(cursor)

    def record(self, type_, nested=None):
        """The name of a record, read on first sight; `nested` is that of one without its own."""
        declaration = type_.get_declaration()
        name = nested or type_.spelling
        if name in self.records:
            return name
        is_union = declaration.kind == CursorKind.UNION_DECL
        is_packed = any(child.kind == CursorKind.PACKED_ATTR
                        for child in declaration.get_children())
        lines = self.records[name] = [
            f"{'union' if is_union else 'struct'} {name} {type_.get_size()} {type_.get_align()} "
            f"{self.parsed.header(declaration.location.file.name)}{' packed' if is_packed else ''}"]
        lines += [self.field(name, member) for member in type_.get_fields()]
        return name

    def typedef(self, cursor):
        element, array, _ = elements(cursor.underlying_typedef_type)
        kind = element.get_canonical().kind
        if is_handle(cursor) or kind == TypeKind.POINTER:
            return  # has a line of its own where it is used
        name = self.type_of(element, None, cursor)
        if name != cursor.spelling:
            self.typedefs[cursor.spelling] = (
                f"typedef {cursor.spelling} {name}{array} "
                f"{self.parsed.header(cursor.location.file.name)}")

    def field(self, record, member):
        element, array, count = elements(member.type)
        name = "-" if is_unnamed(member) else member.spelling
        size = element.get_canonical().get_size()
        bit = member.get_field_offsetof()
        offset = bit // 8
        if member.is_bitfield():
            offset = offset // size * size
            array = f":{member.get_bitfield_width()}@{bit - offset * 8}"
        nested = f"{record}.{name if name != '-' else f'@{offset}'}"
        type_ = self.type_of(element, nested, member)
        spelling = type_ if type_ in self.handles else spell(member.type)
        return f"  {offset} {size * count} {name} {type_}{array} {spelling}"

    def type_of(self, written, nested, member):
        type_ = written.get_canonical()
        if type_.kind in (TypeKind.CHAR_S, TypeKind.CHAR_U):
            return "char"
        if type_.kind == TypeKind.VOID:
            return "void"
        if type_.kind in INTEGERS:
            return f"{INTEGERS[type_.kind]}{type_.get_size() * 8}"
        if type_.kind == TypeKind.POINTER:
            # A plain pointer: an alias of a handle in some unions.
            return self.handle(written.spelling.replace(" ", ""), type_.get_pointee(), member)
        if type_.kind == TypeKind.RECORD:
            declaration = type_.get_declaration()
            if is_handle(type_):
                # Which macro was written: 64 bits wide for 32-bit callers too, or not.
                tag = type_.spelling.split("__guest_handle_")[-1]
                wide = (member.location.file.name, member.location.line) in self.wide
                pointee = next(iter(type_.get_fields())).type.get_pointee()
                return self.handle(f"XEN_GUEST_HANDLE{'_64' if wide else ''}({tag})", pointee,
                                   member)
            named = not is_unnamed(declaration)
            at_top = declaration.semantic_parent.kind == CursorKind.TRANSLATION_UNIT
            return self.record(type_, None if named and at_top else nested)
        raise SystemExit(f"{member.location.file}:{member.location.line}: {member.spelling} is a "
                         f"{type_.kind.name.lower()}: expected an integer, a structure, a union or "
                         "a pointer")

    def handle(self, spelling, pointee, member):
        if spelling not in self.handles:
            element = self.type_of(pointee, None, member)
            const = " const" if pointee.get_canonical().is_const_qualified() else ""
            self.handles[spelling] = f"handle {spelling} {element}{const}"
        return spelling


def is_unnamed(cursor):
    return not cursor.spelling or "(unnamed" in cursor.spelling or "(anonymous" in cursor.spelling


def is_handle(cursor_or_type):
    return "__guest_handle_" in cursor_or_type.spelling


ARRAYS = (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY)


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
    name = type_.spelling
    if "(unnamed" in name or "(anonymous" in name:
        return "union" if type_.get_declaration().kind == CursorKind.UNION_DECL else "struct"
    return name.split("::")[-1]


# --- the file ------------------------------------------------------------------------------------


def release_file(release, include):
    parsed = Parsed(include)
    types = Types(parsed)
    lines = ["# What the public headers of one Xen release say, by read_headers.py;",
             "# hcall/schema/compiler/layout.py says what a line means.",
             layout.FORMAT, f"release {release}"]
    lines += read_constants(parsed)
    lines += read_removed(parsed)
    lines += [line for _, line in sorted(types.handles.items())]
    lines += [line for _, line in sorted(types.typedefs.items())]
    for _, record in sorted(types.records.items()):
        lines += record
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--release", required=True, help="whose headers these are, such as 4.20")
    parser.add_argument("--include", type=pathlib.Path, required=True,
                        help="the folder that holds xen/")
    parser.add_argument("--output", type=pathlib.Path, help="the file to write; default: stdout")
    options = parser.parse_args()
    try:
        text = release_file(options.release, options.include)
    except headers.HeadersError as error:
        raise SystemExit(error) from None
    if options.output:
        options.output.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
