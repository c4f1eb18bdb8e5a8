// The range of addresses that a process's region takes: reserved as a whole, filled by whoever maps
// machine memory into it.
#ifndef HCALL_TRANSPORT_REGION_RANGE_H_
#define HCALL_TRANSPORT_REGION_RANGE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "xencomm/backing.h"
#include "xencomm/region.h"

namespace xencomm {

class RegionRange {
 public:
  // With room for `payload_size` bytes, in whole pages, behind the table. Nothing can be touched
  // yet. It stays until Release: a forked child has none of it.
  static absl::StatusOr<RegionRange> Reserve(std::uint64_t payload_size);

  const RegionLayout& layout() const { return layout_; }
  std::byte* base() const;
  std::byte* payload() const { return base() + layout_.payload_offset(); }
  Backing::Reservation reservation() const;

  // Of bytes of the payload that were mapped: forked children get none of them, and all pages are
  // there, so that the first use does not fault (where that fails, it does).
  void Keep(std::uint64_t offset, std::uint64_t length) const;
  // They can no longer be touched.
  void Empty(std::uint64_t offset, std::uint64_t length) const;
  void Release() const;

 private:
  explicit RegionRange(const RegionLayout& layout) : layout_(layout) {}

  RegionLayout layout_;
};

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_REGION_RANGE_H_
