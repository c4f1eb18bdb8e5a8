#include "hcall/hypervisor/argument.h"

#include "hcall/schema/swap.h"
#include "xencomm/copy.h"

namespace xencomm::hypervisor {

bool ArgumentBase::FetchBytes() {
  return CopyFrom(call_.space, VirtualAddress{pointer_}, 0, value_, size_).ok();
}

bool ArgumentBase::SelectRow(std::uint64_t hypercall, std::uint64_t op) {
  op_ = schema::Find(hypercall, op);
  if (op_ == nullptr) return false;
  if (call_.domain.order != kNativeOrder) {
    schema::Swap(op_->argument, value_, call_.domain.order);
  }
  return true;
}

bool ArgumentBase::StoreParts(std::uint64_t offset, std::uint64_t size) const {
  // Swapped where it is for as long as it takes, since a field alone does not know its order.
  const bool swap = call_.domain.order != kNativeOrder;
  if (swap) schema::Swap(op_->argument, value_, kNativeOrder);
  bool stored = true;
  const auto* record = static_cast<const std::byte*>(value_);
  for (const schema::Part& part : op_->argument.parts) {
    if (!part.writes() || part.is_buffer()) continue;
    if (!Contains(offset, size, part.offset, part.size)) continue;
    if (!CopyTo(call_.space, VirtualAddress{pointer_}, part.offset, record + part.offset, part.size)
             .ok()) {
      stored = false;
      break;
    }
  }
  if (swap) schema::Swap(op_->argument, value_, call_.domain.order);
  return stored;
}

}  // namespace xencomm::hypervisor
