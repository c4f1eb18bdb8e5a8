// From 32-bit protected mode without paging to 64-bit mode, as the hypervisor (entered by QEMU's PVH
// loader) and the kernel (entered by the hypervisor) both begin. Assembly only.
// Sources: Intel SDM volume 3A, 9.8.5 and 4.5; AMD APM volume 2, 14.

#ifndef TESTS_QEMU_X86_64_LONG_MODE_H_
#define TESTS_QEMU_X86_64_LONG_MODE_H_

#define CR0_PE (1 << 0)
#define CR0_WP (1 << 16)
#define CR0_PG (1 << 31)
#define CR4_PAE (1 << 5)
#define CR4_LA57 (1 << 12)
#define MSR_EFER 0xc0000080
#define EFER_SCE (1 << 0)
#define EFER_LME (1 << 8)
#define EFER_NXE (1 << 11)
#define CPUID_FEATURES 7
#define CPUID_7_ECX_LA57 (1 << 16)

#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10

// Maps addresses 0 to 4 GiB to themselves, with five levels where the processor has them. Keeps
// esi, edi and ebp; ends in 64-bit code on the stack `stack_top`.
.macro enter_long_mode stack_top
  .code32
  movl $boot_pdpt + 3, boot_pml4
  movl $boot_pml4 + 3, boot_pml5
  movl $0x00000083, boot_pdpt
  movl $0x40000083, boot_pdpt + 8
  movl $0x80000083, boot_pdpt + 16
  movl $0xc0000083, boot_pdpt + 24

  movl $CPUID_FEATURES, %eax
  xorl %ecx, %ecx
  cpuid
  movl $boot_pml4, %edx
  movl %cr4, %eax
  orl $CR4_PAE, %eax
  testl $CPUID_7_ECX_LA57, %ecx
  jz 1f
  orl $CR4_LA57, %eax
  movl $boot_pml5, %edx
1:
  movl %eax, %cr4
  movl %edx, %cr3

  movl $MSR_EFER, %ecx
  rdmsr
  orl $(EFER_SCE | EFER_LME | EFER_NXE), %eax
  wrmsr

  movl $(CR0_PG | CR0_WP | CR0_PE), %eax
  movl %eax, %cr0
  lgdt boot_gdt_pointer
  ljmp $CODE_SELECTOR, $2f
  .code64
2:
  movl $DATA_SELECTOR, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movq $\stack_top, %rsp
.endm

// What enter_long_mode refers to.
.macro define_long_mode_data
  .section .rodata
  .balign 8
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff  // code: 64-bit, present, ring 0
  .quad 0x00cf93000000ffff  // data: writable, present, ring 0
boot_gdt_pointer:
  .word . - boot_gdt - 1
  .long boot_gdt

  .section .bss
  .balign 4096
boot_pml5:
  .space 4096
boot_pml4:
  .space 4096
boot_pdpt:
  .space 4096
.endm

#endif  // TESTS_QEMU_X86_64_LONG_MODE_H_
