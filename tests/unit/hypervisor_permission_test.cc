// Who may make a call: every working call, by a guest for itself, for others, for domains that end
// or that there never were, and by a control domain for all. By Xen's dummy policy.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"
#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_calls.h"
#include "xencomm/address.h"

namespace xencomm::hypervisor {
namespace {

// A list is no refused call: each of its elements is looked at, and answered.
bool IsList(const WorkingCall& call) {
  return call.hypercall == __HYPERVISOR_multicall ||
         (call.hypercall == __HYPERVISOR_memory_op && call.op == XENMEM_add_to_physmap_batch);
}

// Where the structure lies that a call's register points at; nothing, when it has none.
std::span<const std::byte> StructureOf(CallsMachine& on, const WorkingCall& call,
                                       const HypercallFrame& frame) {
  const schema::Hypercall* hypercall = schema::Find(call.hypercall);
  const schema::Op* op = schema::Find(call.hypercall, call.op);
  if (op == nullptr) return on.arguments();  // one that only Xen makes
  if (hypercall->pointer < 0 || op->argument().type() == nullptr) return {};
  return {reinterpret_cast<const std::byte*>(frame.arguments[hypercall->pointer]),
          op->argument().type()->size};
}

// The field of a structure that says what became of the call; nothing, when there is none.
std::span<const std::byte> StatusIn(std::span<const std::byte> structure, const WorkingCall& call) {
  for (const schema::Part& part : schema::Find(call.hypercall, call.op)->argument().parts()) {
    if (schema::WordsOf(part).path == std::string_view("status"))
      return structure.subspan(part.offset, part.size());
  }
  return structure.first(0);
}

// What a domain has, and what is left for all.
struct Holdings {
  std::uint64_t pages, overhead, regions, free;

  static Holdings Of(CallsMachine& on, std::uint16_t id) {
    const DomainStatistics domain = Books::StatisticsOf(on.machine.hypervisor, id);
    return {domain.pages, domain.overhead_pages, domain.regions,
            Books::StatisticsOf(on.machine.hypervisor).free_pages};
  }
  friend bool operator==(const Holdings&, const Holdings&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Holdings& held) {
    return out << held.pages << " pages, " << held.overhead << " besides, " << held.regions
               << " regions, " << held.free << " free";
  }
};

// Whether a call's arguments are others for another target, and for that only.
bool IsAboutTarget(CallsMachine& on, const WorkingCall& call) {
  const auto prepared = [&](std::uint16_t target) {
    on.Begin();
    const HypercallFrame frame = call.prepare(on, target);
    const auto arguments = on.arguments();
    return std::pair(std::to_array(frame.arguments),
                     std::vector<std::byte>(arguments.begin(), arguments.end()));
  };
  const auto nobody = prepared(kNobody);
  return nobody == prepared(kNobody) && nobody != prepared(kNobody + 1);
}

// So that a domain ends in several.
TestMachineOptions InShortLegs() {
  TestMachineOptions options = CallsMachine::kOptions;
  options.preempt_interval = 8;
  return options;
}

class PermissionTest : public testing::TestWithParam<WorkingCall> {
 protected:
  HypercallFrame Prepare(Vcpu* caller, std::uint16_t target) {
    on.caller = caller;
    on.Begin();
    return call.prepare(on, target);
  }
  std::int64_t Made(Vcpu* caller, std::uint16_t target) {
    const HypercallFrame frame = Prepare(caller, target);
    return Outcome(call, on, *caller, frame);
  }
  static void ExpectAnswer(std::int64_t answer, std::int64_t expected) {
    if (expected == kAnyAnswer) {
      EXPECT_GE(answer, 0);
    } else {
      EXPECT_EQ(answer, expected);
    }
  }
  // The call is answered so, and that is all that happens.
  void ExpectRefused(std::uint16_t target, std::int64_t answer) {
    const HypercallFrame frame = Prepare(on.guest, target);
    const std::span<std::byte> arguments = on.arguments();
    std::vector<std::byte> expected(arguments.begin(), arguments.end());
    const Holdings held = Holdings::Of(on, target);
    const std::span<const std::byte> structure = StructureOf(on, call, frame);
    unsigned strays = 0;
    on.space.Watch([&](unsigned, Access, std::byte* at, std::uint64_t length) {
      if (!Contains(reinterpret_cast<std::uintptr_t>(structure.data()), structure.size(),
                    reinterpret_cast<std::uintptr_t>(at), length)) {
        ++strays;
      }
      return Fault::kNone;
    });
    EXPECT_EQ(Outcome(call, on, *on.guest, frame), answer);
    on.space.WatchNothing();
    EXPECT_EQ(Holdings::Of(on, target), held);
    on.machine.ExpectBooksAddUp(false);
    if (IsList(call)) return;
    EXPECT_EQ(strays, 0u) << "accesses beside the structure";
    // It may say that it was refused, and no more.
    if (call.result != nullptr) {
      const auto status = StatusIn(structure, call);
      std::ranges::copy(status, expected.begin() + (status.data() - arguments.data()));
    }
    EXPECT_THAT(arguments, testing::ElementsAreArray(expected));
  }

  void OfAGuestForItself(bool is_about_target);
  void OfAGuestForOthers();
  void OfDomainsThatEnd();
  void OfDomain0(bool is_about_target);
  void OfACallerThatEnds();

  const WorkingCall& call = GetParam();
  CallsMachine on{InShortLegs()};
};

// What a guest is answered that asks for itself, by its id or by none.
void PermissionTest::OfAGuestForItself(bool is_about_target) {
  SCOPED_TRACE("a guest for itself");
  if (call.may == May::kControl) {
    ExpectRefused(kGuest, call.refusal);
    if (is_about_target) {
      ExpectRefused(DOMID_SELF, call.takes_self ? call.refusal : call.absent_refusal);
    }
  } else {
    ExpectAnswer(Made(on.guest, kGuest), call.own_answer_by_id);
    ExpectAnswer(Made(on.guest, DOMID_SELF), call.own_answer);
  }
}

void PermissionTest::OfAGuestForOthers() {
  for (const std::uint16_t target : {std::uint16_t{0}, kPv, kHvm}) {
    SCOPED_TRACE(testing::Message() << "a guest for domain " << target);
    // Domain 0 is no HVM domain either.
    const bool is_like_pv = target == kPv || (target == 0 && call.hypercall == __HYPERVISOR_hvm_op);
    if (call.may == May::kAnyone) {
      ExpectAnswer(Made(on.guest, target), call.answer);
    } else {
      ExpectRefused(target, is_like_pv ? call.pv_refusal : call.refusal);
    }
  }
  SCOPED_TRACE("a guest for nobody");
  ExpectRefused(kNobody, call.absent_refusal);
}

void PermissionTest::OfDomain0(bool is_about_target) {
  SCOPED_TRACE("domain 0");
  ExpectAnswer(Made(on.control, call.target), call.answer);
  if (!is_about_target) return;
  EXPECT_EQ(Made(on.control, kNobody), call.absent);
  if (call.may == May::kAnyone) return;
  if (call.may == May::kControl && call.takes_self) {
    ExpectAnswer(Made(on.control, DOMID_SELF), call.answer);
  } else if (call.may == May::kControl) {
    // No domain's id; getdomaininfo tells it from one that a domain might have.
    EXPECT_THAT(Made(on.control, DOMID_SELF), testing::AnyOf(call.absent, -kEINVAL));
  }
  for (const std::uint16_t target : {std::uint16_t{0}, kGuest, kPv, kHvm}) {
    // What a control domain may do to others, it may not all do to itself.
    if (target == 0 && call.may == May::kControl) continue;
    EXPECT_NE(Made(on.control, target), call.refusal) << "for domain " << target;
  }
}

// A caller that may not is not told whether the domain is dying, for as long as anything of it is
// left.
void PermissionTest::OfDomainsThatEnd() {
  constexpr std::uint16_t kEnds = 5;
  on.MakeDomain(kEnds, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap);
  std::uint64_t mfn;
  ASSERT_EQ(on.machine.HoldFrame(kEnds, 3, Access::kRead, &mfn), 0);
  xen_domctl_t destroy = {};
  destroy.cmd = XEN_DOMCTL_destroydomain;
  destroy.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  destroy.domain = kEnds;
  HypercallFrame frame = on.Frame(__HYPERVISOR_domctl, &destroy);
  on.machine.hypervisor.Hypercall(*on.control, frame);
  ASSERT_TRUE(frame.continued);
  for (const char* how_far : {"dying", "dead"}) {
    SCOPED_TRACE(how_far);
    ExpectRefused(kEnds, call.dying_refusal);
    Made(on.control, kEnds);
    ASSERT_EQ(on.machine.hypervisor.Call(*on.control, frame), 0);
  }
  on.machine.ReleaseFrame(mfn);
  ExpectRefused(kEnds, call.absent_refusal);
}

// A domain that ends makes no call any more.
void PermissionTest::OfACallerThatEnds() {
  const HypercallFrame frame = Prepare(on.guest, kGuest);
  ASSERT_EQ(on.machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  on.space.Watch([](unsigned, Access, std::byte*, std::uint64_t) {
    ADD_FAILURE() << "an access";
    return Fault::kNone;
  });
  EXPECT_EQ(on.machine.hypervisor.Call(*on.guest, frame), -kESRCH);
  on.space.WatchNothing();
}

INSTANTIATE_TEST_SUITE_P(, PermissionTest, testing::ValuesIn(AllWorkingCalls()),
                         [](const auto& each) { return NameOf(each.param); });

// One after the other in one machine, the making of which takes longest.
TEST_P(PermissionTest, IsAsXenHasIt) {
  ASSERT_NE(call.may, May::kNotSaid);
  const bool is_about_target = IsAboutTarget(on, call);
  EXPECT_TRUE(is_about_target || call.may != May::kTarget);
  OfAGuestForItself(is_about_target);
  if (is_about_target) OfAGuestForOthers();
  if (is_about_target && call.may != May::kAnyone) OfDomainsThatEnd();
  OfDomain0(is_about_target);
  OfACallerThatEnds();
}

// A domain's port is bound by whom it waits for: the other end is the only domain that may.
TEST(PermissionsTest, APortIsBoundByWhomItWaitsFor) {
  CallsMachine on;
  for (const std::uint16_t waits_for : {std::uint16_t{0}, kGuest, kPv, kNobody}) {
    evtchn_alloc_unbound port = {.dom = kHvm, .remote_dom = waits_for, .port = 0};
    ASSERT_EQ(on.machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &port), 0);
    for (const std::uint16_t caller : {kGuest, std::uint16_t{0}}) {
      SCOPED_TRACE(testing::Message() << "by " << caller << ", waits for " << waits_for);
      on.Begin();
      const auto* bind = on.Put<evtchn_bind_interdomain>(
          {.remote_dom = kHvm, .remote_port = port.port, .local_port = 0});
      Vcpu& by = caller == 0 ? *on.control : *on.guest;
      EXPECT_EQ(on.machine.hypervisor.Call(
                    by, on.Frame(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, bind)),
                caller == waits_for ? 0 : -kEINVAL);
    }
  }
}

// Xen's command line is told to a control domain only; a guest hears that it is not.
TEST(PermissionsTest, AGuestIsNotToldTheCommandLine) {
  constexpr std::string_view kDenied("<denied>", sizeof("<denied>"));
  CallsMachine on;
  for (Vcpu* const caller : {on.guest, on.control}) {
    on.Begin();
    xen_commandline_t& line = *on.Put<xen_commandline_t>();
    std::memset(line, 'x', sizeof(line));
    ASSERT_EQ(on.machine.hypervisor.Call(
                  *caller, on.Frame(__HYPERVISOR_xen_version, XENVER_commandline, &line)),
              0);
    EXPECT_EQ(std::string_view(line, kDenied.size()) == kDenied, caller == on.guest);
    // No more is written than is said.
    EXPECT_EQ(line[kDenied.size()], caller == on.guest ? 'x' : '\0');
  }
}

// What an HVM domain may do to its own parameters: hvm_allow_set_param and hvm_allow_get_param.
TEST(PermissionsTest, AnHvmDomainHasFewParametersOfItsOwn) {
  const std::set<std::uint32_t> set_by_itself = {
      HVM_PARAM_CALLBACK_IRQ,          HVM_PARAM_VM86_TSS,
      HVM_PARAM_VM86_TSS_SIZED,        HVM_PARAM_ACPI_IOPORTS_LOCATION,
      HVM_PARAM_VM_GENERATION_ID_ADDR, HVM_PARAM_STORE_EVTCHN,
      HVM_PARAM_CONSOLE_EVTCHN,        HVM_PARAM_X87_FIP_WIDTH};
  const std::set<std::uint32_t> only_got = {HVM_PARAM_STORE_PFN, HVM_PARAM_CONSOLE_PFN,
                                            HVM_PARAM_ALTP2M};
  const std::set<std::uint32_t> of_nobody = {
      HVM_PARAM_PAE_ENABLED,      HVM_PARAM_DM_DOMAIN,
      HVM_PARAM_MEMORY_EVENT_CR0, HVM_PARAM_MEMORY_EVENT_CR3,
      HVM_PARAM_MEMORY_EVENT_CR4, HVM_PARAM_MEMORY_EVENT_INT3,
      HVM_PARAM_NESTEDHVM,        HVM_PARAM_MEMORY_EVENT_SINGLE_STEP,
      HVM_PARAM_BUFIOREQ_EVTCHN,  HVM_PARAM_MEMORY_EVENT_MSR};
  CallsMachine on;
  Vcpu* const hvm = on.machine.hypervisor.ClaimVcpu(kHvm, 0);
  ASSERT_NE(hvm, nullptr);
  on.machine.hypervisor.SetRawSpace(*hvm, on.space);
  const auto made = [&](Vcpu* caller, std::uint64_t op, std::uint32_t index) {
    xen_hvm_param param = {.domid = kHvm, .pad = 0, .index = index, .value = 0};
    if (index == HVM_PARAM_VM86_TSS_SIZED) param.value = std::uint64_t{104} << 32;
    return on.machine.hypervisor.Call(*caller, on.Frame(__HYPERVISOR_hvm_op, op, &param));
  };
  for (std::uint32_t index = 0; index < HVM_NR_PARAMS; ++index) {
    SCOPED_TRACE(index);
    const bool is_none = of_nobody.contains(index);
    const bool sets = set_by_itself.contains(index);
    const bool gets = sets || only_got.contains(index);
    // Where a power management timer would be, it may say; it has none.
    const std::int64_t set = index == HVM_PARAM_ACPI_IOPORTS_LOCATION ? -kENODEV : 0;
    EXPECT_EQ(made(hvm, HVMOP_set_param, index), is_none ? -kEINVAL : sets ? set : -kEPERM);
    EXPECT_EQ(made(hvm, HVMOP_get_param, index), is_none ? -kEINVAL : gets ? 0 : -kEPERM);
    EXPECT_NE(made(on.control, HVMOP_set_param, index), -kEPERM);
    EXPECT_EQ(made(on.control, HVMOP_get_param, index), is_none ? -kEINVAL : 0);
  }
  EXPECT_EQ(made(on.control, HVMOP_get_param, HVM_NR_PARAMS), -kEINVAL);
  on.machine.hypervisor.ReleaseVcpu(*hvm);
}

TEST(PermissionsTest, PagesOfOnesOwnAreNotForeign) {
  CallsMachine on;
  EXPECT_EQ(on.machine.MapForeign(0, 600, kHvm, 3), 0);
  EXPECT_EQ(on.machine.MapForeign(0, 601, 0, 3), -kEPERM);
  EXPECT_EQ(on.machine.MapForeign(kHvm, 602, 0, 3), -kEPERM);
  EXPECT_EQ(on.machine.MapForeign(kHvm, 603, kHvm, 3), -kEINVAL);
}

// CONFIG_DOMU_MAX_ORDER and CONFIG_CTLDOM_MAX_ORDER of Xen 4.17.
TEST(PermissionsTest, ExtentsAreNoLargerThanACallerMayHaveThem) {
  CallsMachine on;
  const auto by = [&](Vcpu* caller, unsigned order, std::uint16_t domain) {
    // Nothing to exchange, which only the check of the orders comes before.
    xen_memory_exchange none = {};
    none.in = TestMachine::Reservation(domain, nullptr, 0, order);
    none.out = TestMachine::Reservation(domain, nullptr, 0, order);
    const std::int64_t answer = on.machine.hypervisor.Call(
        *caller, on.Frame(__HYPERVISOR_memory_op, XENMEM_exchange, &none));
    // As many pages of an extent are given up as there are, when any are.
    xen_pfn_t gfn = 0;
    xen_memory_reservation all = TestMachine::Reservation(domain, &gfn, 1, order);
    on.machine.hypervisor.Call(*caller,
                               on.Frame(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &all));
    return std::pair(answer, Books::StatisticsOf(on.machine.hypervisor, domain).pages);
  };
  EXPECT_EQ(by(on.guest, 10, kGuest), std::pair(std::int64_t{-kEPERM}, kPagesOfEach));
  EXPECT_EQ(by(on.guest, 9, kGuest), std::pair(std::int64_t{0}, std::uint64_t{0}));
  EXPECT_EQ(by(on.control, 19, kHvm), std::pair(std::int64_t{-kEPERM}, kPagesOfEach));
  EXPECT_EQ(by(on.control, 18, kHvm), std::pair(std::int64_t{0}, std::uint64_t{0}));
}

// The parts of a record and of what its buffers hold that say a domain's id to the hypervisor.
bool NamesADomain(const schema::Record& record) {
  return std::ranges::any_of(record.parts(), [](const schema::Part& part) {
    // Where a list of domains begins is not whom it is about.
    if (!part.reads() || std::string_view(schema::WordsOf(part).path).ends_with("first_domain"))
      return false;
    if (part.is_buffer()) {
      return part.element_record() != nullptr && NamesADomain(*part.element_record());
    }
    const schema::Member* const member = schema::WordsOf(part).member();
    return member != nullptr && std::string_view(member->spelling) == "domid_t";
  });
}

// Where the op table has a domain's id, some call is about the domain.
TEST(PermissionsTest, AreAskedOfEveryOpThatNamesADomain) {
  CallsMachine on;
  std::set<std::pair<std::uint64_t, std::uint64_t>> about;
  for (const WorkingCall& call : AllWorkingCalls()) {
    if (IsAboutTarget(on, call)) about.insert({call.hypercall, call.op});
  }
  for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
    for (const schema::Op& op : hypercall.ops()) {
      if ((op.releases & schema::kBaseRelease) == 0) continue;
      if (!Ask(hypercall.number, op.number).is_implemented) continue;
      if (!NamesADomain(op.argument()) && !NamesADomain(op.registers())) continue;
      EXPECT_TRUE(about.contains({hypercall.number, op.number}))
          << schema::WordsOf(hypercall).name << ' ' << schema::WordsOf(op).name;
    }
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
