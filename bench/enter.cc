// What it costs to enter the hypervisor, whatever the call does then.
#include <cstdint>
#include <string>

#include "bench/caller.h"
#include "bench/rows.h"
#include "hcall/schema/audit.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/own_space.h"

namespace xencomm::bench {
namespace {

constexpr std::uint64_t kMachinePages = std::uint64_t{1} << 16;
constexpr std::uint64_t kNoHypercall = 63;
constexpr std::int64_t kNotImplemented = -38;  // -ENOSYS

constexpr std::uint16_t kLogged = 0;  // whose calls' writes are logged
constexpr std::uint16_t kLogging = 1;

template <class Turn>
void AddChecked(Rows& rows, const std::string& what, Turn turn) {
  Check(turn(), ("enter/" + what + " does not do what it is to do").c_str());
  rows.Add("enter/" + what, [turn] {
    bool worked = turn();
    benchmark::DoNotOptimize(worked);
  });
}

// A call that is answered at once: by its number, and by its op's.
void AddHypercalls(Rows& rows, const Caller& caller) {
  for (const Way& way : caller.ways()) {
    const std::string by = std::string(", ") + way.name;
    AddChecked(rows, "hypercall" + by, [way] { return way.Call(kNoHypercall) == kNotImplemented; });
    AddChecked(rows, "op" + by, [way] {
      return way.Call(__HYPERVISOR_xen_version, XENVER_pagesize) == hypervisor::kPageSize;
    });
  }
}

// The parts that an op's call goes through before and beside its handler.
void AddParts(Rows& rows, Caller& caller) {
  AddChecked(rows, "op-look-up", [] {
    return schema::Find(__HYPERVISOR_sysctl, Hidden(std::uint64_t{XEN_SYSCTL_getdomaininfolist})) !=
           nullptr;
  });

  const auto op = caller.Put<xen_sysctl>();
  op->cmd = XEN_SYSCTL_physinfo;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  static OwnSpace space;
  const schema::Call call = {__HYPERVISOR_sysctl, {op.pointer}};
  AddChecked(rows, "audit", [call, region = caller.layout()] {
    return schema::Audit(call, {space}, {.region = region}).ok();
  });
}

// The same call of two domains, of which one's writes are logged.
void AddWrites(Rows& rows, Caller& caller, const std::string& what) {
  const auto text = caller.Put<char>(XEN_EXTRAVERSION_LEN);
  const Way& registered = caller.ways()[1];
  AddChecked(rows, what, [registered, text] {
    return registered.Call(__HYPERVISOR_xen_version, XENVER_extraversion, text.pointer) == 0;
  });
}

void LogDirty(Caller& caller, std::uint16_t domain) {
  const auto op = caller.Put<xen_domctl>();
  op->cmd = XEN_DOMCTL_shadow_op;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op->domain = domain;
  op->u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  Check(caller.ways().front().Call(__HYPERVISOR_domctl, op.pointer) == 0,
        "a domain's writes cannot be logged");
}

}  // namespace

void AddEnter(Rows& rows) {
  static BenchMachine machine(kMachinePages);
  static Caller logged(machine, kLogged, hypervisor::SpaceKind::kRaw);
  static Caller logging(machine, kLogging, hypervisor::SpaceKind::kRaw);
  AddHypercalls(rows, logging);
  AddParts(rows, logging);
  LogDirty(logging, kLogged);
  AddWrites(rows, logging, "write");
  AddWrites(rows, logged, "log-dirty");
}

}  // namespace xencomm::bench
