// The audit: may a call pass, by its op and by all that it points at?
#include <array>
#include <cstdint>
#include <span>

#include "gtest/gtest.h"
#include "hcall/schema/audit.h"
#include "hcall/schema/words.h"
#include "tests/unit/schema_guest.h"

namespace xencomm::schema {
namespace {

class AuditTest : public GuestCalls {
 protected:
  // The guest's memory as one region of 16 granules; its table takes the first one.
  Finding Check(const Call& call, AllowedOps allowed = AllowedOps::All(), bool registered = true) {
    const RegionLayout region = *RegionLayout::Make({Guest::kBase}, 1 << 16, 12);
    return Audit(call, {guest_}, {region, registered, allowed});
  }

  Call ReadConsole(std::uint64_t buffer, std::uint32_t count) {
    return MakeCall(__HYPERVISOR_sysctl, {Sysctl(XEN_SYSCTL_readconsole, [&](auto& u) {
                      u.readconsole.count = count;
                      Set(u.readconsole.buffer, buffer);
                    })});
  }

  void SetUp() override { guest_.Room(0x1000); }  // the table
};

TEST_F(AuditTest, PassesWhatLiesInTheRegion) {
  EXPECT_TRUE(Check(ReadConsole(Guest::kBase + 0x1000, 0xf000)).ok());
}

TEST_F(AuditTest, RefusesABufferPartlyOutside) {
  const struct {
    std::uint64_t address;
    std::uint32_t count;
  } kCases[] = {
      {Guest::kBase + 0x1000, 0xf001},  // one byte past the end
      {Guest::kBase + 0xfff, 1},        // in the table
      {Guest::kBase, 0x10000},          // all of it, table included
      {Guest::kBase + 0x10000, 1},      // right behind it
      {0x1000, 16},                     // before it
  };
  for (const auto& [address, count] : kCases) {
    const Finding finding = Check(ReadConsole(address, count));
    EXPECT_EQ(finding.problem, Problem::kOutside) << address << " x" << count;
    EXPECT_STREQ(schema::WordsOf(*finding.op).name, "readconsole");
    EXPECT_STREQ(schema::WordsOf(*finding.part).path, "buffer");
    EXPECT_EQ(finding.address.value, address);
    EXPECT_EQ(finding.bytes, count);
  }
}

TEST_F(AuditTest, RefusesAnArgumentInTheTable) {
  Call call = ReadConsole(Guest::kBase + 0x1000, 1);
  call.registers[0] = Guest::kBase + 64;
  const Finding finding = Check(call);
  EXPECT_FALSE(finding.ok());
}

TEST_F(AuditTest, LetsOnlyANamedSetThrough) {
  const AllowedOp allowed[] = {{__HYPERVISOR_sysctl, XEN_SYSCTL_readconsole},
                               {__HYPERVISOR_xen_version, XENVER_version}};
  EXPECT_TRUE(Check(ReadConsole(Guest::kBase + 0x1000, 8), allowed).ok());
  EXPECT_TRUE(Check(MakeCall(__HYPERVISOR_xen_version, {XENVER_version}), allowed).ok());
  const Finding finding = Check(
      MakeCall(__HYPERVISOR_domctl, {Domctl(XEN_DOMCTL_destroydomain, [](auto&) {})}), allowed);
  EXPECT_EQ(finding.problem, Problem::kNotAllowed);
  EXPECT_STREQ(schema::WordsOf(*finding.op).name, "destroydomain");
}

TEST_F(AuditTest, AnEmptySetLetsNothingThrough) {
  const Finding finding =
      Check(ReadConsole(Guest::kBase + 0x1000, 8), std::span<const AllowedOp>());
  EXPECT_EQ(finding.problem, Problem::kNotAllowed);
  EXPECT_STREQ(schema::WordsOf(*finding.op).name, "readconsole");
}

// An op that is let through still has to point into the region: op, field, index and address.
TEST_F(AuditTest, NamesTheElementOfAnAllowedOpThatLeadsOutside) {
  constexpr AllowedOp kAllowed[] = {{__HYPERVISOR_kexec_op, KEXEC_CMD_kexec_load}};
  std::array<xen_kexec_segment_t, 3> segments = {};
  for (xen_kexec_segment_t& each : segments) {
    Set(each.buf.h, Guest::kBase + 0x1000);
    each.buf_size = 16;
  }
  Set(segments[2].buf.h, Guest::kBase + 0xfff8);
  xen_kexec_load_t load = {};
  load.nr_segments = 3;
  Set(load.segments.h, guest_.New(segments.data(), 3));
  const Finding finding =
      Check(MakeCall(__HYPERVISOR_kexec_op, {KEXEC_CMD_kexec_load, guest_.New(load)}), kAllowed);
  EXPECT_EQ(finding.problem, Problem::kOutside);
  EXPECT_STREQ(schema::WordsOf(*finding.op).name, "kexec_load");
  EXPECT_STREQ(schema::WordsOf(*finding.part).path, "buf.h");
  EXPECT_EQ(finding.index, 2u);
  EXPECT_EQ(finding.address.value, Guest::kBase + 0xfff8);
  EXPECT_EQ(finding.bytes, 16u);
}

TEST_F(AuditTest, LooksIntoEachEntryOfAMulticall) {
  const AllowedOp allowed[] = {{__HYPERVISOR_multicall, 0},
                               {__HYPERVISOR_xen_version, XENVER_version}};
  std::array<multicall_entry, 2> entries = {};
  entries[0] = {__HYPERVISOR_xen_version, 0, {XENVER_version}};
  entries[1] = {__HYPERVISOR_domctl, 0, {Domctl(XEN_DOMCTL_pausedomain, [](auto&) {})}};
  const Finding finding =
      Check(MakeCall(__HYPERVISOR_multicall, {guest_.New(entries.data(), 2), 2}), allowed);
  EXPECT_EQ(finding.problem, Problem::kNotAllowed);
  EXPECT_EQ(finding.entry, 1u);
}

TEST_F(AuditTest, KeepsPointersThatOutliveTheCallToRegisteredRegions) {
  vcpu_register_runstate_memory_area area = {};
  Set(area.addr.h, guest_.Room(sizeof(vcpu_runstate_info)));
  const Call call =
      MakeCall(__HYPERVISOR_vcpu_op, {VCPUOP_register_runstate_memory_area, 0, guest_.New(area)});
  EXPECT_TRUE(Check(call).ok());
  EXPECT_EQ(Check(call, AllowedOps::All(), false).problem, Problem::kOutlives);
}

TEST_F(AuditTest, TakesForTheKernelsCopyTheArgumentAloneAndAllOfIt) {
  const RegionLayout region = *RegionLayout::Make({Guest::kBase}, 1 << 16, 12);
  const Call call = ReadConsole(Guest::kBase + 0x2000, 8);
  const std::uint64_t argument = call.registers[0];
  const AuditPolicy policy = {.region = region, .arguments_only = {{argument}, 0x1000}};
  auto check = [&](const Range& copy) { return Audit(call, {guest_}, policy, copy).problem; };
  EXPECT_EQ(check({{argument}, sizeof(xen_sysctl)}), Problem::kNone);
  EXPECT_EQ(check({{argument + 8}, sizeof(xen_sysctl)}), Problem::kArgumentsOnly);
  EXPECT_EQ(check({{argument}, sizeof(xen_sysctl) - 1}), Problem::kArgumentsOnly);
  EXPECT_EQ(check({}), Problem::kArgumentsOnly);
}

TEST(Range, OfNoBytesTouchesNothing) { EXPECT_FALSE(Range{}.Touches({0}, 1)); }

TEST(AllowedOps, OfAHypercallWithoutOpsAnyNumberNamesIt) {
  constexpr AllowedOp kNamed[] = {{__HYPERVISOR_set_trap_table, 1}};
  EXPECT_TRUE(AllowedOps(kNamed).Contains(*Find(__HYPERVISOR_set_trap_table), 0));
  EXPECT_FALSE(AllowedOps(kNamed).Contains(*Find(__HYPERVISOR_set_gdt), 1));
}

TEST(AllowedOps, NoSetHasWhatIsForKernels) {
  // As if the table had a row for it.
  Hypercall hypercall = {};
  hypercall.number = kXencommOp;
  constexpr AllowedOp kNamed[] = {{kXencommOp, 0}};
  EXPECT_FALSE(AllowedOps::All().Contains(hypercall, 0));
  EXPECT_FALSE(AllowedOps(kNamed).Contains(hypercall, 0));
  hypercall.number = __HYPERVISOR_domctl;
  EXPECT_TRUE(AllowedOps::All().Contains(hypercall, 0));
}

}  // namespace
}  // namespace xencomm::schema
