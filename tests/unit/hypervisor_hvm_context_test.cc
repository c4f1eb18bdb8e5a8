// The saved state of an HVM domain's hardware, record by record, as Xen's public headers have it
// (public/arch-x86/hvm/save.h): what it is at first, and that what was given comes back.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

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
  return context;
}

// A processor with these registers, in protected mode, with a flat code segment and a task state.
hvm_hw_cpu CpuOf(const vcpu_guest_context_t& context) {
  constexpr std::uint64_t kCr0EtAndPe = 0x11;
  const cpu_user_regs_t& r = context.user_regs;
  hvm_hw_cpu cpu = {};
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
  cpu.rflags = r.rflags | 2;
  cpu.cr0 = context.ctrlreg[0] | kCr0EtAndPe;
  cpu.cr2 = context.ctrlreg[2];
  cpu.cr3 = context.ctrlreg[3];
  cpu.cr4 = context.ctrlreg[4];
  cpu.cs_limit = 0xffffffff;
  cpu.cs_arbytes = 0xc9b;
  cpu.tr_limit = 0xff;
  cpu.tr_arbytes = 0x8b;
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
                                    .changeset = 0,
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
                    hvm_hw_lapic lapic = {};
                    lapic.apic_base_msr = i == 0 ? 0xfee00900 : 0xfee00800;
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
                    return RecordOf(sizeof(__HVM_SAVE_TYPE_VMCE_VCPU::c), i, hvm_vmce_vcpu{});
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
  // Registers that must be set are, also where none were given.
  vcpu_guest_context_t context = {};
  context.flags = VGCF_online;
  xen_domctl_t op = {};
  op.u.vcpucontext.ctxt.p = &context;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  Records records = AtFirst(kVcpus);
  records[1] = RecordOf(sizeof(__HVM_SAVE_TYPE_CPU::c), 0, CpuOf(context));
  EXPECT_EQ(Image(), ImageOf(records));
}

TEST_F(HypervisorHvmContextTest, IsHandedOutAsItWasGiven) {
  Records records = AtFirst(kVcpus);
  std::uint8_t next = 1;
  for (Record& record : std::span(records).subspan(1)) {
    for (std::uint8_t& byte : record.contents)
      byte = next = static_cast<std::uint8_t>(next * 5 + 3);
  }
  // One of a device that there is not, which may have any size.
  records.insert(records.end() - 1, {sizeof(__HVM_SAVE_TYPE_PIC::c), 0, {1, 2, 3}});
  records.insert(records.end() - 1, {HVM_SAVE_CODE_MAX, 0, {4}});
  for (unsigned i = 0; i < kVcpus; ++i) {
    xen_domctl_t op = {};
    vcpu_guest_context_t context;
    op.u.vcpucontext.vcpu = i;
    op.u.vcpucontext.ctxt.p = &context;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op), -kENODATA);
  }
  ASSERT_EQ(Set(ImageOf(records)), 0);
  EXPECT_EQ(Image(), ImageOf(records));
  ExpectParts(records);
  // Vcpus with registers are up, and can be asked for them.
  for (unsigned i = 0; i < kVcpus; ++i) {
    xen_domctl_t op = {};
    op.u.getvcpuinfo.vcpu = i;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kHvm, op), 0);
    EXPECT_EQ(op.u.getvcpuinfo.online, 1);
    op = {};
    vcpu_guest_context_t context;
    op.u.vcpucontext.vcpu = i;
    op.u.vcpucontext.ctxt.p = &context;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op), 0);
  }
}

// What is given may be more than there would be, or less; room is wanted for the larger one.
TEST_F(HypervisorHvmContextTest, WantsRoomForAllThatThereCanBe) {
  const std::size_t most = ImageOf(AtFirst(kVcpus)).size();
  const auto room = [&] {
    Bytes none;
    EXPECT_EQ(Get(none), 0);
    Bytes too_small(none.size() - 1);
    EXPECT_EQ(Get(too_small), -kENOSPC);
    return none.size();
  };
  EXPECT_EQ(room(), most);
  const Records records = AtFirst(0);
  const Bytes smaller = ImageOf({records.front(), records.back()});
  EXPECT_EQ(Set(smaller), 0);
  EXPECT_EQ(room(), most);
  EXPECT_EQ(Image(), smaller);
  // What lies behind the end is kept, too.
  Bytes larger = smaller;
  larger.resize(most + 1, 0xdd);
  EXPECT_EQ(Set(larger), 0);
  EXPECT_EQ(room(), most + 1);
  EXPECT_EQ(Image(), larger);
}

TEST_F(HypervisorHvmContextTest, IsRefusedWhenItIsNoList) {
  const Records good = AtFirst(kVcpus);
  ASSERT_EQ(good[1].type, sizeof(__HVM_SAVE_TYPE_CPU::c));
  const struct {
    const char* what;
    std::function<void(Records&)> change;
  } kWrong[] = {
      {"another magic", [](Records& r) { r[0].contents[0] ^= 1; }},
      {"another version", [](Records& r) { r[0].contents[4] ^= 1; }},
      {"a shorter header", [](Records& r) { r[0].contents.pop_back(); }},
      {"a longer header", [](Records& r) { r[0].contents.push_back(0); }},
      {"no header", [](Records& r) { r.erase(r.begin()); }},
      {"a header of another type", [](Records& r) { r[0].type = sizeof(__HVM_SAVE_TYPE_PIC::c); }},
      {"an end in front", [](Records& r) { r.insert(r.begin(), Record{}); }},
      {"no end", [](Records& r) { r.pop_back(); }},
      {"a type that there is not", [](Records& r) { r[2].type = HVM_SAVE_CODE_MAX + 1; }},
      {"registers, one byte short", [](Records& r) { r[1].contents.pop_back(); }},
      {"registers, one byte more", [](Records& r) { r[1].contents.push_back(0); }},
      {"registers of a vcpu that there is not", [](Records& r) { r[2].instance = kVcpus; }},
  };
  for (const auto& [what, change] : kWrong) {
    Records wrong = good;
    change(wrong);
    EXPECT_EQ(Set(ImageOf(wrong)), -kEINVAL) << what;
  }
  // Cut off anywhere.
  const Bytes image = ImageOf(good);
  for (std::size_t bytes = 0; bytes < image.size(); bytes += bytes < 50 ? 1 : 7) {
    EXPECT_EQ(Set({image.begin(), image.begin() + static_cast<std::ptrdiff_t>(bytes)}),
              bytes < 8 + sizeof(hvm_save_header) ? -kENODATA : -kEINVAL)
        << bytes;
  }
  // None was taken, and no vcpu is up.
  EXPECT_EQ(Image(), ImageOf(AtFirst(0)));
  EXPECT_EQ(Set(image), 0);
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

  // It costs what it takes, a power of two, and a page; one that replaces it costs no more.
  EXPECT_EQ(overhead(), before + 1 + std::bit_ceil((image.size() + 4095) / 4096));
  ASSERT_EQ(set(image), 0);
  EXPECT_EQ(get(), image);
  EXPECT_EQ(overhead(), before + 1 + std::bit_ceil((image.size() + 4095) / 4096));

  // One that is refused changes nothing.
  std::vector<std::uint8_t> wrong = image;
  wrong.resize(wrong.size() - 1000);
  EXPECT_EQ(set(wrong), -kEINVAL);
  EXPECT_EQ(get(), image);
  // The longest that is read at all, and one byte more.
  wrong.assign(std::size_t{4} << 20, 0);
  EXPECT_EQ(set(wrong), -kEINVAL);
  wrong.push_back(0);
  EXPECT_EQ(set(wrong), -kENOMEM);
  EXPECT_EQ(get(), image);
  EXPECT_EQ(overhead(), before + 1 + std::bit_ceil((image.size() + 4095) / 4096));
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kLarge), 0);
}

}  // namespace
}  // namespace xencomm::hypervisor
