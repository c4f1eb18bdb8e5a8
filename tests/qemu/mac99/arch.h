// The library's backend for this machine.

#include "arch/powerpc/hypercall_entry.h"

namespace qemu {
namespace arch = xencomm::powerpc;
}  // namespace qemu
