#include "tests/qemu/runtime/print.h"
#include "tests/qemu/user/machine.h"

namespace qemu {
namespace {

// For the runner's own test. An address that nothing is mapped at.
void CommitPlanted(Planted planted) {
  if (planted == Planted::kCrash) *reinterpret_cast<volatile uint64_t*>(0x3ffffff8) = 1;
  // The assembly is what makes an endless loop one that a compiler must keep.
  while (planted == Planted::kHang) asm volatile("");
}

}  // namespace

bool UserMain(const BootOptions& options) {
  CommitPlanted(options.planted);
  SystemCall(kSysYield);
  Print("CHECK ok ProgramsRunInTurn\n");
  return true;
}
}  // namespace qemu
