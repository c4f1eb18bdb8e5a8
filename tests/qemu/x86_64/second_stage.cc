// x86-64: the second stage is nested paging (AMD APM volume 2, 15.25), with as many levels as the
// hypervisor's own tables.

#include "tests/qemu/x86_64/second_stage.h"

#include <string.h>

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/x86_64/page_tables.h"

namespace qemu {
namespace {

// Table memory between the hypervisor's image and the domains' pool, mapped where it lies.
constexpr uint64_t kTablesBegin = 0x02000000;

class HypervisorTables {
 public:
  uint64_t Allocate() {
    const uint64_t table = next_;
    next_ += page_tables::kTableBytes;
    if (next_ > kPoolBegin) HandleCrash({.what = "no memory for the second stage"});
    memset(At(table), 0, page_tables::kTableBytes);
    return table;
  }

  uint64_t* At(uint64_t table) { return reinterpret_cast<uint64_t*>(table); }

 private:
  uint64_t next_ = kTablesBegin;
};

HypervisorTables tables;
uint64_t root;

}  // namespace

void StartSecondStage(uint64_t) { root = tables.Allocate(); }

void MapGuestFrame(uint64_t guest, uint64_t machine) {
  // All accesses of a guest are user accesses to the second stage.
  page_tables::MapPage(tables, root, page_tables::Levels(), guest, machine,
                       page_tables::kWritable | page_tables::kUser);
}

uint64_t SecondStageRoot() { return root; }

}  // namespace qemu
