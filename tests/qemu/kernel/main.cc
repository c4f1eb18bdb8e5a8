// The kernel: runs the user programs in turn, each until it yields or ends.

#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/kernel/process.h"
#include "tests/qemu/kernel/system_calls.h"
#include "tests/qemu/runtime/boot_options.h"
#include "tests/qemu/runtime/platform_call.h"
#include "tests/qemu/runtime/startup.h"
#include "tests/qemu/runtime/system_call.h"

namespace qemu {
namespace {

extern "C" const char scenario_begin[];
extern "C" const char scenario_end[];
extern "C" const char hostile_begin[];
extern "C" const char hostile_end[];

constexpr unsigned kProcesses = 2;
Process processes[kProcesses];
unsigned current;
bool all_passed = true;

// The next process that has not ended, in turn. Ends the machine when there is none.
UserContext* NextProcess() {
  for (unsigned i = 0; i < kProcesses; ++i) {
    current = (current + 1) % kProcesses;
    if (processes[current].ended) continue;
    processes[current].memory.space().Activate();
    return &processes[current].context;
  }
  Hypercall(PLATFORM_EXIT, all_passed ? 1 : 0);
  Panic("still here");
}

void EndProcess(Process& process, bool passed) {
  for (Region& region : process.regions) {
    if (region.exists()) region.Destroy();
  }
  process.ended = true;
  all_passed = all_passed && passed;
}

void StartProcess(Process& process, const char* image_begin, const char* image_end,
                  uint64_t options) {
  process.memory.Load(image_begin, image_end);
  process.context.Start(kUserBegin, kStackTop, options);
}

}  // namespace

// A user program's call: its registers are in processes[current].context. Answers which program
// goes on.
extern "C" UserContext* HandleSystemCall() {
  Process& process = processes[current];
  switch (process.context.number()) {
    case kSysExit:
      EndProcess(process, process.context.argument(0) != 0);
      return NextProcess();
    case kSysYield:
      process.context.set_result(0);
      return NextProcess();
    default:
      process.context.set_result(static_cast<uint64_t>(ServeSystemCall(process)));
      return &process.context;
  }
}

extern "C" UserContext* KernelMain(uint64_t memory_size, uint64_t options) {
  RunConstructors();
  StartFrames(memory_size, BootOptions::Unpack(options).page_shift);
  StartTranslation(memory_size);
  StartProcess(processes[0], scenario_begin, scenario_end, options);
  StartProcess(processes[1], hostile_begin, hostile_end, options);
  current = kProcesses - 1;
  return NextProcess();
}

}  // namespace qemu
