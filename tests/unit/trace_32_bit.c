// A program of 32 bits, which needs no library: it ends.
void _start(void);
void _start(void) { __asm__ volatile("int $0x80" : : "a"(1), "b"(0)); }
