// The calling convention: how a call says which region its pointers lie in.
//
// The region handle travels in the register after the fifth argument, r9 on x86-64 and on PowerPC,
// and is the guest kernel's to fill in. 0 means no region, bit 0 set the id of a registered region,
// bit 0 clear the granule-aligned guest-physical address of a stateless region's header.
//
// On x86-64, where a domain's pointers are raw, a call opts in by itself, by bit 30 of the
// hypercall index. A hypervisor that does not know the bit answers -ENOSYS, which is the probe. The
// bit and xencomm_op are this library's, not Xen's.
#ifndef XENCOMM_HYPERCALL_H_
#define XENCOMM_HYPERCALL_H_

#include <cstdint>

#include "xencomm/address.h"

namespace xencomm {

// In the hypercall index, not in a sub-op.
inline constexpr std::uint64_t kRegionCall = std::uint64_t{1} << 30;

class RegionHandle {
 public:
  static constexpr RegionHandle None() { return RegionHandle(0); }
  static constexpr RegionHandle Registered(std::uint32_t id) {
    return RegionHandle(std::uint64_t{id} << 1 | 1);
  }
  static constexpr RegionHandle Stateless(PhysicalAddress header) {
    return RegionHandle(header.value);
  }
  // As it came in the register.
  static constexpr RegionHandle FromRegister(std::uint64_t value) { return RegionHandle(value); }

  constexpr std::uint64_t value() const { return value_; }
  constexpr bool is_none() const { return value_ == 0; }
  constexpr bool is_registered() const { return (value_ & 1) != 0; }
  // Only of a registered one. An id has 32 bits: a register with more set is nobody's id.
  constexpr std::uint64_t id() const { return value_ >> 1; }
  // Only of a stateless one.
  constexpr PhysicalAddress header() const { return {value_}; }

 private:
  explicit constexpr RegionHandle(std::uint64_t value) : value_(value) {}

  std::uint64_t value_;
};

// xencomm_op, the kernel's own calls: hypercall 55 (__HYPERVISOR_arch_7 in public/xen.h). All
// arguments are in registers, so no pointer is needed to say what pointers mean.
inline constexpr std::uint64_t kXencommOp = 55;

enum class XencommOp : std::uint64_t {
  // (header, access): checks the region whose header lies at guest-physical `header`, holds its
  // frames for `access` (0 reading, 1 reading and writing) and answers its region handle, a
  // positive
  // number, or a negative errno.
  kRegister = 0,
  // (region handle, first granule, count): takes up granules that were backed since.
  kExtend = 1,
  // (region handle): drops the holds. The id is not given out again soon.
  kUnregister = 2,
};

}  // namespace xencomm

#endif  // XENCOMM_HYPERCALL_H_
