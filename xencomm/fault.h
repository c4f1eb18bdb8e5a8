// Why a guest's address could not be used.
//
// A fault is a value of its own type, never a magic address or a short count. It says what was
// wrong; the operation that returns it says at which guest address.
#ifndef XENCOMM_FAULT_H_
#define XENCOMM_FAULT_H_

#include <cstdint>
#include <optional>

#include "xencomm/language.h"

namespace xencomm {

enum class Fault : std::uint8_t {
  kNone,

  // Any address.
  kNull,        // a null handle where bytes are wanted
  kOverflow,    // the range passes 2^64
  kOutOfRange,  // outside what the handle, the region or the descriptor covers
  kMisaligned,  // an address that the format wants aligned is not

  // Guest-physical memory.
  kNoMemory,     // nothing is there
  kNotReadable,  // MMIO, or a frame that is not the domain's to read
  kNotWritable,  // page table, read-only, grant or foreign frame

  // Regions, descriptors, inline addresses.
  kNoRegion,       // the call names no region, or an id that is not registered
  kBadMagic,       // not the format at all
  kByteOrder,      // the format, in the order the domain does not have
  kBadVersion,     // the format, in a version not known
  kBadHeader,      // a field of the header contradicts the format
  kInTable,        // the pointer aims at the region's table
  kNotBacked,      // a granule or a descriptor's entry that names no memory
  kArgumentsOnly,  // a pointer found in memory aims at a granule that only registers may name

  // Page walk.
  kNotCanonical,   // address bits above the walk's width do not repeat its top bit
  kNotPresent,     // P clear
  kReserved,       // a bit that must be zero is set
  kProtection,     // R/W, U/S, SMAP or SMEP forbid the access
  kNoExecute,      // NX
  kProtectionKey,  // PKRU or PKRS forbid the access
};

// A few words for each, for messages and logs.
constexpr const char* Describe(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "no fault";
    case Fault::kNull:
      return "a null handle";
    case Fault::kOverflow:
      return "the range passes 2^64";
    case Fault::kOutOfRange:
      return "outside the range that was given";
    case Fault::kMisaligned:
      return "misaligned";
    case Fault::kNoMemory:
      return "no memory at this guest-physical address";
    case Fault::kNotReadable:
      return "a frame that may not be read";
    case Fault::kNotWritable:
      return "a frame that may not be written";
    case Fault::kNoRegion:
      return "no such region";
    case Fault::kBadMagic:
      return "wrong magic";
    case Fault::kByteOrder:
      return "the magic in the other byte order";
    case Fault::kBadVersion:
      return "unknown version";
    case Fault::kBadHeader:
      return "malformed header";
    case Fault::kInTable:
      return "a pointer into the region's table";
    case Fault::kNotBacked:
      return "not backed by memory";
    case Fault::kArgumentsOnly:
      return "a pointer found in memory, into a granule for arguments only";
    case Fault::kNotCanonical:
      return "not a canonical address";
    case Fault::kNotPresent:
      return "page not present";
    case Fault::kReserved:
      return "reserved bit set in a page-table entry";
    case Fault::kProtection:
      return "access forbidden by the page's protection";
    case Fault::kNoExecute:
      return "instruction fetch from a no-execute page";
    case Fault::kProtectionKey:
      return "access forbidden by the page's protection key";
  }
  return "unknown fault";
}

// A fault with what a page walk knows besides: the level at which it stopped (1 = the leaf table,
// 0 = not a walk's fault) and the #PF error code that the processor would have pushed.
struct FaultInfo {
  Fault fault = Fault::kNone;
  std::uint8_t level = 0;
  std::uint32_t error_code = 0;

  constexpr FaultInfo() = default;
  // Implicit, so that a function can simply `return Fault::kOverflow`.
  constexpr FaultInfo(Fault f, std::uint8_t l = 0, std::uint32_t e = 0)
      : fault(f), level(l), error_code(e) {}

  constexpr bool ok() const { return fault == Fault::kNone; }
  friend constexpr bool operator==(const FaultInfo&, const FaultInfo&) = default;
};

// A value, or the fault because of which there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  constexpr Result(T value) : value_(value) {}
  constexpr Result(Fault fault) : fault_(fault) {}
  constexpr Result(FaultInfo fault) : fault_(fault) {}

  constexpr bool ok() const { return value_.has_value(); }
  constexpr FaultInfo fault() const { return fault_; }

  // Only after ok().
  constexpr const T& operator*() const { return *value_; }
  constexpr const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  FaultInfo fault_;
};

}  // namespace xencomm

#endif  // XENCOMM_FAULT_H_
