#include "hcall/transport/embedded/vcpu_pool.h"

#include <cerrno>

#include "xencomm/sentence.h"

namespace xencomm::embedded {

VcpuPool::VcpuPool(hypervisor::Hypervisor& hypervisor) : hypervisor_(hypervisor) {
  sem_init(&available_, /*pshared=*/0, 0);
}

absl::Status VcpuPool::Claim(unsigned count) {
  for (; count_ < count; ++count_) {
    slots_[count_].vcpu = hypervisor_.ClaimVcpu(0, count_);
    if (slots_[count_].vcpu == nullptr) {
      return absl::InternalError(Sentence("domain 0 has no vcpu %u", count_));
    }
    free_.Push(count_, LinkOf());
    sem_post(&available_);
  }
  return absl::OkStatus();
}

std::uint32_t VcpuPool::Take() {
  // A signal's handler may end the wait early.
  while (sem_wait(&available_) == -1 && errno == EINTR) {
  }
  // The semaphore counts what lies in the stack, so one is there.
  return free_.Pop(LinkOf());
}

void VcpuPool::GiveBack(std::uint32_t slot) {
  free_.Push(slot, LinkOf());
  sem_post(&available_);
}

}  // namespace xencomm::embedded
