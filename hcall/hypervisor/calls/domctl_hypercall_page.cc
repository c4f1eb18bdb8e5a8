// domctl: a page of stubs by which a kernel makes its calls, one of 32 bytes for each.
//
// They are the instructions of Xen 4.17 on AMD's processors, which is what domains are told that
// they run on (base/cpu_policy.h). Whoever jumps beside them meets a breakpoint.

#include <cstring>
#include <span>

#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/memory/page_types.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kStubBytes = 32;

constexpr std::uint8_t kPv[] = {
    0x51,                 // push %rcx
    0x41, 0x53,           // push %r11
    0xb8, 0,    0, 0, 0,  // mov $number, %eax
    0x0f, 0x05,           // syscall
    0x41, 0x5b,           // pop %r11
    0x59,                 // pop %rcx
    0xc3,                 // ret
};
// It does not return: what it goes back to is on the stack.
constexpr std::uint8_t kPvIret[] = {
    0x51,                 // push %rcx
    0x41, 0x53,           // push %r11
    0x50,                 // push %rax
    0xb8, 0,    0, 0, 0,  // mov $number, %eax
    0x0f, 0x05,           // syscall
};
constexpr std::uint8_t kHvm[] = {
    0xb8, 0,    0,    0, 0,  // mov $number, %eax
    0x0f, 0x01, 0xd9,        // vmmcall
    0xc3,                    // ret
};
constexpr std::uint8_t kHvmIret[] = {
    0x0f, 0x0b,  // ud2: there is none
};

// With the number where it is moved into eax.
void Write(std::byte* at, std::span<const std::uint8_t> stub, std::uint32_t number) {
  constexpr std::uint8_t kMove = 0xb8;
  std::memcpy(at, stub.data(), stub.size());
  for (std::size_t i = 0; i < stub.size(); ++i) {
    if (stub[i] != kMove) continue;
    StoreField(at + i + 1, number, ByteOrder::kLittle);
    return;
  }
}

std::span<const std::uint8_t> StubOf(bool hvm, unsigned number) {
  if (number == __HYPERVISOR_iret) return hvm ? std::span<const std::uint8_t>(kHvmIret) : kPvIret;
  return hvm ? std::span<const std::uint8_t>(kHvm) : kPv;
}

}  // namespace

std::int64_t HypercallInitOp(DomctlCall& op) {
  Domain& target = *op.target;
  SpinGuard guard(target.lock);
  const P2mEntry page = target.p2m.Load(op.argument->u.hypercall_init.gmfn);
  if (target.dying() || page.type() != P2mType::kRam) return -kEINVAL;
  const Frame& frame = op.call.core.frames.Of(page.mfn());
  if (PageTypes::IsTable(frame)) return -kEPERM;
  std::byte* const stubs = op.call.core.frames.Bytes(page.mfn());
  constexpr int kBreakpoint = 0xcc;
  std::memset(stubs, kBreakpoint, kPageSize);
  for (unsigned i = 0; i < kPageSize / kStubBytes; ++i) {
    Write(stubs + i * kStubBytes, StubOf(target.hvm, i), i);
  }
  if (target.translated()) target.dirty_log.Mark(frame.gfn);
  return 0;
}

}  // namespace xencomm::hypervisor
