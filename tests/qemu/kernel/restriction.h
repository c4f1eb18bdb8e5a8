// A process that may make a named set of hypercalls only. Its kernel audits each call by the op
// table before it passes it on, with the region handle of the one region that the process keeps.

#ifndef TESTS_QEMU_KERNEL_RESTRICTION_H_
#define TESTS_QEMU_KERNEL_RESTRICTION_H_

#include <stdint.h>

#include <span>

#include "hcall/schema/audited_call.h"
#include "tests/qemu/kernel/region.h"
#include "tests/qemu/runtime/system_call.h"

namespace qemu {

class Restriction {
 public:
  bool exists() const { return region_ != nullptr; }

  // Takes the last granule of the region's payload as scratch. Answers 0 or a negative errno.
  int64_t Begin(ProcessMemory& process, Region& region);

  // The answer of the hypervisor, or -EPERM.
  int64_t Hypercall(uint64_t index, std::span<const uint64_t, 5> arguments);

  // What the audit of the last call found.
  Refusal LastRefusal() const;

  // Whether the restriction is to this region, which has to stay then.
  bool Needs(const Region& region) const { return region_ == &region; }

 private:
  const Region* region_ = nullptr;
  xencomm::schema::AuditScratch scratch_;  // all that the region has for arguments only
  xencomm::schema::Finding finding_;
};

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_RESTRICTION_H_
