#include "hcall/hypervisor/memory/domain_memory.h"

#include "hcall/hypervisor/memory/domain_pages.h"

namespace xencomm::hypervisor {

Mapping LockedMemory::Map(PhysicalAddress physical, std::uint64_t length, Access access) const {
  SpinGuard guard(domain_->lock);
  return FrameLookup(domain_->p2m).Find(physical, length, access);
}

}  // namespace xencomm::hypervisor
