// The state of an HVM domain's hardware, record by record: what Xen takes, refuses, pads and keeps.
#include <stdlib.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

#include <xen/hvm/save.h>

enum { kRoom = 4096, kVcpus = 2, kChecksFirst = kMinor >= 19 };

static uint32_t domain;
static uint8_t list[4 * kRoom];
static uint32_t used;

static void put(unsigned type, unsigned instance, const void *contents, size_t length) {
  const struct hvm_save_descriptor descriptor = {
      .typecode = (uint16_t)type, .instance = (uint16_t)instance, .length = (uint32_t)length};
  memcpy(list + used, &descriptor, sizeof(descriptor));
  memcpy(list + used + sizeof(descriptor), contents, length);
  used += (uint32_t)(sizeof(descriptor) + length);
}

static void begin(void) {
  const struct hvm_save_header header = {.magic = HVM_FILE_MAGIC, .version = HVM_FILE_VERSION};
  used = 0;
  put(HVM_SAVE_CODE(HEADER), 0, &header, sizeof(header));
}

static int load(void) {
  put(HVM_SAVE_CODE(END), 0, "", 0);
  return xc_domain_hvm_setcontext(xch, domain, list, used);
}

static int load_one(unsigned type, unsigned instance, const void *contents, size_t length) {
  begin();
  put(type, instance, contents, length);
  return load();
}

// Whether a record is saved, and is this.
static bool has(unsigned type, unsigned instance, const void *contents, uint32_t length) {
  static uint8_t saved[kRoom];
  return xc_domain_hvm_getcontext_partial(xch, domain, (uint16_t)type, (uint16_t)instance, saved,
                                          length) == 0 &&
         memcmp(saved, contents, length) == 0;
}

static struct hvm_hw_cpu sane_cpu(void) {
  return (struct hvm_hw_cpu){.rip = 0x1000,
                             .rax = 0x1234,
                             .rflags = 2,
                             .cr0 = 0x11,
                             .cr3 = 0x5000,
                             .dr6 = 0xffff0ff0,
                             .dr7 = 0x400,
                             .cs_sel = 0x10,
                             .cs_limit = ~0u,
                             .cs_arbytes = 0xc9b,
                             .ss_sel = 0x18,
                             .ss_arbytes = 0x493,
                             .tr_arbytes = 0x8b,
                             .fs_base = 0x111000,
                             .gs_base = 0x222000,
                             .shadow_gs = 0x333000,
                             .msr_lstar = 0x99,
                             .msr_tsc_aux = 5,
                             .fpu_regs = {0x7f, 3},
                             .flags = XEN_X86_FPU_INITIALISED};
}

static int load_cpu(const struct hvm_hw_cpu *cpu) {
  return load_one(HVM_SAVE_CODE(CPU), 0, cpu, sizeof(*cpu));
}

static struct hvm_hw_cpu saved_cpu(void) {
  struct hvm_hw_cpu cpu = {0};
  CHECK(xc_domain_hvm_getcontext_partial(xch, domain, HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu)) ==
        0);
  cpu.tsc = 0;  // which goes on
  return cpu;
}

static void check_both_ways(void) {
  vcpu_guest_context_any_t *context = calloc(1, sizeof(*context));
  struct hvm_hw_cpu cpu = sane_cpu();
  CHECK(load_cpu(&cpu) == 0);
  struct hvm_hw_cpu now = saved_cpu();
  CHECK(memcmp(&now, &cpu, sizeof(cpu)) == 0);
  CHECK(xc_vcpu_getcontext(xch, domain, 0, context) == 0);
  const vcpu_guest_context_x86_64_t *told = &context->x64;
  CHECK(told->user_regs.rip == 0x1000 && told->user_regs.rax == 0x1234);
  CHECK(told->user_regs.cs == 0x10 && told->user_regs.ss == 0x18 && told->user_regs.rflags == 2);
  CHECK(told->ctrlreg[0] == 0x11 && told->ctrlreg[3] == 0x5000 && told->ctrlreg[1] == 0);
  CHECK(told->debugreg[6] == 0xffff0ff0 && told->debugreg[7] == 0x400);
  CHECK(told->fs_base == 0x111000 && told->gs_base_kernel == 0x222000);
  CHECK(told->gs_base_user == 0x333000 && told->gdt_ents == 0 && told->kernel_sp == 0);
  CHECK(told->flags == (VGCF_online | VGCF_I387_VALID));
  CHECK(memcmp(&told->fpu_ctxt, cpu.fpu_regs, sizeof(cpu.fpu_regs)) == 0);

  // General, debug and floating-point registers come from a context, and no others.
  memset(context, 0x5a, sizeof(*context));
  context->x64.flags = VGCF_online;
  context->x64.vm_assist = 0;
  context->x64.user_regs.rip = 0x4444;
  context->x64.debugreg[6] = 0xffff0ff0;
  context->x64.debugreg[7] = 0x400;
  CHECK(xc_vcpu_setcontext(xch, domain, 0, context) == 0);
  now = saved_cpu();
  CHECK(now.rip == 0x4444 && now.rax == 0x5a5a5a5a5a5a5a5a && now.dr0 == 0x5a5a5a5a5a5a5a5a);
  CHECK(now.cr0 == 0x11 && now.cr3 == 0x5000 && now.cs_sel == 0x10 && now.fs_base == 0x111000);
  CHECK(now.flags == 0 && now.fpu_regs[0] == 0);
  CHECK(xc_vcpu_getcontext(xch, domain, 0, context) == 0);
  CHECK(context->x64.user_regs.rip == 0x4444 && context->x64.ctrlreg[3] == 0x5000);
  const uint8_t *fpu = (const void *)&context->x64.fpu_ctxt;
  CHECK(fpu[0] == 0x7f && fpu[1] == 3 && context->x64.flags == VGCF_online);
  // With an assist that there is not, they are taken before it is refused.
  context->x64.vm_assist = 1;
  context->x64.user_regs.rip = 0x5555;
  CHECK_REFUSED(xc_vcpu_setcontext(xch, domain, 0, context), EINVAL);
  CHECK(saved_cpu().rip == 0x5555);
  CHECK(xc_vcpu_setcontext(xch, domain, 0, NULL) == 0);
  CHECK_REFUSED(xc_vcpu_getcontext(xch, domain, 0, context), ENODATA);
  free(context);
}

// What no processor of this policy can hold.
static void check_control_registers(void) {
  struct hvm_hw_cpu cpu;
#define WITH(field, value) (cpu = sane_cpu(), cpu.field = (value), load_cpu(&cpu))
  CHECK_REFUSED(WITH(cr0, 0x80000010), EINVAL);  // paging without protection
  CHECK(WITH(cr0, 0x80000011) == 0);
  CHECK_REFUSED(WITH(cr0, 0x1), EINVAL);
  CHECK_REFUSED(WITH(cr0, 0x51), EINVAL);
  CHECK_REFUSED(WITH(cr0, 0x100000011), EINVAL);
  CHECK(WITH(cr4, 0x7fc) == 0);
  for (unsigned bit = 11; bit < 64; bit++) CHECK_REFUSED(WITH(cr4, 1ull << bit), EINVAL);
  static const unsigned kEfer[] = {0, 8, 11};
  uint64_t allowed = 0;
  for (unsigned i = 0; i < sizeof(kEfer) / sizeof(kEfer[0]); i++) {
    CHECK(WITH(msr_efer, 1ull << kEfer[i]) == 0);
    allowed |= 1ull << kEfer[i];
  }
  for (unsigned bit = 0; bit < 64; bit++) {
    if ((allowed >> bit & 1) == 0) CHECK_REFUSED(WITH(msr_efer, 1ull << bit), EINVAL);
  }
  CHECK_REFUSED(WITH(msr_efer, 0x500), EINVAL);  // active, and no paging
  cpu.cr0 = 0x80000011;
  CHECK(load_cpu(&cpu) == 0);
  CHECK_REFUSED(WITH(cr3, 1ull << 52), EINVAL);
  CHECK_REFUSED(WITH(flags, 2), EINVAL);
  CHECK_REFUSED(WITH(pad0, 1), EINVAL);
  CHECK_REFUSED(WITH(msr_tsc_aux, 1ull << 32), EINVAL);
  // A segment is what a processor makes of it, an event what must be injected again.
  CHECK(WITH(cs_arbytes, 0) == 0 && saved_cpu().cs_arbytes == 0x891);
  CHECK(WITH(ds_arbytes, 0x1093) == 0 && saved_cpu().ds_arbytes == 0x193);
  CHECK(WITH(ss_arbytes, 0x412) == 0 && saved_cpu().ss_arbytes == 0x12);
  CHECK(WITH(tr_limit, 0x100000) == 0 && saved_cpu().tr_arbytes == 0x88b);
  CHECK(WITH(gs_sel, 0x12345) == 0 && saved_cpu().gs_sel == 0x2345);
  CHECK(WITH(pending_event, 0x80000020) == 0 && saved_cpu().pending_event == 0x80000020);
  CHECK(WITH(pending_event, 0x80000303) == 0 && saved_cpu().pending_event == 0);
  CHECK(WITH(error_code, 7) == 0 && saved_cpu().error_code == 0);
#undef WITH
}

static void check_lengths(void) {
  struct hvm_hw_cpu cpu = sane_cpu();
  cpu.flags = 0;
  CHECK(load_one(HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu) - 1) == 0);
  CHECK(saved_cpu().rip == 0x1000 && saved_cpu().flags == XEN_X86_FPU_INITIALISED);
  // As old Xen had it, without msr_tsc_aux and flags.
  struct hvm_hw_cpu_compat old;
  memcpy(&old, &cpu, sizeof(old));
  old.tsc = 0x777;
  old.pending_event = 0x80000020;
  CHECK(load_one(HVM_SAVE_CODE(CPU), 0, &old, sizeof(old)) == 0);
  CHECK(saved_cpu().msr_tsc_aux == 0 && saved_cpu().pending_event == 0x80000020);

  static const struct {
    uint16_t type, length;
    bool padded;
    int refusal;
  } kRecords[] = {
      {HVM_SAVE_CODE(CPU), HVM_SAVE_LENGTH(CPU), true, EINVAL},
      {HVM_SAVE_CODE(LAPIC), HVM_SAVE_LENGTH(LAPIC), true, kChecksFirst ? ENODATA : EINVAL},
      {HVM_SAVE_CODE(LAPIC_REGS), HVM_SAVE_LENGTH(LAPIC_REGS), false,
       kChecksFirst ? ENODATA : EINVAL},
      {HVM_SAVE_CODE(PCI_IRQ), HVM_SAVE_LENGTH(PCI_IRQ), false, EINVAL},
      {HVM_SAVE_CODE(ISA_IRQ), HVM_SAVE_LENGTH(ISA_IRQ), false, EINVAL},
      {HVM_SAVE_CODE(PCI_LINK), HVM_SAVE_LENGTH(PCI_LINK), false, kChecksFirst ? ENODATA : EINVAL},
      {HVM_SAVE_CODE(MTRR), HVM_SAVE_LENGTH(MTRR), false, EINVAL},
      {HVM_SAVE_CODE(VIRIDIAN_DOMAIN), HVM_SAVE_LENGTH(VIRIDIAN_DOMAIN), true, EINVAL},
      {HVM_SAVE_CODE(VIRIDIAN_VCPU), HVM_SAVE_LENGTH(VIRIDIAN_VCPU), true, EINVAL},
      {HVM_SAVE_CODE(VMCE_VCPU), HVM_SAVE_LENGTH(VMCE_VCPU), true, EPERM},
      {HVM_SAVE_CODE(TSC_ADJUST), HVM_SAVE_LENGTH(TSC_ADJUST), false, EINVAL},
  };
  static uint8_t contents[kRoom];
  for (unsigned i = 0; i < sizeof(kRecords) / sizeof(kRecords[0]); i++) {
    memset(contents, 0, sizeof(contents));
    if (kRecords[i].type == HVM_SAVE_CODE(CPU)) memcpy(contents, &cpu, sizeof(cpu));
    const size_t length = kRecords[i].length;
    CHECK(load_one(kRecords[i].type, 0, contents, length) == 0);
    if (kRecords[i].padded) {
      CHECK(load_one(kRecords[i].type, 0, contents, length - 1) == 0);
    } else {
      CHECK_REFUSED(load_one(kRecords[i].type, 0, contents, length - 1), kRecords[i].refusal);
    }
    CHECK_REFUSED(load_one(kRecords[i].type, 0, contents, length + 1), kRecords[i].refusal);
  }
}

// The whole state has each record, also when one only was loaded.
static void check_records(void) {
  static const uint16_t kTypes[] = {HVM_SAVE_CODE(LAPIC),     HVM_SAVE_CODE(LAPIC_REGS),
                                    HVM_SAVE_CODE(PCI_IRQ),   HVM_SAVE_CODE(ISA_IRQ),
                                    HVM_SAVE_CODE(PCI_LINK),  HVM_SAVE_CODE(MTRR),
                                    HVM_SAVE_CODE(VMCE_VCPU), HVM_SAVE_CODE(TSC_ADJUST)};
  const struct hvm_tsc_adjust adjust = {.tsc_adjust = 0x777};
  CHECK(load_one(HVM_SAVE_CODE(TSC_ADJUST), 1, &adjust, sizeof(adjust)) == 0);
  CHECK(has(HVM_SAVE_CODE(TSC_ADJUST), 1, &adjust, sizeof(adjust)));
  const int size = xc_domain_hvm_getcontext(xch, domain, NULL, 0);
  CHECK(kMinor != 17 || size == 7392);
  uint8_t *whole = malloc((size_t)size);
  const int length = xc_domain_hvm_getcontext(xch, domain, whole, (uint32_t)size);
  unsigned next = 0;
  for (int at = 0; at < length;) {
    const struct hvm_save_descriptor *record = (const void *)(whole + at);
    if (next < sizeof(kTypes) / sizeof(kTypes[0]) && record->typecode == kTypes[next]) next++;
    at += (int)(sizeof(*record) + record->length);
  }
  CHECK(next == sizeof(kTypes) / sizeof(kTypes[0]));
  CHECK(xc_domain_hvm_setcontext(xch, domain, whole, (uint32_t)length) == 0);
  free(whole);

  struct hvm_hw_lapic lapic = {.apic_base_msr = 0xfee00800, .disabled = 7, .timer_divisor = 9};
  CHECK(load_one(HVM_SAVE_CODE(LAPIC), 1, &lapic, sizeof(lapic)) == 0);
  CHECK(has(HVM_SAVE_CODE(LAPIC), 1, &lapic, sizeof(lapic)));
  CHECK_REFUSED(load_one(HVM_SAVE_CODE(LAPIC), kVcpus, &lapic, sizeof(lapic)), EINVAL);
  lapic.apic_base_msr = 0xfee00400;  // extended, and disabled: and so it stays
  CHECK_REFUSED(load_one(HVM_SAVE_CODE(LAPIC), 1, &lapic, sizeof(lapic)), EINVAL);
  CHECK(has(HVM_SAVE_CODE(LAPIC), 1, &lapic, sizeof(lapic)) == !kChecksFirst);
  const struct hvm_hw_pci_link link = {.route = {1, 2, 3, 16}};
  CHECK_REFUSED(load_one(HVM_SAVE_CODE(PCI_LINK), 0, &link, sizeof(link)), EINVAL);
  CHECK(has(HVM_SAVE_CODE(PCI_LINK), 0, &link, sizeof(link)) == !kChecksFirst);
  // Of what there is one, nobody asks which it is.
  const struct hvm_hw_isa_irqs lines = {.pad = {0x1234}};
  CHECK(load_one(HVM_SAVE_CODE(ISA_IRQ), 0xffff, &lines, sizeof(lines)) == 0);
  CHECK(has(HVM_SAVE_CODE(ISA_IRQ), 0, &lines, sizeof(lines)));
  const struct hvm_vmce_vcpu banks = {.caps = 0x200};
  CHECK_REFUSED(load_one(HVM_SAVE_CODE(VMCE_VCPU), 0, &banks, sizeof(banks)), EINVAL);

  struct hvm_hw_mtrr mtrr = {.msr_pat_cr = 0x0007040600070406,
                             .msr_mtrr_var = {0x10006, 0xffff0800, 0x20001, 0xfff00800},
                             .msr_mtrr_fixed = {0x0606060606060606},
                             .msr_mtrr_cap = 0x508,
                             .msr_mtrr_def_type = 0xc06};
  CHECK(load_one(HVM_SAVE_CODE(MTRR), 0, &mtrr, sizeof(mtrr)) == 0);
  for (unsigned i = 2; i < 16; i++)
    mtrr.msr_mtrr_var[i] = mtrr.msr_mtrr_var[i % 2];  // as the first
  CHECK(has(HVM_SAVE_CODE(MTRR), 0, &mtrr, sizeof(mtrr)));
  struct hvm_hw_mtrr wrong = mtrr;
  wrong.msr_pat_cr = 2;
  wrong.msr_mtrr_fixed[0] = wrong.msr_mtrr_def_type = 2;
  wrong.msr_mtrr_var[0] = 0x106;
  CHECK(load_one(HVM_SAVE_CODE(MTRR), 0, &wrong, sizeof(wrong)) == 0);
  CHECK(has(HVM_SAVE_CODE(MTRR), 0, &mtrr, sizeof(mtrr)));  // what is no value is not taken
  wrong.msr_mtrr_cap = 0x509;
  CHECK_REFUSED(load_one(HVM_SAVE_CODE(MTRR), 0, &wrong, sizeof(wrong)), EINVAL);
}

// What there is not, and where a list ends.
static void check_lists(void) {
  static const uint8_t contents[1100];
  static const uint16_t kAbsent[] = {HVM_SAVE_CODE(PIC), HVM_SAVE_CODE(PIT)};
  for (unsigned i = 0; i < sizeof(kAbsent) / sizeof(kAbsent[0]); i++) {
    CHECK_REFUSED(load_one(kAbsent[i], 0, contents, 8), ENODEV);
  }
  CHECK_REFUSED(load_one(CPU_XSAVE_CODE, 0, contents, 600), EOPNOTSUPP);
  CHECK_REFUSED(load_one(CPU_MSR_CODE, 0, contents, 23), EINVAL);
  CHECK_REFUSED(load_one(CPU_MSR_CODE, 0, contents, 24), EOPNOTSUPP);
  CHECK_REFUSED(load_one(HVM_SAVE_CODE(HEADER), 0, contents, 24), EINVAL);
  CHECK_REFUSED(load_one(HVM_SAVE_CODE_MAX + 1, 0, contents, 8), EINVAL);

  // Only vcpus whose registers come are up; what came before a wrong record is there.
  const struct hvm_hw_cpu cpu = sane_cpu();
  const struct hvm_tsc_adjust adjust = {.tsc_adjust = 0x999};
  begin();
  put(HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu));
  put(HVM_SAVE_CODE(CPU), 1, &cpu, sizeof(cpu));
  CHECK(load() == 0);
  begin();
  put(HVM_SAVE_CODE(CPU), 1, &cpu, sizeof(cpu));
  put(HVM_SAVE_CODE(TSC_ADJUST), 1, &adjust, sizeof(adjust));
  put(HVM_SAVE_CODE(CPU), 0, contents, sizeof(cpu));
  CHECK_REFUSED(load(), EINVAL);
  xc_vcpuinfo_t info;
  CHECK(xc_vcpu_getinfo(xch, domain, 0, &info) == 0 && !info.online);
  CHECK(xc_vcpu_getinfo(xch, domain, 1, &info) == 0 && info.online);
  CHECK(has(HVM_SAVE_CODE(TSC_ADJUST), 1, &adjust, sizeof(adjust)));
  begin();
  CHECK_REFUSED(xc_domain_hvm_setcontext(xch, domain, list, used), ENODATA);
  list[4] = 23;
  CHECK_REFUSED(xc_domain_hvm_setcontext(xch, domain, list, used), ENODATA);

  // A guest's TSC runs at what the header says.
  begin();
  ((struct hvm_save_header *)(list + 8))->gtsc_khz = 12345;
  CHECK(load() == 0);
  uint32_t mode, khz = 0, incarnation;
  uint64_t elapsed;
  CHECK(xc_domain_get_tsc_info(xch, domain, &mode, &elapsed, &khz, &incarnation) == 0);
  CHECK(khz == 12345);

  // An event that there is not is found too late: the domain is done.
  struct hvm_hw_cpu wrong = cpu;
  wrong.pending_event = 0x80000120;
  CHECK_REFUSED(load_cpu(&wrong), EINVAL);
  xc_domaininfo_t told;
  CHECK(find_domain(domain, &told) && (told.flags & XEN_DOMINF_shutdown) != 0);
  CHECK((told.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask) == SHUTDOWN_crash);
}

void check_hvm_state(void) {
  domain = create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, kVcpus, 16, NULL);
  check_both_ways();
  check_control_registers();
  check_lengths();
  check_records();
  check_lists();
  CHECK(xc_domain_destroy(xch, domain) == 0);
}
