// Two interface versions of domctl in one table. The headers that this is compiled against are made
// by schema_versions_test.py: in version 0x16 hvmcontext has another layout, new_op is new, and
// settimeoffset is gone.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/schema/audit.h"
#include "hcall/schema/bounced_call.h"
#include "hcall/schema/described_call.h"
#include "hcall/schema/json.h"
#include "hcall/schema/op.h"
#include "hcall/schema/own_space.h"
#include "hcall/schema/print.h"
#include "hcall/schema/swapped_call.h"
#include "hcall/schema/walk.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint32_t kThis = XEN_DOMCTL_INTERFACE_VERSION;
constexpr std::uint32_t kNext = kThis + 1;
constexpr std::uint32_t kNewOp = 90;

// As the altered headers have them.
struct NextHvmContext {
  std::uint64_t size;
  std::uint32_t instance;
  std::uint32_t pad;
  std::uint64_t buffer;
};
struct NewOp {
  std::uint32_t nr;
  std::uint32_t pad;
  std::uint64_t numbers;
};

std::uint64_t Address(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

class Versions : public ::testing::Test {
 protected:
  Call Domctl(std::uint32_t version, std::uint32_t cmd) {
    domctl_.cmd = cmd;
    domctl_.interface_version = version;
    return {.hypercall = __HYPERVISOR_domctl, .registers = {Address(&domctl_)}};
  }
  // The op's own part, in whatever layout.
  template <class Own>
  void SetOwn(const Own& own) {
    static_assert(sizeof(own) <= sizeof(domctl_.u));
    std::memcpy(&domctl_.u, &own, sizeof(own));
  }
  Call GetHvmContext(std::uint32_t version, std::uint64_t bytes) {
    if (version == kNext) {
      SetOwn(NextHvmContext{bytes, 7, 0, Address(context_.data())});
    } else {
      domctl_.u.hvmcontext.size = static_cast<std::uint32_t>(bytes);
      set_xen_guest_handle(domctl_.u.hvmcontext.buffer, context_.data());
    }
    return Domctl(version, XEN_DOMCTL_gethvmcontext);
  }
  Finding Walk(const Call& call) {
    buffers_.clear();
    auto note = [&](const Buffer& buffer) {
      buffers_.push_back(buffer);
      return true;
    };
    return ForEachBuffer(call, {space_}, note);
  }

  OwnSpace space_;
  xen_domctl domctl_ = {};
  std::array<std::uint8_t, 64> context_ = {};
  std::vector<Buffer> buffers_;
};

TEST_F(Versions, AreListedAndAscend) {
  EXPECT_THAT(Find(__HYPERVISOR_domctl)->versions, ElementsAre(kThis, kNext));
  EXPECT_EQ(Find(__HYPERVISOR_domctl)->version, kThis);
  EXPECT_THAT(Find(__HYPERVISOR_sysctl)->versions, ElementsAre(XEN_SYSCTL_INTERFACE_VERSION));
}

TEST_F(Versions, ShareWhatDidNotChange) {
  const Hypercall& domctl = *Find(__HYPERVISOR_domctl);
  unsigned shared = 0;
  for (const Op& op : domctl.ops) {
    const Op* const now = Find(domctl, op.number, kThis);
    const Op* const next = Find(domctl, op.number, kNext);
    if (now == next) ++shared;
    EXPECT_EQ(now != next, op.number == XEN_DOMCTL_gethvmcontext ||
                               op.number == XEN_DOMCTL_sethvmcontext ||
                               op.number == XEN_DOMCTL_settimeoffset || op.number == kNewOp)
        << op.name;
  }
  // Two ops have two rows each, one is new, one gone.
  EXPECT_EQ(shared, domctl.ops.size() - 6);
}

TEST_F(Versions, AreChosenByTheArgument) {
  ASSERT_TRUE(Walk(GetHvmContext(kThis, 16)).ok());
  ASSERT_EQ(buffers_.size(), 2u);
  EXPECT_EQ(buffers_[1].part->offset, offsetof(xen_domctl, u.hvmcontext.buffer));
  EXPECT_EQ(buffers_[1].bytes, 16u);

  ASSERT_TRUE(Walk(GetHvmContext(kNext, 32)).ok());
  ASSERT_EQ(buffers_.size(), 2u);
  EXPECT_EQ(buffers_[1].part->offset, offsetof(xen_domctl, u) + offsetof(NextHvmContext, buffer));
  EXPECT_EQ(buffers_[1].bytes, 32u);
  EXPECT_EQ(buffers_[1].address.value, Address(context_.data()));
}

TEST_F(Versions, RefuseAnUnknownOneWithItsNumber) {
  for (const std::uint32_t version : {kThis - 1, kNext + 1, 0u, ~0u}) {
    const Finding finding = Walk(Domctl(version, XEN_DOMCTL_pausedomain));
    EXPECT_EQ(finding.problem, Problem::kUnknownVersion);
    EXPECT_EQ(finding.number, version);
  }
  EXPECT_EQ(PrintFinding(Walk(Domctl(0x17, XEN_DOMCTL_pausedomain))),
            "domctl: interface_version: unknown interface version: 0x17, known are 0x15, 0x16");
}

TEST_F(Versions, HaveTheirOwnOps) {
  EXPECT_TRUE(Walk(Domctl(kThis, XEN_DOMCTL_settimeoffset)).ok());
  EXPECT_EQ(Walk(Domctl(kNext, XEN_DOMCTL_settimeoffset)).problem, Problem::kUnknownOp);
  std::array<std::uint64_t, 3> numbers = {};
  SetOwn(NewOp{3, 0, Address(numbers.data())});
  EXPECT_EQ(Walk(Domctl(kThis, kNewOp)).problem, Problem::kUnknownOp);
  ASSERT_TRUE(Walk(Domctl(kNext, kNewOp)).ok());
  EXPECT_EQ(buffers_[1].bytes, sizeof(numbers));
}

TEST_F(Versions, AreAuditedByTheirOwnLayout) {
  alignas(4096) static std::array<std::byte, 2 * 4096> memory;
  auto* argument = reinterpret_cast<xen_domctl*>(&memory[4096]);
  GetHvmContext(kNext, 16);
  std::memcpy(&domctl_.u, std::array<std::uint64_t, 3>{16, 0, Address(&memory[8000])}.data(), 24);
  *argument = domctl_;
  const Call call = {.hypercall = __HYPERVISOR_domctl, .registers = {Address(argument)}};
  const AuditPolicy policy = {*RegionLayout::Make({Address(memory.data())}, sizeof(memory), 12)};
  EXPECT_TRUE(Audit(call, {space_}, policy).ok());

  constexpr std::uint64_t kTooLong = 193;  // one byte more than there are behind byte 8000
  std::memcpy(&argument->u, &kTooLong, sizeof(kTooLong));
  const Finding finding = Audit(call, {space_}, policy);
  EXPECT_EQ(finding.problem, Problem::kOutside);
  EXPECT_STREQ(finding.part->path, "buffer");
  EXPECT_EQ(finding.bytes, kTooLong);
}

TEST_F(Versions, AreSwappedByTheirOwnLayout) {
  const Call call = GetHvmContext(kNext, 0x1020);
  context_ = {};
  std::vector<std::uint8_t> large(0x1020);
  SetOwn(NextHvmContext{large.size(), 0x01020304, 0, Address(large.data())});
  const xen_domctl before = domctl_;
  {
    SwappedCall swapped(call, kNativeOrder);
    ASSERT_TRUE(swapped.finding().ok());
    NextHvmContext seen;
    std::memcpy(&seen, &domctl_.u, sizeof(seen));
    EXPECT_EQ(seen.size, __builtin_bswap64(0x1020));
    EXPECT_EQ(seen.instance, 0x04030201u);
    EXPECT_EQ(seen.buffer, __builtin_bswap64(Address(large.data())));
  }
  EXPECT_EQ(std::memcmp(&domctl_, &before, sizeof(before)), 0);
}

class Heap final : public BounceMemory {
 public:
  std::byte* Allocate(std::uint64_t bytes) override {
    return static_cast<std::byte*>(std::malloc(bytes));
  }
  void Free(std::byte* memory) override { std::free(memory); }
};

TEST_F(Versions, AreBouncedByTheirOwnLayout) {
  Heap heap;
  BouncedCall bounced(GetHvmContext(kNext, context_.size()), kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  auto* copy = reinterpret_cast<xen_domctl*>(bounced.call().registers[0]);
  NextHvmContext own;
  std::memcpy(&own, &copy->u, sizeof(own));
  ASSERT_NE(own.buffer, Address(context_.data()));
  std::memset(reinterpret_cast<void*>(own.buffer), 0xab, 5);
  own.size = 5;
  own.instance = 99;  // not the hypervisor's to change
  std::memcpy(&copy->u, &own, sizeof(own));
  bounced.CopyBack();
  std::memcpy(&own, &domctl_.u, sizeof(own));
  EXPECT_EQ(own.size, 5u);
  EXPECT_EQ(own.instance, 7u);
  EXPECT_EQ(own.buffer, Address(context_.data()));
  EXPECT_EQ(context_[4], 0xab);
}

TEST_F(Versions, ArePrintedByTheirOwnLayout) {
  EXPECT_THAT(PrintCall(GetHvmContext(kNext, 16), {space_}), HasSubstr("instance = 7"));
  EXPECT_THAT(PrintCall(GetHvmContext(kThis, 16), {space_}), Not(HasSubstr("instance")));
  // Both forms are explained, each with its version.
  const std::string text = ExplainOp("domctl.gethvmcontext");
  EXPECT_THAT(text, HasSubstr("interface version 0x15"));
  EXPECT_THAT(text, HasSubstr("interface version 0x16"));
  EXPECT_THAT(ExplainOp("domctl.pausedomain"), Not(HasSubstr("interface version")));
  EXPECT_THAT(ExplainOp("domctl.settimeoffset"), HasSubstr("interface version 0x15"));
  EXPECT_THAT(ExplainOp("domctl.new_op"), HasSubstr("interface version 0x16"));
}

TEST_F(Versions, AreExportedOnceEach) {
  const std::string json = ExportJson();
  auto count = [&](std::string_view text) {
    unsigned found = 0;
    for (std::size_t at = json.find(text); at != json.npos; at = json.find(text, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("\"name\": \"gethvmcontext\""), 2u);
  EXPECT_EQ(count("\"name\": \"pausedomain\""), 1u);
  EXPECT_EQ(count("\"xen_next::xen_domctl_hvmcontext\": {"), 1u);
  EXPECT_EQ(count("xen_next::xen_domctl_getdomaininfo"), 0u);
}

}  // namespace
}  // namespace xencomm::schema
