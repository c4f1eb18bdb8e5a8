#include "tests/qemu/runtime/print.h"
#include "tests/qemu/user/machine.h"

namespace qemu {
bool UserMain(uint64_t argument) {
  Print("user: scenario, page shift ", argument, "\n");
  SystemCall(kSysYield);
  Print("CHECK ok ProgramsRunInTurn\n");
  return true;
}
}  // namespace qemu
