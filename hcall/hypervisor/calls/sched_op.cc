// sched_op (29): a domain gives up its processor, or ends.

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/hypervisor/domain/event_channel.h"
#include "hcall/hypervisor/domain/event_two_level.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

std::int64_t ShutDownSelf(Call& call, std::uint64_t op) {
  Argument<sched_shutdown> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_sched_op, op)) return -kEFAULT;
  SpinGuard guard(call.core.control);
  if (op == SCHEDOP_shutdown_code) {
    call.domain.SetShutdownReason(request->reason);
  } else {
    ShutDown(call.core, call.domain, request->reason);
  }
  return 0;
}

std::int64_t ShutDownOther(Call& call) {
  Argument<sched_remote_shutdown> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown)) return -kEFAULT;
  SpinGuard guard(call.core.control);
  Domain* target = call.core.domains.Find(request->domain_id);
  if (target == nullptr) return -kESRCH;
  if (!call.domain.privileged) return -kEPERM;
  ShutDown(call.core, *target, request->reason);
  return 0;
}

// Of a new watchdog, one more than its number; it is in use until it is stopped, due or not.
std::int64_t SetWatchdog(Call& call) {
  constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
  Argument<sched_watchdog> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_sched_op, SCHEDOP_watchdog)) return -kEFAULT;
  SpinGuard guard(call.core.control);
  const std::span watchdogs(call.domain.watchdogs);
  std::size_t index = request->id - std::size_t{1};
  const bool is_new = request->id == 0;
  if (is_new) {
    for (index = 0; index != watchdogs.size() && watchdogs[index].in_use;) ++index;
    if (index == watchdogs.size()) return -kENOSPC;
  } else if (index >= watchdogs.size() || !watchdogs[index].in_use) {
    return -kEINVAL;
  }
  Domain::Watchdog& watchdog = watchdogs[index];
  watchdog = {};
  if (is_new || request->timeout != 0) {
    watchdog = {
        .in_use = true,
        .due = call.core.machine.NowNanoseconds() + request->timeout * kNanosecondsPerSecond};
    if (watchdog.due < call.core.watchdog_due.load(std::memory_order_relaxed)) {
      call.core.watchdog_due.store(watchdog.due, std::memory_order_relaxed);
    }
  }
  return is_new ? static_cast<std::int64_t>(index) + 1 : 0;
}

template <std::uint64_t kOp>
std::int64_t ShutDownSelfOp(Call& call) {
  return ShutDownSelf(call, kOp);
}

// A vcpu runs whenever its machine lets it.
std::int64_t RunOn(Call&) { return 0; }

// Waits for a port's event, or the timeout: what waits here is woken at once, as it may be in Xen.
std::int64_t Poll(Call& call) {
  Argument<sched_poll> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_sched_op, SCHEDOP_poll)) return -kEFAULT;
  constexpr std::uint32_t kMostPorts = 128;
  if (request->nr_ports > kMostPorts) return -kEINVAL;
  // Whose upcall is pending does not wait, and looks at no port.
  if (HasUpcall(call.core, call.domain, call.vcpu.id)) return 0;
  const auto ports = request.Bind(schema::rows::sched_op::poll::ports);
  for (std::uint32_t i = 0; i < request->nr_ports; ++i) {
    std::uint32_t port = 0;
    if (!ports.Read(i, port).ok()) return -kEFAULT;
    SpinGuard guard(call.core.events);
    if (OpenPort(call.domain, port) == nullptr) return -kEINVAL;
    if (IsPending(call.core, call.domain, port)) return 0;
  }
  return 0;
}

constexpr OpTable<Call, SCHEDOP_pin_override + 1> kOps = {
    {SCHEDOP_yield, RunOn},
    {SCHEDOP_block, RunOn},
    {SCHEDOP_shutdown, ShutDownSelfOp<SCHEDOP_shutdown>},
    {SCHEDOP_shutdown_code, ShutDownSelfOp<SCHEDOP_shutdown_code>},
    {SCHEDOP_remote_shutdown, ShutDownOther},
    {SCHEDOP_watchdog, SetWatchdog},
    {SCHEDOP_poll, Poll},
};

}  // namespace

OpAnswer AskSchedOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t SchedOp(Call& call) {
  return kOps.Run(static_cast<std::uint32_t>(call.frame.arguments[0]), call);
}

}  // namespace xencomm::hypervisor
