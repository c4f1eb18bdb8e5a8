// EventChannels: the ports of a domain, as toolstacks set them up and look at them.
//
// A port that two domains share has a row in each; all rows change under one lock of the
// hypervisor's. How a guest is told of an event is the business of its ABI, the two-level one
// (event_two_level.h) until it changes to the FIFO one (event_fifo.h): nobody outside knows which.
#ifndef HCALL_HYPERVISOR_DOMAIN_EVENT_CHANNEL_H_
#define HCALL_HYPERVISOR_DOMAIN_EVENT_CHANNEL_H_

#include <cstdint>
#include <type_traits>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/domain/event_fifo.h"

namespace xencomm::hypervisor {

class Core;
class Domain;
class Work;

enum class PortState : std::uint8_t {
  kFree,
  kReserved,  // port 0, so that it can mean none
  kUnbound,
  kInterdomain,
  kVirq,
  kIpi,
};

struct Port {
  PortState state = PortState::kFree;
  // Of the FIFO ABI.
  std::uint8_t priority = 0;
  std::uint8_t last_priority = 0;  // of the queue that it was put on last, in whatever life
  std::uint8_t is_waiting = 0;     // has an event that no word says yet
  std::uint16_t last_vcpu = 0;
  std::uint16_t vcpu = 0;  // that is notified
  std::uint16_t virq = 0;
  std::uint16_t remote_domain = 0;
  std::uint32_t remote_port = 0;

  constexpr bool is_in_use() const {
    return state != PortState::kFree && state != PortState::kReserved;
  }
};
static_assert(std::has_unique_object_representations_v<Port> && sizeof(Port) == 16);

// Of one page, and so is the list of the pages that rows are in.
struct EventChannels {
  static constexpr std::uint8_t kDefaultPriority = 7;
  static constexpr std::uint32_t kPortsPerPage = kPageSize / sizeof(Port);
  static constexpr std::uint32_t kPages = EventFifo::kPorts / kPortsPerPage;
  // Ports become valid in groups, as in Xen: what is asked about others is refused.
  static constexpr std::uint32_t kGroup = 64;
  static constexpr std::uint32_t kVirqs = 24;  // NR_VIRQS, public/xen.h

  Port** pages = nullptr;  // kPages places
  std::uint32_t valid = 0;
  std::uint32_t in_use = 0;              // ports
  std::uint16_t taken[kPages] = {};      // of each page, ports that are not free
  std::uint64_t full[kPages / 64] = {};  // pages in which none is: a bit for each
  std::uint32_t virqs[kVirqs] = {};      // ports of those that are the whole domain's; 0: none
  std::uint32_t next_reset = 0;          // port of an EVTCHNOP_reset under way; 0: none is
  std::uint32_t next_search = 1;         // where FreePort goes on that has stopped

  EventFifo fifo;

  static void Destroy(Domain& domain);
};
static_assert(sizeof(EventChannels) <= kPageSize);

// All below with the events' lock held.

// Null: there is no room.
EventChannels* MakeEventChannels(Domain& domain);

// Null: there is no such port, or none that is in use.
const Port* FindPort(const Domain& domain, std::uint32_t port);
Port* OpenPort(const Domain& domain, std::uint32_t port);

// Answer of what stopped because its leg was used up, and is to be called again.
inline constexpr std::int64_t kSearchStopped = -(std::int64_t{1} << 32);

// The lowest free port; a negative errno; or kSearchStopped.
std::int64_t FreePort(const Domain& domain, Work& work);
// That port is one of `state` from now on, notifies vcpu 0 and has the default priority. Null:
// there is no room for it.
Port* TakePort(Domain& domain, std::uint32_t port, PortState state);
// Frees a port that is in use; its other end waits for somebody else.
void ClosePort(Core& core, Domain& domain, std::uint32_t port, Port& row);
// Closes the ports from `next` on, so far as there is work left; true when none is left.
bool ClosePorts(Core& core, Domain& domain, std::uint32_t& next, Work& work);

// Whether an interrupt is one for the whole domain, which vcpu 0 binds, or each vcpu has its own.
bool IsGlobalVirq(std::uint32_t virq);
// Where it stands which port an interrupt of a vcpu that there is, and of channels that there are,
// is bound to; 0: none.
std::uint32_t& PortOfVirq(const Domain& domain, std::uint32_t virq, std::uint32_t vcpu);

// An event of a port that is in use.
void Signal(Core& core, Domain& domain, std::uint32_t port, Port& row);
// Sends from a port, as its domain does by EVTCHNOP_send: 0, or -EINVAL.
std::int64_t SendFrom(Core& core, Domain& domain, std::uint32_t port);
// Unmasks such a port, and notifies of an event that came meanwhile.
void UnmaskPort(Core& core, Domain& domain, std::uint32_t port, Port& row);
// Whether it has an event.
bool IsPending(Core& core, const Domain& domain, std::uint32_t port);

// An interrupt of the whole machine: an event of domain 0, where that has bound it. Takes the
// events' lock.
void SendGlobalVirq(Core& core, std::uint32_t virq);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_EVENT_CHANNEL_H_
