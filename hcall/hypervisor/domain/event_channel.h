// EventChannels: the ports of a domain, as toolstacks set them up and look at them.
//
// A port that two domains share has a row in each; all rows change under one lock of the
// hypervisor's. A signal is noted in the domain's shared info page, as a guest expects it.
#ifndef HCALL_HYPERVISOR_DOMAIN_EVENT_CHANNEL_H_
#define HCALL_HYPERVISOR_DOMAIN_EVENT_CHANNEL_H_

#include <cstdint>
#include <type_traits>

#include "hcall/hypervisor/base/machine.h"

namespace xencomm::hypervisor {

class Core;
class Domain;
class Work;

// As wide as what stands beside it in a row, which then has no padding.
enum class PortState : std::uint16_t {
  kFree,
  kReserved,  // port 0, so that it can mean none
  kUnbound,
  kInterdomain,
  kVirq,
  kIpi,
};

struct Port {
  PortState state = PortState::kFree;
  std::uint16_t remote_domain = 0;
  std::uint32_t remote_port = 0;
  std::uint32_t virq = 0;
  std::uint32_t vcpu = 0;  // that is notified

  constexpr bool is_in_use() const {
    return state != PortState::kFree && state != PortState::kReserved;
  }
};
static_assert(std::has_unique_object_representations_v<Port>);

struct EventChannels {
  // As many as the two-level ABI has (public/event_channel.h).
  static constexpr std::uint32_t kMaxPorts = 4096;
  static constexpr std::uint32_t kPortsPerPage = kPageSize / sizeof(Port);
  // Ports become valid in groups, as in Xen: what is asked about others is refused.
  static constexpr std::uint32_t kGroup = 64;

  Port* pages[kMaxPorts / kPortsPerPage] = {};
  std::uint32_t valid = 0;
  std::uint32_t next_reset = 0;  // port of an EVTCHNOP_reset under way; 0: none is

  static void Destroy(Domain& domain);
};

// All below with the events' lock held.

// Null: there is no such port.
Port* FindPort(Domain& domain, std::uint32_t port);
// The lowest free port, or a negative errno.
std::int64_t FreePort(Domain& domain);
// An event of a port that is in use.
void Signal(Core& core, const Domain& domain, std::uint32_t port, const Port& row);
// Unmasks a port, and notifies of an event that came meanwhile.
void UnmaskPort(Core& core, const Domain& domain, std::uint32_t port, const Port& row);
// Frees a port; its other end waits for somebody else.
void ClosePort(Core& core, const Domain& domain, std::uint32_t port, Port& row);
// Closes the ports from `next` on, so far as there is work left; true when none is left.
bool ClosePorts(Core& core, Domain& domain, std::uint32_t& next, Work& work);

// An interrupt of the whole machine: an event of domain 0, where that has bound it. Takes the
// events' lock.
void SendGlobalVirq(Core& core, std::uint32_t virq);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_EVENT_CHANNEL_H_
