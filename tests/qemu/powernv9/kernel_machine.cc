// powernv9: translation of the kernel. Each process has a radix tree, its number in PIDR finds it
// in the process table. Table addresses are guest-physical: the hypervisor's tree is below.

#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/powernv9/radix.h"
#include "tests/qemu/powerpc/kernel_call.h"
#include "tests/qemu/runtime/platform_call.h"

namespace qemu {
namespace {

constexpr uint64_t kProcessTableBytes = 0x10000;

uint64_t process_table;
uint64_t kernel_memory;
uint64_t processes;

struct KernelTables {
  // Tables of less than a page take one: few exist.
  uint64_t Allocate(uint64_t bytes) {
    return bytes > PageSize() ? AllocateContiguous(bytes) : AllocateFrame();
  }
  uint64_t* At(uint64_t table) { return KernelPointer<uint64_t>(table); }
};

}  // namespace

uint64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                   uint64_t region) {
  return HypervisorCall<1>(index, a1, a2, a3, a4, a5, region);
}

void StartTranslation(uint64_t memory_size) {
  kernel_memory = memory_size;
  process_table = AllocateContiguous(kProcessTableBytes);
  if (Hypercall(PLATFORM_SET_PROCESS_TABLE, process_table) != 0) {
    Panic("the hypervisor refuses the process table");
  }
}

void AddressSpace::Create() {
  KernelTables tables;
  const uint64_t tree = tables.Allocate(radix::TableBytes(radix::kRootBits));
  for (uint64_t page = 0; page < kernel_memory; page += PageSize()) {
    radix::MapPage(tables, tree, page, page, PageShift(),
                   radix::kPrivileged | radix::kReadWrite | radix::kExecute);
  }
  id_ = ++processes;
  // Process table entry (Power ISA v3.0B Book III, 5.7.6.2): 16 bytes, the tree in the first half.
  radix::StoreEntry(KernelPointer<uint64_t>(process_table) + id_ * 2,
                    radix::kTreeSize | tree | radix::kRootBits);
}

void AddressSpace::Map(uint64_t address, uint64_t frame, Protection protection) {
  KernelTables tables;
  const uint64_t tree =
      radix::LoadEntry(KernelPointer<uint64_t>(process_table) + id_ * 2) & radix::kTreeMask;
  radix::MapPage(
      tables, tree, address, frame, PageShift(),
      (protection == Protection::kReadOnly ? radix::kRead : radix::kReadWrite) | radix::kExecute);
}

void AddressSpace::Activate() const {
  asm volatile("ptesync; mtspr %0, %1; isync" : : "i"(SPR_PIDR), "r"(id_) : "memory");
  TurnTranslationOnAssembly();
}

}  // namespace qemu
