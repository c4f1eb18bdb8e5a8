#!/usr/bin/python3
"""The op table against two readings by hand, op by op.

VALGRIND has the facts of valgrind's wrappers (coregrind/m_syswrap/syswrap-xen.c), for what has the
same form in the headers of today: what it checks before a call is read by it, and what it marks
after the call is written; of what a pointer leads to it also knows the length. XEN has what Xen
4.17's own handlers copy, for what neither valgrind nor a header's comment speaks of.

A row uses a field at least so; what a pointer leads to, exactly so, and by the same count. What
differs is listed with the reason why the table is right.

Arguments: those of installed_release.py.
"""

import re
import sys
import unittest

import schema_comments_test as comments

EXPORT = comments.EXPORT
OPS = {f"{call['name']}.{op['name']}": op for call in EXPORT["hypercalls"] for op in call["ops"]}
# Structures in buffers, as if they were the arguments of ops.
OPS |= {name: {"registers": [], "argument": {"own_offset": 0, "fields": rows}}
        for name, rows in EXPORT["records"].items()}
WAYS = comments.WAYS

# Op: what is read > what is written. *pointer[count]: what it leads to; -: there is no pointer.
VALGRIND = """
memory_op.machphys_mfn_list: max_extents > nr_extents *extent_start[nr_extents]
memory_op.machphys_compat_mfn_list: max_extents > nr_extents *extent_start[nr_extents]
memory_op.set_memory_map: domid map.nr_entries
memory_op.memory_map: nr_entries > nr_entries *buffer[nr_entries]
memory_op.machine_memory_map: nr_entries > nr_entries *buffer[nr_entries]
memory_op.increase_reservation: nr_extents extent_order mem_flags domid > *extent_start[nr_extents]
memory_op.decrease_reservation: nr_extents extent_order mem_flags domid *extent_start[nr_extents]
memory_op.populate_physmap:
  nr_extents extent_order mem_flags domid *extent_start[nr_extents] > *extent_start[nr_extents]
memory_op.claim_pages: nr_extents extent_order mem_flags domid
memory_op.add_to_physmap: domid size space idx gpfn > size idx gpfn
memory_op.remove_from_physmap: domid gpfn
memory_op.maximum_gpfn: domid
memory_op.access_op: op domid
mmuext_op.mmuext_op:
  cmd arg1.mfn arg1.linear_addr arg2.nr_ents arg2.src_mfn > *pdone
xsm_op.sid_to_context: sid size > size *context[size]
sched_op.remote_shutdown: domain_id reason
event_channel_op.alloc_unbound: dom remote_dom > port
event_channel_op_compat.alloc_unbound: dom remote_dom > port
physdev_op.map_pirq: domid type index pirq bus devfn entry_nr table_base > pirq entry_nr
physdev_op.unmap_pirq: domid pirq
xen_version.extraversion: > *arg
xen_version.compile_info: > *arg
xen_version.capabilities: > *arg
xen_version.changeset: > *arg
xen_version.platform_parameters: > *arg
xen_version.guest_handle: > *arg
xen_version.commandline: > *arg
grant_table_op.setup_table: dom nr_frames > status *frame_list[nr_frames]
sysctl.readconsole: clear incremental index count > *buffer[count]
sysctl.getdomaininfolist: first_domain max_domains > num_domains *buffer[num_domains]
sysctl.debug_keys: nr_keys *keys[nr_keys]
sysctl.sched_id: > sched_id
sysctl.cpupool_op:
  op cpupool_id sched_id domid cpu > cpupool_id sched_id n_dom *cpumap.bitmap
sysctl.physinfo:
  > threads_per_core cores_per_socket nr_cpus max_cpu_id nr_nodes max_node_id cpu_khz capabilities
  total_pages free_pages scrub_pages outstanding_pages max_mfn hw_cap
domctl.createdomain: ssidref handle flags
domctl.max_vcpus: > max
domctl.max_mem: max_memkb
domctl.getdomaininfo:
  > domain flags tot_pages max_pages outstanding_pages shr_pages paged_pages shared_info_frame
  cpu_time nr_online_vcpus max_vcpu_id ssidref handle cpupool
domctl.gethvmcontext: size > size *buffer[size]
domctl.sethvmcontext: size *buffer[size]
domctl.gethvmcontext_partial: type instance > *buffer
domctl.set_address_size: size
domctl.get_address_size: > size
domctl.assign_device: dev flags u.pci.machine_sbdf u.dt.size *u.dt.path[u.dt.size]
domctl.test_assign_device: dev flags u.pci.machine_sbdf u.dt.size *u.dt.path[u.dt.size]
domctl.deassign_device: dev flags u.pci.machine_sbdf u.dt.size *u.dt.path[u.dt.size]
domctl.settscinfo: tsc_mode gtsc_khz incarnation elapsed_nsec
domctl.gettscinfo: > tsc_mode gtsc_khz incarnation elapsed_nsec
domctl.irq_permission: pirq allow_access
domctl.iomem_permission: first_mfn nr_mfns allow_access
domctl.ioport_permission: first_port nr_ports allow_access
domctl.hypercall_init: gmfn
domctl.settimeoffset: time_offset_seconds
domctl.getvcpuinfo: vcpu > online blocked running cpu_time cpu
domctl.scheduler_op:
  sched_id cmd u.credit.weight u.credit.cap u.credit2.weight u.rtds.period u.rtds.budget
  > u.credit.weight u.credit.cap u.credit2.weight u.rtds.period u.rtds.budget
domctl.getvcpuaffinity: vcpu flags cpumap_hard.nr_bits cpumap_soft.nr_bits
  > *cpumap_hard.bitmap[cpumap_hard.nr_bits] *cpumap_soft.bitmap[cpumap_soft.nr_bits]
domctl.setvcpuaffinity: vcpu flags cpumap_hard.nr_bits cpumap_soft.nr_bits
  *cpumap_hard.bitmap[cpumap_hard.nr_bits] *cpumap_soft.bitmap[cpumap_soft.nr_bits]
  > *cpumap_hard.bitmap[cpumap_hard.nr_bits] *cpumap_soft.bitmap[cpumap_soft.nr_bits]
domctl.getnodeaffinity: nodemap.nr_bits > *nodemap.bitmap[nodemap.nr_bits]
domctl.setnodeaffinity: nodemap.nr_bits *nodemap.bitmap[nodemap.nr_bits]
domctl.getvcpucontext: vcpu > *ctxt
domctl.setvcpucontext: vcpu *ctxt
domctl.get_ext_vcpucontext: vcpu
  > size syscall32_callback_eip sysenter_callback_eip syscall32_callback_cs sysenter_callback_cs
  syscall32_disables_events sysenter_disables_events vmce
domctl.set_ext_vcpucontext:
  vcpu size syscall32_callback_eip sysenter_callback_eip syscall32_callback_cs
  sysenter_callback_cs syscall32_disables_events sysenter_disables_events vmce
domctl.getpageframeinfo3: num *array[num] > *array[num]
domctl.setvcpuextstate: vcpu size *buffer[size]
domctl.getvcpuextstate: vcpu xfeature_mask size > *buffer[size]
domctl.shadow_op: op mode pages mb
  > pages mb stats.fault_count stats.dirty_count *dirty_bitmap[pages]
domctl.cacheflush: start_pfn nr_pfns
domctl.set_access_required: access_required
domctl.vm_event_op: op mode u.enable.port > u.enable.port
domctl.debug_op: op vcpu
domctl.get_vcpu_msrs: vcpu msr_count > *msrs[msr_count]
domctl.set_vcpu_msrs: vcpu msr_count *msrs[msr_count]
domctl.monitor_op: op event u.mov_to_cr u.mov_to_msr u.guest_request
hvm_op.set_param: domid index value
hvm_op.get_param: domid index > value
hvm_op.altp2m: version cmd domain pad1 pad2 u.domain_state.state u.view.view
  u.view.hvmmem_default_access u.change_gfn.view u.change_gfn.old_gfn u.change_gfn.new_gfn
"""

XEN = """
argo_op.register_ring: aport partner_id len arg3 arg4 *arg2[arg3]
argo_op.unregister_ring: aport partner_id
argo_op.sendv: src.aport src.domain_id dst.aport dst.domain_id arg3 arg4 *arg2[arg3]
argo_op.notify: nent *data[nent] > *data[nent]
xen_argo_iov: iov_len *iov_hnd[iov_len]
xen_argo_ring_data_ent: ring.aport ring.domain_id space_required > flags max_message_size
callback_op.register: type flags address
callback_op.unregister: type
console_io.write: count *buffer[count]
console_io.read: count > *buffer[count]
hvm_op.pagetable_dying: domid gpa
hvm_op.set_evtchn_upcall_vector: vcpu vector
hvm_op.xentrace: event extra_bytes extra
kexec_op.kexec: type
kexec_op.kexec_load_v1: type image
kexec_op.kexec_load: type arch nr_segments entry_maddr *segments.h[nr_segments]
xen_kexec_segment: buf_size dest_maddr dest_size *buf.h[buf_size]
mca.fetch: flags fetch_id > flags fetch_id *data
mca.physcpuinfo: ncpus > ncpus *info[ncpus]
mca.msrinject: mcinj_cpunr mcinj_flags mcinj_count mcinj_domid mcinj_msr
mca.mceinject: mceinj_cpunr
mca.inject_v2: flags cpumap.nr_bits *cpumap.bitmap[cpumap.nr_bits]
mmu_update.mmu_update: ptr val count *ureqs[count] *pdone > *pdone
multicall.multicall: nr_calls op args *call_list[nr_calls] > result *call_list[nr_calls]
nmi_op.register_callback: handler_address
platform_op.efi_runtime_call:
  function misc u.set_time u.set_wakeup_time
  *u.get_variable.name u.get_variable.size u.get_variable.vendor_guid
  *u.set_variable.name *u.set_variable.data[u.set_variable.size] u.set_variable.size
  u.set_variable.vendor_guid
  u.get_next_variable_name.size u.get_next_variable_name.vendor_guid
  *u.get_next_variable_name.name[u.get_next_variable_name.size] u.query_variable_info.attr
  > misc status u.get_time.time u.get_time.resolution u.get_time.accuracy u.get_wakeup_time
  *u.get_variable.data[u.get_variable.size] u.get_variable.size u.get_next_variable_name.size
  u.get_next_variable_name.vendor_guid
  *u.get_next_variable_name.name[u.get_next_variable_name.size]
  u.query_variable_info.max_store_size u.query_variable_info.remain_store_size
  u.query_variable_info.max_size
platform_op.resource_op: nr_entries cpu *entries[nr_entries] > *entries[nr_entries]
physdev_op.set_iobitmap: nr_ports *bitmap[nr_ports]
sched_op.poll: nr_ports timeout *ports[nr_ports]
sched_op.watchdog: id timeout
sched_op.pin_override: pcpu
set_gdt.set_gdt: entries *frame_list[entries]
set_trap_table.set_trap_table: vector flags cs address
sysctl.cputopoinfo: num_cpus > num_cpus *cputopo[num_cpus]
sysctl.numainfo: num_nodes > num_nodes *meminfo[num_nodes] *distance[num_nodes]
vcpu_op.initialise: *extra_args
vcpu_op.get_physid: > phys_id
vcpu_op.get_runstate_info: > state state_entry_time time
vcpu_op.register_runstate_memory_area: > *addr.h
vcpu_op.register_vcpu_time_memory_area: > *addr.h
vcpu_op.register_vcpu_info: mfn offset
vcpu_op.set_periodic_timer: period_ns
vcpu_op.set_singleshot_timer: timeout_abs_ns flags
xenoprof_op.init: > num_events is_primary cpu_type
xenoprof_op.set_active: *arg
xenoprof_op.set_passive: domain_id max_samples > nbuf bufsize buf_gmaddr
xenoprof_op.counter: ind count enabled event hypervisor kernel user unit_mask
xenoprof_op.get_buffer: max_samples buf_gmaddr > nbuf bufsize buf_gmaddr
xenoprof_op.set_backtrace: *arg
xenoprof_op.get_ibs_caps: -
xenoprof_op.ibs_counter:
  op_enabled fetch_enabled max_cnt_fetch max_cnt_op rand_en dispatched_ops
xenoprof_op.start: -
xenpmu_op.mode_get: > version val
xenpmu_op.mode_set: version val
xenpmu_op.feature_get: > val
xenpmu_op.feature_set: version val
xenpmu_op.init: version val vcpu
xenpmu_op.finish: version vcpu
xenpmu_op.flush: -
dm_op.modified_memory: nr_extents *extents[nr_extents]
dm_op.track_dirty_vram: first_pfn nr > *dirty_bitmap[nr]
hvm_op.altp2m: u.set_mem_access_multi.nr
  *u.set_mem_access_multi.pfn_list[u.set_mem_access_multi.nr]
  *u.set_mem_access_multi.access_list[u.set_mem_access_multi.nr]
hypfs_op.read: arg2 arg4 *arg1[arg2] > *arg3[arg4]
hypfs_op.write_contents: arg2 arg4 *arg1[arg2] *arg3[arg4]
memory_op.access_op: nr *pfn_list[nr] *access_list[nr]
memory_op.set_memory_map: *map.buffer[map.nr_entries]
mmuext_op.mmuext_op: *arg2.vcpumask
sysctl.get_pmstat: type cpuid u.getpx.total u.getcx.nr u.getcx.nr_pc u.getcx.nr_cc
  > *u.getpx.trans_pt[u.getpx.total] *u.getpx.pt[u.getpx.total] *u.getcx.triggers[u.getcx.nr]
  *u.getcx.residencies[u.getcx.nr] *u.getcx.pc[u.getcx.nr_pc] *u.getcx.cc[u.getcx.nr_cc]
sysctl.page_offline_op: cmd start end > *status
sysctl.scheduler_op: *u.sched_arinc653.schedule > *u.sched_arinc653.schedule
update_va_mapping.update_va_mapping: *flags
update_va_mapping_otherdomain.update_va_mapping_otherdomain: *flags
xen_version.build_id: len > *buf[len]
xsm_op.load: size *buffer[size]
"""

# Pointers of which nothing speaks: Xen 4.17, as it is built, looks at none of them.
SILENT = {
    ("platform_op.efi_runtime_call", "u.query_capsule_capabilities.capsule_header_array"),
    ("platform_op.efi_runtime_call", "u.update_capsule.capsule_header_array"),
    ("xen_processor_cx", "dp"),
}

RANGE = "Xen keeps how far a range of frames is done in the op's number, and writes nothing"
# Where: (what valgrind says, but what the table says; why it is right).
JUDGED = {
    "domctl.max_vcpus: max": ("out, but in", "valgrind has it the wrong way round"),
    "domctl.vm_event_op: u.enable.port":
        ("in/out, but out", "Xen chooses the port, and looks at none"),
    "memory_op.add_to_physmap: gpfn": ("in/out, but in", RANGE),
    "memory_op.add_to_physmap: idx": ("in/out, but in", RANGE),
    "memory_op.add_to_physmap: size": ("in/out, but in", RANGE),
    "mmuext_op.mmuext_op: *pdone": ("out, but in/out", "a call that continues reads it, too"),
}


def facts(text):
    """(op, field, count or None, ways)."""
    for line in re.sub(r"\n +", " ", text.strip()).splitlines():
        op, _, fields = line.partition(":")
        used = {}
        for way, part in zip(("in", "out"), fields.split(">")):
            for field in part.split():
                used.setdefault(field, set()).add(way)
        for field, ways in used.items():
            name, count = re.fullmatch(r"(\*?[\w.]+|-)(?:\[([\w.]+)\])?", field).groups()
            yield op, name, count, ways


def rows_of(op, path):
    argument = op.get("argument", {})
    rows = [row for row in argument.get("fields", []) if row["offset"] >= argument["own_offset"]]
    return [row for row in rows + op["registers"] + op.get("buffers", [])
            if (row["path"] + ".").startswith(path + ".") or path.startswith(row["path"] + ".")]


def pointers(name):
    """All that lead to something, but to the op's own argument."""
    op = OPS[name]
    argument = op.get("argument", {})
    for row in argument.get("fields", []) + op["registers"] + op.get("buffers", []):
        if "buffer" in row and row["buffer"]["room"].get("scale") != 0:
            own = {argument.get("type"), argument.get("own_type"), "xen_dm_op_buf"}
            if row["buffer"]["element"] not in own and name != "xen_dm_op_buf":
                yield row["path"]


def difference(op, name, count, ways):
    if name == "-":
        found = [row["path"] for row in OPS[op]["registers"] if "buffer" in row]
        return f"no pointer, but {found}" if found else None
    rows = rows_of(OPS[op], name.removeprefix("*"))
    mine = set().union(*(WAYS[row["direction"]] for row in rows))
    if not name.startswith("*"):
        return None if mine >= ways else f"{comments.words(ways)}, but {comments.words(mine)}"
    buffers = [row["buffer"] for row in rows if "buffer" in row]
    if not buffers or mine != ways:
        return f"{comments.words(ways)}, but {comments.words(mine)}"
    for buffer in buffers:
        # valgrind knows best after the call.
        counts = {buffer["room"].get("a"), buffer.get("filled", {}).get("a")}
        if count is not None and count not in counts:
            return f"{count}, but {counts}"
    return None


class Facts(unittest.TestCase):
    maxDiff = None

    def test_are_what_the_rows_say(self):
        differences = {}
        for op, name, count, ways in [*facts(VALGRIND), *facts(XEN)]:
            what = difference(op, name, count, ways)
            if what is not None:
                differences[f"{op}: {name}"] = what
        self.assertEqual(differences, {where: what for where, (what, _) in JUDGED.items()})

    def test_speak_of_every_pointer_or_a_header_does(self):
        """So that one that comes has to be read again, by somebody."""
        spoken = {(op, name[1:]) for op, name, _, _ in [*facts(VALGRIND), *facts(XEN)]}
        for where, structure, rows in comments.own_structures():
            for leaf in comments.HEADERS.leaves(structure):
                if leaf.says:
                    spoken |= {(where, row["path"]) for row in comments.rows_of(leaf, rows)}
        self.assertEqual({(op, path) for op in OPS for path in pointers(op)} - spoken, SILENT)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
