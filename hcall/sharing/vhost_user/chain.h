// A descriptor chain, taken off a ring: where a request's bytes are.
//
// To a device it is two spaces: what the guest's driver wrote for it, and what it is to write. A
// place in either is an offset from its start, whatever buffers it is made of: the offset is the
// pointer, and the chain is the translation.
#ifndef HCALL_SHARING_VHOST_USER_CHAIN_H_
#define HCALL_SHARING_VHOST_USER_CHAIN_H_

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "hcall/sharing/vhost_user/guest_memory.h"
#include "xencomm/space.h"

namespace xencomm::vhost_user {

// Buffers that are read as one after the other.
class Buffers {
 public:
  // Of a length of 32 bits each, so that the sum of as many as there are descriptors has 64.
  void Add(PhysicalAddress address, std::uint32_t length) {
    ends_.push_back(size() + length);
    addresses_.push_back(address);
  }
  void Clear() {
    ends_.clear();
    addresses_.clear();
  }

  std::uint64_t size() const { return ends_.empty() ? 0 : ends_.back(); }  // bytes
  std::size_t count() const { return ends_.size(); }

  // The rest of the buffer in which an offset lies, as far as it is wanted.
  Segment At(std::uint64_t offset, std::uint64_t length) const {
    const auto end = std::ranges::upper_bound(ends_, offset);
    if (end == ends_.end()) return Fault::kOutOfRange;
    const auto index = static_cast<std::size_t>(end - ends_.begin());
    const std::uint64_t start = index == 0 ? 0 : ends_[index - 1];
    return {addresses_[index] + (offset - start), std::min(length, *end - offset)};
  }

 private:
  std::vector<std::uint64_t> ends_;  // offsets, ascending
  std::vector<PhysicalAddress> addresses_;
};

struct Chain {
  std::uint16_t head = 0;
  Buffers readable, writable;
};

class BufferTranslation {
 public:
  struct Cursor {};

  explicit BufferTranslation(const Buffers& buffers) : buffers_(&buffers) {}

  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                    Cursor&) const {
    VirtualAddress sum;
    if (!AddOffset(pointer, offset, &sum)) return Fault::kOverflow;
    return buffers_->At(sum.value, length);
  }

 private:
  const Buffers* buffers_;
};

// Buffers as a Space, for one access: what was mapped for it stays until this is gone.
class BufferAccess {
 public:
  // Both are borrowed.
  BufferAccess(const GuestMemory& memory, const Buffers& buffers)
      : accessor_(memory.BeginAccess()), space_(BufferTranslation(buffers), accessor_) {}

  Space& space() { return space_; }

 private:
  GuestMemory::Accessor accessor_;
  SpaceOver<BufferTranslation, GuestMemory::Accessor> space_;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_CHAIN_H_
