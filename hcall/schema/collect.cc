#include "hcall/schema/collect.h"

#include "hcall/schema/own_space.h"

namespace xencomm::schema {

Finding CollectBuffers(const Call& call, ByteOrder order, std::uint32_t vcpus,
                       std::vector<CollectedBuffer>& buffers) {
  OwnSpace space;
  auto collect = [&](const Buffer& buffer) {
    if (buffer.part->is_trailing) {
      // The structure that it ends was visited before it.
      for (auto owner = buffers.rbegin(); owner != buffers.rend(); ++owner) {
        if (owner->buffer.address != buffer.holder) continue;
        const std::uint64_t end = (buffer.address - buffer.holder) + buffer.bytes;
        owner->tail = end > owner->buffer.bytes ? end - owner->buffer.bytes : 0;
        owner->tail_part = buffer.part;
        break;
      }
      return true;
    }
    CollectedBuffer collected = {.buffer = buffer};
    collected.buffer.holder_copy = nullptr;  // lives no longer than the visit
    if (buffer.in_register) {
      collected.register_index = buffer.part->offset / sizeof(std::uint64_t);
    } else {
      collected.pointer = reinterpret_cast<std::byte*>(buffer.holder.value + buffer.part->offset);
    }
    // The call of a list's entry has its registers in the entry.
    if (buffer.in_register && buffer.entry != kNoIndex) {
      constexpr std::uint64_t kArguments = 16;  // struct multicall_entry, xen/xen.h
      const CollectedBuffer& list = buffers.front();
      collected.buffer.in_register = false;
      collected.buffer.holder = list.buffer.address + buffer.entry * list.buffer.element->size;
      collected.pointer = reinterpret_cast<std::byte*>(collected.buffer.holder.value) + kArguments +
                          buffer.part->offset;
    }
    buffers.push_back(collected);
    return true;
  };
  return ForEachBuffer(call, {space, order, vcpus}, collect);
}

}  // namespace xencomm::schema
