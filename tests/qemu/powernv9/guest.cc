// powernv9: starts the kernel in guest real mode, below hypervisor state. It installs process
// tables of its own when it has built them.

#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/powernv9/second_stage.h"
#include "tests/qemu/powerpc/hypervisor_calls.h"
#include "tests/qemu/powerpc/registers.h"
#include "tests/qemu/runtime/platform_call.h"

namespace qemu {

// The page tables of a domain are not walked for it here.
const xencomm::hypervisor::SpaceKind kNativeSpace = xencomm::hypervisor::SpaceKind::kRegion;

RawSpace::RawSpace(xencomm::hypervisor::DomainMemory&) {}

void RunGuest(uint64_t memory_size, uint64_t options) {
  EnterGuest(KERNEL_START, uint64_t{1} << MSR_SF_SHIFT | MSR_ME | MSR_RI | MSR_ENDIAN, memory_size,
             options);
}

int64_t HandleMachineCall(uint64_t index,
                          const uint64_t (&arguments)[arch::HypercallRegisters::kArguments]) {
  if (index != PLATFORM_SET_PROCESS_TABLE) return -xencomm::hypervisor::kENOSYS;
  constexpr uint64_t kProcessTableBytes = 0x10000;
  if (arguments[0] % kProcessTableBytes != 0) return -xencomm::hypervisor::kEINVAL;
  SetProcessTable(arguments[0]);
  return 0;
}

}  // namespace qemu
