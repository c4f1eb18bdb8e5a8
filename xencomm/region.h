// The region format, version 1.
//
// A region is a virtually contiguous range of granules. It begins with its own table: a header and
// one base, a guest-physical address, for each granule. Then comes the payload.
//
//   virtual_base                                               virtual_base + length
//   | header | bases[0] bases[1] … bases[n-1] |    payload …   |
//   |<- granule 0 ->|<- granule 1 ->|  …                       |
//
// The table is reached through itself. Base i lies in granule g(i) = (32 + 8 i) >> granule_shift,
// and g(i) < i for every i >= 1: following g ends at granule 0, whose place the caller knows. It is
// a radix tree that needs no format of its own.
//
// With one granule header, base and payload share it: the page form. With more, the payload begins
// at the first granule that holds no part of the table.
#ifndef XENCOMM_REGION_H_
#define XENCOMM_REGION_H_

#include <cstddef>
#include <cstdint>

#include "xencomm/address.h"
#include "xencomm/byte_order.h"
#include "xencomm/fault.h"

namespace xencomm {

// For offsets and sizes. A header in memory is read and written field by field (RegionLayout).
struct RegionHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t granule_shift;  // 12…30
  std::uint8_t flags;          // 0
  std::uint64_t virtual_base;  // aligned to the granule
  std::uint64_t length;        // bytes, table included
  std::uint32_t base_count;    // length >> granule_shift
  std::uint32_t reserved;      // 0
};
static_assert(sizeof(RegionHeader) == 32);
static_assert(offsetof(RegionHeader, magic) == 0 && offsetof(RegionHeader, version) == 4);
static_assert(offsetof(RegionHeader, granule_shift) == 6 && offsetof(RegionHeader, flags) == 7);
static_assert(offsetof(RegionHeader, virtual_base) == 8 && offsetof(RegionHeader, length) == 16);
static_assert(offsetof(RegionHeader, base_count) == 24 && offsetof(RegionHeader, reserved) == 28);

inline constexpr std::uint32_t kRegionMagic = 0x58435247;
inline constexpr std::uint16_t kRegionVersion = 1;
inline constexpr unsigned kMinGranuleShift = 12;
inline constexpr unsigned kMaxGranuleShift = 30;

// A base that names no memory.
inline constexpr std::uint64_t kNotBackedBase = ~std::uint64_t{0};

// Where base `index` lies, in bytes from the start of the region.
constexpr std::uint64_t BaseOffset(std::uint64_t index) {
  return sizeof(RegionHeader) + index * sizeof(std::uint64_t);
}

// The shape of a region that was found to be well formed; all numbers follow from three.
class RegionLayout {
 public:
  // kMisaligned, kOverflow, or kBadHeader when the numbers cannot be a region's.
  static constexpr Result<RegionLayout> Make(VirtualAddress virtual_base, std::uint64_t length,
                                             unsigned granule_shift) {
    if (granule_shift < kMinGranuleShift || granule_shift > kMaxGranuleShift) {
      return Fault::kBadHeader;
    }
    const std::uint64_t granule = std::uint64_t{1} << granule_shift;
    if (!IsAligned(virtual_base.value, granule)) return Fault::kMisaligned;
    if (length == 0 || !IsAligned(length, granule)) return Fault::kBadHeader;
    if (Overflows(virtual_base.value, length)) return Fault::kOverflow;
    if (length >> granule_shift > ~std::uint32_t{0}) return Fault::kBadHeader;
    return RegionLayout(virtual_base, length, granule_shift);
  }

  // From the first 32 bytes of a region, in the domain's order. `header` is a copy of one's own:
  // the guest must not be able to change it between the checks.
  static Result<RegionLayout> Parse(const std::byte* header, ByteOrder order) {
    const auto magic = LoadField<std::uint32_t>(header + offsetof(RegionHeader, magic), order);
    if (magic != kRegionMagic) {
      return magic == __builtin_bswap32(kRegionMagic) ? Fault::kByteOrder : Fault::kBadMagic;
    }
    if (LoadField<std::uint16_t>(header + offsetof(RegionHeader, version), order) !=
        kRegionVersion) {
      return Fault::kBadVersion;
    }
    if (LoadField<std::uint8_t>(header + offsetof(RegionHeader, flags), order) != 0 ||
        LoadField<std::uint32_t>(header + offsetof(RegionHeader, reserved), order) != 0) {
      return Fault::kBadHeader;
    }
    const Result<RegionLayout> layout =
        Make({LoadField<std::uint64_t>(header + offsetof(RegionHeader, virtual_base), order)},
             LoadField<std::uint64_t>(header + offsetof(RegionHeader, length), order),
             LoadField<std::uint8_t>(header + offsetof(RegionHeader, granule_shift), order));
    if (layout.ok() &&
        layout->base_count() !=
            LoadField<std::uint32_t>(header + offsetof(RegionHeader, base_count), order)) {
      return Fault::kBadHeader;
    }
    return layout;
  }

  // The 32 bytes that Parse reads.
  void Store(std::byte* header, ByteOrder order) const {
    StoreField(header + offsetof(RegionHeader, magic), kRegionMagic, order);
    StoreField(header + offsetof(RegionHeader, version), kRegionVersion, order);
    StoreField(header + offsetof(RegionHeader, granule_shift),
               static_cast<std::uint8_t>(granule_shift_), order);
    StoreField(header + offsetof(RegionHeader, flags), std::uint8_t{0}, order);
    StoreField(header + offsetof(RegionHeader, virtual_base), virtual_base_.value, order);
    StoreField(header + offsetof(RegionHeader, length), length_, order);
    StoreField(header + offsetof(RegionHeader, base_count), base_count(), order);
    StoreField(header + offsetof(RegionHeader, reserved), std::uint32_t{0}, order);
  }

  constexpr VirtualAddress virtual_base() const { return virtual_base_; }
  constexpr std::uint64_t length() const { return length_; }
  constexpr unsigned granule_shift() const { return static_cast<unsigned>(granule_shift_); }
  constexpr std::uint64_t granule_size() const { return std::uint64_t{1} << granule_shift_; }
  constexpr std::uint32_t base_count() const {
    return static_cast<std::uint32_t>(length_ >> granule_shift_);
  }

  // Where the payload begins, in bytes from the start of the region. A pointer to anything before
  // it is refused in every direction: an output must not become a base.
  constexpr std::uint64_t payload_offset() const {
    const std::uint64_t table = BaseOffset(base_count());
    return base_count() == 1 ? table : AlignUp(table, granule_size());
  }

  // Granules that hold a part of the table.
  constexpr std::uint64_t table_granules() const {
    return AlignUp(BaseOffset(base_count()), granule_size()) >> granule_shift_;
  }

  // g(i): the granule in which base `index` lies.
  constexpr std::uint64_t BaseGranule(std::uint64_t index) const {
    return BaseOffset(index) >> granule_shift_;
  }

  // How many bases are read to reach granule `index` when only granule 0 is known.
  constexpr unsigned BaseReads(std::uint64_t index) const {
    unsigned reads = 0;
    for (; index != 0; index = BaseGranule(index)) ++reads;
    return reads;
  }

  friend constexpr bool operator==(const RegionLayout&, const RegionLayout&) = default;

 private:
  constexpr RegionLayout(VirtualAddress virtual_base, std::uint64_t length, unsigned granule_shift)
      : virtual_base_(virtual_base), length_(length), granule_shift_(granule_shift) {}

  VirtualAddress virtual_base_;
  std::uint64_t length_;
  std::uint64_t granule_shift_;  // as wide as the others: a layout is all of its bytes
};

// No region, whatever its granule, needs more reads: base_count has 32 bits, and each step takes
// nine of them or more.
inline constexpr unsigned kMaxBaseReads = 4;
static_assert(RegionLayout::Make({0}, ((std::uint64_t{1} << 32) - 1) << 12, 12)
                  ->BaseReads((std::uint64_t{1} << 32) - 2) == kMaxBaseReads);

}  // namespace xencomm

#endif  // XENCOMM_REGION_H_
