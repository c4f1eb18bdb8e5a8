#include "hcall/hypervisor/domain/event_fifo.h"

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/domain/event_channel.h"
#include "hcall/hypervisor/domain/event_link.h"
#include "hcall/hypervisor/domain/event_two_level.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kPending = EVTCHN_FIFO_PENDING;
constexpr std::uint32_t kMasked = EVTCHN_FIFO_MASKED;
constexpr std::uint32_t kLinked = EVTCHN_FIFO_LINKED;

static_assert(EventFifo::kLinkBits == EVTCHN_FIFO_LINK_BITS);
static_assert(EventFifo::kLowestPriority == EVTCHN_FIFO_PRIORITY_MIN);
static_assert(EventChannels::kDefaultPriority == EVTCHN_FIFO_PRIORITY_DEFAULT);

// A page that the domain may write, which it cannot give up from now on. Of one that does not end:
// that begins with the events' lock held, too.
std::int64_t PinPage(Core& core, Domain& domain, std::uint64_t gfn, std::byte** bytes) {
  SpinGuard guard(domain.lock);
  const P2mEntry entry = domain.p2m.Load(gfn);
  // The hypervisor's own pages are not the guest's to pin: it gives them back when it likes.
  if (entry.type() != P2mType::kRam) return -kEINVAL;
  if (!Physmap(core, domain).Pin(entry.mfn())) return -kEINVAL;
  *bytes = core.frames.Bytes(entry.mfn());
  return 0;
}

void Unpin(Core& core, Domain& domain, const std::byte* bytes) {
  if (bytes != nullptr) Physmap(core, domain).Unpin(core.frames.MfnOfPointer(bytes));
}

// What was written here, a toolstack copies that logs what is written. Such a page stays at its
// gfn.
void MarkDirty(Core& core, Domain& domain, const std::byte* bytes) {
  if (!domain.translated()) return;
  domain.dirty_log.Mark(core.frames.Of(core.frames.MfnOfPointer(bytes)).gfn);
}

}  // namespace

std::int64_t EventFifo::InitControl(Core& core, Domain& domain, std::uint32_t vcpu,
                                    std::uint64_t gfn, std::uint32_t offset) {
  EventQueues*& page = queues_[vcpu / kVcpusPerPage];
  const bool is_new = page == nullptr;
  if (is_new) page = domain.overhead.New<EventQueues>(kVcpusPerPage);
  if (page == nullptr) return -kENOMEM;

  EventQueues& queues = *QueuesOf(vcpu);
  std::byte* bytes = nullptr;
  const std::int64_t answer =
      queues.control_block != nullptr ? -kEINVAL : PinPage(core, domain, gfn, &bytes);
  if (answer != 0) {
    if (is_new) {
      domain.overhead.Delete(page, kVcpusPerPage);
      page = nullptr;
    }
    return answer;
  }
  queues.control_block = bytes + offset;
  if (is_on_) return 0;
  is_on_ = true;
  // No word has been shared yet.
  const TwoLevelEvents before(core, domain);
  for (std::uint32_t port = 1; port < TwoLevelEvents::kPorts; ++port) {
    Port* row = OpenPort(domain, port);
    if (row != nullptr && before.IsPending(port)) row->is_waiting = true;
  }
  return 0;
}

std::int64_t EventFifo::ExpandArray(Core& core, Domain& domain, std::uint64_t gfn) {
  if (words_ == kPorts) return -kENOSPC;
  std::byte* bytes = nullptr;
  const std::int64_t answer = PinPage(core, domain, gfn, &bytes);
  if (answer != 0) return answer;
  std::uint32_t port = words_;
  array_[port / kWordsPerPage] = bytes;
  words_ += kWordsPerPage;
  for (; port < words_; ++port) {
    Port* row = OpenPort(domain, port);
    if (row == nullptr || !row->is_waiting) continue;
    row->is_waiting = false;
    SetPending(core, domain, port, *row);
  }
  return 0;
}

void EventFifo::End(Core& core, Domain& domain) {
  if (!is_on_) return;
  {
    SpinGuard guard(domain.lock);
    Release(core, domain);
  }
  Delete(domain);
}

void EventFifo::Release(Core& core, Domain& domain) {
  for (EventQueues* page : queues_) {
    for (std::uint32_t i = 0; page != nullptr && i < kVcpusPerPage; ++i) {
      Unpin(core, domain, page[i].control_block);
      page[i] = {};
    }
  }
  for (std::byte*& page : array_) {
    Unpin(core, domain, page);
    page = nullptr;
  }
  words_ = 0;
  is_on_ = false;
}

void EventFifo::Delete(Domain& domain) {
  for (EventQueues*& page : queues_) {
    domain.overhead.Delete(page, kVcpusPerPage);
    page = nullptr;
  }
}

void EventFifo::SetPending(Core& core, Domain& domain, std::uint32_t port, Port& row) const {
  std::byte* place = PlaceOf(port);
  if (place == nullptr) {
    row.is_waiting = true;
    return;
  }
  EventQueues* queues = QueuesOf(row.vcpu);
  if (queues == nullptr || queues->control_block == nullptr) return;
  const Word word(place, domain.order);
  word.Set(kPending);
  if (!word.Has(kMasked) && !word.Set(kLinked)) {
    EventQueues* last = QueuesOf(row.last_vcpu);
    if (last != nullptr && last->tails[row.last_priority] == port) {
      last->tails[row.last_priority] = 0;
    }
    row.last_vcpu = row.vcpu;
    row.last_priority = row.priority;
    // The guest looks at a queue to its end once it has begun: only of its beginning it is told.
    if (!Append(core, domain, *queues, port, row)) {
      const Word ready(queues->control_block + offsetof(evtchn_fifo_control_block_t, ready),
                       domain.order);
      if (!ready.Set(row.priority)) RaiseUpcall(core, domain, row.vcpu);
      MarkDirty(core, domain, queues->control_block);
    }
  }
  MarkDirty(core, domain, place);
}

// Puts a port behind its queue's tail; false when the queue was empty, and it is the head now.
bool EventFifo::Append(Core& core, Domain& domain, EventQueues& queues, std::uint32_t port,
                       const Port& row) const {
  std::uint32_t& tail = queues.tails[row.priority];
  bool is_linked = false;
  if (tail != 0) {
    std::byte* place = PlaceOf(tail);
    is_linked = LinkBehind(Word(place, domain.order), port);
    MarkDirty(core, domain, place);
  }
  if (!is_linked) {
    // A guest looks there when it has seen that the queue is ready.
    Word(queues.control_block + offsetof(evtchn_fifo_control_block_t, head), row.priority,
         domain.order)
        .Store(port);
  }
  tail = port;
  return is_linked;
}

void EventFifo::Unmask(Core& core, Domain& domain, std::uint32_t port, Port& row) const {
  std::byte* place = PlaceOf(port);
  if (place == nullptr) return;
  const Word word(place, domain.order);
  word.Clear(kMasked);
  MarkDirty(core, domain, place);
  if (word.Has(kPending)) SetPending(core, domain, port, row);
}

void EventFifo::ClearPending(Core& core, Domain& domain, std::uint32_t port) const {
  std::byte* place = PlaceOf(port);
  if (place == nullptr) return;
  // It stays linked: the guest takes it off, and finds that there is nothing.
  Word(place, domain.order).Clear(kPending);
  MarkDirty(core, domain, place);
}

bool EventFifo::IsPending(const Domain& domain, std::uint32_t port) const {
  std::byte* place = PlaceOf(port);
  return place != nullptr && Word(place, domain.order).Has(kPending);
}

bool EventFifo::IsBusy(const Domain& domain, std::uint32_t port) const {
  std::byte* place = PlaceOf(port);
  return place != nullptr && Word(place, domain.order).Has(kLinked);
}

}  // namespace xencomm::hypervisor
