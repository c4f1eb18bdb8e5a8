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
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "xencomm/memory.h"
#include "xencomm/region_translation.h"

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
    return {page->second.bytes->at + within, std::min(length, kPage - within)};
  }

  void AddPage(std::uint64_t physical, int fill = 0) {
    Page page{std::make_unique<Bytes>(), false};
    std::memset(page.bytes->at, fill, kPage);
    pages_[physical] = std::move(page);
  }

  void RemovePage(std::uint64_t physical) { pages_.erase(physical); }
  void SetReadOnly(std::uint64_t physical) { pages_.at(physical).read_only = true; }

  // How often Map was called: for tests that nothing is looked at.
  std::uint64_t maps() const { return maps_; }

  // Bytes and words as the test sees them, across pages.
  std::byte* At(std::uint64_t physical) {
    return pages_.at(physical - physical % kPage).bytes->at + physical % kPage;
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
  // Aligned as a hypervisor's frames are.
  struct alignas(kPage) Bytes {
    std::byte at[kPage];
  };
  struct Page {
    std::unique_ptr<Bytes> bytes;
    bool read_only;
  };

  std::map<std::uint64_t, Page> pages_;
  std::uint64_t maps_ = 0;
};
static_assert(Memory<FakeMemory>);

// Such memory in runs of half a page, which no table can be in.
struct HalfPages {
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const std::uint64_t rest = kPage / 2 - physical.value % (kPage / 2);
    return memory.Map(physical, std::min(length, rest), access);
  }

  FakeMemory& memory;
};

// Such memory with a quick side. That declines what it must: what is not there, writes to a page
// that is read-only; and what else a test wants it to.
class QuickFakeMemory {
 public:
  class Side {
   public:
    explicit Side(QuickFakeMemory& whole) : whole_(&whole) {}

    bool FindPage(PhysicalAddress physical, Access access, std::byte** page) {
      const unsigned looks = whole_->quick_looks_++;
      if (whole_->declined_look != 0 && looks % whole_->declined_look == 0) return false;
      const PhysicalAddress start = {physical.value - physical.value % kPage};
      const Mapping run = whole_->memory_->Map(start, kPage, access);
      if (run.ok()) *page = run.start();
      return run.ok();
    }

   private:
    QuickFakeMemory* whole_;
  };

  // Borrowed.
  explicit QuickFakeMemory(FakeMemory& memory) : memory_(&memory) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    ++slow_looks_;
    return memory_->Map(physical, length, access);
  }
  Side Quick() { return Side(*this); }

  // Every so many looks one is declined; 0: none.
  unsigned declined_look = 0;
  unsigned quick_looks() const { return quick_looks_; }
  unsigned slow_looks() const { return slow_looks_; }

 private:
  FakeMemory* memory_;
  unsigned quick_looks_ = 0;
  unsigned slow_looks_ = 0;
};
static_assert(HasQuickSide<QuickFakeMemory> && !HasQuickSide<FakeMemory>);

// Such memory while another vcpu changes each byte of some pages, which hold a table, right after
// it was read: the bytes of a short run when the next is mapped; of a whole page, where it is not
// seen what is read, each word that names a page when that page is mapped.
class ChangingMemory {
 public:
  ChangingMemory(FakeMemory& memory, std::vector<PhysicalAddress> table)
      : memory_(memory), table_(std::move(table)) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    for (std::byte& byte : std::exchange(just_read_, {})) byte = ~byte;
    const PhysicalAddress page = {physical.value - physical.value % kPage};
    ChangeWordsThatName(page);
    const Mapping run = memory_.Map(physical, length, access);
    if (run.ok() && std::find(table_.begin(), table_.end(), page) != table_.end()) {
      if (run.length() == kPage) {
        mapped_.insert(page.value);
        return run;
      }
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
  void ChangeWordsThatName(PhysicalAddress page) {
    for (const std::uint64_t table : mapped_) {
      for (std::uint64_t at = table; at != table + kPage; at += sizeof(std::uint64_t)) {
        for (const ByteOrder order : {ByteOrder::kLittle, ByteOrder::kBig}) {
          const auto word = memory_.Get<std::uint64_t>(at, order);
          if (word - word % kPage == page.value) memory_.Put(at, ~word, order);
        }
      }
    }
  }

  FakeMemory& memory_;
  const std::vector<PhysicalAddress> table_;
  std::set<std::uint64_t> mapped_;
  std::span<std::byte> just_read_;
  std::map<std::uint64_t, unsigned> reads_;
  unsigned read_twice_ = 0;
};
static_assert(Memory<ChangingMemory>);

// What a hypervisor holds of a region that is registered: `base_of(granule)` is its base, if there
// is one, with memory behind it.
template <class BaseOf>
std::vector<HeldPage> HeldPagesOf(FakeMemory& memory, const RegionLayout& layout, Access access,
                                  GranuleUse use, BaseOf base_of) {
  std::vector<HeldPage> pages(RegisteredRegion::PagesOf(layout));
  for (std::uint64_t i = 0; i < pages.size(); ++i) {
    const std::uint64_t at = i * kPage;
    const Result<PhysicalAddress> base = base_of(at >> layout.granule_shift());
    if (!base.ok()) continue;
    const Mapping page = memory.Map(*base + at % layout.granule_size(), kPage, Access::kRead);
    if (page.ok()) pages[i] = HeldPage(page.start(), access, use);
  }
  return pages;
}

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
