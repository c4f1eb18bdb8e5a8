#include "hcall/hypervisor/domain/hvm_context.h"

#include "hcall/hypervisor/domain/domain.h"

namespace xencomm::hypervisor {

HvmState* HvmStateOf(Domain& domain) {
  if (domain.hvm_state == nullptr) domain.hvm_state = domain.overhead.New<HvmState>();
  return domain.hvm_state;
}

}  // namespace xencomm::hypervisor
