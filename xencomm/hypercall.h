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
  // Only the lower 62 bits of an id are passed: a handle is a positive number, too.
  static constexpr RegionHandle Registered(std::uint64_t id) {
    return RegionHandle((id << 1 | 1) & (~std::uint64_t{0} >> 1));
  }
  static constexpr RegionHandle Stateless(PhysicalAddress header) {
    return RegionHandle(header.value);
  }
  // As it came in the register.
  static constexpr RegionHandle FromRegister(std::uint64_t value) { return RegionHandle(value); }

  constexpr std::uint64_t value() const { return value_; }
  constexpr bool is_none() const { return value_ == 0; }
  constexpr bool is_registered() const { return (value_ & 1) != 0; }
  // Only of a registered one.
  constexpr std::uint64_t id() const { return value_ >> 1; }
  // Only of a stateless one.
  constexpr PhysicalAddress header() const { return {value_}; }

 private:
  explicit constexpr RegionHandle(std::uint64_t value) : value_(value) {}

  std::uint64_t value_;
};

// xencomm_op, the kernel's own calls: hypercall 55 (__HYPERVISOR_arch_7 in public/xen.h). All
// arguments are in registers, so no pointer is needed to say what pointers mean.
//
// A call with a long way to go stops and is continued, as Xen's are: the registers then hold what
// it goes on with.
inline constexpr std::uint64_t kXencommOp = 55;

enum class XencommOp : std::uint64_t {
  // (header, access, 0): checks the region whose header lies at guest-physical `header`, holds its
  // frames for `access` (0 reading, 1 reading and writing) and answers its region handle, a
  // positive number, or a negative errno.
  kRegister = 0,
  // (region handle, first granule, count, GranuleUse): takes up granules that were backed since.
  // One that was taken up for another use is refused and keeps that use.
  kExtend = 1,
  // (region handle): drops the holds. The id never names another region.
  kUnregister = 2,
};

// Through which pointers a granule may be reached.
enum class GranuleUse : std::uint64_t {
  kAnyPointer = 0,
  // Those in the registers of a call alone, as far as registers and the op say how much they lead
  // to. One that was found in memory, in an entry of a list of calls, or whose length was (an array
  // at a structure's end) faults there: what a kernel passes on in such a granule, no process can
  // have the hypervisor write to (hcall/schema/audited_call.h).
  kArgumentsOnly = 1,
};

// Whether a hypercall is for kernels alone. Whatever comes from a process is asked about: the
// registers that it calls with (process_call.h), the calls of an audited list
// (hcall/schema/audit.h), and by the hypervisor itself each entry of a multicall, which a process
// can change until it is read. A hypervisor may look at no more than 32 bits of an index, so no
// more count.
constexpr bool IsForKernels(std::uint64_t index) {
  return (index & ~kRegionCall & 0xffffffff) == kXencommOp;
}

}  // namespace xencomm

#endif  // XENCOMM_HYPERCALL_H_
