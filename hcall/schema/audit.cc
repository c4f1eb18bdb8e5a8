#include "hcall/schema/audit.h"

namespace xencomm::schema {
namespace {

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
    if (policy.allowed.Contains(op)) return true;
    problem = Problem::kNotAllowed;
    return false;
  };
  Finding finding = ForEachBuffer(call, caller, check, WalkOrder::kParentsFirst, enter);
  if (finding.problem == Problem::kStopped) finding.problem = problem;
  return finding;
}

}  // namespace xencomm::schema
