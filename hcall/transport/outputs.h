// What of a call's buffers it has written, by the op table, now that it has returned.
#ifndef HCALL_TRANSPORT_OUTPUTS_H_
#define HCALL_TRANSPORT_OUTPUTS_H_

#include <cstddef>
#include <cstdint>

#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/transport/collect.h"
#include "xencomm/byte_order.h"

namespace xencomm::schema {

// A buffer as it is after the call: itself, or the copy that the call was made with.
struct ReturnedBuffer {
  const CollectedBuffer& original;
  const std::byte* data;
  const std::byte* pointer;  // to it, in the structure around it; nullptr: a register
  const Registers& registers;
  ByteOrder order;

  // What the call answered that it belongs to: of a call in a list its own, unless the list as a
  // whole failed. `list` is the data of the call's first buffer.
  std::int64_t ResultOf(const std::byte* list, std::int64_t result) const {
    const std::uint64_t entry = original.buffer.entry;
    if (entry == kNoIndex || result < 0) return result;
    const std::byte* const place =
        list + entry * sizeof(multicall_entry) + offsetof(multicall_entry, result);
    return static_cast<std::int64_t>(LoadField<std::uint64_t>(place, order));
  }

  // Calls visit(offset, bytes): of elements with rows for the fields that are written; of others
  // for all, when they are; of arrays for the elements that the op says it filled.
  template <class Visit>
  void ForEachOutput(std::int64_t result, Visit visit) const {
    const Buffer& buffer = original.buffer;
    const std::uint64_t bytes =
        pointer == nullptr
            ? Filled(*buffer.part, buffer.bytes, registers.data(), kNativeOrder, result)
            : Filled(*buffer.part, buffer.bytes, pointer - buffer.part->offset, order, result);
    OfElements(*buffer.element, buffer.element_record, buffer.writes(), {0, bytes}, visit);
    if (original.tail == 0) return;
    const Part& tail = *original.tail_part;
    OfElements(tail.element(), tail.element_record(), tail.writes(),
               {buffer.bytes, Filled(tail, original.tail, data, order, result)}, visit);
  }

 private:
  struct Stretch {
    std::uint64_t start, bytes;
  };

  // Of `bytes` of a buffer those that hold results.
  static std::uint64_t Filled(const Part& part, std::uint64_t bytes, const void* holder,
                              ByteOrder order, std::int64_t result) {
    if (part.filled().kind == CountKind::kNone) return bytes;
    const std::uint64_t size = part.element().size;
    return CountFilled(part, bytes / size, holder, order, result) * size;
  }

  template <class Visit>
  void OfElements(const Type& element, const Record* record, bool writes, Stretch all,
                  Visit visit) const {
    if (record == nullptr) {
      if (writes) visit(all.start, all.bytes);
      return;
    }
    for (std::uint64_t at = 0; at < all.bytes; at += element.size) {
      const RecordView view(data + all.start + at, order);
      for (const Part& part : record->parts()) {
        if (part.is_buffer() || !part.writes() || !view.Has(part, Phase::kAfter)) continue;
        if (at + part.offset + part.size() > all.bytes) continue;  // a structure that was cut off
        visit(all.start + at + part.offset, part.size());
      }
    }
  }
};

}  // namespace xencomm::schema

#endif  // HCALL_TRANSPORT_OUTPUTS_H_
