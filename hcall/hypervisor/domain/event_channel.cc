#include "hcall/hypervisor/domain/event_channel.h"

#include <bit>
#include <utility>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/domain/event_two_level.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {
namespace {

static_assert(EventChannels::kVirqs == NR_VIRQS);

constexpr std::uint32_t PageOf(std::uint32_t port) { return port / EventChannels::kPortsPerPage; }

Port& RowOf(const EventChannels& channels, std::uint32_t port) {
  return channels.pages[PageOf(port)][port % EventChannels::kPortsPerPage];
}

// The place of an interrupt among a vcpu's own; kVcpuVirqs: it is none of those.
constexpr unsigned IndexOfVcpuVirq(std::uint32_t virq) {
  constexpr std::uint32_t kOwn[kVcpuVirqs] = {VIRQ_TIMER, VIRQ_DEBUG, VIRQ_XENOPROF, VIRQ_XENPMU};
  unsigned index = 0;
  while (index < kVcpuVirqs && kOwn[index] != virq) ++index;
  return index;
}

// The first page, from `page` on, in which a port is free.
std::uint32_t NextWithRoom(const EventChannels& channels, std::uint32_t page) {
  for (std::uint32_t word = page / 64; word < EventChannels::kPages / 64; ++word) {
    std::uint64_t room = ~channels.full[word];
    if (word == page / 64) room &= ~std::uint64_t{0} << page % 64;
    if (room != 0) return word * 64 + static_cast<std::uint32_t>(std::countr_zero(room));
  }
  return EventChannels::kPages;
}

void CountTaken(EventChannels& channels, std::uint32_t port, int more) {
  const std::uint32_t page = PageOf(port);
  channels.taken[page] = static_cast<std::uint16_t>(channels.taken[page] + more);
  const std::uint64_t bit = std::uint64_t{1} << page % 64;
  if (channels.taken[page] == EventChannels::kPortsPerPage) {
    channels.full[page / 64] |= bit;
  } else {
    channels.full[page / 64] &= ~bit;
  }
}

// Makes one group more valid.
bool AddGroup(Domain& domain, EventChannels& channels) {
  Port*& page = channels.pages[PageOf(channels.valid)];
  if (page == nullptr) page = domain.overhead.New<Port>(EventChannels::kPortsPerPage);
  if (page == nullptr) return false;
  channels.valid += EventChannels::kGroup;
  return true;
}

}  // namespace

EventChannels* MakeEventChannels(Domain& domain) {
  if (domain.event_channels != nullptr || domain.dying()) return domain.event_channels;
  auto* channels = domain.overhead.New<EventChannels>();
  if (channels == nullptr) return nullptr;
  channels->pages = domain.overhead.New<Port*>(EventChannels::kPages);
  if (channels->pages == nullptr || !AddGroup(domain, *channels)) {
    domain.overhead.Delete(channels->pages, EventChannels::kPages);
    domain.overhead.Delete(channels);
    return nullptr;
  }
  RowOf(*channels, 0).state = PortState::kReserved;
  CountTaken(*channels, 0, 1);
  domain.event_channels = channels;
  return channels;
}

void EventChannels::Destroy(Domain& domain) {
  EventChannels* channels = domain.event_channels;
  if (channels == nullptr) return;
  channels->fifo.Delete(domain);
  for (std::uint32_t page = 0; page < kPages && channels->pages[page] != nullptr; ++page) {
    domain.overhead.Delete(channels->pages[page], kPortsPerPage);
  }
  domain.overhead.Delete(channels->pages, kPages);
  domain.overhead.Delete(channels);
}

const Port* FindPort(const Domain& domain, std::uint32_t port) {
  // Before anything is bound, as it is then.
  static constexpr Port kFirst[2] = {{.state = PortState::kReserved}, {}};
  const EventChannels* channels = domain.event_channels;
  if (channels == nullptr) {
    return port < EventChannels::kGroup ? &kFirst[port == 0 ? 0 : 1] : nullptr;
  }
  return port < channels->valid ? &RowOf(*channels, port) : nullptr;
}

Port* OpenPort(const Domain& domain, std::uint32_t port) {
  const EventChannels* channels = domain.event_channels;
  if (channels == nullptr || port >= channels->valid) return nullptr;
  Port& row = RowOf(*channels, port);
  return row.is_in_use() ? &row : nullptr;
}

std::int64_t FreePort(const Domain& domain, Work& work) {
  if (domain.dying()) return -kEINVAL;
  EventChannels* channels = domain.event_channels;
  const bool is_fifo = channels != nullptr && channels->fifo.is_on();
  const std::uint32_t limit = is_fifo ? EventFifo::kPorts : TwoLevelEvents::kPorts;
  const std::uint32_t end = domain.max_event_port < limit ? domain.max_event_port + 1 : limit;
  std::uint32_t port = 1;
  if (channels != nullptr) port = std::exchange(channels->next_search, 1);
  while (port < end) {
    if (channels == nullptr || port >= channels->valid) return port;
    const std::uint32_t page = NextWithRoom(*channels, PageOf(port));
    if (page != PageOf(port)) {
      port = page * EventChannels::kPortsPerPage;
      continue;
    }
    if (RowOf(*channels, port).state == PortState::kFree) {
      if (!is_fifo || !channels->fifo.IsBusy(domain, port)) return port;
      // All may be so, if the guest likes: each counts.
      if (work.Done() && port + 1 < end) {
        channels->next_search = port + 1;
        return kSearchStopped;
      }
    }
    ++port;
  }
  return -kENOSPC;
}

Port* TakePort(Domain& domain, std::uint32_t port, PortState state) {
  EventChannels* channels = MakeEventChannels(domain);
  if (channels == nullptr) return nullptr;
  if (port >= channels->valid && !AddGroup(domain, *channels)) return nullptr;
  Port& row = RowOf(*channels, port);
  row.state = state;
  row.priority = EventChannels::kDefaultPriority;
  ++channels->in_use;
  CountTaken(*channels, port, 1);
  return &row;
}

void ClosePort(Core& core, Domain& domain, std::uint32_t port, Port& row) {
  EventChannels& channels = *domain.event_channels;
  // Whoever binds it next has had no event.
  if (channels.fifo.is_on()) {
    channels.fifo.ClearPending(core, domain, port);
  } else {
    TwoLevelEvents(core, domain).ClearPending(port);
  }
  if (row.state == PortState::kInterdomain) {
    const Domain* remote = core.domains.Find(row.remote_domain);
    Port* there = remote == nullptr ? nullptr : OpenPort(*remote, row.remote_port);
    if (there != nullptr) {
      there->state = PortState::kUnbound;
      there->remote_domain = domain.id;
      there->remote_port = 0;
    }
  } else if (row.state == PortState::kVirq) {
    PortOfVirq(domain, row.virq, row.vcpu) = 0;
  }
  row = {.last_priority = row.last_priority, .last_vcpu = row.last_vcpu};
  --channels.in_use;
  CountTaken(channels, port, -1);
  if (port < channels.next_search) channels.next_search = port;
}

bool ClosePorts(Core& core, Domain& domain, std::uint32_t& next, Work& work) {
  const EventChannels* channels = domain.event_channels;
  for (; channels != nullptr && next < channels->valid; ++next) {
    if (work.is_used_up()) return false;
    Port* row = OpenPort(domain, next);
    if (row != nullptr) ClosePort(core, domain, next, *row);
    work.Done();
  }
  return true;
}

bool IsGlobalVirq(std::uint32_t virq) { return IndexOfVcpuVirq(virq) == kVcpuVirqs; }

std::uint32_t& PortOfVirq(const Domain& domain, std::uint32_t virq, std::uint32_t vcpu) {
  const unsigned index = IndexOfVcpuVirq(virq);
  if (index == kVcpuVirqs) return domain.event_channels->virqs[virq];
  return domain.vcpu(vcpu)->virq_ports[index];
}

void Signal(Core& core, Domain& domain, std::uint32_t port, Port& row) {
  const EventFifo& fifo = domain.event_channels->fifo;
  if (fifo.is_on()) {
    fifo.SetPending(core, domain, port, row);
  } else {
    TwoLevelEvents(core, domain).SetPending(port, row);
  }
}

std::int64_t SendFrom(Core& core, Domain& domain, std::uint32_t port) {
  Port* row = OpenPort(domain, port);
  if (row == nullptr) return -kEINVAL;
  switch (row->state) {
    case PortState::kInterdomain: {
      Domain* remote = core.domains.Find(row->remote_domain);
      Port* there = remote == nullptr ? nullptr : OpenPort(*remote, row->remote_port);
      if (there != nullptr) Signal(core, *remote, row->remote_port, *there);
      return 0;
    }
    case PortState::kIpi:
      Signal(core, domain, port, *row);
      return 0;
    case PortState::kUnbound:
      return 0;  // silently nobody
    default:
      return -kEINVAL;
  }
}

void UnmaskPort(Core& core, Domain& domain, std::uint32_t port, Port& row) {
  const EventFifo& fifo = domain.event_channels->fifo;
  if (fifo.is_on()) {
    fifo.Unmask(core, domain, port, row);
  } else {
    TwoLevelEvents(core, domain).Unmask(port, row);
  }
}

bool IsPending(Core& core, const Domain& domain, std::uint32_t port) {
  const EventFifo& fifo = domain.event_channels->fifo;
  return fifo.is_on() ? fifo.IsPending(domain, port) : TwoLevelEvents(core, domain).IsPending(port);
}

void SendGlobalVirq(Core& core, std::uint32_t virq) {
  core.machine.GlobalVirq(virq);
  SpinGuard guard(core.events);
  Domain* domain = core.domains.Find(0);
  if (domain == nullptr || domain->event_channels == nullptr) return;
  const std::uint32_t port = domain->event_channels->virqs[virq];
  if (Port* row = OpenPort(*domain, port)) Signal(core, *domain, port, *row);
}

}  // namespace xencomm::hypervisor
