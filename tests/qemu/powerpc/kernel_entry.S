// The kernel's start and its system call entry, for both PowerPC machines.
//
// The image begins with interrupt vectors at guest-physical 0. powernv9 delivers a guest's
// interrupts there, in guest real mode; on mac99 the hypervisor's vectors lie at physical 0 and
// enter KERNEL_ENTRY directly.

#include "tests/qemu/powerpc/assembly.inc"
#include "tests/qemu/runtime/platform_call.h"

// Offsets in UserContext (user_context.h).
#define CONTEXT_PC 256
#define CONTEXT_MSR 264
#define CONTEXT_LR 272
#define CONTEXT_CTR 280
#define CONTEXT_CR 288
#define CONTEXT_XER 296

  .machine "power9"
  .section .head, "ax"
  .global _start
vectors:

// Tells the hypervisor, which ends the run.
.macro crash_vector offset
  .org vectors + \offset
  li r3, PLATFORM_CRASH
  li r4, \offset
  mfsrr0 r5
  mfsrr1 r6
  mfdar r7
  sc 1
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

// Decrementer: nobody waits for it; 0x7fffffff is as far away as it goes.
  .org vectors + 0x900
  mtsprg 0, r3
  lis r3, 0x7fff
  mtdec r3
  mfsprg r3, 0
  rfid

  crash_vector 0xa00

// System call: on to KERNEL_ENTRY with translation.
  .org vectors + 0xc00
  mfsrr0 r11
  mfsrr1 r12
  li r10, KERNEL_ENTRY
  mtsrr0 r10
  mfmsr r10
  ori r10, r10, MSR_IR | MSR_DR
  mtsrr1 r10
  rfid

  crash_vector 0xd00
  crash_vector 0xf00
  crash_vector 0xf20
  crash_vector 0xf40
  crash_vector 0xf60
  crash_vector 0xf80
  crash_vector 0x1700

// A system call; the user's program counter in r11, its machine state in r12.
  .org vectors + KERNEL_ENTRY
  load_address r10, current_context
  ld r10, 0(r10)
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, \
    28, 29, 30, 31
  std r\n, \n * 8(r10)
.endr
  std r11, CONTEXT_PC(r10)
  std r12, CONTEXT_MSR(r10)
  mflr r3
  mfctr r4
  mfcr r5
  mfxer r6
  std r3, CONTEXT_LR(r10)
  std r4, CONTEXT_CTR(r10)
  std r5, CONTEXT_CR(r10)
  std r6, CONTEXT_XER(r10)
  enter_cxx kernel_stack_top
  bl HandleSystemCall
  nop

// r3: the context to go on with.
Resume:
  load_address r4, current_context
  std r3, 0(r4)
  mr r31, r3
  ld r3, CONTEXT_PC(r31)
  ld r4, CONTEXT_MSR(r31)
  ld r5, CONTEXT_LR(r31)
  ld r6, CONTEXT_CTR(r31)
  ld r7, CONTEXT_CR(r31)
  ld r8, CONTEXT_XER(r31)
  mtlr r5
  mtctr r6
  mtcr r7
  mtxer r8
  mtsrr0 r3
  mtsrr1 r4
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, \
    25, 26, 27, 28, 29, 30, 31
  ld r\n, \n * 8(r31)
.endr
  rfid

// The first instruction: memory size in r3, options in r4.
  .org vectors + KERNEL_START
_start:
  enter_cxx kernel_stack_top
  bl KernelMain
  nop
  b Resume

// void TurnTranslationOnAssembly()
  cxx_function TurnTranslationOnAssembly
  mflr r3
  mtsrr0 r3
  mfmsr r4
  ori r4, r4, MSR_IR | MSR_DR
  mtsrr1 r4
  rfid

  define_toc_base

  .section .bss
  .balign 4096
current_context:
  .space 4096
  .space 0x10000
kernel_stack_top:

  .section .note.GNU-stack, "", %progbits
