// The saved state of an HVM domain's hardware, record by record, as Xen's public headers have it
// (public/arch-x86/hvm/save.h): what it is at first, and that what was given comes back.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/hvm_cpu.h"
#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_toolstack.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kVcpus = 2;

struct Record {
  std::uint16_t type;
  std::uint16_t instance;
  std::vector<std::uint8_t> contents;
};
using Records = std::vector<Record>;
using Bytes = std::vector<std::uint8_t>;

template <class T>
Record RecordOf(std::size_t type, unsigned instance, const T& contents) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&contents);
  return {static_cast<std::uint16_t>(type),
          static_cast<std::uint16_t>(instance),
          {bytes, bytes + sizeof(T)}};
}

Bytes ImageOf(const Records& records) {
  Bytes image;
  const auto add = [&](const void* bytes, std::size_t size) {
    const auto* const first = static_cast<const std::uint8_t*>(bytes);
    image.insert(image.end(), first, first + size);
  };
  for (const Record& record : records) {
    const hvm_save_descriptor descriptor = {record.type, record.instance,
                                            static_cast<std::uint32_t>(record.contents.size())};
    add(&descriptor, sizeof(descriptor));
    add(record.contents.data(), record.contents.size());
  }
  return image;
}

// A context in which no two words are the same.
vcpu_guest_context_t ContextOf(unsigned vcpu) {
  vcpu_guest_context_t context;
  std::array<std::uint64_t, sizeof(context) / 8> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = (i + 1) << 40 | (i << 8 | (vcpu + 1));
  static_assert(sizeof(words) == sizeof(context));
  std::memcpy(static_cast<void*>(&context), words.data(), sizeof(context));
  context.flags = VGCF_online;
  context.vm_assist = 1 << 5;
  return context;
}

void SetGeneral(hvm_hw_cpu& cpu, const cpu_user_regs_t& r) {
  cpu.rax = r.rax;
  cpu.rbx = r.rbx;
  cpu.rcx = r.rcx;
  cpu.rdx = r.rdx;
  cpu.rbp = r.rbp;
  cpu.rsi = r.rsi;
  cpu.rdi = r.rdi;
  cpu.rsp = r.rsp;
  cpu.r8 = r.r8;
  cpu.r9 = r.r9;
  cpu.r10 = r.r10;
  cpu.r11 = r.r11;
  cpu.r12 = r.r12;
  cpu.r13 = r.r13;
  cpu.r14 = r.r14;
  cpu.r15 = r.r15;
  cpu.rip = r.rip;
  cpu.rflags = r.rflags;
}

// A processor out of reset, in protected mode, with flat segments and a task state; and with these
// registers.
hvm_hw_cpu CpuOf(const vcpu_guest_context_t& context) {
  hvm_hw_cpu cpu = {};
  SetGeneral(cpu, context.user_regs);
  cpu.cr0 = 0x11;
  cpu.dr0 = context.debugreg[0];
  cpu.dr1 = context.debugreg[1];
  cpu.dr2 = context.debugreg[2];
  cpu.dr3 = context.debugreg[3];
  cpu.dr6 = context.debugreg[6] & 0xffffffff;
  cpu.dr7 = context.debugreg[7];
  cpu.cs_limit = cpu.ds_limit = cpu.es_limit = cpu.fs_limit = cpu.gs_limit = cpu.ss_limit =
      0xffffffff;
  cpu.cs_arbytes = 0xc9b;
  cpu.ds_arbytes = cpu.es_arbytes = cpu.fs_arbytes = cpu.gs_arbytes = cpu.ss_arbytes = 0xc93;
  cpu.tr_limit = 0xff;
  cpu.tr_arbytes = 0x8b;
  return cpu;
}

// Registers in which no two words are the same, and which a processor can have.
hvm_hw_cpu SaneCpu() {
  hvm_hw_cpu cpu;
  std::array<std::uint32_t, sizeof(cpu) / 4> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint32_t>(i * 5 + 7);
  static_assert(sizeof(words) == sizeof(cpu));
  std::memcpy(static_cast<void*>(&cpu), words.data(), sizeof(cpu));
  cpu.rflags |= 2;
  cpu.cr0 = 0x80000011;
  cpu.cr3 = 0x123456789000;
  cpu.cr4 = 0x6f8;
  cpu.dr6 = 0xffff0ff1;
  cpu.msr_efer = 0xd01;
  cpu.msr_tsc_aux = 0xfedcba98;
  cpu.msr_flags = 0;
  cpu.pending_event = 0x80000b0e;
  cpu.error_code = 0xffff;
  cpu.flags = XEN_X86_FPU_INITIALISED;
  cpu.pad0 = 0;
  cpu.cs_limit = 0xfffff;
  cpu.cs_arbytes = 0x29b;
  cpu.ds_limit = 0x100000;
  cpu.ds_arbytes = 0xcf3;
  cpu.es_arbytes = 0x1d;  // not present: nothing is said of it
  cpu.gs_arbytes = 0x91;
  cpu.ss_arbytes = 0x97;
  cpu.tr_arbytes = 0x8b;
  cpu.ldtr_arbytes = 0x82;
  cpu.fs_limit = 0x7fffffff;
  cpu.fs_arbytes = 0xf000 | 0x800 | 0x93;
  return cpu;
}

// As an APIC comes out of reset (Intel SDM volume 3, "Local APIC").
hvm_hw_lapic_regs LapicRegistersOf(unsigned vcpu) {
  hvm_hw_lapic_regs registers = {};
  const auto set = [&](std::size_t at, std::uint32_t value) {
    std::memcpy(&registers.data[at], &value, sizeof(value));
  };
  set(0x20, 2 * vcpu << 24);  // ID
  set(0x30, 0x50014);         // version
  set(0xe0, 0xffffffff);      // destination format
  set(0xf0, 0xff);            // spurious vector
  for (const std::size_t vector : {0x320, 0x330, 0x340, 0x350, 0x360, 0x370}) set(vector, 0x10000);
  return registers;
}

class HypervisorHvmContextTest : public ToolstackTest {
 protected:
  std::int64_t Get(Bytes& image) {
    xen_domctl_t op = {};
    op.u.hvmcontext.size = static_cast<std::uint32_t>(image.size());
    op.u.hvmcontext.buffer.p = image.empty() ? nullptr : image.data();
    const std::int64_t answer = machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op);
    if (answer == 0) image.resize(op.u.hvmcontext.size);
    return answer;
  }
  // As much as it says that it is at most.
  Bytes Image() {
    Bytes image;
    EXPECT_EQ(Get(image), 0);
    EXPECT_EQ(Get(image), 0);
    return image;
  }
  std::int64_t Set(Bytes image) {
    xen_domctl_t op = {};
    op.u.hvmcontext.size = static_cast<std::uint32_t>(image.size());
    op.u.hvmcontext.buffer.p = image.data();
    return machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op);
  }
  std::int64_t SetOne(const Record& record) { return Set(ListOf({record})); }
  // As a whole list.
  static Bytes ListOf(Records records) {
    const hvm_save_header header = {.magic = HVM_FILE_MAGIC,
                                    .version = HVM_FILE_VERSION,
                                    .changeset = 0,
                                    .cpuid = 0,
                                    .gtsc_khz = 0};
    records.insert(records.begin(), RecordOf(sizeof(__HVM_SAVE_TYPE_HEADER::c), 0, header));
    records.push_back({0, 0, {}});
    return ImageOf(records);
  }
  std::int64_t SetCpu(const hvm_hw_cpu& cpu, unsigned vcpu = 0) {
    return SetOne(RecordOf(sizeof(__HVM_SAVE_TYPE_CPU::c), vcpu, cpu));
  }
  Bytes Part(std::size_t type, unsigned instance) {
    xen_domctl_t op = {};
    xen_domctl_hvmcontext_partial& part = op.u.hvmcontext_partial;
    Bytes contents(2000);
    part.type = static_cast<std::uint32_t>(type);
    part.instance = instance;
    part.bufsz = contents.size();
    part.buffer.p = contents.data();
    const std::int64_t answer = machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, op);
    contents.resize(answer == 0 ? part.bufsz : 0);
    return contents;
  }
  hvm_hw_cpu Cpu(unsigned vcpu = 0) {
    const Bytes bytes = Part(sizeof(__HVM_SAVE_TYPE_CPU::c), vcpu);
    hvm_hw_cpu cpu = {};
    EXPECT_EQ(bytes.size(), sizeof(cpu));
    if (bytes.size() == sizeof(cpu))
      std::memcpy(static_cast<void*>(&cpu), bytes.data(), sizeof(cpu));
    return cpu;
  }
  std::int64_t Context(unsigned vcpu, vcpu_guest_context_t& context) {
    std::memset(static_cast<void*>(&context), 0xee, sizeof(context));
    xen_domctl_t op = {};
    op.u.vcpucontext.vcpu = vcpu;
    op.u.vcpucontext.ctxt.p = &context;
    return machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op);
  }
  bool IsUp(unsigned vcpu) {
    xen_domctl_t op = {};
    op.u.getvcpuinfo.vcpu = vcpu;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kHvm, op), 0);
    return op.u.getvcpuinfo.online != 0;
  }
  void GiveRegisters(unsigned vcpu) {
    vcpu_guest_context_t context = ContextOf(vcpu);
    xen_domctl_t op = {};
    op.u.vcpucontext.vcpu = vcpu;
    op.u.vcpucontext.ctxt.p = &context;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  }
  // What the domain has before it is given anything, with the first so many of its vcpus up.
  Records AtFirst(unsigned vcpus_up) {
    xen_domctl_t op = {};
    std::vector<xen_cpuid_leaf_t> leaves(100);
    op.u.cpu_policy.nr_leaves = static_cast<std::uint32_t>(leaves.size());
    op.u.cpu_policy.leaves.p = leaves.data();
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
    op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gettscinfo, kHvm, op), 0);
    const hvm_save_header header = {.magic = HVM_FILE_MAGIC,
                                    .version = HVM_FILE_VERSION,
                                    .changeset = ~std::uint64_t{0},
                                    .cpuid = leaves[1].a,
                                    .gtsc_khz = op.u.tsc_info.gtsc_khz};
    const auto for_vcpus = [](unsigned count, const std::function<Record(unsigned)>& record_of) {
      Records records;
      for (unsigned i = 0; i < count; ++i) records.push_back(record_of(i));
      return records;
    };
    hvm_hw_mtrr mtrr = {};
    mtrr.msr_pat_cr = 0x0007040600070406;
    mtrr.msr_mtrr_cap = 0x508;
    const Records parts[] = {
        {RecordOf(sizeof(__HVM_SAVE_TYPE_HEADER::c), 0, header)},
        for_vcpus(vcpus_up,
                  [](unsigned i) {
                    return RecordOf(sizeof(__HVM_SAVE_TYPE_CPU::c), i, CpuOf(ContextOf(i)));
                  }),
        for_vcpus(kVcpus,
                  [](unsigned i) {
                    const hvm_hw_lapic lapic = {.apic_base_msr = i == 0 ? 0xfee00900 : 0xfee00800,
                                                .disabled = 2,
                                                .timer_divisor = 2,
                                                .tdt_msr = 0};
                    return RecordOf(sizeof(__HVM_SAVE_TYPE_LAPIC::c), i, lapic);
                  }),
        for_vcpus(kVcpus,
                  [](unsigned i) {
                    return RecordOf(sizeof(__HVM_SAVE_TYPE_LAPIC_REGS::c), i, LapicRegistersOf(i));
                  }),
        {RecordOf(sizeof(__HVM_SAVE_TYPE_PCI_IRQ::c), 0, hvm_hw_pci_irqs{}),
         RecordOf(sizeof(__HVM_SAVE_TYPE_ISA_IRQ::c), 0, hvm_hw_isa_irqs{}),
         RecordOf(sizeof(__HVM_SAVE_TYPE_PCI_LINK::c), 0, hvm_hw_pci_link{})},
        for_vcpus(kVcpus,
                  [&](unsigned i) { return RecordOf(sizeof(__HVM_SAVE_TYPE_MTRR::c), i, mtrr); }),
        for_vcpus(kVcpus,
                  [](unsigned i) {
                    hvm_vmce_vcpu banks = {};
                    banks.caps = 2;
                    return RecordOf(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), i, banks);
                  }),
        for_vcpus(kVcpus,
                  [](unsigned i) {
                    return RecordOf(sizeof(__HVM_SAVE_TYPE_TSC_ADJUST::c), i, hvm_tsc_adjust{});
                  }),
        {{0, 0, {}}},  // the end
    };
    Records all;
    for (const Records& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  }
  // Each record on its own; the header and the end are none.
  void ExpectParts(const Records& records) {
    for (const Record& record : std::span(records).subspan(1, records.size() - 2)) {
      SCOPED_TRACE(testing::Message() << "record " << record.type << " of " << record.instance);
      xen_domctl_t op = {};
      xen_domctl_hvmcontext_partial& part = op.u.hvmcontext_partial;
      part.type = record.type;
      part.instance = record.instance;
      EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, op), 0);
      EXPECT_EQ(part.bufsz, record.contents.size());
      Bytes contents(record.contents.size() + 1, 0xee);
      part.buffer.p = contents.data();
      part.bufsz = record.contents.size() - 1;
      EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, op), -kENOBUFS);
      EXPECT_EQ(part.bufsz, record.contents.size() - 1);
      EXPECT_EQ(contents, Bytes(contents.size(), 0xee));
      part.bufsz = contents.size();
      EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, op), 0);
      EXPECT_EQ(part.bufsz, record.contents.size());
      EXPECT_EQ(contents.back(), 0xee);
      contents.pop_back();
      EXPECT_EQ(contents, record.contents);
    }
  }
};

TEST_F(HypervisorHvmContextTest, BeginsAsHardwareComesOutOfReset) {
  for (unsigned up = 0; up <= kVcpus; ++up) {
    SCOPED_TRACE(up);
    if (up != 0) GiveRegisters(up - 1);
    const Records records = AtFirst(up);
    EXPECT_EQ(Image(), ImageOf(records));
    ExpectParts(records);
  }
}

// Each record that is loaded, however little of it there is beside, is in the whole state.
TEST_F(HypervisorHvmContextTest, IsHandedOutAsItWasGiven) {
  Records records = AtFirst(0);
  std::uint8_t next = 1;
  for (Record& record : std::span(records).subspan(1)) {
    if (record.type == sizeof(__HVM_SAVE_TYPE_MTRR::c)) continue;
    for (std::uint8_t& byte : record.contents)
      byte = next = static_cast<std::uint8_t>(next * 5 + 3);
    if (record.type == sizeof(__HVM_SAVE_TYPE_LAPIC::c)) record.contents[1] = 8;
    if (record.type == sizeof(__HVM_SAVE_TYPE_PCI_LINK::c)) {
      for (std::uint8_t& byte : std::span(record.contents).first(4)) byte &= 15;
    }
    if (record.type == sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c)) {
      std::fill(record.contents.begin() + 1, record.contents.begin() + 8, 1);
      std::fill(record.contents.begin() + 2, record.contents.begin() + 8, 0);
    }
  }
  for (const Record& record : std::span(records).subspan(1, records.size() - 2)) {
    ASSERT_EQ(SetOne(record), 0) << record.type;
  }
  EXPECT_EQ(Image(), ImageOf(records));
  ExpectParts(records);
  // The same in one list; and what lies behind its end is nobody's.
  ASSERT_EQ(Set(ImageOf(AtFirst(0))), 0);
  EXPECT_EQ(Image(), ImageOf(AtFirst(0)));
  Bytes image = ImageOf(records);
  image.resize(image.size() + 9, 0xdd);
  ASSERT_EQ(Set(image), 0);
  EXPECT_EQ(Image(), ImageOf(records));
  // Those of Hyper-V's interface are taken, and are nobody's here.
  EXPECT_EQ(SetOne({sizeof(__HVM_SAVE_TYPE_VIRIDIAN_DOMAIN::c), 0, Bytes(32, 1)}), 0);
  Bytes viridian(216, 1);
  std::fill(viridian.begin() + 9, viridian.begin() + 16, 0);
  EXPECT_EQ(SetOne({sizeof(__HVM_SAVE_TYPE_VIRIDIAN_VCPU::c), 1, viridian}), 0);
  EXPECT_EQ(Image(), ImageOf(records));
}

// What a record says of registers, a context says, and the other way round.
TEST_F(HypervisorHvmContextTest, RegistersAreTheSameBothWays) {
  vcpu_guest_context_t context;
  EXPECT_EQ(Context(1, context), -kENODATA);
  const hvm_hw_cpu cpu = SaneCpu();
  ASSERT_EQ(SetCpu(cpu, 1), 0);
  EXPECT_TRUE(IsUp(1));
  EXPECT_FALSE(IsUp(0));
  ASSERT_EQ(Context(1, context), 0);
  vcpu_guest_context_t expected = {};
  std::memcpy(expected.fpu_ctxt.x, cpu.fpu_regs, sizeof(cpu.fpu_regs));
  expected.flags = VGCF_i387_valid | VGCF_online;
  hvm_hw_cpu general = cpu;
  SetGeneral(general, context.user_regs);
  EXPECT_EQ(std::memcmp(&general, &cpu, sizeof(cpu)), 0);
  expected.user_regs = context.user_regs;
  const cpu_user_regs_t& regs = context.user_regs;
  const std::uint32_t selectors[] = {cpu.cs_sel, cpu.ds_sel, cpu.es_sel,
                                     cpu.fs_sel, cpu.gs_sel, cpu.ss_sel};
  const std::uint32_t told[] = {regs.cs, regs.ds, regs.es, regs.fs, regs.gs, regs.ss};
  EXPECT_TRUE(std::ranges::equal(told, selectors));
  expected.ctrlreg[0] = cpu.cr0;
  expected.ctrlreg[2] = cpu.cr2;
  expected.ctrlreg[3] = cpu.cr3;
  expected.ctrlreg[4] = cpu.cr4;
  expected.debugreg[0] = cpu.dr0;
  expected.debugreg[1] = cpu.dr1;
  expected.debugreg[2] = cpu.dr2;
  expected.debugreg[3] = cpu.dr3;
  expected.debugreg[6] = cpu.dr6;
  expected.debugreg[7] = cpu.dr7;
  expected.fs_base = cpu.fs_base;
  ASSERT_NE(cpu.cs_sel & 3, 0u);  // outside its kernel
  expected.gs_base_user = cpu.gs_base;
  expected.gs_base_kernel = cpu.shadow_gs;
  EXPECT_EQ(std::memcmp(&context, &expected, sizeof(context)), 0);

  // General, debug and floating-point registers are taken from a context, and nothing else.
  vcpu_guest_context_t given = ContextOf(1);
  given.flags |= VGCF_i387_valid;
  xen_domctl_t op = {};
  op.u.vcpucontext.vcpu = 1;
  op.u.vcpucontext.ctxt.p = &given;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  hvm_hw_cpu now = Cpu(1);
  hvm_hw_cpu with = CpuOf(given);
  std::memcpy(with.fpu_regs, given.fpu_ctxt.x, sizeof(with.fpu_regs));
  EXPECT_EQ(std::memcmp(&now, &with, offsetof(hvm_hw_cpu, cr0)), 0);
  EXPECT_EQ(std::memcmp(&now.dr0, &with.dr0, 6 * 8), 0);
  EXPECT_EQ(std::memcmp(&now.cr0, &cpu.cr0, 4 * 8), 0);
  EXPECT_EQ(now.gs_base, cpu.gs_base);
  // Of vcpu 0 an assist is the domain's.
  given.user_regs.cs = 0x12;
  op.u.vcpucontext.vcpu = 0;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  EXPECT_TRUE(IsUp(0));
  EXPECT_EQ(Context(0, context), -kENODATA);  // its hardware is still to be said
  ASSERT_EQ(Context(1, context), 0);
  EXPECT_EQ(context.vm_assist, given.vm_assist);
  // In the kernel, bases are the other way round. An FPU that was not used has not been saved.
  hvm_hw_cpu kernel = cpu;
  kernel.cs_sel = 0x10010;
  kernel.flags = 0;
  ASSERT_EQ(SetCpu(kernel, 0), 0);
  EXPECT_FALSE(IsUp(1));  // whose registers are not there
  ASSERT_EQ(Context(0, context), 0);
  EXPECT_EQ(context.user_regs.cs, 0x10);
  EXPECT_EQ(context.gs_base_kernel, cpu.gs_base);
  EXPECT_EQ(context.gs_base_user, cpu.shadow_gs);
  EXPECT_EQ(context.flags, std::uint64_t{VGCF_online});
  EXPECT_EQ(context.fpu_ctxt.x[0], 0x40);
  EXPECT_TRUE(std::ranges::all_of(Cpu(0).fpu_regs, [](std::uint8_t byte) { return byte == 0; }));
  // With an assist that there is not the registers are taken, and the vcpu is as it was.
  given.vm_assist = 1 << 4;
  given.flags = 0;
  given.user_regs.rax = 0x7777;
  op.u.vcpucontext.vcpu = 0;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), -kEINVAL);
  EXPECT_EQ(Cpu(0).rax, 0x7777u);
  EXPECT_TRUE(IsUp(0));
  op.u.vcpucontext.vcpu = 1;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  EXPECT_FALSE(IsUp(1));
  // Without a context it is down, and to be given its hardware anew.
  op.u.vcpucontext.ctxt.p = nullptr;
  op.u.vcpucontext.vcpu = 0;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  EXPECT_FALSE(IsUp(0));
  EXPECT_EQ(Context(0, context), -kENODATA);
}

// A segment is kept as the processor has it, and an event only where it must be injected again.
TEST_F(HypervisorHvmContextTest, RegistersAreKeptAsAProcessorHasThem) {
  const hvm_hw_cpu given = SaneCpu();
  ASSERT_EQ(SetCpu(given), 0);
  hvm_hw_cpu kept = given;
  kept.fs_arbytes = 0xf893;  // granular, as its limit is
  const hvm_hw_cpu now = Cpu();
  for (std::size_t i = 0; i < sizeof(now) / 4; ++i) {
    std::uint32_t is, was;
    std::memcpy(&is, reinterpret_cast<const char*>(&now) + 4 * i, 4);
    std::memcpy(&was, reinterpret_cast<const char*>(&kept) + 4 * i, 4);
    EXPECT_EQ(is, was) << "at " << 4 * i;
  }
  const struct {
    std::uint32_t hvm_hw_cpu::*word;
    std::uint32_t given, kept;
  } kWords[] = {
      {&hvm_hw_cpu::cs_arbytes, 0, 0x91},
      {&hvm_hw_cpu::cs_arbytes, 0x1093, 0x193},  // as VT-x has it
      {&hvm_hw_cpu::cs_arbytes, 0x11193, 0x1193},
      {&hvm_hw_cpu::ds_arbytes, 0x482, 0xc93},
      {&hvm_hw_cpu::ds_arbytes, 0x412, 0x412},
      {&hvm_hw_cpu::ss_arbytes, 0x412, 0x12},  // which is not there
      {&hvm_hw_cpu::tr_arbytes, 0x19, 0x8b},
      {&hvm_hw_cpu::ldtr_arbytes, 0x892, 0x82},
      {&hvm_hw_cpu::gs_sel, 0x54321, 0x4321},
  };
  for (const auto& [word, value, expected] : kWords) {
    hvm_hw_cpu cpu = given;
    cpu.*word = value;
    ASSERT_EQ(SetCpu(cpu), 0);
    EXPECT_EQ(Cpu().*word, expected) << std::hex << value;
  }
  const struct {
    std::uint32_t event, error_code;
    bool is_kept;
    std::int64_t answer = 0;
  } kEvents[] = {
      {0x80000020, 5, true},
      {0x00000020, 5, false},
      {0x80000202, 0, true},
      {0x80000303, 0, false},
      {0x80000304, 0, false},
      {0x80000306, 9, true},
      {0x800004ff, 0, false},
      {0x80000120, 0, false, -kEINVAL},
      {0x80000520, 0, false, -kEINVAL},
      {0x80001020, 0, false, -kEINVAL},
      {0xc0000020, 0, false, -kEINVAL},
      {0x80000b0e, 0x10000, false, -kEINVAL},
      {0x8000030e, 0x10000, true},
      {0x00000b0e, 0x10000, false},
  };
  for (const auto& [event, error_code, is_kept, answer] : kEvents) {
    SCOPED_TRACE(testing::Message() << std::hex << event);
    hvm_hw_cpu cpu = given;
    cpu.pending_event = event;
    cpu.error_code = error_code;
    cpu.msr_flags = 5;
    cpu.rflags = 0;
    cpu.dr6 |= std::uint64_t{1} << 32;
    EXPECT_EQ(SetCpu(cpu), answer);
    if (answer != 0) continue;
    EXPECT_EQ(Cpu().pending_event, is_kept ? event : 0);
    EXPECT_EQ(Cpu().error_code, is_kept ? error_code : 0);
    EXPECT_EQ(Cpu().msr_flags, 0u);
    EXPECT_EQ(Cpu().rflags, 2u);
    EXPECT_EQ(Cpu().dr6, given.dr6);
  }
  // One that cannot be is too late to be refused: some registers are taken, and the domain is done.
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kHvm, op), 0);
  EXPECT_NE(op.u.getdomaininfo.flags & XEN_DOMINF_shutdown, 0u);
  EXPECT_EQ(op.u.getdomaininfo.flags >> XEN_DOMINF_shutdownshift, std::uint32_t{SHUTDOWN_crash});
  ASSERT_EQ(SetCpu(given), 0);
  hvm_hw_cpu cpu = given;
  cpu.pending_event = 0x80000120;
  cpu.shadow_gs = cpu.msr_lstar = cpu.msr_star = cpu.msr_cstar = cpu.msr_syscall_mask = 0x3333;
  cpu.msr_efer = 0;
  cpu.cr2 = cpu.rax = cpu.sysenter_cs = 0x4444;
  EXPECT_EQ(SetCpu(cpu), -kEINVAL);
  EXPECT_FALSE(IsUp(0));
  GiveRegisters(0);
  EXPECT_EQ(Cpu().shadow_gs, 0x3333u);
  EXPECT_EQ(Cpu().msr_lstar, 0x3333u);
  EXPECT_EQ(Cpu().msr_star, 0x3333u);
  EXPECT_EQ(Cpu().msr_cstar, 0x3333u);
  EXPECT_EQ(Cpu().msr_syscall_mask, 0x3333u);
  EXPECT_EQ(Cpu().msr_efer, 0u);
  EXPECT_EQ(Cpu().cr2, given.cr2);
  EXPECT_EQ(Cpu().sysenter_cs, given.sysenter_cs);
}

TEST_F(HypervisorHvmContextTest, ControlRegistersThatNoProcessorHas) {
  hvm_hw_cpu good = SaneCpu();
  good.cr3 = good.cr4 = 0;
  good.msr_efer = 0;
  ASSERT_EQ(SetCpu(good), 0);
  const auto with = [&](std::uint64_t hvm_hw_cpu::*reg, std::uint64_t value) {
    hvm_hw_cpu cpu = good;
    cpu.*reg = value;
    return SetCpu(cpu);
  };
  const auto allowed = [&](std::uint64_t hvm_hw_cpu::*reg, std::uint64_t base) {
    std::uint64_t bits = 0;
    for (unsigned bit = 0; bit < 64; ++bit) {
      const std::int64_t answer = with(reg, base | std::uint64_t{1} << bit);
      EXPECT_TRUE(answer == 0 || answer == -kEINVAL);
      if (answer == 0) bits |= std::uint64_t{1} << bit;
    }
    return bits;
  };
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr0, 0x11), 0xe005003fu);
  EXPECT_EQ(with(&hvm_hw_cpu::cr0, 0x80000010), -kEINVAL);  // paging without protection
  EXPECT_EQ(with(&hvm_hw_cpu::cr0, 0x80000001), -kEINVAL);  // without the bit that is always set
  EXPECT_EQ(with(&hvm_hw_cpu::cr0, 0x10), 0);
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr3, 0), (std::uint64_t{1} << 48) - 1);
  EXPECT_EQ(allowed(&hvm_hw_cpu::msr_tsc_aux, 0), 0xffffffffu);
  // By the features of 1.edx, and without one PCE.
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr4, 0), 0x7ffu);
  EXPECT_EQ(allowed(&hvm_hw_cpu::msr_efer, 0), 0x901u);
  EXPECT_EQ(with(&hvm_hw_cpu::msr_efer, 0x500), 0);
  EXPECT_EQ(with(&hvm_hw_cpu::msr_efer, 0x400), -kEINVAL);
  good.cr0 = 0x11;
  EXPECT_EQ(with(&hvm_hw_cpu::msr_efer, 0x500), -kEINVAL);
  EXPECT_EQ(with(&hvm_hw_cpu::msr_efer, 0x100), 0);
  for (const auto word : {&hvm_hw_cpu::flags, &hvm_hw_cpu::pad0}) {
    hvm_hw_cpu cpu = good;
    cpu.*word = 2;
    EXPECT_EQ(SetCpu(cpu), -kEINVAL);
  }
  // A policy with everything, and one with nothing.
  const auto set_policy = [&](std::uint32_t bits, std::uint32_t address_bits) {
    xen_cpuid_leaf_t leaves[] = {
        {1, XEN_CPUID_NO_SUBLEAF, 0, 0, bits, bits},
        {7, 0, 0, bits, bits, bits},
        {0x80000001, XEN_CPUID_NO_SUBLEAF, 0, 0, bits, bits},
        {0x80000008, XEN_CPUID_NO_SUBLEAF, address_bits, 0, 0, 0},
    };
    xen_domctl_t op = {};
    op.u.cpu_policy.nr_leaves = 4;
    op.u.cpu_policy.leaves.p = leaves;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), 0);
  };
  set_policy(~std::uint32_t{0}, 0x3028);
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr4, 0), 0xf70fffu);
  EXPECT_EQ(allowed(&hvm_hw_cpu::msr_efer, 0), 0x4901u);
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr3, 0), (std::uint64_t{1} << 40) - 1);
  set_policy(0, 0);
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr4, 0), 0x100u);
  EXPECT_EQ(allowed(&hvm_hw_cpu::msr_efer, 0), 0u);
  EXPECT_EQ(allowed(&hvm_hw_cpu::cr3, 0), (std::uint64_t{1} << 36) - 1);
}

TEST_F(HypervisorHvmContextTest, RecordsThatAreShortOrLong) {
  constexpr auto kCpu = static_cast<std::uint16_t>(sizeof(__HVM_SAVE_TYPE_CPU::c));
  hvm_hw_cpu cpu = SaneCpu();
  Record record = RecordOf(kCpu, 0, cpu);
  record.contents.pop_back();
  ASSERT_EQ(SetOne(record), 0);
  EXPECT_EQ(std::memcmp(Part(kCpu, 0).data(), &cpu, sizeof(cpu) - 8), 0);
  EXPECT_EQ(Cpu().flags, std::uint32_t{XEN_X86_FPU_INITIALISED});  // by itself
  // As they were before there was a TSC_AUX.
  Bytes old = RecordOf(kCpu, 0, cpu).contents;
  old.erase(old.begin() + offsetof(hvm_hw_cpu, msr_tsc_aux),
            old.begin() + offsetof(hvm_hw_cpu, msr_tsc_aux) + 8);
  old.resize(1016);
  ASSERT_EQ(SetOne({kCpu, 0, old}), 0);
  cpu.msr_tsc_aux = 0;
  const hvm_hw_cpu now = Cpu();
  EXPECT_EQ(std::memcmp(&now, &cpu, sizeof(cpu)), 0);

  const struct {
    std::size_t type;
    std::size_t bytes;
    bool is_padded;
    std::int64_t refusal = -kEINVAL;
  } kRecords[] = {
      {kCpu, 1032, true},
      {sizeof(__HVM_SAVE_TYPE_LAPIC::c), 24, true},
      {sizeof(__HVM_SAVE_TYPE_LAPIC_REGS::c), 1024, false},
      {sizeof(__HVM_SAVE_TYPE_PCI_IRQ::c), 16, false},
      {sizeof(__HVM_SAVE_TYPE_ISA_IRQ::c), 8, false},
      {sizeof(__HVM_SAVE_TYPE_PCI_LINK::c), 8, false},
      {sizeof(__HVM_SAVE_TYPE_MTRR::c), 240, false},
      {sizeof(__HVM_SAVE_TYPE_VIRIDIAN_DOMAIN::c), 32, true},
      {sizeof(__HVM_SAVE_TYPE_VIRIDIAN_VCPU::c), 216, true},
      {sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 32, true, -kEPERM},
      {sizeof(__HVM_SAVE_TYPE_TSC_ADJUST::c), 8, false},
  };
  for (const auto& [type, bytes, is_padded, refusal] : kRecords) {
    SCOPED_TRACE(type);
    Record given = {static_cast<std::uint16_t>(type), 0, Bytes(bytes)};
    if (type == kCpu) given = RecordOf(kCpu, 0, cpu);
    EXPECT_EQ(SetOne(given), 0);
    given.contents.pop_back();
    EXPECT_EQ(SetOne(given), is_padded ? 0 : refusal);
    if (is_padded && type != kCpu) {
      EXPECT_EQ(SetOne({static_cast<std::uint16_t>(type), 0, {}}), 0);
    }
    given.contents.resize(bytes + 1);
    EXPECT_EQ(SetOne(given), refusal);
    // One that passes the end of the list, and so does not reach its own.
    Bytes cut = ListOf({given});
    cut.resize(8 + 24 + 8 + bytes - 1);
    cut[8 + 24 + 4] = static_cast<std::uint8_t>(bytes);
    cut[8 + 24 + 5] = static_cast<std::uint8_t>(bytes >> 8);
    EXPECT_EQ(Set(cut), refusal);
  }
  // Zeros take the place of what was there.
  ASSERT_EQ(SetOne({sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0, Bytes(8, 1)}), -kEINVAL);
  ASSERT_EQ(SetOne({sizeof(__HVM_SAVE_TYPE_TSC_ADJUST::c), 0, Bytes(8, 1)}), 0);
  const hvm_vmce_vcpu banks = {0x1ff, 1, 2, 3};
  ASSERT_EQ(SetOne(RecordOf(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0, banks)), 0);
  ASSERT_EQ(SetOne({sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0, Bytes(1, 5)}), 0);
  Bytes padded(32);
  padded[0] = 5;
  EXPECT_EQ(Part(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0), padded);
}

// What of a record is no value is refused, and the list ends there: what came before it stays, and
// of some records also what was wrong.
TEST_F(HypervisorHvmContextTest, WhatIsRefusedLeavesWhatCameBefore) {
  constexpr std::size_t kLapic = sizeof(__HVM_SAVE_TYPE_LAPIC::c);
  constexpr std::size_t kLink = sizeof(__HVM_SAVE_TYPE_PCI_LINK::c);
  constexpr std::size_t kAdjust = sizeof(__HVM_SAVE_TYPE_TSC_ADJUST::c);
  hvm_hw_lapic lapic = {
      .apic_base_msr = 0xfee00400, .disabled = 7, .timer_divisor = 9, .tdt_msr = 5};
  const Record extended = RecordOf(kLapic, 1, lapic);
  EXPECT_EQ(SetOne(extended), -kEINVAL);
  EXPECT_EQ(Part(kLapic, 1), extended.contents);
  lapic.apic_base_msr = 0xfee00c00;
  EXPECT_EQ(SetOne(RecordOf(kLapic, 1, lapic)), 0);
  const Bytes link = {1, 2, 15, 16, 9, 9, 9, 9};
  EXPECT_EQ(SetOne({kLink, 0, link}), -kEINVAL);
  EXPECT_EQ(Part(kLink, 0), link);
  hvm_vmce_vcpu banks = {.caps = 0x200, .mci_ctl2_bank0 = 1, .mci_ctl2_bank1 = 0, .mcg_ext_ctl = 0};
  const Bytes before = Part(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0);
  EXPECT_EQ(SetOne(RecordOf(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0, banks)), -kEINVAL);
  EXPECT_EQ(Part(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), 0), before);
  Bytes viridian(216);
  viridian[15] = 1;
  EXPECT_EQ(SetOne({sizeof(__HVM_SAVE_TYPE_VIRIDIAN_VCPU::c), 0, viridian}), -kEINVAL);

  ASSERT_EQ(Set(ListOf({RecordOf(sizeof(__HVM_SAVE_TYPE_CPU::c), 0, SaneCpu()),
                        RecordOf(sizeof(__HVM_SAVE_TYPE_CPU::c), 1, SaneCpu())})),
            0);
  EXPECT_TRUE(IsUp(0) && IsUp(1));
  const Record good = RecordOf(kAdjust, 1, hvm_tsc_adjust{.tsc_adjust = 0x777});
  const Record other = RecordOf(kAdjust, 0, hvm_tsc_adjust{.tsc_adjust = 0x888});
  const auto type = [](std::size_t number) { return static_cast<std::uint16_t>(number); };
  const Bytes misc = {1, 0, 0, 0, 0, 0, 0, 0, 0x40, 1};
  const auto msr = [&](std::size_t at, std::uint8_t value) {
    Bytes bytes = misc;
    bytes.resize(24);
    if (at != 0) bytes[at] = value;
    return Record{CPU_MSR_CODE, 0, bytes};
  };
  const struct {
    Record record;
    std::int64_t answer;
  } kWrong[] = {
      {{type(1), 0, Bytes(24)}, -kEINVAL},
      {{type(HVM_SAVE_CODE_MAX + 1), 0, {}}, -kEINVAL},
      {{type(0xffff), 0, {}}, -kEINVAL},
      {{type(sizeof(__HVM_SAVE_TYPE_CPU::c)), kVcpus, Bytes(1032)}, -kEINVAL},
      {{type(kLapic), kVcpus, Bytes(24)}, -kEINVAL},
      {{type(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c)), kVcpus, Bytes(32)}, -kEINVAL},
      {{CPU_MSR_CODE, kVcpus, Bytes(24)}, -kEINVAL},
      {{CPU_XSAVE_CODE, kVcpus, Bytes(24)}, -kEINVAL},
      {{CPU_XSAVE_CODE, 0, Bytes(600)}, -kEOPNOTSUPP},
      {{CPU_MSR_CODE, 0, Bytes(23)}, -kEINVAL},
      {{CPU_MSR_CODE, 0, Bytes(24)}, -kEOPNOTSUPP},  // none
      {msr(0, 0), 0},
      {msr(0, 2), 0},
      {msr(1, 1), -kEOPNOTSUPP},   // 257
      {msr(8, 0x48), -kENXIO},     // SPEC_CTRL
      {msr(12, 1), -kEOPNOTSUPP},  // reserved
      {msr(16, 1), -kENXIO},
      {{type(sizeof(__HVM_SAVE_TYPE_PIC::c)), 0, Bytes(8)}, -kENODEV},
      {{type(sizeof(__HVM_SAVE_TYPE_IOAPIC::c)), 0, Bytes(400)}, -kENODEV},
      {{type(sizeof(__HVM_SAVE_TYPE_PIT::c)), 0, Bytes(56)}, -kENODEV},
      {{type(sizeof(__HVM_SAVE_TYPE_RTC::c)), 0, Bytes(24)}, -kENODEV},
      {{type(sizeof(__HVM_SAVE_TYPE_HPET::c)), 0, Bytes(1048)}, -kENODEV},
      {{type(sizeof(__HVM_SAVE_TYPE_PMTIMER::c)), 0, Bytes(8)}, -kENODEV},
  };
  for (const auto& [wrong, answer] : kWrong) {
    SCOPED_TRACE(testing::Message() << wrong.type << ", " << wrong.contents.size());
    ASSERT_EQ(SetOne(RecordOf(kAdjust, 1, hvm_tsc_adjust{})), 0);
    ASSERT_EQ(SetOne(RecordOf(kAdjust, 0, hvm_tsc_adjust{})), 0);
    EXPECT_EQ(Set(ListOf({good, wrong, other})), answer);
    EXPECT_EQ(Part(kAdjust, 1), good.contents);
    EXPECT_EQ(Part(kAdjust, 0), answer == 0 ? other.contents : Bytes(8));
    EXPECT_FALSE(IsUp(0) || IsUp(1));
  }
  Bytes cut = ListOf({msr(0, 0)});
  cut.resize(cut.size() - 9);
  EXPECT_EQ(Set(cut), -kENODATA);
  // Of what there is one, nobody asks which it is.
  for (const std::uint16_t instance : {std::uint16_t{1}, std::uint16_t{5}, std::uint16_t{0xffff}}) {
    const Bytes lines(16, static_cast<std::uint8_t>(instance));
    Records now = AtFirst(0);
    ASSERT_EQ(Set(ImageOf(now)), 0);
    EXPECT_EQ(SetOne({type(sizeof(__HVM_SAVE_TYPE_PCI_IRQ::c)), instance, lines}), 0);
    for (Record& each : now) {
      if (each.type == sizeof(__HVM_SAVE_TYPE_PCI_IRQ::c)) each.contents = lines;
    }
    EXPECT_EQ(Image(), ImageOf(now));
  }
}

TEST_F(HypervisorHvmContextTest, IsRefusedWhenItIsNoList) {
  const Records good = AtFirst(0);
  const struct {
    const char* what;
    std::function<void(Records&)> change;
    std::int64_t answer;
  } kWrong[] = {
      {"another magic", [](Records& r) { r[0].contents[0] ^= 1; }, -kEINVAL},
      {"another version", [](Records& r) { r[0].contents[4] ^= 1; }, -kEINVAL},
      {"a shorter header", [](Records& r) { r[0].contents.pop_back(); }, -kENODATA},
      {"a longer header", [](Records& r) { r[0].contents.push_back(0); }, -kENODATA},
      {"no header", [](Records& r) { r.erase(r.begin()); }, -kENODATA},
      {"a header of another type", [](Records& r) { r[0].type = 3; }, -kENODATA},
      {"an end in front", [](Records& r) { r.insert(r.begin(), Record{}); }, -kENODATA},
      {"no end", [](Records& r) { r.pop_back(); }, -kENODATA},
  };
  for (const auto& [what, change, answer] : kWrong) {
    ASSERT_EQ(SetCpu(SaneCpu()), 0);
    Records wrong = good;
    change(wrong);
    EXPECT_EQ(Set(ImageOf(wrong)), answer) << what;
    // Vcpus go down when a header has come.
    EXPECT_EQ(IsUp(0),
              wrong.size() == good.size() || wrong.size() > good.size() || wrong[0].type != 1)
        << what;
  }
  // Cut off anywhere.
  const Bytes image = ImageOf(good);
  for (std::size_t bytes = 0; bytes < image.size(); bytes += bytes < 50 ? 1 : 7) {
    const std::int64_t answer =
        Set({image.begin(), image.begin() + static_cast<std::ptrdiff_t>(bytes)});
    EXPECT_TRUE(answer == -kENODATA || answer == -kEINVAL || answer == -kEPERM) << bytes;
    if (bytes < 8 + sizeof(hvm_save_header) + 8) {
      EXPECT_EQ(answer, -kENODATA) << bytes;
    }
  }
  EXPECT_EQ(Set(image), 0);
  EXPECT_EQ(Image(), image);
  // Not by itself, and from where something is.
  xen_domctl_t op = {};
  op.u.hvmcontext.size = 8;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op), -kEFAULT);
  op.u.hvmcontext.size = 0;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op), -kENODATA);
}

// MTRRs as the processor takes them one by one, and as Xen saves them: all ranges like the first.
TEST_F(HypervisorHvmContextTest, MemoryTypesThatThereAreNotStayAsTheyWere) {
  constexpr std::size_t kMtrr = sizeof(__HVM_SAVE_TYPE_MTRR::c);
  const auto load = [&](const hvm_hw_mtrr& mtrr) { return SetOne(RecordOf(kMtrr, 1, mtrr)); };
  const auto saved = [&] {
    hvm_hw_mtrr mtrr = {};
    const Bytes bytes = Part(kMtrr, 1);
    EXPECT_EQ(bytes.size(), sizeof(mtrr));
    std::memcpy(&mtrr, bytes.data(), bytes.size());
    return mtrr;
  };
  hvm_hw_mtrr mtrr = {};
  mtrr.msr_pat_cr = 0x0706050401000007;
  for (unsigned i = 0; i < 16; ++i)
    mtrr.msr_mtrr_var[i] = i % 2 == 0 ? 0x10006 + (i << 12) : 0xffffffff0800;
  for (unsigned i = 0; i < 11; ++i)
    mtrr.msr_mtrr_fixed[i] = 0x0606050401000001 + (std::uint64_t{i % 2} << 8);
  mtrr.msr_mtrr_cap = 0x508;
  mtrr.msr_mtrr_def_type = 0xc06;
  ASSERT_EQ(load(mtrr), 0);
  hvm_hw_mtrr expected = mtrr;
  for (unsigned i = 0; i < 16; ++i) expected.msr_mtrr_var[i] = mtrr.msr_mtrr_var[i % 2];
  EXPECT_EQ(Part(kMtrr, 1), RecordOf(kMtrr, 1, expected).contents);

  mtrr.msr_mtrr_cap = 0x509;
  EXPECT_EQ(load(mtrr), -kEINVAL);
  for (const std::uint64_t wrong : {0x2ull, 0x3ull, 0x8ull, 0x02ull << 56, 0x08ull << 24}) {
    hvm_hw_mtrr bad = expected;
    bad.msr_pat_cr = wrong;
    bad.msr_mtrr_fixed[0] = bad.msr_mtrr_fixed[10] = wrong;
    EXPECT_EQ(load(bad), 0);
    EXPECT_EQ(saved().msr_pat_cr, expected.msr_pat_cr);
    EXPECT_EQ(saved().msr_mtrr_fixed[0], expected.msr_mtrr_fixed[0]);
    EXPECT_EQ(saved().msr_mtrr_fixed[10], expected.msr_mtrr_fixed[10]);
  }
  // An attribute has one more value than a range.
  hvm_hw_mtrr bad = expected;
  bad.msr_mtrr_fixed[1] = 7;
  EXPECT_EQ(load(bad), 0);
  EXPECT_EQ(saved().msr_mtrr_fixed[1], expected.msr_mtrr_fixed[1]);
  for (const std::uint64_t wrong : {2ull, 7ull, 0x106ull, 0xf06ull, 1ull << 48, 1ull << 63}) {
    bad = expected;
    bad.msr_mtrr_var[0] = wrong;
    EXPECT_EQ(load(bad), 0);
    EXPECT_EQ(saved().msr_mtrr_var[0], expected.msr_mtrr_var[0]) << wrong;
  }
  for (const std::uint64_t wrong : {1ull, 0x400ull, 1ull << 48}) {
    bad = expected;
    bad.msr_mtrr_var[1] = wrong;
    EXPECT_EQ(load(bad), 0);
    EXPECT_EQ(saved().msr_mtrr_var[1], expected.msr_mtrr_var[1]) << wrong;
  }
  for (const std::uint64_t wrong : {2ull, 7ull, 0x1006ull, 0x306ull}) {
    bad = expected;
    bad.msr_mtrr_def_type = wrong;
    EXPECT_EQ(load(bad), 0);
    EXPECT_EQ(saved().msr_mtrr_def_type, expected.msr_mtrr_def_type) << wrong;
  }
  bad = expected;
  bad.msr_mtrr_cap = 2;
  bad.msr_mtrr_def_type = 0;
  ASSERT_EQ(load(bad), 0);
  EXPECT_EQ(saved().msr_mtrr_def_type, 0u);
  EXPECT_EQ(saved().msr_mtrr_var[3], expected.msr_mtrr_var[1]);
  EXPECT_EQ(saved().msr_mtrr_var[4], 0u);
}

// A machine with all devices that Xen emulates.
TEST_F(HypervisorHvmContextTest, DevicesOfAFullMachine) {
  constexpr std::uint16_t kFull = 9;
  xen_domctl_t create = TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1);
  create.u.createdomain.arch.emulation_flags = XEN_X86_EMU_ALL & ~XEN_X86_EMU_VPCI;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, kFull, create), 0);
  xen_domctl_t op = {};
  op.u.max_vcpus.max = 1;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, kFull, op), 0);
  const auto get = [&] {
    op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kFull, op), 0);
    EXPECT_EQ(op.u.hvmcontext.size, 4568u);  // as Xen 4.17 says of it
    Bytes image(op.u.hvmcontext.size);
    op.u.hvmcontext.buffer.p = image.data();
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kFull, op), 0);
    image.resize(op.u.hvmcontext.size);
    return image;
  };
  const auto set = [&](Bytes image) {
    op = {};
    op.u.hvmcontext.size = static_cast<std::uint32_t>(image.size());
    op.u.hvmcontext.buffer.p = image.data();
    return machine.Domctl(XEN_DOMCTL_sethvmcontext, kFull, op);
  };
  const Bytes first = get();
  EXPECT_EQ(first.size(), 3072u);
  const auto word = [&](std::size_t at) {
    std::uint32_t value;
    std::memcpy(&value, &first[at], sizeof(value));
    return value;
  };
  // Two PICs behind the header, then the I/O APIC and the APIC with its registers.
  EXPECT_EQ(word(32 + 8 + 4), 0x44000u);
  EXPECT_EQ(word(48 + 8 + 4), 0u);
  EXPECT_EQ(word(64 + 8), 0xfec00000u);
  EXPECT_EQ(word(64 + 8 + 392), 0x10000u);
  const std::size_t pit = 64 + 408 + 32 + 1032 + 24 + 16 + 16;
  EXPECT_EQ(word(pit), 10u);
  EXPECT_EQ(word(pit + 8), 0x10000u);
  EXPECT_EQ(word(pit + 8 + 12), 0x100ff00u);
  EXPECT_EQ(word(pit + 8 + 44), 0xff00u);
  const std::size_t hpet = pit + 64 + 32;
  EXPECT_EQ(word(hpet - 32 + 8 + 8), 0x2260000u);
  EXPECT_EQ(word(hpet - 32 + 8 + 12), 0x8000u);
  EXPECT_EQ(word(hpet), 12u);
  EXPECT_EQ(word(hpet + 8), 0x8086a201u);
  EXPECT_EQ(word(hpet + 8 + 4), 0xf42400u);
  EXPECT_EQ(word(hpet + 8 + 320), 0x30u);
  EXPECT_EQ(word(hpet + 8 + 332), 0xffffffffu);

  const std::pair<std::size_t, std::size_t> kDevices[] = {
      {sizeof(__HVM_SAVE_TYPE_PIC::c), 8},     {sizeof(__HVM_SAVE_TYPE_IOAPIC::c), 400},
      {sizeof(__HVM_SAVE_TYPE_PIT::c), 56},    {sizeof(__HVM_SAVE_TYPE_RTC::c), 24},
      {sizeof(__HVM_SAVE_TYPE_HPET::c), 1048}, {sizeof(__HVM_SAVE_TYPE_PMTIMER::c), 8}};
  Records records;
  for (const auto& [type, bytes] : kDevices) {
    Record record = {static_cast<std::uint16_t>(type), 0, Bytes(bytes)};
    for (std::size_t i = 0; i < bytes; ++i) {
      record.contents[i] = static_cast<std::uint8_t>(type * 31 + i);
    }
    records.push_back(record);
    const bool is_data =
        type == sizeof(__HVM_SAVE_TYPE_IOAPIC::c) || type == sizeof(__HVM_SAVE_TYPE_PIT::c);
    record.contents.push_back(0);
    EXPECT_EQ(set(ListOf({record})), is_data ? -kENODATA : -kEINVAL) << type;
    record.contents.resize(bytes - 1);
    EXPECT_EQ(set(ListOf({record})), type == sizeof(__HVM_SAVE_TYPE_RTC::c) ? 0
                                     : is_data                              ? -kENODATA
                                                                            : -kEINVAL)
        << type;
  }
  records.insert(records.begin() + 1, {sizeof(__HVM_SAVE_TYPE_PIC::c), 1, Bytes(8, 0x77)});
  EXPECT_EQ(set(ListOf({{sizeof(__HVM_SAVE_TYPE_PIC::c), 2, Bytes(8)}})), -kENOENT);
  ASSERT_EQ(set(ListOf(records)), 0);
  const Bytes image = get();
  for (const Record& record : records) {
    const Bytes bytes = ImageOf({record});
    EXPECT_EQ(std::ranges::search(image, bytes).size(), bytes.size()) << record.type;
  }
  ASSERT_EQ(set(first), 0);
  EXPECT_EQ(get(), first);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kFull), 0);
}

// What is wanted is room for all that Xen could save of all vcpus.
TEST_F(HypervisorHvmContextTest, WantsRoomForAllThatThereCanBe) {
  Bytes none;
  EXPECT_EQ(Get(none), 0);
  EXPECT_EQ(none.size(), 7392u);  // as Xen 4.17 says of two
  Bytes too_small(none.size() - 1);
  EXPECT_EQ(Get(too_small), -kENOSPC);
  EXPECT_EQ(Get(none), 0);
  // A header says at how many kHz a guest's TSC runs.
  ASSERT_EQ(Set(ListOf({})), 0);
  Bytes image = Image();
  const std::uint32_t khz = 12345;
  std::memcpy(&image[8 + 20], &khz, sizeof(khz));
  ASSERT_EQ(Set(image), 0);
  EXPECT_EQ(Image(), image);
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_gettscinfo, kHvm, op), 0);
  EXPECT_EQ(op.u.tsc_info.gtsc_khz, khz);
  ASSERT_EQ(Set(ListOf({})), 0);
  EXPECT_EQ(Image(), image);
}

// Xen 4.19 looks at a whole list before it loads any of it, at some records more closely.
TEST(HypervisorHvmReleaseTest, LooksAtAListBeforeItIsLoaded) {
  TestMachine machine({.release = schema::kSince4_19 & ~schema::kSince4_20});
  constexpr std::uint16_t kGuest = 3;
  const auto domctl = [&](std::uint32_t cmd, xen_domctl_t& op) {
    op.cmd = cmd;
    op.interface_version = 0x17;
    op.domain = kGuest;
    return machine.Call(__HYPERVISOR_domctl, &op);
  };
  xen_domctl_t op = TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1);
  // That has got a word more, in front of this one.
  std::uint32_t* const moved = &op.u.createdomain.vmtrace_size;
  std::memmove(moved + 1, moved, 4 * sizeof(*moved));
  ASSERT_EQ(domctl(XEN_DOMCTL_createdomain, op), 0);
  op = {};
  op.u.max_vcpus.max = 1;
  ASSERT_EQ(domctl(XEN_DOMCTL_max_vcpus, op), 0);
  const Record good = RecordOf(sizeof(__HVM_SAVE_TYPE_TSC_ADJUST::c), 0, hvm_tsc_adjust{7});
  const auto is_loaded = [&] {
    Bytes contents(8);
    op = {};
    op.u.hvmcontext_partial.type = good.type;
    op.u.hvmcontext_partial.bufsz = contents.size();
    op.u.hvmcontext_partial.buffer.p = contents.data();
    EXPECT_EQ(domctl(XEN_DOMCTL_gethvmcontext_partial, op), 0);
    return contents == good.contents;
  };
  const auto set = [&](Bytes image) {
    op = {};
    op.u.hvmcontext.size = static_cast<std::uint32_t>(image.size());
    op.u.hvmcontext.buffer.p = image.data();
    return domctl(XEN_DOMCTL_sethvmcontext, op);
  };
  const hvm_save_header header = {HVM_FILE_MAGIC, HVM_FILE_VERSION, 0, 0, 0};
  const auto list = [&](const Record& other) {
    return ImageOf({RecordOf(1, 0, header), good, other, {0, 0, {}}});
  };
  const auto type = [](std::size_t number) { return static_cast<std::uint16_t>(number); };
  Bytes extended(32);
  extended[1] = 4;
  const struct {
    Record record;
    std::int64_t answer;
  } kWrong[] = {
      {{type(HVM_SAVE_CODE_MAX + 1), 0, {}}, -kEINVAL},
      {{type(sizeof(__HVM_SAVE_TYPE_LAPIC::c)), 0, extended}, -kEINVAL},
      {{type(sizeof(__HVM_SAVE_TYPE_LAPIC::c)), 0, Bytes(33)}, -kENODATA},
      {{type(sizeof(__HVM_SAVE_TYPE_LAPIC::c)), 1, Bytes(32)}, -kEINVAL},
      {{type(sizeof(__HVM_SAVE_TYPE_LAPIC_REGS::c)), 0, Bytes(1023)}, -kENODATA},
      {{type(sizeof(__HVM_SAVE_TYPE_PCI_LINK::c)), 0, Bytes(7)}, -kENODATA},
      {{type(sizeof(__HVM_SAVE_TYPE_PCI_LINK::c)), 0, Bytes(8, 16)}, -kEINVAL},
      {{type(sizeof(__HVM_SAVE_TYPE_PIC::c)), 0, Bytes(8)}, -kENODEV},
      {{type(sizeof(__HVM_SAVE_TYPE_PIT::c)), 0, Bytes(56)}, -kENODEV},
  };
  for (const auto& [record, answer] : kWrong) {
    EXPECT_EQ(set(list(record)), answer) << record.type;
    EXPECT_FALSE(is_loaded());
  }
  Bytes no_end = list(good);
  no_end.resize(no_end.size() - 1);
  EXPECT_EQ(set(no_end), -kENODATA);
  no_end.resize(no_end.size() - 8);
  EXPECT_EQ(set(no_end), -kENODATA);
  EXPECT_FALSE(is_loaded());
  // What only loading finds comes too late.
  EXPECT_EQ(set(list({type(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c)), 0, Bytes(33)})), -kEPERM);
  EXPECT_TRUE(is_loaded());
}

// Registers in a domain of the other order.
TEST(HypervisorHvmCpuTest, IsInItsDomainsOrder) {
  Domain domain;
  domain.order = Opposite(kNativeOrder);
  Vcpu vcpu;
  vcpu.domain = &domain;
  HvmVcpu state;
  const hvm_hw_cpu cpu = SaneCpu();
  Bytes swapped = RecordOf(sizeof(__HVM_SAVE_TYPE_CPU::c), 0, cpu).contents;
  const auto turn = [&](std::size_t first, std::size_t end, std::size_t word) {
    for (; first < end; first += word) {
      std::reverse(&swapped[first], &swapped[first] + word);
    }
  };
  turn(512, 736, 8);
  turn(736, 808, 4);
  turn(808, 888, 8);
  turn(888, 920, 4);
  turn(920, 1016, 8);
  turn(1016, 1032, 4);
  class : public Machine {
  } nowhere;
  const auto core = std::make_unique<Core>(MachineConfig{}, nowhere);
  ASSERT_EQ(LoadCpu(*core, vcpu, state, swapped), 0);
  EXPECT_EQ(state.cpu.cr3, cpu.cr3);
  EXPECT_EQ(state.user_regs.r11, cpu.r11);
  EXPECT_EQ(state.cpu.error_code, cpu.error_code);
  Bytes saved(swapped.size());
  SaveCpu(vcpu, state, saved.data());
  EXPECT_EQ(saved, swapped);
}

TEST_F(HypervisorHvmContextTest, RecordsThatThereAreNot) {
  xen_domctl_t op = {};
  Bytes room(2000);
  xen_domctl_hvmcontext_partial& part = op.u.hvmcontext_partial;
  part.bufsz = room.size();
  part.buffer.p = room.data();
  const struct {
    std::uint32_t type;
    std::uint32_t instance;
    std::int64_t answer;
  } kMissing[] = {
      {0, 0, -kEINVAL},                                // the end
      {1, 0, -kEINVAL},                                // the header
      {sizeof(__HVM_SAVE_TYPE_CPU::c), 0, -kENODATA},  // of a vcpu that is not up
      {sizeof(__HVM_SAVE_TYPE_CPU::c), kVcpus - 1, -kENODATA},
      {sizeof(__HVM_SAVE_TYPE_CPU::c), kVcpus, -kENOENT},  // of one that there is not
      {sizeof(__HVM_SAVE_TYPE_LAPIC::c), kVcpus, -kENOENT},
      {sizeof(__HVM_SAVE_TYPE_PIC::c), 0, -kENOENT},
      {sizeof(__HVM_SAVE_TYPE_PCI_IRQ::c), 1, -kENOENT},
      {sizeof(__HVM_SAVE_TYPE_VIRIDIAN_DOMAIN::c), 0, -kENOENT},
      {CPU_XSAVE_CODE, 0, -kENODATA},
      {CPU_XSAVE_CODE, kVcpus, -kENOENT},
      {sizeof(__HVM_SAVE_TYPE_VIRIDIAN_VCPU::c), 0, -kENODATA},
      {CPU_MSR_CODE, 0, -kENODATA},
      {CPU_MSR_CODE, kVcpus, -kENOENT},
      {HVM_SAVE_CODE_MAX + 1, 0, -kEINVAL},
  };
  for (const auto& [type, instance, answer] : kMissing) {
    part.type = type;
    part.instance = instance;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, kHvm, op), answer) << type;
    EXPECT_EQ(part.bufsz, room.size());
  }
  EXPECT_EQ(room, Bytes(room.size()));
  for (const std::uint16_t domain : {std::uint16_t{0}, kPv}) {
    part.type = sizeof(__HVM_SAVE_TYPE_MTRR::c);
    part.instance = 0;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext_partial, domain, op), -kEINVAL);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, domain, op), -kEINVAL);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_sethvmcontext, domain, op), -kEINVAL);
  }
}

// What gethvmcontext gives of a domain with as many vcpus as there can be, sethvmcontext takes.
TEST_F(HypervisorHvmContextTest, IsTakenBackOfAllVcpusThatThereCanBe) {
  constexpr std::uint16_t kLarge = 9;
  constexpr unsigned kMostVcpus = 128;
  ASSERT_EQ(machine.CreateDomain(kLarge, 1, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, kMostVcpus),
            kLarge);
  for (unsigned i = 0; i < kMostVcpus; ++i) {
    vcpu_guest_context_t context = {};
    context.user_regs.rip = 0x1000 + i;
    context.user_regs.rflags = 2;
    context.flags = VGCF_online;
    xen_domctl_t set = {};
    set.u.vcpucontext.vcpu = i;
    set.u.vcpucontext.ctxt.p = &context;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kLarge, set), 0);
  }
  const auto get = [&] {
    xen_domctl_t op = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kLarge, op), 0);
    std::vector<std::uint8_t> image(op.u.hvmcontext.size);
    op.u.hvmcontext.buffer.p = image.data();
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_gethvmcontext, kLarge, op), 0);
    image.resize(op.u.hvmcontext.size);
    return image;
  };
  const auto set = [&](std::vector<std::uint8_t>& image) {
    xen_domctl_t op = {};
    op.u.hvmcontext.size = static_cast<std::uint32_t>(image.size());
    op.u.hvmcontext.buffer.p = image.data();
    return machine.Domctl(XEN_DOMCTL_sethvmcontext, kLarge, op);
  };
  const auto overhead = [&] {
    return Books::StatisticsOf(machine.hypervisor, kLarge).overhead_pages;
  };
  std::vector<std::uint8_t> image = get();
  EXPECT_GT(image.size(), kMostVcpus * (1032u + 1024u));
  const std::uint64_t before = overhead();
  ASSERT_EQ(set(image), 0);
  EXPECT_EQ(get(), image);

  // It costs a page, for what vcpus share: theirs have come with their contexts.
  EXPECT_EQ(overhead(), before + 1);
  // The longest that is read at all, and one byte more.
  std::vector<std::uint8_t> wrong(std::size_t{4} << 20);
  EXPECT_EQ(set(wrong), -kENODATA);
  wrong.push_back(0);
  EXPECT_EQ(set(wrong), -kENOMEM);
  EXPECT_EQ(get(), image);
  EXPECT_EQ(overhead(), before + 1);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kLarge), 0);
}

}  // namespace
}  // namespace xencomm::hypervisor
