#include "tests/qemu/runtime/print.h"

namespace qemu {
namespace {

void PrintDigits(uint64_t value, unsigned base) {
  char digits[20];
  size_t count = 0;
  do {
    digits[count++] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  while (count != 0) PutChar(digits[--count]);
}

}  // namespace

void PrintOne(const char* text) {
  while (*text != '\0') PutChar(*text++);
}

void PrintOne(char c) { PutChar(c); }

void PrintOne(uint64_t decimal) { PrintDigits(decimal, 10); }

void PrintOne(int64_t decimal) {
  if (decimal < 0) PutChar('-');
  PrintDigits(
      decimal < 0 ? uint64_t{0} - static_cast<uint64_t>(decimal) : static_cast<uint64_t>(decimal),
      10);
}

void PrintOne(Hex hex) {
  PrintOne("0x");
  PrintDigits(hex.value, 16);
}

}  // namespace qemu
