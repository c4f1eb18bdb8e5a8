#include "hcall/hypervisor/domain/event_channel.h"

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"

namespace xencomm::hypervisor {
namespace {

// The rows of a domain, with port 0 reserved; null when there is no room. All with the events' lock
// held.
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

Port* FindPort(Domain& domain, std::uint32_t port) {
  EventChannels* channels = ChannelsOf(domain);
  if (channels == nullptr || port >= channels->valid) return nullptr;
  return &channels->pages[port / EventChannels::kPortsPerPage][port % EventChannels::kPortsPerPage];
}

// The lowest free port, or a negative errno.
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

// A bit of the shared info page, in an array of words. The page is the guest's to write, too.
class SharedBit {
 public:
  SharedBit(Core& core, const Domain& domain, std::size_t array, std::uint32_t number)
      : word_(reinterpret_cast<std::uint64_t*>(core.frames.Bytes(domain.shared_info_mfn) + array) +
              number / kWordBits),
        bit_(InOrder(std::uint64_t{1} << number % kWordBits, domain.order)) {}

  static constexpr std::uint32_t kWordBits = 64;

  // In one order with what a guest does that takes a mask away and then looks what is pending.
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

// Tells a port's vcpu in which word to look, unless it was told before. Those that have no place in
// the shared info page are told nothing.
void Notify(Core& core, const Domain& domain, std::uint32_t port, const Port& row) {
  if (row.vcpu >= XEN_LEGACY_MAX_VCPUS) return;
  const std::size_t info = offsetof(shared_info_t, vcpu_info) + row.vcpu * sizeof(vcpu_info_t);
  const SharedBit selected(core, domain, info + offsetof(vcpu_info_t, evtchn_pending_sel),
                           port / SharedBit::kWordBits);
  if (selected.Set()) return;
  std::byte* upcall = core.frames.Bytes(domain.shared_info_mfn) + info +
                      offsetof(vcpu_info_t, evtchn_upcall_pending);
  __atomic_fetch_or(reinterpret_cast<std::uint8_t*>(upcall), 1, __ATOMIC_RELEASE);
}

// An event of a port that is in use. Each step is seen before the next one is taken.
void Signal(Core& core, const Domain& domain, std::uint32_t port, const Port& row) {
  if (Pending(core, domain, port).Set()) return;
  if (!Masked(core, domain, port).IsSet()) Notify(core, domain, port, row);
}

std::int64_t AllocateUnbound(Call& call) {
  Argument<evtchn_alloc_unbound> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound)) return -kEFAULT;
  Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  // Before a port is looked for, which may make room for it. Xen looks first.
  if (!call.Controls(*target)) return -kEPERM;
  {
    SpinGuard guard(call.core.events);
    const std::int64_t port = FreePort(*target);
    if (port < 0) return port;
    Port& row = *FindPort(*target, static_cast<std::uint32_t>(port));
    row = {.state = PortState::kUnbound};
    row.remote_domain = request->remote_dom == DOMID_SELF ? call.domain.id : request->remote_dom;
    request->port = static_cast<std::uint32_t>(port);
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t BindInterdomain(Call& call) {
  Argument<evtchn_bind_interdomain> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain)) return -kEFAULT;
  Domain* remote = call.FindAny(request->remote_dom);
  if (remote == nullptr) return -kESRCH;
  {
    SpinGuard guard(call.core.events);
    const std::int64_t port = FreePort(call.domain);
    if (port < 0) return port;
    Port* there = FindPort(*remote, request->remote_port);
    if (there == nullptr || there->state != PortState::kUnbound ||
        there->remote_domain != call.domain.id) {
      return -kEINVAL;
    }
    const auto local = static_cast<std::uint32_t>(port);
    Port& here = *FindPort(call.domain, local);
    here = {.state = PortState::kInterdomain,
            .remote_domain = remote->id,
            .remote_port = request->remote_port};
    there->state = PortState::kInterdomain;
    there->remote_port = local;
    // What was sent while the port was unbound is not lost.
    Signal(call.core, call.domain, local, here);
    request->local_port = local;
  }
  return request.Store() ? 0 : -kEFAULT;
}

// Whether an interrupt is one for the whole domain, which vcpu 0 binds, or each vcpu has its own
// (public/xen.h).
constexpr bool IsGlobal(std::uint32_t virq) {
  return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF && virq != VIRQ_XENPMU;
}

std::int64_t BindVirq(Call& call) {
  Argument<evtchn_bind_virq> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq)) return -kEFAULT;
  if (request->virq >= NR_VIRQS) return -kEINVAL;
  const bool is_global = IsGlobal(request->virq);
  if (is_global && request->vcpu != 0) return -kEINVAL;
  if (call.domain.vcpu(request->vcpu) == nullptr) return -kENOENT;
  {
    SpinGuard guard(call.core.events);
    for (std::uint32_t i = 0; Port* row = FindPort(call.domain, i); ++i) {
      if (row->state == PortState::kVirq && row->virq == request->virq &&
          (is_global || row->vcpu == request->vcpu)) {
        return -kEEXIST;
      }
    }
    const std::int64_t port = FreePort(call.domain);
    if (port < 0) return port;
    request->port = static_cast<std::uint32_t>(port);
    *FindPort(call.domain, request->port) = {
        .state = PortState::kVirq, .virq = request->virq, .vcpu = request->vcpu};
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t BindIpi(Call& call) {
  Argument<evtchn_bind_ipi> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi)) return -kEFAULT;
  if (call.domain.vcpu(request->vcpu) == nullptr) return -kENOENT;
  {
    SpinGuard guard(call.core.events);
    const std::int64_t port = FreePort(call.domain);
    if (port < 0) return port;
    request->port = static_cast<std::uint32_t>(port);
    *FindPort(call.domain, request->port) = {.state = PortState::kIpi, .vcpu = request->vcpu};
  }
  return request.Store() ? 0 : -kEFAULT;
}

constexpr bool IsInUse(const Port& row) {
  return row.state != PortState::kFree && row.state != PortState::kReserved;
}

// Frees a port; its other end waits for somebody else. With the events' lock held.
void CloseRow(Core& core, const Domain& domain, std::uint32_t port, Port& row) {
  if (!IsInUse(row)) return;
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

std::int64_t Close(Call& call) {
  Argument<evtchn_close> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_close)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  Port* row = FindPort(call.domain, request->port);
  if (row == nullptr || !IsInUse(*row)) return -kEINVAL;
  CloseRow(call.core, call.domain, request->port, *row);
  return 0;
}

std::int64_t Send(Call& call) {
  Argument<evtchn_send> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_send)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  const Port* row = FindPort(call.domain, request->port);
  if (row == nullptr) return -kEINVAL;
  switch (row->state) {
    case PortState::kInterdomain: {
      Domain* remote = call.core.domains.Find(row->remote_domain);
      const Port* there = remote == nullptr ? nullptr : FindPort(*remote, row->remote_port);
      if (there != nullptr) Signal(call.core, *remote, row->remote_port, *there);
      return 0;
    }
    case PortState::kIpi:
      Signal(call.core, call.domain, request->port, *row);
      return 0;
    case PortState::kUnbound:
      return 0;  // silently nobody
    default:
      return -kEINVAL;
  }
}

std::int64_t Status(Call& call) {
  Argument<evtchn_status> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_status)) return -kEFAULT;
  Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  {
    SpinGuard guard(call.core.events);
    const Port* row = FindPort(*target, request->port);
    if (row == nullptr) return -kEINVAL;
    switch (row->state) {
      case PortState::kFree:
      case PortState::kReserved:
        request->status = EVTCHNSTAT_closed;
        break;
      case PortState::kUnbound:
        request->status = EVTCHNSTAT_unbound;
        request->u.unbound.dom = row->remote_domain;
        break;
      case PortState::kInterdomain:
        request->status = EVTCHNSTAT_interdomain;
        request->u.interdomain.dom = row->remote_domain;
        request->u.interdomain.port = row->remote_port;
        break;
      case PortState::kVirq:
        request->status = EVTCHNSTAT_virq;
        request->u.virq = row->virq;
        break;
      case PortState::kIpi:
        request->status = EVTCHNSTAT_ipi;
        break;
    }
    request->vcpu = row->vcpu;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t BindVcpu(Call& call) {
  Argument<evtchn_bind_vcpu> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_vcpu)) return -kEFAULT;
  if (call.domain.vcpu(request->vcpu) == nullptr) return -kENOENT;
  SpinGuard guard(call.core.events);
  Port* row = FindPort(call.domain, request->port);
  if (row == nullptr) return -kEINVAL;
  const bool can_move = row->state == PortState::kUnbound ||
                        row->state == PortState::kInterdomain ||
                        (row->state == PortState::kVirq && IsGlobal(row->virq));
  if (!can_move) return -kEINVAL;
  row->vcpu = request->vcpu;
  return 0;
}

std::int64_t Unmask(Call& call) {
  Argument<evtchn_unmask> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_unmask)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  const Port* row = FindPort(call.domain, request->port);
  if (row == nullptr) return -kEINVAL;
  if (IsInUse(*row) && Masked(call.core, call.domain, request->port).Clear() &&
      Pending(call.core, call.domain, request->port).IsSet()) {
    Notify(call.core, call.domain, request->port, *row);
  }
  return 0;
}

// What Xen continues a reset with, which is in no public header (EVTCHNOP_reset_cont).
constexpr std::uint64_t kContinuedReset = EVTCHNOP_set_priority + 1;

// With the events' lock held.
bool ClosePorts(Core& core, Domain& domain, std::uint32_t& next, Work& work) {
  const EventChannels* channels = domain.event_channels;
  for (; channels != nullptr && next < channels->valid; ++next) {
    if (work.is_used_up()) return false;
    CloseRow(core, domain, next, *FindPort(domain, next));
    work.Done();
  }
  return true;
}

template <bool kIsContinued>
std::int64_t Reset(Call& call) {
  Argument<evtchn_reset> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_reset)) return -kEFAULT;
  Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  // One that runs would go on with ports that are none.
  if (target != &call.domain && target->controller_pauses.load() == 0) return -kEINVAL;
  SpinGuard guard(call.core.events);
  EventChannels* channels = target->event_channels;
  if (channels == nullptr) return 0;
  // A fresh one begins anew, also where another was given up half way.
  if (!kIsContinued) channels->next_reset = 1;
  if (channels->next_reset == 0) return -kEBUSY;
  if (!ClosePorts(call.core, *target, channels->next_reset, call.work)) {
    return call.ContinueWith(__HYPERVISOR_event_channel_op, kContinuedReset,
                             call.frame.arguments[1]);
  }
  channels->next_reset = 0;
  return 0;
}

constexpr OpTable<Call, kContinuedReset + 1> kOps = {
    {EVTCHNOP_alloc_unbound, AllocateUnbound},
    {EVTCHNOP_bind_interdomain, BindInterdomain},
    {EVTCHNOP_bind_virq, BindVirq},
    {EVTCHNOP_bind_ipi, BindIpi},
    {EVTCHNOP_close, Close},
    {EVTCHNOP_send, Send},
    {EVTCHNOP_status, Status},
    {EVTCHNOP_bind_vcpu, BindVcpu},
    {EVTCHNOP_unmask, Unmask},
    {EVTCHNOP_reset, Reset<false>},
    {kContinuedReset, Reset<true>},
};

}  // namespace

void EventChannels::Destroy(Domain& domain) {
  EventChannels* channels = domain.event_channels;
  if (channels == nullptr) return;
  for (Port* page : channels->pages) domain.overhead.Delete(page, kPortsPerPage);
  domain.overhead.Delete(channels);
}

bool CloseSomePorts(Core& core, Domain& domain, std::uint32_t& next, Work& work) {
  SpinGuard guard(core.events);
  return ClosePorts(core, domain, next, work);
}

OpAnswer AskEventChannelOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t EventChannelOp(Call& call) {
  return kOps.Run(static_cast<std::uint32_t>(call.frame.arguments[0]), call);
}

}  // namespace xencomm::hypervisor
