// The hypervisor program: the embedded hypervisor on a bare machine. It builds domain 0, whose
// memory lies in scattered machine frames, puts the kernel's image at guest-physical 0 and serves
// its calls.

#include <new>

#include <string.h>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/hypervisor.h"
#include "tests/qemu/hypervisor/machine.h"
#include "tests/qemu/runtime/boot_options.h"
#include "tests/qemu/runtime/platform_call.h"
#include "tests/qemu/runtime/print.h"
#include "tests/qemu/runtime/startup.h"
#include "xencomm/machine_memory.h"

namespace qemu {
namespace {

using xencomm::hypervisor::DomainMemory;
using xencomm::hypervisor::Hypervisor;
using xencomm::hypervisor::kNoFrame;
using xencomm::hypervisor::SpaceKind;
using xencomm::hypervisor::Vcpu;

extern "C" const char kernel_begin[];
extern "C" const char kernel_end[];

constexpr uint64_t kGuestMemory = 96 << 20;
constexpr uint16_t kDomain0 = 0;

// The hypervisor's second stage follows the p2m of domain 0.
class BareMachine final : public xencomm::hypervisor::Machine {
 public:
  void PhysmapChanged(uint16_t domain, uint64_t gfn, uint64_t mfn, xencomm::Access most) override {
    // Beyond the kernel's memory there is what only hypercalls name.
    if (domain != kDomain0 || gfn >= kGuestMemory / kFrameSize) return;
    if (mfn == kNoFrame) HandleCrash({.what = "the kernel gave up memory", .address = gfn});
    if (most != xencomm::Access::kWrite) {
      HandleCrash({.what = "the kernel got memory that it may only read", .address = gfn});
    }
    MapGuestFrame(gfn * kFrameSize, mfn * kFrameSize);
  }
};

BareMachine machine;
Hypervisor hypervisor;
Vcpu* vcpu;

uint8_t BootByte(uint64_t address) { return *reinterpret_cast<const volatile uint8_t*>(address); }

void FillPoison() {
  for (const uint64_t start : kPoisonStarts) {
    for (uint64_t at = start; at < start + kPoisonBytes; at += sizeof(uint64_t)) {
      *reinterpret_cast<volatile uint64_t*>(at) = kPoison;
    }
  }
}

// Domain 0's p2m, for the machine's own access to its memory.
struct Domain0P2m {
  xencomm::Run<xencomm::MachineAddress> Lookup(xencomm::PhysicalAddress physical, uint64_t length,
                                               xencomm::Access) {
    const uint64_t frame = hypervisor.FrameOf(kDomain0, physical.value / kFrameSize);
    if (frame == kNoFrame) return xencomm::Fault::kNoMemory;
    const uint64_t within = physical.value % kFrameSize;
    const uint64_t rest = kFrameSize - within;
    return {{frame * kFrameSize + within}, length < rest ? length : rest};
  }
};

void LoadKernel() {
  const auto size = static_cast<uint64_t>(kernel_end - kernel_begin);
  Domain0P2m p2m;
  xencomm::MachineMemory memory(p2m, kMachineAddressBits);
  for (uint64_t done = 0; done < size;) {
    const auto run = memory.Map({done}, size - done, xencomm::Access::kWrite);
    if (!run.ok()) HandleCrash({.what = "no memory for the kernel's image", .address = done});
    memcpy(run.start(), kernel_begin + done, run.length());
    done += run.length();
  }
}

void BuildDomain0(SpaceKind space) {
  if (hypervisor.Init({.pool_begin = kPoolBegin,
                       .pool_end = kPoolEnd,
                       .cpus = 4,
                       .dom0_scales_frequency = true},
                      machine) != 0) {
    HandleCrash({.what = "the hypervisor does not start"});
  }
  const int64_t error = hypervisor.BuildDomain(
      {.id = kDomain0, .pages = kGuestMemory / kFrameSize, .space = space, .privileged = true});
  vcpu = hypervisor.ClaimVcpu(kDomain0, 0);
  if (error != 0 || vcpu == nullptr) HandleCrash({.what = "domain 0 cannot be built"});
}

int64_t Hypercall(const arch::HypercallRegisters& registers) {
  xencomm::hypervisor::HypercallFrame frame;
  frame.index = registers.index();
  registers.get_arguments(frame.arguments);
  frame.region = registers.region();
  frame.from_kernel = registers.from_kernel();
  // Page tables are as the caller left them at this moment.
  DomainMemory memory = hypervisor.MemoryOf(*vcpu);
  RawSpace raw(memory);
  if (raw.space() != nullptr) hypervisor.SetRawSpace(*vcpu, *raw.space());
  return hypervisor.Call(*vcpu, frame);
}

}  // namespace

void HandleGuestCall(arch::HypercallRegisters& registers) {
  if ((registers.index() & ~uint64_t{0xfff}) != PLATFORM_CALLS || !registers.from_kernel()) {
    return registers.set_result(Hypercall(registers));
  }
  uint64_t arguments[arch::HypercallRegisters::kArguments];
  registers.get_arguments(arguments);
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
  const BootOptions options = {.page_shift = BootByte(kBootPageShift),
                               .planted = static_cast<Planted>(BootByte(kBootPlanted)),
                               .xcom = BootByte(kBootXcom) != 0};
  BuildDomain0(options.xcom ? SpaceKind::kXcom : kNativeSpace);
  LoadKernel();
  RunGuest(kGuestMemory, options.Pack());
}

}  // namespace qemu
