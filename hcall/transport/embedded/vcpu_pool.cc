#include "hcall/transport/embedded/vcpu_pool.h"

#include <cerrno>

#include "xencomm/sentence.h"

namespace xencomm::embedded {

VcpuPool::VcpuPool(hypervisor::Hypervisor& hypervisor, std::uint16_t domain)
    : hypervisor_(hypervisor), domain_(domain) {
  sem_init(&available_, /*pshared=*/0, 0);
}

absl::Status VcpuPool::Claim(unsigned count) {
  for (; count_ < count; ++count_) {
    slots_[count_].vcpu = hypervisor_.ClaimVcpu(domain_, count_);
    if (slots_[count_].vcpu == nullptr) {
      return absl::InternalError(Sentence("domain %u has no vcpu %u to spare", domain_, count_));
    }
    sem_post(&available_);
  }
  return absl::OkStatus();
}

void VcpuPool::Release() {
  for (; count_ != 0; --count_) hypervisor_.ReleaseVcpu(*slots_[count_ - 1].vcpu);
}

std::uint32_t VcpuPool::Take() {
  // A signal's handler may end the wait early.
  while (sem_wait(&available_) == -1 && errno == EINTR) {
  }
  // The semaphore counts those that are not lent, so there is one, and the lowest is one of these.
  return lent_.Take();
}

void VcpuPool::GiveBack(std::uint32_t slot) {
  lent_.GiveBack(slot);
  sem_post(&available_);
}

}  // namespace xencomm::embedded
