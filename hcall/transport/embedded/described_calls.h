// Calls of a process in a domain that speaks the historical ABI ('XCOM'): its kernel describes each
// buffer of a call by a descriptor or an inline address, which takes knowing every op. Here the op
// table knows them.
#ifndef HCALL_TRANSPORT_EMBEDDED_DESCRIBED_CALLS_H_
#define HCALL_TRANSPORT_EMBEDDED_DESCRIBED_CALLS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "hcall/transport/embedded/descriptor_memory.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "xencomm/mutex.h"

namespace xencomm::embedded {

class DescribedCalls {
 public:
  // All are borrowed. `payload` reaches the process's region, and nothing else.
  DescribedCalls(EmbeddedMachine& machine, const GuestRegion& region, Space& payload,
                 schema::DescribedCall::Inline inline_addresses)
      : machine_(machine), region_(region), payload_(payload), inline_(inline_addresses) {}

  // The hypervisor's answer. Without asking it, -EFAULT for what lies outside the payload, and what
  // Xen answers for an op or a version that nobody knows.
  std::int64_t Call(hypervisor::Vcpu& vcpu, hypervisor::HypercallFrame frame,
                    std::uint32_t* continuations);

 private:
  std::unique_ptr<DescriptorMemory> TakeMemory() ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveBack(std::unique_ptr<DescriptorMemory> memory) ABSL_LOCKS_EXCLUDED(mutex_);

  EmbeddedMachine& machine_;
  const GuestRegion& region_;
  Space& payload_;
  const schema::DescribedCall::Inline inline_;
  Mutex mutex_;
  std::vector<std::unique_ptr<DescriptorMemory>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_DESCRIBED_CALLS_H_
