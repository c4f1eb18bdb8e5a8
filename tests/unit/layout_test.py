#!/usr/bin/python3
"""The layout in hcall/schema/releases against the headers that this machine has, read anew; and as
C++ of its own, which must agree with the compiler and get along with Xen's own headers.

Arguments: the source tree, and the C++ compiler's command.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE, CXX = pathlib.Path(sys.argv[1]), sys.argv[2:]
SCHEMA = SOURCE / "hcall/schema"
RELEASES = sorted((SCHEMA / "releases").glob("*.layout"))
COMPILER = SCHEMA / "compiler"
sys.path.insert(0, str(COMPILER))
import headers  # noqa: E402
import layout  # noqa: E402
import structures  # noqa: E402


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          **options)


def machine():
    """(the machine's headers' folder, the repository's file of their release), or why not."""
    try:
        version = run("pkg-config", "--modversion", "xencontrol")
        include = run("pkg-config", "--variable=includedir", "xencontrol").stdout.strip()
    except FileNotFoundError:
        return None, "no pkg-config, which knows the release of the headers"
    if version.returncode:
        return None, "Xen's headers (libxen-dev) are not installed"
    release = ".".join(version.stdout.strip().split(".")[:2])
    path = SCHEMA / f"releases/{release}.layout"
    if path not in RELEASES:
        return None, f"the installed headers are Xen {release}'s, of which there is no {path.name}"
    return pathlib.Path(include), path


INCLUDE, FILE = machine()


@unittest.skipIf(INCLUDE is None, FILE)
class Machine(unittest.TestCase):
    def test_its_headers_say_what_the_file_says(self):
        done = run("/usr/bin/python3", COMPILER / "read_headers.py", "--release", FILE.stem,
                   "--include", INCLUDE)
        if "No module named 'clang'" in done.stderr:
            self.skipTest("libclang's Python module (python3-clang) is not installed")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.maxDiff = 4000
        self.assertEqual(FILE.read_text().splitlines(), done.stdout.splitlines())

    def test_its_handles_are_those_of_the_text(self):
        """Each member that the preprocessor leaves is a field, by the macro that the text has."""
        release = layout.Release(FILE)
        mine = collections.Counter(
            (field.name, field.type.name) for record in release.records.values()
            for field in record.fields if "HANDLE" in field.type.name)
        text = run(*CXX, "-E", "-P", "-x", "c++", f"-I{INCLUDE}", "-",
                   input=headers.source(INCLUDE)).stdout
        # Two members of one nameless structure have its fields each.
        text = re.sub(r"(\{[^{}]*\}) \w+, \w+;", r"\1 first; \1 second;", text)
        theirs = collections.Counter()
        for tag, names in re.findall(r"(?<!typedef )\b__guest_handle_(\w+)\s+([\w, ]+);", text):
            theirs.update((name, tag) for name in re.split(r"\s*,\s*", names))
        self.assertGreater(sum(theirs.values()), 100)
        tags = collections.Counter()
        for (name, type_), count in mine.items():
            tags[name, type_.split("(")[1][:-1]] += count
        self.assertEqual((theirs - tags, tags - theirs), (collections.Counter(),) * 2)

        written = "".join((INCLUDE / "xen" / name).read_text() for name in headers.HEADERS
                          if (INCLUDE / "xen" / name).is_file())
        for name, type_ in mine:
            self.assertRegex(written, rf"\s{re.escape(type_)}\s+([\w, ]+,\s*)?{name}\b")


class Cpp(unittest.TestCase):
    def assert_compiles(self, *sources, rest="", orders=1):
        """The C++ of some release files before the rest of a file; and behind it, of two orders."""
        with tempfile.TemporaryDirectory() as folder:
            header = pathlib.Path(folder, "xen.h")
            header.write_text(structures.structures([layout.Release(path) for path in sources]))
            parts = [f'#include "{header}"', rest]
            for text in ["\n".join(parts), "\n".join(reversed(parts))][:orders]:
                done = run(*CXX, "-std=gnu++20", "-Wall", "-Wextra", "-Werror", f"-I{SOURCE}",
                           "-fsyntax-only", "-x", "c++", "-", input=text + "\n")
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_every_release_is_laid_out_as_its_file_says(self):
        for path in RELEASES:
            with self.subTest(path.stem):
                self.assert_compiles(path)

    @unittest.skipIf(INCLUDE is None, FILE)
    def test_is_what_the_machines_headers_are(self):
        """Kept under names of its own, and compared when the headers have been included too."""
        release = layout.Release(FILE)
        ours = [f"constexpr auto our_{name} = static_cast<long long>(xencomm::xen::{name});"
                for name in release.constants]
        theirs = [f"static_assert(our_{name} == static_cast<long long>({name}));"
                  for name in release.constants]
        for record in release.records.values():
            if record.is_nested or not record.header.startswith("xen/"):
                continue
            theirs.append(f"static_assert(sizeof(xencomm::xen::{record.name}) == "
                          f"sizeof(::{record.name}));")
            pointers = [f"{record.name}::{field.name}.p" for field in record.fields
                        if "HANDLE" in field.type.name]
            theirs += [f"static_assert(kIsConst<decltype(xencomm::xen::{pointer})> == "
                       f"kIsConst<decltype(::{pointer})>);" for pointer in pointers]
        self.assert_compiles(FILE, rest="\n".join([
            *ours, headers.source(INCLUDE), "template <class T>",
            "constexpr bool kIsConst = std::is_const_v<std::remove_pointer_t<T>>;", *theirs]))

    @unittest.skipIf(INCLUDE is None, FILE)
    def test_gets_along_with_libxenctrl(self):
        self.assert_compiles(*RELEASES, rest="#include <cstdint>\n#include <xenctrl.h>", orders=2)

    @unittest.skipIf(INCLUDE is None, FILE)
    def test_gets_along_with_all_headers(self):
        self.assert_compiles(*RELEASES, rest=headers.source(INCLUDE), orders=2)


# Of a release file: what is replaced by what, and how the message goes on after the line's number.
BAD_FILES = [
    ("xencomm-layout 1", "xencomm-layout 2", "'xencomm-layout 2': expected 'xencomm-layout 1'"),
    ("release 4.17\nconstant", "constant", "'constant"),
    ("constant DOMID_SELF 32752 xen/xen.h", "constant DOMID_SELF 0x7ff0 xen/xen.h",
     "'0x7ff0': expected a decimal number"),
    ("constant DOMID_SELF 32752 xen/xen.h", "constant DOMID_SELF", "'constant DOMID_SELF'"),
    ("constant DOMID_SELF 32752 xen/xen.h", "constant DOMID_SELF 32752 xen/xen.h here there",
     "'constant DOMID_SELF"),
    ("constant DOMID_IO", "constant DOMID_SELF", "DOMID_SELF once more"),
    ("struct xen_sysctl ", "struct xen_domctl ", "xen_domctl once more"),
    ("struct xen_domctl ", "structure xen_domctl ", "'structure xen_domctl"),
    ("  0 4 cmd u32 uint32_t", "  0 4 cmd u32", "'0 4 cmd u32': expected OFFSET SIZE FIELD TYPE"),
    ("  0 4 cmd u32 uint32_t", "  0 4 cmd u33 uint32_t", "type 'u33': expected"),
    ("  0 4 cmd u32 uint32_t", "  0 8 cmd u32 uint32_t", "8 bytes of u32: expected 4"),
    ("  0 4 cmd u32 uint32_t", "  8192 4 cmd u32 uint32_t", "'cmd' at 8192"),
    ("  0 4 cmd u32 uint32_t", "  -4 4 cmd u32 uint32_t", "'cmd' at -4"),
    ("  0 4 cmd u32 uint32_t", "  0 4 cmd u32:9@24 uint32_t", "9 bits from bit 24"),
    ("  8 2 domain u16 domid_t", "  8 2 cmd u16 domid_t", "xen_domctl.cmd once more"),
    ("  0 4 cmd u32 uint32_t", "  0 144 cmd xen_domctl struct xen_domctl",
     "xen_domctl needs itself"),
    ("handle XEN_GUEST_HANDLE(char) char", "handle XEN_GUEST_HANDLE(char) letter",
     "type 'letter': expected"),
    ("typedef domid_t u16", "typedef domid_t word", "type 'word': expected"),
]


class BadInput(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.output = self.folder / "output"

    def assert_refused(self, start, done):
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(start), f"{start} in:\n{done.stderr}")
        self.assertFalse(self.output.exists())

    def test_of_a_release_file(self):
        good = (SCHEMA / "releases/4.17.layout").read_text()
        for old, new, message in BAD_FILES:
            with self.subTest(message):
                # Where several records have such a field, xen_domctl's.
                before, found, after = good.partition(old)
                if old.startswith("  "):
                    before, found, after = good.partition("struct xen_domctl ")
                    inner, _, after = after.partition(old)
                    before, found = before + found + inner, old
                self.assertTrue(found)
                bad = self.folder / "bad.layout"
                bad.write_text(before + new + after)
                with self.assertRaises(layout.LayoutError) as refused:
                    layout.Release(bad)
                self.assertTrue(str(refused.exception).startswith(
                    f"{bad}:{before.count(chr(10)) + 1}: {message}"), refused.exception)

    def test_of_headers(self):
        def read():
            return run("/usr/bin/python3", COMPILER / "read_headers.py", "--release", "4.17",
                       "--include", self.folder, "--output", self.output)
        done = read()
        if "No module named 'clang'" in done.stderr:
            self.skipTest("libclang's Python module (python3-clang) is not installed")
        self.assert_refused(f"{self.folder}/xen/xen.h is not there: expected the folder that holds "
                            "xen/", done)
        (self.folder / "xen").mkdir()
        for name in headers.REQUIRED:
            (self.folder / "xen" / name).write_text("")
        (self.folder / "xen/domctl.h").write_text("\nstruct xen_domctl { nothing cmd; };\n")
        self.assert_refused(f"{self.folder}/xen/domctl.h:2:21: error: unknown type name 'nothing'",
                            read())
        (self.folder / "xen/domctl.h").write_text("struct xen_domctl { double cmd; };\n")
        self.assert_refused(f"{self.folder}/xen/domctl.h:1: cmd is a double: expected", read())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
