// Looking things up in the table of facts, which is generated/op_table_facts.cc.
#include <cstddef>
#include <cstdint>

#include "hcall/schema/op.h"

namespace xencomm::schema {

const Hypercall* Find(std::uint64_t hypercall) {
  if (hypercall >= std::size(facts::kByNumber) || facts::kByNumber[hypercall] == 0) return nullptr;
  return &facts::kHypercalls[facts::kByNumber[hypercall] - 1];
}

std::span<const Op> FormsOf(const Hypercall& hypercall, std::uint64_t op) {
  const std::span<const Op> ops = hypercall.ops();
  if (hypercall.op_place == OpPlace::kNone) return ops;
  const std::uint64_t number = op & hypercall.op_mask;
  // From where it would stand without gaps and second forms, mostly a few rows away.
  const Op* const begin = ops.data();
  const Op* const end = begin + ops.size();
  const Op* first = number < ops.size() ? begin + number : end;
  while (first != begin && first[-1].number >= number) --first;
  while (first != end && first->number < number) ++first;
  const Op* last = first;
  while (last != end && last->number == number) ++last;
  return {first, last};
}

const Op* Find(const Hypercall& hypercall, std::uint64_t op, Releases releases) {
  return NewestOf(FormsOf(hypercall, op), releases);
}

const Op* Find(std::uint64_t hypercall, std::uint64_t op, Releases releases) {
  const Hypercall* const found = Find(hypercall);
  return found != nullptr ? Find(*found, op, releases) : nullptr;
}

}  // namespace xencomm::schema
