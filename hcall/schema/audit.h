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
//    (multicall) the op of each entry is looked up too. No list, not even All(), lets a call
//    through that is for kernels alone (IsForKernels).
// 2. The program may change its memory after the audit. Pointers and counts cost nothing where the
//    hypervisor takes every pointer of the call through the same region, as it does when the call
//    names one: then the audit says early and by name what the hypervisor would refuse.
// 3. An op's number that stands in memory (domctl, sysctl, platform_op, dm_op, the entries of a
//    multicall) is another matter: the hypervisor would read it again. A kernel that restricts ops
//    audits a copy of that structure which only it can write, and passes the copy on
//    (audited_call.h). The copy lies in granules that are registered for arguments only, or the
//    hypervisor itself could be told to write there; a register that the program fills must not
//    lead to them.
#ifndef HCALL_SCHEMA_AUDIT_H_
#define HCALL_SCHEMA_AUDIT_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/schema/walk.h"
#include "xencomm/hypercall.h"
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

  constexpr bool Contains(const Hypercall& hypercall, std::uint64_t op) const {
    if (IsForKernels(hypercall.number)) return false;
    if (is_all_) return true;
    for (const AllowedOp& each : list_) {
      if (each.hypercall != hypercall.number) continue;
      if (hypercall.op_place == OpPlace::kNone || each.op == op) return true;
    }
    return false;
  }

 private:
  constexpr AllowedOps() : is_all_(true) {}

  std::span<const AllowedOp> list_ = {};
  bool is_all_ = false;
};

// A range of the program's addresses, in bytes.
struct Range {
  VirtualAddress start = {};
  std::uint64_t bytes = 0;

  constexpr bool Has(VirtualAddress address, std::uint64_t length) const {
    return xencomm::Contains(start.value, bytes, address.value, length);
  }
  constexpr bool Touches(VirtualAddress address, std::uint64_t length) const {
    return bytes != 0 && (address - start < bytes || (length != 0 && start - address < length));
  }
};

struct AuditPolicy {
  RegionLayout region;
  // Whether the hypervisor holds the region's frames until it is unregistered. Pointers that
  // outlive their call are refused in others.
  bool is_registered = true;
  AllowedOps allowed = AllowedOps::All();
  // What is registered for arguments only (GranuleUse), for the kernel's copies: whole granules of
  // the payload.
  Range arguments_only = {};
};

// `copy` is where the kernel's own copy of the call's argument lies, when the register leads to
// one; nothing else may lead to policy.arguments_only. `visit` sees each buffer that was found
// good.
Finding Audit(const Call& call, const Caller& caller, const AuditPolicy& policy,
              const Range& copy = {}, BufferVisitor visit = {});

// The same for a program that knows where its own structures lie: each buffer in one of the ranges.
Finding AuditRanges(const Call& call, const Caller& caller, std::span<const Range> ranges,
                    AllowedOps allowed);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_AUDIT_H_
