#!/usr/bin/python3
"""A second interface version stands beside the installed one.

Xen's public headers are copied and altered: domctl's version is one higher, one structure is laid
out otherwise, one op is new and one removed. The rows are copied too, and say what changed with
Since and Until. From both sets of headers the table is made as the build does, and the programs that
look at it (schema_versions_test.cc, and the JSON test) are compiled against it.

Arguments: the source tree, and the C++ compiler's command.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from altered_file import edit

SOURCE, CXX = pathlib.Path(sys.argv[1]), sys.argv[2:]
SCHEMA = SOURCE / "hcall/schema"


def alter_headers(domctl):
    edit(domctl, "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000015",
         "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000016")
    edit(domctl, "    uint32_t size; /* IN/OUT: size of buffer / bytes filled */",
         "    uint64_aligned_t size;\n    uint32_t instance;\n    uint32_t pad;")
    edit(domctl, "#define XEN_DOMCTL_settimeoffset                 24",
         "/* #define XEN_DOMCTL_settimeoffset              24 Removed */")
    edit(domctl, "        struct xen_domctl_settimeoffset     settimeoffset;\n", "")
    edit(domctl, "#define XEN_DOMCTL_gdbsx_guestmemio            1000",
         "#define XEN_DOMCTL_new_op                      90\n"
         "#define XEN_DOMCTL_gdbsx_guestmemio            1000")
    edit(domctl, "/* XEN_DOMCTL_gethvmcontext_partial */",
         "struct xen_domctl_new_op { uint32_t nr; XEN_GUEST_HANDLE_64(uint64) numbers; };")
    edit(domctl, "        struct xen_domctl_hvmcontext        hvmcontext;",
         "        struct xen_domctl_hvmcontext        hvmcontext;\n"
         "        struct xen_domctl_new_op            new_op;")


def edit_op(path, op, pattern, after):
    """Replaces what matches first behind an op's name, whatever its rows say besides."""
    before, name, rows = path.read_text().partition(f'        .name = "{op}",\n')
    rows, count = re.subn(pattern, after, rows, count=1)
    if name == "" or count != 1:
        raise AssertionError(f"{path.name} has no {op} with {pattern}")
    path.write_text(before + name + rows)


def alter_rows(domctl):
    new = r'In("instance").Only(Since(0x16)), Zero("pad").Only(Since(0x16)),'
    edit_op(domctl, "gethvmcontext", r"\.rows = \{", ".rows = {" + new)
    edit_op(domctl, "sethvmcontext", r"\.rows = \{", ".rows = {" + new)
    edit_op(domctl, "settimeoffset", r"\n    \},\n", r"\n    .versions = Until(0x15),\g<0>")
    edit(domctl, "    {\n        .number = XEN_DOMCTL_gethvmcontext_partial,",
         '    {.number = 90, .name = "new_op", .argument = "u.new_op", .about = "Adds numbers.",\n'
         '     .rows = {In("nr"), In("numbers", Elements("nr"))}, .versions = Since(0x16)},\n'
         "    {\n        .number = XEN_DOMCTL_gethvmcontext_partial,")


class SecondVersion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        folder = cls.folder = pathlib.Path(cls.temporary.name)
        include, generated = folder / "next", folder / "hcall/schema/generated"
        shutil.copytree("/usr/include/xen", include / "xen")
        alter_headers(include / "xen/domctl.h")
        generated.mkdir(parents=True)
        for name in ("domctl.h", "hypercalls.h"):
            shutil.copy(SCHEMA / name, folder / "hcall/schema")
        alter_rows(folder / "hcall/schema/domctl.h")
        subprocess.run(["/usr/bin/python3", SCHEMA / "generate.py", "--source", SOURCE, "--also",
                        f"next={include}", "--output", generated], check=True)
        cls.flags = ["-std=gnu++20", "-O0", "-Wall", "-Werror", f"-I{folder}", f"-I{SOURCE}"]
        cls.build("schema-compiler", cls.compile(sorted((SCHEMA / "compiler").glob("*.cc"))))
        done = subprocess.run([folder / "schema-compiler", generated / "table.cc",
                               generated / "rows.h"], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.objects = cls.compile([generated / "table.cc", *sorted(SCHEMA.glob("*.cc"))])

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def compile(cls, sources):
        """The objects of some sources, two compilers at a time."""
        def one(source):
            output = cls.folder / f"{source.parent.name}-{source.stem}.o"
            subprocess.run([*CXX, *cls.flags, "-c", source, "-o", output], check=True)
            return output
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(one, sources))

    @classmethod
    def build(cls, name, objects, *libraries):
        subprocess.run([*CXX, *objects, "-o", cls.folder / name, *libraries], check=True)

    def test_stands_beside_the_first(self):
        objects = self.compile([SOURCE / "tests/unit/schema_versions_test.cc"])
        self.build("versions", objects + self.objects, "-lgmock", "-lgtest", "-lgtest_main",
                   "-lpthread")
        done = subprocess.run([self.folder / "versions"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_json_has_the_form_of_its_schema(self):
        objects = self.compile([SOURCE / "tests/unit/schema_json_main.cc"])
        self.build("json", objects + self.objects)
        done = subprocess.run(
            ["/usr/bin/python3", SOURCE / "tests/unit/schema_json_test.py", self.folder / "json",
             SCHEMA / "op_table.schema.json", "Export.test_has_the_form_of_its_schema",
             "Export.test_names_only_types_that_it_describes"],
            stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_op_that_only_one_version_has_needs_to_say_so(self):
        """Without Since and Until the table is not made, and the message names the version."""
        folder = self.folder / "unsaid"
        (folder / "hcall/schema").mkdir(parents=True)
        for name in ("domctl.h", "hypercalls.h"):
            shutil.copy(SCHEMA / name, folder / "hcall/schema")
        flags = [f"-I{folder}", *self.flags]
        subprocess.run([*CXX, *flags, *sorted((SCHEMA / "compiler").glob("*.cc")), "-o",
                        folder / "schema-compiler"], check=True)
        done = subprocess.run([folder / "schema-compiler", folder / "table.cc", folder / "rows.h"],
                              stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("struct xen_domctl has no field u.settimeoffset", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
