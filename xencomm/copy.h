// Copies between a Space and memory of one's own.
//
// Each answers how many bytes went through, and if not all, why and where. Guest memory is read
// exactly once: what lands in the destination is what the caller checks and uses.
#ifndef XENCOMM_COPY_H_
#define XENCOMM_COPY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "xencomm/space.h"

namespace xencomm {

// After a copy out of guest memory the compiler must not read the guest's bytes again in place of
// the local copy; behind this barrier it has to assume that they changed.
inline void ForgetGuestMemory() { asm volatile("" ::: "memory"); }

inline CopyResult CopyFrom(Space& space, VirtualAddress pointer, std::uint64_t offset, void* to,
                           std::uint64_t length) {
  const auto copy = [to](std::byte* run, std::uint64_t at, std::uint64_t bytes) {
    std::memcpy(static_cast<std::byte*>(to) + at, run, bytes);
  };
  const CopyResult result = space.ForEachRun(pointer, offset, length, Access::kRead, copy);
  ForgetGuestMemory();
  return result;
}

inline CopyResult CopyTo(Space& space, VirtualAddress pointer, std::uint64_t offset,
                         const void* from, std::uint64_t length) {
  const auto copy = [from](std::byte* run, std::uint64_t at, std::uint64_t bytes) {
    std::memcpy(run, static_cast<const std::byte*>(from) + at, bytes);
  };
  return space.ForEachRun(pointer, offset, length, Access::kWrite, copy);
}

inline CopyResult Clear(Space& space, VirtualAddress pointer, std::uint64_t offset,
                        std::uint64_t length) {
  const auto clear = [](std::byte* run, std::uint64_t, std::uint64_t bytes) {
    std::memset(run, 0, bytes);
  };
  return space.ForEachRun(pointer, offset, length, Access::kWrite, clear);
}

// Pieces of `length` bytes each, from pointers anywhere to one after the other at `to`: what copies
// one by one do, in the same order and with the same answer, but that some are looked up before
// those ahead of them are copied, so that the processor waits for the memory of several at once.
inline CopyResult CopyFromEach(Space& space, std::span<const VirtualAddress> pointers, void* to,
                               std::uint64_t length) {
  constexpr std::uint64_t kAhead = 8;
  constexpr std::uint64_t kLine = 64;
  if (length == 0) return {};
  auto* next = static_cast<std::byte*>(to);
  Mapping runs[kAhead] = {Fault::kNone, Fault::kNone, Fault::kNone, Fault::kNone,
                          Fault::kNone, Fault::kNone, Fault::kNone, Fault::kNone};
  CopyResult total;
  for (std::uint64_t i = 0; i < pointers.size() + kAhead; ++i) {
    Mapping& place = runs[i % kAhead];
    if (i >= kAhead && place.ok()) [[likely]] {
      std::memcpy(next, place.start(), length);
      next += length;
      total.bytes += length;
    } else if (i >= kAhead) {
      // In several runs, or not there.
      const CopyResult one = CopyFrom(space, pointers[i - kAhead], 0, next, length);
      total.bytes += one.bytes;
      if (!one.ok()) return {.bytes = total.bytes, .fault = one.fault, .address = one.address};
      next += length;
    }
    if (i >= pointers.size()) continue;
    place = space.MapWhole(pointers[i], 0, length, Access::kRead);
    for (std::uint64_t at = 0; place.ok() && at < length && at < 4 * kLine; at += kLine) {
      __builtin_prefetch(place.start() + at);
    }
  }
  ForgetGuestMemory();
  return total;
}

// Whether the whole range can be accessed, without touching a byte of it: for calls that must
// refuse before they have an effect.
inline CopyResult Probe(Space& space, VirtualAddress pointer, std::uint64_t offset,
                        std::uint64_t length, Access access) {
  const auto nothing = [](std::byte*, std::uint64_t, std::uint64_t) {};
  return space.ForEachRun(pointer, offset, length, access, nothing);
}

}  // namespace xencomm

#endif  // XENCOMM_COPY_H_
