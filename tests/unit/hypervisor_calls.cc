#include "tests/unit/hypervisor_calls.h"

#include <algorithm>
#include <numeric>

namespace xencomm::hypervisor {

CallsMachine::CallsMachine(const TestMachineOptions& options) : machine(options) {
  EXPECT_EQ(machine.build_result, 0);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = kGuest,
                                            .pages = kPagesOfEach,
                                            .vcpus = 2,
                                            .order = options.order,
                                            .space = SpaceKind::kRaw}),
            0);
  guest = machine.hypervisor.ClaimVcpu(kGuest, 0);
  EXPECT_NE(guest, nullptr);
  for (Vcpu* vcpu : {control, guest}) machine.hypervisor.SetRawSpace(*vcpu, space);

  MakeDomain(kHvm, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap);
  pv_frames = MakeDomain(kPv, 0);
}

std::array<xen_pfn_t, kPagesOfEach> CallsMachine::MakeDomain(std::uint16_t id,
                                                             std::uint32_t flags) {
  EXPECT_EQ(machine.CreateDomain(id, 2 * kPagesOfEach, flags, 2), id);
  std::array<xen_pfn_t, kPagesOfEach> frames;
  std::iota(frames.begin(), frames.end(), 0);
  xen_memory_reservation pages = TestMachine::Reservation(id, frames.data(), frames.size());
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &pages),
            static_cast<std::int64_t>(kPagesOfEach));
  return frames;
}

std::byte* CallsMachine::Room(std::size_t bytes) {
  constexpr std::size_t kAlignment = 16;
  std::byte* const room = &arguments_[used_];
  used_ += (bytes + kAlignment - 1) & ~(kAlignment - 1);
  EXPECT_LE(used_, arguments_.size());
  return room;
}

xen_domctl_t* CallsMachine::PutDomctl(std::uint32_t cmd, std::uint16_t domain) {
  auto* op = Put<xen_domctl_t>();
  op->cmd = cmd;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op->domain = domain;
  return op;
}

xen_sysctl_t* CallsMachine::PutSysctl(std::uint32_t cmd) {
  auto* op = Put<xen_sysctl_t>();
  op->cmd = cmd;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  return op;
}

std::vector<WorkingCall> AllWorkingCalls() {
  std::vector<WorkingCall> all;
  for (const auto calls : {WorkingControlCalls(), WorkingGuestCalls()}) {
    all.insert(all.end(), calls.begin(), calls.end());
  }
  return all;
}

std::string NameOf(const WorkingCall& call) {
  std::string name = call.name;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

namespace {

[[gnu::noinline]] void ScribbleOnTheStack(std::uint64_t filler) {
  std::array<volatile std::uint64_t, 2048> words;
  for (volatile std::uint64_t& word : words) word = filler;
}

}  // namespace

std::int64_t Outcome(const WorkingCall& call, CallsMachine& on, Vcpu& caller,
                     const HypercallFrame& frame, std::uint64_t filler) {
  ScribbleOnTheStack(filler);
  const std::int64_t answer = on.machine.hypervisor.Call(caller, frame);
  return answer < 0 || call.result == nullptr ? answer : call.result(on);
}

void PrintTo(const WorkingCall& call, std::ostream* out) { *out << call.name; }

}  // namespace xencomm::hypervisor
