// HvmState and HvmVcpu: an HVM domain's parameters, and what its hardware holds.
//
// Registers are kept once: what setvcpucontext gives, a saved state has, and the other way round
// (hvm_cpu.h). All other records lie there as they are saved (hvm_records.h).
#ifndef HCALL_HYPERVISOR_DOMAIN_HVM_CONTEXT_H_
#define HCALL_HYPERVISOR_DOMAIN_HVM_CONTEXT_H_

#include <cstdint>

#include "hcall/hypervisor/domain/domain.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {

struct HvmState {
  static constexpr std::uint32_t kRecordBytes = 1584;

  std::uint64_t params[HVM_NR_PARAMS] = {};
  std::uint8_t records[kRecordBytes] = {};  // of devices that vcpus share
};

struct HvmVcpu {
  static constexpr std::uint32_t kRecordBytes = 1336;

  hvm_hw_cpu cpu = {};             // but for the general registers
  cpu_user_regs_t user_regs = {};  // those, and what a context has beside them
  std::uint64_t vm_assist = 0;     // vcpu 0's is the domain's
  std::uint8_t records[kRecordBytes] = {};

  bool has_fpu() const { return (cpu.flags & XEN_X86_FPU_INITIALISED) != 0; }
};

// Made as hardware comes out of reset, when they are first needed; null when there is no room. With
// the control lock held.
HvmState* HvmStateOf(Domain& domain);
HvmVcpu* HvmVcpuOf(Vcpu& vcpu);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_HVM_CONTEXT_H_
