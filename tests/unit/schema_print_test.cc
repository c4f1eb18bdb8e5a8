// Values by their names, and findings as sentences.
#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "xencomm/own_space.h"

namespace xencomm::schema {
namespace {

// Cases by the names of their values, also when those are not all of one prefix.

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

// One place, another field in another case: a count is called as in its own.

// What the headers took out of use, in their own words.

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

// Every op can be explained, and says something of each of its fields.

}  // namespace
}  // namespace xencomm::schema
