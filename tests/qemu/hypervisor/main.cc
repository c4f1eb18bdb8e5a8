// The hypervisor program: builds one domain whose memory lies in scattered machine frames, puts the
// kernel's image at guest-physical 0 and serves its calls.

#include <string.h>

#include "hcall/hypervisor/errno.h"
#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/runtime/boot_options.h"
#include "tests/qemu/runtime/platform_call.h"
#include "tests/qemu/runtime/print.h"
#include "tests/qemu/runtime/startup.h"

namespace qemu {
namespace {

using xencomm::hypervisor::kEPERM;

extern "C" const char kernel_begin[];
extern "C" const char kernel_end[];

constexpr uint64_t kGuestMemory = 96 << 20;
constexpr uint64_t kGuestFrames = kGuestMemory / kFrameSize;
constexpr uint64_t kPoolFrames = (kPoolEnd - kPoolBegin) / kFrameSize;

// No two neighbours of the guest are neighbours in the machine: a step that has no common factor
// with the pool's size visits every frame once.
constexpr uint64_t kScatter = 20011;
static_assert(kPoolFrames % kScatter != 0 && kGuestFrames <= kPoolFrames);

constexpr uint64_t MachineFrame(uint64_t guest_frame) {
  return kPoolBegin + (guest_frame * kScatter + 7) % kPoolFrames * kFrameSize;
}

uint8_t BootByte(uint64_t address) { return *reinterpret_cast<const volatile uint8_t*>(address); }

void FillPoison() {
  for (const uint64_t start : kPoisonStarts) {
    for (uint64_t at = start; at < start + kPoisonBytes; at += sizeof(uint64_t)) {
      *reinterpret_cast<volatile uint64_t*>(at) = kPoison;
    }
  }
}

void LoadKernel() {
  const auto size = static_cast<uint64_t>(kernel_end - kernel_begin);
  for (uint64_t done = 0; done < size; done += kFrameSize) {
    const uint64_t part = size - done < kFrameSize ? size - done : kFrameSize;
    memcpy(reinterpret_cast<void*>(MachineFrame(done / kFrameSize)), kernel_begin + done, part);
  }
}

}  // namespace

void HandleGuestCall(arch::HypercallRegisters& registers) {
  uint64_t arguments[arch::HypercallRegisters::kArguments];
  registers.get_arguments(arguments);
  if (!registers.from_kernel()) {
    registers.set_result(-kEPERM);
    return;
  }
  switch (registers.index()) {
    case PLATFORM_PUT_CHAR:
      PutChar(static_cast<char>(arguments[0]));
      return registers.set_result(0);
    case PLATFORM_EXIT:
      Print("DONE ", arguments[0] != 0 ? "PASS" : "FAIL", "\n");
      Exit(arguments[0] != 0);
    case PLATFORM_CRASH:
      HandleCrash({.what = "interrupt in the guest",
                   .vector = arguments[0],
                   .pc = arguments[1],
                   .state = arguments[2],
                   .address = arguments[3]});
    default:
      return registers.set_result(HandleMachineCall(registers.index(), arguments));
  }
}

void HandleCrash(const Crash& crash) {
  Print("\nCRASH ", crash.what, ": vector ", Hex{crash.vector}, " pc ", Hex{crash.pc}, " state ",
        Hex{crash.state}, " address ", Hex{crash.address}, "\nDONE FAIL\n");
  Exit(false);
}

extern "C" [[noreturn]] void HypervisorMain() {
  RunConstructors();
  StartConsole();
  InstallVectors();
  FillPoison();
  StartSecondStage(kGuestMemory);
  for (uint64_t frame = 0; frame < kGuestFrames; ++frame) {
    MapGuestFrame(frame * kFrameSize, MachineFrame(frame));
  }
  LoadKernel();
  RunGuest(kGuestMemory, BootOptions{.page_shift = BootByte(kBootPageShift),
                                     .planted = static_cast<Planted>(BootByte(kBootPlanted))}
                             .Pack());
}

}  // namespace qemu
