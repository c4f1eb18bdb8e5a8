#include "hcall/transport/embedded/vcpu_pool.h"

#include "xencomm/sentence.h"

namespace xencomm::embedded {

absl::Status VcpuPool::Claim(unsigned count) {
  for (; count_ < count; ++count_) {
    slots_[count_].vcpu = hypervisor_.ClaimVcpu(0, count_);
    if (slots_[count_].vcpu == nullptr) {
      return absl::InternalError(Sentence("domain 0 has no vcpu %u", count_));
    }
    free_.Push(count_, LinkOf());
    available_.release();
  }
  return absl::OkStatus();
}

std::uint32_t VcpuPool::Take() {
  available_.acquire();
  // The semaphore counts what lies in the stack, so one is there.
  return free_.Pop(LinkOf());
}

void VcpuPool::GiveBack(std::uint32_t slot) {
  free_.Push(slot, LinkOf());
  available_.release();
}

}  // namespace xencomm::embedded
