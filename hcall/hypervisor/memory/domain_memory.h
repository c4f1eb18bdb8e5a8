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

// The look-up that all of them share.
class FrameLookup {
 public:
  // Borrowed.
  explicit FrameLookup(const P2m& p2m) : p2m_(&p2m) {}

  Mapping Find(PhysicalAddress physical, std::uint64_t length, Access access) const {
    const P2mEntry entry = p2m_->Load(physical.value >> kPageShift);
    if (!Permits(entry, access)) [[unlikely]]
      return Refusal(entry, access);
    const std::uint64_t within = physical.value & (kPageSize - 1);
    std::byte* const start = p2m_->Bytes(entry) + within;
    if (length > kPageSize - within) [[unlikely]]
      length =
          Extend(*p2m_, physical.value >> kPageShift, entry, access, kPageSize - within, length);
    return {start, length};
  }

 private:
  static bool Permits(P2mEntry entry, Access access) {
    return access == Access::kWrite ? entry.writable() : entry.readable();
  }

  // Frames that follow each other in the machine too are one run, of at most `length`. Apart from
  // Find, which stays small for what lies in one page.
  [[gnu::noinline]] static std::uint64_t Extend(const P2m& p2m, std::uint64_t gfn, P2mEntry entry,
                                                Access access, std::uint64_t run,
                                                std::uint64_t length) {
    while (run < length) {
      const P2mEntry next = p2m.Load(++gfn);
      if (next.mfn() != entry.mfn() + 1 || !Permits(next, access)) break;
      entry = next;
      run += kPageSize;
    }
    return length < run ? length : run;
  }

  [[gnu::cold, gnu::noinline]] static Mapping Refusal(P2mEntry entry, Access access) {
    if (!entry.present()) return Fault::kNoMemory;
    return access == Access::kWrite ? Fault::kNotWritable : Fault::kNotReadable;
  }

  const P2m* p2m_;
};

class DomainMemory {
 public:
  // All are borrowed; `notes` are those of the vcpu that makes the calls.
  DomainMemory(const P2m& p2m, DirtyLog& log, WriteNotes& notes)
      : p2m_(&p2m), log_(&log), notes_(&notes) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    const Mapping run = FrameLookup(*p2m_).Find(physical, length, access);
    if (access == Access::kWrite && log_->is_on()) [[unlikely]]
      NoteWrite(physical, run);
    return run;
  }
  // What lies at a low gfn, while nobody logs what is written.
  class LowPages {
   public:
    explicit LowPages(const DomainMemory& memory) : memory_(&memory), entries_(*memory.p2m_) {}

    bool FindPage(PhysicalAddress physical, Access access, std::byte** page) const {
      const P2mEntry entry = entries_.Load(physical.value >> kPageShift);
      const bool is_fit =
          access == Access::kWrite ? entry.writable() && !memory_->log_->is_on() : entry.readable();
      if (!is_fit) [[unlikely]]
        return false;
      *page = entries_.Bytes(entry);
      return true;
    }

   private:
    const DomainMemory* memory_;
    P2m::LowEntries entries_;
  };
  LowPages Quick() const { return LowPages(*this); }

 private:
  [[gnu::noinline]] void NoteWrite(PhysicalAddress physical, const Mapping& run) {
    if (!run.ok()) return;
    const std::uint64_t first = physical.value >> kPageShift;
    const std::uint64_t last = (physical.value + run.length() - 1) >> kPageShift;
    log_->NoteRun(first, last - first + 1, *notes_);
  }

  const P2m* p2m_;
  DirtyLog* log_;
  WriteNotes* notes_;
};
static_assert(HasQuickSide<DomainMemory>);

class DomainReader {
 public:
  // Borrowed.
  explicit DomainReader(const P2m& p2m) : lookup_(p2m) {}

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
  // Borrowed; the domain stays while a vcpu of it is claimed.
  explicit LockedMemory(DomainPages& domain) : domain_(&domain) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) const;

 private:
  DomainPages* domain_;
};
static_assert(Memory<LockedMemory>);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_DOMAIN_MEMORY_H_
