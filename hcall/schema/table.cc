// Looking things up in the op table. The table itself, with its indices, is generated/table.cc.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hcall/schema/op.h"

namespace xencomm::schema {

// Of each number: 1 and the hypercall's place among Hypercalls(), or 0. In generated/table.cc.
std::span<const std::uint8_t> HypercallsByNumber();

namespace {

// Without the C library's strlen, which string_view would ask for.
bool IsSame(std::string_view text, const char* name) {
  for (const char c : text) {
    if (*name == '\0' || *name++ != c) return false;
  }
  return *name == '\0';
}

}  // namespace

const Hypercall* Find(std::uint64_t hypercall) {
  const std::span<const std::uint8_t> index = HypercallsByNumber();
  if (hypercall >= index.size() || index[hypercall] == 0) return nullptr;
  return &Hypercalls()[index[hypercall] - std::size_t{1}];
}

const Op* Find(const Hypercall& hypercall, std::uint64_t op, std::uint32_t version) {
  if (hypercall.op_place == OpPlace::kNone) return &hypercall.ops[0];
  const std::uint64_t number = op & hypercall.op_mask;
  // The first row of that number; those of its other versions are right behind.
  std::size_t low = 0;
  std::size_t high = hypercall.by_number.size();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (hypercall.ops[hypercall.by_number[middle]].number < number) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < hypercall.by_number.size(); ++low) {
    const Op& each = hypercall.ops[hypercall.by_number[low]];
    if (each.number != number) return nullptr;
    if (each.IsIn(version)) return &each;
  }
  return nullptr;
}

const Op* Find(std::uint64_t hypercall, std::uint64_t op) {
  const Hypercall* found = Find(hypercall);
  return found != nullptr ? Find(*found, op, found->version) : nullptr;
}

const Hypercall* Find(std::string_view hypercall) {
  for (const Hypercall& each : Hypercalls()) {
    if (IsSame(hypercall, each.name)) return &each;
  }
  return nullptr;
}

const Op* Find(std::string_view hypercall, std::string_view op) {
  const Hypercall* found = Find(hypercall);
  if (found == nullptr) return nullptr;
  const Op* other = nullptr;
  for (const Op& each : found->ops) {
    if (!IsSame(op, each.name)) continue;
    if (each.IsIn(found->version)) return &each;
    other = &each;
  }
  return other;
}

}  // namespace xencomm::schema
