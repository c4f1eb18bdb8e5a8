#include "tests/qemu/runtime/print.h"
#include "tests/qemu/user/machine.h"

namespace qemu {
bool UserMain(uint64_t argument) {
  Print("user: hostile, page shift ", argument, "\n");
  return true;
}
}  // namespace qemu
