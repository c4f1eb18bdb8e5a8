#include "hcall/hypervisor/domain/hvm_context.h"

#include "hcall/hypervisor/domain/hvm_cpu.h"
#include "hcall/hypervisor/domain/hvm_records.h"

namespace xencomm::hypervisor {

HvmState* HvmStateOf(Domain& domain) {
  if (domain.hvm_state == nullptr) {
    domain.hvm_state = domain.overhead.New<HvmState>();
    if (domain.hvm_state != nullptr) {
      domain.hvm_state->params[HVM_PARAM_TRIPLE_FAULT_REASON] = SHUTDOWN_reboot;
      ResetRecords(domain, *domain.hvm_state);
    }
  }
  return domain.hvm_state;
}

HvmVcpu* HvmVcpuOf(Vcpu& vcpu) {
  if (vcpu.hvm == nullptr) {
    vcpu.hvm = vcpu.domain->overhead.New<HvmVcpu>();
    if (vcpu.hvm != nullptr) {
      ResetCpu(*vcpu.hvm);
      ResetRecords(vcpu, *vcpu.hvm);
    }
  }
  return vcpu.hvm;
}

}  // namespace xencomm::hypervisor
