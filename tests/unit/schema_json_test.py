#!/usr/bin/python3
"""The table as JSON has the form that its JSON Schema describes, and says what the headers of every
release do: each guest pointer of an op's own structure, counted in the text of the release's layout
file, is a buffer or ignored.

Arguments: op_table.json, the JSON Schema, and the folder of the layout files.
"""

import json
import pathlib
import re
import sys
import unittest

EXPORT, SCHEMA = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:3])
RELEASES = pathlib.Path(sys.argv[3])

KINDS = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def check(value, schema, path=""):
    """As much of JSON Schema as this one uses."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        check(value, SCHEMA["$defs"][name], path)
    if "enum" in schema and value not in schema["enum"]:
        raise AssertionError(f"{path}: {value} is none of {schema['enum']}")
    if "type" in schema:
        kind = KINDS[schema["type"]]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise AssertionError(f"{path}: {value!r} is no {schema['type']}")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            check(item, schema["items"], f"{path}[{i}]")
    if isinstance(value, dict) and schema.get("type") == "object":
        for name in schema.get("required", []):
            if name not in value:
                raise AssertionError(f"{path} has no {name}")
        for name, inner in value.items():
            known = schema.get("properties", {})
            if name in known:
                check(inner, known[name], f"{path}.{name}")
            elif schema.get("additionalProperties", True) is False:
                raise AssertionError(f"{path}.{name} is not in the schema")
            elif isinstance(schema.get("additionalProperties"), dict):
                check(inner, schema["additionalProperties"], f"{path}.{name}")


OPS = {(call["name"], op["name"], release): op for call in EXPORT["hypercalls"]
       for op in call["ops"] for release in op["releases"]}


class Layout:
    """As much of a layout file as it takes to find handles."""

    def __init__(self, release):
        self.handles, self.records = set(), {}
        for line in (RELEASES / f"{release}.layout").read_text().splitlines():
            words = line.split()
            if words[0] == "handle":
                self.handles.add(words[1])
            elif words[0] in ("struct", "union"):
                fields = self.records.setdefault(words[1], [])
            elif line.startswith("  "):
                type_ = re.sub(r"[\[:].*", "", words[3])
                fields.append((int(words[0]), words[2].strip("-"), type_))

    def pointers(self, record):
        """(path, offset) of each handle, also of structures in the structure."""
        for offset, name, type_ in self.records.get(record, []):
            if type_ in self.handles:
                yield name, offset
            for path, inner in self.pointers(type_):
                yield f"{name}.{path}".strip("."), offset + inner


def name_of(type_id):
    return EXPORT["types"][type_id]["name"]


# Structures of which ops have a member each.
SHARED = {name_of(op["argument"]["type"]) for op in OPS.values()
          if "argument" in op and op["argument"]["own_type"] != op["argument"]["type"]}
# Their structure's other member is meant, a physical address.
PHYSICAL = {("vcpu_op", "register_runstate_phys_area"), ("vcpu_op", "register_vcpu_time_phys_area")}
HANDLES = 130  # in each release at least


def pointers(parts, start=0):
    """(path, offset) of the rows that say what a handle is, or that it is none of the op's."""
    return {(part["path"], part["offset"]) for part in parts if part["offset"] >= start and
            EXPORT["types"][part["type"]]["kind"] == "handle" and
            ("buffer" in part or part["direction"] == "ignored")}


LAYOUTS = {release: Layout(release) for release in EXPORT["releases"]}


class Export(unittest.TestCase):
    def test_has_the_form_of_its_schema(self):
        check(EXPORT, SCHEMA, "export")

    def test_names_only_types_that_it_describes(self):
        for op in OPS.values():
            argument = op.get("argument", {"fields": []})
            parts = op["registers"] + argument["fields"] + op.get("buffers", [])
            named = {part["type"] for part in parts}
            named |= {part["buffer"]["element"] for part in parts if "buffer" in part}
            named |= {argument[key] for key in ("type", "own_type") if key in argument}
            self.assertLessEqual(named, EXPORT["types"].keys(), op["name"])
        self.assertLessEqual(EXPORT["records"].keys(), EXPORT["types"].keys())

    def test_names_a_type_by_the_first_release_that_has_it_so(self):
        for type_id, type_ in EXPORT["types"].items():
            first = type_.get("releases", EXPORT["releases"])[0]
            self.assertIn(type_id, (type_["name"], f"{type_['name']}@{first}"))
        for (_, name, release), op in OPS.items():
            if "argument" in op:
                own = EXPORT["types"][op["argument"]["own_type"]]
                if own["name"] not in SHARED:
                    self.assertIn(release, own.get("releases", [release]), name)

    def test_says_what_the_headers_say(self):
        self.assertEqual(EXPORT["types"]["xen_domctl"]["size"], 144)
        self.assertEqual(EXPORT["types"]["xen_sysctl"]["size"], 136)
        fields = {f["path"]: f for f in OPS["sysctl", "readconsole", "4.17"]["argument"]["fields"]}
        self.assertEqual(fields["buffer"]["offset"], 16)
        self.assertEqual(fields["buffer"]["buffer"]["room"]["a"], "count")

    def test_has_the_forms_of_an_op_in_the_releases_that_have_them(self):
        fields = {release: [f["path"] for f in op["argument"]["fields"]]
                 for (call, name, release), op in OPS.items() if name == "createdomain"}
        self.assertEqual([release for release in fields if "altp2m_opts" in fields[release]],
                         ["4.19", "4.20"])
        self.assertNotIn(("sysctl", "dt_overlay", "4.17"), OPS)
        self.assertIn(("sysctl", "dt_overlay", "4.18"), OPS)
        self.assertTrue(OPS["domctl", "get_domain_state", "4.21"]["stable"])

    def test_has_one_form_of_an_op_in_each_release(self):
        self.assertEqual(len(OPS), sum(len(op["releases"]) for call in EXPORT["hypercalls"]
                                       for op in call["ops"]))
        for call in EXPORT["hypercalls"]:
            releases = [name for each in call.get("versions", []) for name in each["releases"]]
            self.assertIn(sorted(releases), ([], EXPORT["releases"]), call["name"])

    def assert_rows(self, where, mine, theirs):
        """Each is one of theirs, and none is left out; of several in a union one will do."""
        self.assertLessEqual(mine, theirs, where)
        self.assertEqual({at for _, at in mine}, {at for _, at in theirs}, where)

    def test_has_a_row_for_every_handle_of_every_release(self):
        counted = dict.fromkeys(EXPORT["releases"], 0)
        for (call, name, release), op in OPS.items():
            argument = op.get("argument")
            if argument is None or (call, name) in PHYSICAL:
                continue
            own, at = name_of(argument["own_type"]), argument["own_offset"]
            if own in SHARED:
                continue
            theirs = {(path, at + offset) for path, offset in LAYOUTS[release].pointers(own)}
            mine = pointers(argument["fields"], at)
            self.assert_rows(f"{call}.{name} in {release}", mine, theirs)
            counted[release] += len(theirs)
        for release, count in counted.items():
            self.assertGreaterEqual(count, HANDLES, release)

    def test_has_a_row_for_every_handle_of_a_structure_in_buffers(self):
        for name, fields in EXPORT["records"].items():
            for release, layout in LAYOUTS.items():
                self.assert_rows(f"{name} in {release}", pointers(fields),
                                 set(layout.pointers(name_of(name))))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
