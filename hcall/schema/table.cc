// Looking things up in the op table. The table itself is generated/table.cc.
#include <cstdint>
#include <string_view>

#include "hcall/schema/op.h"

namespace xencomm::schema {

const Hypercall* Find(std::uint64_t hypercall) {
  for (const Hypercall& each : Hypercalls()) {
    if (each.number == hypercall) return &each;
  }
  return nullptr;
}

const Op* Find(std::uint64_t hypercall, std::uint64_t op) {
  const Hypercall* found = Find(hypercall);
  if (found == nullptr) return nullptr;
  for (const Op& each : found->ops) {
    if (found->op_place == OpPlace::kNone || each.number == (op & found->op_mask)) return &each;
  }
  return nullptr;
}

const Hypercall* Find(std::string_view hypercall) {
  for (const Hypercall& each : Hypercalls()) {
    if (hypercall == each.name) return &each;
  }
  return nullptr;
}

const Op* Find(std::string_view hypercall, std::string_view op) {
  const Hypercall* found = Find(hypercall);
  if (found == nullptr) return nullptr;
  for (const Op& each : found->ops) {
    if (op == each.name) return &each;
  }
  return nullptr;
}

}  // namespace xencomm::schema
