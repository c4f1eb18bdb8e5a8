// Machine: what the embedded hypervisor is given to run on.
//
// A process, ring 0 and real mode differ only in this. The hypervisor takes all the memory it ever
// uses from the pool named here, and calls the machine for nothing but time, text and, where the
// machine wants to know them, changes of a domain's physmap and events.
#ifndef HCALL_HYPERVISOR_BASE_MACHINE_H_
#define HCALL_HYPERVISOR_BASE_MACHINE_H_

#include <cstdint>
#include <string_view>

#include "hcall/schema/op.h"
#include "xencomm/address.h"
#include "xencomm/byte_order.h"
#include "xencomm/memory.h"

namespace xencomm::hypervisor {

inline constexpr unsigned kPageShift = 12;
inline constexpr std::uint64_t kPageSize = std::uint64_t{1} << kPageShift;

// No frame. It is what Xen's INVALID_MFN and INVALID_GFN look like to a guest.
inline constexpr std::uint64_t kNoFrame = ~std::uint64_t{0};

// What the processors are said to run at.
inline constexpr std::uint32_t kCpuKilohertz = 1000000;

// Vcpus that make calls at the same time (Hypervisor::ClaimVcpu).
inline constexpr unsigned kMaxCallers = 64;

struct MachineConfig {
  // Where machine address 0 is reached, page-aligned. In real mode that is 0: an address is its own
  // pointer.
  std::uintptr_t memory = 0;

  // The machine addresses that are the hypervisor's to hand out, in bytes, page-aligned. Its own
  // tables are taken from the front, 32 bytes a page.
  std::uint64_t pool_begin = 0;
  std::uint64_t pool_end = 0;
  // Up to here the pool is for pages of the hypervisor's own, and domains get none of it: a machine
  // that gives domains' memory to others maps the two from different places. 0: one pool for both.
  std::uint64_t own_end = 0;
  // The pool reads as zero and costs nothing until it is touched (a sparse memfd): pages that were
  // never handed out are then not cleared.
  bool pool_is_zero = false;

  // The release of Xen that it answers as: one of the op table's, as a set.
  schema::Releases release = schema::kBaseRelease;

  unsigned cpus = 1;
  // Domains besides domain 0 that there are at a time: to create another is -ENOMEM.
  unsigned max_domains = ~0u;
  // Extents, entries or pages that one leg of a long call works on before it stops to be continued.
  unsigned preempt_interval = 4096;
  // As with Xen's option cpufreq=dom0-kernel: platform_op tells how long processors were idle.
  bool dom0_scales_frequency = false;
  // Pages of the pool that one domain may cost besides its memory: p2m, vcpus, region tables.
  std::uint64_t max_overhead_pages = 16384;
};

// No op: of a hypercall that is not implemented at all.
inline constexpr std::uint64_t kNoOp = ~std::uint64_t{0};

// Every function has an answer that suits a machine without the device.
class Machine {
 public:
  // Since some start that does not change.
  virtual std::uint64_t NowNanoseconds() { return 0; }

  // What Xen would print on its console; no end of line is added.
  virtual void WriteConsole(std::string_view) {}

  // [start, start + bytes) is free and may lose its contents. True when it reads as zero from now
  // on, as after a hole was punched into a memfd.
  virtual bool Discard(MachineAddress, std::uint64_t /*bytes*/) { return false; }

  // The physmap of a domain built by BuildDomain changed: `gfn` now leads to frame `mfn`, which the
  // domain may read, or also write; or to none (kNoFrame). For a machine that keeps a second stage
  // or a mapping beside the p2m. Called with the domain locked: no call back into the hypervisor.
  virtual void PhysmapChanged(std::uint16_t /*domain*/, std::uint64_t /*gfn*/,
                              std::uint64_t /*mfn*/, Access /*most*/) {}

  // An upcall became pending for a vcpu of a domain built by BuildDomain, whose shared info page
  // says what of. Called with the events' lock held: no call back into the hypervisor.
  virtual void Upcall(std::uint16_t /*domain*/, unsigned /*vcpu*/) {}

  // What Xen tells domain 0 of by a VIRQ of this number has happened, whether that is bound there
  // or not. Called with locks held: no call back into the hypervisor.
  virtual void GlobalVirq(std::uint32_t /*virq*/) {}

  // An op that Xen has is refused because it is not implemented, for the first time; or a whole
  // hypercall (kNoOp). No call back into the hypervisor: it may be locked.
  virtual void Unimplemented(std::uint64_t /*hypercall*/, std::uint64_t /*op*/) {}

 protected:
  ~Machine() = default;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_MACHINE_H_
