#include "hcall/hypervisor/calls/argument.h"

#include <cstring>

#include "hcall/schema/count.h"
#include "hcall/schema/swap.h"
#include "xencomm/copy.h"

namespace xencomm::hypervisor {

bool ArgumentBase::FetchBytes() {
  return CopyFrom(call_.register_space, VirtualAddress{pointer_}, 0, value_, size_).ok();
}

bool ArgumentBase::SelectRow(std::uint64_t hypercall, std::uint64_t op) {
  op_ = schema::Find(hypercall, op);
  if (op_ == nullptr) return false;
  if (call_.domain.order != kNativeOrder) schema::Swap(op_->argument, value_, call_.domain.order);
  return true;
}

bool ArgumentBase::StoreParts(std::uint64_t offset, std::uint64_t size) const {
  const bool swap = call_.domain.order != kNativeOrder;
  auto* record = static_cast<std::byte*>(value_);
  const schema::RecordView view(record, kNativeOrder);
  // In one piece and writable, as most are, it is looked up once for all its fields.
  const Mapping whole =
      call_.register_space.Map(VirtualAddress{pointer_}, 0, size_, Access::kWrite, nullptr);
  std::byte* const to = whole.length() == size_ ? whole.start() : nullptr;
  for (const schema::Part& part : op_->argument.parts) {
    if (!part.writes() || part.is_buffer() || !view.Has(part, schema::Phase::kAfter)) continue;
    if (!Contains(offset, size, part.offset, part.size)) continue;
    std::byte* field = record + part.offset;
    // Swapped only while it is copied: what is left here is still in the processor's order.
    if (swap) schema::SwapPart(part, field);
    bool stored = true;
    if (to != nullptr) {
      std::memcpy(to + part.offset, field, part.size);
    } else {
      stored = CopyTo(call_.register_space, VirtualAddress{pointer_}, part.offset, field, part.size)
                   .ok();
    }
    if (swap) schema::SwapPart(part, field);
    if (!stored) return false;
  }
  return true;
}

}  // namespace xencomm::hypervisor
