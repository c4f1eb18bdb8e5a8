// x86-64: console on the first 16550, end of the machine by QEMU's isa-debug-exit.

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/runtime/print.h"
#include "tests/qemu/x86_64/ports.h"

namespace qemu {
namespace {

constexpr uint16_t kUart = 0x3f8;
constexpr uint16_t kUartLineStatus = kUart + 5;  // NS16550 data sheet, 8.4
constexpr uint8_t kTransmitEmpty = 0x20;
constexpr uint16_t kDebugExit = 0xf4;  // the emulator ends with 2 * value + 1
constexpr uint8_t kPass = 0x10;
constexpr uint8_t kFail = 0x11;

}  // namespace

void StartConsole() {}

void PutChar(char c) {
  while ((ReadPort8(kUartLineStatus) & kTransmitEmpty) == 0) {
  }
  WritePort8(kUart, static_cast<uint8_t>(c));
}

void Exit(bool pass) {
  WritePort8(kDebugExit, pass ? kPass : kFail);
  for (;;) {
  }
}

}  // namespace qemu
