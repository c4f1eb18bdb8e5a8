// DomainMemory: a domain's guest-physical memory (xencomm/memory.h), through its p2m.
//
// Reading takes RAM, written or not; writing takes RAM that the domain may write: a page table, an
// MMIO page, a grant, a foreign frame and a read-only page refuse.
//
// A look-up takes no lock, so nobody may look up what somebody else is just giving up: look-ups
// belong to a call, which what is given up waits for (quiescence.h), or hold the domain's lock.
// Hence three kinds:
//
//   DomainMemory  for the spaces of a vcpu's calls. What is mapped for writing is marked dirty, and
//                 noted to be marked again when the leg ends.
//   DomainReader  inside a call, for reading only.
//   LockedMemory  for a machine's own needs outside calls.
#ifndef HCALL_HYPERVISOR_MEMORY_DOMAIN_MEMORY_H_
#define HCALL_HYPERVISOR_MEMORY_DOMAIN_MEMORY_H_

#include <cstdint>

#include "hcall/hypervisor/memory/dirty_log.h"
#include "hcall/hypervisor/memory/frame_table.h"
#include "hcall/hypervisor/memory/p2m.h"
#include "hcall/hypervisor/memory/write_notes.h"
#include "xencomm/memory.h"

namespace xencomm::hypervisor {

class DomainPages;

// The look-up that all of them share. Both are borrowed.
class FrameLookup {
 public:
  FrameLookup(const P2m& p2m, const FrameTable& frames) : p2m_(&p2m), frames_(&frames) {}

  Mapping Find(PhysicalAddress physical, std::uint64_t length, Access access) const {
    const std::uint64_t gfn = physical.value >> kPageShift;
    const P2mEntry entry = p2m_->Load(gfn);
    if (!Permits(entry, access)) [[unlikely]]
      return Refusal(entry, access);

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

  // Frames that follow each other in the machine too are one run. Apart from Find, which stays
  // small for what lies in one page.
  [[gnu::noinline]] std::uint64_t Extend(std::uint64_t gfn, P2mEntry entry, Access access,
                                         std::uint64_t run, std::uint64_t length) const {
    while (run < length) {
      const P2mEntry next = p2m_->Load(++gfn);
      if (next.mfn() != entry.mfn() + 1 || !Permits(next, access)) break;
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

class DomainMemory {
 public:
  // All are borrowed; `notes` are those of the vcpu that makes the calls.
  DomainMemory(const P2m& p2m, const FrameTable& frames, DirtyLog& log, WriteNotes& notes)
      : lookup_(p2m, frames), log_(&log), notes_(&notes) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const Mapping run = lookup_.Find(physical, length, access);
    if (access == Access::kWrite && log_->is_on()) [[unlikely]]
      NoteWrite(physical, run);
    return run;
  }

 private:
  [[gnu::noinline]] void NoteWrite(PhysicalAddress physical, const Mapping& run) {
    if (!run.ok()) return;
    const std::uint64_t first = physical.value >> kPageShift;
    const std::uint64_t last = (physical.value + run.length() - 1) >> kPageShift;
    log_->NoteRun(first, last - first + 1, *notes_);
  }

  FrameLookup lookup_;
  DirtyLog* log_;
  WriteNotes* notes_;
};
static_assert(Memory<DomainMemory>);

class DomainReader {
 public:
  // Both are borrowed.
  DomainReader(const P2m& p2m, const FrameTable& frames) : lookup_(p2m, frames) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) const {
    if (access == Access::kWrite) return Fault::kNotWritable;
    return lookup_.Find(physical, length, access);
  }

 private:
  FrameLookup lookup_;
};
static_assert(Memory<DomainReader>);

// What Map answers stays where it is for as long as the domain does not give it up. What is written
// there is a store of the domain's own, like those of its programs: the log of what calls write
// does not see it.
class LockedMemory {
 public:
  // Both are borrowed; the domain stays while a vcpu of it is claimed.
  LockedMemory(DomainPages& domain, const FrameTable& frames)
      : domain_(&domain), frames_(&frames) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) const;

 private:
  DomainPages* domain_;
  const FrameTable* frames_;
};
static_assert(Memory<LockedMemory>);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_DOMAIN_MEMORY_H_
