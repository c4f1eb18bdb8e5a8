// The kernel's start and its system call entry on x86-64.

#include "tests/qemu/x86_64/long_mode.inc"

#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084

// SYSCALL takes CS from the low half and SS 8 above it; SYSRET takes SS 8 and CS 16 above the high
// half, with ring 3 (AMD APM volume 3, SYSCALL and SYSRET). Selectors are loaded without a look at
// the descriptor table.
#define STAR_HIGH ((0x18 | 3) << 16 | CODE_SELECTOR)

// Guest-physical 0: memory size in edi, options in esi.
  .section .head, "ax"
  .code32
  .global _start
_start:
  cld
  enter_long_mode kernel_stack_top

  movl $MSR_STAR, %ecx
  xorl %eax, %eax
  movl $STAR_HIGH, %edx
  wrmsr
  movl $MSR_LSTAR, %ecx
  movl $SystemCallEntry, %eax
  xorl %edx, %edx
  wrmsr
  movl $MSR_SFMASK, %ecx
  movl $-1, %eax
  wrmsr

  call KernelMain

// rax: the context to go on with.
Resume:
  movq %rax, current_context
  movq %rax, %rsp
  movq 0(%rsp), %rax
  movq 8(%rsp), %rbx
  movq 16(%rsp), %rcx
  movq 24(%rsp), %rdx
  movq 32(%rsp), %rsi
  movq 40(%rsp), %rdi
  movq 48(%rsp), %rbp
  movq 64(%rsp), %r8
  movq 72(%rsp), %r9
  movq 80(%rsp), %r10
  movq 88(%rsp), %r11
  movq 96(%rsp), %r12
  movq 104(%rsp), %r13
  movq 112(%rsp), %r14
  movq 120(%rsp), %r15
  movq 56(%rsp), %rsp
  sysretq

// The user's rip in rcx, its rflags in r11. Interrupts do not exist here, so rsp may serve as a
// pointer.
SystemCallEntry:
  movq %rsp, user_stack
  movq current_context, %rsp
  movq %rax, 0(%rsp)
  movq %rbx, 8(%rsp)
  movq %rcx, 16(%rsp)
  movq %rdx, 24(%rsp)
  movq %rsi, 32(%rsp)
  movq %rdi, 40(%rsp)
  movq %rbp, 48(%rsp)
  movq %r8, 64(%rsp)
  movq %r9, 72(%rsp)
  movq %r10, 80(%rsp)
  movq %r11, 88(%rsp)
  movq %r12, 96(%rsp)
  movq %r13, 104(%rsp)
  movq %r14, 112(%rsp)
  movq %r15, 120(%rsp)
  movq user_stack, %rax
  movq %rax, 56(%rsp)
  movq $kernel_stack_top, %rsp
  call HandleSystemCall
  jmp Resume

  define_long_mode_data

  .section .bss
  .balign 4096
current_context:
  .space 8
user_stack:
  .space 4088
  .space 0x10000
kernel_stack_top:

  .section .note.GNU-stack, "", @progbits
