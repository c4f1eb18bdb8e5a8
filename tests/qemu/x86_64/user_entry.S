// A user program's first instruction. The kernel has set the stack; rdi is the argument.

  .section .head, "ax"
  .global _start
_start:
  call UserStart
  hlt

  .section .note.GNU-stack, "", @progbits
