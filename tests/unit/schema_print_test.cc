// Values by their names, and findings as sentences.
#include <cstdint>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "tests/unit/schema_guest.h"
#include "xencomm/own_space.h"

namespace xencomm::schema {
namespace {

TEST(NameValue, NamesFlagsAndEnumerations) {
  const Op* op = Find("domctl", "createdomain");
  for (const Part& part : op->argument().parts()) {
    if (std::string(schema::WordsOf(part).path) != "flags") continue;
    EXPECT_EQ(NameValue(part, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap),
              "XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap");
    EXPECT_EQ(NameValue(part, XEN_DOMCTL_CDF_hvm | 1u << 30), "XEN_DOMCTL_CDF_hvm | 0x40000000");
    EXPECT_EQ(NameValue(part, 0), "0x0");
  }
  for (const Part& part : Find("domctl", "sendtrigger")->argument().parts()) {
    if (std::string(schema::WordsOf(part).path) != "trigger") continue;
    EXPECT_EQ(NameValue(part, XEN_DOMCTL_SENDTRIGGER_POWER), "XEN_DOMCTL_SENDTRIGGER_POWER");
    EXPECT_EQ(NameValue(part, 999), "999");
  }
}

TEST(NameValue, TellsNegativeNumbersOfEachWidth) {
  unsigned checked = 0;
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      for (const Part& part : op.argument().parts()) {
        if (part.type().kind != Kind::kSigned || WordsOf(part).naming != Naming::kNone) continue;
        const unsigned bits = 8 * part.type().size;
        const std::uint64_t all = ~std::uint64_t{0} >> (64 - bits);
        EXPECT_EQ(NameValue(part, all), "-1");
        EXPECT_EQ(NameValue(part, all >> 1), std::to_string(all >> 1));
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 0u);
}

// Constants that a field's values are called by are of its scope, and of the release.
TEST(PrefixOf, IsOfTheFieldsScopeAndTheConstantsReleases) {
  unsigned scoped = 0;
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      for (const Part& part : op.argument().parts()) {
        const PartWords& words = WordsOf(part);
        for (const Constant& constant : Constants()) {
          const auto others = static_cast<Releases>(kAllReleases & ~constant.releases);
          EXPECT_EQ(PrefixOf(words, constant, others), 0u);
          if (words.scope == nullptr || PrefixOf(words, constant) == 0) continue;
          EXPECT_STREQ(constant.scope, words.scope) << words.path << " " << constant.name;
          ++scoped;
        }
      }
    }
  }
  EXPECT_GT(scoped, 0u);
}

TEST(Find, FindsTheFormOfAnOpThatAReleaseHas) {
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      EXPECT_EQ(Find(WordsOf(hypercall).name, WordsOf(op).name, op.releases), &op);
    }
  }
}

TEST(PrintFinding, NamesARemovedOp) {
  xen_domctl domctl = {};
  domctl.cmd = 6;
  domctl.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  OwnSpace space;
  auto visit = [](const Buffer&) { return true; };
  const Call call = {.hypercall = __HYPERVISOR_domctl,
                     .registers = {reinterpret_cast<std::uint64_t>(&domctl)}};
  EXPECT_EQ(PrintFinding(ForEachBuffer(call, {space}, visit)),
            "domctl: cmd: unknown op: 6 (XEN_DOMCTL_getmemlist, which was removed)");
}

TEST(PrintFinding, NamesOpFieldAndNumber) {
  xen_sysctl sysctl = {};
  sysctl.cmd = XEN_SYSCTL_physinfo;
  sysctl.interface_version = 0x12;
  OwnSpace space;
  auto visit = [](const Buffer&) { return true; };
  const Call call = {.hypercall = __HYPERVISOR_sysctl,
                     .registers = {reinterpret_cast<std::uint64_t>(&sysctl)}};
  EXPECT_EQ(PrintFinding(ForEachBuffer(call, {space}, visit)),
            "sysctl: interface_version: unknown interface version: 0x12, known are 0x15, 0x16");
  sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  sysctl.cmd = XEN_SYSCTL_getcpuinfo;
  sysctl.u.getcpuinfo.max_cpus = 1;
  EXPECT_EQ(PrintFinding(ForEachBuffer(call, {space}, visit)),
            "sysctl.getcpuinfo: info: null where a pointer is needed");
}

// Of a list the entry; its calls are described as others are.
TEST(PrintFinding, NamesTheEntryOfAList) {
  OwnSpace space;
  const multicall_entry_t entries[] = {{__HYPERVISOR_sched_op, 0, {SCHEDOP_yield}},
                                       {__HYPERVISOR_multicall, 0, {}}};
  const Call call = {.hypercall = __HYPERVISOR_multicall,
                     .registers = {reinterpret_cast<std::uint64_t>(entries), 2}};
  std::string text;
  EXPECT_EQ(PrintFinding(DescribeCall(call, {space}, text)),
            "multicall: call 1: a list of calls in a list of calls");
  EXPECT_NE(text.find("call_list -> multicall_entry[2] at 0x"), text.npos) << text;
  EXPECT_NE(text.find("sched_op.yield: "), text.npos) << text;
}

class DescribeCallTest : public GuestCalls {
 protected:
  // The fields that are told of a good call.
  std::string FieldsOf(const Call& call) {
    std::string text, fields;
    EXPECT_TRUE(DescribeCall(call, {guest_}, text).ok());
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("    ")) fields += line.substr(4) + "; ";
    }
    return fields;
  }
};

TEST_F(DescribeCallTest, TellsTheFieldsThatAreRead) {
  xen_pod_target_t target = {};
  target.target_pages = 77;
  target.tot_pages = 5;
  target.domid = 3;
  EXPECT_EQ(FieldsOf(MakeCall(__HYPERVISOR_memory_op, {XENMEM_set_pod_target, guest_.New(target)})),
            "target_pages = 77; domid = 3; ");
}

TEST_F(DescribeCallTest, TellsTheFieldsOfTheOpsCase) {
  auto pool = [&](std::uint32_t op) {
    return FieldsOf(MakeCall(__HYPERVISOR_sysctl, {Sysctl(XEN_SYSCTL_cpupool_op, [&](auto& u) {
                               u.cpupool_op.op = op;
                               u.cpupool_op.cpupool_id = 2;
                               u.cpupool_op.domid = 6;
                             })}));
  };
  EXPECT_NE(pool(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN).find("domid = 6; "), std::string::npos);
  EXPECT_EQ(pool(XEN_SYSCTL_CPUPOOL_OP_DESTROY).find("domid"), std::string::npos);
}

TEST_F(DescribeCallTest, TellsNoArraysAndNothingOfElementsWithoutFields) {
  const std::string fields =
      FieldsOf(MakeCall(__HYPERVISOR_domctl, {Domctl(XEN_DOMCTL_createdomain, [](auto&) {})}));
  EXPECT_NE(fields.find("ssidref = 0; "), std::string::npos) << fields;
  EXPECT_EQ(fields.find("handle"), std::string::npos) << fields;

  xen_memory_reservation reservation = {};
  reservation.nr_extents = 1;
  Set(reservation.extent_start, guest_.Room(8));
  EXPECT_EQ(FieldsOf(MakeCall(__HYPERVISOR_memory_op,
                              {XENMEM_populate_physmap, guest_.New(reservation)})),
            "nr_extents = 1; extent_order = 0; mem_flags = 0x0; domid = 0; ");
}

TEST_F(DescribeCallTest, TellsNothingOfWhatIsNotThereOrTooLarge) {
  EXPECT_EQ(FieldsOf(MakeCall(__HYPERVISOR_memory_op, {XENMEM_current_reservation, 8})), "");
  EXPECT_EQ(FieldsOf(MakeCall(__HYPERVISOR_vcpu_op,
                              {VCPUOP_initialise, 0, guest_.Room(sizeof(vcpu_guest_context))})),
            "");
  // A dm_op's argument that is cut off behind what the op needs.
  xen_dm_op op = {};
  op.op = XEN_DMOP_nr_vcpus;
  xen_dm_op_buf buffer = {};
  Set(buffer.h, guest_.New(op));
  for (const std::uint64_t size : {sizeof(op), sizeof(op) - 1}) {
    buffer.size = size;
    const std::string fields = FieldsOf(MakeCall(__HYPERVISOR_dm_op, {1, 1, guest_.New(buffer)}));
    EXPECT_EQ(fields.find("op = ") != std::string::npos, size == sizeof(op)) << fields;
  }
}

TEST(OpTableJson, IsAJsonObject) { EXPECT_EQ(OpTableJson()[0], '{'); }

}  // namespace
}  // namespace xencomm::schema
