// PowerPC registers and bits used in assembly and in C++ alike.
// Sources: Power ISA v2.07 Book III-S and v3.0B Book III ("MSR", "SRR0/SRR1", "LPCR", "Radix
// Tree Translation"); PowerPC 970FX User's Manual, chapters 2 and 4.

#ifndef TESTS_QEMU_POWERPC_REGISTERS_H_
#define TESTS_QEMU_POWERPC_REGISTERS_H_

// Machine State Register.
#define MSR_SF_SHIFT 63  // 64-bit mode
#define MSR_HV_SHIFT 60  // hypervisor state
#define MSR_PR 0x4000    // problem state
#define MSR_ME 0x1000
#define MSR_IR 0x20
#define MSR_DR 0x10
#define MSR_RI 0x2
#define MSR_LE 0x1

// Numbers of special-purpose registers that the assembler has no short name for.
#define SPR_SDR1 25
#define SPR_PIDR 48
#define SPR_HSRR0 314
#define SPR_HSRR1 315
#define SPR_LPCR 318
#define SPR_LPIDR 319
#define SPR_PTCR 464
#define SPR_HID0 1008

// Where the kernel's second half of the system call entry lies in its image: vectors end at 0x2000.
#define KERNEL_ENTRY 0x2000

// Where the kernel begins.
#define KERNEL_START 0x3000

// A stack frame that suits both ABIs: ELFv1 wants 48 bytes of header and 64 of parameter save area
// (64-bit PowerPC ELF ABI Supplement 1.9, 3.2), ELFv2 wants 32 and 64.
#define STACK_HEADER 112

#ifdef __LITTLE_ENDIAN__
#define MSR_ENDIAN MSR_LE
#else
#define MSR_ENDIAN 0
#endif

#endif  // TESTS_QEMU_POWERPC_REGISTERS_H_
