// The kernel: runs the user programs in turn and serves their system calls. It knows no hypercall's
// operations: it passes calls on, and adds what only a kernel may say.

#include <errno.h>

#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/machine.h"
#include "tests/qemu/kernel/process.h"
#include "tests/qemu/runtime/boot_options.h"
#include "tests/qemu/runtime/platform_call.h"
#include "tests/qemu/runtime/print.h"
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
bool ended[kProcesses];
unsigned current;
bool all_passed = true;

uint64_t Write(const Process& process, uint64_t text, uint64_t bytes) {
  if (!process.Covers(text, bytes)) return static_cast<uint64_t>(-EFAULT);
  for (uint64_t i = 0; i < bytes; ++i) PutChar(*KernelPointer<const char>(text + i));
  return bytes;
}

// The next process that has not ended, in turn. Ends the machine when there is none.
UserContext* NextProcess() {
  for (unsigned i = 0; i < kProcesses; ++i) {
    current = (current + 1) % kProcesses;
    if (ended[current]) continue;
    processes[current].space().Activate();
    return &processes[current].context();
  }
  Hypercall(PLATFORM_EXIT, all_passed ? 1 : 0);
  Panic("still here");
}

}  // namespace

// A user program's call: its registers are in `context`. Answers which program goes on.
extern "C" UserContext* HandleSystemCall(UserContext* context) {
  Process& process = processes[current];
  switch (context->number()) {
    case kSysWrite:
      context->set_result(Write(process, context->argument(0), context->argument(1)));
      return context;
    case kSysExit:
      all_passed = all_passed && context->argument(0) != 0;
      ended[current] = true;
      return NextProcess();
    case kSysYield:
      context->set_result(0);
      return NextProcess();
    case kSysMap:
      context->set_result(process.Map(context->argument(0), context->argument(1))
                              ? 0
                              : static_cast<uint64_t>(-EINVAL));
      return context;
    case kSysHypercall:
      context->set_result(Hypercall(context->argument(0), context->argument(1),
                                    context->argument(2), context->argument(3),
                                    context->argument(4), context->argument(5)));
      return context;
    default:
      context->set_result(static_cast<uint64_t>(-ENOSYS));
      return context;
  }
}

extern "C" UserContext* KernelMain(uint64_t memory_size, uint64_t options) {
  RunConstructors();
  StartFrames(memory_size, BootOptions::Unpack(options).page_shift);
  StartTranslation(memory_size);
  processes[0].Load(scenario_begin, scenario_end, options);
  processes[1].Load(hostile_begin, hostile_end, options);
  current = kProcesses - 1;
  return NextProcess();
}

}  // namespace qemu
