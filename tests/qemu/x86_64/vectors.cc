// x86-64: the hypervisor's interrupt descriptor table (Intel SDM volume 3A, 6.14): every exception
// ends the run.

#include "tests/qemu/hypervisor/machine.h"

namespace qemu {
namespace {

constexpr unsigned kExceptions = 32;
constexpr uint64_t kStubBytes = 16;

extern "C" const char exception_stubs[];

struct Gate {
  uint16_t offset_low;
  uint16_t selector;
  uint16_t attributes;
  uint16_t offset_middle;
  uint32_t offset_high;
  uint32_t reserved;
};
constexpr uint16_t kCodeSelector = 8;
constexpr uint16_t kPresentInterruptGate = 0x8e00;

Gate gates[kExceptions];

struct __attribute__((packed)) TablePointer {
  uint16_t limit;
  uint64_t base;
};

}  // namespace

extern "C" [[noreturn]] void X86Crash(uint64_t vector, uint64_t error_code, uint64_t rip,
                                      uint64_t cr2) {
  HandleCrash({.what = "exception in the hypervisor",
               .vector = vector,
               .pc = rip,
               .state = error_code,
               .address = cr2});
}

void InstallVectors() {
  for (unsigned i = 0; i < kExceptions; ++i) {
    const uint64_t stub = reinterpret_cast<uint64_t>(exception_stubs) + i * kStubBytes;
    gates[i] = {.offset_low = static_cast<uint16_t>(stub),
                .selector = kCodeSelector,
                .attributes = kPresentInterruptGate,
                .offset_middle = static_cast<uint16_t>(stub >> 16),
                .offset_high = static_cast<uint32_t>(stub >> 32),
                .reserved = 0};
  }
  const TablePointer pointer = {sizeof(gates) - 1, reinterpret_cast<uint64_t>(gates)};
  asm volatile("lidt %0" : : "m"(pointer));
}

}  // namespace qemu
