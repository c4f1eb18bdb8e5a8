#include "hcall/schema/audit.h"

namespace xencomm::schema {
namespace {

bool IsAllowed(const Op& op, std::span<const AllowedOp> allowed) {
  if (allowed.empty()) return true;
  for (const AllowedOp& each : allowed) {
    if (each.hypercall != op.hypercall->number) continue;
    if (op.hypercall->op_place == OpPlace::kNone || each.op == op.number) return true;
  }
  return false;
}

bool IsInPayload(const RegionLayout& region, const Buffer& buffer) {
  const std::uint64_t payload = region.payload_offset();
  return Contains(region.virtual_base().value + payload, region.length() - payload,
                  buffer.address.value, buffer.bytes);
}

}  // namespace

Finding Audit(const Call& call, const Caller& caller, const AuditPolicy& policy) {
  Problem problem = Problem::kStopped;
  auto check = [&](const Buffer& buffer) {
    if (!IsInPayload(policy.region, buffer)) {
      problem = Problem::kOutside;
    } else if (buffer.part->lifetime == Lifetime::kUntilReplaced && !policy.is_registered) {
      problem = Problem::kOutlives;
    } else {
      return true;
    }
    return false;
  };
  auto enter = [&](const Op& op) {
    if (IsAllowed(op, policy.allowed)) return true;
    problem = Problem::kNotAllowed;
    return false;
  };
  Finding finding = ForEachBuffer(call, caller, check, WalkOrder::kParentsFirst, enter);
  if (finding.problem == Problem::kStopped) finding.problem = problem;
  return finding;
}

}  // namespace xencomm::schema
