// x86-64: the hypervisor's first instruction, its exceptions and the way into the guest.

#include "tests/qemu/x86_64/long_mode.inc"

// PVH entry (public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY): 32-bit protected mode, no paging.
  .section .note.pvh, "a", @note
  .balign 4
  .long 4, 4, 18
  .asciz "Xen"
  .long _start

  .section .head, "ax"
  .global _start
_start:
  cld
  enter_long_mode boot_stack_top
  call HypervisorMain
  hlt

  .text
// Exceptions: each stub leaves vector and error code on the stack.
.macro exception_stub vector, has_error_code
  .balign 16
.if !\has_error_code
  pushq $0
.endif
  pushq $\vector
  jmp CrashEntry
.endm

  .balign 16
  .global exception_stubs
exception_stubs:
.altmacro
.macro exception_stubs_all
  .set vector, 0
  .rept 32
    // Intel SDM volume 3A, table 6-1: these push an error code.
    .set has_error_code, (vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | \
        (vector == 21) | (vector == 29) | (vector == 30)
    exception_stub %vector, %has_error_code
    .set vector, vector + 1
  .endr
.endm
exception_stubs_all
.noaltmacro

CrashEntry:
  popq %rdi
  popq %rsi
  popq %rdx
  movq %cr2, %rcx
  cld
  andq $-16, %rsp
  call X86Crash
  hlt

// void EnterVirtualMachine(uint64_t vmcb, GeneralRegisters* registers): runs the guest until it
// needs the hypervisor. rax, rsp and rip of the guest are in the VMCB.
  .global EnterVirtualMachine
EnterVirtualMachine:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rsi
  movq %rdi, %rax
  movq 0(%rsi), %rbx
  movq 8(%rsi), %rcx
  movq 16(%rsi), %rdx
  movq 24(%rsi), %rbp
  movq 32(%rsi), %rdi
  movq 48(%rsi), %r8
  movq 56(%rsi), %r9
  movq 64(%rsi), %r10
  movq 72(%rsi), %r11
  movq 80(%rsi), %r12
  movq 88(%rsi), %r13
  movq 96(%rsi), %r14
  movq 104(%rsi), %r15
  movq 40(%rsi), %rsi
  vmrun
  pushq %rsi
  movq 8(%rsp), %rsi
  movq %rbx, 0(%rsi)
  movq %rcx, 8(%rsi)
  movq %rdx, 16(%rsi)
  movq %rbp, 24(%rsi)
  movq %rdi, 32(%rsi)
  popq 40(%rsi)
  movq %r8, 48(%rsi)
  movq %r9, 56(%rsi)
  movq %r10, 64(%rsi)
  movq %r11, 72(%rsi)
  movq %r12, 80(%rsi)
  movq %r13, 88(%rsi)
  movq %r14, 96(%rsi)
  movq %r15, 104(%rsi)
  popq %rsi
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

  define_long_mode_data

  .section .bss
  .balign 4096
  .space 0x20000
boot_stack_top:

  .section .note.GNU-stack, "", @progbits
