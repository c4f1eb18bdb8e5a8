#include "hcall/hypervisor/domain/grant_pins.h"

#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/hypervisor/domain/grant_entry.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/hypervisor/memory/page_types.h"
#include "hcall/hypervisor/memory/physmap.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kReaders = 0xff * kPinRead | 0xff * kPinDeviceRead;
constexpr std::uint32_t kWriters = 0xff * kPinWrite | 0xff * kPinDeviceWrite;
static_assert((kReaders | kWriters) == ~std::uint32_t{0});

constexpr bool Writes(std::uint32_t pins) { return (pins & kWriters) != 0; }
// The bits of the counters that are not to be set already when these are added.
constexpr std::uint32_t Full(std::uint32_t pins) { return pins << 7; }

// What the granter is shown because of these pins.
constexpr std::uint16_t Shown(std::uint32_t pins) {
  return static_cast<std::uint16_t>((pins != 0 ? GTF_reading : 0) |
                                    (Writes(pins) ? GTF_writing : 0));
}

// Whether an entry grants to `grantee` at all. Only a copy can use a part of a page, or what is
// passed on.
bool Grants(const GrantEntry& entry, GrantEntry::Head head, std::uint16_t grantee, bool maps) {
  if (head.grantee() != grantee) return false;
  if (maps && (head.flags() & GTF_sub_page) != 0) return false;
  return head.type() == GTF_permit_access ||
         (!maps && entry.is_version_2() && head.type() == GTF_transitive);
}

bool Forbids(GrantEntry::Head head, std::uint32_t pins) {
  return Writes(pins) && (head.flags() & GTF_readonly) != 0;
}

// Shows the granter that a grant comes into use, or into use for writing: `active` is as it was.
std::int16_t ShowInUse(const GrantEntry& entry, const ActiveGrant& active, std::uint32_t pins,
                       std::uint16_t grantee, bool maps) {
  // A granter that changes the entry all the time is given up; now and then, it may.
  constexpr int kTries = 5;
  const auto fits = [&](GrantEntry::Head head) {
    return (active.pins != 0 || Grants(entry, head, grantee, maps)) && !Forbids(head, pins);
  };
  GrantEntry::Head head = entry.LoadHead();
  if (!entry.is_version_2()) {
    for (int tries = 0; tries < kTries; ++tries) {
      if (!fits(head)) return GNTST_general_error;
      if (entry.AddFlags(head, Shown(pins))) return GNTST_okay;
    }
    return GNTST_general_error;
  }
  if (!fits(head)) return GNTST_general_error;
  entry.SetInUse(Shown(pins));
  // The granter has seen that, or has changed the entry before.
  if (fits(entry.LoadHead())) return GNTST_okay;
  entry.ClearInUse(static_cast<std::uint16_t>(Shown(pins) & ~Shown(active.pins)));
  return GNTST_general_error;
}

// The page that a frame number of the domain's means.
std::int16_t FindPage(const Domain& domain, std::uint64_t frame, bool writes, std::uint64_t* mfn) {
  if (domain.dying()) return GNTST_bad_page;
  const P2mEntry entry = domain.p2m.Load(frame);
  if (!entry.present() || entry.is_others()) return GNTST_bad_page;
  if (writes && !entry.writable()) return GNTST_general_error;
  *mfn = entry.mfn();
  return GNTST_okay;
}

// In the log of what the domain's pages are written.
void Mark(Core& core, Domain& domain, std::uint64_t mfn) {
  const std::uint64_t gfn = core.frames.Of(mfn).gfn;
  if (domain.translated() && gfn != kNoFrame) domain.dirty_log.Mark(gfn);
}

// What is to be written is marked now, and again when it may have been. It is no page table as long
// as it is pinned so: false, if it is one.
bool BeginWrites(Core& core, Domain& domain, std::uint64_t mfn, std::uint32_t pins) {
  if (!Writes(pins)) return true;
  Mark(core, domain, mfn);
  if (domain.translated()) return true;
  PageTypes types(core, domain);
  std::uint32_t taken = 0;
  for (std::uint32_t rest = pins & kWriters; rest != 0; rest &= rest - 1, ++taken) {
    if (types.TakeWritable(mfn)) continue;
    for (; taken != 0; --taken) types.DropWritable(mfn);
    return false;
  }
  return true;
}
void EndWrites(Core& core, Domain& domain, std::uint64_t mfn, std::uint32_t pins) {
  if (!Writes(pins)) return;
  Mark(core, domain, mfn);
  if (domain.translated()) return;
  for (std::uint32_t rest = pins & kWriters; rest != 0; rest &= rest - 1) {
    PageTypes(core, domain).DropWritable(mfn);
  }
}

// A grant that is to be pinned; with the granter's lock held.
class Pinning {
 public:
  Pinning(Core& core, Domain& granter, std::uint32_t ref, std::uint16_t grantee, std::uint32_t pins)
      : core_(core), granter_(granter), ref_(ref), grantee_(grantee), pins_(pins) {}

  // Whether it may be in use once more: what is called first.
  std::int16_t Begin(bool maps) {
    table_ = GrantTableOf(granter_);
    if (table_ == nullptr) return granter_.dying() ? GNTST_general_error : kGrantNoMemory;
    if (ref_ >= EntriesOf(*table_)) return GNTST_bad_gntref;
    const ActiveGrant active = ActiveGrantOf(*table_, ref_);
    if (active.pins == 0) {
      if (!granter_.dying()) return GNTST_okay;
      // Its pages are gone, and nothing is written to what may go with them.
      const GrantEntry::Head head = entry().LoadHead();
      const bool would = Grants(entry(), head, grantee_, maps) && !Forbids(head, pins_);
      return would ? GNTST_bad_page : GNTST_general_error;
    }
    const bool is_refused =
        active.grantee != grantee_ || (active.pins & Full(pins_)) != 0 || (maps && active.is_part);
    return is_refused ? GNTST_general_error : GNTST_okay;
  }

  GrantEntry entry() const { return EntryOf(core_, granter_, *table_, ref_); }
  GrantTable& table() const { return *table_; }
  ActiveGrant active() const { return ActiveGrantOf(*table_, ref_); }

  // Shows it to the granter, if it was not in use, or not for writing.
  std::int16_t Show(bool maps) const {
    if (!IsNew(active())) return GNTST_okay;
    return ShowInUse(entry(), active(), pins_, grantee_, maps);
  }
  // Takes that back, if nobody else wants it shown.
  std::int16_t GiveUp(std::int16_t status) const {
    const auto hidden = static_cast<std::uint16_t>(Shown(pins_) & ~Shown(active().pins));
    if (hidden != 0) entry().ClearInUse(hidden);
    return status;
  }
  // `found`: as what, for as long as it is in use.
  std::int16_t End(const ActiveGrant& found) const {
    ActiveGrant* const active = PlaceOfActiveGrant(granter_, *table_, ref_);
    if (active == nullptr) return GiveUp(kGrantNoMemory);
    if (found.origin == &granter_ && !BeginWrites(core_, granter_, found.mfn, pins_)) {
      return GiveUp(GNTST_general_error);
    }
    if (active->pins == 0) {
      *active = found;
      active->pins = 0;
      active->grantee = grantee_;
      if (ref_ >= kReservedGrants) ++table_->in_use;
      if (active->is_part) ++table_->part_uses;
    }
    active->pins += pins_;
    return GNTST_okay;
  }

  // Of a page of the granter's own; as what it is in use then.
  std::int16_t PinPage(bool maps, ActiveGrant* found) {
    const ActiveGrant before = active();
    *found = before;
    if (IsNew(before)) {
      const std::int16_t shown = Show(maps);
      if (shown != GNTST_okay) return shown;
      // What is mapped already is no longer the entry's to say.
      if (before.pins == 0 || !maps) {
        const std::int16_t error = ReadEntry(maps, found);
        if (error != GNTST_okay) return GiveUp(error);
        if (before.pins != 0 && !IsSame(before, *found)) return GiveUp(GNTST_general_error);
      }
    } else if (!maps && (before.origin != &granter_ || granter_.dying())) {
      return GNTST_bad_domain;
    }
    return End(*found);
  }

  // Whether what is in use as `active` can be in use as `found`, too.
  static bool IsSame(const ActiveGrant& active, const ActiveGrant& found) {
    return active.mfn == found.mfn && active.origin == found.origin &&
           active.origin_ref == found.origin_ref &&
           (!active.is_part ||
            (found.is_part && active.start == found.start && active.length == found.length));
  }

 private:
  bool IsNew(const ActiveGrant& active) const {
    return active.pins == 0 || (Writes(pins_) && !Writes(active.pins));
  }
  std::int16_t ReadEntry(bool maps, ActiveGrant* found) const {
    const GrantEntry from = entry();
    *found = {.start = 0, .length = kPageSize, .origin_ref = ref_, .origin = &granter_};
    if (!maps && from.is_version_2() && (from.LoadHead().flags() & GTF_sub_page) != 0) {
      found->is_part = true;
      found->start = from.LoadPageOffset();
      found->length = from.LoadLength();
    }
    return FindPage(granter_, from.LoadFrame(), Writes(pins_), &found->mfn);
  }

  Core& core_;
  Domain& granter_;
  const std::uint32_t ref_;
  const std::uint16_t grantee_;
  const std::uint32_t pins_;
  GrantTable* table_ = nullptr;
};

// What it is in use for otherwise, and as what. With the granter's lock held.
ActiveGrant UnpinLocked(Core& core, Domain& granter, std::uint32_t ref, std::uint32_t pins) {
  GrantTable& table = *granter.grants;
  ActiveGrant& active = *PlaceOfActiveGrant(granter, table, ref);
  const auto hidden = static_cast<std::uint16_t>(Shown(active.pins) & ~Shown(active.pins - pins));
  active.pins -= pins;
  if (active.origin == &granter) EndWrites(core, granter, active.mfn, pins);
  if (hidden != 0) EntryOf(core, granter, table, ref).ClearInUse(hidden);
  if (active.pins == 0) {
    if (ref >= kReservedGrants) --table.in_use;
    if (active.is_part) --table.part_uses;
  }
  return active;
}

// PinForCopy, of a grant that may be passed on itself, or may not: one that is passed on twice
// would go on for as long as granters like.
std::int16_t PinPart(Core& core, Domain& granter, std::uint32_t ref, std::uint16_t grantee,
                     std::uint32_t pins, bool may_be_passed_on, GrantedPart* part) {
  Pinning pinning(core, granter, ref, grantee, pins);
  ActiveGrant found;
  std::uint32_t pins_before;
  {
    SpinGuard guard(granter.lock);
    std::int16_t status = pinning.Begin(false);
    if (status != GNTST_okay) return status;
    const GrantEntry entry = pinning.entry();
    if (!entry.is_version_2() || entry.LoadHead().type() != GTF_transitive) {
      status = pinning.PinPage(false, &found);
      *part = {.mfn = found.mfn, .start = found.start, .length = found.length};
      return status;
    }
    status = pinning.Show(false);
    if (status != GNTST_okay) return status;
    const std::uint16_t origin = entry.LoadTransitiveDomain();
    found = {.is_part = true, .origin_ref = entry.LoadTransitiveRef()};
    found.origin = !may_be_passed_on || origin == granter.id ? nullptr : core.domains.Find(origin);
    if (found.origin == nullptr) return pinning.GiveUp(GNTST_general_error);
    // The table is not to change its version while the other domain's is looked at.
    ++pinning.table().part_uses;
    pins_before = pinning.active().pins;
  }
  const std::int16_t passed_on =
      PinPart(core, *found.origin, found.origin_ref, granter.id, pins, false, part);
  found.mfn = part->mfn;
  found.start = part->start;
  found.length = part->length;
  std::int16_t status = passed_on;
  {
    SpinGuard guard(granter.lock);
    --pinning.table().part_uses;
    const ActiveGrant active = pinning.active();
    // Somebody else may have come in between. What has been in use all the time has to be the same
    // still, which would not change by asking again.
    if (status == GNTST_okay && active.pins != pins_before) status = kGrantChanged;
    if (status == GNTST_okay && active.pins != 0 && !Pinning::IsSame(active, found)) {
      status = GNTST_general_error;
    }
    if (status == GNTST_okay) {
      status = pinning.End(found);
    } else {
      pinning.GiveUp(status);
    }
  }
  if (passed_on == GNTST_okay && status != GNTST_okay) {
    UnpinCopy(core, *found.origin, found.origin_ref, pins);
  }
  return status;
}

}  // namespace

std::int16_t PinForMapping(Core& core, Domain& granter, std::uint32_t ref, std::uint16_t grantee,
                           std::uint32_t pins, std::uint64_t* mfn) {
  SpinGuard guard(granter.lock);
  Pinning pinning(core, granter, ref, grantee, pins);
  ActiveGrant found;
  std::int16_t status = pinning.Begin(true);
  if (status == GNTST_okay) status = pinning.PinPage(true, &found);
  if (status != GNTST_okay) return status;
  for (std::uint32_t rest = pins; rest != 0; rest &= rest - 1) {
    Physmap(core, granter).Keep(found.mfn);
  }
  *mfn = found.mfn;
  return GNTST_okay;
}

std::int16_t PinForCopy(Core& core, Domain& granter, std::uint32_t ref, std::uint16_t grantee,
                        std::uint32_t pins, GrantedPart* part) {
  return PinPart(core, granter, ref, grantee, pins, true, part);
}

void UnpinMapping(Core& core, Domain& granter, std::uint32_t ref, std::uint32_t pins) {
  SpinGuard guard(granter.lock);
  const ActiveGrant active = UnpinLocked(core, granter, ref, pins);
  for (std::uint32_t rest = pins; rest != 0; rest &= rest - 1) {
    Physmap(core, granter).LetGo(active.mfn);
  }
}

void UnpinCopy(Core& core, Domain& granter, std::uint32_t ref, std::uint32_t pins) {
  ActiveGrant active;
  {
    SpinGuard guard(granter.lock);
    active = UnpinLocked(core, granter, ref, pins);
  }
  if (active.origin != &granter) UnpinCopy(core, *active.origin, active.origin_ref, pins);
}

std::int16_t PinOwnPage(Core& core, Domain& domain, std::uint64_t frame, std::uint32_t pins,
                        std::uint64_t* mfn) {
  SpinGuard guard(domain.lock);
  const std::int16_t status = FindPage(domain, frame, Writes(pins), mfn);
  if (status != GNTST_okay) return status;
  return BeginWrites(core, domain, *mfn, pins) ? GNTST_okay : GNTST_general_error;
}

void UnpinOwnPage(Core& core, Domain& domain, std::uint64_t mfn, std::uint32_t pins) {
  SpinGuard guard(domain.lock);
  EndWrites(core, domain, mfn, pins);
}

void ForgetIfDead(Core& core, Domain& domain) {
  if (domain.life.load() != Life::kDead) [[likely]]
    return;
  SpinGuard guard(core.control);
  if (core.domains.Find(domain.id) == &domain) ForgetDomain(core, domain);
}

bool FindPin(Domain& granter, std::uint16_t grantee, std::uint64_t mfn, std::uint32_t count,
             std::uint32_t* ref) {
  SpinGuard guard(granter.lock);
  const GrantTable* table = granter.grants;
  const std::uint32_t entries = table == nullptr ? 0 : EntriesOf(*table);
  for (; count != 0 && *ref < entries; --count, ++*ref) {
    const ActiveGrant active = ActiveGrantOf(*table, *ref);
    if (active.pins != 0 && active.grantee == grantee && active.mfn == mfn) return true;
  }
  if (*ref >= entries) *ref = 0;
  return false;
}

}  // namespace xencomm::hypervisor
