// x86-64 page tables for tests, built by hand.
//
// What an entry means is written here a second time, from SDM volume 3 chapter 4, in numbers and
// not in the names of paging.h: an error there must not explain itself away.
#ifndef TESTS_UNIT_HAND_BUILT_TABLES_H_
#define TESTS_UNIT_HAND_BUILT_TABLES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>

#include "arch/x86_64/page_walk.h"
#include "tests/unit/fake_memory.h"

namespace xencomm::x86_64::testing {

using xencomm::testing::FakeMemory;
using xencomm::testing::kPage;

inline constexpr std::uint64_t kP = 0x1, kW = 0x2, kU = 0x4, kA = 0x20, kD = 0x40, kPs = 0x80;
inline constexpr std::uint64_t kNx = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kAll = kP | kW | kU;

inline constexpr std::uint64_t kWp = 1 << 16, kLa57 = 1 << 12, kSmep = 1 << 20, kSmap = 1 << 21,
                               kPke = 1 << 22, kPks = 1 << 24, kNxe = 1 << 11, kAc = 1 << 18;

inline constexpr std::uint32_t kErrP = 1, kErrW = 2, kErrU = 4, kErrRsvd = 8, kErrId = 16,
                               kErrPk = 32;

constexpr std::uint64_t One(unsigned bit) { return std::uint64_t{1} << bit; }

// An address with a different index at each level: 0x0d5, 0x0aa, 0x133, 0x0cc, 0x111 from the top.
inline constexpr std::uint64_t kOffset = 0x678;
constexpr std::uint64_t Address(unsigned levels) {
  const std::uint64_t low = std::uint64_t{0x0aa} << 39 | std::uint64_t{0x133} << 30 |
                            std::uint64_t{0x0cc} << 21 | std::uint64_t{0x111} << 12 | kOffset;
  return levels == 4 ? low : low | std::uint64_t{0x0d5} << 48;
}
inline constexpr unsigned kIndex[6] = {0, 0x111, 0x0cc, 0x133, 0x0aa, 0x0d5};

// Tables are where nobody would expect them to be.
inline constexpr std::uint64_t kTable[6] = {0, 0x7'3000, 0x1'f000, 0x5'5000, 0x2'2000, 0x6'4000};

// Where a leaf at each level sends the address: aligned to the page, and to more than 32 bits.
inline constexpr std::uint64_t kFrame[4] = {0, 0x12'3456'7000, 0x12'3460'0000, 0x12'4000'0000};
inline constexpr std::uint64_t kPageBytes[4] = {0, 0x1000, 0x20'0000, 0x4000'0000};

// The tables that map Address(levels), a leaf at `leaf` (1, 2 or 3), all rights at every level.
class Tables {
 public:
  explicit Tables(unsigned levels, unsigned leaf = 1) : levels_(levels) {
    for (unsigned level = 1; level <= levels; ++level) memory.AddPage(kTable[level]);
    for (unsigned level = levels; level > leaf; --level) Set(level, kTable[level - 1] | kAll);
    Set(leaf, kFrame[leaf] | kAll | (leaf > 1 ? kPs : 0));
    state.cr3 = kTable[levels];
    if (levels == 5) state.cr4 |= kLa57;
  }

  void Set(unsigned level, std::uint64_t entry) {
    memory.Put(Place(level), entry, ByteOrder::kLittle);
  }
  std::uint64_t Get(unsigned level) {
    return memory.Get<std::uint64_t>(Place(level), ByteOrder::kLittle);
  }
  void Add(unsigned level, std::uint64_t bits) { Set(level, Get(level) | bits); }
  void Remove(unsigned level, std::uint64_t bits) { Set(level, Get(level) & ~bits); }

  Segment Walk(Access access = Access::kRead) {
    const PageWalk<FakeMemory> walk(memory, state);
    typename PageWalk<FakeMemory>::Cursor cursor;
    return walk.Translate({Address(levels_)}, 0, ~std::uint64_t{0}, access, cursor);
  }

  // kNone when the walk succeeds.
  FaultInfo Fails(Access access = Access::kRead) {
    const Segment segment = Walk(access);
    return segment.ok() ? FaultInfo() : segment.fault();
  }

  FakeMemory memory;
  PagingState state;

 private:
  static std::uint64_t Place(unsigned level) { return kTable[level] + kIndex[level] * 8; }

  unsigned levels_;
};

class EachWalk : public ::testing::TestWithParam<std::tuple<unsigned, unsigned>> {
 protected:
  unsigned levels() const { return std::get<0>(GetParam()); }
  unsigned leaf() const { return std::get<1>(GetParam()); }
};

inline std::string NameOfWalk(
    const ::testing::TestParamInfo<std::tuple<unsigned, unsigned>>& info) {
  const char* const sizes[] = {"", "4K", "2M", "1G"};
  return std::to_string(std::get<0>(info.param)) + "Levels" + sizes[std::get<1>(info.param)];
}

}  // namespace xencomm::x86_64::testing

#endif  // TESTS_UNIT_HAND_BUILT_TABLES_H_
