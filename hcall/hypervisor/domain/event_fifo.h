// EventFifo: the ABI of event channels that a domain may change to (public/event_channel.h, "FIFO
// ABI"), and what the hypervisor keeps of it.
//
//   a vcpu's control block                the event array: a word for each port
//   ready: a bit for each priority        PENDING, MASKED, LINKED, BUSY and the LINK: the next port
//   head[priority] ──> word ── LINK ──> word ── LINK ──> word <── tail
//
// The guest takes events off at the heads, the hypervisor puts them behind the tails, which it
// keeps to itself: a queue for each priority of each vcpu. Both pages are the guest's, pinned for
// as long as they are used.
//
// Rules:
// 1. All of it changes with the events' lock held; only the guest's part in words and control
// blocks
//    is concurrent.
// 2. No number that the guest wrote is followed: of a word its flags are looked at, of a control
//    block whether a bit of `ready` was set. What a guest writes there wrongly, it loses.
// 3. A port knows the queue that it was put on last. Going to another one, it is that one's tail no
//    more, or what comes behind it would be linked to the wrong queue.
// 4. The hypervisor tries four times to link a word that the guest changes meanwhile, as Xen does:
//    a guest that keeps to the ABI has no more changes to make.
#ifndef HCALL_HYPERVISOR_DOMAIN_EVENT_FIFO_H_
#define HCALL_HYPERVISOR_DOMAIN_EVENT_FIFO_H_

#include <cstddef>
#include <cstdint>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/domain/guest_word.h"

namespace xencomm::hypervisor {

class Core;
class Domain;
class Physmap;
struct Port;

// Of a vcpu; nothing is on them while it has no control block.
struct EventQueues {
  static constexpr unsigned kCount = 16;  // a queue for each priority

  std::byte* control_block = nullptr;
  std::uint32_t tails[kCount] = {};  // ports; 0: nothing was put there
};

class EventFifo {
 public:
  static constexpr unsigned kLinkBits = 17;
  static constexpr std::uint32_t kPorts = 1u << kLinkBits;
  static constexpr std::uint8_t kLowestPriority = EventQueues::kCount - 1;

  // Whether the domain has changed to it.
  bool is_on() const { return is_on_; }

  // Shares a control block, `offset` bytes into a page, with a vcpu that there is. The first one
  // changes the domain to this ABI, and what is pending in the shared info page waits for words.
  // -EINVAL (it has one, or the page is not the domain's to write), -ENOMEM.
  std::int64_t InitControl(Core& core, Domain& domain, std::uint32_t vcpu, std::uint64_t gfn,
                           std::uint32_t offset);
  // Adds a page of words, and puts those events in it that waited. -ENOSPC, -EINVAL.
  std::int64_t ExpandArray(Core& core, Domain& domain, std::uint64_t gfn);

  // Goes back to the two-level ABI. Takes the domain's lock.
  void End(Core& core, Domain& domain);
  // Its first half, with the lock held: gives up the guest's pages, and nothing is written any
  // more.
  void Release(Core& core, Domain& domain);
  // Its second half.
  void Delete(Domain& domain);

  // Of a port that is in use. Without a word its event waits for one; without a control block of
  // its vcpu it is lost, as in Xen.
  void SetPending(Core& core, Domain& domain, std::uint32_t port, Port& row) const;
  void Unmask(Core& core, Domain& domain, std::uint32_t port, Port& row) const;
  void ClearPending(Core& core, Domain& domain, std::uint32_t port) const;
  bool IsPending(const Domain& domain, std::uint32_t port) const;
  // Whether a port that was closed may still be on a queue: it is not free then.
  bool IsBusy(const Domain& domain, std::uint32_t port) const;

 private:
  friend class Books;  // of tests/unit

  using Word = GuestWord<std::uint32_t>;

  static constexpr std::uint32_t kWordsPerPage = kPageSize / sizeof(std::uint32_t);
  static constexpr std::uint32_t kArrayPages = kPorts / kWordsPerPage;
  static constexpr std::uint32_t kVcpusPerPage = kPageSize / sizeof(EventQueues);
  static constexpr std::uint32_t kMostVcpus = 8192;  // of any domain
  static constexpr std::uint32_t kQueuePages = (kMostVcpus + kVcpusPerPage - 1) / kVcpusPerPage;

  // Null without a word.
  std::byte* PlaceOf(std::uint32_t port) const {
    if (port >= words_) return nullptr;
    return array_[port / kWordsPerPage] + port % kWordsPerPage * sizeof(std::uint32_t);
  }
  // Null for a vcpu that has never had any.
  EventQueues* QueuesOf(std::uint32_t vcpu) const {
    EventQueues* page = queues_[vcpu / kVcpusPerPage];
    return page == nullptr ? nullptr : &page[vcpu % kVcpusPerPage];
  }
  bool Append(Core& core, Domain& domain, EventQueues& queues, std::uint32_t port,
              const Port& row) const;

  bool is_on_ = false;
  std::uint32_t words_ = 0;
  std::byte* array_[kArrayPages] = {};
  EventQueues* queues_[kQueuePages] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_EVENT_FIFO_H_
