// x86-64: translation of the kernel. Each process has page tables of its own, CR3 chooses them.

#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/x86_64/page_tables.h"

namespace qemu {
namespace {

uint64_t kernel_memory;

struct KernelTables {
  uint64_t Allocate() { return AllocateFrame(); }
  uint64_t* At(uint64_t table) { return KernelPointer<uint64_t>(table); }
};

}  // namespace

uint64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                   uint64_t region) {
  register uint64_t r10 asm("r10") = a4;
  register uint64_t r8 asm("r8") = a5;
  register uint64_t r9 asm("r9") = region;
  asm volatile("vmmcall"
               : "+a"(index), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8), "+r"(r9)
               :
               : "memory");
  return index;
}

void StartTranslation(uint64_t memory_size) { kernel_memory = memory_size; }

void AddressSpace::Create() {
  KernelTables tables;
  root_ = tables.Allocate();
  for (uint64_t page = 0; page < kernel_memory; page += PageSize()) {
    page_tables::MapPage(tables, root_, page_tables::Levels(), page, page, page_tables::kWritable);
  }
}

void AddressSpace::Map(uint64_t address, uint64_t frame, Protection protection) {
  KernelTables tables;
  page_tables::MapPage(
      tables, root_, page_tables::Levels(), address, frame,
      page_tables::kUser | (protection == Protection::kReadWrite ? page_tables::kWritable : 0));
}

void AddressSpace::Activate() const { asm volatile("mov %0, %%cr3" : : "r"(root_) : "memory"); }

}  // namespace qemu
