// The library's backend for this machine.

#include "arch/x86_64/hypercall_entry.h"

namespace qemu {
namespace arch = xencomm::x86_64;
}  // namespace qemu
