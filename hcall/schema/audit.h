// The audit: may this call pass? Its op is one of a named set, and all that it points at lies in
// the given region.
//
// Freestanding and without allocation, so that a kernel in lockdown can ask it before it lets a
// program's call through; the answer names op, field, index and address. It needs no knowledge of
// ops beyond the table.
//
//   constexpr AllowedOp kAllowed[] = {{__HYPERVISOR_sysctl, XEN_SYSCTL_readconsole}};
//   const Finding finding = Audit(call, {space}, {.region = layout, .allowed = kAllowed});
//   if (!finding.ok()) return -EPERM;
//
// Rules:
// 1. A list names all that may pass: an empty one lets nothing through. Of a list of calls
//    (multicall) the op of each entry is looked up too.
// 2. The program may change its memory after the audit. Pointers and counts cost nothing where the
//    hypervisor takes every pointer of the call through the same region, as it does when the call
//    names one: then the audit says early and by name what the hypervisor would refuse.
// 3. An op's number that stands in memory (domctl, sysctl, platform_op, dm_op, the entries of a
//    multicall) is another matter: the hypervisor would read it again. A kernel that restricts ops
//    audits a copy of that structure which only it can write, and passes the copy on.
#ifndef HCALL_SCHEMA_AUDIT_H_
#define HCALL_SCHEMA_AUDIT_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/schema/walk.h"
#include "xencomm/region.h"

namespace xencomm::schema {

// An op that is let through; of a hypercall without ops, any number.
struct AllowedOp {
  std::uint64_t hypercall;
  std::uint64_t op;
};

// A set of ops, over a list that outlives it: a constexpr array, as a rule.
class AllowedOps {
 public:
  template <std::size_t kCount>
  constexpr AllowedOps(const AllowedOp (&list)[kCount]) : list_(list) {}
  constexpr AllowedOps(std::span<const AllowedOp> list) : list_(list) {}

  // All that the table knows.
  static constexpr AllowedOps All() { return AllowedOps(); }

  constexpr bool Contains(const Op& op) const {
    if (is_all_) return true;
    for (const AllowedOp& each : list_) {
      if (each.hypercall != op.hypercall->number) continue;
      if (op.hypercall->op_place == OpPlace::kNone || each.op == op.number) return true;
    }
    return false;
  }

 private:
  constexpr AllowedOps() : is_all_(true) {}

  std::span<const AllowedOp> list_ = {};
  bool is_all_ = false;
};

struct AuditPolicy {
  RegionLayout region;
  // Whether the hypervisor holds the region's frames until it is unregistered. Pointers that
  // outlive their call are refused in others.
  bool is_registered = true;
  AllowedOps allowed = AllowedOps::All();
};

Finding Audit(const Call& call, const Caller& caller, const AuditPolicy& policy);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_AUDIT_H_
