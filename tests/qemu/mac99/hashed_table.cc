#include "tests/qemu/mac99/hashed_table.h"

#include <string.h>

#include <initializer_list>

#include "tests/qemu/powerpc/registers.h"

namespace qemu::hashed_table {
namespace {

// Power ISA v2.07 Book III-S, figure 28: two doublewords.
struct Entry {
  uint64_t virtual_part;
  uint64_t machine_part;
};
constexpr uint64_t kValid = 1;
constexpr uint64_t kSecondary = 2;  // H: found by the second hash
constexpr uint64_t kReferenced = 0x100;
constexpr uint64_t kChanged = 0x80;
constexpr uint64_t kMemoryCoherent = 0x10;
constexpr uint64_t kOffsetInSegment = 0x0fffffff;

constexpr unsigned kEntriesPerGroup = 8;
constexpr uint64_t kSizeCode = 4;  // SDR1 HTABSIZE: the table has 2^(18 + this) bytes
constexpr uint64_t kTableBytes = uint64_t{1} << (18 + kSizeCode);
constexpr uint64_t kGroups = kTableBytes / (kEntriesPerGroup * sizeof(Entry));

alignas(kTableBytes) Entry table[kGroups][kEntriesPerGroup];

}  // namespace

void Start() {
  memset(table, 0, sizeof(table));
  asm volatile("ptesync; mtspr %0, %1; isync"
               :
               : "i"(SPR_SDR1), "r"(reinterpret_cast<uint64_t>(&table) | kSizeCode)
               : "memory");
}

bool Enter(uint64_t vsid, uint64_t page, uint64_t machine, uint64_t protection) {
  const uint64_t virtual_address = vsid << 28 | (page & kOffsetInSegment);
  const uint64_t hash = vsid ^ ((page >> 12) & 0xffff);
  for (const uint64_t secondary : {uint64_t{0}, kSecondary}) {
    Entry* group = table[(secondary == 0 ? hash : ~hash) & (kGroups - 1)];
    for (unsigned i = 0; i < kEntriesPerGroup; ++i) {
      volatile Entry& entry = group[i];
      if ((entry.virtual_part & kValid) != 0) continue;
      entry.machine_part = machine | kReferenced | kChanged | kMemoryCoherent | protection;
      asm volatile("eieio" : : : "memory");
      entry.virtual_part = (virtual_address >> 23) << 7 | secondary | kValid;
      asm volatile("ptesync" : : : "memory");
      return true;
    }
  }
  return false;
}

}  // namespace qemu::hashed_table
