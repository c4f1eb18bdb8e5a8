// A user program's first instruction. The kernel has set the stack; r3 is the argument.

#include "tests/qemu/powerpc/assembly.inc"

  .section .head, "ax"
  .global _start
_start:
  load_address r2, toc_base
  ld r2, 0(r2)
  bl UserStart
  nop
  b .

  define_toc_base

  .section .note.GNU-stack, "", %progbits
