#include "hcall/hypervisor/domain_memory.h"

#include "hcall/hypervisor/domain.h"

namespace xencomm::hypervisor {

Mapping LockedMemory::Map(PhysicalAddress physical, std::uint64_t length, Access access) const {
  SpinGuard guard(domain_->lock);
  return DomainMemory(domain_->p2m, *frames_).Map(physical, length, access);
}

}  // namespace xencomm::hypervisor
