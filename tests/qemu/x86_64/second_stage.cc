// x86-64: the second stage is nested paging (AMD APM volume 2, 15.25), in the format of the
// processor's own page tables and with as many levels as the hypervisor's.

#include "tests/qemu/x86_64/second_stage.h"

#include <optional>

#include "arch/x86_64/page_tables.h"
#include "tests/qemu/hypervisor/machine.h"

namespace qemu {
namespace {

using xencomm::PhysicalAddress;
using xencomm::x86_64::kEntryUser;
using xencomm::x86_64::kEntryWritable;

// Table memory between the hypervisor's image and the domains' pool, mapped where it lies.
constexpr uint64_t kTablesBegin = 0x02000000;

struct Frames {
  uint64_t next = kTablesBegin;

  xencomm::Result<PhysicalAddress> Allocate() {
    if (next == kPoolBegin) return xencomm::Fault::kNoMemory;
    next += kFrameSize;
    return PhysicalAddress{next - kFrameSize};
  }
};

struct PhysicalMemory {
  xencomm::Mapping Map(PhysicalAddress physical, uint64_t length, xencomm::Access) {
    return {reinterpret_cast<std::byte*>(physical.value), length};
  }
};

Frames frames;
PhysicalMemory memory;
std::optional<xencomm::x86_64::PageTables<PhysicalMemory, Frames>> tables;

}  // namespace

void StartSecondStage(uint64_t) {
  constexpr uint64_t kLa57 = 1 << 12;
  uint64_t cr4;
  asm("mov %%cr4, %0" : "=r"(cr4));
  const auto made = decltype(tables)::value_type::Make(memory, frames, (cr4 & kLa57) != 0 ? 5 : 4);
  if (!made.ok()) HandleCrash({.what = "no memory for the second stage"});
  tables.emplace(*made);
}

void MapGuestFrame(uint64_t guest, uint64_t machine) {
  // All accesses of a guest are user accesses to the second stage.
  if (!tables->Map({guest}, {machine}, kFrameSize, kEntryUser | kEntryWritable).ok()) {
    HandleCrash({.what = "the second stage does not take a frame", .address = guest});
  }
}

uint64_t SecondStageRoot() { return tables->root().value; }

}  // namespace qemu
