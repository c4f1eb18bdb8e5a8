#include "tests/qemu/kernel/frames.h"

#include <string.h>

#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/runtime/platform_call.h"
#include "tests/qemu/runtime/print.h"

namespace qemu {
namespace {

extern "C" const char image_end[];

// What the contiguous runs may use of the memory's end.
constexpr uint64_t kContiguousBytes = 24 << 20;

unsigned page_shift;
uint64_t scattered_begin;
uint64_t scattered_pages;
uint64_t scattered_step;
uint64_t scattered_used;
uint64_t contiguous_begin;
uint64_t contiguous_end;
uint64_t memory_bytes;

uint64_t CommonDivisor(uint64_t a, uint64_t b) { return b == 0 ? a : CommonDivisor(b, a % b); }

}  // namespace

unsigned PageShift() { return page_shift; }

uint64_t MemorySize() { return memory_bytes; }

void StartFrames(uint64_t memory_size, unsigned shift) {
  page_shift = shift;
  memory_bytes = memory_size;
  scattered_begin = (reinterpret_cast<uint64_t>(image_end) + PageSize() - 1) & ~(PageSize() - 1);
  contiguous_begin = memory_size - kContiguousBytes;
  contiguous_end = memory_size;
  scattered_pages = (contiguous_begin - scattered_begin) >> page_shift;
  // About two fifths of the memory from one page to the next, and every page once.
  scattered_step = scattered_pages * 2 / 5;
  while (CommonDivisor(scattered_step, scattered_pages) != 1) ++scattered_step;
}

uint64_t AllocateFrame() {
  if (scattered_used == scattered_pages) Panic("out of pages");
  const uint64_t page = scattered_used++ * scattered_step % scattered_pages;
  const uint64_t frame = scattered_begin + (page << page_shift);
  memset(KernelPointer(frame), 0, PageSize());
  return frame;
}

uint64_t AllocateContiguous(uint64_t bytes) {
  const uint64_t start = (contiguous_end - bytes) & ~(bytes - 1);
  if (start < contiguous_begin || start > contiguous_end) Panic("out of contiguous memory");
  contiguous_end = start;
  memset(KernelPointer(start), 0, bytes);
  return start;
}

void PutChar(char c) { Hypercall(PLATFORM_PUT_CHAR, static_cast<uint64_t>(c)); }

void Panic(const char* why) {
  Print("\nCRASH kernel: ", why, "\n");
  Hypercall(PLATFORM_EXIT, 0);
  for (;;) {
  }
}

}  // namespace qemu
