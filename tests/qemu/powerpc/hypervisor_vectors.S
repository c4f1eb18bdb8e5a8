// The hypervisor's interrupt vectors and the entry of a call, for both PowerPC machines.
//
// Interrupts arrive in real mode (MSR[IR] = MSR[DR] = 0) and everything below stays there.
//
//   SHARED_VECTOR (970 on mac99): no hypervisor state exists, so the system call vector serves two
//   callers. MSR[PR] in SRR1 tells them apart: a system call of a user program is passed on to the
//   kernel's entry, translated; a call of the kernel is for the hypervisor.
//
//   Otherwise (powernv9): only `sc 1`, which sets MSR[HV], arrives here. Whether it came from the
//   kernel is for C++ to judge.
//
// A call's registers are those of arch/powerpc/hypercall_entry.h. r0, r4 to r12, CTR, XER and CR0
// are lost; they come back cleared, so that they tell nothing of the hypervisor.

#include "tests/qemu/powerpc/assembly.inc"

// HypercallRegisters (arch/powerpc/hypercall_entry.h) and what C++ does not need to see.
#define SAVED_R3 0
#define SAVED_SRR0 56
#define SAVED_SRR1 64
#define SAVED_R1 72
#define SAVED_R2 80
#define SAVED_R13 88
#define SAVED_LR 96
#define SAVED_CR 104
#define SAVED_SIZE 112

  .machine "power9"

// Copied to physical 0 by InstallVectors.
  .section .text
  .balign 4096
  .global vectors_begin
  .global vectors_end
vectors_begin:

.macro crash_vector offset
  .org vectors_begin + \offset
  li r3, \offset
  ba CrashEntry
.endm

  crash_vector 0x100
  crash_vector 0x200
  crash_vector 0x300
  crash_vector 0x380
  crash_vector 0x400
  crash_vector 0x480
  crash_vector 0x500
  crash_vector 0x600
  crash_vector 0x700
  crash_vector 0x800

// Decrementer: nobody waits for it, but problem state cannot switch it off. 0x7fffffff is as far
// away as it goes.
  .org vectors_begin + 0x900
  mtsprg 0, r3
  lis r3, 0x7fff
  mtdec r3
  mfsprg r3, 0
  rfid

  crash_vector 0x980
  crash_vector 0xa00
  crash_vector 0xb00

// System call.
  .org vectors_begin + 0xc00
#ifdef SHARED_VECTOR
  mfsrr1 r12
  andi. r10, r12, MSR_PR
  beq 1f
  mfsrr0 r11
  li r10, KERNEL_ENTRY
  mtsrr0 r10
  mfmsr r10
  ori r10, r10, MSR_IR | MSR_DR
  mtsrr1 r10
  rfid
1:
#endif
  ba CallEntry

  crash_vector 0xd00
  crash_vector 0xe00
  crash_vector 0xe20
  crash_vector 0xe40
  crash_vector 0xe60
  crash_vector 0xf00
  crash_vector 0xf20
  crash_vector 0xf40
  crash_vector 0xf60
  crash_vector 0xf80
  crash_vector 0x1300
  crash_vector 0x1500
  crash_vector 0x1700
  .org vectors_begin + 0x2000
vectors_end:

// The hypervisor does not nest and keeps nothing on its stack between calls.
CallEntry:
  mr r11, r1
  load_address r1, call_stack_top - SAVED_SIZE - STACK_HEADER
.irp n, 3, 4, 5, 6, 7, 8, 9
  std r\n, STACK_HEADER + SAVED_R3 + (\n - 3) * 8(r1)
.endr
  mfsrr0 r10
  mfsrr1 r12
  std r10, STACK_HEADER + SAVED_SRR0(r1)
  std r12, STACK_HEADER + SAVED_SRR1(r1)
  std r11, STACK_HEADER + SAVED_R1(r1)
  std r2, STACK_HEADER + SAVED_R2(r1)
  std r13, STACK_HEADER + SAVED_R13(r1)
  mflr r10
  mfcr r12
  std r10, STACK_HEADER + SAVED_LR(r1)
  std r12, STACK_HEADER + SAVED_CR(r1)
  load_address r2, toc_base
  ld r2, 0(r2)
  li r0, 0
  std r0, 0(r1)
  addi r3, r1, STACK_HEADER
  bl PowerPcGuestCall
  nop
  ld r3, STACK_HEADER + SAVED_R3(r1)
  ld r10, STACK_HEADER + SAVED_LR(r1)
  ld r12, STACK_HEADER + SAVED_CR(r1)
  mtlr r10
  mtcr r12
  ld r10, STACK_HEADER + SAVED_SRR0(r1)
  ld r12, STACK_HEADER + SAVED_SRR1(r1)
  mtsrr0 r10
  mtsrr1 r12
  ld r2, STACK_HEADER + SAVED_R2(r1)
  ld r13, STACK_HEADER + SAVED_R13(r1)
  ld r1, STACK_HEADER + SAVED_R1(r1)
  li r0, 0
.irp n, 4, 5, 6, 7, 8, 9, 10, 11, 12
  li r\n, 0
.endr
  mtctr r0
  mtxer r0
  rfid

// r3: the vector.
CrashEntry:
  enter_cxx crash_stack_top
  mfsrr0 r4
  mfsrr1 r5
#ifndef SHARED_VECTOR
  // The hypervisor's own interrupts (0x980, 0xe00 to 0xe60) save in HSRR0 and HSRR1.
  mfspr r7, SPR_HSRR0
  mfspr r8, SPR_HSRR1
#else
  li r7, 0
  li r8, 0
#endif
  mfdar r6
  bl PowerPcCrash
  nop
  b .

// void EnterGuestAssembly(uint64_t pc, uint64_t msr, uint64_t argument0, uint64_t argument1)
  cxx_function EnterGuestAssembly
  mtsrr0 r3
  mtsrr1 r4
  mr r3, r5
  mr r4, r6
  li r0, 0
.irp n, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, \
    29, 30, 31
  li r\n, 0
.endr
  rfid

  define_toc_base

  .section .bss
  .balign 4096
  .space 0x10000
call_stack_top:
  .space 0x4000
crash_stack_top:
  .space 0x10000
  .global boot_stack_top
boot_stack_top:

  .section .note.GNU-stack, "", %progbits
