// powernv9: the second stage is the partition-scoped radix tree of partition 1 (partition 0 is the
// hypervisor's own number and refused outside its state). Outside hypervisor state every
// guest-physical address goes through it, translation on or off.

#include "tests/qemu/powernv9/second_stage.h"

#include <string.h>

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/powernv9/radix.h"
#include "tests/qemu/powerpc/registers.h"

namespace qemu {
namespace {

// Table memory between the hypervisor's image and the domains' pool, in real mode and therefore
// used where it lies.
constexpr uint64_t kTablesBegin = 0x02000000;

class HypervisorTables {
 public:
  uint64_t Allocate(uint64_t bytes) {
    next_ = (next_ + bytes - 1) & ~(bytes - 1);
    const uint64_t table = next_;
    next_ += bytes;
    if (next_ > kPoolBegin) HandleCrash({.what = "no memory for the second stage"});
    memset(At(table), 0, bytes);
    return table;
  }

  uint64_t* At(uint64_t table) { return reinterpret_cast<uint64_t*>(table); }

 private:
  uint64_t next_ = kTablesBegin;
};

HypervisorTables tables;
uint64_t root;

// 2^(12 + 4) bytes of 16-byte entries (Power ISA v3.0B Book III, 5.7.6.1), two words each.
constexpr uint64_t kPartitionTableSizeCode = 4;
constexpr uint64_t kPartitionTableBytes = uint64_t{1} << (12 + kPartitionTableSizeCode);
alignas(kPartitionTableBytes) uint64_t partition_table[kPartitionTableBytes / sizeof(uint64_t)];

constexpr uint64_t kPartition = 1;
constexpr uint64_t kTreeWord = kPartition * 2;
constexpr uint64_t kProcessTableWord = kPartition * 2 + 1;

constexpr uint64_t kHostRadix = uint64_t{1} << 63;

// LPCR (Power ISA v3.0B Book III, 2.2): radix for this partition, process tables in use, no
// relocated interrupt vectors, interrupts in the image's byte order.
constexpr uint64_t kHr = 1 << 20;
constexpr uint64_t kUprt = 1 << 22;
constexpr uint64_t kAil = 3 << 23;
constexpr uint64_t kIle = 1 << 25;

}  // namespace

void StartSecondStage(uint64_t) {
  root = tables.Allocate(radix::TableBytes(radix::kRootBits));
  radix::StoreEntry(&partition_table[kTreeWord],
                    kHostRadix | radix::kTreeSize | root | radix::kRootBits);

  uint64_t lpcr;
  asm volatile("mfspr %0, %1" : "=r"(lpcr) : "i"(SPR_LPCR));
  lpcr = (lpcr & ~kAil & ~kIle) | kHr | kUprt | (MSR_ENDIAN != 0 ? kIle : 0);
  asm volatile("mtspr %0, %3; mtspr %1, %4; mtspr %2, %5; isync"
               :
               : "i"(SPR_LPCR), "i"(SPR_LPIDR), "i"(SPR_PTCR), "r"(lpcr), "r"(kPartition),
                 "r"(reinterpret_cast<uint64_t>(partition_table) | kPartitionTableSizeCode)
               : "memory");
}

void MapGuestFrame(uint64_t guest, uint64_t machine) {
  radix::MapPage(tables, root, guest, machine, 12, radix::kReadWrite | radix::kExecute);
}

void SetProcessTable(uint64_t guest) {
  radix::StoreEntry(&partition_table[kProcessTableWord], guest | kPartitionTableSizeCode);
  asm volatile("ptesync" : : : "memory");
}

}  // namespace qemu
