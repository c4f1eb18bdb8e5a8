// The buffers of a call in the process's own memory, as a list: what the hosted users of the walk
// (bounce, descriptors, swapping) begin with.
#ifndef HCALL_SCHEMA_COLLECT_H_
#define HCALL_SCHEMA_COLLECT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hcall/schema/walk.h"

namespace xencomm::schema {

// A buffer with the place of the pointer to it. An array at the end of its own structure is part of
// that structure's buffer: `tail` bytes of it.
struct CollectedBuffer {
  Buffer buffer;
  std::uint64_t tail = 0;
  const Part* tail_part = nullptr;
  // What points at it, as bits: the address and, in few registers, flags. `pointer` lies in the
  // structure around it, in the caller's order; nullptr: in register number `register_index`.
  std::byte* pointer = nullptr;
  std::size_t register_index = 0;

  std::uint64_t bytes() const { return buffer.bytes + tail; }
  std::byte* data() const {
    // The walk found it in the process's own structures.
    return reinterpret_cast<std::byte*>(buffer.address.value);
  }
};

// Parents first. The finding says why there are not all.
Finding CollectBuffers(const Call& call, ByteOrder order, std::uint32_t vcpus,
                       std::vector<CollectedBuffer>& buffers);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_COLLECT_H_
