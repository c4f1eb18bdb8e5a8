// How fast the machine's time base counts.

#include <stdint.h>

namespace qemu {

inline constexpr uint64_t kTimebaseMegahertz = 100;

}  // namespace qemu
