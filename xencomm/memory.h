// Memory: guest-physical memory as the hypervisor reaches it.
//
// The only way from a guest-physical address to bytes. An implementation looks the address up (a
// p2m, a second stage, an array in a test), refuses what the access may not have, and marks what is
// written as dirty. What Map answers stays valid until the call that asked for it ends.
#ifndef XENCOMM_MEMORY_H_
#define XENCOMM_MEMORY_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "xencomm/address.h"
#include "xencomm/byte_order.h"
#include "xencomm/fault.h"

namespace xencomm {

// A fetch differs from a read only in a page walk; to a Memory it is a read.
enum class Access : std::uint8_t { kRead, kWrite, kExecute };

// A contiguous run that begins at what was asked for: an address and a length in bytes, at least
// one; or else a fault. Sixteen bytes, so that it travels in two registers. A fault has length 0:
// comparing the length with the bytes wanted is all that a caller's fast path needs.
template <class Start>
class [[nodiscard]] Run {
 public:
  constexpr Run(Start start, std::uint64_t length) : start_(start), length_(length) {}
  constexpr Run(FaultInfo fault) : fault_(Pack(fault)), length_(0) {}
  constexpr Run(Fault fault) : Run(FaultInfo(fault)) {}

  constexpr bool ok() const { return length_ != 0; }
  constexpr std::uint64_t length() const { return length_; }
  // Only when ok().
  constexpr Start start() const { return start_; }
  // Only when not ok().
  constexpr FaultInfo fault() const {
    return {static_cast<Fault>(fault_ & 0xff), static_cast<std::uint8_t>(fault_ >> 8),
            static_cast<std::uint32_t>(fault_ >> 32)};
  }

 private:
  // As one word: a struct of three fields would be taken apart and put together again wherever a
  // run is passed on.
  static constexpr std::uint64_t Pack(FaultInfo fault) {
    return static_cast<std::uint64_t>(fault.fault) | std::uint64_t{fault.level} << 8 |
           std::uint64_t{fault.error_code} << 32;
  }

  union {
    Start start_;
    std::uint64_t fault_;
  };
  std::uint64_t length_;
};

// Guest-physical: what a translation gives.
using Segment = Run<PhysicalAddress>;

// In the hypervisor's own address space: what Memory gives.
using Mapping = Run<std::byte*>;
static_assert(sizeof(Mapping) == 16 || sizeof(void*) != 8);

// `Map(physical, length, access)`: the longest contiguous run at `physical`, of at most `length`
// bytes (`length` is at least 1), or why there is none. A run ends where the caller wanted, or at
// the end of a page of 4 KiB or more.
template <class M>
concept Memory = requires(M& memory, PhysicalAddress physical, std::uint64_t length) {
  { memory.Map(physical, length, Access::kRead) } -> std::same_as<Mapping>;
};

// A memory may have a quick side, by value: `FindPage(physical, access, &page)` says where the page
// of 4 KiB that holds an address begins, if that takes a few instructions; else false, for no
// reason. Who is answered false begins anew with the memory itself and uses nothing of what was
// found.
template <class M>
using QuickSide = decltype(std::declval<M&>().Quick());
template <class M>
concept HasQuickSide = Memory<M> &&
    requires(QuickSide<M> side, PhysicalAddress physical, std::byte** page) {
  { side.FindPage(physical, Access::kRead, page) } -> std::same_as<bool>;
};

// One aligned u64 of a guest's table (a base, a descriptor's entry, a page-table entry), read once.
// An aligned word never straddles a page, so one run always holds it.
template <Memory M>
inline Result<std::uint64_t> ReadWord(M& memory, PhysicalAddress physical, ByteOrder order) {
  if (!IsAligned(physical.value, sizeof(std::uint64_t))) return Fault::kMisaligned;
  const Mapping mapping = memory.Map(physical, sizeof(std::uint64_t), Access::kRead);
  if (!mapping.ok()) return mapping.fault();
  return LoadSharedField<std::uint64_t>(mapping.start(), order);
}

}  // namespace xencomm

#endif  // XENCOMM_MEMORY_H_
