// What the fuzz targets share: a guest's memory made of the fuzzer's bytes, and the property that
// every translation must have.
#ifndef TESTS_FUZZ_GUEST_H_
#define TESTS_FUZZ_GUEST_H_

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "xencomm/copy.h"

// A check that stays in every build; its text is what a crash report shows.
#define FUZZ_CHECK(condition)                                                      \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

namespace xencomm::fuzz {

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kPages = 16;

// Sixteen guest-physical pages from address 0 on, each an aligned allocation of its own so that a
// step over a page's end is seen; some missing, some read-only.
class GuestMemory {
 public:
  explicit GuestMemory(FuzzedDataProvider& data)
      : missing_(data.ConsumeIntegral<std::uint16_t>() & data.ConsumeIntegral<std::uint16_t>()),
        read_only_(data.ConsumeIntegral<std::uint16_t>()) {
    for (auto& page : pages_) page = std::make_unique<Page>();
  }

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const std::uint64_t page = physical.value / kPage;
    if (page >= kPages || (missing_ >> page & 1) != 0) return Fault::kNoMemory;
    if (access == Access::kWrite && (read_only_ >> page & 1) != 0) return Fault::kNotWritable;
    const std::uint64_t within = physical.value % kPage;
    return {pages_[page]->bytes + within, std::min(length, kPage - within)};
  }

  // Words at places that the fuzzer chooses, as many as its bytes allow.
  void Scribble(FuzzedDataProvider& data, ByteOrder order) {
    while (data.remaining_bytes() > 8) {
      const std::uint64_t place =
          data.ConsumeIntegralInRange<std::uint64_t>(0, kPages * 512 - 1) * 8;
      StoreField(At(place), data.ConsumeIntegral<std::uint64_t>(), order);
    }
  }

  std::byte* At(std::uint64_t physical) {
    return pages_[physical / kPage]->bytes + physical % kPage;
  }

 private:
  struct alignas(kPage) Page {
    std::byte bytes[kPage] = {};
  };

  std::uint16_t missing_, read_only_;
  std::unique_ptr<Page> pages_[kPages];
};

// A copy of a range is the copies of its bytes: as many go through, the same ones, and it stops for
// the same reason at the same address. What a cursor remembers within a copy must not show.
template <class SpaceT>
void CheckCopyIsBytewise(SpaceT& space, VirtualAddress pointer, std::uint64_t offset,
                         std::uint64_t length, Access access) {
  std::vector<std::byte> whole(length);
  const CopyResult copy = access == Access::kRead
                              ? CopyFrom(space, pointer, offset, whole.data(), length)
                              : Probe(space, pointer, offset, length, access);
  for (std::uint64_t i = 0; i < length; ++i) {
    const Mapping byte = space.Map(pointer, offset + i, 1, access, nullptr);
    if (!byte.ok()) {
      FUZZ_CHECK(copy.bytes == i);
      FUZZ_CHECK(copy.fault == byte.fault());
      FUZZ_CHECK(copy.address == pointer + (offset + i));
      return;
    }
    FUZZ_CHECK(i < copy.bytes);
    if (access == Access::kRead) FUZZ_CHECK(whole[i] == *byte.start());
  }
  FUZZ_CHECK(copy.ok() && copy.bytes == length);
}

}  // namespace xencomm::fuzz

#endif  // TESTS_FUZZ_GUEST_H_
