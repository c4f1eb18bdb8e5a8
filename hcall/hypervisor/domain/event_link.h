// LinkBehind: how the hypervisor puts an event behind its queue's tail in the FIFO ABI
// (event_fifo.h), while the guest may take that tail off.
#ifndef HCALL_HYPERVISOR_DOMAIN_EVENT_LINK_H_
#define HCALL_HYPERVISOR_DOMAIN_EVENT_LINK_H_

#include <cstdint>

#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {

// Links a tail's word to `port`. False when the guest has taken it off: the queue is empty. `Word`
// is GuestWord<std::uint32_t>, or what a test has in its place.
template <class Word>
bool LinkBehind(const Word& tail, std::uint32_t port) {
  constexpr std::uint32_t kBusy = EVTCHN_FIFO_BUSY;
  constexpr std::uint32_t kReplaced = EVTCHN_FIFO_LINK_MASK | 1u << kBusy;
  constexpr unsigned kTries = 4;
  const auto is_linked = [](std::uint32_t word) { return (word >> EVTCHN_FIFO_LINKED & 1) != 0; };
  std::uint32_t seen = tail.Load();
  if (!is_linked(seen)) return false;
  if (tail.Exchange(seen, (seen & ~kReplaced) | port)) return true;

  // While it is busy, a guest does not unmask it: what is left to change are MASKED, PENDING and
  // LINKED, once each.
  tail.Set(kBusy);
  seen = tail.Load();
  for (unsigned tries = 0; tries < kTries; ++tries) {
    if (!is_linked(seen)) {
      tail.Clear(kBusy);
      return false;
    }
    if (tail.Exchange(seen, (seen & ~kReplaced) | port)) return true;
  }
  // It does not keep to that. The event is lost, and whatever comes behind it.
  tail.Clear(kBusy);
  return true;
}

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_EVENT_LINK_H_
