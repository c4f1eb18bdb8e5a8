// mac99: the machine's first instruction, in 64-bit real mode.

#include "tests/qemu/powerpc/assembly.inc"

  .section .head, "ax"
  .global _start
_start:
  enter_cxx boot_stack_top
  bl HypervisorMain
  nop
  b .

  define_toc_base

  .section .note.GNU-stack, "", %progbits
