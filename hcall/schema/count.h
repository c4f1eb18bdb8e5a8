// Counting: how many elements a buffer has, by the numbers in a record.
//
// The numbers are the guest's: every product is checked for overflow before it is used.
#ifndef HCALL_SCHEMA_COUNT_H_
#define HCALL_SCHEMA_COUNT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hcall/schema/op.h"
#include "xencomm/byte_order.h"
#include "xencomm/fault.h"

namespace xencomm::schema {

// A record in memory of one's own, to read fields of. Offsets are those of the record; `base` says
// how many of its bytes are missing in front, when only a part of it is at hand.
class RecordView {
 public:
  RecordView(const void* record, ByteOrder order, std::uint64_t base = 0)
      : bytes_(static_cast<const std::byte*>(record)), base_(base), order_(order) {}

  // 0 of no field at all.
  std::uint64_t Read(Ref ref) const { return Read(ref.offset, ref.size); }
  std::uint64_t Read(std::uint64_t offset, std::uint64_t size) const {
    const std::byte* from = bytes_ + (offset - base_);
    switch (size) {
      case 1:
        return LoadField<std::uint8_t>(from, order_);
      case 2:
        return LoadField<std::uint16_t>(from, order_);
      case 4:
        return LoadField<std::uint32_t>(from, order_);
      case 8:
        return LoadField<std::uint64_t>(from, order_);
      default:
        return 0;
    }
  }

  bool Holds(const Test& test) const {
    // Discriminators are unsigned in all headers, so that widening keeps their value.
    return !test.field || test.Holds(static_cast<std::int64_t>(Read(test.field)));
  }
  // Whether the field is there, in this record, before the call or after it.
  bool Has(const Part& part, Phase phase) const {
    return (part.phase() == Phase::kBoth || part.phase() == phase) && Holds(part.when());
  }
  bool Holds(const Variant& variant) const {
    // Most are there always: then the first test is the one that always holds.
    return variant.test_indices[0] == 0 || (Holds(variant.test(0)) && Holds(variant.test(1)));
  }

 private:
  const std::byte* bytes_;
  std::uint64_t base_;
  ByteOrder order_;
};

// Elements, when the record's fields tell; kOverflow when they would be 2^64 or more, kOutOfRange
// when something else has to be looked at first: the buffer itself or the hypercall's result.
inline Result<std::uint64_t> Evaluate(const Amount& amount, const RecordView& record) {
  switch (amount.kind) {
    case CountKind::kNone:
      return std::uint64_t{0};
    case CountKind::kNumber: {
      std::uint64_t count = amount.scale;
      for (const Ref factor : {amount.a, amount.b}) {
        if (factor && __builtin_mul_overflow(count, record.Read(factor), &count)) {
          return Fault::kOverflow;
        }
      }
      count = count / amount.per + (count % amount.per != 0 ? 1 : 0);
      if (count != 0 && __builtin_add_overflow(count, amount.more, &count)) return Fault::kOverflow;
      return count;
    }
    case CountKind::kRange: {
      const std::uint64_t first = record.Read(amount.a);
      const std::uint64_t last = record.Read(amount.b);
      if (last < first) return std::uint64_t{0};
      std::uint64_t count;
      if (__builtin_add_overflow(last - first, 1, &count)) return Fault::kOverflow;
      return count;
    }
    default:
      return Fault::kOutOfRange;
  }
}

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_COUNT_H_
