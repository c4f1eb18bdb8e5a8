// Text output for the three bare-metal programs (hypervisor, kernel, user).
//
// Each program supplies PutChar; everything else is built on it. Lines that the runner reads begin
// with a keyword: "CHECK ok|FAIL <name>", "FIGURE <name> <n>", "DIGEST …", "DONE PASS|FAIL".

#ifndef TESTS_QEMU_RUNTIME_PRINT_H_
#define TESTS_QEMU_RUNTIME_PRINT_H_

#include <stddef.h>
#include <stdint.h>

namespace qemu {

// Supplied by the program: one character to wherever its text goes.
void PutChar(char c);

// A number that is printed as 0x and sixteen digits at most.
struct Hex {
  uint64_t value;
};

void PrintOne(const char* text);
void PrintOne(char c);
void PrintOne(uint64_t decimal);
void PrintOne(int64_t decimal);
void PrintOne(Hex hex);

inline void PrintOne(int decimal) { PrintOne(static_cast<int64_t>(decimal)); }
inline void PrintOne(unsigned decimal) { PrintOne(static_cast<uint64_t>(decimal)); }

template <typename... Part>
void Print(Part... part) {
  (PrintOne(part), ...);
}

}  // namespace qemu

#endif  // TESTS_QEMU_RUNTIME_PRINT_H_
