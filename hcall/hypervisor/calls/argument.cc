#include "hcall/hypervisor/calls/argument.h"

#include <cstring>

#include "hcall/schema/count.h"
#include "hcall/schema/swap.h"
#include "xencomm/copy.h"

namespace xencomm::hypervisor {

bool ArgumentBase::FetchBytes() {
  return CopyFrom(call_.register_space, VirtualAddress{pointer_}, offset_, value_, size_).ok();
}

bool ArgumentBase::SelectForm(const schema::Op* form) {
  op_ = form;
  if (op_ == nullptr) return false;
  if (call_.domain.order != kNativeOrder) {
    schema::Swap(op_->argument(), value_, call_.domain.order);
  }
  if (op_->moves().empty()) return true;
  std::memcpy(theirs_, value_, size_);
  std::memset(value_, 0, size_);
  for (const schema::Move& move : op_->moves()) {
    std::memcpy(value_ + move.base, theirs_ + move.here, move.size);
  }
  return true;
}

// `offset` is the handler's.
bool ArgumentBase::StoreParts(std::uint64_t offset, std::uint64_t size) const {
  const bool swap = call_.domain.order != kNativeOrder;
  std::byte* const record = op_->moves().empty() ? value_ : theirs_;
  std::uint64_t there = offset;
  for (const schema::Move& move : op_->moves()) {
    std::memcpy(theirs_ + move.here, value_ + move.base, move.size);
    if (Contains(move.base, move.size, offset, size)) there = offset - move.base + move.here;
  }
  const schema::RecordView view(record, kNativeOrder);
  // In one piece and writable, as most are, it is looked up once for all its fields.
  const Mapping whole =
      call_.register_space.Map(VirtualAddress{pointer_}, offset_, size_, Access::kWrite, nullptr);
  std::byte* const to = whole.length() == size_ ? whole.start() : nullptr;
  for (const schema::Part& part : op_->argument().parts()) {
    if (!part.writes() || part.is_buffer() || !view.Has(part, schema::Phase::kAfter)) continue;
    const std::uint32_t bytes = part.size();
    if (!Contains(there, size, part.offset, bytes)) continue;
    std::byte* const field = record + part.offset;
    // Swapped only while it is copied: what is left here is still in the processor's order.
    if (swap) schema::SwapPart(part, field);
    bool stored = true;
    if (to != nullptr) {
      std::memcpy(to + part.offset, field, bytes);
    } else {
      stored = CopyTo(call_.register_space, VirtualAddress{pointer_}, offset_ + part.offset, field,
                      bytes)
                   .ok();
    }
    if (swap) schema::SwapPart(part, field);
    if (!stored) return false;
  }
  return true;
}

}  // namespace xencomm::hypervisor
