#include "hcall/transport/watched_call.h"

#include <algorithm>

#include "hcall/transport/outputs.h"
#include "xencomm/space.h"

namespace xencomm::schema {
namespace {

// The process's memory as memcheck knows it: what is not there is a fault.
class WatchedMemory final : public Space {
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    // An address of the process's own, or of nothing.
    auto* const start = reinterpret_cast<std::byte*>(pointer.value + offset);
    if (!memcheck::IsReadable(start, length)) return Fault::kNotPresent;
    return Mapping(start, length);
  }
};

void ExpectInputs(const Type& element, const Record* record, bool reads, const std::byte* data,
                  std::uint64_t bytes) {
  if (record == nullptr) {
    if (reads) memcheck::ExpectDefined(data, bytes);
    return;
  }
  for (std::uint64_t at = 0; at < bytes; at += element.size) {
    const RecordView view(data + at, kNativeOrder);
    for (const Part& part : record->parts()) {
      if (part.is_buffer() || !part.reads()) continue;
      const bool is_there = [&] {
        const memcheck::Silence silence;  // what it depends on is an input, too
        return view.Has(part, Phase::kBefore) && at + part.offset + part.size() <= bytes;
      }();
      if (is_there) memcheck::ExpectDefined(data + at + part.offset, part.size());
    }
  }
}

void ExpectInputs(const CollectedBuffer& collected) {
  const Buffer& buffer = collected.buffer;
  if (collected.pointer != nullptr) {
    memcheck::ExpectDefined(collected.pointer, sizeof(std::uint64_t));
  }
  ExpectInputs(*buffer.element, buffer.element_record, buffer.reads(), collected.data(),
               buffer.bytes);
  if (collected.tail == 0) return;
  const Part& tail = *collected.tail_part;
  ExpectInputs(tail.element(), tail.element_record(), tail.reads(), collected.data() + buffer.bytes,
               collected.tail);
}

}  // namespace

WatchedCall::WatchedCall(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments)
    : call_{.hypercall = op} {
  std::ranges::copy(arguments, call_.registers.begin());
  std::vector<CollectedBuffer> buffers;
  {
    const memcheck::Silence silence;  // it is said below of what was to be defined
    WatchedMemory memory;
    if (!CollectBuffers(call_, {.space = memory}, buffers).ok()) return;
  }
  for (const CollectedBuffer& buffer : buffers) {
    ExpectInputs(buffer);
    buffers_.push_back({buffer, {buffer.data(), buffer.data() + buffer.bytes()}});
  }
}

void WatchedCall::Returned(std::int64_t answer) const {
  const memcheck::Silence silence;  // what was not written may be looked at all the same
  for (const Before& before : buffers_) {
    std::byte* const data = before.buffer.data();
    const ReturnedBuffer returned{before.buffer, data, before.buffer.pointer, call_.registers,
                                  kNativeOrder};
    const std::int64_t result = returned.ResultOf(buffers_.front().buffer.data(), answer);
    returned.ForEachOutput(result, [&](std::uint64_t offset, std::uint64_t bytes) {
      if (result >= 0) {
        memcheck::SetDefined(data + offset, bytes);
        return;
      }
      for (std::uint64_t i = offset; i < offset + bytes; ++i) {
        if (data[i] != before.bytes[i]) memcheck::SetDefined(&data[i], 1);
      }
    });
  }
}

}  // namespace xencomm::schema
