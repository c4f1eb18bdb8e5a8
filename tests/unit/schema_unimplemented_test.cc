// What the embedded hypervisor says it does not implement is what it does not implement: every op
// of the table is called.
#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/hypervisor/calls/op_table.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"
#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

using schema::Hypercall;
using schema::Op;
using schema::OpPlace;

// Calls an op with an argument of zeroes, as far as it can be of zeroes: for a domain and a vcpu
// that there are, in the version of the headers, in a machine of its own.
class OneCall {
 public:
  explicit OneCall(const Op& op) : op_(op), machine_({.pool_bytes = std::uint64_t{8} << 20}) {
    EXPECT_EQ(machine_.CreateDomain(kDomain, 16), kDomain);
  }

  // What the machine was told of it.
  const auto& missing() const { return machine_.missing; }

  std::int64_t Make() {
    const Hypercall& hypercall = op_.hypercall();
    HypercallFrame frame;
    frame.index = hypercall.number;
    if (hypercall.op_place == OpPlace::kRegister) {
      frame.arguments[hypercall.op_field.offset / 8] = op_.number;
    } else if (hypercall.op_place == OpPlace::kArgument) {
      Set(hypercall.op_field, op_.number);
      if (hypercall.version_field) Set(hypercall.version_field, hypercall.versions()[0].number);
      if (hypercall.number == __HYPERVISOR_domctl) Set({offsetof(xen_domctl, domain), 2}, kDomain);
    }
    // A command that the op has.
    if (!op_.argument().variants().empty()) {
      for (std::size_t i = 0; i < 2; ++i) {
        const schema::Test& test = op_.argument().variants()[0].test(i);
        if (test.field) Set(test.field, static_cast<std::uint64_t>(test.values()[0]));
      }
    }
    for (const schema::Part& part : op_.registers().parts()) {
      if (!part.is_buffer()) continue;
      frame.arguments[part.offset / 8] = reinterpret_cast<std::uint64_t>(argument_.data());
      if (part.room().a) frame.arguments[part.room().a.offset / 8] = 1;
    }
    Prepare(frame);
    return machine_.hypervisor.Call(*machine_.vcpu, frame);
  }

 private:
  static constexpr std::uint16_t kDomain = 5;

  void Set(schema::Ref field, std::uint64_t value) {
    std::memcpy(&argument_[field.offset], &value, field.size);
  }

  // For ops whose answer to zeroes is that of an op which is not there.
  void Prepare(HypercallFrame& frame) {
    if (frame.index == __HYPERVISOR_multicall) frame.arguments[1] = 0;
    if (frame.index == __HYPERVISOR_event_channel_op && op_.number == EVTCHNOP_set_priority) {
      // The two-level ABI has no priorities (Xen 4.17, common/event_channel.h).
      evtchn_init_control control = {};
      control.control_gfn = 5;
      EXPECT_EQ(machine_.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_init_control, &control), 0);
    }
    if (frame.index == __HYPERVISOR_memory_op && op_.number == XENMEM_memory_map) {
      // -ENOSYS, as long as the domain was given no map (Xen 4.17, arch/x86/mm.c).
      e820_entry entry = {.addr = 0, .size = 4096, .type = 1};
      xen_foreign_memory_map map = {};
      map.domid = DOMID_SELF;
      map.map.nr_entries = 1;
      set_xen_guest_handle(map.map.buffer, &entry);
      EXPECT_EQ(machine_.Call(__HYPERVISOR_memory_op, XENMEM_set_memory_map, &map), 0);
    }
  }

  const Op& op_;
  TestMachine machine_;
  alignas(8) std::array<std::byte, 8192> argument_ = {};
};

template <class Visit>
void ForEachOp(Visit visit) {
  for (const Hypercall& hypercall : schema::Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      if ((op.releases & schema::kBaseRelease) != 0) visit(hypercall, op);
    }
  }
}

TEST(Unimplemented, IsWhatIsAnsweredSo) {
  unsigned implemented = 0;
  unsigned unimplemented = 0;
  ForEachOp([&](const Hypercall& hypercall, const Op& op) {
    const std::string name =
        std::string(schema::WordsOf(hypercall).name) + "." + schema::WordsOf(op).name;
    const OpAnswer known = Ask(hypercall.number, op.number);
    // Where domain 0 does not scale the processors' frequency, this one is not there (Xen 4.17,
    // platform_hypercall.c).
    if (name == "platform_op.getidletime") return;
    OneCall call(op);
    const std::int64_t answer = call.Make();
    // Where the hypercall has no handler at all, that is said of the whole.
    if (known.is_implemented) {
      EXPECT_THAT(call.missing(), testing::IsEmpty()) << name;
    } else {
      EXPECT_THAT(call.missing(), testing::ElementsAre(testing::Pair(
                                      hypercall.number, testing::AnyOf(op.number, kNoOp))))
          << name;
    }
    if (known.is_implemented) {
      EXPECT_NE(answer, -kENOSYS) << name;
      ++implemented;
    } else {
      EXPECT_EQ(answer, known.without) << name;
      ++unimplemented;
    }
  });
  EXPECT_GT(implemented, 90u);
  EXPECT_GT(unimplemented, 200u);
}

// What a Xen says that was built without them, or has no such processor: xen/include/xen/coverage.h
// and iommu.c, arch/x86/psr.c and hvm/hvm.c of 4.17.
TEST(Unimplemented, IsAnsweredAsAXenWithoutItDoes) {
  const struct {
    std::uint64_t hypercall, op;
    std::int64_t answer;
  } kCases[] = {
      {__HYPERVISOR_sysctl, XEN_SYSCTL_coverage_op, -kEOPNOTSUPP},
      {__HYPERVISOR_sysctl, XEN_SYSCTL_tbuf_op, -kENOSYS},
      {__HYPERVISOR_sysctl, XEN_SYSCTL_cpu_hotplug, -kENOSYS},
      {__HYPERVISOR_sysctl, XEN_SYSCTL_psr_cmt_op, -kENODEV},
      {__HYPERVISOR_sysctl, XEN_SYSCTL_psr_alloc, -kENODEV},
      {__HYPERVISOR_domctl, XEN_DOMCTL_assign_device, -kEOPNOTSUPP},
      {__HYPERVISOR_domctl, XEN_DOMCTL_mem_sharing_op, -kENOSYS},
      {__HYPERVISOR_memory_op, XENMEM_paging_op, -kENOSYS},
      {__HYPERVISOR_hvm_op, HVMOP_altp2m, -kEOPNOTSUPP},
      {__HYPERVISOR_kexec_op, KEXEC_CMD_kexec_load, -kENOSYS},
  };
  for (const auto& [hypercall, number, answer] : kCases) {
    const Op* const op = schema::Find(hypercall, number);
    ASSERT_NE(op, nullptr);
    EXPECT_FALSE(Ask(hypercall, number).is_implemented) << schema::WordsOf(*op).name;
    EXPECT_EQ(OneCall(*op).Make(), answer)
        << schema::WordsOf(op->hypercall()).name << "." << schema::WordsOf(*op).name;
  }
}

TEST(Unimplemented, IsSaidOnceAndOnlyOfWhatXenHas) {
  TestMachine machine;
  xen_domctl_t op = {};
  for (unsigned i = 0; i < 3; ++i) {
    for (const std::uint32_t cmd : {std::uint32_t{XEN_DOMCTL_mem_sharing_op}, 4000u, 3u}) {
      machine.Domctl(cmd, 0, op);
    }
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_paging_op, 0), -kENOSYS);
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, 62, 0), -kENOSYS);
    EXPECT_EQ(machine.Call(__HYPERVISOR_xsm_op, 0), -kENOSYS);
    EXPECT_EQ(machine.Call(__HYPERVISOR_kexec_op, 1, 0), -kENOSYS);
    EXPECT_EQ(machine.Call(63), -kENOSYS);
    EXPECT_EQ(machine.Call(~std::uint64_t{0}), -kENOSYS);
  }
  using testing::Pair;
  EXPECT_THAT(
      machine.missing,
      testing::ElementsAre(Pair(__HYPERVISOR_domctl, XEN_DOMCTL_mem_sharing_op),
                           Pair(__HYPERVISOR_memory_op, XENMEM_paging_op),
                           Pair(__HYPERVISOR_xsm_op, kNoOp), Pair(__HYPERVISOR_kexec_op, kNoOp)));
}

TEST(Unimplemented, IsSaidOfAnEntryInAList) {
  TestMachine machine;
  multicall_entry_t entries[2] = {};
  entries[0].op = __HYPERVISOR_memory_op;
  entries[0].args[0] = XENMEM_paging_op;
  entries[1].op = __HYPERVISOR_xsm_op;
  EXPECT_EQ(machine.Call(__HYPERVISOR_multicall, entries, 2), 0);
  EXPECT_THAT(machine.missing,
              testing::ElementsAre(testing::Pair(__HYPERVISOR_memory_op, XENMEM_paging_op),
                                   testing::Pair(__HYPERVISOR_xsm_op, kNoOp)));
}

TEST(Unimplemented, IsAllThatThereIsNoNumberFor) {
  for (const Hypercall& hypercall : schema::Hypercalls()) {
    if (hypercall.op_place == OpPlace::kNone) continue;
    for (const std::uint64_t op : {std::uint64_t{63}, std::uint64_t{4096}, ~std::uint64_t{0}}) {
      if (schema::Find(hypercall.number, op) != nullptr) continue;
      EXPECT_FALSE(Ask(hypercall.number, op).is_implemented)
          << schema::WordsOf(hypercall).name << " " << op;
    }
  }
  for (const std::uint64_t hypercall : {std::uint64_t{63}, std::uint64_t{64}, ~std::uint64_t{0}}) {
    EXPECT_FALSE(Ask(hypercall, 0).is_implemented) << hypercall;
    EXPECT_EQ(Ask(hypercall, 0).without, -kENOSYS);
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
