// Page types: which pages of a PV domain are page tables, as a toolstack sees it that builds a
// domain, pins its tables, and asks for types when it saves one (Xen's get_page_type).
//
// A page is a table for as long as it is pinned, a vcpu uses it, or an entry of a table above leads
// to it. What becomes a table is validated first: each present entry must lead to a page of the
// domain, of the type that its level wants; what an entry of an L1 table maps for writing is of
// type kWritable, and no table is. A page has one type at a time.
//
// Rules:
// 1. Every entry that was taken, every pin and use, and being a table holds the page
//    (Frame::holds): given up, it stays the domain's until all have gone.
// 2. What a table refers to is noted (TableRefs) when its entries are taken. Nothing is taken back
//    by what stands in the domain's memory: that may have been written behind everybody's back, as
//    a translated domain 0 can do it in Xen, too, which maps a table for writing like any page.
// 3. All of it can be long, and stops and goes on: a table knows how many of its entries it has
//    taken. One that is being taken apart is finished before another type of the domain changes.
// 4. An entry of a table that leads to the table itself, for reading, is taken as it is. One that
//    leads to another table of the same level, which Xen has too, is refused.
//
// Source: get_page_from_l1e and promote_l1_table to promote_l4_table in xen/arch/x86/mm.c of 4.17.
#ifndef HCALL_HYPERVISOR_MEMORY_PAGE_TYPES_H_
#define HCALL_HYPERVISOR_MEMORY_PAGE_TYPES_H_

#include <cstdint>

#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/memory/domain_pages.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/hypervisor/memory/pool.h"

namespace xencomm::hypervisor {

// In a page of the domain.
struct TableRefs {
  static constexpr unsigned kEntries = 512;

  std::uint64_t count = 0;  // pin, uses and entries that want it as a table, once all is taken
  std::uint32_t taken = 0;  // entries, from the first one on
  bool is_pinned = false;
  std::uint8_t writable[kEntries / 8] = {};
  std::uint32_t frames[kEntries] = {};  // by their index; kNoIndex: not taken
};

class PageTypes {
 public:
  PageTypes(Pool& pool, DomainPages& domain)
      : pool_(pool), domain_(domain), physmap_(pool, domain) {}

  // The answer of what has stopped, and is to be called again.
  static constexpr std::int64_t kStopped = 1;

  // Both take the domain's lock. -EINVAL (not the domain's, of another type, pinned already, or
  // not), -EPERM (an entry leads to what is no memory), -EBUSY (to another domain's), -ENOMEM.
  // After either something may be left to be taken apart.
  std::int64_t Pin(std::uint64_t mfn, PageType type, Work& work);
  std::int64_t Unpin(std::uint64_t mfn, Work& work);

  // The same for a table that a vcpu uses, which is none the less one for being pinned; and the end
  // of that: false when it is to be called again.
  std::int64_t Use(std::uint64_t mfn, PageType type, Work& work);
  bool EndUse(std::uint64_t mfn, Work& work);

  // Takes apart what is no table any more; true when nothing is left. Takes the lock.
  bool Finish(Work& work);

  // All below with the lock held.

  // Of a page that is a table, all of it taken; else kNone or kWritable.
  PageType TypeOf(std::uint64_t mfn) const;
  bool IsPinned(std::uint64_t mfn) const;

  // A mapping of a page of the domain for writing, which is none by an entry of its own tables; and
  // its end. False: the page is a table.
  bool TakeWritable(std::uint64_t mfn);
  void DropWritable(std::uint64_t mfn);

  static bool IsTable(const Frame& frame) {
    const PageType type = frame.type.type();
    return type != PageType::kNone && type != PageType::kWritable;
  }

  // Because the domain ends: lets go of what a table refers to, and of its being one. False when
  // there is no work left for it.
  bool Dissolve(std::uint64_t mfn, Work& work);

 private:
  friend class Books;  // of tests/unit

  Frame& Of(std::uint64_t mfn) const { return pool_.frames.Of(mfn); }
  TableRefs& RefsOf(const Frame& table) const;
  // Whether a page is the domain's, or was and is still held.
  bool Owns(std::uint64_t mfn) const;

  // What a pin or a use is, with the lock held.
  std::int64_t TakeRoot(std::uint64_t mfn, PageType type, Work& work);
  void DropRoot(std::uint64_t mfn);
  // One reference more to a page as a table of a type.
  std::int64_t Take(std::uint64_t mfn, PageType type, Work& work);
  // The next entry of a table.
  std::int64_t TakeEntry(std::uint64_t mfn, PageType type, TableRefs& refs, Work& work);
  // What an entry leads to. `is_kept`: that stands in the table's notes from now on, also when it
  // is a table with a mistake.
  std::int64_t TakeMapped(std::uint64_t target, bool writable, bool* is_kept);
  std::int64_t TakeTable(std::uint64_t target, PageType type, Work& work, bool* is_kept);
  // Whether it is a table of the type that is not complete.
  bool IsBegun(std::uint64_t mfn, PageType type) const;
  void DropMapped(std::uint64_t target, bool writable);
  // False when there is no work left for it.
  bool FinishLocked(Work& work);
  bool TakeApart(std::uint64_t mfn, Work& work);
  bool DropTable(std::uint64_t mfn, Work& work);
  void EndTable(std::uint64_t mfn);

  Pool& pool_;
  DomainPages& domain_;
  Physmap physmap_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_PAGE_TYPES_H_
