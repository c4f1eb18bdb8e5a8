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

}  // namespace

Finding Audit(const Call& call, const Caller& caller, const AuditPolicy& policy, const Range& copy,
              BufferVisitor visit) {
  const Range payload = PayloadOf(policy.region);
  Problem problem = Problem::kStopped;
  auto check = [&](const Buffer& buffer) {
    if (!payload.Has(buffer.address, buffer.bytes)) {
      problem = Problem::kOutside;
    } else if (policy.arguments_only.Touches(buffer.address, buffer.bytes) &&
               !IsTheCopy(buffer, copy)) {
      problem = Problem::kArgumentsOnly;
    } else if (buffer.part->lifetime == Lifetime::kUntilReplaced && !policy.is_registered) {
      problem = Problem::kOutlives;
    } else {
      return visit(buffer);
    }
    return false;
  };
  auto enter = [&](const Op& op) {
    if (policy.allowed.Contains(op)) return true;
    problem = Problem::kNotAllowed;
    return false;
  };
  Finding finding = ForEachBuffer(call, caller, check, enter);
  if (finding.problem == Problem::kStopped) finding.problem = problem;
  return finding;
}

}  // namespace xencomm::schema
