// mac99: starts the kernel with translation on. Its own segment, effective address = guest-physical
// address, is all that is entered for it; everything else it asks for itself.

#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/mac99/hashed_table.h"
#include "tests/qemu/powerpc/hypervisor_calls.h"
#include "tests/qemu/powerpc/registers.h"
#include "tests/qemu/runtime/platform_call.h"

namespace qemu {
namespace {

using xencomm::hypervisor::kEINVAL;
using xencomm::hypervisor::kENOSPC;
using xencomm::hypervisor::kENOSYS;

// The kernel's segment: effective addresses below 256 MiB, virtual segment 0, supervisor key 0 and
// user key 1, so that pages with protection 0 are the kernel's alone. SLB entry: ESID and valid bit
// and index in RB, VSID and keys in RS (Power ISA v2.07 Book III-S, 5.9.3.1).
constexpr uint64_t kKernelVsid = 0;
constexpr uint64_t kSlbValid = 0x08000000;
constexpr uint64_t kSlbUserKey = 0x400;

}  // namespace

// The page tables of a domain are not walked for it here.
const xencomm::hypervisor::SpaceKind kNativeSpace = xencomm::hypervisor::SpaceKind::kRegion;

RawSpace::RawSpace(xencomm::hypervisor::DomainMemory&) {}

void RunGuest(uint64_t memory_size, uint64_t options) {
  for (uint64_t page = 0; page < memory_size; page += kFrameSize) {
    uint64_t machine;
    if (!GuestToMachine(page, &machine)) continue;
    if (!hashed_table::Enter(kKernelVsid, page, machine, hashed_table::kSupervisorOnly)) {
      HandleCrash({.what = "hashed page table is full", .address = page});
    }
  }
  asm volatile("slbia; isync; slbmte %0, %1; isync"
               :
               : "r"(kKernelVsid << 12 | kSlbUserKey), "r"(kSlbValid)
               : "memory");
  EnterGuest(KERNEL_START,
             uint64_t{1} << MSR_SF_SHIFT | MSR_ME | MSR_IR | MSR_DR | MSR_RI | MSR_ENDIAN,
             memory_size, options);
}

int64_t HandleMachineCall(uint64_t index,
                          const uint64_t (&arguments)[arch::HypercallRegisters::kArguments]) {
  if (index != PLATFORM_ENTER_PAGE) return -kENOSYS;
  const auto [vsid, page, guest, protection, unused] = arguments;
  uint64_t machine;
  if (vsid == kKernelVsid || protection > 3 || !GuestToMachine(guest, &machine)) return -kEINVAL;
  return hashed_table::Enter(vsid, page, machine, protection) ? 0 : -kENOSPC;
}

}  // namespace qemu
