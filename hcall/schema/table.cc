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
  std::size_t first = 0;
  std::size_t high = ops.size();
  while (first < high) {
    const std::size_t middle = (first + high) / 2;
    if (ops[middle].number < number) {
      first = middle + 1;
    } else {
      high = middle;
    }
  }
  std::size_t end = first;
  while (end < ops.size() && ops[end].number == number) ++end;
  return ops.subspan(first, end - first);
}

const Op* Find(const Hypercall& hypercall, std::uint64_t op, Releases releases) {
  return NewestOf(FormsOf(hypercall, op), releases);
}

const Op* Find(std::uint64_t hypercall, std::uint64_t op, Releases releases) {
  const Hypercall* const found = Find(hypercall);
  return found != nullptr ? Find(*found, op, releases) : nullptr;
}

}  // namespace xencomm::schema
