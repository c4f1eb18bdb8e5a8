#include "hcall/schema/audited_call.h"

#include "hcall/schema/count.h"
#include "hcall/schema/generated/layout.h"
#include "xencomm/copy.h"

namespace xencomm::schema {

AuditedCall::AuditedCall(const Call& call, const Caller& caller, const AuditPolicy& policy,
                         const AuditScratch& scratch)
    : call_(call), caller_(caller), scratch_(scratch) {
  const Hypercall* hypercall = Find(call.hypercall);
  if (hypercall != nullptr && hypercall->op_place == OpPlace::kFirstBuffer) {
    finding_ = {.problem = Problem::kNotAllowed, .hypercall = hypercall};
    return;
  }
  const bool is_named_in_memory =
      hypercall != nullptr && (hypercall->op_place == OpPlace::kArgument || hypercall->holds_calls);
  if (is_named_in_memory && !CopyArgument(*hypercall)) return;
  finding_ = Audit(call_, caller, policy);
  if (finding_.ok() && hypercall->holds_calls) CheckEntries();
}

// The pointer to it is the one register that the walk visits first.
bool AuditedCall::CopyArgument(const Hypercall& hypercall) {
  bool found = false;
  auto locate = [&](const Buffer& buffer) {
    original_ = buffer.address;
    copied_ = buffer.bytes;
    element_ = buffer.element;
    record_ = buffer.element_record;
    found = true;
    return false;
  };
  finding_ = ForEachBuffer(call_, caller_, locate);
  // Of no bytes, or nothing that can be walked to.
  if (!found) return finding_.ok();
  if (copied_ > scratch_.memory.size()) {
    finding_.problem = Problem::kTooMany;
    return false;
  }
  const CopyResult result = CopyFrom(caller_.space, original_, 0, scratch_.memory.data(), copied_);
  if (!result.ok()) {
    finding_.problem = Problem::kUnreadable;
    finding_.address = result.address;
    finding_.fault = result.fault;
    return false;
  }
  call_.registers[static_cast<std::size_t>(hypercall.pointer)] = scratch_.address.value;
  return true;
}

void AuditedCall::CheckEntries() {
  constexpr std::uint32_t kNumber = layout::multicall_entry_fields[0].offset;
  constexpr std::uint32_t kSize = layout::multicall_entry.size;
  for (std::uint64_t i = 0; i < copied_ / kSize; ++i) {
    const RecordView entry(scratch_.memory.data() + i * kSize, caller_.order);
    // Known, as the audit passed it.
    const Hypercall* hypercall = Find(entry.Read({kNumber, sizeof(std::uint64_t)}));
    const OpPlace place = hypercall->op_place;
    if (place == OpPlace::kNone || place == OpPlace::kRegister) continue;
    finding_ = {.problem = Problem::kNotAllowed, .hypercall = hypercall, .entry = i};
    return;
  }
}

CopyResult AuditedCall::CopyBack() {
  for (std::uint64_t at = 0; at < copied_; at += element_->size) {
    const std::byte* const copy = scratch_.memory.data() + at;
    const RecordView view(copy, caller_.order);
    for (const Part& part : record_->parts) {
      if (part.is_buffer() || !part.writes() || !view.Has(part, Phase::kAfter)) continue;
      const CopyResult result =
          CopyTo(caller_.space, original_, at + part.offset, copy + part.offset, part.size);
      if (!result.ok()) return result;
    }
  }
  return {};
}

}  // namespace xencomm::schema
