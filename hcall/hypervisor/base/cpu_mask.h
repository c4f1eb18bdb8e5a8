// CpuMask: a set of physical CPUs.
#ifndef HCALL_HYPERVISOR_BASE_CPU_MASK_H_
#define HCALL_HYPERVISOR_BASE_CPU_MASK_H_

#include <array>
#include <cstdint>

namespace xencomm::hypervisor {

// As many as Debian's Xen is built for (CONFIG_NR_CPUS).
inline constexpr unsigned kMaxCpus = 256;

class CpuMask {
 public:
  static constexpr unsigned kBytes = kMaxCpus / 8;

  static constexpr CpuMask All() {
    CpuMask mask;
    for (std::uint8_t& byte : mask.bytes_) byte = 0xff;
    return mask;
  }
  static constexpr CpuMask FirstOf(unsigned cpus) {
    CpuMask mask;
    for (unsigned i = 0; i < cpus; ++i) mask.Set(i);
    return mask;
  }

  constexpr void Set(unsigned cpu) {
    bytes_[cpu / 8] = static_cast<std::uint8_t>(bytes_[cpu / 8] | 1u << cpu % 8);
  }
  constexpr bool Has(unsigned cpu) const {
    return cpu < kMaxCpus && (bytes_[cpu / 8] >> cpu % 8 & 1) != 0;
  }
  constexpr bool Intersects(const CpuMask& other) const {
    for (unsigned i = 0; i < kBytes; ++i) {
      if ((bytes_[i] & other.bytes_[i]) != 0) return true;
    }
    return false;
  }
  constexpr CpuMask And(const CpuMask& other) const {
    CpuMask both;
    for (unsigned i = 0; i < kBytes; ++i) {
      both.bytes_[i] = static_cast<std::uint8_t>(bytes_[i] & other.bytes_[i]);
    }
    return both;
  }

  // Bit i of the set is bit i % 8 of byte i / 8, as in a xenctl_bitmap (public/domctl.h).
  constexpr std::array<std::uint8_t, kBytes>& bytes() { return bytes_; }
  constexpr const std::array<std::uint8_t, kBytes>& bytes() const { return bytes_; }

  friend constexpr bool operator==(const CpuMask&, const CpuMask&) = default;

 private:
  std::array<std::uint8_t, kBytes> bytes_ = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_CPU_MASK_H_
