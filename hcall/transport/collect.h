// The buffers of a call in the process's own memory, as a list: what the hosted users of the walk
// (bounce, descriptors) begin with; and which of them share bytes.
#ifndef HCALL_TRANSPORT_COLLECT_H_
#define HCALL_TRANSPORT_COLLECT_H_

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

// What Xen answers for a call of which this was found.
int ErrnoOf(Problem problem);

// Parents first. The finding says why there are not all.
Finding CollectBuffers(const Call& call, ByteOrder order, std::uint32_t vcpus, Releases releases,
                       std::vector<CollectedBuffer>& buffers);
// `space` is one of this process's own memory: it may know what cannot be touched. A buffer that
// cannot, as the op uses it, is kUnreadable.
Finding CollectBuffers(const Call& call, const Caller& caller,
                       std::vector<CollectedBuffer>& buffers);

// Buffers that share bytes, directly or by others between them: what one of them writes, the others
// show.
struct BufferGroup {
  std::uint64_t start = 0;  // address of the first byte
  std::uint64_t last = 0;   // and of the last one
  const CollectedBuffer* first = nullptr;
  // One whose elements are unlike the first one's, or begin elsewhere; nullptr: there is none, and
  // the group is one list of elements.
  const CollectedBuffer* unlike = nullptr;

  std::uint64_t bytes() const { return last - start + 1; }
  std::byte* data() const { return reinterpret_cast<std::byte*>(start); }
};

// Every buffer lies in one; ascending by address. They point into `buffers`.
std::vector<BufferGroup> GroupBuffers(const std::vector<CollectedBuffer>& buffers);

const BufferGroup& GroupOf(const std::vector<BufferGroup>& groups, const std::byte* byte);

// For uses that replace pointers in the structures around them: such a pointer must not be another
// buffer's data. kOverlap.
Finding FindSharedPointer(const std::vector<CollectedBuffer>& buffers,
                          const std::vector<BufferGroup>& groups);

}  // namespace xencomm::schema

#endif  // HCALL_TRANSPORT_COLLECT_H_
