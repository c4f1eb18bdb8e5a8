#!/usr/bin/python3
"""The build of the op table fails, naming the field, when a header says more than the rows.

A copy of Xen's public headers is altered, and the table is made from it as the build does: layout by
generate.py, joined with the rows by the schema compiler. Arguments: the source tree, and the C++
compiler's command.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from altered_file import edit

SOURCE, CXX = pathlib.Path(sys.argv[1]), sys.argv[2:]
SCHEMA = SOURCE / "hcall/schema"


def make_table(folder, alter):
    """The compiler's exit code and messages for a copy of the headers after `alter(copy)`."""
    include, generated = folder / "include", folder / "hcall/schema/generated"
    shutil.copytree("/usr/include/xen", include / "xen")
    generated.mkdir(parents=True)
    alter(include / "xen")
    subprocess.run(
        ["/usr/bin/python3", SCHEMA / "generate.py", "--source", SOURCE, "--include", include,
         "--output", generated], check=True)
    compiler = folder / "schema-compiler"
    subprocess.run(
        [*CXX, "-std=gnu++20", "-O0", f"-I{folder}", f"-I{SOURCE}", "-isystem", include,
         *sorted((SCHEMA / "compiler").glob("*.cc")), "-o", compiler], check=True)
    done = subprocess.run([compiler, folder / "table.cc", folder / "rows.h"],
                          stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


def alter_all(xen):
    # A handle in an op's structure.
    edit(xen / "sysctl.h", "    uint32_t sched_id;\n};",
         "    uint32_t sched_id;\n    XEN_GUEST_HANDLE_64(uint32) new_handle;\n};")
    # A bitmap, and a plain field.
    edit(xen / "domctl.h", "    uint32_t max;           /* maximum number of vcpus */",
         "    uint32_t max;\n    struct xenctl_bitmap new_bitmap;\n    uint32_t new_field;")
    # Ops, one beside the others and one with a member of its own.
    edit(xen / "sysctl.h", "#define XEN_SYSCTL_get_cpu_policy                29",
         "#define XEN_SYSCTL_get_cpu_policy                29\n#define XEN_SYSCTL_new_op 99")
    edit(xen / "memory.h", "#define XENMEM_get_vnumainfo                26",
         "#define XENMEM_get_vnumainfo                26\n#define XENMEM_new_op 29")
    edit(xen / "platform.h", "        xenpf_symdata_t               symdata;",
         "        xenpf_symdata_t               symdata;\n"
         "        struct new_member { uint32_t number; } new_member;")
    # A structure that no op has.
    edit(xen / "physdev.h", "#define PHYSDEVOP_dbgp_op               29",
         "struct new_structure { XEN_GUEST_HANDLE(void) new_pointer; };\n"
         "#define PHYSDEVOP_dbgp_op               29")


class AlteredHeaders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            cls.code, cls.messages = make_table(pathlib.Path(folder), alter_all)

    def test_the_build_fails(self):
        self.assertEqual(self.code, 1)

    def assert_named(self, *words):
        self.assertTrue(
            any(all(word in line for word in words) for line in self.messages.splitlines()),
            f"{words} in:\n{self.messages}")

    def test_names_a_handle_without_a_meaning(self):
        self.assert_named("sysctl.sched_id", "xen_sysctl_sched_id.new_handle",
                          "XEN_GUEST_HANDLE_64(uint32)")

    def test_names_a_bitmap_without_a_meaning(self):
        self.assert_named("domctl.max_vcpus", "xen_domctl_max_vcpus.new_bitmap.bitmap")

    def test_names_a_field_without_a_meaning(self):
        self.assert_named("domctl.max_vcpus", "xen_domctl_max_vcpus.new_field", "uint32_t")

    def test_names_an_op_without_a_row(self):
        self.assert_named("XEN_SYSCTL_new_op", "99")
        self.assert_named("XENMEM_new_op", "29")

    def test_names_a_member_that_belongs_to_no_op(self):
        self.assert_named("platform_op", "xen_platform_op.u.new_member")

    def test_names_a_pointer_in_a_structure_of_no_op(self):
        self.assert_named("xen/physdev.h", "new_structure.new_pointer")


class UnalteredHeaders(unittest.TestCase):
    def test_the_table_is_made(self):
        with tempfile.TemporaryDirectory() as folder:
            code, messages = make_table(pathlib.Path(folder), lambda xen: None)
        self.assertEqual((code, messages), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
