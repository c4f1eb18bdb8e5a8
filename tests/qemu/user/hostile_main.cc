#include "tests/qemu/runtime/print.h"
#include "tests/qemu/user/machine.h"

namespace qemu {
bool UserMain(const BootOptions&) { return true; }
}  // namespace qemu
