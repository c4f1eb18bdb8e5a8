// A call as a kernel in lockdown passes it on: what named the op when it was audited still does
// when the hypervisor reads it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/audited_call.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "xencomm/own_space.h"

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
    return AuditedCall(call, caller_, {region, registered_, allowed, arguments_only_}, scratch_);
  }

  alignas(kPage) std::byte memory_[kPages * kPage] = {};
  std::uint64_t next_ = kPage;
  OwnSpace space_;
  Caller caller_ = {space_};
  AuditScratch scratch_ = {{Address(memory_) + (kPages - 1) * kPage},
                           {memory_ + (kPages - 1) * kPage, kPage}};
  // Two pages: another vcpu's scratch, and this one's.
  Range arguments_only_ = {{Address(memory_) + (kPages - 2) * kPage}, 2 * kPage};
  bool registered_ = true;
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

TEST_F(AuditedCallTest, SaysWhereItCouldNotReadOrWrite) {
  // Memory that is there for one kind of access only.
  class HalfSpace final : public Space {
   public:
    explicit HalfSpace(Access access) : access_(access) {}
    Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                    Access access, Cursor* cursor) override {
      if (access != access_) return Fault::kNotPresent;
      return OwnSpace().Map(pointer, offset, length, access, cursor);
    }

   private:
    Access access_;
  };
  auto* infos = New<xen_domctl_getdomaininfo_t>(2);
  const Call call = MakeCall(__HYPERVISOR_sysctl, Address(NewList(infos, 2)));
  const RegionLayout region = *RegionLayout::Make({Address(memory_)}, kPages * kPage, 12);
  const AuditPolicy policy = {region, true, kAllowed, arguments_only_};

  HalfSpace written(Access::kWrite);
  const Caller blind = {written};
  const AuditedCall unread(call, blind, policy, scratch_);
  EXPECT_EQ(unread.finding().problem, Problem::kUnreadable);
  EXPECT_EQ(unread.finding().address.value, call.registers[0]);
  EXPECT_EQ(unread.finding().fault.fault, Fault::kNotPresent);

  HalfSpace read(Access::kRead);
  const Caller mute = {read};
  AuditedCall unwritten(call, mute, policy, scratch_);
  EXPECT_TRUE(unwritten.ok());
  EXPECT_EQ(unwritten.CopyBack().fault.fault, Fault::kNotPresent);
}

TEST_F(AuditedCallTest, RefusesAnOpThatIsNotNamed) {
  auto* op = New<xen_domctl>();
  op->cmd = XEN_DOMCTL_destroydomain;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  const AuditedCall audited = Audited(MakeCall(__HYPERVISOR_domctl, Address(op)));
  EXPECT_EQ(audited.finding().problem, Problem::kNotAllowed);
  EXPECT_STREQ(schema::WordsOf(*audited.finding().op).name, "destroydomain");
}

TEST_F(AuditedCallTest, RefusesABufferInTheScratchOfNoOneAndInTheTable) {
  for (const std::uint64_t page : {std::uint64_t{0}, kPages}) {
    xen_sysctl* op = NewList(memory_ + page * kPage, 1);
    const AuditedCall audited = Audited(MakeCall(__HYPERVISOR_sysctl, Address(op)));
    EXPECT_EQ(audited.finding().problem, Problem::kOutside);
    EXPECT_STREQ(schema::WordsOf(*audited.finding().part).path, "buffer");
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

TEST_F(AuditedCallTest, RefusesEveryPointerToTheKernelsCopiesButItsOwn) {
  const std::uint64_t first = arguments_only_.start.value;
  const std::uint64_t info = sizeof(xen_domctl_getdomaininfo_t);
  for (const std::uint64_t at :
       {first, first - info + 1, first + kPage, first + 2 * kPage - info}) {
    xen_sysctl* op = NewList(reinterpret_cast<void*>(at), 1);
    const Call list = MakeCall(__HYPERVISOR_sysctl, Address(op));
    EXPECT_EQ(Audited(list).finding().problem, Problem::kArgumentsOnly);
    EXPECT_STREQ(schema::WordsOf(*Audited(list).finding().part).path, "buffer");
    // A register that the program fills: of an op that a register names, and of one that is copied.
    const Call query =
        MakeCall(__HYPERVISOR_memory_op, XENMEM_current_reservation, at & ~std::uint64_t{1});
    if (at != first - info + 1) {
      EXPECT_EQ(Audited(query).finding().problem, Problem::kArgumentsOnly);
    }
    const Call copied = MakeCall(__HYPERVISOR_sysctl, at);
    EXPECT_EQ(Audited(copied).finding().problem,
              at + sizeof(xen_sysctl) > first ? Problem::kArgumentsOnly : Problem::kNone);
  }
  xen_sysctl* op = NewList(reinterpret_cast<void*>(first - info), 1);
  EXPECT_TRUE(Audited(MakeCall(__HYPERVISOR_sysctl, Address(op))).ok());
  // The copy's own address, without a copy there.
  const Call query =
      MakeCall(__HYPERVISOR_memory_op, XENMEM_current_reservation, scratch_.address.value);
  EXPECT_EQ(Audited(query).finding().problem, Problem::kArgumentsOnly);
}

TEST_F(AuditedCallTest, TakesNothingElseOfTheSameSizeForItsCopy) {
  // A pointer in a structure, to as many bytes as the structure has.
  auto* op = New<xen_sysctl>();
  op->cmd = XEN_SYSCTL_readconsole;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  op->u.readconsole.count = sizeof(*op);
  std::memcpy(&op->u.readconsole.buffer, &scratch_.address, sizeof(scratch_.address));
  const Call read = MakeCall(__HYPERVISOR_sysctl, Address(op));
  EXPECT_EQ(Audited(read, AllowedOps::All()).finding().problem, Problem::kArgumentsOnly);
  // A register of an entry, to as many bytes as the list has.
  static_assert(sizeof(xen_changeset_info_t) == sizeof(multicall_entry));
  auto* entry = New<multicall_entry>();
  *entry = {__HYPERVISOR_xen_version, 0, {XENVER_changeset, scratch_.address.value}};
  const Call list = MakeCall(__HYPERVISOR_multicall, Address(entry), 1);
  EXPECT_EQ(Audited(list, AllowedOps::All()).finding().problem, Problem::kArgumentsOnly);
}

TEST_F(AuditedCallTest, MakesNoCopyWhereTheHypervisorCouldBeToldToWrite) {
  const Call list = MakeCall(__HYPERVISOR_sysctl, Address(NewList(New<std::byte>(1024), 1)));
  ASSERT_TRUE(Audited(list).ok());
  const Range guarded = arguments_only_;
  for (const Range range :
       {Range{}, Range{guarded.start, kPage}, Range{guarded.start, 2 * kPage - 1},
        Range{guarded.start + (kPage + 1), kPage}}) {
    arguments_only_ = range;
    EXPECT_EQ(Audited(list).finding().problem, Problem::kUnguarded);
  }
  // A stateless region has no such granules.
  arguments_only_ = guarded;
  registered_ = false;
  EXPECT_EQ(Audited(list).finding().problem, Problem::kUnguarded);
  auto* domain = New<xen_memory_domain>();
  EXPECT_TRUE(
      Audited(MakeCall(__HYPERVISOR_memory_op, XENMEM_current_reservation, Address(domain))).ok());
}

// The program's own memory as it changes between one read of it and the next.
class ChangingSpace final : public Space {
 public:
  ChangingSpace(void* at, std::uint32_t value) : at_(at), value_(value) {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    const Mapping run = own_.Map(pointer, offset, length, access, cursor);
    if (access == Access::kWrite) return run;
    // What is read is handed out as a copy, so that it changes at once.
    std::vector<std::byte>& copy = copies_.emplace_back(run.start(), run.start() + run.length());
    std::memcpy(at_, &value_, sizeof(value_));
    return {copy.data(), copy.size()};
  }

 private:
  OwnSpace own_;
  void* at_;
  std::uint32_t value_;
  std::vector<std::vector<std::byte>> copies_;
};

TEST_F(AuditedCallTest, DecidesWhatToCopyBackByTheOpThatItPassedOn) {
  auto* infos = New<xen_domctl_getdomaininfo_t>(2);
  xen_sysctl* op = NewList(infos, 2);
  // Whatever is read of it after the first time says another op, with other outputs.
  ChangingSpace changing(&op->cmd, XEN_SYSCTL_readconsole);
  const Caller caller = {changing};
  const RegionLayout region = *RegionLayout::Make({Address(memory_)}, kPages * kPage, 12);
  AuditedCall audited(MakeCall(__HYPERVISOR_sysctl, Address(op)), caller,
                      {region, true, kAllowed, arguments_only_}, scratch_);
  ASSERT_TRUE(audited.ok());
  auto* copy = reinterpret_cast<xen_sysctl*>(scratch_.memory.data());
  EXPECT_EQ(copy->cmd, unsigned{XEN_SYSCTL_getdomaininfolist});
  copy->u.getdomaininfolist.num_domains = 2;
  EXPECT_TRUE(audited.CopyBack().ok());
  EXPECT_EQ(op->u.getdomaininfolist.num_domains, 2u);
  EXPECT_EQ(op->u.getdomaininfolist.max_domains, 2u);
}

// Arrays stay in the program's memory. Of what is copied no op tells how much of it was filled: it
// goes back whole.
TEST_F(AuditedCallTest, CopiesNothingThatACallFillsInPart) {
  for (const Hypercall& hypercall : Hypercalls()) {
    if (hypercall.op_place != OpPlace::kArgument && !hypercall.holds_calls) continue;
    for (const Op& op : hypercall.ops()) {
      EXPECT_EQ(BufferOf(op.registers())->filled().kind, CountKind::kNone)
          << schema::WordsOf(op).name;
    }
  }
}

TEST_F(AuditedCallTest, CopiesNothingBackOfACallThatItRefused) {
  auto* op = New<xen_domctl>();
  op->cmd = XEN_DOMCTL_destroydomain;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  AuditedCall audited = Audited(MakeCall(__HYPERVISOR_domctl, Address(op)));
  ASSERT_FALSE(audited.ok());
  EXPECT_TRUE(audited.CopyBack().ok());
}

TEST_F(AuditedCallTest, LetsNoCallThroughThatIsForKernels) {
  EXPECT_FALSE(Audited(MakeCall(kXencommOp, 0), AllowedOps::All()).ok());
  constexpr AllowedOp kNamed[] = {{kXencommOp, 0}, {__HYPERVISOR_multicall, 0}};
  EXPECT_FALSE(Audited(MakeCall(kXencommOp, 0), kNamed).ok());
  auto* entries = New<multicall_entry>(1);
  entries[0] = {kXencommOp, 0, {0, 0}};
  const AuditedCall audited =
      Audited(MakeCall(__HYPERVISOR_multicall, Address(entries), 1), kNamed);
  EXPECT_FALSE(audited.ok());
  EXPECT_EQ(audited.finding().entry, 0u);
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
