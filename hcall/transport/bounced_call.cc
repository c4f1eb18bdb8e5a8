#include "hcall/transport/bounced_call.h"

#include <cstring>

#include "hcall/transport/outputs.h"
#include "xencomm/byte_order.h"
#include "xencomm/own_space.h"

namespace xencomm::schema {
namespace {

// Copies are aligned as the originals are: addresses may have flags in their low bits.
constexpr std::uint64_t kAlignment = 8;

// It has no state.
Space& OwnMemory() {
  static OwnSpace space;
  return space;
}

}  // namespace

BouncedCall::BouncedCall(const Call& call, ByteOrder order, BounceMemory& memory,
                         std::uint32_t vcpus, Releases releases)
    : BouncedCall(call, Caller{OwnMemory(), order, vcpus, releases}, memory) {}

BouncedCall::BouncedCall(const Call& call, const Caller& caller, BounceMemory& memory,
                         CallerMemory* theirs)
    : call_(call), order_(caller.order), memory_(memory), theirs_(theirs) {
  std::vector<CollectedBuffer> buffers;
  finding_ = CollectBuffers(call, caller, buffers);
  if (!finding_.ok()) return;
  const std::vector<BufferGroup> groups = GroupBuffers(buffers);
  finding_ = FindSharedPointer(buffers, groups);
  if (!finding_.ok()) return;
  for (const BufferGroup& group : groups) {
    const std::uint64_t shift = group.start % kAlignment;
    std::byte* const block = memory_.Allocate(shift + group.bytes());
    if (block == nullptr) {
      out_of_memory_ = true;
      return;
    }
    blocks_.push_back(block);
    if (!Read(group, block + shift)) {
      finding_ = {.problem = Problem::kUnreadable,
                  .address = {group.start},
                  .bytes = group.bytes(),
                  .fault = Fault::kNotPresent};
      return;
    }
  }
  const auto in_copy = [&](const std::byte* original) {
    const BufferGroup& group = GroupOf(groups, original);
    return blocks_[static_cast<std::size_t>(&group - groups.data())] + group.start % kAlignment +
           (original - group.data());
  };
  // A structure that two pointers lead to has its own pointers listed twice: all are kept before
  // one is replaced.
  for (const CollectedBuffer& buffer : buffers) {
    Copy copy = {.original = buffer, .data = in_copy(buffer.data()), .pointer = nullptr, .bits = 0};
    if (buffer.pointer != nullptr) {
      copy.pointer = in_copy(buffer.pointer);
      copy.bits = LoadField<std::uint64_t>(copy.pointer, order_);
    }
    copies_.push_back(copy);
  }
  for (const Copy& copy : copies_) {
    const std::uint64_t flags = ~copy.original.buffer.part->address_bits();
    const auto address = reinterpret_cast<std::uint64_t>(copy.data);
    if (copy.pointer == nullptr) {
      std::uint64_t& bits = call_.registers[copy.original.register_index];
      bits = (bits & flags) | address;
    } else {
      StoreField(copy.pointer, (copy.bits & flags) | address, order_);
    }
  }
}

BouncedCall::~BouncedCall() {
  for (std::byte* block : blocks_) memory_.Free(block);
}

bool BouncedCall::Read(const BufferGroup& group, std::byte* to) const {
  if (theirs_ != nullptr) return theirs_->Read(group.start, to, group.bytes());
  std::memcpy(to, group.data(), group.bytes());
  return true;
}

bool BouncedCall::Write(std::byte* to, const std::byte* from, std::uint64_t bytes) const {
  if (theirs_ != nullptr) return theirs_->Write(reinterpret_cast<std::uintptr_t>(to), from, bytes);
  std::memcpy(to, from, bytes);
  return true;
}

bool BouncedCall::CopyBack(std::int64_t result) {
  // The entries of a list of calls are copied back with their arguments: they get their own again.
  for (const Copy& copy : copies_) {
    if (copy.pointer != nullptr) StoreField(copy.pointer, copy.bits, order_);
  }
  bool is_written = true;
  for (const Copy& copy : copies_) {
    const ReturnedBuffer returned{copy.original, copy.data, copy.pointer, call_.registers, order_};
    std::byte* const to = copy.original.data();
    returned.ForEachOutput(returned.ResultOf(copies_.front().data, result),
                           [&](std::uint64_t offset, std::uint64_t bytes) {
                             is_written &= Write(to + offset, copy.data + offset, bytes);
                           });
  }
  return is_written;
}

}  // namespace xencomm::schema
