// The registers of an HVM vcpu: out of reset, as a record (public/arch-x86/hvm/save.h, struct
// hvm_hw_cpu), and as a context (public/arch-x86/xen.h, struct vcpu_guest_context).
//
// A record is refused as Xen 4.17 refuses it on a processor with SVM, which looks at it as a whole
// before it takes anything. All with the control lock held.
#ifndef HCALL_HYPERVISOR_DOMAIN_HVM_CPU_H_
#define HCALL_HYPERVISOR_DOMAIN_HVM_CPU_H_

#include <cstdint>
#include <span>

#include "hcall/hypervisor/domain/hvm_context.h"

namespace xencomm::hypervisor {

class Core;

void ResetCpu(HvmVcpu& state);

// A record of the domain's order, at most as long as struct hvm_hw_cpu; what it is short of is
// zero. 0 or -EINVAL. The vcpu is up then.
std::int64_t LoadCpu(Core& core, Vcpu& vcpu, HvmVcpu& state, std::span<const std::uint8_t> record);
// sizeof(hvm_hw_cpu) bytes, in the domain's order.
void SaveCpu(const Vcpu& vcpu, const HvmVcpu& state, std::uint8_t* record);

// General, debug and floating-point registers only: control registers and segments are the
// record's. -EINVAL for an assist that there is not; registers are taken by then, as in Xen.
std::int64_t TakeContext(Vcpu& vcpu, HvmVcpu& state, const vcpu_guest_context_t& context);
// Into a context that is clear.
void TellContext(const Vcpu& vcpu, const HvmVcpu& state, vcpu_guest_context_t& context);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_HVM_CPU_H_
