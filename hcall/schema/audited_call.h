// A call of a program that may make a named set of ops only, as its kernel passes it on.
//
//   AuditedCall audited(call, caller, policy, scratch);
//   if (!audited.ok()) return -EPERM;
//   result = Make(audited.call()), audited.CopyBack();
//
// What names the op must not change between the audit and the call. Where it stands in memory, in
// the argument of a domctl, a sysctl or a platform_op or in a list of calls, that structure is
// copied to where only the kernel can write, and the call is made with the copy. All other pointers
// stay as they are: the hypervisor takes each through the region, whatever the program does.
//
// "Only the kernel" includes the hypervisor, which writes where a call's pointers tell it to, and
// those that stand in memory may change after the audit. So the scratch lies in granules that are
// registered for arguments only (GranuleUse::kArgumentsOnly), where such pointers fault; and a
// register that the program fills may not lead there.
//
// Refused, as no copy of theirs settles the op: dm_op, whose op stands in a buffer of a list, and
// in a list of calls those whose op stands in memory.
//
// Freestanding, without allocation. One AuditedCall uses a scratch at a time.
#ifndef HCALL_SCHEMA_AUDITED_CALL_H_
#define HCALL_SCHEMA_AUDITED_CALL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/schema/audit.h"

namespace xencomm::schema {

// Memory in policy.arguments_only that the program cannot write.
struct AuditScratch {
  VirtualAddress address;       // of the program
  std::span<std::byte> memory;  // as the kernel reaches it; borrowed
};

class AuditedCall {
 public:
  // All are borrowed. `caller.space` reaches the program's memory as the hypervisor will.
  AuditedCall(const Call& call, const Caller& caller, const AuditPolicy& policy,
              const AuditScratch& scratch);

  // kTooMany: the structure is larger than the scratch.
  const Finding& finding() const { return finding_; }
  bool ok() const { return finding_.ok(); }

  // What to pass on, when ok().
  const Call& call() const { return call_; }

  // After the call: gives the program the fields that the op writes, out of the copy.
  CopyResult CopyBack();

 private:
  bool CopyArgument(const Hypercall& hypercall, const AuditPolicy& policy);
  bool Refuse(Problem problem, const Hypercall& hypercall, const Part* part = nullptr);
  void CheckEntries();

  Call call_;
  const Caller& caller_;
  const AuditScratch& scratch_;
  Finding finding_;
  VirtualAddress original_ = {};  // of what was copied
  std::uint64_t copied_ = 0;      // bytes
  // What the copy is, by the op that was audited: no field of it is read to find out again.
  const Type* element_ = nullptr;
  const Record* record_ = nullptr;
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_AUDITED_CALL_H_
