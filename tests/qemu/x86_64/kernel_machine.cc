// x86-64: translation of the kernel. Each process has page tables of its own, CR3 chooses them.

#include <optional>

#include "arch/x86_64/page_tables.h"
#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/kernel/memory.h"

namespace qemu {
namespace {

using xencomm::PhysicalAddress;
using xencomm::x86_64::kEntryUser;
using xencomm::x86_64::kEntryWritable;

struct Frames {
  xencomm::Result<PhysicalAddress> Allocate() { return PhysicalAddress{AllocateFrame()}; }
};
using Tables = xencomm::x86_64::PageTables<KernelMemory, Frames>;

KernelMemory memory;
Frames frames;
uint64_t kernel_memory;

// By the number of a space, id_.
constexpr uint64_t kMaxSpaces = 4;
std::optional<Tables> spaces[kMaxSpaces];
uint64_t space_count;

unsigned Levels() {
  constexpr uint64_t kLa57 = 1 << 12;
  uint64_t cr4;
  asm("mov %%cr4, %0" : "=r"(cr4));
  return (cr4 & kLa57) != 0 ? 5 : 4;
}

void MapPages(uint64_t space, uint64_t address, uint64_t physical, uint64_t bytes, uint64_t flags) {
  if (!spaces[space]->Map({address}, {physical}, bytes, flags).ok()) Panic("a page is not mapped");
}

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
  if (space_count == kMaxSpaces) Panic("too many address spaces");
  id_ = space_count++;
  const auto tables = Tables::Make(memory, frames, Levels());
  if (!tables.ok()) Panic("no page tables");
  spaces[id_].emplace(*tables);
  MapPages(id_, 0, 0, kernel_memory, kEntryWritable);
}

void AddressSpace::Map(uint64_t address, uint64_t frame, Protection protection) {
  MapPages(id_, address, frame, PageSize(),
           kEntryUser | (protection == Protection::kReadWrite ? kEntryWritable : 0));
}

void AddressSpace::Activate() const {
  asm volatile("mov %0, %%cr3" : : "r"(spaces[id_]->root().value) : "memory");
}

}  // namespace qemu
