// The library's backend for this machine.

#include "arch/powerpc/hypercall_entry.h"
#include "arch/powerpc/real_address.h"

namespace qemu {
namespace arch = xencomm::powerpc;

// Of a machine address, as far as this processor looks at them.
inline constexpr unsigned kMachineAddressBits = arch::kRealAddressBits970;

}  // namespace qemu
