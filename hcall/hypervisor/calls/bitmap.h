// Bitmaps of CPUs as toolstacks pass them (struct xenctl_bitmap in public/domctl.h): bytes in
// rising order, whatever the domain's byte order, with as many bits as the guest says.
#ifndef HCALL_HYPERVISOR_CALLS_BITMAP_H_
#define HCALL_HYPERVISOR_CALLS_BITMAP_H_

#include <cstdint>
#include <span>

#include "hcall/hypervisor/base/cpu_mask.h"
#include "xencomm/guest_handle.h"

namespace xencomm::hypervisor {

// Whether a bitmap can be written in one leg: behind the last CPU it is cleared, for as long as the
// guest says it is. No machine has so many CPUs as the limit; for more, an op answers -E2BIG.
inline bool HasSaneSize(const GuestHandle<std::uint8_t>& map) {
  constexpr std::uint64_t kMostBits = std::uint64_t{1} << 20;
  return map.count() <= kMostBits / 8;
}

// What the guest says of CPUs below `cpus`; it has `bits` bits. False: a fault.
inline bool ReadCpus(const GuestHandle<const std::uint8_t>& from, std::uint32_t bits, unsigned cpus,
                     CpuMask* mask) {
  *mask = {};
  const std::uint64_t guest_bytes = (std::uint64_t{bits} + 7) / 8;
  const std::uint64_t own_bytes = (cpus + 7) / 8;
  const std::uint64_t bytes = guest_bytes < own_bytes ? guest_bytes : own_bytes;
  std::uint8_t buffer[CpuMask::kBytes] = {};
  if (!from.Read(0, std::span(buffer).first(bytes)).ok()) return false;
  for (unsigned cpu = 0; cpu < cpus && cpu < bits; ++cpu) {
    if ((buffer[cpu / 8] >> cpu % 8 & 1) != 0) mask->Set(cpu);
  }
  return true;
}

// Of CPUs below `cpus`; the rest of the guest's bitmap is cleared. False: a fault.
inline bool WriteCpus(const GuestHandle<std::uint8_t>& to, const CpuMask& mask, unsigned cpus) {
  const CpuMask known = mask.And(CpuMask::FirstOf(cpus));
  const std::uint64_t own_bytes = (cpus + 7) / 8;
  const std::uint64_t bytes = to.count() < own_bytes ? to.count() : own_bytes;
  if (!to.Write(0, std::span(known.bytes()).first(bytes)).ok()) return false;
  return to.Clear(bytes, to.count() - bytes).ok();
}

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_BITMAP_H_
