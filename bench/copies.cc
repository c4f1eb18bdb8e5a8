// Copies from and to a guest, in every space, beside memcpy on a direct pointer to the same bytes,
// and page by page where the hypervisor has them.
//
//   copy     bytes in a row, the length known only at run time: 8 bytes to 8 MiB
//   element  one structure through a typed handle: 8, 64, 144 bytes (xen_domctl has 144)
//   spread   64 bytes from another page each time, all of the 8 MiB in turn
//   list     as many such requests as a list has pointers, one by one and looked up together
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
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
  // What no way over scattered pages can do without: a memcpy for each of them.
  const std::span<std::byte* const> pages = guest.pages();
  rows.Add(Name("copy", direction, "pages", bytes), [=] {
    const std::uint64_t all = Hidden(bytes);
    for (std::uint64_t done = 0; done < all;) {
      std::byte* const page = pages[(offset + done) / kPage] + (offset + done) % kPage;
      const std::uint64_t part = std::min(all - done, kPage - (offset + done) % kPage);
      if (direction == Direction::kFrom) {
        std::memcpy(scratch + done, page, part);
      } else {
        std::memcpy(page, scratch + done, part);
      }
      done += part;
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
void AddElement(Rows& rows, const Guest& guest, Direction direction, std::byte* scratch) {
  using T = Element<kBytes>;
  constexpr std::uint64_t kIndex = OffsetFor(kBytes) / kBytes;
  auto* const direct = reinterpret_cast<T*>(guest.direct()) + kIndex;
  T& value = *reinterpret_cast<T*>(scratch);
  rows.Add(Name("element", direction, "direct", kBytes), [=, &value] {
    if (direction == Direction::kFrom) {
      value = *Hidden(direct);
    } else {
      *Hidden(direct) = value;
    }
    benchmark::ClobberMemory();
  });
  for (const NamedSpace& named : guest.spaces()) {
    const std::string name = Name("element", direction, named.name, kBytes);
    const auto access = [=, &value] {
      const GuestHandle<T> handle(*Hidden(named.space), named.buffer, kPage / kBytes);
      return direction == Direction::kFrom ? handle.Read(kIndex, value)
                                           : handle.Write(kIndex, value);
    };
    Require(access(), kBytes, name);
    rows.Add(name, [=] {
      benchmark::DoNotOptimize(access().bytes);
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

void AddSpread(Rows& rows, const Guest& guest, std::byte* scratch) {
  constexpr std::uint64_t kBytes = 64;
  static const std::vector<std::uint64_t> offsets = SpreadOffsets(kBytes);
  using T = Element<kBytes>;
  const std::byte* const direct = guest.direct();
  auto next = [turn = std::size_t{0}]() mutable { return offsets[turn++ % kBufferPages]; };
  T& value = *reinterpret_cast<T*>(scratch);
  rows.Add(Name("spread", Direction::kFrom, "direct", kBytes), [=, &value]() mutable {
    std::memcpy(&value, direct + next(), kBytes);
    benchmark::ClobberMemory();
  });
  for (const NamedSpace& named : guest.spaces()) {
    rows.Add(Name("spread", Direction::kFrom, named.name, kBytes), [=, &value]() mutable {
      const GuestHandle<const T> handle(*Hidden(named.space), named.buffer, kBufferBytes / kBytes);
      benchmark::DoNotOptimize(handle.Read(next() / kBytes, value).bytes);
      benchmark::ClobberMemory();
    });
  }
}

// What a handler does with a request, as far as it goes from word to word: a processor that is busy
// with one does not reach the next.
template <std::size_t kBytes>
[[gnu::noinline]] std::uint64_t Handle(const Element<kBytes>& request) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  std::uint64_t answer = 1;
  for (unsigned round = 0; round < 4; ++round) {
    for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
      std::uint64_t word;
      std::memcpy(&word, request.bytes + at, sizeof(word));
      answer = (answer ^ word) * kOdd;
    }
  }
  return answer;
}

// A list of pointers, each to a request in another page: each is copied and handled, or all are
// copied and then handled.
template <std::uint64_t kCount>
void AddList(Rows& rows, const Guest& guest) {
  constexpr std::uint64_t kBytes = 64;
  const NamedSpace& named = guest.spaces().front();
  static const std::vector<std::uint64_t> offsets = SpreadOffsets(kBytes);
  // The next kCount of all pages each time.
  auto next = [buffer = named.buffer, turn = std::uint64_t{0},
               pointers = std::array<VirtualAddress, kCount>()]() mutable {
    for (VirtualAddress& pointer : pointers) pointer = buffer + offsets[turn++ % kBufferPages];
    return std::span<const VirtualAddress>(pointers);
  };
  using Requests = std::array<Element<kBytes>, kCount>;
  const auto name = [](const char* how) {
    return std::string("list/") + how + "/" + std::to_string(kCount);
  };
  rows.Add(name("one-by-one"), [=, requests = Requests()]() mutable {
    Space& space = *Hidden(named.space);
    std::uint64_t answers = 0;
    Element<kBytes>* to = requests.data();
    for (const VirtualAddress pointer : next()) {
      const GuestHandle<const Element<kBytes>> handle(space, pointer, 1);
      if (handle.Read(0, *to).ok()) answers += Handle(*to);
      ++to;
    }
    benchmark::DoNotOptimize(answers);
  });
  rows.Add(name("overlapped"), [=, requests = Requests()]() mutable {
    Space& space = *Hidden(named.space);
    std::uint64_t answers = 0;
    if (CopyFromEach(space, next(), requests.data(), kBytes).ok()) {
      for (const Element<kBytes>& request : requests) answers += Handle(request);
    }
    benchmark::DoNotOptimize(answers);
  });
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
    AddElement<8>(rows, guest, direction, scratch);
    AddElement<64>(rows, guest, direction, scratch);
    AddElement<144>(rows, guest, direction, scratch);
  }
  AddSpread(rows, guest, scratch);
  AddList<32>(rows, guest);
  AddList<1024>(rows, guest);
}

}  // namespace xencomm::bench
