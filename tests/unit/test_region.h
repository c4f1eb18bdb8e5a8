// A region for tests, in memory that is put where a test wants it.
#ifndef TESTS_UNIT_TEST_REGION_H_
#define TESTS_UNIT_TEST_REGION_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/unit/fake_memory.h"
#include "xencomm/region_table.h"
#include "xencomm/region_translation.h"

namespace xencomm::testing {

inline constexpr VirtualAddress kBase{0x7f00'0000'0000};

inline RegionLayout LayoutOf(std::uint64_t granules, unsigned shift = 12,
                             VirtualAddress base = kBase) {
  return *RegionLayout::Make(base, granules << shift, shift);
}

// A region over scattered pages, with some granules left unbacked.
struct TestRegion {
  TestRegion(std::uint64_t granules, ByteOrder byte_order, unsigned shift = 12)
      : layout(LayoutOf(granules, shift)),
        order(byte_order),
        table_pages(TablePages(memory, layout)),
        table(*RegionTable<FakeMemory>::Build(memory, layout, order, table_pages)) {}

  static std::vector<PhysicalAddress> TablePages(FakeMemory& memory, const RegionLayout& layout) {
    std::vector<PhysicalAddress> pages = ScatteredPages(memory, layout.table_granules());
    for (PhysicalAddress& page : pages) {
      page.value <<= layout.granule_shift() - 12;
      for (std::uint64_t at = 0; at < layout.granule_size(); at += kPage) {
        memory.AddPage(page.value + at);
      }
    }
    return pages;
  }

  PhysicalAddress BackOne(std::uint64_t granule, int fill = 0) {
    const PhysicalAddress page = ScatteredPages(memory, 1, fill, 4096 + granule)[0];
    EXPECT_TRUE(table.Back(granule, page).ok());
    return page;
  }

  VirtualAddress Pointer(std::uint64_t granule, std::uint64_t offset = 0) const {
    return layout.virtual_base() + ((granule << layout.granule_shift()) + offset);
  }

  // What registering leaves in the hypervisor's hands.
  std::vector<HeldPage> HeldPages(Access access = Access::kWrite,
                                  GranuleUse use = GranuleUse::kAnyPointer) {
    return HeldPagesOf(memory, layout, access, use,
                       [&](std::uint64_t granule) { return table.Base(granule); });
  }

  FakeMemory memory;
  RegionLayout layout;
  ByteOrder order;
  std::vector<PhysicalAddress> table_pages;
  RegionTable<FakeMemory> table;
};

}  // namespace xencomm::testing

#endif  // TESTS_UNIT_TEST_REGION_H_
