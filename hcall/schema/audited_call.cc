#include "hcall/schema/audited_call.h"

#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/copy.h"

namespace xencomm::schema {

AuditedCall::AuditedCall(const Call& call, const Caller& caller, const AuditPolicy& policy,
                         const AuditScratch& scratch)
    : call_(call), caller_(caller), scratch_(scratch) {
  const Hypercall* hypercall = Find(call.hypercall);
  if (hypercall != nullptr && hypercall->op_place == OpPlace::kFirstBuffer) {
    Refuse(Problem::kNotAllowed, *hypercall);
    return;
  }
  const bool is_named_in_memory =
      hypercall != nullptr && (hypercall->op_place == OpPlace::kArgument || hypercall->holds_calls);
  if (is_named_in_memory && !CopyArgument(*hypercall, policy)) return;
  auto note_argument = [&](const Buffer& buffer) {
    if (record_ != nullptr || !buffer.in_register) return true;
    element_ = buffer.element;
    record_ = buffer.element_record;
    return true;
  };
  const Range copy = copied_ != 0 ? Range{scratch.address, copied_} : Range{};
  finding_ = Audit(call_, caller, policy, copy, note_argument);
  if (finding_.ok() && hypercall->holds_calls) CheckEntries();
}

bool AuditedCall::Refuse(Problem problem, const Hypercall& hypercall, const Part* part) {
  finding_ = {.problem = problem,
              .hypercall = &hypercall,
              .part = part,
              .address = original_,
              .bytes = copied_};
  return false;
}

// Where it lies and how long it is, the registers say; what is in it is looked at in the copy.
bool AuditedCall::CopyArgument(const Hypercall& hypercall, const AuditPolicy& policy) {
  const Part* const pointer = BufferOf(hypercall.ops()[0].registers());
  const RecordView registers(call_.registers.data(), kNativeOrder);
  original_ = {registers.Read(pointer->offset, sizeof(std::uint64_t))};
  const Result<std::uint64_t> count =
      hypercall.holds_calls ? Evaluate(pointer->room(), registers) : Result<std::uint64_t>(1);
  const std::uint64_t size = pointer->element().size;
  const std::uint64_t room = scratch_.memory.size();
  if (!count.ok() || *count > room / size) return Refuse(Problem::kTooMany, hypercall, pointer);
  const std::uint64_t bytes = *count * size;
  // The audit says by name what is wrong with a pointer to nothing.
  if (bytes == 0 || original_.value == 0) return true;
  copied_ = bytes;
  if (!policy.is_registered || !policy.arguments_only.Has(scratch_.address, room)) {
    return Refuse(Problem::kUnguarded, hypercall, pointer);
  }
  // It is written again by CopyBack, where other copies must not be.
  if (policy.arguments_only.Touches(original_, copied_)) {
    return Refuse(Problem::kArgumentsOnly, hypercall, pointer);
  }
  const CopyResult result = CopyFrom(caller_.space, original_, 0, scratch_.memory.data(), copied_);
  if (!result.ok()) {
    Refuse(Problem::kUnreadable, hypercall, pointer);
    finding_.address = result.address;
    finding_.fault = result.fault;
    return false;
  }
  call_.registers[static_cast<std::size_t>(hypercall.pointer)] = scratch_.address.value;
  return true;
}

void AuditedCall::CheckEntries() {
  constexpr std::uint64_t kSize = sizeof(multicall_entry);
  for (std::uint64_t i = 0; i < copied_ / kSize; ++i) {
    const RecordView entry(scratch_.memory.data() + i * kSize, caller_.order);
    // Known, as the audit passed it.
    const Hypercall* hypercall =
        Find(entry.Read(offsetof(multicall_entry, op), sizeof(std::uint64_t)));
    const OpPlace place = hypercall->op_place;
    if (place == OpPlace::kNone || place == OpPlace::kRegister) continue;
    finding_ = {.problem = Problem::kNotAllowed, .hypercall = hypercall, .entry = i};
    return;
  }
}

CopyResult AuditedCall::CopyBack() {
  if (!ok()) return {};
  for (std::uint64_t at = 0; at < copied_; at += element_->size) {
    const std::byte* const copy = scratch_.memory.data() + at;
    const RecordView view(copy, caller_.order);
    for (const Part& part : record_->parts()) {
      if (part.is_buffer() || !part.writes() || !view.Has(part, Phase::kAfter)) continue;
      const CopyResult result =
          CopyTo(caller_.space, original_, at + part.offset, copy + part.offset, part.size());
      if (!result.ok()) return result;
    }
  }
  return {};
}

}  // namespace xencomm::schema
