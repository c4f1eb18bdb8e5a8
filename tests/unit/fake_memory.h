// Guest-physical memory for tests: pages that are put where a test wants them.
//
// Each page is an allocation of its own, so that neighbours in guest-physical memory are not
// neighbours here (unless a test asks for a run) and a step over a page's end is seen by the
// sanitizers.
#ifndef TESTS_UNIT_FAKE_MEMORY_H_
#define TESTS_UNIT_FAKE_MEMORY_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "xencomm/memory.h"

namespace xencomm::testing {

inline constexpr std::uint64_t kPage = 4096;

class FakeMemory {
 public:
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    ++maps_;
    const std::uint64_t within = physical.value % kPage;
    const auto page = pages_.find(physical.value - within);
    if (page == pages_.end()) return Fault::kNoMemory;
    if (access == Access::kWrite && page->second.read_only) return Fault::kNotWritable;
    return {page->second.bytes.get() + within, std::min(length, kPage - within)};
  }

  void AddPage(std::uint64_t physical, int fill = 0) {
    Page page{std::make_unique<std::byte[]>(kPage), false};
    std::memset(page.bytes.get(), fill, kPage);
    pages_[physical] = std::move(page);
  }

  void RemovePage(std::uint64_t physical) { pages_.erase(physical); }
  void SetReadOnly(std::uint64_t physical) { pages_.at(physical).read_only = true; }

  // How often Map was called: for tests that nothing is looked at.
  std::uint64_t maps() const { return maps_; }

  // Bytes and words as the test sees them, across pages.
  std::byte* At(std::uint64_t physical) {
    return pages_.at(physical - physical % kPage).bytes.get() + physical % kPage;
  }
  template <class T>
  void Put(std::uint64_t physical, T value, ByteOrder order) {
    StoreField(At(physical), value, order);
  }
  template <class T>
  T Get(std::uint64_t physical, ByteOrder order) {
    return LoadField<T>(At(physical), order);
  }

 private:
  struct Page {
    std::unique_ptr<std::byte[]> bytes;
    bool read_only;
  };

  std::map<std::uint64_t, Page> pages_;
  std::uint64_t maps_ = 0;
};
static_assert(Memory<FakeMemory>);

// Such memory while another vcpu changes each byte of some pages, which hold a table, right after
// it was read.
class ChangingMemory {
 public:
  ChangingMemory(FakeMemory& memory, std::vector<PhysicalAddress> table)
      : memory_(memory), table_(std::move(table)) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    for (std::byte& byte : std::exchange(just_read_, {})) byte = ~byte;
    const Mapping run = memory_.Map(physical, length, access);
    const PhysicalAddress page = {physical.value - physical.value % kPage};
    if (run.ok() && std::find(table_.begin(), table_.end(), page) != table_.end()) {
      just_read_ = {run.start(), run.length()};
      for (std::uint64_t i = 0; i < run.length(); ++i) {
        if (++reads_[physical.value + i] == 2) ++read_twice_;
      }
    }
    return run;
  }

  // Bytes of the table that were.
  unsigned read_twice() const { return read_twice_; }

 private:
  FakeMemory& memory_;
  const std::vector<PhysicalAddress> table_;
  std::span<std::byte> just_read_;
  std::map<std::uint64_t, unsigned> reads_;
  unsigned read_twice_ = 0;
};
static_assert(Memory<ChangingMemory>);

// Guest-physical page addresses far apart and in no order, the same in every run.
inline std::vector<PhysicalAddress> ScatteredPages(FakeMemory& memory, std::uint64_t count,
                                                   int fill = 0, std::uint64_t first = 0) {
  std::vector<PhysicalAddress> pages;
  for (std::uint64_t i = 0; i < count; ++i) {
    // Odd multipliers permute the numbers below 2^20, so no two pages collide.
    const std::uint64_t gfn = ((first + i) * 0x9e375) % (1 << 20) + 0x100000;
    memory.AddPage(gfn * kPage, fill);
    pages.push_back({gfn * kPage});
  }
  return pages;
}

}  // namespace xencomm::testing

#endif  // TESTS_UNIT_FAKE_MEMORY_H_
