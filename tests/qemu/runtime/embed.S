// The flat image of another program as data between the symbols <IMAGE_SYMBOL>_begin and _end.

#define PASTE(a, b) a##b
#define SYMBOL(a, b) PASTE(a, b)

  .section .rodata
  .balign 8
  .global SYMBOL(IMAGE_SYMBOL, _begin)
  .global SYMBOL(IMAGE_SYMBOL, _end)
SYMBOL(IMAGE_SYMBOL, _begin):
  .incbin IMAGE_FILE
SYMBOL(IMAGE_SYMBOL, _end):
  .section .note.GNU-stack, "", %progbits
