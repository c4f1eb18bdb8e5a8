// The audit: does all that a call points at lie in the given region?
//
// Freestanding and without allocation, so that a kernel in lockdown can ask it before it lets a
// program's call through; the answer names op, field, index and address. It needs no knowledge of
// ops beyond the table.
//
// The program may change its memory after the audit. That costs nothing where the hypervisor takes
// every pointer of the call through the same region, as it does when the call names one: then the
// audit says early and by name what the hypervisor would refuse, and adds what only a kernel can
// know, which ops a program may make at all. Of a list of calls, each one is audited.
#ifndef HCALL_SCHEMA_AUDIT_H_
#define HCALL_SCHEMA_AUDIT_H_

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

struct AuditPolicy {
  RegionLayout region;
  // Whether the hypervisor holds the region's frames until it is unregistered. Pointers that
  // outlive their call are refused in others.
  bool is_registered = true;
  // Empty: all that the table knows.
  std::span<const AllowedOp> allowed = {};
};

Finding Audit(const Call& call, const Caller& caller, const AuditPolicy& policy);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_AUDIT_H_
