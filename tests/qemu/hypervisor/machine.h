// What the hypervisor program needs of a machine; every machine folder implements it under the same
// file names:
//
//   arch.h           the library's backend, as namespace arch
//   entry.S          from the machine's first instruction to HypervisorMain
//   devices.cc       PutChar (runtime/print.h), StartConsole, Exit
//   second_stage.cc  how the guest's physical addresses reach machine frames
//   guest.cc         RunGuest and the calls that only this machine's kernel makes
//
// The hypervisor runs without the guest's translation: in real mode on PowerPC, in page tables that
// map physical memory only on x86-64. A guest's virtual address reads poison there.

#ifndef TESTS_QEMU_HYPERVISOR_MACHINE_H_
#define TESTS_QEMU_HYPERVISOR_MACHINE_H_

#include <stdint.h>

#include "arch.h"
#include "hcall/hypervisor/hypervisor.h"

namespace qemu {

// A machine's memory, in bytes. The layout is one for all machines, as the smallest has 1 GiB:
//
//   0x00000000  vectors, firmware tables
//   0x00400000  hypervisor image; page tables of the second stage behind it
//   0x04000000  pool of frames for domains
//   0x10000000  where the user's image is linked          } never handed out; as far as
//   0x20000000  where the user's regions and buffers lie  } programs use it, poisoned
inline constexpr uint64_t kPoolBegin = 0x04000000;
inline constexpr uint64_t kPoolEnd = 0x10000000;
inline constexpr uint64_t kPoisonStarts[] = {0x10000000, 0x17000000, 0x20000000};
inline constexpr uint64_t kPoisonBytes = 0x01000000;
inline constexpr uint64_t kPoison = 0xbadbadbadbadbad1;

inline constexpr uint64_t kFrameSize = 4096;

// What the runner chose for this run, written to memory before the machine starts (`-device
// loader`), a byte each: the page size of the kernel's tables as a shift; a fault to plant;
// whether the domain's pointers are descriptors ('XCOM') instead of the machine's own.
inline constexpr uint64_t kBootPageShift = 0x3fff00;
inline constexpr uint64_t kBootPlanted = 0x3fff01;
inline constexpr uint64_t kBootXcom = 0x3fff02;

// Machine → hypervisor: serves a call of the guest and puts the answer into its registers.
// Implemented by main.cc.
void HandleGuestCall(arch::HypercallRegisters& registers);

// Machine → hypervisor: something happened that nobody expects; prints and fails the run.
struct Crash {
  const char* what;
  uint64_t vector = 0;
  uint64_t pc = 0;
  uint64_t state = 0;    // PowerPC: SRR1; x86-64: error code
  uint64_t address = 0;  // the faulting address, where there is one
};
[[noreturn]] void HandleCrash(const Crash& crash);

void StartConsole();

// From then on a crash of the hypervisor itself is reported.
void InstallVectors();

// Ends the machine. The closing line must have been printed.
[[noreturn]] void Exit(bool pass);

// The space of the machine's own kernel: kRegion where page tables cannot be walked.
extern const xencomm::hypervisor::SpaceKind kNativeSpace;

// The space of raw pointers during one call of the guest: a walk of its page tables as they are at
// that moment. Without one, raw pointers fault.
class RawSpace {
 public:
  // `memory` is borrowed.
  explicit RawSpace(xencomm::hypervisor::DomainMemory& memory);
  xencomm::Space* space() { return space_; }

 private:
  xencomm::Space* space_ = nullptr;
  alignas(8) char storage_[512];
};

// Prepares the second stage for guest-physical [0, size).
void StartSecondStage(uint64_t size);

// Lets the guest reach machine frame `machine` at guest-physical `guest`; both multiples of
// kFrameSize.
void MapGuestFrame(uint64_t guest, uint64_t machine);

// Starts the guest's kernel with its memory's size and what the runner chose
// (runtime/boot_options.h), and serves its calls for ever.
[[noreturn]] void RunGuest(uint64_t memory_size, uint64_t options);

// A call that only this machine's kernel makes (platform_call.h), -ENOSYS if there is none.
int64_t HandleMachineCall(uint64_t index,
                          const uint64_t (&arguments)[arch::HypercallRegisters::kArguments]);

}  // namespace qemu

#endif  // TESTS_QEMU_HYPERVISOR_MACHINE_H_
