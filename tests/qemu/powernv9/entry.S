// powernv9: the machine's first instruction, in hypervisor real mode and always big-endian.
//
// A little-endian image turns the processor to itself: its first instructions are stored the other
// way round. HID0[HILE] makes the interrupts that arrive in hypervisor state little-endian too
// (POWER9 Processor User's Manual, "HID0", bit 4).

#include "tests/qemu/powerpc/assembly.inc"

#define HID0_HILE_SHIFT 59

  .machine "power9"
  .section .head, "ax"
  .global _start
_start:
#ifdef __LITTLE_ENDIAN__
.macro big_endian instruction
  .long ((\instruction >> 24) & 0xff) | ((\instruction >> 8) & 0xff00) | \
      ((\instruction & 0xff00) << 8) | ((\instruction & 0xff) << 24)
.endm
  big_endian 0x7d6000a6  // mfmsr r11
  big_endian 0x616b0001  // ori r11, r11, MSR_LE
  big_endian 0x7d7b03a6  // mtsrr1 r11
  big_endian 0x3d400040  // lis r10, 0x40: the image is linked at 0x400000
  big_endian 0x614a0040  // ori r10, r10, 0x40: the offset of `turned`
  big_endian 0x7d5a03a6  // mtsrr0 r10
  big_endian 0x4c000024  // rfid
  .org _start + 0x40
turned:
  mfspr r3, SPR_HID0
  li r4, 1
  sldi r4, r4, HID0_HILE_SHIFT
  or r3, r3, r4
  mtspr SPR_HID0, r3
  isync
#endif
  enter_cxx boot_stack_top
  bl HypervisorMain
  nop
  b .

  define_toc_base

  .section .note.GNU-stack, "", %progbits
