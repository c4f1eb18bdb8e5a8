// event_channel_op (32): the ports of a domain.

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/event_channel.h"

namespace xencomm::hypervisor {
namespace {

std::int64_t AllocateUnbound(Call& call) {
  Argument<evtchn_alloc_unbound> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound)) return -kEFAULT;
  Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  // Before FreePort, which may allocate; Xen looks for the port first.
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

std::int64_t Close(Call& call) {
  Argument<evtchn_close> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_close)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  Port* row = FindPort(call.domain, request->port);
  if (row == nullptr || !row->is_in_use()) return -kEINVAL;
  ClosePort(call.core, call.domain, request->port, *row);
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
  UnmaskPort(call.core, call.domain, request->port, *row);
  return 0;
}

// What Xen continues a reset with, which is in no public header (EVTCHNOP_reset_cont).
constexpr std::uint64_t kContinuedReset = EVTCHNOP_set_priority + 1;

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

OpAnswer AskEventChannelOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t EventChannelOp(Call& call) {
  return kOps.Run(static_cast<std::uint32_t>(call.frame.arguments[0]), call);
}

}  // namespace xencomm::hypervisor
