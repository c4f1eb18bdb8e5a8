// event_channel_op (32): the ports of a domain.

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/event_channel.h"

namespace xencomm::hypervisor {
namespace {

// The answer of a call that got no port: FreePort's, or the call goes on.
std::int64_t WithoutPort(Call& call, std::int64_t answer) {
  return answer == kSearchStopped ? call.Continue() : answer;
}

std::int64_t AllocateUnbound(Call& call) {
  Argument<evtchn_alloc_unbound> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound)) return -kEFAULT;
  Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  // Xen looks for the port first, whoever asks. That may allocate, and here it is not done for
  // those who may not have the port; a domain that ends tells all.
  if (!call.Controls(*target)) return target->dying() ? -kEINVAL : -kEPERM;
  {
    SpinGuard guard(call.core.events);
    const std::int64_t port = FreePort(*target, call.work);
    if (port < 0) return WithoutPort(call, port);
    request->port = static_cast<std::uint32_t>(port);
    Port* row = TakePort(*target, request->port, PortState::kUnbound);
    if (row == nullptr) return -kENOMEM;
    row->remote_domain = request->remote_dom == DOMID_SELF ? call.domain.id : request->remote_dom;
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
    const std::int64_t port = FreePort(call.domain, call.work);
    if (port < 0) return WithoutPort(call, port);
    Port* there = OpenPort(*remote, request->remote_port);
    if (there == nullptr || there->state != PortState::kUnbound ||
        there->remote_domain != call.domain.id) {
      return -kEINVAL;
    }
    const auto local = static_cast<std::uint32_t>(port);
    Port* here = TakePort(call.domain, local, PortState::kInterdomain);
    if (here == nullptr) return -kENOMEM;
    here->remote_domain = remote->id;
    here->remote_port = request->remote_port;
    there->state = PortState::kInterdomain;
    there->remote_port = local;
    // What was sent while the port was unbound is not lost.
    Signal(call.core, call.domain, local, *here);
    request->local_port = local;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t BindVirq(Call& call) {
  Argument<evtchn_bind_virq> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq)) return -kEFAULT;
  if (request->virq >= NR_VIRQS) return -kEINVAL;
  if (IsGlobalVirq(request->virq) && request->vcpu != 0) return -kEINVAL;
  if (call.domain.vcpu(request->vcpu) == nullptr) return -kENOENT;
  {
    SpinGuard guard(call.core.events);
    if (call.domain.event_channels != nullptr &&
        PortOfVirq(call.domain, request->virq, request->vcpu) != 0) {
      return -kEEXIST;
    }
    const std::int64_t port = FreePort(call.domain, call.work);
    if (port < 0) return WithoutPort(call, port);
    request->port = static_cast<std::uint32_t>(port);
    Port* row = TakePort(call.domain, request->port, PortState::kVirq);
    if (row == nullptr) return -kENOMEM;
    row->virq = static_cast<std::uint16_t>(request->virq);
    row->vcpu = static_cast<std::uint16_t>(request->vcpu);
    PortOfVirq(call.domain, request->virq, request->vcpu) = request->port;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t BindIpi(Call& call) {
  Argument<evtchn_bind_ipi> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi)) return -kEFAULT;
  if (call.domain.vcpu(request->vcpu) == nullptr) return -kENOENT;
  {
    SpinGuard guard(call.core.events);
    const std::int64_t port = FreePort(call.domain, call.work);
    if (port < 0) return WithoutPort(call, port);
    request->port = static_cast<std::uint32_t>(port);
    Port* row = TakePort(call.domain, request->port, PortState::kIpi);
    if (row == nullptr) return -kENOMEM;
    row->vcpu = static_cast<std::uint16_t>(request->vcpu);
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t Close(Call& call) {
  Argument<evtchn_close> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_close)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  Port* row = OpenPort(call.domain, request->port);
  if (row == nullptr) return -kEINVAL;
  ClosePort(call.core, call.domain, request->port, *row);
  return 0;
}

std::int64_t Send(Call& call) {
  Argument<evtchn_send> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_send)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  return SendFrom(call.core, call.domain, request->port);
}

std::int64_t Status(Call& call) {
  Argument<evtchn_status> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_status)) return -kEFAULT;
  const Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  {
    SpinGuard guard(call.core.events);
    const Port* row = FindPort(*target, request->port);
    if (row == nullptr) return -kEINVAL;
    // Behind that: how many ports there can be is no secret.
    if (!call.Controls(*target)) return -kEPERM;
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
  Port* row = OpenPort(call.domain, request->port);
  if (row == nullptr) return -kEINVAL;
  const bool can_move = row->state == PortState::kUnbound ||
                        row->state == PortState::kInterdomain ||
                        (row->state == PortState::kVirq && IsGlobalVirq(row->virq));
  if (!can_move) return -kEINVAL;
  row->vcpu = static_cast<std::uint16_t>(request->vcpu);
  return 0;
}

std::int64_t Unmask(Call& call) {
  Argument<evtchn_unmask> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_unmask)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  if (FindPort(call.domain, request->port) == nullptr) return -kEINVAL;
  Port* row = OpenPort(call.domain, request->port);
  if (row != nullptr) UnmaskPort(call.core, call.domain, request->port, *row);
  return 0;
}

std::int64_t InitControl(Call& call) {
  Argument<evtchn_init_control> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_init_control)) return -kEFAULT;
  Domain& domain = call.domain;
  if (domain.vcpu(request->vcpu) == nullptr) return -kENOENT;
  constexpr std::uint32_t kMostOffset = kPageSize - sizeof(evtchn_fifo_control_block_t);
  if (request->offset > kMostOffset || !IsAligned(request->offset, 8)) return -kEINVAL;
  {
    SpinGuard guard(call.core.events);
    if (domain.dying()) return -kEINVAL;
    const bool is_first = domain.event_channels == nullptr;
    EventChannels* channels = MakeEventChannels(domain);
    if (channels == nullptr) return -kENOMEM;
    const std::int64_t answer = channels->fifo.InitControl(call.core, domain, request->vcpu,
                                                           request->control_gfn, request->offset);
    if (answer != 0) {
      if (is_first) {
        EventChannels::Destroy(domain);
        domain.event_channels = nullptr;
      }
      return answer;
    }
    request->link_bits = EventFifo::kLinkBits;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t ExpandArray(Call& call) {
  Argument<evtchn_expand_array> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_expand_array)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  EventChannels* channels = call.domain.event_channels;
  if (channels == nullptr || !channels->fifo.is_on()) return -kEOPNOTSUPP;
  return channels->fifo.ExpandArray(call.core, call.domain, request->array_gfn);
}

std::int64_t SetPriority(Call& call) {
  Argument<evtchn_set_priority> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_event_channel_op, EVTCHNOP_set_priority)) return -kEFAULT;
  SpinGuard guard(call.core.events);
  if (FindPort(call.domain, request->port) == nullptr) return -kEINVAL;
  const EventChannels* channels = call.domain.event_channels;
  if (channels == nullptr || !channels->fifo.is_on()) return -kENOSYS;
  Port* row = OpenPort(call.domain, request->port);
  if (row == nullptr) return -kEACCES;
  if (request->priority > EventFifo::kLowestPriority) return -kEINVAL;
  // Of events to come: one that is on a queue stays on it.
  row->priority = static_cast<std::uint8_t>(request->priority);
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
  if (channels == nullptr) return kIsContinued ? -kEBUSY : 0;
  // A fresh one begins anew, also where another was given up half way.
  if (!kIsContinued) channels->next_reset = 1;
  if (channels->next_reset == 0) return -kEBUSY;
  if (!ClosePorts(call.core, *target, channels->next_reset, call.work)) {
    return call.ContinueWith(__HYPERVISOR_event_channel_op, kContinuedReset,
                             call.frame.arguments[1]);
  }
  channels->next_reset = 0;
  // Opened behind its back.
  if (channels->in_use != 0) return -kEAGAIN;
  channels->fifo.End(call.core, *target);
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
    {EVTCHNOP_init_control, InitControl},
    {EVTCHNOP_expand_array, ExpandArray},
    {EVTCHNOP_set_priority, SetPriority},
    {kContinuedReset, Reset<true>},
};

}  // namespace

OpAnswer AskEventChannelOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t EventChannelOp(Call& call) {
  return kOps.Run(static_cast<std::uint32_t>(call.frame.arguments[0]), call);
}

}  // namespace xencomm::hypervisor
