// A call as a kernel in lockdown passes it on: what named the op when it was audited still does
// when the hypervisor reads it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/audited_call.h"
#include "hcall/schema/own_space.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 8;

constexpr AllowedOp kAllowed[] = {
    {__HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist},
    {__HYPERVISOR_memory_op, XENMEM_current_reservation},
    {__HYPERVISOR_domctl, XEN_DOMCTL_pausedomain},
    {__HYPERVISOR_multicall, 0},
};

// A region at its own address: the table's page, payload, and the kernel's scratch at the end.
class AuditedCallTest : public ::testing::Test {
 protected:
  template <class T>
  T* New(std::uint64_t count = 1) {
    next_ = AlignUp(next_, 64);
    T* at = reinterpret_cast<T*>(memory_ + next_);
    next_ += count * sizeof(T);
    return at;
  }

  xen_sysctl* NewList(void* buffer, std::uint32_t count) {
    auto* op = New<xen_sysctl>();
    op->cmd = XEN_SYSCTL_getdomaininfolist;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    op->u.getdomaininfolist.max_domains = count;
    const std::uint64_t address = Address(buffer);
    std::memcpy(&op->u.getdomaininfolist.buffer, &address, sizeof(address));
    return op;
  }

  static std::uint64_t Address(const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
  }
  static Call MakeCall(std::uint64_t hypercall, std::uint64_t a1, std::uint64_t a2 = 0) {
    return {.hypercall = hypercall, .registers = {a1, a2}};
  }

  AuditedCall Audited(const Call& call, AllowedOps allowed = kAllowed) {
    const RegionLayout region = *RegionLayout::Make({Address(memory_)}, kPages * kPage, 12);
    return AuditedCall(call, caller_, {region, true, allowed}, scratch_);
  }

  alignas(kPage) std::byte memory_[kPages * kPage] = {};
  std::uint64_t next_ = kPage;
  OwnSpace space_;
  Caller caller_ = {space_};
  AuditScratch scratch_ = {{Address(memory_) + (kPages - 1) * kPage},
                           {memory_ + (kPages - 1) * kPage, kPage}};
};

TEST_F(AuditedCallTest, IsMadeWithACopyThatTheProgramCannotChange) {
  auto* infos = New<xen_domctl_getdomaininfo_t>(2);
  xen_sysctl* op = NewList(infos, 2);
  const Call call = MakeCall(__HYPERVISOR_sysctl, Address(op));
  AuditedCall audited = Audited(call);
  ASSERT_TRUE(audited.ok());
  EXPECT_EQ(audited.call().registers[0], scratch_.address.value);

  op->cmd = XEN_SYSCTL_readconsole;  // too late
  xen_sysctl passed_on;
  std::memcpy(&passed_on, scratch_.memory.data(), sizeof(passed_on));
  EXPECT_EQ(passed_on.cmd, unsigned{XEN_SYSCTL_getdomaininfolist});
  EXPECT_EQ(passed_on.u.getdomaininfolist.max_domains, 2u);
}

TEST_F(AuditedCallTest, GivesTheAnswerBackWithTheProgramsOwnHandles) {
  auto* infos = New<xen_domctl_getdomaininfo_t>(2);
  xen_sysctl* op = NewList(infos, 2);
  const Call call = MakeCall(__HYPERVISOR_sysctl, Address(op));
  AuditedCall audited = Audited(call);
  ASSERT_TRUE(audited.ok());
  // What the hypervisor would write, while the program changes what only it writes.
  reinterpret_cast<xen_sysctl*>(scratch_.memory.data())->u.getdomaininfolist.num_domains = 1;
  op->u.getdomaininfolist.max_domains = 5;
  EXPECT_TRUE(audited.CopyBack().ok());
  EXPECT_EQ(op->u.getdomaininfolist.num_domains, 1u);
  EXPECT_EQ(op->u.getdomaininfolist.max_domains, 5u);
  std::uint64_t handle;
  std::memcpy(&handle, &op->u.getdomaininfolist.buffer, sizeof(handle));
  EXPECT_EQ(handle, Address(infos));
}

TEST_F(AuditedCallTest, RefusesAnOpThatIsNotNamed) {
  auto* op = New<xen_domctl>();
  op->cmd = XEN_DOMCTL_destroydomain;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  const AuditedCall audited = Audited(MakeCall(__HYPERVISOR_domctl, Address(op)));
  EXPECT_EQ(audited.finding().problem, Problem::kNotAllowed);
  EXPECT_STREQ(audited.finding().op->name, "destroydomain");
}

TEST_F(AuditedCallTest, RefusesABufferInTheScratchOfNoOneAndInTheTable) {
  for (const std::uint64_t page : {std::uint64_t{0}, kPages}) {
    xen_sysctl* op = NewList(memory_ + page * kPage, 1);
    const AuditedCall audited = Audited(MakeCall(__HYPERVISOR_sysctl, Address(op)));
    EXPECT_EQ(audited.finding().problem, Problem::kOutside);
    EXPECT_STREQ(audited.finding().part->path, "buffer");
    EXPECT_EQ(audited.finding().address.value, Address(memory_) + page * kPage);
  }
}

// Its op is in a register, and all pointers go through the region: nothing has to be copied.
TEST_F(AuditedCallTest, LeavesAnArgumentWhereItIsWhenARegisterNamesTheOp) {
  auto* domain = New<xen_memory_domain>();
  const Call call = MakeCall(__HYPERVISOR_memory_op, XENMEM_current_reservation, Address(domain));
  AuditedCall audited = Audited(call);
  ASSERT_TRUE(audited.ok());
  EXPECT_EQ(audited.call().registers[1], Address(domain));
  EXPECT_TRUE(audited.CopyBack().ok());
}

TEST_F(AuditedCallTest, CopiesAListOfCallsAndLetsRegistersAloneNameTheirOps) {
  auto* domain = New<xen_memory_domain>();
  auto* pause = New<xen_domctl>();
  pause->cmd = XEN_DOMCTL_pausedomain;
  pause->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  auto* entries = New<multicall_entry>(2);
  entries[0] = {__HYPERVISOR_memory_op, 0, {XENMEM_current_reservation, Address(domain)}};
  entries[1] = entries[0];
  const Call call = MakeCall(__HYPERVISOR_multicall, Address(entries), 2);
  {
    AuditedCall audited = Audited(call);
    ASSERT_TRUE(audited.ok());
    EXPECT_EQ(audited.call().registers[0], scratch_.address.value);
    reinterpret_cast<multicall_entry*>(scratch_.memory.data())[1].result = 7;
    EXPECT_TRUE(audited.CopyBack().ok());
    EXPECT_EQ(entries[1].result, 7u);
  }
  // Named, and yet its op could be changed while the list is worked through.
  entries[1] = {__HYPERVISOR_domctl, 0, {Address(pause)}};
  const AuditedCall audited = Audited(call);
  EXPECT_EQ(audited.finding().problem, Problem::kNotAllowed);
  EXPECT_EQ(audited.finding().entry, 1u);
  EXPECT_EQ(audited.finding().hypercall->number, std::uint64_t{__HYPERVISOR_domctl});
}

TEST_F(AuditedCallTest, RefusesAListThatTheScratchHasNoRoomFor) {
  auto* entries = New<multicall_entry>(kPage / sizeof(multicall_entry) + 1);
  for (std::uint64_t i = 0; i <= kPage / sizeof(multicall_entry); ++i) {
    entries[i] = {
        __HYPERVISOR_memory_op, 0, {XENMEM_current_reservation, Address(memory_) + kPage}};
  }
  const std::uint64_t most = kPage / sizeof(multicall_entry);
  EXPECT_TRUE(Audited(MakeCall(__HYPERVISOR_multicall, Address(entries), most)).ok());
  const AuditedCall audited = Audited(MakeCall(__HYPERVISOR_multicall, Address(entries), most + 1));
  EXPECT_EQ(audited.finding().problem, Problem::kTooMany);
  EXPECT_TRUE(Audited(MakeCall(__HYPERVISOR_multicall, Address(entries), 0)).ok());
}

TEST_F(AuditedCallTest, RefusesWhatItCannotSettle) {
  EXPECT_EQ(Audited(MakeCall(__HYPERVISOR_dm_op, 1, 1), AllowedOps::All()).finding().problem,
            Problem::kNotAllowed);
  EXPECT_EQ(Audited(MakeCall(61, 0)).finding().problem, Problem::kUnknownHypercall);
  EXPECT_EQ(Audited(MakeCall(__HYPERVISOR_sysctl, 0)).finding().problem, Problem::kNull);
  auto* op = NewList(nullptr, 0);
  op->interface_version = 0x1234;
  const Call call = MakeCall(__HYPERVISOR_sysctl, Address(op));
  const AuditedCall audited = Audited(call);
  EXPECT_EQ(audited.finding().problem, Problem::kUnknownVersion);
  EXPECT_EQ(audited.finding().number, 0x1234u);
}

}  // namespace
}  // namespace xencomm::schema
