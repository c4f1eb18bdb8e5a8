#include "hcall/schema/audit.h"

namespace xencomm::schema {
namespace {

Range PayloadOf(const RegionLayout& region) {
  const std::uint64_t table = region.payload_offset();
  return {region.virtual_base() + table, region.length() - table};
}

// The one pointer that may lead to what is for arguments only.
bool IsTheCopy(const Buffer& buffer, const Range& copy) {
  return buffer.in_register && buffer.entry == kNoIndex && buffer.address == copy.start &&
         buffer.bytes == copy.bytes;
}

// Walks a call; `check` says of a buffer what is wrong with it, kNone when nothing.
template <class Check>
Finding AuditBy(const Call& call, const Caller& caller, AllowedOps allowed, Check check,
                BufferVisitor visit) {
  Problem problem = Problem::kStopped;
  auto look = [&](const Buffer& buffer) {
    const Problem found = check(buffer);
    if (found == Problem::kNone) return visit(buffer);
    problem = found;
    return false;
  };
  auto enter = [&](const Op& op) {
    if (allowed.Contains(op.hypercall(), op.number)) return true;
    problem = Problem::kNotAllowed;
    return false;
  };
  Finding finding = ForEachBuffer(call, caller, look, enter);
  if (finding.problem == Problem::kStopped) finding.problem = problem;
  return finding;
}

}  // namespace

Finding Audit(const Call& call, const Caller& caller, const AuditPolicy& policy, const Range& copy,
              BufferVisitor visit) {
  const Range payload = PayloadOf(policy.region);
  auto check = [&](const Buffer& buffer) {
    if (!payload.Has(buffer.address, buffer.bytes)) return Problem::kOutside;
    if (policy.arguments_only.Touches(buffer.address, buffer.bytes) && !IsTheCopy(buffer, copy)) {
      return Problem::kArgumentsOnly;
    }
    const bool is_kept = buffer.part->lifetime() == Lifetime::kUntilReplaced;
    return is_kept && !policy.is_registered ? Problem::kOutlives : Problem::kNone;
  };
  return AuditBy(call, caller, policy.allowed, check, visit);
}

Finding AuditRanges(const Call& call, const Caller& caller, std::span<const Range> ranges,
                    AllowedOps allowed) {
  auto check = [&](const Buffer& buffer) {
    for (const Range& range : ranges) {
      if (range.Has(buffer.address, buffer.bytes)) return Problem::kNone;
    }
    return Problem::kOutside;
  };
  return AuditBy(call, caller, allowed, check, {});
}

}  // namespace xencomm::schema
