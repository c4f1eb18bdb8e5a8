#include "hcall/schema/swap.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "hcall/schema/count.h"

namespace xencomm::schema {
namespace {

void Reverse(std::byte* bytes, std::uint32_t size) {
  for (std::uint32_t i = 0; i < size / 2; ++i) {
    const std::byte low = bytes[i];
    bytes[i] = bytes[size - 1 - i];
    bytes[size - 1 - i] = low;
  }
}

void SwapField(const Field& field, std::byte* record) {
  if (field.bit_offset != 0) return;  // stands in the storage of the bit-field before it
  for (std::uint32_t i = 0; i < field.count; ++i) {
    Swap(*field.type, record + field.offset + i * field.type->size);
  }
}

}  // namespace

void Swap(const Type& type, void* value) {
  std::byte* bytes = static_cast<std::byte*>(value);
  switch (type.kind) {
    case Kind::kVoid:
    case Kind::kCharacter:
      return;
    case Kind::kUnsigned:
    case Kind::kSigned:
    case Kind::kHandle:
      return Reverse(bytes, type.size);
    case Kind::kUnion:
      if (type.common != nullptr) SwapField(*type.common, bytes);
      return;
    case Kind::kStruct:
      for (const Field& field : type.members()) SwapField(field, bytes);
      return;
  }
}

void SwapPart(const Part& part, void* field) {
  std::byte* bytes = static_cast<std::byte*>(field);
  for (std::uint32_t at = 0; at < part.size; at += part.type->size) Swap(*part.type, bytes + at);
}

void Swap(const Record& record, void* bytes, ByteOrder order) {
  // Which parts are there is found out before any changes: discriminators are swapped too.
  std::array<bool, kMaxParts> is_there;
  const RecordView view(bytes, order);
  for (std::size_t i = 0; i < record.parts.size(); ++i)
    is_there[i] = view.Has(record.parts[i], Phase::kBefore);
  for (std::size_t i = 0; i < record.parts.size(); ++i) {
    const Part& part = record.parts[i];
    if (is_there[i]) SwapPart(part, static_cast<std::byte*>(bytes) + part.offset);
  }
}

}  // namespace xencomm::schema
