// mac99: the 970 here has no hypervisor state and no second stage. The hashed page table holds
// machine addresses, so it is the hypervisor's; the kernel asks for its pages by guest-physical
// address (as guests of Xen/PPC and of PAPR do with H_ENTER), and the p2m is looked up here.

#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/mac99/hashed_table.h"

namespace qemu {
namespace {

constexpr uint64_t kMaxFrames = (kPoolEnd - kPoolBegin) / kFrameSize;

// Machine address of each guest frame; 0: none. (The pool begins above 0.)
uint64_t machine_of[kMaxFrames];

}  // namespace

void StartSecondStage(uint64_t) { hashed_table::Start(); }

void MapGuestFrame(uint64_t guest, uint64_t machine) {
  if (guest / kFrameSize < kMaxFrames) machine_of[guest / kFrameSize] = machine;
}

bool GuestToMachine(uint64_t guest, uint64_t* machine) {
  if (guest / kFrameSize >= kMaxFrames || machine_of[guest / kFrameSize] == 0) return false;
  *machine = machine_of[guest / kFrameSize] + guest % kFrameSize;
  return true;
}

}  // namespace qemu
