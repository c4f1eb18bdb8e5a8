// x86-64 page tables, 4 or 5 levels of 512 entries, 4 KiB pages (Intel SDM volume 3A, 4.5), written
// the same way by the hypervisor for its second stage (AMD APM volume 2, 15.25: the same format)
// and by the kernel for its processes. Read by the processor and, in the hypervisor, by the
// library's page walk.

#ifndef TESTS_QEMU_X86_64_PAGE_TABLES_H_
#define TESTS_QEMU_X86_64_PAGE_TABLES_H_

#include <stdint.h>

namespace qemu::page_tables {

inline constexpr uint64_t kPresent = 1 << 0;
inline constexpr uint64_t kWritable = 1 << 1;
inline constexpr uint64_t kUser = 1 << 2;
inline constexpr uint64_t kAddressMask = 0x000ffffffffff000;
inline constexpr uint64_t kTableBytes = 4096;

// What the processor uses: 4, or 5 with CR4.LA57.
inline unsigned Levels() {
  constexpr uint64_t kLa57 = 1 << 12;
  uint64_t cr4;
  asm("mov %%cr4, %0" : "=r"(cr4));
  return (cr4 & kLa57) != 0 ? 5 : 4;
}

// Maps the 4 KiB page at `address` to `target` with `flags`. `Tables` gives memory for tables:
//   uint64_t Allocate()             cleared, as an entry names it
//   uint64_t* At(uint64_t table)    the same table for the processor that writes it
template <class Tables>
void MapPage(Tables& tables, uint64_t root, unsigned levels, uint64_t address, uint64_t target,
             uint64_t flags) {
  uint64_t table = root;
  for (unsigned level = levels; level > 1; --level) {
    uint64_t& entry = tables.At(table)[(address >> (3 + 9 * level)) & 511];
    if ((entry & kPresent) == 0) entry = tables.Allocate() | kPresent;
    // A page can do what all levels above it allow.
    entry |= flags;
    table = entry & kAddressMask;
  }
  tables.At(table)[(address >> 12) & 511] = target | kPresent | flags;
}

}  // namespace qemu::page_tables

#endif  // TESTS_QEMU_X86_64_PAGE_TABLES_H_
