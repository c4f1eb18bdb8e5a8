#!/usr/bin/python3
"""The op table against the comments of Xen's own headers: an independent reading of directions.

An op uses a field in no way that its comment does not name; all ops that have the structure use it,
together, in every way that the comment names. Every guest handle has a row that says what it points
at. What differs is listed here, each with the reason why the table is right.

Arguments: those of installed_release.py.
"""

import collections
import re
import sys
import unittest

from header_comments import REGISTER, Headers, argument_named, op_comments
from installed_release import EXPORT, INCLUDE, RELEASE, compiled

HEADERS = Headers(compiled("-E", "-C"))
# Of hypercalls whose ops each have an argument of their own, what the ops' constants begin with.
PREFIXES = {
    "XEN_ARGO_OP_": "argo_op", "CALLBACKOP_": "callback_op", "EVTCHNOP_": "event_channel_op",
    "GNTTABOP_": "grant_table_op", "HVMOP_": "hvm_op", "XEN_HYPFS_OP_": "hypfs_op",
    "KEXEC_CMD_": "kexec_op", "XENMEM_": "memory_op", "XENNMI_": "nmi_op",
    "PHYSDEVOP_": "physdev_op", "SCHEDOP_": "sched_op", "VCPUOP_": "vcpu_op",
    "XENVER_": "xen_version", "XENOPROF_": "xenoprof_op", "XENPMU_": "xenpmu_op",
}
WAYS = {"in": {"in"}, "out": {"out"}, "in_out": {"in", "out"}, "ignored": set()}
# A heading over all fields says nothing of these.
PADDING = re.compile(r"(.*\.)?_?(pad|padding|rsvd|reserved|mbz|res)\d*")

POINTED_AT = "the comment is of the pointer: what it points at is written"
FOR_THE_SETTER = "the structure of two ops: the comment is of the one that sets"
CONTINUED = "a call that continues keeps there what is left to do"
ONLY_READ = "under a heading of several fields: Xen does not write this one"
# Where: (what the comment says, but what the table says; why it is right).
JUDGED = {
    "domctl.getnodeaffinity: nodemap": ("in, but out", FOR_THE_SETTER),
    "domctl.getpageframeinfo3: num": ("in, but in/out", CONTINUED),
    "domctl.shadow_op: mb": ("in, but in/out", "under a heading of all: GET_ALLOCATION writes it"),
    "domctl.shadow_op: dirty_bitmap": ("in, but out", POINTED_AT),
    "domctl.shadow_op: pages": ("in, but in/out", "out: pages that the bitmap has"),
    "domctl.shadow_op: stats.fault_count": ("in, but out", "under a heading of all: a result"),
    "domctl.shadow_op: stats.dirty_count": ("in, but out", "under a heading of all: a result"),
    "domctl.gethvmcontext_partial: bufsz": ("in, but in/out", "hvm_save_one writes the length"),
    "domctl.gdbsx_guestmemio: uva": ("in, but in/out", POINTED_AT + " when the domain is read"),
    "sysctl.readconsole: buffer": ("in, but out", POINTED_AT),
    "sysctl.getdomaininfolist: buffer": ("in, but out", POINTED_AT),
    "sysctl.getcpuinfo: info": ("in, but out", POINTED_AT),
    "sysctl.perfc_op: nr_counters": ("out, but in/out", "Xen trusts the room; we want it said"),
    "sysctl.perfc_op: nr_vals": ("out, but in/out", "Xen trusts the room; we want it said"),
    "platform_op.firmware_info: u.disk_info.edd_params":
        ("out, but in/out", "its first two bytes say how long it is"),
    "platform_op.firmware_info: u.efi_info.vendor.bufsz":
        ("out, but in", "its own comment says input, in small letters"),
    "platform_op.firmware_info: u.efi_info.mem.addr":
        ("out, but in", "under a heading of all: the address that is asked about"),
    "platform_op.firmware_info: u.efi_info.mem.size":
        ("out, but in/out", "under a heading of all: Xen cuts what it is given"),
    "platform_op.getidletime: idletime":
        ("in, but in/out", POINTED_AT + ", but for processors that were not asked for"),
    "platform_op.set_processor_pminfo: u.pdc":
        ("in, but in/out", "acpi_set_pdc_bits writes the third word back"),
    "grant_table_op.map_grant_ref: host_addr":
        ("in, but in/out", "where the hypervisor places what it maps, a machine's, it says where"),
    "memory_op.exchange: nr_exchanged": ("out, but in/out", CONTINUED + "; 0 at first"),
    "memory_op.sharing_op: u.range.opaque": ("must be zero", CONTINUED),
    "dm_op.modified_memory: opaque": ("must be zero", CONTINUED),
    "dm_op.set_mem_type: nr": ("in, but in/out", CONTINUED),
    "dm_op.set_mem_type: first_pfn": ("in, but in/out", CONTINUED),
    "physdev_op.map_pirq: type":
        ("in, but in/out", "the structure is written back whole, MSI_SEG as MSI"),
    "xenpf_resource_entry: u.cmd":
        ("in, but in/out", "the bytes are u.ret's too, and have one row"),
    "xen_sysctl_tbuf_op.cpu_mask": ("in/out, but in", ONLY_READ),
    "xen_sysctl_livepatch_op.u.get.status":
        ("in/out, but out", "livepatch_get reads nothing of it"),
    "xenpf_resource_entry.u.ret": ("out, but unused", "the bytes have their row as u.cmd"),
    "xen_hvm_altp2m_op.u.view.hvmmem_default_access": ("in/out, but in", ONLY_READ),
}
# The same of some releases only, from the first to the last.
WHOLE = ("out, but unused", "the bytes have their rows as u.s")
ONLY_TOTAL = ("in/out, but out", "the comment is of total, which stands before")
JUDGED_IN = {
    ("4.17", "4.20"): {
        f"sysctl.livepatch_op: u.list.{field}":
            ("out, but in/out", "Xen trusts the room; we want it said")
        for field in ("name_total_size", "metadata_total_size")},
    ("4.18", "4.20"): {
        f"xen_sysctl_pm_op.u.get_para.u.cppc_para.{field}": WHOLE
        for field in ("features", "lowest", "lowest_nonlinear", "nominal", "highest", "minimum",
                      "maximum", "desired", "energy_perf", "activity_window")},
    ("4.19", "4.20"): {
        f"xen_sysctl_get_pmstat.u.getpx.{field}": ONLY_TOTAL
        for field in ("usable", "last", "cur")},
}
for (first, last), judged in JUDGED_IN.items():
    if first <= RELEASE <= last:
        JUDGED |= judged

# How much is compared, at least: less means that comments, or rows, are no longer found.
DIRECTIONS, OPS, HANDLES, ZEROES = 857, 215, 132, 14
ARGUMENTS, LISTS = 47, 6

STRUCTURES = {type_["name"] for type_ in EXPORT["types"].values() if type_["kind"] == "struct"}
# What the comment names is called otherwise, or is a structure like it.
MISNAMED = ["VCPUOP_register_vcpu_time_memory_area", "XENVER_build_id"]


def words(ways):
    return "/".join(sorted(ways)) or "unused"


def name_of(type_id):
    return EXPORT["types"][type_id]["name"]


def own_structures():
    """(where, structure, rows) for each op's own structure and each one that buffers hold."""
    for call in EXPORT["hypercalls"]:
        arguments = [(op["name"], op["argument"]) for op in call["ops"] if "argument" in op]
        shared = {name_of(argument["type"]) for _, argument in arguments
                  if argument["own_type"] != argument["type"]}
        for name, argument in arguments:
            if name_of(argument["own_type"]) not in shared:
                yield (f"{call['name']}.{name}", name_of(argument["own_type"]),
                       [row for row in argument["fields"]
                        if row["offset"] >= argument["own_offset"]])
    for name, rows in EXPORT["records"].items():
        yield name, name_of(name), rows
    for call in EXPORT["hypercalls"]:
        for op in call["ops"]:
            yield from plain_elements(f"{call['name']}.{op['name']}", op)


def plain_elements(where, op):
    """Of buffers whose elements have no rows: they are used as a whole."""
    argument = op.get("argument", {})
    others = {argument.get("type"), argument.get("own_type"), *EXPORT["records"]}
    for row in argument.get("fields", []) + op["registers"] + op.get("buffers", []):
        if "buffer" in row and row["buffer"]["element"] not in others:
            structure = name_of(row["buffer"]["element"])
            yield (f"{where}: {row['path']}[]", structure,
                   [{"path": leaf.path, "direction": row["direction"]}
                    for leaf in HEADERS.leaves(structure)])


def rows_of(leaf, rows):
    """Its own row or one of a structure around it; of a bitmap the bits' row."""
    for row in rows:
        path = row["path"]
        if (path == leaf.path or leaf.path.startswith(path + ".")
                or leaf.is_handle and path.startswith(leaf.path + ".") and "buffer" in row):
            yield row


class Comparison:
    """`differences`: what is not alike, by where it is; and how much was compared."""

    def __init__(self):
        self.differences, self.ops = {}, set()
        self.directions = self.handles = self.zeroes = 0
        named, used = {}, collections.defaultdict(set)
        for where, structure, all_rows in own_structures():
            for leaf in HEADERS.leaves(structure):
                rows = list(rows_of(leaf, all_rows))
                ways = set().union(*(WAYS[row["direction"]] for row in rows))
                if rows:
                    self.compare_rows(f"{where}: {leaf.path}", leaf, rows)
                if PADDING.fullmatch(leaf.path) or not leaf.says:
                    continue
                if rows:
                    self.directions += 1
                    self.ops.add(where)
                    self.expect(ways <= leaf.says, f"{where}: {leaf.path}",
                                f"{words(leaf.says)}, but {words(ways)}")
                for path, says in [*leaf.groups, (leaf.path, leaf.own and leaf.says)]:
                    named[structure, path] = says
                    used[structure, path] |= ways
        for place, says in named.items():
            self.expect(not used[place] < says, ".".join(place),
                        f"{words(says)}, but {words(used[place])}")

    def compare_rows(self, where, leaf, rows):
        if leaf.is_zero:
            self.zeroes += 1
            self.expect(all("must be zero" in row.get("note", "") for row in rows), where,
                        "must be zero")
        if leaf.is_handle:
            self.handles += 1
            self.expect(all("buffer" in row or row["direction"] == "ignored" for row in rows),
                        where, "no pointer")

    def expect(self, is_alike, where, what):
        if not is_alike:
            self.differences[where] = what


class Comments(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.comparison = Comparison()

    def test_say_what_the_rows_say(self):
        self.assertEqual(self.comparison.differences,
                         {where: what for where, (what, _) in JUDGED.items()})

    def test_are_read(self):
        self.assertGreaterEqual(self.comparison.directions, DIRECTIONS)
        self.assertGreaterEqual(len(self.comparison.ops), OPS)
        self.assertGreaterEqual(self.comparison.handles, HANDLES)
        self.assertGreaterEqual(self.comparison.zeroes, ZEROES)


class OpComments(unittest.TestCase):
    """What stands at an op's number: the type of its argument, or what is in each register."""

    @classmethod
    def setUpClass(cls):
        ops = {call["name"]: {op["name"]: op for op in call["ops"]}
               for call in EXPORT["hypercalls"]}
        # (constant, its comment, the op's registers that are pointers)
        cls.found = []
        for constant, text in op_comments(INCLUDE / "xen"):
            prefix = next(filter(constant.startswith, PREFIXES), None)
            op = prefix and ops[PREFIXES[prefix]].get(constant.removeprefix(prefix))
            if op:
                cls.found.append((constant, text, {
                    register["path"]: register for register in op["registers"]
                    if "buffer" in register and register["buffer"]["room"].get("scale") != 0}))

    def assert_type(self, register, name, constant):
        """Of what is no structure, names are only the headers'."""
        type_ = EXPORT["types"][register["buffer"]["element"]]
        if constant not in MISNAMED and (name in STRUCTURES or type_["kind"] == "struct"):
            self.assertEqual(type_["name"], name, constant)

    def test_name_the_argument_that_the_op_has(self):
        arguments = [(constant, argument_named(text), pointers)
                     for constant, text, pointers in self.found]
        arguments = [each for each in arguments if each[1] is not None]
        self.assertGreaterEqual(len(arguments), ARGUMENTS)
        for constant, name, pointers in arguments:
            self.assertEqual(len(pointers), 1 if name else 0, constant)
            for register in pointers.values():
                self.assert_type(register, name, constant)

    def test_name_the_pointers_that_the_op_has(self):
        lists = [(constant, dict(REGISTER.findall(text)), pointers)
                 for constant, text, pointers in self.found if REGISTER.search(text)]
        self.assertGreaterEqual(len(lists), LISTS)
        for constant, names, pointers in lists:
            self.assertEqual(sorted(pointers), sorted(names), constant)
            for path, name in names.items():
                if "by hypervisor" in name:
                    self.assertEqual(pointers[path]["direction"],
                                     "out" if "written" in name else "in", constant)
                elif name.endswith("_t"):
                    self.assert_type(pointers[path], name.removesuffix("_t"), constant)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
