// mac99: console on a 16550, end of the machine by the keyboard controller (pass) or pvpanic
// (fail).

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/powerpc/hypervisor_calls.h"
#include "tests/qemu/runtime/print.h"

namespace qemu {
namespace {

// The machine's ISA input/output space, where -device isa-serial and i8042 put their registers.
constexpr uint64_t kIoSpace = 0xf2000000;
constexpr uint64_t kUart = kIoSpace + 0x3f8;
constexpr uint64_t kUartLineStatus = kUart + 5;  // NS16550 data sheet, 8.4
constexpr uint8_t kTransmitEmpty = 0x20;
constexpr uint64_t kKeyboardCommand = kIoSpace + 0x64;
constexpr uint8_t kPulseReset = 0xfe;  // 8042: pulses output line 0, the processor's reset

// Configuration space of the machine's PCI bridge (UniNorth): an address word in PCI's byte order,
// one bit for the device's slot; the data beside it.
constexpr uint64_t kConfigAddress = 0xf0800000;
constexpr uint64_t kConfigData = 0xf0c00000;
constexpr unsigned kPanicSlot = 14;
constexpr uint64_t kPanicMemory = 0x80000000;
constexpr uint8_t kPanicked = 1;  // QEMU docs/specs/pvpanic: bit 0

constexpr unsigned kPciCommand = 0x04;  // PCI Local Bus 3.0, 6.1
constexpr unsigned kPciBar0 = 0x10;
constexpr uint32_t kPciCommandMemory = 2;

// stwbrx stores in the byte order opposite to the processor's, which is PCI's.
void WriteLittleEndian32(uint64_t address, uint32_t value) {
  asm volatile("stwbrx %1, 0, %0; sync" : : "r"(address), "r"(value) : "memory");
}

void WritePanicConfig(unsigned reg, uint32_t value) {
  WriteLittleEndian32(kConfigAddress, (1u << kPanicSlot) | reg);
  WriteLittleEndian32(kConfigData + (reg & 4), value);
}

}  // namespace

void StartConsole() {}

void PutChar(char c) {
  while ((ReadDevice8(kUartLineStatus) & kTransmitEmpty) == 0) {
  }
  WriteDevice8(kUart, static_cast<uint8_t>(c));
}

void Exit(bool pass) {
  if (pass) {
    WriteDevice8(kKeyboardCommand, kPulseReset);
  } else {
    WritePanicConfig(kPciBar0, kPanicMemory);
    WritePanicConfig(kPciCommand, kPciCommandMemory);
    WriteDevice8(kPanicMemory, kPanicked);
  }
  for (;;) {
  }
}

}  // namespace qemu
