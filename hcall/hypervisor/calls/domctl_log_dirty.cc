// domctl: what a domain has written since a toolstack began to log it.
//
// CLEAN goes over the bitmap twice: first it delivers marks, then it clears them. Each can stop and
// be continued; how far it came is kept in the domain (DirtyReading), and the continued call brings
// a token along, since nothing else tells it from a fresh one.

#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

constexpr std::uint64_t kWordPages = DirtyLog::kWordPages;
// Words that are gathered before they are written to the guest.
constexpr std::uint64_t kChunkWords = 64;

constexpr std::uint64_t Smaller(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }
constexpr std::uint64_t WordsFor(std::uint64_t pages) {
  return pages / kWordPages + (pages % kWordPages != 0 ? 1 : 0);
}
// Not std::popcount, which calls the compiler's library where the processor has none.
constexpr std::uint32_t CountOf(std::uint64_t marks) {
  std::uint32_t count = 0;
  for (; marks != 0; marks &= marks - 1) ++count;
  return count;
}
// The pages [gfn, end) among those of the word at `gfn`.
constexpr std::uint64_t MaskUpTo(std::uint64_t gfn, std::uint64_t end) {
  return end - gfn >= kWordPages ? ~std::uint64_t{0} : ~(~std::uint64_t{0} << (end - gfn));
}

// Those of the word at `gfn` that there are, for when everything counts as written.
std::uint64_t PagesThere(const P2m& p2m, std::uint64_t gfn, Work& work) {
  static_assert(P2m::kLeafEntries % kWordPages == 0);
  if (!p2m.HasLeaf(gfn)) return 0;
  std::uint64_t there = 0;
  for (unsigned i = 0; i < kWordPages; ++i) {
    if (p2m.Load(gfn + i).present()) there |= std::uint64_t{1} << i;
  }
  work.Done(kWordPages);
  return there;
}

// Whether a call of the domain's that began before its log did is still under way. With the control
// lock held, so that no vcpu is claimed or released.
bool HasOldLegs(Core& core, const Domain& domain) {
  for (unsigned i = 0; i < domain.max_vcpus; ++i) {
    const Vcpu* vcpu = domain.vcpu(i);
    if (vcpu == nullptr || vcpu->slot == nullptr) continue;
    if (core.quiescence.BeganBefore(*vcpu->slot, domain.dirty_log.stamp)) return true;
  }
  return false;
}

// One CLEAN or PEEK, from where it stopped to where it stops.
class Reader {
 public:
  Reader(DomctlCall& op, DirtyReading& reading, const GuestHandle<std::uint8_t>& bitmap,
         bool is_clean)
      : work_(op.call.work),
        domain_(*op.target),
        log_(op.target->dirty_log),
        reading_(reading),
        bitmap_(bitmap),
        is_clean_(is_clean) {}

  enum class Outcome { kDone, kStopped, kFault };

  Outcome Run() {
    if (!reading_.takes_off) {
      const Outcome delivered = DeliverAll();
      if (delivered != Outcome::kDone || !is_clean_) return delivered;
      reading_.takes_off = true;
      reading_.next = 0;
    }
    while (reading_.next < end()) {
      if (work_.is_used_up()) return Outcome::kStopped;
      TakeOffSome();
    }
    return Outcome::kDone;
  }

 private:
  // Of the pages that there can be marks for.
  std::uint64_t end() const { return log_.is_on() ? Smaller(reading_.pages, P2m::kLimit) : 0; }

  // Words from `next` on that are done at once: up to `last`, the end of a block and what the leg
  // has work for, at least one.
  std::uint64_t WordsAtOnce(std::uint64_t last, std::uint64_t most) const {
    const std::uint64_t in_block =
        (DirtyLog::kBlockPages - reading_.next % DirtyLog::kBlockPages) / kWordPages;
    const std::uint64_t words = Smaller(WordsFor(last - reading_.next), Smaller(in_block, most));
    return words == 0 ? 1 : words;
  }
  void MoveOn(std::uint64_t words) {
    reading_.next += words * kWordPages;
    work_.Done(words);
  }

  Outcome DeliverAll() {
    // Behind the last page the bitmap is clear; without one there is nothing to be done there.
    const std::uint64_t last = bitmap_.is_null() ? end() : reading_.pages;
    while (reading_.next < last) {
      if (work_.is_used_up()) return Outcome::kStopped;
      const bool is_empty =
          reading_.next >= end() || (!reading_.everything && !log_.HasBlock(reading_.next));
      if (!(is_empty ? DeliverEmpty(last) : DeliverSome())) return Outcome::kFault;
    }
    return Outcome::kDone;
  }

  // Nobody has written here. Without a bitmap a whole block is one look.
  bool DeliverEmpty(std::uint64_t last) {
    if (bitmap_.is_null()) {
      work_.Done();
      reading_.next += WordsAtOnce(last, DirtyLog::kBlockPages) * kWordPages;
      return true;
    }
    const std::uint64_t first = reading_.next / 8;
    const std::uint64_t words = WordsAtOnce(last, work_.left());
    MoveOn(words);
    return bitmap_.Clear(first, Smaller(words * 8, bitmap_.count() - first)).ok();
  }

  bool DeliverSome() {
    std::uint8_t bytes[kChunkWords * 8];
    const std::uint64_t first = reading_.next / 8;
    const std::uint64_t most = reading_.everything ? work_.left() / kWordPages : work_.left();
    const std::uint64_t words = WordsAtOnce(end(), Smaller(most, kChunkWords));
    for (std::uint64_t i = 0; i < words; ++i) {
      const std::uint64_t gfn = reading_.next + i * kWordPages;
      const std::uint64_t mask = MaskUpTo(gfn, end());
      std::uint64_t marks = is_clean_ ? log_.Deliver(gfn, mask) : log_.Marks(gfn) & mask;
      if (reading_.everything) marks |= PagesThere(domain_.p2m, gfn, work_) & mask;
      reading_.dirty += CountOf(marks);
      StoreField(bytes + i * 8, marks, ByteOrder::kLittle);
    }
    MoveOn(words);
    if (bitmap_.is_null()) return true;
    const std::uint64_t length = Smaller(words * 8, bitmap_.count() - first);
    return bitmap_.Write(first, std::span<const std::uint8_t>(bytes, length)).ok();
  }

  void TakeOffSome() {
    if (!log_.HasBlock(reading_.next)) {
      work_.Done();
      reading_.next += WordsAtOnce(end(), DirtyLog::kBlockPages) * kWordPages;
      return;
    }
    const std::uint64_t words = WordsAtOnce(end(), work_.left());
    for (std::uint64_t i = 0; i < words; ++i) log_.TakeOff(reading_.next + i * kWordPages);
    MoveOn(words);
  }

  Work& work_;
  Domain& domain_;
  DirtyLog& log_;
  DirtyReading& reading_;
  const GuestHandle<std::uint8_t>& bitmap_;
  const bool is_clean_;
};

// A reading that begins anew, in place of one that somebody gave up or is about to go on with.
void Begin(DomctlCall& op, DirtyReading& reading, bool is_clean) {
  const xen_domctl_shadow_op& request = op.argument->u.shadow_op;
  DirtyLog& log = op.target->dirty_log;
  log.Overtake(reading);
  bool everything = log.has_old_legs;
  if (is_clean && log.has_old_legs) {
    // Looked at before what it delivers, which is then behind what those legs wrote.
    log.has_old_legs = HasOldLegs(op.call.core, *op.target);
    log.SetEverything();
  }
  // Marks that a stopped CLEAN has cleared may never be delivered.
  const bool half_taken = log.cleaning.token != 0 && log.cleaning.takes_off;
  everything = log.is_on() && (everything || half_taken || log.everything());
  reading = {.token = op.call.core.NewToken(),
             .bitmap = reinterpret_cast<std::uint64_t>(request.dirty_bitmap.p),
             .pages = request.pages,
             .events = log.events(),
             .everything = everything,
             .overtaken = reading.overtaken};
}

}  // namespace

std::int64_t EnableLogDirty(DomctlCall& op) {
  Domain& domain = *op.target;
  DirtyLog& log = domain.dirty_log;
  // A PV domain's would take shadow page tables.
  if (!domain.translated()) return -kEOPNOTSUPP;
  if (log.is_on()) return -kEINVAL;
  // What is left of an old one first.
  if (!log.End(op.call.work)) return op.call.Continue();
  if (!log.Begin()) return -kENOMEM;
  // What was written until now does not count. A call that began before has noted nothing, and may
  // be about to write.
  log.stamp = op.call.core.quiescence.Stamp();
  log.has_old_legs = HasOldLegs(op.call.core, domain);
  return 0;
}

std::int64_t ReadDirty(DomctlCall& op) {
  xen_domctl_shadow_op& request = op.argument->u.shadow_op;
  if ((request.mode & ~std::uint32_t{XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL}) != 0) return -kEINVAL;
  const auto bitmap = op.argument.Bind(rows::shadow_op::dirty_bitmap);
  Call& call = op.call;
  DirtyLog& log = op.target->dirty_log;
  const bool is_clean = request.op == XEN_DOMCTL_SHADOW_OP_CLEAN;
  DirtyReading& reading = is_clean ? log.cleaning : log.peeking;

  const std::uint64_t token = call.frame.arguments[1];
  if (token != 0 && token == reading.overtaken) {
    // As Xen answers whoever comes second.
    reading.overtaken = 0;
    return -kEBUSY;
  }
  const bool goes_on = reading.token != 0 && token == reading.token &&
                       reading.pages == request.pages &&
                       reading.bitmap == reinterpret_cast<std::uint64_t>(request.dirty_bitmap.p);
  if (!goes_on) Begin(op, reading, is_clean);

  switch (Reader(op, reading, bitmap, is_clean).Run()) {
    case Reader::Outcome::kStopped:
      return call.ContinueWith(__HYPERVISOR_domctl, call.frame.arguments[0], reading.token);
    case Reader::Outcome::kFault:
      reading = {.overtaken = reading.overtaken};
      return -kEFAULT;
    case Reader::Outcome::kDone:
      break;
  }
  // Only who was told of all pages was told of everything.
  if (is_clean && request.pages >= op.target->p2m.end()) log.Settle(reading.events);
  request.stats.fault_count = 0;
  request.stats.dirty_count = reading.dirty;
  reading = {.overtaken = reading.overtaken};
  if (!is_clean) return 0;
  // The marks are gone, so it is here that the answer must not fail unseen.
  op.copy_back = false;
  if (op.argument.Store()) return 0;
  log.SetEverything();
  return -kEFAULT;
}

}  // namespace xencomm::hypervisor
