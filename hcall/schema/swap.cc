#include "hcall/schema/swap.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "hcall/schema/count.h"

namespace xencomm::schema {

void Swap(const Type& type, void* value) {
  std::byte* const bytes = static_cast<std::byte*>(value);
  if (type.is_number()) return std::reverse(bytes, bytes + type.size);
  for (const Field& field : type.fields()) {
    for (std::uint32_t i = 0; i < field.count; ++i) {
      Swap(field.type(), bytes + field.offset + i * field.type().size);
    }
  }
}

void SwapPart(const Part& part, void* field) {
  std::byte* const bytes = static_cast<std::byte*>(field);
  const Type& type = part.type();
  for (std::uint32_t at = 0; at < part.size(); at += type.size) Swap(type, bytes + at);
}

void Swap(const Record& record, void* bytes, ByteOrder order) {
  // Which parts are there is found out before any changes: discriminators are swapped too.
  std::array<bool, kMaxParts> is_there;
  const RecordView view(bytes, order);
  const std::span<const Part> parts = record.parts();
  for (std::size_t i = 0; i < parts.size(); ++i) is_there[i] = view.Has(parts[i], Phase::kBefore);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (is_there[i]) SwapPart(parts[i], static_cast<std::byte*>(bytes) + parts[i].offset);
  }
}

}  // namespace xencomm::schema
