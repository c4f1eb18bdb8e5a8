// The first C++ of every user program, and its text output.

#include <stddef.h>

#include "tests/qemu/runtime/print.h"
#include "tests/qemu/runtime/startup.h"
#include "tests/qemu/user/machine.h"

namespace qemu {
namespace {

// A line at a time: one system call for each.
char line[256];
size_t line_length;

}  // namespace

void PutChar(char c) {
  line[line_length++] = c;
  if (c != '\n' && line_length < sizeof(line)) return;
  SystemCall(kSysWrite, reinterpret_cast<uint64_t>(line), line_length);
  line_length = 0;
}

uint64_t InstructionsOf(uint64_t ticks) {
  constexpr uint64_t kSample = 1000000;
  static uint64_t sample_ticks = 0;
  if (sample_ticks == 0) {
    const uint64_t start = Ticks();
    Spin(kSample);
    sample_ticks = Ticks() - start;
  }
  return ticks * kSample / sample_ticks;
}

extern "C" [[noreturn]] void UserStart(uint64_t options) {
  RunConstructors();
  const bool pass = UserMain(BootOptions::Unpack(options));
  if (line_length != 0) PutChar('\n');
  SystemCall(kSysExit, pass ? 1 : 0);
  for (;;) {
  }
}

}  // namespace qemu
