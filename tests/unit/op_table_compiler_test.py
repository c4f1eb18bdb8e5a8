#!/usr/bin/python3
"""The compiler of the op table says what is wrong with rows and releases, and where; and takes what
is new in them.

Each case alters one place in a copy of rows/ and releases/. Argument: the folder hcall/schema.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from altered_file import edit

SCHEMA = pathlib.Path(sys.argv[1])
RELEASES = sorted(path.stem for path in (SCHEMA / "releases").glob("*.layout"))
LATEST, NEXT = RELEASES[-1], "4.23"


class Table:
    """A copy of all that a table is made of."""

    def __init__(self, folder):
        self.rows, self.releases = folder / "rows", folder / "releases"
        self.output = folder / "output"
        shutil.copytree(SCHEMA / "rows", self.rows)
        shutil.copytree(SCHEMA / "releases", self.releases)
        self.output.mkdir()

    def file(self, name):
        return (self.releases if name.endswith(".layout") else self.rows) / name

    def compile(self):
        """The exit code and what is said."""
        done = subprocess.run(
            ["/usr/bin/python3", SCHEMA / "compiler/compile.py", "--rows", self.rows, "--releases",
             self.releases, "--output", self.output], stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stderr

    def json(self):
        return json.loads((self.output / "op_table.json").read_text())

    def written(self):
        return sorted(path.name for path in self.output.iterdir())


# (The file that is altered, what stands there, what then does, what the line that is told begins
# with or None, what is said.) The line may be another file's. In what is said, … is anything.
MISTAKES = {
    "key of a hypercall": (
        "domctl.yaml", "  op: cmd in argument\n", "  op: cmd in argument\n  opp: cmd\n",
        "  opp: cmd", "opp: expected what a hypercall has, one of about, …"),
    "place of the op": (
        "domctl.yaml", "  op: cmd in argument\n", "  op: cmd in pocket\n", "  op: cmd in pocket",
        "'cmd in pocket': expected FIELD in register, argument or first buffer"),
    "no place of the op": (
        "callback.yaml", "  op: cmd in register\n", "  op: cmd\n", "  op: cmd",
        "'cmd': expected FIELD in register, argument or first buffer"),
    "version": (
        "domctl.yaml", "  version: interface_version is XEN_DOMCTL_INTERFACE_VERSION\n",
        "  version: XEN_DOMCTL_INTERFACE_VERSION\n", "  version: XEN_DOM",
        "'XEN_DOMCTL_INTERFACE_VERSION': expected FIELD is CONSTANT"),
    "register": (
        "domctl.yaml", "  argument: u_domctl\n", "  argument: domctl\n", "domctl:",
        "domctl: there is no domctl: expected one of the registers u_domctl (in 4.17, …)"),
    "key of an op": (
        "domctl.yaml", "      about: Creates a domain,", "      abuot: Creates a domain,",
        "      abuot",
        "abuot: 'Creates …': expected in, out, …; or before the colon about, number, …"),
    "field of no release": (
        "domctl.yaml", "      vmtrace_size: ", "      vmtrace_sizes: ", "      vmtrace_sizes",
        "domctl.createdomain: struct xen_domctl_createdomain has no field vmtrace_sizes: "
        "expected one that it has, or since and until the releases that have it (in 4.17, "
        "4.18, 4.19, 4.20, 4.21, 4.22)"),
    "field of some releases": (
        "domctl.yaml", ", since 4.21\n        -- 0:", "\n        -- 0:", "      altp2m.opts",
        "domctl.createdomain: struct xen_domctl_createdomain has no field altp2m.opts: "
        "expected …since and until the releases that have it (in 4.17, 4.18, 4.19, 4.20)"),
    "field without a row": (
        "domctl.yaml", '      cpupool_id: "in, names cpupool -- 0: the first pool"\n', "",
        "    createdomain:",
        "domctl.createdomain: xen_domctl_createdomain.cpupool_id (uint32_t, xen/domctl.h) "
        "has no meaning: expected a row (in 4.17, …)"),
    "count that is no field": (
        "sysctl.yaml", '      buffer: "out [count]', '      buffer: "out [counts]',
        '      buffer: "out [counts]',
        "sysctl.readconsole: struct xen_sysctl_readconsole has no field counts: expected one "
        "that it has, or since … (in 4.17, …)"),
    "constant in a count": (
        "records.yaml", "at most XEN_LIVEPATCH_NAME_SIZE", "at most XEN_LIVEPATCH_NAME_SIZES",
        "  name: in [size", "name: XEN_LIVEPATCH_NAME_SIZES: expected a field, a constant, …"),
    "direction": (
        "domctl.yaml", "      iommu_opts: in, ", "      iommu_opts: inn, ", "      iommu_opts",
        "iommu_opts: 'inn': expected in, out, in out, …, then "
        "[COUNT]; …"),
    "clause": (
        "domctl.yaml", "      iommu_opts: in, flags ", "      iommu_opts: in, flag ",
        "      iommu_opts", "iommu_opts: 'flag XEN_DOMCTL_IOMMU_': expected filled COUNT, null …"),
    "count": (
        "records.yaml", "[bits nr_bits]", "[about nr_bits]", "  bitmap: ",
        "bitmap: 'about nr_bits': expected a number, CONSTANT, …"),
    "cases that overlap": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:",
        "      when cmd is GET_CPUFREQ_PARA or SET_CPUFREQ_GOV:",
        "      when cmd is GET_CPUFREQ_PARA or SET_CPUFREQ_GOV:",
        "sysctl.pm_op: … and u.set_gov.scaling_governor have bytes in common: expected "
        "cases that say which of them is meant"),
    "key that is there twice": (
        "domctl.yaml", "      ssidref: in", "      ssidref: in\n      ssidref: in",
        "      ssidref: in", "ssidref is there twice: expected each name once"),
    "field that is there twice": (
        "domctl.yaml", "      ssidref: in", "      ssidref flags: in",
        "      flags: in, flags XEN_DOMCTL_CDF_",
        "domctl.createdomain: flags and flags have bytes in common: expected cases that say …"),
    "op that is there twice": (
        "domctl.yaml", "    max_vcpus:\n",
        "    createdomain: No.\n    max_vcpus:\n", "    createdomain:",
        "createdomain is there twice: expected each name once"),
    "number of another op": (
        "domctl.yaml", "    max_vcpus:\n",
        "    max_vcpus:\n      number: XEN_DOMCTL_pausedomain\n", "    max_vcpus:",
        "domctl.max_vcpus: number 3 is domctl.pausedomain's: expected one of its own (in 4.17, …)"),
    "number of another hypercall": (
        "sysctl.yaml", "  op: cmd in argument\n",
        "  op: cmd in argument\n  number: __HYPERVISOR_domctl\n", "sysctl:",
        "sysctl: number 36 is domctl's: expected one of its own"),
    "op without a row": (
        f"{LATEST}.layout", "constant XEN_DOMCTL_pausedomain ",
        "constant XEN_DOMCTL_new_op 99 xen/domctl.h xen_domctl\nconstant "
        "XEN_DOMCTL_pausedomain ", ("domctl.yaml", "domctl:"),
        "domctl: the op XEN_DOMCTL_new_op (99, xen/domctl.h) has no row: expected one, … "
        f"(in {LATEST})"),
    "op of no release": (
        "domctl.yaml", "    max_vcpus:\n", "    new_op: New.\n    max_vcpus:\n", "    new_op:",
        "domctl.new_op: no release has such an op: expected a constant XEN_DOMCTL_new_op"),
    "member of no op": (
        "4.20.layout", "  0 8 max_mem xen_domctl_max_mem ",
        "  0 4 new_member u32 uint32_t\n  0 8 max_mem xen_domctl_max_mem ",
        ("domctl.yaml", "domctl:"),
        "domctl: xen_domctl.u.new_member belongs to no op: expected one called so, … (in "
        "4.20)"),
    "pointer without a count": (
        "sysctl.yaml", '      buffer: "out [count], filled count, the machine\'s',
        '      buffer: "out -- bytes',
        '      buffer: "out -- bytes',
        "sysctl.readconsole: buffer is a pointer: expected [COUNT] behind out (in 4.17, …)"),
    "count without a pointer": (
        "sysctl.yaml", '      clear: "in', '      clear: "in [1]', "      clear: ",
        "sysctl.readconsole: clear is no pointer: expected no [COUNT], or of TYPE (in 4.17, …)"),
    "structure with pointers in a buffer": (
        "records.yaml", "xen_argo_iov:", "xen_argo_iovs:", "xen_argo_iovs:",
        "xen_argo_iovs: expected a structure of the headers"),
    "structure without rows in a buffer": (
        "records.yaml", re.compile(r"xen_argo_iov:\n(  .*\n)+"), "",
        ("argo.yaml", "      around arg2: in [arg3, at most XEN_ARGO_MAXIOV]"),
        "argo_op.sendv: … leads to xen_argo_iov, which has pointers: expected rows for it "
        "in records.yaml"),
    "type of a buffer": (
        "argo.yaml", "of xen_argo_iov", "of xen_argo_iovs",
        "      around arg2: in [arg3, at most XEN_ARGO_MAXIOV]",
        "argo_op.sendv: …: of xen_argo_iovs: expected a structure of the headers, or a "
        "scalar as uint32_t (in 4.17, …)"),
    "structure of an op": (
        "memory.yaml", "(xen_mem_acquire_resource)", "(xen_mem_resource)",
        "    acquire_resource",
        "memory_op.acquire_resource: xen_mem_resource: expected a structure of the headers "
        "(in 4.17, …)"),
    "fields of no structure": (
        "nmi.yaml", "_callback(xennmi_callback):", "_callback:", "      handler_address: ",
        "nmi_op.register_callback: expected no fields, or OP(STRUCTURE) (in 4.17, …)"),
    "prefix of no constant": (
        "domctl.yaml", "flags XEN_DOMCTL_IOMMU_", "flags XEN_DOMCTL_IOMU_", "      iommu_opts",
        "domctl.createdomain: iommu_opts: no constant begins with XEN_DOMCTL_IOMU_: "
        "expected a prefix of some"),
    "two names of one value": (
        "domctl.yaml", "flags XEN_DOMCTL_IOMMU_", "enum XEN_DOMCTL_", "      iommu_opts",
        "domctl.createdomain: iommu_opts: XEN_DOMCTL_… and XEN_DOMCTL_… have the same "
        "value: expected a prefix or except that leaves one (in 4.17, …)"),
    "until before since": (
        "domctl.yaml", "since 4.19,\n        until 4.20", "since 4.20,\n        until 4.19",
        "      altp2m_opts",
        "altp2m_opts: since 4.20, until 4.19: expected an earlier release, then a later one"),
    "release that is not there": (
        "domctl.yaml", "since 4.19,\n        until 4.20", "since 4.19,\n        until 4.99",
        "      altp2m_opts",
        "domctl.createdomain: altp2m_opts: 4.99: expected one of the releases 4.17, …"),
    "field in too few releases": (
        "domctl.yaml", "since 4.19,\n        until 4.20", "since 4.20,\n        until 4.20",
        "    createdomain:",
        "domctl.createdomain: xen_domctl_createdomain.altp2m_opts …: expected a row (in 4.19)"),
    "YAML": (
        "domctl.yaml", "  op: cmd in argument\n", "  op: [cmd in argument\n", None,
        "…: expected YAML"),
    "text for a mapping": (
        "domctl.yaml", '  registers: {u_domctl: "in [1]"}\n', "  registers: in [1]\n",
        "  registers: in", "expected a mapping: NAME: …"),
    "another format": (
        "4.18.layout", "xencomm-layout 1\n", "xencomm-layout 2\n", "xencomm-layout 2",
        "'xencomm-layout 2': expected 'xencomm-layout 1'"),
    "truncated line": (
        "4.18.layout", "  0 8 max_memkb u64 uint64_t\n", "  0 8 max_memkb\n", "  0 8 max_memkb",
        "'0 8 max_memkb': expected OFFSET SIZE FIELD TYPE SPELLING"),
    "two files of a release": (
        "4.18.layout", "release 4.18\n", "release 4.17\n", "release 4.17",
        "release 4.17: expected 4.18, as the file is called, …"),
    "like of nothing": (
        "version.yaml", re.compile("like: build_id"), "like: build", "    extraversion2",
        "extraversion2: like build: expected an op with fields of its own, as HYPERCALL.OP "
        "or OP, …"),
    "constant of a case": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:",
        "      when cmd is SET_CPUFREQ_GOVERNOR:", "      when cmd is SET_CPUFREQ_GOVERNOR",
        "sysctl.pm_op: SET_CPUFREQ_GOVERNOR: expected a number, or a constant of some "
        "release's headers"),
    "constant of a case among others": (
        "sysctl.yaml", "      when op is XEN_SYSCTL_CPUPOOL_OP_ADDCPU or ",
        "      when op is XEN_SYSCTL_CPUPOOL_OP_ADD_CPU or ",
        "      when op is XEN_SYSCTL_CPUPOOL_OP_ADD_CPU",
        "sysctl.cpupool_op: XEN_SYSCTL_CPUPOOL_OP_ADD_CPU: expected a number, or a "
        "constant of …"),
    "condition": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:", "      when cmd = SET_CPUFREQ_GOV:",
        "      when cmd =", "'cmd = SET_CPUFREQ_GOV': expected FIELD is VALUE or VALUE …"),
    "field of a case": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:",
        "      when command is SET_CPUFREQ_GOV:", "      when command",
        "sysctl.pm_op: struct xen_sysctl_pm_op has no field command: expected one that it has, "
        "or since … (in 4.17, …)"),
    "field that another stands for": (
        "records.yaml", "  buf._pad: as buf.h", "  buf._pad: as buf", "  buf._pad",
        "xen_kexec_segment: buf._pad is as buf, which has no row, or other bytes: "
        "expected a field of its bytes"),
    "large structure": (
        "4.19.layout", "struct gnttab_setup_table 24 8 ", "struct gnttab_setup_table 264 8 ",
        ("grant_table.yaml", "    setup_table:"),
        "grant_table_op.setup_table: struct gnttab_setup_table has pointers and 264 bytes: "
        "expected 256 at most, to be looked into"),
    "shared structure of another size": (
        "4.19.layout", "struct xen_sysctl 136 8 ", "struct xen_sysctl 144 8 ",
        ("sysctl.yaml", "sysctl:"),
        "sysctl: struct xen_sysctl has another size, …: expected all releases to have them "
        "alike (in 4.19)"),
    "moved fields in a structure of another size": (
        "4.22.layout",
        "struct xen_remove_from_physmap 16 8 xen/memory.h\n  0 2 domid u16 domid_t\n  8 8",
        "struct xen_remove_from_physmap 24 8 xen/memory.h\n  0 2 domid u16 domid_t\n  16 8",
        ("memory.yaml", "    remove_from_physmap:"),
        "memory_op.remove_from_physmap: struct xen_remove_from_physmap has fields "
        "elsewhere in 4.22 than in 4.17: expected 16 bytes, too, not 24"),
    "large shared structure": (
        "4.19.layout", "struct xen_sysctl 136 8 ", "struct xen_sysctl 264 8 ",
        ("sysctl.yaml", "sysctl:"),
        "sysctl: struct xen_sysctl has 264 bytes: expected 256 at most, to be looked into (in "
        "4.19)"),
    "constant of the version": (
        "domctl.yaml", "is XEN_DOMCTL_INTERFACE_VERSION\n", "is XEN_DOMCTL_VERSION\n", "domctl:",
        "domctl: XEN_DOMCTL_VERSION: expected a constant of the headers (in 4.17, …)"),
    "union as a whole": (
        "sysctl.yaml", "{u.set_gov.scaling_governor: in", "{u: in",
        "      when cmd is SET_CPUFREQ_GOV:",
        "sysctl.pm_op: u holds a pointer, or a union of unlike members: expected a row for each "
        "of its fields (in 4.17, …)"),
    "member that an op is about": (
        "domctl.yaml", "    gettscinfo(u.tsc_info)", "    gettscinfo(u.tsc)", "    gettscinfo",
        "domctl.gettscinfo: struct xen_domctl has no field u.tsc: expected one as its argument, "
        "or none (in 4.17, …)"),
    "three tests": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:",
        "      when cmd is SET_CPUFREQ_GOV and cpuid is 1 and cpuid is 2:",
        "      when cmd is SET_CPUFREQ_GOV",
        "'cmd is SET_CPUFREQ_GOV and …': expected at most two tests joined by 'and'"),
    "cases of two fields that overlap": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:", "      when cpuid is 77:",
        "      when cpuid is 77:",
        "sysctl.pm_op: … and u.set_gov.scaling_governor have bytes in common: …"),
    "case of all other values that overlaps": (
        "sysctl.yaml", "      when cmd is SET_CPUFREQ_GOV:",
        "      when cmd is not GET_CPUFREQ_PARA:", "        u.get_avgfreq:",
        "sysctl.pm_op: u.set_gov.scaling_governor and u.get_avgfreq have bytes in common: …"),
    "cases of two flags that overlap": (
        "grant_table.yaml", "      when flags has not GNTCOPY_source_gref:",
        "      when flags has GNTMAP_readonly:", "      when flags has GNTMAP_readonly:",
        "grant_table_op.copy: source.u.ref and source.u.gmfn have bytes in common: …"),
    "like of an op that is like another": (
        "version.yaml", re.compile("like: build_id"), "like: extraversion2", "    extraversion2",
        "extraversion2: like extraversion2: expected an op with fields of its own, …"),
    "mapping for a text": (
        "domctl.yaml", "      max_memkb: in", "      max_memkb:\n        x: in", "      max_memkb",
        "expected a text; a case begins with 'when ' and stands in no other"),
    "rows of an op": (
        "domctl.yaml", "      port: \"in, names", f"      {'port ' * 129}: as port\n      port: "
        "\"in, names", "    subscribe:",
        "domctl.subscribe: … rows: expected 128 at most"),
    "pointer of no op": (
        "4.22.layout", "struct xen_remove_from_physmap ",
        "struct new_structure 8 8 xen/new.h\n  0 8 pointer XEN_GUEST_HANDLE(void) "
        "XEN_GUEST_HANDLE(void)\nstruct xen_remove_from_physmap ", None,
        "new_structure.pointer (XEN_GUEST_HANDLE(void), xen/new.h) is a pointer of no op: "
        "expected one that leads to it (in 4.22)"),
    "case about a field without a row of its own": (
        "domctl.yaml",
        '      syscall32_callback_eip: "in -- PV: entry of SYSCALL from 32-bit code"\n',
        "      when mcg_cap is 1: {syscall32_callback_eip: in}\n"
        "      when mcg_cap is not 1: {syscall32_callback_eip: out}\n", "      when mcg_cap is not",
        "domctl.set_ext_vcpucontext: the case of syscall32_callback_eip is about a field without a "
        "row: …"),
    "value that the field does not hold": (
        "domctl.yaml", "      when gwr is 0:", "      when gwr is 256:", "      when gwr is 256:",
        "domctl.gdbsx_guestmemio: gwr is 256: expected what 1 bytes hold (in 4.17, …)"),
    "number of a case": (
        "domctl.yaml", "      when gwr is 0:", "      when gwr is 08:", "      when gwr is 08:",
        "'gwr is 08': expected FIELD is VALUE or VALUE …"),
    "case of nothing": (
        "domctl.yaml", '      when gwr is 0: {uva: "out [len], of void, the machine\'s"}\n',
        "      when gwr is 0:\n", "      when gwr is 0:", "expected a mapping: NAME: …"),
    "ops without their number's place": (
        "nmi.yaml", "  op: cmd in register\n", "", "nmi_op:",
        "nmi_op: ops: expected op: FIELD in …, too"),
    "result of all ops": (
        "nmi.yaml", "  op: cmd in register\n", "  op: cmd in register\n  returns: x\n", "nmi_op:",
        "nmi_op: returns: expected it in ops"),
    "op in no structure": (
        "nmi.yaml", "  op: cmd in register\n", "  op: cmd in argument\n", "nmi_op:",
        "nmi_op: expected type: STRUCTURE, where its op is"),
    "registers that are there twice": (
        "nmi.yaml", 'arg: "in [1]"}', 'arg cmd: "in [1]"}', "nmi_op:",
        "nmi_op: registers cmd, arg, cmd: expected 6 at most, each once"),
    "registers that are too many": (
        "nmi.yaml", 'arg: "in [1]"}', 'arg: "in [1]", a b c d e: in}', "nmi_op:",
        "nmi_op: registers cmd, arg, a, b, c, d, e: expected 6 at most, each once"),
    "name of nothing": (
        "domctl.yaml", "      max_memkb: in", '      "": in\n      max_memkb: in', '      "": in',
        "expected a text; …"),
    "field around that has no name": (
        "domctl.yaml", "      max_memkb: in", '      "around ": in\n      max_memkb: in',
        '      "around "', "domctl.max_mem: struct xen_domctl_max_mem has no field around: …"),
    "count by an array": (
        "records.yaml", "[size, at most", "[pad, at most", "  name: in [pad",
        "…: pad is no number: expected a field that is one (in 4.17, …)"),
    "thing that has no numbers": (
        "domctl.yaml", "      max_memkb: in --", "      max_memkb: in, names memory --",
        "      max_memkb: in, names", "max_memkb: 'names memory': expected filled COUNT, …"),
    "thing that a call is told of and makes": (
        "domctl.yaml", "      max_memkb: in --", "      max_memkb: in, makes frame --",
        "      max_memkb: in, makes", "domctl.max_mem: max_memkb is not written: expected …"),
    "machine's flag that is none": (
        "domctl.yaml", "the machine's XEN_DOMINF_running or", "the machine's XEN_DOMINF_new or",
        '      flags: "out, flags XEN_DOMINF_,',
        "flags: XEN_DOMINF_new: expected a field, a constant, …"),
    "number of a hypercall": (
        "nmi.yaml", "  op: cmd in register\n", "  op: cmd in register\n  number: 64\n", "nmi_op:",
        "nmi_op: number 64: expected 0 to 63"),
    "argument without a count": (
        "nmi.yaml", 'arg: "in [1]"}', "arg: in}", "  registers:",
        "nmi_op.register_callback: arg: expected [COUNT] behind in (in 4.17, …)"),
    "buffer without a count": (
        "dm_op.yaml", '{dirty_bitmap: "out [bits nr, at most 32768], of uint8_t, the machine\'s"}',
        "{dirty_bitmap: out}", "      buffers: {dirty_bitmap",
        "dm_op.track_dirty_vram: dirty_bitmap: expected [COUNT] behind out (in 4.17, …)"),
    "case of an embedded structure": (
        "records.yaml", re.compile('  bitmap: "in .*'),
        '  when nr_bits is 1 and nr_bits is not 0: {bitmap: "in [1]"}\n'
        '  when nr_bits is not 1: {bitmap: "in [bits nr_bits]"}',
        ("domctl.yaml", "      when flags has XEN_VCPUAFFINITY_HARD:"),
        "domctl.…vcpuaffinity: cpumap_hard.bitmap has three tests: expected two at most (in …)"),
    "file of another kind": (
        "nmi.yml", None, "nmi_op: {about: x}\n", None,
        "expected files NAME.yaml alone in …"),
    "hypercall without a file": (
        "nmi.yaml", "  op: cmd in register\n", "  op: cmd in register\n  number: 63\n", None,
        "__HYPERVISOR_nmi_op (28): expected a file for it (in 4.17, …)"),
    "clause of a pointer": (
        "domctl.yaml", "      time_offset_seconds: in", "      time_offset_seconds: in, of uint8_t",
        "      time_offset_seconds",
        "time_offset_seconds: of uint8_t: expected [COUNT] behind in, too"),
    "clause that is there twice": (
        "sysctl.yaml", "[count], filled count", "[count], filled count, filled count",
        '      buffer: "out [count], filled count, filled count',
        "buffer: filled count: expected each clause once"),
    "bound that is there twice": (
        "records.yaml", "at most XEN_LIVEPATCH_NAME_SIZE", "at most 5, at most 6", "  name: in",
        "name: at most 6: expected each bound once"),
    "bound": (
        "records.yaml", "at most XEN_LIVEPATCH_NAME_SIZE", "at most 5x", "  name: in",
        "name: 'at most 5x': expected a number, CONSTANT, …"),
    "count by a pointer": (
        "sysctl.yaml", "[count], filled count", "[buffer]", '      buffer: "out [buffer]',
        "sysctl.readconsole: buffer is no number: expected a field that is one (in 4.17, …)"),
    "count by nothing": (
        "sysctl.yaml", "[count], filled count", "[count / 0]", '      buffer: "out [count / 0]',
        "buffer: 'count / 0': expected a number, CONSTANT, …"),
    "count of too many bits": (
        "sysctl.yaml", "[count], filled count", "[18446744073709551616]",
        '      buffer: "out [18446744073709551616]',
        "buffer: 18446744073709551616: expected a number of at most 64 bits"),
    "octal count": (
        "sysctl.yaml", "[count], filled count", "[010]", '      buffer: "out [010]',
        "buffer: '010': expected a number, CONSTANT, …"),
    "name of other bytes": (
        "domctl.yaml", re.compile("mcg_cap: as vmce"), "mcg_cap: as vcpu", None,
        "domctl.set_ext_vcpucontext: mcg_cap is as vcpu, which has no row, or other bytes: …"),
    "record that nothing leads to": (
        "records.yaml", "xen_livepatch_name:", "vcpu_set_singleshot_timer: {about: x, flags: in}\n"
        "xen_livepatch_name:", "vcpu_set_singleshot_timer",
        "vcpu_set_singleshot_timer: expected an op that leads to it"),
    "record that leads to itself": (
        "records.yaml", "  dp: in [dpcnt],", "  dp: in [dpcnt], of xen_processor_cx,",
        "xen_processor_cx:", "xen_processor_cx leads to itself: expected no rows that do (in …)"),
    "op of which nothing is said": (
        "domctl.yaml", re.compile("    pausedomain: .*"), "    pausedomain: {}", "    pausedomain",
        "pausedomain: expected about: what it does"),
    "nothing": (
        "nmi.yaml", re.compile("(?s).+"), "", None, "nothing: expected HYPERCALL: …"),
    "number of an op": (
        "domctl.yaml", "    max_vcpus:\n", "    max_vcpus:\n      number: 1.5\n", "      number:",
        "'1.5': expected a number or a CONSTANT"),
    "release file that is cut off": (
        "4.22.layout", re.compile(r"\n\Z"), "", None,
        "a last line without an end: expected a whole file"),
    "handle of a handle": (
        "4.22.layout", "handle XEN_GUEST_HANDLE(char) char\n",
        "handle XEN_GUEST_HANDLE(char) XEN_GUEST_HANDLE(void)\n", "handle XEN_GUEST_HANDLE(char)",
        "handle XEN_GUEST_HANDLE(char) of a handle: expected one of a scalar or a record"),
    "record that is called as a scalar": (
        "4.22.layout", "struct xen_remove_from_physmap ",
        "struct u8 1 1 xen/new.h\nstruct xen_remove_from_physmap ", "struct u8",
        "u8 once more: expected each name once"),
    "number of a release file": (
        "4.22.layout", "release 4.22\n", "release 4.22\nconstant X 99999999999999999999 x.h\n",
        "constant X ", "'99999999999999999999': expected a decimal number of 64 bits"),
}


def alter(table, file, before, after):
    path = table.file(file)
    if before is None:
        path.write_text(after)
    elif isinstance(before, re.Pattern):
        path.write_text(before.sub(after, path.read_text()))
    else:
        edit(path, before, after)


def line_of(table, file, text):
    """FILE:LINE of the last line that begins with a text."""
    lines = table.file(file).read_text().splitlines()
    return f"{file}:{max(i for i, line in enumerate(lines, 1) if line.startswith(text))}"


class Mistakes(unittest.TestCase):
    def check(self, mistake):
        file, before, after, where, said = MISTAKES[mistake]
        with tempfile.TemporaryDirectory() as folder:
            table = Table(pathlib.Path(folder))
            alter(table, file, before, after)
            if isinstance(where, str):
                where = (file, where)
            place = line_of(table, *where) if where else r"\S+"
            code, messages = table.compile()
            said = re.escape(said).replace("…", ".*")
            self.assertEqual(code, 1, f"{mistake}: {messages}")
            self.assertEqual(table.written(), [], mistake)
            self.assertRegex(messages, re.compile(f"^{place}: {said}$", re.MULTILINE), mistake)
            self.assertNotIn("Traceback", messages, mistake)

    def test_are_told_with_their_place(self):
        with ThreadPoolExecutor(2) as pool:
            for mistake, result in [(each, pool.submit(self.check, each)) for each in MISTAKES]:
                with self.subTest(mistake):
                    result.result()


NEW_OP_LAYOUT = (
    ("constant XEN_SYSCTL_sched_id ", "constant XEN_SYSCTL_new_op 99 xen/sysctl.h xen_sysctl\n"
                                      "constant XEN_SYSCTL_sched_id "),
    ("  0 4 sched_id xen_sysctl_sched_id ",
     "  0 16 new_op xen_sysctl_new_op struct xen_sysctl_new_op\n"
     "  0 4 sched_id xen_sysctl_sched_id "),
    ("struct xen_sysctl_sched_id ", "struct xen_sysctl_new_op 16 8 xen/sysctl.h\n"
     "  0 4 count u32 uint32_t\n"
     "  8 8 numbers XEN_GUEST_HANDLE_64(uint32) XEN_GUEST_HANDLE_64(uint32)\n"
     "struct xen_sysctl_sched_id "))
NEW_OP_ROWS = """\
    new_op:
      about: Adds numbers.
      count: in
      numbers: in [count, at most 64], null "no numbers" -- to add
    sched_id:
"""


class News(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.table = Table(pathlib.Path(folder.name))

    def compiled(self):
        self.assertEqual(self.table.compile(), (0, ""))
        return self.table.json()

    def add_release(self, name=NEXT):
        """The latest once more, under another number."""
        text = self.table.file(f"{LATEST}.layout").read_text()
        self.table.file(f"{name}.layout").write_text(
            text.replace(f"\nrelease {LATEST}\n", f"\nrelease {name}\n"))

    @staticmethod
    def forms(table, hypercall, op):
        call = next(each for each in table["hypercalls"] if each["name"] == hypercall)
        return [each for each in call["ops"] if each["name"] == op]

    def test_an_op_in_rows_and_layout_is_in_the_table(self):
        for before, after in NEW_OP_LAYOUT:
            edit(self.table.file(f"{LATEST}.layout"), before, after)
        edit(self.table.file("sysctl.yaml"), "    sched_id:\n", NEW_OP_ROWS)
        op, = self.forms(self.compiled(), "sysctl", "new_op")
        self.assertEqual((op["number"], op["releases"]), (99, [LATEST]))
        numbers = op["argument"]["fields"][-1]
        self.assertEqual((numbers["path"], numbers["offset"]), ("numbers", 16))
        self.assertEqual(numbers["note"], "to add")
        self.assertEqual(numbers["buffer"], {
            "element": "u32", "null": "no numbers", "lifetime": "call",
            "room": {"kind": "number", "a": "count", "scale": 1, "per": 1, "most": 64}})

    def test_an_op_like_another_says_only_how_it_differs(self):
        edit(self.table.file("domctl.yaml"), "like: bind_pt_irq}",
             "like: bind_pt_irq, irq_type: ignored}")
        table = self.compiled()
        bind, unbind = (self.forms(table, "domctl", op)[0]["argument"]["fields"]
                        for op in ("bind_pt_irq", "unbind_pt_irq"))
        others = [field for field in bind if field["path"] not in ("cmd", "irq_type")]
        self.assertEqual([field["path"] for field in unbind], [field["path"] for field in bind])
        self.assertEqual([field for field in unbind if field in others], others)
        self.assertEqual([field["direction"] for field in unbind if field["path"] == "irq_type"],
                         ["ignored"])

    def test_an_op_like_another_has_its_registers_and_buffers(self):
        edit(self.table.file(f"{LATEST}.layout"), "constant XEN_DMOP_track_dirty_vram ",
             "constant XEN_DMOP_new_op 99 xen/x.h\n"
             "constant XEN_DOMCTL_new_op 99 xen/x.h xen_domctl\n"
             "constant XEN_DMOP_track_dirty_vram ")
        edit(self.table.file("dm_op.yaml"), "    track_dirty_vram:\n",
             "    new_op(u.track_dirty_vram): {like: track_dirty_vram}\n    track_dirty_vram:\n")
        edit(self.table.file("domctl.yaml"), "    get_domain_state:\n",
             "    new_op(u.get_domain_state): {like: get_domain_state, around domain: in}\n"
             "    get_domain_state:\n")
        table = self.compiled()
        op, = self.forms(table, "dm_op", "new_op")
        self.assertEqual([each["path"] for each in op["buffers"]], ["dirty_bitmap"])
        op, = self.forms(table, "domctl", "new_op")
        self.assertTrue(op["stable"])
        self.assertIn(("domain", "in"), [(field["path"], field["direction"])
                                         for field in op["argument"]["fields"]])

    def test_what_is_one_machines_is_said_where_the_row_says_it(self):
        self.table.file("sysctl.yaml").write_text(
            self.table.file("sysctl.yaml").read_text().replace("    sched_id:\n", """\
    sched_id:
      returns: "names port -- a port"
""", 1))
        table = self.compiled()
        sysctl, = self.forms(table, "sysctl", "sched_id")
        self.assertEqual((sysctl["returns"], sysctl["local"]), ("a port", {"what": "port"}))
        info = self.forms(table, "domctl", "getdomaininfo")[0]
        local = {part["path"]: part.get("local") for part in info["argument"]["fields"]}
        self.assertEqual(local["cpu_time"], {"what": "machine"})
        self.assertEqual(local["flags"], {"what": "machine", "bits": 0x30})
        self.assertIsNone(local["max_pages"])
        create = self.forms(table, "domctl", "createdomain")[0]
        self.assertEqual([part.get("local") for part in create["argument"]["fields"]
                          if part["path"] == "domain"], [{"what": "domain", "is_made": True}])
        # A structure with rows of its own that is embedded: what is written of it.
        pool = self.forms(table, "sysctl", "cpupool_op")[0]
        local = {(part["path"], part["direction"]): part.get("local")
                 for part in pool["argument"]["fields"]}
        self.assertEqual(local["cpumap.bitmap", "out"], {"what": "machine"})
        self.assertIsNone(local["cpumap.nr_bits", "in"])

    def test_an_editors_own_files_are_none(self):
        for name in ".domctl.yaml.swp", "domctl.yaml~", ".4.17.layout.swp":
            self.table.file(name).write_text("no rows")
        (self.table.rows / ".#domctl.yaml").symlink_to("a person's lock")
        self.compiled()

    def test_what_is_no_text_is_told(self):
        for name in "nmi.yaml", "4.19.layout":
            path = self.table.file(name)
            text = path.read_bytes()
            path.write_bytes(b"\xff" + text)
            code, messages = self.table.compile()
            self.assertEqual((code, self.table.written()), (1, []))
            self.assertRegex(messages, f"^{name}:1: .*expected")
            self.assertNotIn("Traceback", messages)
            path.write_bytes(text)

    def test_a_release_that_changes_nothing_needs_nothing(self):
        def of(table, release):
            return {(call["name"], op["name"]): op["releases"] for call in table["hypercalls"]
                    for op in call["ops"] if release in op["releases"]}

        before = of(self.compiled(), LATEST)
        self.add_release()
        table = self.compiled()
        self.assertEqual(table["releases"], [*RELEASES, NEXT])
        self.assertEqual(of(table, NEXT),
                         {op: [*releases, NEXT] for op, releases in before.items()})

    def test_releases_fit_a_set_of_eight(self):
        for minor in range(23, 23 + 8 - len(RELEASES)):
            self.add_release(f"4.{minor}")
        self.compiled()
        self.add_release("4.99")
        code, said = self.table.compile()
        self.assertEqual((code, said.partition(" releases: ")[2]),
                         (1, "expected 1 to 8, in files as 4.17.layout\n"))

    def test_a_release_with_a_new_field_needs_its_row(self):
        self.add_release()
        edit(self.table.file(f"{NEXT}.layout"),
             "struct xen_sysctl_sched_id 4 4 xen/sysctl.h\n  0 4 sched_id u32 uint32_t\n",
             "struct xen_sysctl_sched_id 8 4 xen/sysctl.h\n  0 4 new_field u32 uint32_t\n"
             "  4 4 sched_id u32 uint32_t\n")
        edit(self.table.file(f"{NEXT}.layout"), "  0 4 sched_id xen_sysctl_sched_id ",
             "  0 8 sched_id xen_sysctl_sched_id ")
        place = line_of(self.table, "sysctl.yaml", "    sched_id:")
        self.assertEqual(self.table.compile(), (
            1, f"{place}: sysctl.sched_id: xen_sysctl_sched_id.new_field (uint32_t, xen/sysctl.h) "
               f"has no meaning: expected a row (in {NEXT})\n"))

        edit(self.table.file("sysctl.yaml"), "    sched_id:\n      about:",
             f"    sched_id:\n      new_field: in, since {NEXT}\n      about:")
        old, new = self.forms(self.compiled(), "sysctl", "sched_id")
        self.assertEqual((old["releases"], new["releases"]), (RELEASES, [NEXT]))
        places = [{field["path"]: field["offset"] for field in form["argument"]["fields"]}
                  for form in (old, new)]
        self.assertEqual([each["sched_id"] for each in places], [8, 12])
        self.assertEqual([each.get("new_field") for each in places], [None, 8])
        self.assertEqual(new["argument"]["own_type"], f"xen_sysctl_sched_id@{NEXT}")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
