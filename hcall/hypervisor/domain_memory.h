// DomainMemory: a domain's guest-physical memory (xencomm/memory.h), through its p2m.
//
// Reading takes RAM, written or not; writing takes RAM that the domain may write: a page table, an
// MMIO page, a grant, a foreign frame and a read-only page refuse. What is mapped for writing is
// marked dirty.
//
// A look-up takes no lock, so nobody may look up what somebody else is just giving up: look-ups
// belong to a call, which what is given up waits for (quiescence.h), or hold the domain's lock.
// Hence two kinds:
//
//   DomainMemory  inside calls, for their spaces.
//   LockedMemory  for a machine's own needs outside calls.
#ifndef HCALL_HYPERVISOR_DOMAIN_MEMORY_H_
#define HCALL_HYPERVISOR_DOMAIN_MEMORY_H_

#include <cstdint>

#include "hcall/hypervisor/frame_table.h"
#include "hcall/hypervisor/p2m.h"
#include "xencomm/memory.h"

namespace xencomm::hypervisor {

class Domain;

class DomainMemory {
 public:
  // Both are borrowed.
  DomainMemory(const P2m& p2m, const FrameTable& frames) : p2m_(&p2m), frames_(&frames) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const std::uint64_t gfn = physical.value >> kPageShift;
    const P2mEntry entry = p2m_->Load(gfn);
    if (!Permits(entry, access)) [[unlikely]]
      return Refusal(entry, access);
    if (access == Access::kWrite) p2m_->MarkDirty(gfn, entry);

    const std::uint64_t within = physical.value & (kPageSize - 1);
    const std::uint64_t machine = (entry.mfn() << kPageShift) + within;
    std::uint64_t run = kPageSize - within;
    if (run < length) run = Extend(gfn, entry, access, run, length);
    return {frames_->Pointer({machine}), length < run ? length : run};
  }

 private:
  static bool Permits(P2mEntry entry, Access access) {
    return access == Access::kWrite ? entry.writable() : entry.readable();
  }

  // Frames that follow each other in the machine too are one run. Apart from Map, which stays small
  // for what lies in one page.
  [[gnu::noinline]] std::uint64_t Extend(std::uint64_t gfn, P2mEntry entry, Access access,
                                         std::uint64_t run, std::uint64_t length) const {
    while (run < length) {
      const P2mEntry next = p2m_->Load(++gfn);
      if (next.mfn() != entry.mfn() + 1 || !Permits(next, access)) break;
      if (access == Access::kWrite) p2m_->MarkDirty(gfn, next);
      entry = next;
      run += kPageSize;
    }
    return run;
  }

  static Fault Refusal(P2mEntry entry, Access access) {
    if (!entry.present()) return Fault::kNoMemory;
    return access == Access::kWrite ? Fault::kNotWritable : Fault::kNotReadable;
  }

  const P2m* p2m_;
  const FrameTable* frames_;
};
static_assert(Memory<DomainMemory>);

// What Map answers stays where it is for as long as the domain does not give it up.
class LockedMemory {
 public:
  // Both are borrowed; the domain stays while a vcpu of it is claimed.
  LockedMemory(Domain& domain, const FrameTable& frames) : domain_(&domain), frames_(&frames) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) const;

 private:
  Domain* domain_;
  const FrameTable* frames_;
};
static_assert(Memory<LockedMemory>);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_MEMORY_H_
