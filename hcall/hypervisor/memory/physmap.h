// The physmap: giving memory to a domain and taking it away.
//
// Every frame of a domain is on its page list and counted in tot_pages; where a translated domain
// has it is in the p2m and, the other way round, in the frame's gfn. A frame that somebody still
// maps (Frame::holds) stays the domain's, counted and on the list until it is released, as in Xen;
// the domain's end takes it off the list.
//
// Except where it says otherwise a function takes the domain's lock itself, and answers 0 or a
// negative errno.
#ifndef HCALL_HYPERVISOR_MEMORY_PHYSMAP_H_
#define HCALL_HYPERVISOR_MEMORY_PHYSMAP_H_

#include <cstdint>
#include <span>

#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/memory/domain_pages.h"
#include "hcall/hypervisor/memory/pool.h"
#include "xencomm/memory.h"

namespace xencomm::hypervisor {

class Physmap {
 public:
  Physmap(Pool& pool, DomainPages& domain) : pool_(pool), domain_(domain) {}

  // 2^order new frames that read as zero, their numbers at most `width` bits wide, on the page list
  // and counted, but at no gfn yet. `gfn` is where they are going to be. -ENOMEM, -E2BIG (beyond
  // max_pages), -EPERM (already beyond), -EINVAL (dying).
  std::int64_t Allocate(std::uint64_t gfn, unsigned order, unsigned width, std::uint64_t* mfn);

  // Makes 2^order frames of the heap the domain's in place of ones that it gave up, whatever its
  // limit. -EINVAL (dying); the frames are the caller's still then.
  std::int64_t Adopt(std::uint64_t mfn, unsigned order);

  // Takes such frames back that were not placed.
  void Withdraw(std::uint64_t mfn, unsigned order);

  // How many pages the domain is still to get of those that it claims; with the lock held.
  void Claim(std::uint64_t pages);

  // Puts frames that the domain owns at [gfn, gfn + 2^order). What was there stays the domain's, at
  // no gfn, as in Xen. A PV domain's are where they are. -ENOMEM, -EINVAL (beyond what a p2m
  // holds), -EBUSY (pinned).
  std::int64_t Place(std::uint64_t gfn, std::uint64_t mfn, unsigned order, P2mType type);

  // Takes the page at `frame` (a gfn, or a PV domain's mfn) off the physmap and frees it. -ENOENT
  // (nothing there), -EBUSY (pinned), -ENXIO (not the domain's own), -EINVAL.
  std::int64_t Free(std::uint64_t frame);

  // The same with all pages of extents of 2^order, or with none of them. -EINVAL (not the domain's
  // RAM, mapped by somebody, or named twice), -EBUSY (pinned).
  std::int64_t FreeAll(std::span<const std::uint64_t> extents, unsigned order);

  // Takes it off the physmap only. -ENOENT, -EBUSY. `*foreign` becomes the frame of another domain
  // that was mapped there, for ReleaseMapping (domain/domain_life.h); or kNoFrame.
  std::int64_t Unplace(std::uint64_t gfn, std::uint64_t* foreign);

  // Puts one of the hypervisor's own pages, shared with the domain, at `gfn` only, wherever it was;
  // what was there is freed as by Free, but for other such pages, which are unhooked. -EBUSY (given
  // back meanwhile) and the errors of Free.
  std::int64_t Move(std::uint64_t mfn, std::uint64_t gfn, P2mType type);
  // The same for the domain's page at `from`. -EACCES: there is none of its own; -EINVAL: it is the
  // hypervisor's.
  std::int64_t MoveGfn(std::uint64_t from, std::uint64_t gfn);

  // Maps a page of `source` at `gfn`. -EINVAL (no such page) and the errors of Free.
  std::int64_t MapForeign(DomainPages& source, std::uint64_t frame, std::uint64_t gfn);

  // Puts a frame of another domain's, which the caller holds, at `gfn`: that is the p2m's hold from
  // then on, and `*is_placed`, unless it was there already. What was there stays the domain's, at
  // no gfn. -EPERM (another one of somebody else's is there), -EBUSY (pinned), -ENOMEM, -EINVAL.
  std::int64_t PlaceForeign(std::uint64_t gfn, std::uint64_t mfn, bool* is_placed);

  // With the lock held: puts a frame that the domain was granted at `gfn`, which the grant's pin
  // holds. What was there stays the domain's, at no gfn. -EPERM (somebody else's is there), -EBUSY
  // (pinned), -ENOMEM, -EINVAL. And takes it away again; -EINVAL: that is not what is there, for
  // that access.
  std::int64_t PlaceGrant(std::uint64_t gfn, std::uint64_t mfn, Access access);
  std::int64_t UnplaceGrant(std::uint64_t gfn, std::uint64_t mfn, Access access);

  // Frees the pages of a dying domain from its list; true when none is left.
  bool FreeSome(Work& work);
  // And then takes the p2m of a translated one apart, up to and with the next page of somebody
  // else's, whose frame it answers for ReleaseMapping; or kNoFrame. `next_gfn` is how far it came.
  std::uint64_t EmptyUpToForeign(std::uint64_t& next_gfn, Work& work);

  // A mapping of somebody else's; with the control lock held. -EINVAL, -EPERM.
  std::int64_t Hold(std::uint64_t frame, Access access, std::uint64_t* mfn);
  void Release(std::uint64_t mfn);

  // Registered regions, areas and pages of events; with the lock held, of pages that were looked up
  // with it held. False when the frame cannot be pinned once more.
  bool Pin(std::uint64_t mfn);
  void Unpin(std::uint64_t mfn);

  // One hold more of a frame, and one less; with the lock held.
  void Keep(std::uint64_t mfn);
  void LetGo(std::uint64_t mfn);

  // Takes one of the hypervisor's own pages off the physmap, wherever it is; with the lock held.
  void Unhook(std::uint64_t mfn);

 private:
  // With the lock held. A dead domain's pages and p2m may have been given back.
  bool IsDead() const;
  bool OwnsMemory(std::uint64_t mfn) const;
  std::int64_t Choose(std::uint64_t frame);
  void Append(std::uint64_t mfn);
  void Unlink(std::uint64_t mfn);
  bool IsListed(std::uint64_t mfn) const;
  void GiveUp(std::uint64_t mfn);
  void Leave(std::uint64_t mfn);
  void Finish(std::uint64_t mfn);
  void StoreEntry(std::uint64_t gfn, P2mEntry entry);
  std::int64_t PlaceOthers(std::uint64_t gfn, P2mEntry entry);
  std::int64_t FreeLocked(std::uint64_t frame);
  std::int64_t MoveLocked(std::uint64_t mfn, std::uint64_t gfn, P2mType type);
  // Frees or unhooks what is at `gfn`, unless it is `keep`.
  std::int64_t MakeRoom(std::uint64_t gfn, std::uint64_t keep);

  Pool& pool_;
  DomainPages& domain_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_PHYSMAP_H_
