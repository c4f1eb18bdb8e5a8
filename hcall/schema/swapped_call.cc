#include "hcall/schema/swapped_call.h"

#include <algorithm>

#include "hcall/schema/swap.h"

namespace xencomm::schema {
namespace {

void SwapNumber(std::byte* bytes, std::uint32_t size) { std::reverse(bytes, bytes + size); }

void SwapBuffer(const CollectedBuffer& collected, ByteOrder order, Phase phase) {
  const Buffer& buffer = collected.buffer;
  const std::uint64_t size = buffer.element->size;
  for (std::uint64_t at = 0; at + size <= buffer.bytes || (at == 0 && buffer.bytes != 0);
       at += size) {
    std::byte* element = collected.data() + at;
    if (buffer.element_record != nullptr) {
      Swap(*buffer.element_record, element, order, phase);
      // The array at its end goes by its own type.
      for (const Part& part : buffer.element_record->parts) {
        if (!part.is_trailing || collected.tail == 0) continue;
        for (std::uint64_t i = 0; i + part.element->size <= collected.tail;
             i += part.element->size) {
          std::byte* last = element + part.offset + i;
          if (part.element_record != nullptr) {
            Swap(*part.element_record, last, order, phase);
          } else {
            Swap(*part.element, last);
          }
        }
      }
    } else {
      Swap(*buffer.element, element);
    }
  }
  // Bytes are nobody's numbers, but for the length of the buffer that stands among them.
  const Amount& room = buffer.part->room;
  if (room.kind == CountKind::kInside && size == 1)
    SwapNumber(collected.data() + room.at, room.per);
}

}  // namespace

SwappedCall::SwappedCall(const Call& call, ByteOrder order, std::uint32_t vcpus) : order_(order) {
  std::vector<CollectedBuffer> buffers;
  finding_ = CollectBuffers(call, order, vcpus, buffers);
  if (!finding_.ok()) return;
  const std::vector<BufferGroup> groups = GroupBuffers(buffers);
  for (const BufferGroup& group : groups) {
    if (group.unlike == nullptr) continue;
    finding_ = FindOverlap(*group.unlike);
    return;
  }
  for (const BufferGroup& group : groups) {
    CollectedBuffer whole = *group.first;
    whole.buffer.bytes = group.bytes() - whole.tail;
    SwapBuffer(whole, order, Phase::kBefore);
    buffers_.push_back(whole);
  }
}

SwappedCall::~SwappedCall() {
  for (const CollectedBuffer& buffer : buffers_) {
    SwapBuffer(buffer, Opposite(order_), Phase::kAfter);
  }
}

}  // namespace xencomm::schema
