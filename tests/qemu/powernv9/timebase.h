// How fast the machine's time base counts.

#include <stdint.h>

namespace qemu {

inline constexpr uint64_t kTimebaseMegahertz = 512;

}  // namespace qemu
