// Copies from and to a guest, in every space, beside memcpy on a direct pointer to the same bytes.
//
//   copy     bytes in a row, the length known only at run time: 8 bytes to 8 MiB
//   element  one structure through a typed handle: 8, 64, 144 bytes (xen_domctl has 144)
//   spread   64 bytes from another page each time, all of the 8 MiB in turn
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "bench/guest.h"
#include "bench/rows.h"
#include "xencomm/copy.h"
#include "xencomm/guest_handle.h"

namespace xencomm::bench {
namespace {

enum class Direction { kFrom, kTo };

constexpr std::uint64_t kCopyBytes[] = {8,     64,    256,    1024,    4096,
                                        16384, 65536, 262144, 1048576, kBufferBytes};

std::string Name(const char* group, Direction direction, const char* space, std::uint64_t bytes) {
  return std::string(group) + (direction == Direction::kFrom ? "/from/" : "/to/") + space + "/" +
         std::to_string(bytes);
}

// Small copies are made within a page, away from its start: a processor that compares only the low
// 12 bits of addresses (4K aliasing) would take a store there for one to the first entries of the
// tables that are read next.
constexpr std::uint64_t OffsetFor(std::uint64_t bytes) { return bytes <= 1024 ? 0x900 : 0; }

// For the same reason the other end of a copy lies apart from all of that in its page.
constexpr std::size_t kScratchOffset = 0x440;

// A figure of something that does not work is worse than none.
void Require(const CopyResult& result, std::uint64_t bytes, const std::string& name) {
  if (result.ok() && result.bytes == bytes) return;
  std::fprintf(stderr, "bench: %s copied %llu of %llu bytes: %s\n", name.c_str(),
               static_cast<unsigned long long>(result.bytes),
               static_cast<unsigned long long>(bytes), Describe(result.fault.fault));
  std::exit(1);
}

// Hides a value from the compiler, as a call from elsewhere would: which space it is, how many
// bytes.
template <class T>
T Hidden(T value) {
  benchmark::DoNotOptimize(value);
  return value;
}

void AddCopy(Rows& rows, const Guest& guest, Direction direction, std::uint64_t bytes,
             std::byte* scratch) {
  const std::uint64_t offset = OffsetFor(bytes);
  std::byte* const direct = guest.direct() + offset;
  rows.Add(Name("copy", direction, "direct", bytes), [=] {
    if (direction == Direction::kFrom) {
      std::memcpy(scratch, Hidden(direct), Hidden(bytes));
    } else {
      std::memcpy(Hidden(direct), scratch, Hidden(bytes));
    }
    benchmark::ClobberMemory();
  });
  for (const NamedSpace& named : guest.spaces()) {
    const std::string name = Name("copy", direction, named.name, bytes);
    const auto copy = [=] {
      Space& space = *Hidden(named.space);
      return direction == Direction::kFrom
                 ? CopyFrom(space, named.buffer, offset, scratch, Hidden(bytes))
                 : CopyTo(space, named.buffer, offset, scratch, Hidden(bytes));
    };
    Require(copy(), bytes, name);
    rows.Add(name, [=] {
      benchmark::DoNotOptimize(copy().bytes);
      benchmark::ClobberMemory();
    });
  }
}

template <std::size_t kBytes>
struct Element {
  std::byte bytes[kBytes];
  // The guests here are of the processor's order.
  friend void SwapBytes(Element&) {}
};

template <std::size_t kBytes>
void AddElement(Rows& rows, const Guest& guest, Direction direction) {
  using T = Element<kBytes>;
  constexpr std::uint64_t kIndex = OffsetFor(kBytes) / kBytes;
  auto* const direct = reinterpret_cast<T*>(guest.direct()) + kIndex;
  rows.Add(Name("element", direction, "direct", kBytes), [=, value = T()]() mutable {
    if (direction == Direction::kFrom) {
      value = *Hidden(direct);
    } else {
      *Hidden(direct) = value;
    }
    benchmark::DoNotOptimize(value);
    benchmark::ClobberMemory();
  });
  for (const NamedSpace& named : guest.spaces()) {
    const std::string name = Name("element", direction, named.name, kBytes);
    const auto access = [=](T& value) {
      const GuestHandle<T> handle(*Hidden(named.space), named.buffer, kPage / kBytes);
      return direction == Direction::kFrom ? handle.Read(kIndex, value)
                                           : handle.Write(kIndex, value);
    };
    T first = {};
    Require(access(first), kBytes, name);
    rows.Add(name, [=, value = T()]() mutable {
      benchmark::DoNotOptimize(access(value).bytes);
      benchmark::DoNotOptimize(value);
      benchmark::ClobberMemory();
    });
  }
}

// Offsets of one element in every page, in an order without a pattern.
std::vector<std::uint64_t> SpreadOffsets(std::uint64_t element) {
  std::vector<std::uint64_t> offsets;
  std::mt19937_64 random(2);
  for (std::uint64_t page = 0; page < kBufferPages; ++page) {
    offsets.push_back(page * kPage + random() % (kPage / element) * element);
  }
  std::shuffle(offsets.begin(), offsets.end(), random);
  return offsets;
}

void AddSpread(Rows& rows, const Guest& guest) {
  constexpr std::uint64_t kBytes = 64;
  static const std::vector<std::uint64_t> offsets = SpreadOffsets(kBytes);
  using T = Element<kBytes>;
  const std::byte* const direct = guest.direct();
  auto next = [turn = std::size_t{0}]() mutable { return offsets[turn++ % kBufferPages]; };
  rows.Add(Name("spread", Direction::kFrom, "direct", kBytes), [=, value = T()]() mutable {
    std::memcpy(&value, direct + next(), kBytes);
    benchmark::DoNotOptimize(value);
  });
  for (const NamedSpace& named : guest.spaces()) {
    rows.Add(Name("spread", Direction::kFrom, named.name, kBytes), [=, value = T()]() mutable {
      const GuestHandle<const T> handle(*Hidden(named.space), named.buffer, kBufferBytes / kBytes);
      benchmark::DoNotOptimize(handle.Read(next() / kBytes, value).bytes);
      benchmark::DoNotOptimize(value);
    });
  }
}

}  // namespace

void AddCopies(Rows& rows) {
  // For as long as the program runs, as the rows are.
  static const Guest guest;
  static auto* const pages =
      static_cast<std::byte*>(std::aligned_alloc(kPage, kBufferBytes + kPage));
  std::memset(pages, 1, kBufferBytes + kPage);
  std::byte* const scratch = pages + kScratchOffset;
  for (const Direction direction : {Direction::kFrom, Direction::kTo}) {
    for (const std::uint64_t bytes : kCopyBytes) {
      AddCopy(rows, guest, direction, bytes, scratch);
    }
    AddElement<8>(rows, guest, direction);
    AddElement<64>(rows, guest, direction);
    AddElement<144>(rows, guest, direction);
  }
  AddSpread(rows, guest);
}

}  // namespace xencomm::bench
