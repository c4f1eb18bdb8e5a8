// What the runner chose for a run, as it travels in one register from the hypervisor to the kernel
// and on to the user programs.

#ifndef TESTS_QEMU_RUNTIME_BOOT_OPTIONS_H_
#define TESTS_QEMU_RUNTIME_BOOT_OPTIONS_H_

#include <stdint.h>

namespace qemu {

// A fault that the first user program commits, so that the runner can be seen to notice.
enum class Planted : uint8_t { kNothing = 0, kCrash = 1, kHang = 2 };

struct BootOptions {
  uint8_t page_shift = 12;
  Planted planted = Planted::kNothing;

  bool xcom = false;

  uint64_t Pack() const {
    return page_shift | uint64_t{static_cast<uint8_t>(planted)} << 8 | uint64_t{xcom} << 16;
  }
  static BootOptions Unpack(uint64_t packed) {
    return {.page_shift = static_cast<uint8_t>(packed),
            .planted = static_cast<Planted>(packed >> 8 & 0xff),
            .xcom = (packed >> 16 & 1) != 0};
  }
};

}  // namespace qemu

#endif  // TESTS_QEMU_RUNTIME_BOOT_OPTIONS_H_
