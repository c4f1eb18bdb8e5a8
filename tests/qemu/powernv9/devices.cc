// powernv9: console on the 16550 behind the low pin count bus; the machine ends by the keyboard
// controller on the same bus. Its exit code is always 0: the closing line is the result.

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/powerpc/hypervisor_calls.h"
#include "tests/qemu/runtime/print.h"

namespace qemu {
namespace {

// Input/output space of the LPC bus (QEMU hw/ppc/pnv_lpc: POWER9's memory-mapped window).
constexpr uint64_t kIoSpace = 0x60300d0010000;
constexpr uint64_t kUart = kIoSpace + 0x3f8;
constexpr uint64_t kUartLineStatus = kUart + 5;  // NS16550 data sheet, 8.4
constexpr uint8_t kTransmitEmpty = 0x20;
constexpr uint64_t kKeyboardCommand = kIoSpace + 0x64;
constexpr uint8_t kPulseReset = 0xfe;  // 8042: pulses output line 0, the processor's reset

}  // namespace

void StartConsole() {}

void PutChar(char c) {
  while ((ReadDevice8(kUartLineStatus) & kTransmitEmpty) == 0) {
  }
  WriteDevice8(kUart, static_cast<uint8_t>(c));
}

void Exit(bool) {
  WriteDevice8(kKeyboardCommand, kPulseReset);
  for (;;) {
  }
}

}  // namespace qemu
