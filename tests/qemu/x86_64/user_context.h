// The registers of an x86-64 user program that waits in the kernel, as kernel_entry.S stores them.
//
// Convention of a system call: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9 and rbx,
// answer in rax; rcx and r11 are lost (SYSCALL keeps rip and rflags there).

#ifndef TESTS_QEMU_X86_64_USER_CONTEXT_H_
#define TESTS_QEMU_X86_64_USER_CONTEXT_H_

#include <stddef.h>
#include <stdint.h>

namespace qemu {

struct UserContext {
  uint64_t rax, rbx, rip, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, rflags, r12, r13, r14, r15;

  // A program that has not begun yet.
  void Start(uint64_t entry, uint64_t stack_top, uint64_t argument) {
    *this = {};
    rip = entry;
    rsp = stack_top;
    rdi = argument;
    rflags = 2;  // the bit that is always set; interrupts off
  }

  uint64_t number() const { return rax; }
  uint64_t argument(size_t index) const {
    const uint64_t arguments[] = {rdi, rsi, rdx, r10, r8, r9, rbx};
    return arguments[index];
  }
  void set_result(uint64_t result) { rax = result; }
};
static_assert(offsetof(UserContext, rip) == 16 && offsetof(UserContext, rsp) == 56);
static_assert(offsetof(UserContext, rflags) == 88 && offsetof(UserContext, r15) == 120);

}  // namespace qemu

#endif  // TESTS_QEMU_X86_64_USER_CONTEXT_H_
