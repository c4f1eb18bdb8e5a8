// The library's backend for this machine.

#include "arch/x86_64/hypercall_entry.h"
#include "arch/x86_64/real_address.h"

namespace qemu {
namespace arch = xencomm::x86_64;

// Of a machine address, as far as this processor looks at them.
inline constexpr unsigned kMachineAddressBits = arch::kRealAddressBits;

}  // namespace qemu
