// Page-table types of PV domains, as a toolstack sees them: what can be pinned, what that makes of
// the pages that it leads to, how they come to be plain pages again, and that all of it adds up and
// stops and goes on.

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint16_t kPv = 3;
constexpr std::uint16_t kOther = 4;
constexpr std::uint16_t kHvm = 5;
constexpr std::uint64_t kPages = 64;

constexpr std::uint64_t kP = 1, kRw = 2, kUs = 4, kPwt = 8, kPcd = 16, kA = 32, kD = 64, kPs = 128,
                        kG = 256, kKernel = std::uint64_t{1} << 52, kNx = std::uint64_t{1} << 63;
constexpr std::uint64_t kTable = kP | kRw | kUs | kA | kD;

constexpr std::uint64_t kL1 = XEN_DOMCTL_PFINFO_L1TAB, kL2 = XEN_DOMCTL_PFINFO_L2TAB,
                        kL3 = XEN_DOMCTL_PFINFO_L3TAB, kL4 = XEN_DOMCTL_PFINFO_L4TAB,
                        kPinned = XEN_DOMCTL_PFINFO_LPINTAB, kNone = XEN_DOMCTL_PFINFO_NOTAB;

class PageTypesTest : public testing::Test {
 protected:
  explicit PageTypesTest(const TestMachineOptions& options = {.pages = 64}) : machine(options) {}

  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    domain0_overhead = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
    frames = Build(kPv, 0);
    others = Build(kOther, 0);
    hvm_frames = Build(kHvm, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap);
    // A tree: 0 is the root; 1, 2, 3 the tables below; 4 … 7 are mapped, 7 only for reading.
    Set(0, 0, Entry(1, kTable));
    Set(1, 0, Entry(2, kTable));
    Set(2, 0, Entry(3, kTable));
    for (unsigned i = 4; i < 7; ++i) Set(3, i, Entry(i, kP | kRw | kA));
    Set(3, 7, Entry(7, kP | kA));
    Set(3, 0, Entry(0, kP | kA));
  }
  void TearDown() override {
    machine.ExpectBooksAddUp();
    for (const std::uint16_t id : {kPv, kOther, kHvm}) {
      EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, id), 0);
    }
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.domains, 1u);
    EXPECT_EQ(now.held_frames, 0u);
    const std::uint64_t kept =
        Books::StatisticsOf(machine.hypervisor, 0).overhead_pages - domain0_overhead;
    EXPECT_EQ(now.free_pages + kept, free_before);
  }

  std::vector<xen_pfn_t> Build(std::uint16_t id, std::uint32_t flags) {
    EXPECT_EQ(machine.CreateDomain(id, 1000, flags), id);
    std::vector<xen_pfn_t> pages(kPages);
    for (std::uint64_t i = 0; i < kPages; ++i) pages[i] = i;
    xen_memory_reservation request = TestMachine::Reservation(id, pages.data(), kPages);
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request), kPages);
    return pages;
  }

  std::uint64_t Entry(unsigned page, std::uint64_t flags) const {
    return frames[page] << 12 | flags;
  }
  std::uint64_t* Words(unsigned page) {
    return reinterpret_cast<std::uint64_t*>(machine.BytesOf(frames[page]));
  }
  void Set(unsigned table, unsigned index, std::uint64_t entry) { Words(table)[index] = entry; }

  static mmuext_op Op(unsigned cmd, std::uint64_t mfn) {
    mmuext_op op = {};
    op.cmd = cmd;
    op.arg1.mfn = mfn;
    return op;
  }
  std::int64_t Ext(std::span<mmuext_op> ops, std::uint16_t domain = kPv,
                   std::uint32_t* done = nullptr) {
    return machine.Call(__HYPERVISOR_mmuext_op, ops.data(), ops.size(), done, domain);
  }
  std::int64_t Ext(unsigned cmd, std::uint64_t mfn, std::uint16_t domain = kPv) {
    mmuext_op op = Op(cmd, mfn);
    return Ext(std::span(&op, 1), domain);
  }
  std::int64_t Pin(unsigned page = 0, unsigned level = 4) {
    return Ext(MMUEXT_PIN_L1_TABLE + level - 1, frames[page]);
  }
  std::int64_t Unpin(unsigned page = 0) { return Ext(MMUEXT_UNPIN_TABLE, frames[page]); }

  // The types of the first pages.
  std::vector<std::uint64_t> Types(unsigned count = 8) {
    std::vector<std::uint64_t> types(frames.begin(), frames.begin() + count);
    xen_domctl_t op = {};
    op.u.getpageframeinfo3.num = count;
    op.u.getpageframeinfo3.array.p = types.data();
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getpageframeinfo3, kPv, op), 0);
    return types;
  }
  std::vector<std::uint64_t> NoTypes() { return std::vector<std::uint64_t>(8, kNone); }
  std::vector<std::uint64_t> Tree(std::uint64_t root = kL4 | kPinned) {
    return {root, kL3, kL2, kL1, kNone, kNone, kNone, kNone};
  }

  std::int64_t Decrease(unsigned page) {
    xen_memory_reservation request = TestMachine::Reservation(kPv, &frames[page], 1);
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request);
  }
  std::int64_t ExchangeOne(unsigned page) {
    xen_pfn_t out = 0;
    xen_memory_exchange request = {};
    request.in = TestMachine::Reservation(kPv, &frames[page], 1);
    request.out = TestMachine::Reservation(kPv, &out, 1);
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_exchange, &request);
  }
  std::int64_t Pages() {
    xen_memory_domain request = {.domid = kPv};
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_current_reservation, &request);
  }
  std::uint64_t Overhead() { return Books::StatisticsOf(machine.hypervisor, kPv).overhead_pages; }

  TestMachine machine;
  std::uint64_t free_before = 0;
  std::uint64_t domain0_overhead = 0;
  std::vector<xen_pfn_t> frames, others, hvm_frames;
};

TEST_F(PageTypesTest, APinnedRootMakesTablesOfWhatItLeadsTo) {
  EXPECT_EQ(Types(), NoTypes());
  ASSERT_EQ(Pin(), 0);
  EXPECT_EQ(Types(), Tree());
  machine.ExpectBooksAddUp();
}

TEST_F(PageTypesTest, UnpinningMakesThemPlainPagesAgain) {
  const std::uint64_t before = Overhead();
  ASSERT_EQ(Pin(), 0);
  EXPECT_EQ(Overhead(), before + 4);
  ASSERT_EQ(Unpin(), 0);
  EXPECT_EQ(Types(), NoTypes());
  EXPECT_EQ(Overhead(), before);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
  // And they can be another kind of table then.
  std::memset(Words(0), 0, kPageSize);
  EXPECT_EQ(Pin(0, 1), 0);
  EXPECT_EQ(Types()[0], kL1 | kPinned);
}

TEST_F(PageTypesTest, EachLevelCanBePinnedOnItsOwn) {
  EXPECT_EQ(Pin(3, 1), 0);
  EXPECT_EQ(Pin(2, 2), 0);
  EXPECT_EQ(Pin(1, 3), 0);
  EXPECT_EQ(Pin(0, 4), 0);
  EXPECT_EQ(Types(), (std::vector<std::uint64_t>{kL4 | kPinned, kL3 | kPinned, kL2 | kPinned,
                                                 kL1 | kPinned, kNone, kNone, kNone, kNone}));
  // What only its pin made one stays one for as long as something else does.
  EXPECT_EQ(Unpin(0), 0);
  EXPECT_EQ(Types()[0], kNone);
  EXPECT_EQ(Types()[1], kL3 | kPinned);
  EXPECT_EQ(Unpin(3), 0);
  EXPECT_EQ(Types()[3], kL1);
  EXPECT_EQ(Unpin(1), 0);
  EXPECT_EQ(Unpin(2), 0);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(PageTypesTest, APinIsOneAndIsThere) {
  EXPECT_EQ(Unpin(), -kEINVAL);
  ASSERT_EQ(Pin(), 0);
  EXPECT_EQ(Pin(), -kEINVAL);
  EXPECT_EQ(Types(), Tree());
  EXPECT_EQ(Unpin(1), -kEINVAL);  // a table, but for the root alone
  EXPECT_EQ(Unpin(), 0);
  EXPECT_EQ(Unpin(), -kEINVAL);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(PageTypesTest, APageHasOneTypeAtATime) {
  ASSERT_EQ(Pin(), 0);
  for (unsigned level = 1; level <= 3; ++level) EXPECT_EQ(Pin(0, level), -kEINVAL) << level;
  EXPECT_EQ(Pin(3, 2), -kEINVAL);
  EXPECT_EQ(Pin(4, 1), -kEINVAL);  // mapped for writing
  EXPECT_EQ(Pin(7, 1), 0);         // only for reading
  EXPECT_EQ(Types()[7], kL1 | kPinned);
}

TEST_F(PageTypesTest, NoTableIsMappedForWriting) {
  for (unsigned table = 0; table < 4; ++table) {
    Set(3, 9, Entry(table, kP | kRw));
    // Of the one that maps itself Xen finds out in the same way: it is a table by then.
    EXPECT_EQ(Pin(), -kEBUSY) << table;
    EXPECT_EQ(Types(), NoTypes());
    machine.ExpectBooksAddUp();
    Set(3, 9, Entry(table, kP));
    EXPECT_EQ(Pin(), 0) << table;
    EXPECT_EQ(Unpin(), 0);
  }
  // The other way round: first mapped, then to be a table.
  Set(2, 1, Entry(8, kTable));
  Set(3, 9, Entry(8, kP | kRw));
  EXPECT_EQ(Pin(), -kEINVAL);
  EXPECT_EQ(Types(), NoTypes());
}

struct BadEntry {
  const char* why;
  unsigned table;
  std::uint64_t flags;  // of an entry to page 8
  std::int64_t error;
};

TEST_F(PageTypesTest, EntriesHaveTheFlagsThatAGuestMayGive) {
  const BadEntry entries[] = {
      {"write-through", 3, kP | kPwt, -kEINVAL},
      {"uncached", 3, kP | kPcd, -kEINVAL},
      {"page attributes", 3, kP | kPs, -kEINVAL},
      {"global", 3, kP | kG, 0},
      {"no execution, software's bits", 3, kP | kNx | 0xe00 | std::uint64_t{0x7ff} << 52, 0},
      {"not there, whatever else it says", 3, ~kP, 0},
      {"2 MiB", 2, kP | kPs, -kEINVAL},
      {"global table", 2, kP | kG, -kEINVAL},
      {"1 GiB", 1, kP | kPs, -kEINVAL},
      {"global directory", 1, kP | kG, -kEINVAL},
      {"uncached directory", 1, kP | kPcd, -kEINVAL},
      {"large root entry", 0, kP | kPs, -kEINVAL},
      {"global root entry", 0, kP | kG, -kEINVAL},
      {"write-through root entry", 0, kP | kPwt, -kEINVAL},
  };
  for (const BadEntry& row : entries) {
    Set(row.table, 511, Entry(8, row.flags));
    EXPECT_EQ(Pin(), row.error) << row.why;
    EXPECT_EQ(Types(), row.error == 0 ? Tree() : NoTypes()) << row.why;
    machine.ExpectBooksAddUp();
    if (row.error == 0) {
      EXPECT_EQ(Unpin(), 0) << row.why;
    }
    Set(row.table, 511, 0);
  }
}

TEST_F(PageTypesTest, EntriesLeadToPagesOfTheDomain) {
  struct Row {
    const char* why;
    std::uint64_t frame;
    std::int64_t mapped,
        table;  // the error of an entry that maps it, and of one that it is a table for
  };
  const std::uint64_t past = (std::uint64_t{1} << 30 >> 12) + (std::uint64_t{64} << 20 >> 12);
  const std::vector<Row> rows = {
      {"another domain's", others[0], -kEBUSY, -kEINVAL},
      {"a page at the front of the pool", past - (64 << 8), -kEBUSY, -kEINVAL},
      {"past the memory", past, -kEPERM, -kEINVAL},
      {"far away", std::uint64_t{1} << 39, -kEPERM, -kEINVAL},
      {"no frame", (std::uint64_t{1} << 40) - 1, -kEINVAL, -kEINVAL},
  };
  for (const Row& row : rows) {
    Set(3, 511, row.frame << 12 | kP);
    EXPECT_EQ(Pin(), row.mapped) << row.why;
    Set(3, 511, 0);
    for (unsigned table = 0; table < 3; ++table) {
      Set(table, 511, row.frame << 12 | kTable);
      EXPECT_EQ(Pin(), row.table) << row.why;
      Set(table, 511, 0);
    }
    EXPECT_EQ(Types(), NoTypes()) << row.why;
    machine.ExpectBooksAddUp();
  }
  EXPECT_EQ(Pin(), 0);
}

TEST_F(PageTypesTest, LevelsFollowEachOther) {
  Set(0, 1, Entry(2, kTable));  // first below the root, then below that
  EXPECT_EQ(Pin(), -kEINVAL);
  EXPECT_EQ(Types(), NoTypes());
  Set(0, 1, 0);
  Set(1, 1, Entry(1, kTable));
  EXPECT_EQ(Pin(), -kEINVAL);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(PageTypesTest, ATableCanLeadToItselfForReading) {
  Set(0, 5, Entry(0, kP | kUs | kA));
  ASSERT_EQ(Pin(), 0);
  EXPECT_EQ(Types(), Tree());
  EXPECT_EQ(Unpin(), 0);
  EXPECT_EQ(Types(), NoTypes());
  Set(0, 5, Entry(0, kTable));
  EXPECT_EQ(Pin(), -kEINVAL);
}

TEST_F(PageTypesTest, WhatMapsTheHypervisorIsNotTheGuests) {
  for (unsigned i = 256; i <= 271; ++i) Set(0, i, ~std::uint64_t{0});
  Set(0, 255, Entry(1, kTable));
  Set(0, 272, Entry(1, kTable));
  ASSERT_EQ(Pin(), 0);
  for (unsigned i = 256; i <= 271; ++i) EXPECT_EQ(Words(0)[i], 0u) << i;
  EXPECT_NE(Words(0)[255], 0u);
  EXPECT_NE(Words(0)[272], 0u);
  Set(0, 255, ~std::uint64_t{0});
  EXPECT_EQ(Unpin(), 0);
  EXPECT_EQ(Pin(), -kEINVAL);  // it is, there
}

TEST_F(PageTypesTest, ValidatedEntriesAreUsersEntries) {
  Set(3, 20, Entry(8, kP | kUs));
  Set(3, 21, Entry(8, kP | kUs | kKernel));
  Set(0, 1, Entry(1, kP));
  ASSERT_EQ(Pin(), 0);
  EXPECT_EQ(Words(3)[4], Entry(4, kP | kRw | kA | kUs | kKernel));
  EXPECT_EQ(Words(3)[20], Entry(8, kP | kUs | kG));
  EXPECT_EQ(Words(3)[21], Entry(8, kP | kUs | kKernel));
  EXPECT_EQ(Words(3)[22], 0u);
  EXPECT_EQ(Words(0)[1], Entry(1, kP | kUs | kA));
  EXPECT_EQ(Words(1)[0], Entry(2, kTable));
}

TEST_F(PageTypesTest, ATableIsSharedByAllThatLeadToIt) {
  Set(8, 0, Entry(1, kTable));
  ASSERT_EQ(Pin(0), 0);
  ASSERT_EQ(Pin(8), 0);
  EXPECT_EQ(Overhead(), Overhead());
  ASSERT_EQ(Unpin(0), 0);
  EXPECT_EQ(Types()[1], kL3);
  EXPECT_EQ(Types()[0], kNone);
  ASSERT_EQ(Unpin(8), 0);
  EXPECT_EQ(Types(9), std::vector<std::uint64_t>(9, kNone));
}

TEST_F(PageTypesTest, WhatWasTakenIsGivenBackWhateverTheTablesSayByThen) {
  ASSERT_EQ(Pin(), 0);
  // Behind everybody's back.
  for (unsigned table = 0; table < 4; ++table) {
    for (unsigned i = 0; i < 512; ++i) Set(table, i, others[i % kPages] << 12 | kTable);
  }
  EXPECT_EQ(Types(), Tree());
  machine.ExpectBooksAddUp();
  EXPECT_EQ(Unpin(), 0);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(PageTypesTest, AMappedPageStaysUntilItsTableGoes) {
  ASSERT_EQ(Pin(), 0);
  ASSERT_EQ(Decrease(4), 1);
  ASSERT_EQ(Decrease(7), 1);
  ASSERT_EQ(Decrease(8), 1);  // nothing maps it
  EXPECT_EQ(Pages(), kPages - 1);
  machine.ExpectBooksAddUp();
  EXPECT_EQ(ExchangeOne(5), -kEINVAL);
  EXPECT_EQ(ExchangeOne(3), -kEINVAL);
  EXPECT_EQ(ExchangeOne(0), -kEINVAL);
  EXPECT_EQ(ExchangeOne(9), 0);
  ASSERT_EQ(Unpin(), 0);
  EXPECT_EQ(Pages(), kPages - 3);
  EXPECT_EQ(ExchangeOne(5), 0);
}

TEST_F(PageTypesTest, APinnedTableThatWasGivenUpIsUnpinned) {
  ASSERT_EQ(Pin(), 0);
  ASSERT_EQ(Decrease(0), 1);
  ASSERT_EQ(Decrease(2), 1);
  EXPECT_EQ(Pages(), kPages);
  EXPECT_EQ(Types()[0], XEN_DOMCTL_PFINFO_XTAB);
  machine.ExpectBooksAddUp();
  ASSERT_EQ(Unpin(), 0);
  EXPECT_EQ(Pages(), kPages - 2);
  EXPECT_EQ(Unpin(), -kEINVAL);
}

TEST_F(PageTypesTest, TheDomainsEndTakesAllApart) {
  ASSERT_EQ(Pin(0), 0);
  ASSERT_EQ(Pin(3, 1), 0);
  ASSERT_EQ(Decrease(0), 1);
  ASSERT_EQ(Decrease(3), 1);
  ASSERT_EQ(Decrease(5), 1);
  // And its end is what TearDown looks at.
}

TEST_F(PageTypesTest, TheHypervisorsOwnPagesAreMappedAndNoTables) {
  xen_domctl_t info = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kPv, info), 0);
  const std::uint64_t shared = info.u.getdomaininfo.shared_info_frame;
  Set(3, 30, shared << 12 | kP | kRw);
  ASSERT_EQ(Pin(), 0);
  machine.ExpectBooksAddUp();
  EXPECT_EQ(Ext(MMUEXT_PIN_L1_TABLE, shared), -kEINVAL);
  ASSERT_EQ(Unpin(), 0);
  EXPECT_EQ(Ext(MMUEXT_PIN_L1_TABLE, shared), -kEINVAL);
  Set(2, 1, shared << 12 | kTable);
  EXPECT_EQ(Pin(), -kEINVAL);
  Set(2, 1, 0);
  ASSERT_EQ(Pin(), 0);
}

TEST_F(PageTypesTest, AskedOfTheRightDomain) {
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, others[0]), -kEINVAL);
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, ~std::uint64_t{0}), -kEINVAL);
  EXPECT_EQ(Ext(MMUEXT_UNPIN_TABLE, others[0]), -kEINVAL);
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, frames[0], 99), -kESRCH);
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, frames[0], 0), -kESRCH);
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, frames[0], kHvm), -kEINVAL);
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, machine.hypervisor.FrameOf(kHvm, 3), kHvm), -kEINVAL);
  EXPECT_EQ(Ext(MMUEXT_PIN_L4_TABLE, frames[0], DOMID_SELF), -kEINVAL);
  EXPECT_EQ(Ext(std::span<mmuext_op>(), 99), -kESRCH);
  EXPECT_EQ(Ext(std::span<mmuext_op>(), kPv), 0);
}

TEST_F(PageTypesTest, AListStopsAtTheFirstThatFails) {
  std::vector<mmuext_op> ops = {Op(MMUEXT_PIN_L1_TABLE, frames[3]),
                                Op(MMUEXT_PIN_L4_TABLE, frames[0]), Op(MMUEXT_TLB_FLUSH_ALL, 0),
                                Op(MMUEXT_UNPIN_TABLE, frames[0])};
  std::uint32_t done = 77;
  EXPECT_EQ(Ext(ops, kPv, &done), -kEOPNOTSUPP);
  EXPECT_EQ(done, 2u);
  EXPECT_EQ(Types(4), (std::vector<std::uint64_t>{kL4 | kPinned, kL3, kL2, kL1 | kPinned}));
  for (const unsigned cmd :
       {unsigned{MMUEXT_NEW_BASEPTR}, unsigned{MMUEXT_CLEAR_PAGE}, unsigned{MMUEXT_SET_LDT}, 99u}) {
    EXPECT_EQ(Ext(cmd, frames[8]), -kEOPNOTSUPP) << cmd;
  }
  ops = {Op(MMUEXT_UNPIN_TABLE, frames[0]), Op(MMUEXT_UNPIN_TABLE, frames[3])};
  EXPECT_EQ(Ext(ops, kPv, &done), 0);
  EXPECT_EQ(done, 2u);
  EXPECT_EQ(machine.Call(__HYPERVISOR_mmuext_op, 8, 1, &done, kPv), -kEFAULT);
  EXPECT_EQ(done, 0u);
}

TEST_F(PageTypesTest, ACallThatGoesOnIsBelievedNoMoreThanItCan) {
  constexpr std::uint64_t kGoesOn = 0x80000000;
  mmuext_op op = Op(MMUEXT_PIN_L4_TABLE, frames[0]);
  EXPECT_EQ(machine.Call(__HYPERVISOR_mmuext_op, &op, std::uint64_t{2} << 32 | kGoesOn | 1, 0, kPv),
            -kEINVAL);
  EXPECT_EQ(machine.Call(__HYPERVISOR_mmuext_op, &op, std::uint64_t{1} << 32 | kGoesOn | 1, 0, kPv),
            0);
  EXPECT_EQ(Types(), NoTypes());
  EXPECT_EQ(machine.Call(__HYPERVISOR_mmuext_op, 0, kGoesOn, 0, 5u << 16 | kPv), -5);
  EXPECT_EQ(machine.Call(__HYPERVISOR_mmuext_op, 0, kGoesOn, 0, 5u << 16 | 99), -5);
}

// A vcpu's registers name its page tables.
class VcpusTablesTest : public PageTypesTest {
 protected:
  std::int64_t SetContext(std::uint64_t root, std::uint64_t user_root = 0) {
    std::memset(static_cast<void*>(&context), 0, sizeof(context));
    context.flags = VGCF_in_kernel;
    context.ctrlreg[3] = root << 12;
    context.ctrlreg[1] = user_root << 12;
    return Give();
  }
  std::int64_t Give() {
    xen_domctl_t op = {};
    op.u.vcpucontext.ctxt.p = &context;
    return machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op);
  }
  std::int64_t Reset() {
    xen_domctl_t op = {};
    return machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op);
  }

  vcpu_guest_context_t context;
};

TEST_F(VcpusTablesTest, AVcpusRootIsATableForAsLongAsItHasIt) {
  ASSERT_EQ(SetContext(frames[0]), 0);
  EXPECT_EQ(Types(), Tree(kL4));
  machine.ExpectBooksAddUp();
  EXPECT_EQ(Unpin(), -kEINVAL);
  EXPECT_EQ(Pin(), 0);
  EXPECT_EQ(Unpin(), 0);
  EXPECT_EQ(Types(), Tree(kL4));
  ASSERT_EQ(Reset(), 0);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(VcpusTablesTest, ItsProgramsHaveARootOfTheirOwn) {
  Set(8, 0, Entry(1, kTable));
  ASSERT_EQ(SetContext(frames[0], frames[8]), 0);
  EXPECT_EQ(Types(9)[8], kL4);
  machine.ExpectBooksAddUp();
  ASSERT_EQ(Reset(), 0);
  EXPECT_EQ(Types(9), std::vector<std::uint64_t>(9, kNone));
  // One root for both counts twice.
  ASSERT_EQ(SetContext(frames[0], frames[0]), 0);
  machine.ExpectBooksAddUp();
  ASSERT_EQ(Reset(), 0);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(VcpusTablesTest, WhatIsWrongWithThemIsWrongWithTheContext) {
  EXPECT_EQ(SetContext(others[0]), -kEINVAL);
  EXPECT_EQ(SetContext(frames[0], others[0]), -kEINVAL);
  EXPECT_EQ(Types(), NoTypes());
  Set(3, 100, Entry(3, kP | kRw));
  EXPECT_EQ(SetContext(frames[0]), -kEBUSY);
  EXPECT_EQ(SetContext(frames[8], frames[0]), -kEBUSY);
  EXPECT_EQ(Types(9), std::vector<std::uint64_t>(9, kNone));
  machine.ExpectBooksAddUp();
  Set(3, 100, 0);
  // Not in its kernel, and without programs.
  ASSERT_EQ(SetContext(frames[0]), 0);
  ASSERT_EQ(Reset(), 0);
  context.flags = 0;
  EXPECT_EQ(Give(), -kEINVAL);
  context.ctrlreg[1] = frames[0] << 12;
  EXPECT_EQ(Give(), 0);
}

TEST_F(VcpusTablesTest, TheyStayUntilItIsReset) {
  ASSERT_EQ(SetContext(frames[0]), 0);
  EXPECT_EQ(SetContext(frames[0]), 0);
  context.user_regs.rip = 0x1000;
  EXPECT_EQ(Give(), 0);
  EXPECT_EQ(SetContext(frames[8]), -kEOPNOTSUPP);
  EXPECT_EQ(SetContext(frames[0], frames[0]), -kEOPNOTSUPP);
  SetContext(frames[0]);
  context.ldt_ents = 1;
  EXPECT_EQ(Give(), -kEOPNOTSUPP);
  context.ldt_ents = 0;
  context.gdt_ents = 1;
  context.gdt_frames[0] = frames[9];
  EXPECT_EQ(Give(), -kEOPNOTSUPP);
  ASSERT_EQ(Reset(), 0);
  EXPECT_EQ(Give(), 0);
  context.gdt_frames[0] = frames[10];
  EXPECT_EQ(Give(), -kEOPNOTSUPP);
  // And the domain ends with them.
}

// A domain's tables, and what is asked of them, with little work a leg.
class PageTypesLegsTest : public PageTypesTest {
 protected:
  static constexpr unsigned kInterval = 64;

  PageTypesLegsTest() : PageTypesTest({.pages = 64, .preempt_interval = kInterval}) {}

  struct Legs {
    unsigned count = 0;
    std::int64_t answer = 0;
  };
  Legs Run(HypercallFrame frame) {
    Legs legs;
    do {
      ++legs.count;
      legs.answer = machine.hypervisor.Hypercall(*machine.vcpu, frame);
    } while (frame.continued);
    EXPECT_LE(Books::StatisticsOf(machine.hypervisor).longest_leg, kInterval);
    return legs;
  }
  Legs Run(std::vector<mmuext_op> ops, std::uint32_t* done = nullptr) {
    list = std::move(ops);
    return Run(machine.Frame(__HYPERVISOR_mmuext_op, list.data(), list.size(), done, kPv));
  }

  std::vector<mmuext_op> list;
};

TEST_F(PageTypesLegsTest, PinningAndUnpinningStopAndGoOn) {
  std::uint32_t done = 0;
  const Legs pinned = Run({Op(MMUEXT_PIN_L4_TABLE, frames[0])}, &done);
  EXPECT_EQ(pinned.answer, 0);
  EXPECT_EQ(done, 1u);
  EXPECT_GE(pinned.count, 4 * 512 / kInterval);
  EXPECT_EQ(Types(), Tree());
  const Legs unpinned = Run({Op(MMUEXT_UNPIN_TABLE, frames[0])}, &done);
  EXPECT_EQ(unpinned.answer, 0);
  EXPECT_EQ(done, 1u);
  EXPECT_GE(unpinned.count, 4 * 512 / kInterval);
  EXPECT_EQ(Types(), NoTypes());
}

TEST_F(PageTypesLegsTest, AMistakeIsAnsweredWhenAllIsUndone) {
  Set(3, 511, Entry(8, kP | kPcd));
  std::uint32_t done = 7;
  const Legs legs = Run({Op(MMUEXT_UNPIN_TABLE, 0), Op(MMUEXT_PIN_L4_TABLE, frames[0])}, &done);
  EXPECT_EQ(legs.answer, -kEINVAL);
  EXPECT_EQ(done, 0u);
  const Legs second = Run({Op(MMUEXT_PIN_L4_TABLE, frames[0])}, &done);
  EXPECT_EQ(second.answer, -kEINVAL);
  EXPECT_GE(second.count, 512 / kInterval);
  EXPECT_EQ(done, 0u);
  EXPECT_EQ(Types(), NoTypes());
  machine.ExpectBooksAddUp();
  // What else is wrong is another answer.
  Set(3, 511, others[0] << 12 | kP);
  EXPECT_EQ(Run({Op(MMUEXT_PIN_L4_TABLE, frames[0])}).answer, -kEBUSY);
  machine.ExpectBooksAddUp();
}

TEST_F(PageTypesLegsTest, AListGoesOnWhereItStopped) {
  std::uint32_t done = 0;
  const Legs legs = Run({Op(MMUEXT_PIN_L1_TABLE, frames[3]), Op(MMUEXT_PIN_L4_TABLE, frames[0]),
                         Op(MMUEXT_UNPIN_TABLE, frames[0]), Op(MMUEXT_UNPIN_TABLE, frames[3]),
                         Op(MMUEXT_PIN_L2_TABLE, frames[2])},
                        &done);
  EXPECT_EQ(legs.answer, 0);
  EXPECT_EQ(done, 5u);
  EXPECT_EQ(Types(4), (std::vector<std::uint64_t>{kNone, kNone, kL2 | kPinned, kL1}));
}

TEST_F(PageTypesLegsTest, AVcpusTablesAreTakenAndLeftInLegs) {
  Set(8, 0, Entry(1, kTable));
  vcpu_guest_context_t context;
  std::memset(static_cast<void*>(&context), 0, sizeof(context));
  context.ctrlreg[3] = frames[0] << 12;
  context.ctrlreg[1] = frames[8] << 12;
  xen_domctl_t op = {};
  op.cmd = XEN_DOMCTL_setvcpucontext;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op.domain = kPv;
  op.u.vcpucontext.ctxt.p = &context;
  const Legs set = Run(machine.Frame(__HYPERVISOR_domctl, &op));
  EXPECT_EQ(set.answer, 0);
  EXPECT_GE(set.count, 5 * 512 / kInterval);
  EXPECT_EQ(Types(), Tree(kL4));
  op.u.vcpucontext.ctxt.p = nullptr;
  const Legs reset = Run(machine.Frame(__HYPERVISOR_domctl, &op));
  EXPECT_EQ(reset.answer, 0);
  EXPECT_GE(reset.count, 5 * 512 / kInterval);
  EXPECT_EQ(Types(9), std::vector<std::uint64_t>(9, kNone));
  machine.ExpectBooksAddUp();
}

TEST_F(PageTypesLegsTest, WhatADomainsEndHasTakenApartIsNotGoneOnWith) {
  ASSERT_EQ(Run({Op(MMUEXT_PIN_L4_TABLE, frames[0])}).answer, 0);
  mmuext_op unpin = Op(MMUEXT_UNPIN_TABLE, frames[0]);
  HypercallFrame unpinning = machine.Frame(__HYPERVISOR_mmuext_op, &unpin, 1, 0, kPv);
  machine.hypervisor.Hypercall(*machine.vcpu, unpinning);
  ASSERT_TRUE(unpinning.continued);
  xen_domctl_t op = {};
  op.cmd = XEN_DOMCTL_destroydomain;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op.domain = kPv;
  HypercallFrame destroying = machine.Frame(__HYPERVISOR_domctl, &op);
  // Far enough for the first tables.
  for (unsigned i = 0; i < 2 * 512 / kInterval; ++i) {
    machine.hypervisor.Hypercall(*machine.vcpu, destroying);
    ASSERT_TRUE(destroying.continued);
  }
  EXPECT_EQ(Run(unpinning).answer, 0);
  EXPECT_EQ(Run({Op(MMUEXT_PIN_L4_TABLE, frames[0])}).answer, -kEINVAL);
  EXPECT_EQ(Run({Op(MMUEXT_UNPIN_TABLE, frames[0])}).answer, -kEINVAL);
  EXPECT_EQ(Run(destroying).answer, 0);
  machine.ExpectBooksAddUp();
  frames = Build(kPv, 0);
}

TEST_F(PageTypesLegsTest, TheDomainsEndGoesTableByTable) {
  ASSERT_EQ(Run({Op(MMUEXT_PIN_L4_TABLE, frames[0])}).answer, 0);
  xen_domctl_t op = {};
  op.cmd = XEN_DOMCTL_destroydomain;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op.domain = kPv;
  const Legs legs = Run(machine.Frame(__HYPERVISOR_domctl, &op));
  EXPECT_EQ(legs.answer, 0);
  EXPECT_GE(legs.count, 4 * 512 / kInterval);
  machine.ExpectBooksAddUp();
  frames = Build(kPv, 0);
}

TEST_F(PageTypesLegsTest, TheDomainEndsInTheMiddleOfEach) {
  list = {Op(MMUEXT_PIN_L4_TABLE, frames[0])};
  for (unsigned legs = 1; legs < 70; legs += 3) {
    HypercallFrame frame = machine.Frame(__HYPERVISOR_mmuext_op, list.data(), 1, 0, kPv);
    for (unsigned i = 0; i < legs && (i == 0 || frame.continued); ++i) {
      machine.hypervisor.Hypercall(*machine.vcpu, frame);
    }
    machine.ExpectBooksAddUp(false);
    if (legs % 2 == 0) {
      ASSERT_EQ(Decrease(2), 1);
    }
    xen_domctl_t op = {};
    op.cmd = XEN_DOMCTL_destroydomain;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = kPv;
    EXPECT_EQ(Run(machine.Frame(__HYPERVISOR_domctl, &op)).answer, 0);
    // Whoever comes back to it finds nothing.
    if (frame.continued) {
      EXPECT_EQ(Run(frame).answer, -kESRCH);
    }
    machine.ExpectBooksAddUp();
    frames = Build(kPv, 0);
    list = {Op(MMUEXT_PIN_L4_TABLE, frames[0])};
    Set(0, 0, Entry(1, kTable));
    Set(1, 0, Entry(2, kTable));
    Set(2, 0, Entry(3, kTable));
    Set(3, 4, Entry(4, kP | kRw));
    if (legs > 30) {
      ASSERT_EQ(Run(list).answer, 0);
      list = {Op(MMUEXT_UNPIN_TABLE, frames[0])};
    }
  }
}

TEST_F(PageTypesLegsTest, TwoThatPinTheSameTreeShareTheWork) {
  mmuext_op op = Op(MMUEXT_PIN_L4_TABLE, frames[0]);
  Set(8, 0, Entry(1, kTable));
  mmuext_op other = Op(MMUEXT_PIN_L4_TABLE, frames[8]);
  HypercallFrame first = machine.Frame(__HYPERVISOR_mmuext_op, &op, 1, 0, kPv);
  HypercallFrame second = machine.Frame(__HYPERVISOR_mmuext_op, &other, 1, 0, kPv);
  std::int64_t answers[2] = {};
  while (first.continued || second.continued || answers[0] == 0) {
    answers[0] = machine.hypervisor.Hypercall(*machine.vcpu, first);
    if (!first.continued) break;
    answers[1] = machine.hypervisor.Hypercall(*machine.vcpu, second);
    if (!second.continued) break;
  }
  if (first.continued) {
    EXPECT_EQ(Run(first).answer, 0);
  }
  if (second.continued) {
    EXPECT_EQ(Run(second).answer, 0);
  }
  EXPECT_EQ(Types(), Tree());
  machine.ExpectBooksAddUp();
  EXPECT_EQ(Run({Op(MMUEXT_UNPIN_TABLE, frames[0])}).answer, 0);
  EXPECT_EQ(Types()[1], kL3);
}

TEST_F(PageTypesLegsTest, ATableThatStoppedHalfWayIsNoTableYet) {
  mmuext_op op = Op(MMUEXT_PIN_L4_TABLE, frames[0]);
  HypercallFrame frame = machine.Frame(__HYPERVISOR_mmuext_op, &op, 1, 0, kPv);
  machine.hypervisor.Hypercall(*machine.vcpu, frame);
  ASSERT_TRUE(frame.continued);
  EXPECT_EQ(Types(), NoTypes());
  // But it is going to be one.
  EXPECT_EQ(Run({Op(MMUEXT_PIN_L2_TABLE, frames[0])}).answer, -kEINVAL);
  EXPECT_EQ(Run({Op(MMUEXT_UNPIN_TABLE, frames[0])}).answer, -kEINVAL);
  EXPECT_EQ(Decrease(0), 1);
  machine.ExpectBooksAddUp();
  EXPECT_EQ(Run(frame).answer, 0);
  EXPECT_EQ(Run({Op(MMUEXT_UNPIN_TABLE, frames[0])}).answer, 0);
  EXPECT_EQ(Pages(), kPages - 1);
}

TEST(PageTypesWithLittleMemoryTest, WithoutAPageForItsNotesNothingIsATable) {
  for (std::uint64_t limit = 20; limit < 40; ++limit) {
    TestMachine machine({.pages = 16, .max_overhead_pages = limit});
    if (machine.build_result != 0 || machine.CreateDomain(kPv, 100) != kPv) continue;
    std::vector<xen_pfn_t> frames(4);
    xen_memory_reservation request = TestMachine::Reservation(kPv, frames.data(), 4);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request), 4);
    for (unsigned i = 0; i < 3; ++i) {
      const std::uint64_t entry = frames[i + 1] << 12 | kTable;
      std::memcpy(machine.BytesOf(frames[i]), &entry, sizeof(entry));
    }
    mmuext_op op = {};
    op.cmd = MMUEXT_PIN_L4_TABLE;
    op.arg1.mfn = frames[0];
    const std::int64_t answer = machine.Call(__HYPERVISOR_mmuext_op, &op, 1, 0, kPv);
    EXPECT_TRUE(answer == 0 || answer == -kENOMEM) << answer;
    machine.ExpectBooksAddUp();
    if (answer == 0) break;
    ASSERT_LT(limit, 39u);
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
