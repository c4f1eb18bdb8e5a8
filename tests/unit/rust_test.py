#!/usr/bin/python3
"""The Rust module against C: every size, alignment, offset and constant of every release, and what
it says of ops against the export of the op table.

A program in Rust shows what the module has (rust_test.rs). The same is said by a program in C, of
the installed headers for their release, and by the release files for all.

Arguments: op_table.json, the source tree, and the C compiler's command.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCHEMA = pathlib.Path(sys.argv[2], "hcall/schema")
sys.path.append(str(SCHEMA / "compiler"))

import headers
import layout

COMMAND = [sys.executable, SCHEMA.parent / "bindings/rust.py"]
RUST_KEYWORDS = {"type", "ref", "in", "gen"}
# In C++ they are numbers, in C they are none.
NO_NUMBER = {"COMPAT_FLEX_ARRAY_DIM", "XEN_FLEX_ARRAY_DIM"}
INSTALLED = pathlib.Path("/usr/include")
RUSTC = shutil.which("rustc")
EXPORT = json.loads(pathlib.Path(sys.argv[1]).read_text())
RELEASES = {path.stem: layout.Release(path)
            for path in sorted((SCHEMA / "releases").glob("*.layout"))}


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def empties(release):
    """Records of which C++, as which headers are read for the release files, has other sizes."""
    found = set()
    for record in release.records.values():
        if not record.fields or any(field.type.name in found for field in record.fields):
            found.add(record.name)
    return found


def rust_name(name):
    name = name.replace("@", "at_").replace(".", "_")
    return f"r#{name}" if name in RUST_KEYWORDS else name


def member_name(field):
    return field.name or f"@{field.offset}"


def scalar_name(field):
    if not isinstance(field.type, layout.Scalar):
        return "record"
    name = field.type.name.replace("s", "i").replace("char", "u8")
    return f"[{name}; {field.count}]" if field.is_array else name


# --- What each says -------------------------------------------------------------------------------


def release_lines(release):
    """What the release file says, by what it is of, in the form that rust_test.rs has."""
    for record in release.records.values():
        name = rust_name(record.name)
        yield f"record {name}", f"[{record.size}, {record.alignment}]"
        for field in record.fields:
            where = f"{name}.{member_name(field)}"
            if not field.bit_width:
                yield f"member {where}", f"[{field.offset}, {field.size}] {scalar_name(field)}"
                continue
            bits = ((1 << field.bit_width) - 1) << (field.offset * 8 + field.bit_offset)
            yield f"bits {where}", f"{list(bits.to_bytes(record.size, 'little'))}"
            bits ^= (1 << record.size * 8) - 1
            yield f"cleared {where}", f"{list(bits.to_bytes(record.size, 'little'))}"
    for each in release.typedefs.values():
        yield f"typedef {each.name}", f"[{each.size}]"
    for each in release.constants.values():
        value = each.value if -2**31 <= each.value else each.value + 2**64
        type_ = "i32" if value < 0 else "u32" if value < 2**32 else "u64"
        yield f"constant {each.name}", f"{value} {type_}"


def rust_program():
    text = (pathlib.Path(__file__).parent / "rust_test.rs").read_text()
    calls = ""
    for release in RELEASES.values():
        module = f"xen_{release.name.replace('.', '_')}"
        lines = []
        for record in release.records.values():
            name = rust_name(record.name)
            members = [f'"{name}.{member_name(field)}" {rust_name(member_name(field))}'
                       for field in record.fields if not field.bit_width]
            lines.append(f'record!("{name}" {name} {" ".join(members)});')
            lines += [f"bits!({name} {field.name} set_{field.name} {field.bit_width});"
                      for field in record.fields if field.bit_width]
        lines += [f'show("typedef", "{name}", &[size_of::<{name}>()]);'
                  for name in release.typedefs]
        lines += [f'constant("{name}", {name});' for name in release.constants]
        # The compiler is quicker with functions that are not too long.
        parts = {f"{module}_{i}": lines[i:i + 100] for i in range(0, len(lines), 100)}
        for name, part in parts.items():
            text += f"\nfn {name}() {{ use xen::{module}::*;\n" + "\n".join(part) + "\n}\n"
        calls += f'release!("{release.name}" {module} {" ".join(parts)});\n'
    return f"{text}\nfn show_releases() {{\n{calls}}}\n"


C_HEAD = """
#include <stdio.h>
#include <string.h>

static void show_bytes(const char *what, const void *bytes, int size) {
  printf("%s [", what);
  for (int i = 0; i < size; ++i) printf("%s%d", i ? ", " : "", ((const unsigned char *)bytes)[i]);
  puts("]");
}

int main(void) {
"""


def c_lines(release):
    """Of the installed headers."""
    types = {}  # how C calls a record
    around = {}  # a member without a name: the type around it, and the offset there
    for record in reversed(release.records.values()):  # what is around others comes before them
        if record.header == "hcall/schema/abi.h":
            continue
        name = rust_name(record.name)
        if not record.is_nested:
            kind = "" if record.name == "xen_uuid_t" else "union " if record.is_union else "struct "
            types[record.name] = kind + record.name
        if record.name in types:
            type_, base = types[record.name], 0
            yield f'printf("record {name} [%zu, %zu]\\n", sizeof({type_}), _Alignof({type_}));'
        else:
            type_, base = around[record.name]
        for field in record.fields:
            if isinstance(field.type, layout.Record) and field.type.is_nested:
                if field.name:
                    member = field.name + "[0]" * field.is_array
                    types[field.type.name] = f"__typeof__((({type_} *)0)->{member})"
                else:
                    around[field.type.name] = type_, base + field.offset
            if field.bit_width:
                for what, before, value in (("bits", 0, "-1"), ("cleared", 255, "0")):
                    yield (f"{{ {type_} all; memset(&all, {before}, sizeof all); "
                           f'all.{field.name} = {value}; show_bytes("{what} {name}.{field.name}", '
                           f"(char *)&all + {base}, {record.size}); }}")
            elif field.name:
                size = f"sizeof((({type_} *)0)->{field.name})" if field.count else "(size_t)0"
                yield (f'printf("member {name}.{field.name} [%zu, %zu]\\n", '
                       f"offsetof({type_}, {field.name}) - {base}, {size});")
    for name in release.typedefs:
        yield f'printf("typedef {name} [%zu]\\n", sizeof({name}));'
    for name in release.constants.keys() - NO_NUMBER:
        yield f'printf("constant {name} %lld\\n", (long long)({name}));'


def c_program(release):
    source = headers.source(INSTALLED).replace("cstddef", "stddef.h").replace("cstdint", "stdint.h")
    return source + C_HEAD + "\n".join(c_lines(release)) + "\n}\n"


def places_of(fields):
    return {each.get("path", each.get("name")): f"{each['offset']}:{each['size']}"
            for each in fields}


def count_text(count, places, element):
    if count["kind"] == "until_zero":
        places = places_of(EXPORT["types"][element]["fields"])
    # As rust_test.rs writes it.
    a, b = (places[count[key]] if key in count else "-" for key in "ab")
    fields = {"number": [a, b, count.get("scale"), count.get("per"), count.get("more", 0)],
              "range": [a, b], "until_zero": [a],
              "inside": [count.get("at"), count.get("per"), count.get("scale"),
                         count.get("least", 0)]}
    return " ".join(map(str, [count["kind"], *fields.get(count["kind"], [])]))


def pointer_lines(where, parts, places, records, is_list=False):
    """What the export says of the pointers among some parts."""
    for number, part in enumerate(parts, 1):
        buffer = part.get("buffer")
        if buffer is None or part["direction"] == "ignored":
            continue
        element, room = buffer["element"], buffer["room"]
        when = [f"{places[test['field']].split(':')[0]}:{test['values']}:{'flags' in test}:"
                f"{'not' in test}" for test in part.get("when", [])]
        filled = count_text(buffer["filled"], places, element) if "filled" in buffer else "none"
        yield (f"{where} {part['path']} {number if is_list else part['offset']} "
               f"{part['direction'].replace('_', '')} {part.get('phase', 'both')} "
               f"{EXPORT['types'][element]['size']} [{count_text(room, places, element)}] "
               f"{room.get('most', 0)} [{filled}] [{' '.join(when)}] {'null' in buffer} "
               f"{buffer.get('second_null', 0)} {~buffer.get('address_bits', -1) % 2**64} "
               f"{part['buffer'].get('trailing', False)} {buffer['lifetime'] != 'call'}").lower()
        inside = records.get(element, [])
        yield from pointer_lines(f"{where}.{part['path']}*", inside, places_of(inside), records)


def op_lines(release):
    """What the export says of the ops of a release."""
    for call in EXPORT["hypercalls"]:
        registers = {name: f"{i * 8}:8" for i, name in enumerate(call["registers"])}
        for op in call["ops"]:
            if release not in op["releases"]:
                continue
            name = f"{call['name']}.{op['name']}"
            argument = op.get("argument", {"type": None, "fields": []})
            size = EXPORT["types"][argument["type"]]["size"] if argument["type"] else 0
            yield f"op {call['number']} {name} {op['number']} {size}".lower()
            fields, records = argument["fields"], EXPORT["records"]
            yield from pointer_lines(f"{name}:registers", op["registers"], registers,
                                     records | {argument["type"]: fields})
            yield from pointer_lines(f"{name}:argument", fields, places_of(fields), records)
            yield from pointer_lines(f"{name}:buffers", op.get("buffers", []), places_of(fields),
                                     records, is_list=True)


# --- The comparison -------------------------------------------------------------------------------


def sections(text):
    """What the Rust program says of each release: facts, by what they are of, and lines of ops."""
    found = {}
    for line in text.splitlines():
        what, _, rest = line.partition(" ")
        if what == "release":
            facts, ops = found[rest] = {}, []
        elif what in ("op", "pointer"):
            ops.append((line if what == "op" else rest).lower())
        else:
            name, _, numbers = rest.partition(" ")
            facts[f"{what} {name}"] = numbers
    return found


class Module(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            run(*COMMAND, "--output", folder / "xen.rs")
            # As a crate without the standard library has it.
            (folder / "lib.rs").write_text("#![no_std]\n#![deny(warnings)]\npub mod xen;\n"
                                           "pub use xen::*;\n")
            (folder / "main.rs").write_text(rust_program())
            rustc = [RUSTC, "--edition", "2021", "-C", "debug-assertions=off"]
            run(*rustc, "--crate-type", "rlib", "--crate-name", "xen", "lib.rs", cwd=folder)
            run(*rustc, "--extern", "xen=libxen.rlib", "main.rs", cwd=folder)
            cls.sections = sections(run(folder / "main"))

    def test_it_has_every_release(self):
        self.assertEqual(sorted(self.sections), sorted(RELEASES))

    def test_it_is_as_the_release_files_say(self):
        for name, (facts, _) in self.sections.items():
            expected = dict(release_lines(RELEASES[name]))
            self.assertEqual(sorted(facts), sorted(expected))
            unlike = {rust_name(each) for each in empties(RELEASES[name])}
            for key, value in facts.items():
                if key.split(" ")[1].split(".")[0] not in unlike:
                    self.assertEqual(value, expected[key], f"{key} of {name}")

    def test_it_is_as_the_installed_headers_say(self):
        release = installed_release()
        if release not in RELEASES:
            self.skipTest(f"installed are the headers of {release or 'no release'}")
        with tempfile.TemporaryDirectory() as folder:
            source, program = pathlib.Path(folder, "headers.c"), pathlib.Path(folder, "headers")
            source.write_text(c_program(RELEASES[release]))
            run(*sys.argv[3:], "-w", source, "-o", program)
            theirs = [line.split(" ", 2) for line in run(program).splitlines()]
        self.assertGreater(len(theirs), 4000)
        facts = self.sections[release][0]
        for what, name, value in theirs:
            mine = "".join(facts[f"{what} {name}"].partition("]")[:2])
            if what == "constant":
                mine, value = int(mine.split(" ")[0]) % 2**64, int(value) % 2**64
            self.assertEqual(mine, value, f"{what} {name}")

    def test_its_ops_are_as_the_export_says(self):
        for name, (_, ops) in self.sections.items():
            self.assertGreater(len(ops), 700)
            self.assertEqual(sorted(ops), sorted(op_lines(name)), name)


class Command(unittest.TestCase):
    def test_a_release_that_is_not_there_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder, "xen.rs")
            done = subprocess.run([*COMMAND, "--releases", "4.17,3.0", "--output", output],
                                  stderr=subprocess.PIPE, text=True)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("--releases: 3.0: expected some of 4.17, ", done.stderr)
            self.assertFalse(output.exists())

    def test_it_writes_the_releases_that_are_asked_for(self):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder, "xen.rs")
            run(*COMMAND, "--releases", "4.18,4.20", "--output", output)
            self.assertEqual([line for line in output.read_text().splitlines()
                              if line.startswith("pub mod")],
                             ["pub mod xen_4_18 {", "pub mod xen_4_20 {"])


def installed_release():
    """None: no headers are."""
    if shutil.which("pkg-config") is None or not (INSTALLED / "xen/xen.h").exists():
        return None
    done = subprocess.run(["pkg-config", "--modversion", "xencontrol"], stdout=subprocess.PIPE,
                          text=True)
    return ".".join(done.stdout.strip().split(".")[:2]) if done.returncode == 0 else None


if __name__ == "__main__":
    if RUSTC is None:
        print("skipped: no rustc is installed")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
