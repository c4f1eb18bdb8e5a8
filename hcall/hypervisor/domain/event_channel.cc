#include "hcall/hypervisor/domain/event_channel.h"

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {
namespace {

// The rows of a domain, with port 0 reserved; null when there is no room.
EventChannels* ChannelsOf(Domain& domain) {
  if (domain.event_channels != nullptr || domain.dying()) return domain.event_channels;
  auto* channels = domain.overhead.New<EventChannels>();
  if (channels == nullptr) return nullptr;
  channels->pages[0] = domain.overhead.New<Port>(EventChannels::kPortsPerPage);
  if (channels->pages[0] == nullptr) {
    domain.overhead.Delete(channels);
    return nullptr;
  }
  channels->pages[0][0].state = PortState::kReserved;
  channels->valid = EventChannels::kGroup;
  domain.event_channels = channels;
  return channels;
}

// A bit of the shared info page, in an array of words. The page is the guest's to write, too.
class SharedBit {
 public:
  SharedBit(Core& core, const Domain& domain, std::size_t array, std::uint32_t number)
      : word_(reinterpret_cast<std::uint64_t*>(core.frames.Bytes(domain.shared_info_mfn) + array) +
              number / kWordBits),
        bit_(InOrder(std::uint64_t{1} << number % kWordBits, domain.order)) {}

  static constexpr std::uint32_t kWordBits = 64;

  // In one order with a guest that unmasks a port and then looks whether it is pending.
  bool IsSet() const { return (__atomic_load_n(word_, __ATOMIC_SEQ_CST) & bit_) != 0; }
  // Both answer whether it was set.
  bool Set() const { return (__atomic_fetch_or(word_, bit_, __ATOMIC_SEQ_CST) & bit_) != 0; }
  bool Clear() const { return (__atomic_fetch_and(word_, ~bit_, __ATOMIC_RELAXED) & bit_) != 0; }

 private:
  std::uint64_t* word_;
  std::uint64_t bit_;
};

SharedBit Pending(Core& core, const Domain& domain, std::uint32_t port) {
  return {core, domain, offsetof(shared_info_t, evtchn_pending), port};
}
SharedBit Masked(Core& core, const Domain& domain, std::uint32_t port) {
  return {core, domain, offsetof(shared_info_t, evtchn_mask), port};
}

// Selects the port's word for its vcpu and makes an upcall pending, unless that was selected
// already. A vcpu that has no place in the shared info page is not notified.
void Notify(Core& core, const Domain& domain, std::uint32_t port, const Port& row) {
  if (row.vcpu >= XEN_LEGACY_MAX_VCPUS) return;
  const std::size_t info = offsetof(shared_info_t, vcpu_info) + row.vcpu * sizeof(vcpu_info_t);
  const SharedBit selected(core, domain, info + offsetof(vcpu_info_t, evtchn_pending_sel),
                           port / SharedBit::kWordBits);
  if (selected.Set()) return;
  std::byte* upcall = core.frames.Bytes(domain.shared_info_mfn) + info +
                      offsetof(vcpu_info_t, evtchn_upcall_pending);
  const std::uint8_t was =
      __atomic_fetch_or(reinterpret_cast<std::uint8_t*>(upcall), 1, __ATOMIC_RELEASE);
  if (was == 0 && domain.built) core.machine.Upcall(domain.id, row.vcpu);
}

}  // namespace

void EventChannels::Destroy(Domain& domain) {
  EventChannels* channels = domain.event_channels;
  if (channels == nullptr) return;
  for (Port* page : channels->pages) domain.overhead.Delete(page, kPortsPerPage);
  domain.overhead.Delete(channels);
}

Port* FindPort(Domain& domain, std::uint32_t port) {
  EventChannels* channels = ChannelsOf(domain);
  if (channels == nullptr || port >= channels->valid) return nullptr;
  return &channels->pages[port / EventChannels::kPortsPerPage][port % EventChannels::kPortsPerPage];
}

std::int64_t FreePort(Domain& domain) {
  if (domain.dying()) return -kEINVAL;
  EventChannels* channels = ChannelsOf(domain);
  if (channels == nullptr) return -kENOMEM;
  for (std::uint32_t port = 0; port < EventChannels::kMaxPorts; ++port) {
    if (port > domain.max_event_port) break;
    if (port >= channels->valid) {
      Port*& page = channels->pages[port / EventChannels::kPortsPerPage];
      if (page == nullptr) page = domain.overhead.New<Port>(EventChannels::kPortsPerPage);
      if (page == nullptr) return -kENOMEM;
      channels->valid += EventChannels::kGroup;
    }
    if (FindPort(domain, port)->state == PortState::kFree) return port;
  }
  return -kENOSPC;
}

void Signal(Core& core, const Domain& domain, std::uint32_t port, const Port& row) {
  // Each step is seen before the next one is taken.
  if (Pending(core, domain, port).Set()) return;
  if (!Masked(core, domain, port).IsSet()) Notify(core, domain, port, row);
}

void UnmaskPort(Core& core, const Domain& domain, std::uint32_t port, const Port& row) {
  if (row.is_in_use() && Masked(core, domain, port).Clear() &&
      Pending(core, domain, port).IsSet()) {
    Notify(core, domain, port, row);
  }
}

void SendGlobalVirq(Core& core, std::uint32_t virq) {
  core.machine.GlobalVirq(virq);
  SpinGuard guard(core.events);
  const Domain* domain = core.domains.Find(0);
  const EventChannels* channels = domain == nullptr ? nullptr : domain->event_channels;
  if (channels == nullptr) return;
  for (std::uint32_t port = 0; port < channels->valid; ++port) {
    const Port& row =
        channels->pages[port / EventChannels::kPortsPerPage][port % EventChannels::kPortsPerPage];
    if (row.state != PortState::kVirq || row.virq != virq) continue;
    Signal(core, *domain, port, row);
    return;
  }
}

void ClosePort(Core& core, const Domain& domain, std::uint32_t port, Port& row) {
  if (!row.is_in_use()) return;
  // Whoever binds it next has had no event.
  Pending(core, domain, port).Clear();
  if (row.state == PortState::kInterdomain) {
    Domain* remote = core.domains.Find(row.remote_domain);
    Port* there = remote == nullptr ? nullptr : FindPort(*remote, row.remote_port);
    if (there != nullptr) {
      there->state = PortState::kUnbound;
      there->remote_domain = domain.id;
      there->remote_port = 0;
    }
  }
  row = {};
}

bool ClosePorts(Core& core, Domain& domain, std::uint32_t& next, Work& work) {
  const EventChannels* channels = domain.event_channels;
  for (; channels != nullptr && next < channels->valid; ++next) {
    if (work.is_used_up()) return false;
    ClosePort(core, domain, next, *FindPort(domain, next));
    work.Done();
  }
  return true;
}

}  // namespace xencomm::hypervisor
