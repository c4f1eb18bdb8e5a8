// x86-64: the kernel and its user programs run as a virtual machine (AMD APM volume 2, chapter 15),
// so that no address of theirs means anything in the hypervisor's page tables.
//
//   user program ── syscall ──> kernel ── vmmcall ──> hypervisor
//
// Every exception of the guest ends the run: its kernel needs none.

#include <stddef.h>

#include <new>

#include "arch/x86_64/page_walk.h"
#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/x86_64/second_stage.h"

namespace qemu {
namespace {

using xencomm::hypervisor::DomainMemory;

// Virtual machine control block (AMD APM volume 2, appendix B), the fields used here.
struct Segment {
  uint16_t selector;
  uint16_t attributes;
  uint32_t limit;
  uint64_t base;
};

struct alignas(4096) ControlBlock {
  uint8_t unused_000[8];
  uint32_t intercept_exceptions;
  uint32_t intercept_misc1;
  uint32_t intercept_misc2;
  uint8_t unused_014[0x58 - 0x14];
  uint32_t address_space_id;
  uint8_t unused_05c[0x70 - 0x5c];
  uint64_t exit_code;
  uint64_t exit_info1;
  uint64_t exit_info2;
  uint8_t unused_088[8];
  uint64_t nested_paging;
  uint8_t unused_098[0xb0 - 0x98];
  uint64_t nested_cr3;
  uint8_t unused_0b8[0x400 - 0xb8];
  Segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
  uint8_t unused_4a0[0x4cb - 0x4a0];
  uint8_t cpl;
  uint8_t unused_4cc[4];
  uint64_t efer;
  uint8_t unused_4d8[0x548 - 0x4d8];
  uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
  uint8_t unused_580[0x5d8 - 0x580];
  uint64_t rsp;
  uint8_t unused_5e0[0x5f8 - 0x5e0];
  uint64_t rax;
  uint8_t unused_600[0x668 - 0x600];
  uint64_t pat;
  uint8_t unused_670[0x1000 - 0x670];
};
static_assert(offsetof(ControlBlock, address_space_id) == 0x58);
static_assert(offsetof(ControlBlock, exit_code) == 0x70);
static_assert(offsetof(ControlBlock, nested_cr3) == 0xb0);
static_assert(offsetof(ControlBlock, cpl) == 0x4cb && offsetof(ControlBlock, efer) == 0x4d0);
static_assert(offsetof(ControlBlock, rip) == 0x578 && offsetof(ControlBlock, rsp) == 0x5d8);
static_assert(offsetof(ControlBlock, rax) == 0x5f8 && offsetof(ControlBlock, pat) == 0x668);
static_assert(sizeof(ControlBlock) == 4096);

constexpr uint32_t kInterceptHlt = 1u << 24;
constexpr uint32_t kInterceptInvlpga = 1u << 26;
constexpr uint32_t kInterceptShutdown = 1u << 31;
// VMRUN (which must be), VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT.
constexpr uint32_t kInterceptSvm = 0x7f;

// Exit codes (AMD APM volume 2, appendix C).
constexpr uint64_t kExitException = 0x40;
constexpr uint64_t kExitVmmcall = 0x81;
constexpr uint64_t kExitNestedPageFault = 0x400;
constexpr uint64_t kVmmcallLength = 3;

constexpr uint32_t kMsrEfer = 0xc0000080;
constexpr uint32_t kMsrHostSave = 0xc0010117;  // VM_HSAVE_PA
constexpr uint64_t kEferSvme = 1 << 12;

// A segment's attributes in the VMCB: descriptor bits 40–47 and 52–55 in twelve bits.
constexpr uint16_t kFlatCode32 = 0xc9b;
constexpr uint16_t kFlatData = 0xc93;
constexpr uint64_t kPatAtReset = 0x0007040600070406;
constexpr uint64_t kProtectedMode = 1;  // CR0.PE
constexpr uint64_t kRflagsFixed = 2;

// As EnterVirtualMachine (entry.S) loads and stores them.
struct GeneralRegisters {
  uint64_t rbx, rcx, rdx, rbp, rdi, rsi, r8, r9, r10, r11, r12, r13, r14, r15;
};
static_assert(offsetof(GeneralRegisters, rsi) == 40 && offsetof(GeneralRegisters, r15) == 104);

extern "C" void EnterVirtualMachine(uint64_t vmcb, GeneralRegisters* registers);

// Where the kernel's image begins (kernel_entry.S): its 32-bit entry.
constexpr uint64_t kKernelStart = 0;

ControlBlock vmcb;
alignas(4096) uint8_t host_save[4096];

uint64_t ReadMsr(uint32_t msr) {
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return uint64_t{high} << 32 | low;
}

void WriteMsr(uint32_t msr, uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(msr), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)));
}

void Serve(GeneralRegisters& registers) {
  arch::HypercallRegisters call = {.rax = vmcb.rax,
                                   .rdi = registers.rdi,
                                   .rsi = registers.rsi,
                                   .rdx = registers.rdx,
                                   .r10 = registers.r10,
                                   .r8 = registers.r8,
                                   .r9 = registers.r9,
                                   .cpl = vmcb.cpl};
  HandleGuestCall(call);
  vmcb.rax = call.rax;
  vmcb.rip += kVmmcallLength;
}

}  // namespace

const xencomm::hypervisor::SpaceKind kNativeSpace = xencomm::hypervisor::SpaceKind::kRaw;

// The walk that the processor itself would make for the user program.
RawSpace::RawSpace(DomainMemory& memory) {
  using Walk = xencomm::SpaceOver<xencomm::x86_64::PageWalk<DomainMemory>, DomainMemory>;
  static_assert(sizeof(Walk) <= sizeof(storage_));
  const xencomm::x86_64::PagingState state = {
      .cr0 = vmcb.cr0, .cr3 = vmcb.cr3, .cr4 = vmcb.cr4, .efer = vmcb.efer, .rflags = vmcb.rflags};
  space_ = new (storage_) Walk(xencomm::x86_64::PageWalk(memory, state), memory);
}

void RunGuest(uint64_t memory_size, uint64_t options) {
  WriteMsr(kMsrEfer, ReadMsr(kMsrEfer) | kEferSvme);
  WriteMsr(kMsrHostSave, reinterpret_cast<uint64_t>(host_save));

  vmcb.intercept_exceptions = ~0u;
  vmcb.intercept_misc1 = kInterceptHlt | kInterceptInvlpga | kInterceptShutdown;
  vmcb.intercept_misc2 = kInterceptSvm;
  vmcb.address_space_id = 1;
  vmcb.nested_paging = 1;
  vmcb.nested_cr3 = SecondStageRoot();
  vmcb.cs = {.selector = 8, .attributes = kFlatCode32, .limit = ~0u, .base = 0};
  vmcb.ss = {.selector = 16, .attributes = kFlatData, .limit = ~0u, .base = 0};
  vmcb.es = vmcb.ds = vmcb.fs = vmcb.gs = vmcb.ss;
  vmcb.efer = kEferSvme;
  vmcb.cr0 = kProtectedMode;
  vmcb.rflags = kRflagsFixed;
  vmcb.pat = kPatAtReset;
  vmcb.rip = kKernelStart;

  GeneralRegisters registers = {};
  registers.rdi = memory_size;
  registers.rsi = options;
  for (;;) {
    EnterVirtualMachine(reinterpret_cast<uint64_t>(&vmcb), &registers);
    if (vmcb.exit_code == kExitVmmcall) {
      Serve(registers);
      continue;
    }
    HandleCrash({.what = vmcb.exit_code == kExitNestedPageFault ? "guest outside its memory"
                         : vmcb.exit_code < kExitException + 32 ? "exception in the guest"
                                                                : "unexpected exit of the guest",
                 .vector = vmcb.exit_code,
                 .pc = vmcb.rip,
                 .state = vmcb.exit_info1,
                 .address = vmcb.exit_info2});
  }
}

int64_t HandleMachineCall(uint64_t, const uint64_t (&)[arch::HypercallRegisters::kArguments]) {
  return -xencomm::hypervisor::kENOSYS;
}

}  // namespace qemu
