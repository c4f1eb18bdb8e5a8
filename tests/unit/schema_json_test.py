#!/usr/bin/python3
"""The JSON export is JSON, has the form that its JSON Schema describes, and says what the headers do.

Arguments: the program that writes the export, and the JSON Schema.
"""

import json
import subprocess
import sys
import unittest

EXPORT = json.loads(subprocess.run([sys.argv[1]], check=True, stdout=subprocess.PIPE).stdout)
with open(sys.argv[2]) as file:
    SCHEMA = json.load(file)

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


def op(hypercall, name):
    calls = {each["name"]: each for each in EXPORT["hypercalls"]}
    return {each["name"]: each for each in calls[hypercall]["ops"]}[name]


class Export(unittest.TestCase):
    def test_has_the_form_of_its_schema(self):
        check(EXPORT, SCHEMA, "export")

    def test_names_only_types_that_it_describes(self):
        types = EXPORT["types"]
        for hypercall in EXPORT["hypercalls"]:
            for each in hypercall["ops"]:
                for part in each["registers"] + each.get("argument", {}).get("fields", []):
                    self.assertIn(part["type"], types)
                    if "buffer" in part:
                        self.assertIn(part["buffer"]["element"], types)

    def test_says_what_the_headers_say(self):
        self.assertEqual(EXPORT["types"]["xen_domctl"]["size"], 144)
        self.assertEqual(EXPORT["types"]["xen_sysctl"]["size"], 136)
        fields = {f["path"]: f for f in op("sysctl", "readconsole")["argument"]["fields"]}
        self.assertEqual(fields["buffer"]["offset"], 16)
        self.assertEqual(fields["buffer"]["buffer"]["room"]["a"], "count")

    def test_counts_the_handles_of_the_headers(self):
        counted = {}
        for type_ in EXPORT["types"].values():
            for field in type_.get("fields", []):
                if "XEN_GUEST_HANDLE" in field.get("spelling", ""):
                    header = type_["header"]
                    counted[header] = counted.get(header, 0) + 1
        self.assertEqual(counted["xen/sysctl.h"], 34)
        # One more structure than there is text: set_variable shares get_variable's, two handles.
        self.assertEqual(counted["xen/platform.h"], 17 + 2)
        self.assertEqual(counted["xen/domctl.h"], 16)
        self.assertEqual(counted["xen/memory.h"], 14)

    def test_has_a_row_for_every_op_of_the_toolstack(self):
        numbers = {each["name"]: len(each["ops"]) for each in EXPORT["hypercalls"]}
        constants = [c["name"] for c in EXPORT["constants"] if c.get("scope") == "xen_domctl"]
        ops = [name for name in constants if name.startswith("XEN_DOMCTL_")]
        self.assertEqual(numbers["domctl"], len(ops))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
