// POWER9's radix tree (Power ISA v3.0B Book III, 5.7.10), written the same way by the hypervisor
// for its partition (guest-physical → machine) and by the kernel for its processes (effective →
// guest-physical):
//
//   52-bit address:  13 bits | 9 bits | 9 bits | 9 bits | 12 bits     4 KiB pages
//                    13 bits | 9 bits | 9 bits | 5 bits | 16 bits     64 KiB pages
//
// Entries are big-endian whatever the processor's state is.

#ifndef TESTS_QEMU_POWERNV9_RADIX_H_
#define TESTS_QEMU_POWERNV9_RADIX_H_

#include <stdint.h>

#include "xencomm/byte_order.h"

namespace qemu::radix {

inline constexpr uint64_t kValid = uint64_t{1} << 63;
inline constexpr uint64_t kLeaf = uint64_t{1} << 62;
inline constexpr uint64_t kReferenced = 0x100;
inline constexpr uint64_t kChanged = 0x80;
inline constexpr uint64_t kAddressMask = 0x00ffffffffffff00;  // of a directory's next table
inline constexpr uint64_t kPageMask = 0x01fffffffffff000;     // of a leaf's page

// The root of a partition or process table entry, without its size fields.
inline constexpr uint64_t kTreeMask = 0x0fffffffffffff00;

// Encoded access authority.
inline constexpr uint64_t kPrivileged = 8;
inline constexpr uint64_t kRead = 4;
inline constexpr uint64_t kReadWrite = 4 | 2;
inline constexpr uint64_t kExecute = 1;

// Radix tree size 52 bits (52 - 31 = 0b10101, split over two fields), and the root's bits: what
// partition and process table entries hold besides the root's address.
inline constexpr uint64_t kTreeSize = uint64_t{2} << 61 | 5 << 5;
inline constexpr unsigned kRootBits = 13;

inline constexpr uint64_t TableBytes(unsigned bits) { return uint64_t{8} << bits; }

inline uint64_t LoadEntry(const uint64_t* entry) {
  return xencomm::LoadSharedField<uint64_t>(entry, xencomm::ByteOrder::kBig);
}

inline void StoreEntry(uint64_t* entry, uint64_t value) {
  xencomm::StoreSharedField(entry, value, xencomm::ByteOrder::kBig);
}

// Maps the page at `address` to `target`. `Tables` gives memory for tables:
//   uint64_t Allocate(uint64_t bytes)    cleared and aligned to its size, as an entry names it
//   uint64_t* At(uint64_t table)         the same table for the processor that writes it
template <class Tables>
void MapPage(Tables& tables, uint64_t root, uint64_t address, uint64_t target, unsigned page_shift,
             uint64_t access) {
  const unsigned level_bits[] = {kRootBits, 9, 9, 21 - page_shift};
  uint64_t table = root;
  unsigned shift = 52;
  for (unsigned level = 0; level < 3; ++level) {
    shift -= level_bits[level];
    uint64_t* entry =
        tables.At(table) + ((address >> shift) & ((uint64_t{1} << level_bits[level]) - 1));
    uint64_t value = LoadEntry(entry);
    if ((value & kValid) == 0) {
      const unsigned next_bits = level_bits[level + 1];
      value = kValid | tables.Allocate(TableBytes(next_bits)) | next_bits;
      StoreEntry(entry, value);
    }
    table = value & kAddressMask;
  }
  uint64_t* leaf =
      tables.At(table) + ((address >> page_shift) & ((uint64_t{1} << level_bits[3]) - 1));
  StoreEntry(leaf, kValid | kLeaf | (target & kPageMask) | kReferenced | kChanged | access);
  asm volatile("ptesync" : : : "memory");
}

}  // namespace qemu::radix

#endif  // TESTS_QEMU_POWERNV9_RADIX_H_
