// Calls about one domain that are not about its memory: vcpus, events, parameters, policies.
#include <stdlib.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

static void check_vcpus(uint32_t domid) {
  xc_vcpuinfo_t info;
  CHECK(xc_vcpu_getinfo(xch, domid, 1, &info) == 0);
  CHECK(info.vcpu == 1 && !info.online && !info.running);
  CHECK_REFUSED(xc_vcpu_getinfo(xch, domid, 2, &info), EINVAL);
  CHECK_REFUSED(xc_vcpu_getinfo(xch, kNobody, 0, &info), ESRCH);

  xc_cpumap_t hard = xc_cpumap_alloc(xch), soft = xc_cpumap_alloc(xch);
  CHECK(xc_vcpu_getaffinity(xch, domid, 0, hard, soft,
                            XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT) == 0);
  CHECK(xc_cpumap_testcpu(0, hard) && xc_cpumap_testcpu(0, soft));
  const int size = xc_get_cpumap_size(xch);
  memset(hard, 0, (size_t)size);
  memset(soft, 0, (size_t)size);
  xc_cpumap_setcpu(0, hard);
  xc_cpumap_setcpu(0, soft);
  CHECK(xc_vcpu_setaffinity(xch, domid, 0, hard, soft,
                            XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT) == 0);
  CHECK(xc_cpumap_testcpu(0, hard) && xc_cpumap_testcpu(0, soft));
  memset(hard, 0, (size_t)size);
  CHECK_REFUSED(xc_vcpu_setaffinity(xch, domid, 0, hard, soft, XEN_VCPUAFFINITY_HARD), EINVAL);
  CHECK_REFUSED(xc_vcpu_setaffinity(xch, domid, 0, hard, soft, 0), EINVAL);
  CHECK_REFUSED(xc_vcpu_getaffinity(xch, domid, 9, hard, soft, XEN_VCPUAFFINITY_HARD), EINVAL);
  // Of the soft one only what the hard one has is told, and none of it is no error.
  memset(soft, 0, (size_t)size);
  CHECK(xc_vcpu_setaffinity(xch, domid, 0, hard, soft, XEN_VCPUAFFINITY_SOFT) == 0);
  free(hard);
  free(soft);

  struct xen_domctl_sched_credit2 credit = {0};
  CHECK(xc_sched_credit2_domain_get(xch, domid, &credit) == 0 && credit.weight == 256);
  credit.weight = 512;
  CHECK(xc_sched_credit2_domain_set(xch, domid, &credit) == 0);
  credit.weight = 0;
  CHECK(xc_sched_credit2_domain_get(xch, domid, &credit) == 0 && credit.weight == 512);
  // No weight leaves it as it is; a cap is per cent of all its vcpus, of which there are two.
  credit.weight = 0;
  credit.cap = 50;
  CHECK(xc_sched_credit2_domain_set(xch, domid, &credit) == 0);
  CHECK(xc_sched_credit2_domain_get(xch, domid, &credit) == 0);
  CHECK(credit.weight == 512 && credit.cap == 50);
  credit.cap = 201;
  CHECK_REFUSED(xc_sched_credit2_domain_set(xch, domid, &credit), EINVAL);
  CHECK_REFUSED(xc_sched_credit2_domain_get(xch, kNobody, &credit), ESRCH);
}

static void check_triggers(uint32_t domid, bool hvm) {
  CHECK(xc_domain_send_trigger(xch, domid, XEN_DOMCTL_SENDTRIGGER_NMI, 0) == 0);
  CHECK(xc_domain_send_trigger(xch, domid, XEN_DOMCTL_SENDTRIGGER_NMI, 1) == 0);
  CHECK_REFUSED(xc_domain_send_trigger(xch, domid, XEN_DOMCTL_SENDTRIGGER_NMI, 2), ESRCH);
  CHECK_REFUSED(xc_domain_send_trigger(xch, domid, XEN_DOMCTL_SENDTRIGGER_POWER, ~0u), ESRCH);
  for (uint32_t button = XEN_DOMCTL_SENDTRIGGER_POWER; button <= XEN_DOMCTL_SENDTRIGGER_SLEEP;
       button++) {
    if (hvm) {
      CHECK(xc_domain_send_trigger(xch, domid, button, 1) == 0);
    } else {
      CHECK_REFUSED(xc_domain_send_trigger(xch, domid, button, 1), EINVAL);
    }
  }
  CHECK_REFUSED(xc_domain_send_trigger(xch, domid, XEN_DOMCTL_SENDTRIGGER_RESET, 0), ENOSYS);
  CHECK_REFUSED(xc_domain_send_trigger(xch, domid, XEN_DOMCTL_SENDTRIGGER_INIT, 0), ENOSYS);
  CHECK_REFUSED(xc_domain_send_trigger(xch, domid, 5, 0), ENOSYS);
}

static void check_events(uint32_t domid) {
  const int port = xc_evtchn_alloc_unbound(xch, domid, 0);
  CHECK(port > 0);
  CHECK(xc_evtchn_alloc_unbound(xch, domid, 0) == port + 1);
  xc_evtchn_status_t status = {.dom = (domid_t)domid, .port = (evtchn_port_t)port};
  CHECK(xc_evtchn_status(xch, &status) == 0);
  CHECK(status.status == EVTCHNSTAT_unbound && status.u.unbound.dom == 0);
  status.port = (evtchn_port_t)port + 2;
  CHECK(xc_evtchn_status(xch, &status) == 0 && status.status == EVTCHNSTAT_closed);
  status.port = 100000;
  CHECK_REFUSED(xc_evtchn_status(xch, &status), EINVAL);
  CHECK_REFUSED(xc_evtchn_alloc_unbound(xch, kNobody, 0), ESRCH);
  status.port = 0;
  CHECK(xc_evtchn_status(xch, &status) == 0 && status.status == EVTCHNSTAT_closed);
  // As many ports as it was created with, and then again from the first one.
  int last = port + 1;
  for (int next = last; next >= 0; next = xc_evtchn_alloc_unbound(xch, domid, 0)) last = next;
  CHECK(errno == ENOSPC && last == 1023);
  CHECK(xc_evtchn_reset(xch, domid) == 0);
  CHECK(xc_evtchn_alloc_unbound(xch, domid, 0) == port);
}

static void check_grants(uint32_t domid) {
  struct gnttab_query_size query = {.dom = 0};
  CHECK(xc_gnttab_query_size(xch, &query) == 0 && query.status == GNTST_okay);
  CHECK(query.nr_frames <= query.max_nr_frames && query.max_nr_frames > 0);
  query.dom = (domid_t)domid;
  CHECK(xc_gnttab_query_size(xch, &query) == 0 && query.status == GNTST_okay);
  CHECK(query.nr_frames == 1 && query.max_nr_frames == 32);
  query.dom = kNobody;
  CHECK(xc_gnttab_query_size(xch, &query) == 0 && query.status == GNTST_bad_domain);

  DECLARE_HYPERCALL_BUFFER(xen_pfn_t, frames);
  frames = xc_hypercall_buffer_alloc(xch, frames, 64 * sizeof(*frames));
  memset(frames, 0x5a, 64 * sizeof(*frames));
  struct gnttab_setup_table setup = {.dom = (domid_t)domid, .nr_frames = 3};
  set_xen_guest_handle_raw(setup.frame_list, frames);
  CHECK(xc_gnttab_op(xch, GNTTABOP_setup_table, &setup, sizeof(setup), 1) == 0);
  CHECK(setup.status == GNTST_okay && frames[2] != 0x5a5a5a5a5a5a5a5a);
  CHECK(frames[3] == 0x5a5a5a5a5a5a5a5a);
  query.dom = (domid_t)domid;
  CHECK(xc_gnttab_query_size(xch, &query) == 0 && query.nr_frames == 3);
  setup.nr_frames = 33;
  CHECK(xc_gnttab_op(xch, GNTTABOP_setup_table, &setup, sizeof(setup), 1) == 0);
  CHECK(setup.status == GNTST_general_error);
  setup.dom = kNobody;
  setup.nr_frames = 1;
  CHECK(xc_gnttab_op(xch, GNTTABOP_setup_table, &setup, sizeof(setup), 1) == 0);
  CHECK(setup.status == GNTST_bad_domain);
  struct gnttab_setup_table two[2] = {setup};
  CHECK_REFUSED(xc_gnttab_op(xch, GNTTABOP_setup_table, two, sizeof(two[0]), 2), EINVAL);
  CHECK_REFUSED(xc_gnttab_op(xch, 99, &setup, sizeof(setup), 1), ENOSYS);
  xc_hypercall_buffer_free(xch, frames);

  CHECK(xc_gnttab_get_version(xch, domid) == 1);
  CHECK_REFUSED(xc_gnttab_get_version(xch, kNobody), ESRCH);
}

static void check_hvm(uint32_t domid) {
  uint64_t value = 1;
  CHECK(xc_hvm_param_set(xch, domid, HVM_PARAM_STORE_PFN, 0x1234) == 0);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_STORE_PFN, &value) == 0 && value == 0x1234);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_CONSOLE_PFN, &value) == 0 && value == 0);
  CHECK_REFUSED(xc_hvm_param_get(xch, domid, 1000, &value), EINVAL);
  CHECK_REFUSED(xc_hvm_param_set(xch, kNobody, HVM_PARAM_STORE_PFN, 1), ESRCH);

  CHECK_REFUSED(xc_hvm_param_set(xch, domid, 0xffffff, 1), EINVAL);

  // It has no power management timer whose place could be said, and its processor reports no local
  // machine checks. After a triple fault it is started anew.
  CHECK_REFUSED(xc_hvm_param_set(xch, domid, HVM_PARAM_ACPI_IOPORTS_LOCATION, 0), ENODEV);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_ACPI_IOPORTS_LOCATION, &value) == 0 && value == 0);
  CHECK(xc_hvm_param_set(xch, domid, HVM_PARAM_MCA_CAP, 0) == 0);
  CHECK_REFUSED(xc_hvm_param_set(xch, domid, HVM_PARAM_MCA_CAP, 1), EINVAL);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_TRIPLE_FAULT_REASON, &value) == 0);
  CHECK(value == SHUTDOWN_reboot);
  CHECK_REFUSED(xc_hvm_param_set(xch, domid, HVM_PARAM_TRIPLE_FAULT_REASON, 6), EINVAL);
  CHECK(xc_hvm_param_set(xch, domid, HVM_PARAM_TRIPLE_FAULT_REASON, SHUTDOWN_crash) == 0);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_TRIPLE_FAULT_REASON, &value) == 0);
  CHECK(value == SHUTDOWN_crash);
  CHECK(xc_hvm_param_set(xch, domid, HVM_PARAM_VM86_TSS_SIZED, ~0ull) == 0);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_VM86_TSS_SIZED, &value) == 0);
  CHECK(value == 0x2089ffffffff);  // the most that is of use
}

// The state of an HVM domain's hardware: a list of records, each with a descriptor in front.
static void check_hvm_context(uint32_t domid) {
  const int size = xc_domain_hvm_getcontext(xch, domid, NULL, 0);
  CHECK(size > 0);
  uint8_t *context = calloc(1, (size_t)size + 1);
  const int without_vcpu = xc_domain_hvm_getcontext(xch, domid, context, (uint32_t)size);
  CHECK(without_vcpu > 0 && without_vcpu <= size);
  CHECK_REFUSED(xc_domain_hvm_getcontext(xch, domid, context, 8), ENOSPC);

  // A vcpu that is up has a record of its registers.
  vcpu_guest_context_any_t *registers = calloc(1, sizeof(*registers));
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 0, registers), ENODATA);
  registers->x64.user_regs.rip = 0x1000;
  registers->x64.user_regs.rax = 0x1234;
  registers->x64.user_regs.rflags = 2;
  registers->x64.flags = VGCF_online;
  CHECK(xc_vcpu_setcontext(xch, domid, 0, registers) == 0);
  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info) && info.nr_online_vcpus == 1);
  const int length = xc_domain_hvm_getcontext(xch, domid, context, (uint32_t)size);
  const int cpu_record = sizeof(struct hvm_save_descriptor) + sizeof(struct hvm_hw_cpu);
  CHECK(length == without_vcpu + cpu_record);

  const struct hvm_save_header *header = (const void *)(context + 8);
  CHECK(header->magic == HVM_FILE_MAGIC && header->version == HVM_FILE_VERSION);
  unsigned cpus = 0, apics = 0;
  bool ended = false;
  for (int at = 0; at < length;) {
    const struct hvm_save_descriptor *record = (const void *)(context + at);
    CHECK(at != 0 || record->typecode == HVM_SAVE_CODE(HEADER));
    at += (int)sizeof(*record);
    if (record->typecode == HVM_SAVE_CODE(CPU)) {
      const struct hvm_hw_cpu *cpu = (const void *)(context + at);
      CHECK(record->instance == 0 && record->length == sizeof(*cpu));
      CHECK(cpu->rip == 0x1000 && cpu->rax == 0x1234 && cpu->rflags == 2 && cpu->cr0 == 0x11);
      cpus++;
    }
    if (record->typecode == HVM_SAVE_CODE(LAPIC)) apics++;
    at += (int)record->length;
    ended = record->typecode == HVM_SAVE_CODE(END) && at == length;
  }
  CHECK(cpus == 1 && apics == 2 && ended);

  struct hvm_hw_cpu cpu;
  const uint32_t room = sizeof(cpu);
  CHECK(xc_domain_hvm_getcontext_partial(xch, domid, HVM_SAVE_CODE(CPU), 0, &cpu, room) == 0);
  CHECK(cpu.rip == 0x1000);
  CHECK_REFUSED(xc_domain_hvm_getcontext_partial(xch, domid, HVM_SAVE_CODE(CPU), 1, &cpu, room),
                ENODATA);
  CHECK_REFUSED(xc_domain_hvm_getcontext_partial(xch, domid, HVM_SAVE_CODE(CPU), 7, &cpu, room),
                ENOENT);
  CHECK_REFUSED(xc_domain_hvm_getcontext_partial(xch, domid, 77, 0, &cpu, room), EINVAL);

  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 0, registers), ENODATA);
  CHECK(xc_domain_hvm_setcontext(xch, domid, context, (uint32_t)length) == 0);
  memset(registers, 0, sizeof(*registers));
  CHECK(xc_vcpu_getcontext(xch, domid, 0, registers) == 0);
  CHECK(registers->x64.user_regs.rip == 0x1000 && (registers->x64.flags & VGCF_online) != 0);
  context[8] ^= 1;
  CHECK_REFUSED(xc_domain_hvm_setcontext(xch, domid, context, (uint32_t)length), EINVAL);
  CHECK_REFUSED(xc_domain_hvm_setcontext(xch, domid, context, 20), ENODATA);
  CHECK_REFUSED(xc_domain_hvm_getcontext(xch, kNobody, NULL, 0), ESRCH);
  free(registers);
  free(context);
}

static void check_pv_context(uint32_t domid, xen_pfn_t frame) {
  vcpu_guest_context_any_t *context = calloc(1, sizeof(*context));
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 0, context), ENODATA);
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 7, context), EINVAL);
  CHECK_REFUSED(xc_vcpu_setcontext(xch, domid, 0, context), EINVAL);  // no page table
  context->x64.ctrlreg[3] = frame << 12;
  context->x64.flags = VGCF_in_kernel | VGCF_online;
  context->x64.user_regs.rip = 0xffffffff81000000;
  context->x64.user_regs.rax = 0x1234;
  context->x64.user_regs.rflags = 0x200;
  CHECK(xc_vcpu_setcontext(xch, domid, 0, context) == 0);
  memset(context, 0, sizeof(*context));
  CHECK(xc_vcpu_getcontext(xch, domid, 0, context) == 0);
  CHECK(context->x64.user_regs.rip == 0xffffffff81000000 && context->x64.user_regs.rax == 0x1234);
  CHECK(context->x64.ctrlreg[3] == frame << 12 && (context->x64.flags & VGCF_online) != 0);
  xc_vcpuinfo_t info;
  CHECK(xc_vcpu_getinfo(xch, domid, 0, &info) == 0 && info.online && !info.running);
  CHECK(xc_vcpu_setcontext(xch, domid, 0, NULL) == 0);  // down, and as new
  CHECK(xc_vcpu_getinfo(xch, domid, 0, &info) == 0 && !info.online);
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domid, 0, context), ENODATA);
  free(context);
}

static void check_policy(uint32_t domid) {
  uint32_t max_leaves = 0, max_msrs = 0;
  CHECK(xc_cpu_policy_get_size(xch, &max_leaves, &max_msrs) == 0);
  CHECK(max_leaves > 0 && max_msrs > 0);
  xc_cpu_policy_t *policy = xc_cpu_policy_init();
  CHECK(policy != NULL && xc_cpu_policy_get_domain(xch, domid, policy) == 0);
  CHECK(xc_cpu_policy_get_system(xch, XEN_SYSCTL_cpu_policy_host, policy) == 0);
  CHECK_REFUSED(xc_cpu_policy_get_domain(xch, kNobody, policy), ESRCH);
  xc_cpu_policy_destroy(policy);
}

static void check_vnuma(uint32_t domid) {
  xen_vmemrange_t range[1] = {{.start = 0, .end = 4 << 20, .flags = 0, .nid = 0}};
  unsigned distance[1] = {10}, vcpu_to_vnode[2] = {0, 0}, vnode_to_pnode[1] = {0};
  uint32_t nodes = 1, ranges = 1, vcpus = 2;
  xen_vmemrange_t got[1];
  unsigned got_distance[1], got_vcpus[2];
  CHECK_REFUSED(
      xc_domain_getvnuma(xch, domid, &nodes, &ranges, &vcpus, got, got_distance, got_vcpus),
      EOPNOTSUPP);
  CHECK(xc_domain_setvnuma(xch, domid, 1, 1, 2, range, distance, vcpu_to_vnode, vnode_to_pnode) ==
        0);
  memset(got, 0x5a, sizeof(got));
  CHECK(xc_domain_getvnuma(xch, domid, &nodes, &ranges, &vcpus, got, got_distance, got_vcpus) == 0);
  CHECK(nodes == 1 && ranges == 1 && vcpus == 2);
  CHECK(got[0].start == 0 && got[0].end == 4 << 20 && got_distance[0] == 10 && got_vcpus[1] == 0);
}

void check_domain_calls(void) {
  xen_pfn_t frames[16];
  const uint32_t pv = create_domain_with_pages(0, 2, 16, frames);
  check_vcpus(pv);
  check_triggers(pv, false);
  check_events(pv);
  check_grants(pv);
  check_pv_context(pv, frames[7]);
  check_policy(pv);
  check_vnuma(pv);
  CHECK(xc_domain_destroy(xch, pv) == 0);

  const uint32_t hvm =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2, 16, NULL);
  check_vcpus(hvm);
  check_triggers(hvm, true);
  check_events(hvm);
  check_hvm(hvm);
  check_hvm_context(hvm);
  check_policy(hvm);
  CHECK(xc_domain_destroy(xch, hvm) == 0);
}
