#!/usr/bin/python3
"""The op table against Xen's headers, read by other means than the table was made with.

Layout comes from the debug information that the compiler writes (the table's from libclang), op
numbers from the text of the headers. Every member of guest-handle type, every embedded bitmap and
every op number of domctl, sysctl, platform_op and memory_op must have its row, at the same offset
and with the same size; and every field of every structure in the export must lie where the debug
information says. The table is that of the release whose headers are installed.

Arguments: those of installed_release.py.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from installed_release import EXPORT, INCLUDE, RELEASE, compiled

DIE = re.compile(r"^ <([0-9a-f]+)><([0-9a-f]+)>: Abbrev Number: \d+ \((DW_TAG_\w+)\)")
# In front of the value stands its form, and of a name where it is kept.
ATTRIBUTE = re.compile(r"^ +<[0-9a-f]+> +DW_AT_(\w+) *: (?:\([^)]*\):? ?)*(.*)$")


class Debug:
    """Structures, unions and typedefs of a compilation, by their addresses in the dump."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder, "headers.o")
            compiled("-g", "-fno-eliminate-unused-debug-types", "-c", "-o", output)
            dump = subprocess.run(["readelf", "--wide", "--debug-dump=info", output], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
        self.dies, parents = {}, []
        current = None
        for line in dump.splitlines():
            die = DIE.match(line)
            if die:
                depth = int(die[1], 16)
                current = {"tag": die[3].removeprefix("DW_TAG_"), "children": []}
                self.dies[die[2]] = current
                del parents[depth:]
                if parents:
                    parents[-1]["children"].append(current)
                parents.append(current)
                continue
            attribute = ATTRIBUTE.match(line)
            if attribute and current is not None:
                current[attribute[1]] = attribute[2].strip()
        self.named = {}
        for die in self.dies.values():
            if die["tag"] in ("structure_type", "union_type") and "byte_size" in die:
                if "name" in die:
                    self.named.setdefault(die["name"], die)
            elif die["tag"] == "typedef" and "type" in die:
                inner = self.strip(self.type_of(die))
                if inner["tag"] in ("structure_type", "union_type") and "name" not in inner:
                    self.named.setdefault(die["name"], inner)

    def type_of(self, die):
        return self.dies[re.search(r"<0x([0-9a-f]+)>", die["type"])[1]]

    def strip(self, die):
        while die["tag"] in ("typedef", "const_type", "volatile_type") and "type" in die:
            die = self.type_of(die)
        return die

    def size(self, die):
        die = self.strip(die)
        if die["tag"] == "array_type":
            return self.count(die) * self.size(self.type_of(die))
        return int(die.get("byte_size", "0"), 0)

    @staticmethod
    def count(array):
        count = 1
        for child in array["children"]:
            if "upper_bound" in child:
                # Of an array without elements it is -1.
                count *= (int(child["upper_bound"], 0) + 1) % 2 ** 64
            else:
                count *= int(child.get("count", "0"), 0)
        return count

    @staticmethod
    def offset(member):
        return int(member.get("data_member_location", "0"), 0)

    def members(self, record):
        return [child for child in record["children"] if child["tag"] == "member"]

    def handles(self, record, base=0, path=""):
        """(path, offset) of every guest handle in a record, arrays of records included."""
        for member in self.members(record):
            type_, at = self.strip(self.type_of(member)), base + self.offset(member)
            name = ".".join(filter(None, (path, member.get("name", ""))))
            step = 0
            repeat = 1
            if type_["tag"] == "array_type":
                repeat, type_ = self.count(type_), self.strip(self.type_of(type_))
                step = self.size(type_)
            if type_["tag"] not in ("structure_type", "union_type"):
                continue
            for i in range(repeat):
                if "__guest_handle_" in type_.get("name", type_.get("linkage_name", "")):
                    yield name, at + i * step
                else:
                    yield from self.handles(type_, at + i * step, name)


DEBUG = Debug()
MACROS = set(re.findall(r"^#define (\w+)", compiled("-E", "-dM"), re.MULTILINE))
OPS = [(call["name"], op) for call in EXPORT["hypercalls"] for op in call["ops"]]


def name_of(type_id):
    return EXPORT["types"][type_id]["name"]


# Structures of which ops have a member each.
SHARED = {name_of(op["argument"]["type"]) for _, op in OPS
          if "argument" in op and op["argument"]["own_type"] != op["argument"]["type"]}
# Their structure's other member is meant, a physical address.
PHYSICAL = ["register_runstate_phys_area", "register_vcpu_time_phys_area"]


def pointers(fields):
    """Offsets at which a row says what a pointer is, or that it is none of the op's."""
    return {f["offset"] for f in fields
            if f["size"] == 8 and ("buffer" in f or f["direction"] == "ignored")}


def own_record(op):
    """The op's own structure in the debug information, and where it begins in the argument."""
    name = name_of(op["argument"]["own_type"])
    if name in DEBUG.named:
        return DEBUG.named[name], op["argument"]["own_offset"]
    # Without a name of its own: a member's type, called after it.
    outer, _, path = name.partition(".")
    record, base = DEBUG.named[outer], op["argument"]["own_offset"]
    for step in path.split("."):
        member = next(m for m in DEBUG.members(record) if m.get("name") == step)
        record = DEBUG.strip(DEBUG.type_of(member))
    return record, base


class Layout(unittest.TestCase):
    def test_every_handle_of_an_op_has_a_row(self):
        seen = 0
        for call, op in OPS:
            if "argument" not in op:
                continue
            record, base = own_record(op)
            if name_of(op["argument"]["own_type"]) in SHARED or op["name"] in PHYSICAL:
                continue  # an op that names no member of the union
            rows = pointers(op["argument"]["fields"])
            for path, offset in DEBUG.handles(record, base):
                seen += 1
                self.assertIn(offset, rows, f"{call}.{op['name']}: {path} at {offset} has no row")
        self.assertGreater(seen, 100)

    def test_every_handle_of_an_element_has_a_row(self):
        for name, fields in EXPORT["records"].items():
            rows = pointers(fields)
            record = DEBUG.named[name_of(name)]
            for path, offset in DEBUG.handles(record):
                self.assertIn(offset, rows, f"{name}: {path} at {offset} has no row")

    def test_every_structure_with_a_handle_is_met(self):
        met = set()

        def reach(record):
            if id(record) in met:
                return
            met.add(id(record))
            for member in DEBUG.members(record):
                type_ = DEBUG.strip(DEBUG.type_of(member))
                if type_["tag"] == "array_type":
                    type_ = DEBUG.strip(DEBUG.type_of(type_))
                reach(type_)

        names = set(EXPORT["records"])
        for _, op in OPS:
            parts = op["registers"] + op.get("buffers", [])
            if "argument" in op:
                names.add(op["argument"]["type"])
                parts = parts + op["argument"]["fields"]
            names |= {part["buffer"]["element"] for part in parts if "buffer" in part}
        for name in names:
            reach(DEBUG.named.get(name_of(name), {"children": []}))
        for name, record in DEBUG.named.items():
            if "__guest_handle_" in name:
                continue
            for path, _ in DEBUG.handles(record):
                self.assertIn(id(record), met, f"{name}.{path} is a pointer of no op")

    def test_every_embedded_bitmap_has_its_rows(self):
        seen = 0
        for call, op in OPS:
            if "argument" not in op:
                continue
            record, base = own_record(op)
            fields = {f["offset"]: f for f in op["argument"]["fields"]}
            for member in DEBUG.members(record):
                if DEBUG.strip(DEBUG.type_of(member)).get("name") != "xenctl_bitmap":
                    continue
                seen += 1
                at = base + DEBUG.offset(member)
                self.assertIn("buffer", fields[at], f"{call}.{op['name']}.{member['name']}")
                self.assertEqual(fields[at + 8]["size"], 4)
                self.assertTrue(fields[at + 8]["path"].endswith("nr_bits"))
        self.assertGreaterEqual(seen, 8)

    def test_every_field_lies_where_the_compiler_puts_it(self):
        compared = 0
        for type_ in EXPORT["types"].values():
            if type_["kind"] not in ("struct", "union") or type_["name"] not in DEBUG.named or \
                    RELEASE not in type_["releases"]:
                continue
            record = DEBUG.named[type_["name"]]
            self.assertEqual(type_["size"], DEBUG.size(record), type_["name"])
            theirs = {m["name"]: m for m in DEBUG.members(record) if "name" in m}
            mine = {f["name"]: f for f in type_["fields"] if f.get("name")}
            self.assertEqual(sorted(theirs), sorted(mine), type_["name"])
            for name, field in mine.items():
                member = theirs[name]
                if "bit_width" in field:
                    self.assertEqual(int(member["bit_size"], 0), field["bit_width"], name)
                    continue
                compared += 1
                where = f"{type_['name']}.{name}"
                self.assertEqual(DEBUG.offset(member), field["offset"], where)
                self.assertEqual(DEBUG.size(DEBUG.type_of(member)), field["size"], where)
        self.assertGreater(compared, 1000)


def defined(header, pattern, inside=None):
    """Name and number of the definitions in a header's text that the compiler sees too: not in
    comments, nor for the hypervisor alone."""
    text = (INCLUDE / "xen" / header).read_text()
    if inside:
        text = text[text.index(inside):]
        text = text[:text.index("\n};")]
    found = re.findall(rf"^#define ({pattern})[ \t]+(\d+|0x[0-9a-f]+)\b", text, re.MULTILINE)
    return {name: int(number, 0) for name, number in found if name in MACROS}


class Numbers(unittest.TestCase):
    def assert_rows(self, hypercall, constants, prefix, least):
        rows = {op["name"]: op["number"] for call, op in OPS if call == hypercall}
        self.assertGreaterEqual(len(constants), least)
        for name, number in constants.items():
            short = name.removeprefix(prefix)
            self.assertIn(short, rows, f"{name} has no row")
            self.assertEqual(rows[short], number, name)
        self.assertEqual(sorted(rows.values()), sorted(constants.values()))

    def test_of_domctl(self):
        self.assert_rows("domctl", defined("domctl.h", r"XEN_DOMCTL_\w+", "struct xen_domctl {"),
                         "XEN_DOMCTL_", 70)

    def test_of_sysctl(self):
        self.assert_rows("sysctl", defined("sysctl.h", r"XEN_SYSCTL_\w+", "struct xen_sysctl {"),
                         "XEN_SYSCTL_", 25)

    def test_of_platform_op(self):
        self.assert_rows("platform_op", defined("platform.h", r"XENPF_[a-z]\w+"), "XENPF_", 20)

    def test_of_memory_op(self):
        constants = defined("memory.h", r"XENMEM_[a-z]\w+")
        # Ops of ops, and kinds of resources, have numbers of their own.
        inner = re.compile(r"XENMEM_(paging_op|access_op|sharing_op|resource)_\w+")
        constants = {name: number for name, number in constants.items() if not inner.match(name)}
        self.assert_rows("memory_op", constants, "XENMEM_", 25)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
