// Structures of the ABI that Xen's public headers describe in words only.
//
// They are read by the generator together with the headers, and are rows of the layout like all
// others.
#ifndef HCALL_SCHEMA_ABI_H_
#define HCALL_SCHEMA_ABI_H_

#include <cstdint>

// An entry of a memory map, as BIOS interrupt 0x15, function 0xE820 gives it: xen/memory.h,
// XENMEM_memory_map. Twenty bytes, so that every second one is not aligned.
struct e820_entry {
  std::uint64_t addr;
  std::uint64_t size;
  std::uint32_t type;
} __attribute__((packed));

#endif  // HCALL_SCHEMA_ABI_H_
