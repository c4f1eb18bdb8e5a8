// What a hostile caller changes in a call: one number at a time, chosen by the table, so that it is
// a count, a discriminator, an op number or a pointer more often than a byte of somebody's text.
#ifndef TESTS_FUZZ_HOSTILE_EDIT_H_
#define TESTS_FUZZ_HOSTILE_EDIT_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hcall/transport/collect.h"
#include "tests/fuzz/random_call.h"

namespace xencomm::fuzz {

// Plain numbers, so that it can stand in a fuzzer's input; each is taken modulo what there is.
struct Edit {
  std::uint8_t buffer;  // of the call's, its registers behind them
  std::uint8_t part;    // of the buffer's rows
  std::uint8_t element;
  std::uint8_t kind;  // of value
  std::uint32_t value;
};

inline std::uint64_t HostileValue(const Edit& edit, const CallMemory& memory) {
  switch (edit.kind % 12) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return ~std::uint64_t{0};
    case 3:
      return std::uint64_t{1} << 61;  // times eight it is none
    case 4:
      return std::uint64_t{1} << 63;
    case 5:
      return 0xffffffff;
    case 6:
      return memory.end() - 1;
    case 7:
      return ~std::uint64_t{0} - edit.value % 64;  // the last bytes of all memory
    case 8:
      return memory.address() + edit.value % (1 << CallMemory::kShift);
    case 9:
      return memory.address() + edit.value % memory.used().size();
    case 10:
      return edit.value % 256;
    default:
      return edit.value;
  }
}

// `buffers` are the call's, as they were before any edit. The memory's bytes and `call` change.
inline void Apply(const Edit& edit, const std::vector<schema::CollectedBuffer>& buffers,
                  ByteOrder order, const CallMemory& memory, schema::Call& call) {
  const std::uint64_t value = HostileValue(edit, memory);
  const std::size_t which = edit.buffer % (buffers.size() + 1);
  if (which == buffers.size()) {
    call.registers[edit.part % call.registers.size()] = value;
    return;
  }
  const schema::CollectedBuffer& buffer = buffers[which];
  const schema::Type& element = *buffer.buffer.element;
  const std::uint64_t count = std::max<std::uint64_t>(buffer.buffer.bytes / element.size, 1);
  const std::uint64_t start = edit.element % count * element.size;
  schema::Ref field = {0, std::min<std::uint32_t>(element.size, 8)};
  if (buffer.buffer.element_record != nullptr) {
    const auto& parts = buffer.buffer.element_record->parts();
    const schema::Part& part = parts[edit.part % parts.size()];
    field = {part.offset, part.is_trailing() ? 1 : std::min<std::uint32_t>(part.size(), 8)};
  }
  if (start + field.offset + field.size > buffer.bytes()) return;
  StoreNumber(buffer.data() + start, field, value, order);
}

}  // namespace xencomm::fuzz

#endif  // TESTS_FUZZ_HOSTILE_EDIT_H_
