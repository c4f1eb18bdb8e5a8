// Addresses, each kind a type of its own.
//
// All are full byte addresses of 64 bits, never frame numbers, so that the page size does not enter
// an interface. A guest virtual address cannot be passed where a guest-physical one is meant: the
// difference between the two is what this library is about.
#ifndef XENCOMM_ADDRESS_H_
#define XENCOMM_ADDRESS_H_

#include <compare>
#include <cstdint>

#include "xencomm/language.h"

namespace xencomm {

template <class Kind>
struct Address {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(const Address&, const Address&) = default;

  // Wraps at 2^64; a caller that adds a guest's number checks it first (see Overflows below).
  friend constexpr Address operator+(Address a, std::uint64_t bytes) { return {a.value + bytes}; }
  friend constexpr std::uint64_t operator-(Address a, Address b) { return a.value - b.value; }
};

// What a guest puts into XEN_GUEST_HANDLE. What it means is for a Space to say.
using VirtualAddress = Address<struct VirtualKind>;

// Guest-physical: a gfn and an offset. What it means is for a Memory to say.
using PhysicalAddress = Address<struct PhysicalKind>;

// Machine: an mfn and an offset, behind the p2m.
using MachineAddress = Address<struct MachineKind>;

// Whether the range of `length` bytes at `start` passes 2^64. A range that ends exactly there
// does not, and neither does an empty one.
constexpr bool Overflows(std::uint64_t start, std::uint64_t length) {
  return length != 0 && length - 1 > ~std::uint64_t{0} - start;
}

// Whether [start, start + length) lies in [base, base + size). Neither sum needs to be formed.
constexpr bool Contains(std::uint64_t base, std::uint64_t size, std::uint64_t start,
                        std::uint64_t length) {
  return start >= base && start - base <= size && length <= size - (start - base);
}

constexpr bool IsAligned(std::uint64_t value, std::uint64_t power_of_two) {
  return (value & (power_of_two - 1)) == 0;
}

constexpr std::uint64_t AlignUp(std::uint64_t value, std::uint64_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static_assert(!Overflows(~std::uint64_t{0}, 1) && Overflows(~std::uint64_t{0}, 2));
static_assert(!Overflows(1, ~std::uint64_t{0}) && Overflows(2, ~std::uint64_t{0}));
static_assert(Contains(~std::uint64_t{0}, 1, ~std::uint64_t{0}, 1));
static_assert(!Contains(0x1000, 0x1000, 0x1ff8, 9) && Contains(0x1000, 0x1000, 0x1ff8, 8));

}  // namespace xencomm

#endif  // XENCOMM_ADDRESS_H_
