// mac99: translation of the kernel. A process is a set of virtual segments, its pages are entered
// by the hypervisor, and activating it loads its segments into the SLB.

#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/powerpc/kernel_call.h"
#include "tests/qemu/runtime/platform_call.h"

namespace qemu {
namespace {

// SLB entry (Power ISA v2.07 Book III-S, 5.9.3.1): ESID, valid bit and index in RB, VSID and keys
// in RS. Slot 0 is the kernel's own segment: slbia leaves it alone.
constexpr uint64_t kSlbValid = 0x08000000;
constexpr uint64_t kSlbUserKey = 0x400;
constexpr unsigned kSegmentShift = 28;

// PP bits, with supervisor key 0 and user key 1 (Power ISA v2.07 Book III-S, figure 40).
constexpr uint64_t kUserReadOnly = 1;
constexpr uint64_t kUserReadWrite = 2;

// Virtual segments of a process: its number and the segment of the address.
constexpr uint64_t Vsid(uint64_t process, uint64_t address) {
  return process << 8 | address >> kSegmentShift;
}

uint64_t processes;

}  // namespace

uint64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                   uint64_t region) {
  return HypervisorCall<0>(index, a1, a2, a3, a4, a5, region);
}

// The hypervisor starts this kernel translated.
void StartTranslation(uint64_t) {}

void AddressSpace::Create() { id_ = ++processes; }

void AddressSpace::Map(uint64_t address, uint64_t frame, Protection protection) {
  const uint64_t bits = protection == Protection::kReadOnly ? kUserReadOnly : kUserReadWrite;
  if (Hypercall(PLATFORM_ENTER_PAGE, Vsid(id_, address), address, frame, bits) != 0) {
    Panic("the hypervisor refuses a page");
  }
}

void AddressSpace::Activate() const {
  asm volatile("isync; slbia" : : : "memory");
  uint64_t slot = 1;
  for (uint64_t segment = kUserBegin; segment < kUserEnd; segment += uint64_t{1} << kSegmentShift) {
    asm volatile("slbmte %0, %1"
                 :
                 : "r"(Vsid(id_, segment) << 12 | kSlbUserKey), "r"(segment | kSlbValid | slot++)
                 : "memory");
  }
  asm volatile("isync" : : : "memory");
}

}  // namespace qemu
