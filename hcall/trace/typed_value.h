// Bytes as values, by their type and by the row that says what they are.
#ifndef HCALL_TRACE_TYPED_VALUE_H_
#define HCALL_TRACE_TYPED_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hcall/schema/op.h"
#include "hcall/trace/value.h"

namespace xencomm::trace {

using Bytes = std::span<const std::byte>;

// How much of it: elements of a list, bytes of a text.
struct Amounts {
  std::size_t elements = ~std::size_t{0};
  std::size_t bytes = ~std::size_t{0};
};

// A number, or a handle. `spelling` is its type's in the header, `name` the field's.
Value ScalarOf(Bytes bytes, schema::Kind kind, std::string_view spelling, std::string_view name);

// What a row says of a value, or of each in a list, besides.
void MarkAs(const schema::Part& part, Value& value);
// A number is whose; of a list each.
void SetLocal(schema::Local local, bool is_made, Value& value);

// Up to a zero, as a name in a structure ends.
Value NameOf(Bytes bytes, const Amounts& amounts);

// The first `all` bits that `bytes` are the beginning of.
Value BitsOf(Bytes bytes, std::uint64_t all, const Amounts& amounts);

// Elements one after another, as far as there are bytes.
Value ArrayOf(Bytes bytes, const schema::Type& type, std::string_view spelling,
              std::string_view name, const Amounts& amounts);

Value StructOf(Bytes bytes, const schema::Type& type, const Amounts& amounts);

bool IsPadding(std::string_view name);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_TYPED_VALUE_H_
