// The kernel's guest-physical memory: pages one by one, in an order that leaves no two neighbours
// together, and contiguous runs for what the hardware wants in one piece. Nothing is given back:
// the programs are few and short.

#ifndef TESTS_QEMU_KERNEL_FRAMES_H_
#define TESTS_QEMU_KERNEL_FRAMES_H_

#include <stdint.h>

namespace qemu {

// Bytes of a page of the kernel's translation, 4 or 64 KiB.
unsigned PageShift();
inline uint64_t PageSize() { return uint64_t{1} << PageShift(); }

// Bytes of guest-physical memory, from 0.
uint64_t MemorySize();

// Takes [end of the kernel's image, memory_size) over.
void StartFrames(uint64_t memory_size, unsigned page_shift);

// One page's guest-physical address. Cleared. Ends the run when there is none.
uint64_t AllocateFrame();

// `bytes`, a power of two, aligned to itself. Cleared.
uint64_t AllocateContiguous(uint64_t bytes);

// A guest-physical address as the kernel reaches it.
template <typename T = void>
T* KernelPointer(uint64_t guest_physical) {
  return static_cast<T*>(reinterpret_cast<void*>(guest_physical));
}

// The kernel cannot go on.
[[noreturn]] void Panic(const char* why);

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_FRAMES_H_
