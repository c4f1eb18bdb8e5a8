// TwoLevelEvents: the ABI of event channels that every domain begins with (public/xen.h, struct
// shared_info), and what both ABIs have in common, the upcall.
//
//   evtchn_pending[64], evtchn_mask[64]   a bit for each port
//   evtchn_pending_sel of a vcpu          a bit for each of these words
//
// The page is the guest's to write, too.
#ifndef HCALL_HYPERVISOR_DOMAIN_EVENT_TWO_LEVEL_H_
#define HCALL_HYPERVISOR_DOMAIN_EVENT_TWO_LEVEL_H_

#include <cstdint>

#include "hcall/hypervisor/domain/guest_word.h"

namespace xencomm::hypervisor {

class Core;
class Domain;
struct Port;

// Notes in a vcpu's part of the shared info page that it has events, and tells the machine when
// that is new. A vcpu that has no place there is not notified.
void RaiseUpcall(Core& core, const Domain& domain, std::uint32_t vcpu);
// Whether it has been told and has not looked yet.
bool HasUpcall(Core& core, const Domain& domain, std::uint32_t vcpu);

class TwoLevelEvents {
 public:
  static constexpr std::uint32_t kPorts = 4096;

  TwoLevelEvents(Core& core, const Domain& domain) : core_(core), domain_(domain) {}

  // As those of EventFifo. A port that has no bit is one of a domain that ends, which had more.
  void SetPending(std::uint32_t port, const Port& row) const;
  void Unmask(std::uint32_t port, const Port& row) const;
  void ClearPending(std::uint32_t port) const;
  bool IsPending(std::uint32_t port) const;

 private:
  using Word = GuestWord<std::uint64_t>;

  Word PendingOf(std::uint32_t port) const;
  Word MaskOf(std::uint32_t port) const;
  void Notify(std::uint32_t port, const Port& row) const;

  Core& core_;
  const Domain& domain_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_EVENT_TWO_LEVEL_H_
