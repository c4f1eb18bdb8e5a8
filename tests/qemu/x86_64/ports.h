// Input and output ports.

#ifndef TESTS_QEMU_X86_64_PORTS_H_
#define TESTS_QEMU_X86_64_PORTS_H_

#include <stdint.h>

namespace qemu {

inline uint8_t ReadPort8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

inline void WritePort8(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

}  // namespace qemu

#endif  // TESTS_QEMU_X86_64_PORTS_H_
