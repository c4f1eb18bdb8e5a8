// The log of what a domain's calls write: no write is lost, whatever happens in between.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/domain/logged_region.h"
#include "tests/unit/hypervisor_log_dirty.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

TEST_F(LogDirtyTest, ACleanBetweenMappingAndWritingMissesNothing) {
  ASSERT_EQ(Enable(), 0);
  Pages in_between;
  spaces[0]->BeforeWrite([&] { in_between = Clean(); });
  ASSERT_EQ(Write(9), 0);
  EXPECT_EQ(in_between, Pages{9});
  EXPECT_EQ(Clean(), Pages{9});
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyTest, ACleanThatCannotDeliverTakesNothingOff) {
  ASSERT_EQ(Enable(), 0);
  for (const std::uint64_t gfn : {std::uint64_t{3}, kFar}) ASSERT_EQ(Write(gfn), 0);
  xen_domctl_t op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, reinterpret_cast<void*>(8), kBitmapPages);
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kEFAULT);

  // And half way: the first page's bit has reached the caller, who throws it away.
  std::vector<std::uint8_t> bits(kBitmapPages / 8);
  EndingSpace space;
  space.end = &bits[kFar / 8];
  machine.hypervisor.SetRawSpace(*machine.vcpu, space);
  op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, bits.data(), kBitmapPages);
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kEFAULT);
  EXPECT_EQ(bits[0], 8);
  machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK), (Pages{3, kFar}));
  EXPECT_EQ(Clean(), (Pages{3, kFar}));
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyTest, ACleanTakesOffWhatItDeliveredAndNoMore) {
  ASSERT_EQ(Enable(), 0);
  ASSERT_EQ(Write(65), 0);
  std::vector<std::uint8_t> bits(kBitmapPages / 8);
  TellingSpace space;
  // Its neighbours on both sides, when its bit is already on the way.
  space.BeforeWritingTo(bits.data(), [&] {
    ASSERT_EQ(Write(64, 1), 0);
    ASSERT_EQ(Write(66, 1), 0);
  });
  machine.hypervisor.SetRawSpace(*machine.vcpu, space);
  xen_domctl_t op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, bits.data(), kBitmapPages);
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
  machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
  EXPECT_EQ(PagesIn(bits), Pages{65});
  EXPECT_EQ(Clean(), (Pages{64, 66}));
}

TEST_F(LogDirtyTest, AWriteThatGoesOnInTheNextPageMarksBoth) {
  ASSERT_EQ(Enable(), 0);
  // 1 KiB, in frames that follow each other in the machine too: one run.
  const std::uint64_t across = (std::uint64_t{10} << kPageShift) - 512;
  EXPECT_EQ(machine.hypervisor.Call(
                *vcpus[0], machine.Frame(__HYPERVISOR_xen_version, XENVER_capabilities, across)),
            0);
  EXPECT_EQ(Clean(), (Pages{9, 10}));
}

TEST_F(LogDirtyTest, ARunThatGoesOnInTheNextWordOfMarksMarksBoth) {
  constexpr std::uint64_t kLarge = 512;
  xen_domctl_t op = {};
  op.u.max_mem.max_memkb = (kGuestPages + 128) << 2;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kGuest, op), 0);
  xen_pfn_t extent = kLarge;
  xen_memory_reservation request = TestMachine::Reservation(kGuest, &extent, 1, 7);
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request), 1);
  ASSERT_EQ(Enable(), 0);
  // 1 KiB over the end of a multiple of 64 pages.
  const std::uint64_t across = ((kLarge + 64) << kPageShift) - 512;
  EXPECT_EQ(machine.hypervisor.Call(
                *vcpus[0], machine.Frame(__HYPERVISOR_xen_version, XENVER_capabilities, across)),
            0);
  EXPECT_EQ(Clean(), (Pages{kLarge + 63, kLarge + 64}));
}

TEST_F(LogDirtyTest, ALogDoesNotBeginWithWhatAnOlderOneCouldNotTell) {
  // Everything, and nobody asked about more than three pages.
  spaces[0]->BeforeWrite([&] { ASSERT_EQ(Enable(), 0); });
  ASSERT_EQ(Write(9), 0);
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_CLEAN, 3), (Pages{0, 1, 2}));
  ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
  ASSERT_EQ(Enable(), 0);
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyTest, ACleanThatCannotAnswerLosesNothing) {
  ASSERT_EQ(Enable(), 0);
  ASSERT_EQ(Write(3), 0);
  std::vector<std::uint8_t> bits(kBitmapPages / 8);
  xen_domctl_t op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, bits.data(), kBitmapPages);
  EndingSpace space;
  space.read_only = &op;
  machine.hypervisor.SetRawSpace(*machine.vcpu, space);
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kEFAULT);
  machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
  // By then the marks were gone.
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyTest, WhatTheBitmapHasNoRoomForStays) {
  ASSERT_EQ(Enable(), 0);
  for (const std::uint64_t gfn : {4, 6, 70}) ASSERT_EQ(Write(gfn), 0);
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_CLEAN, 5), Pages{4});
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK), (Pages{6, 70}));
  // Its last byte has room for two pages more than were asked for.
  ASSERT_EQ(Write(71), 0);
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK, 70), Pages{6});
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_CLEAN, 71), (Pages{6, 70}));
  EXPECT_EQ(Clean(), Pages{71});
  for (const std::uint64_t gfn : {6, 70}) ASSERT_EQ(Write(gfn), 0);
  // Without a bitmap marks are cleared all the same, as in Xen.
  xen_domctl_t op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, nullptr, 64);
  EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
  EXPECT_EQ(op.u.shadow_op.stats.dirty_count, 1u);
  EXPECT_EQ(Clean(), Pages{70});
}

// Nor is a word of marks looked at that nobody asked about.
TEST_F(LogDirtyTest, ABitmapOfWholeWordsEndsWithThem) {
  for (const std::uint64_t pages : {64, 128, 512}) {
    SCOPED_TRACE(pages);
    ASSERT_EQ(Enable(), 0);
    for (const std::uint64_t gfn : {pages - 1, pages}) ASSERT_EQ(Write(gfn), 0);
    EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK, pages), Pages{pages - 1});
    EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_CLEAN, pages), Pages{pages - 1});
    EXPECT_EQ(Clean(), Pages{pages});
    ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
  }
}

TEST_F(LogDirtyTest, ALegThatBeganBeforeTheLogIsNotMissed) {
  Pages in_between;
  spaces[0]->BeforeWrite([&] {
    ASSERT_EQ(Enable(), 0);
    in_between = Clean();
  });
  ASSERT_EQ(Write(9), 0);
  // Nobody knows what it has been given to write: everything, and once more after its end.
  EXPECT_EQ(in_between, AllPages());
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK), AllPages());
  // Who asks about a few pages was not told of the others.
  EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_CLEAN, 3), (Pages{0, 1, 2}));
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
  ASSERT_EQ(Write(10), 0);
  EXPECT_EQ(Clean(), Pages{10});
}

// Calls of the guest by a registered region, whose payload lies at gfns 9, 7 and kFar.
class LogDirtyRegionTest : public LogDirtyTest {
 protected:
  static constexpr std::uint64_t kBase = 0x7f0000000000;

  void SetUp() override {
    LogDirtyTest::SetUp();
    LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpus[0]);
    const PhysicalAddress header[] = {{std::uint64_t{5} << kPageShift}};
    const auto table = RegionTable<LockedMemory>::Build(
        memory, *RegionLayout::Make({kBase}, 4 << kPageShift, kPageShift), kNativeOrder, header);
    ASSERT_TRUE(table.ok());
    for (const auto& [granule, gfn] : {std::pair(1, std::uint64_t{9}), {2, 7}, {3, kFar}}) {
      ASSERT_TRUE(table->Back(static_cast<std::uint64_t>(granule), {gfn << kPageShift}).ok());
    }
    handle_ = machine.hypervisor.Call(
        *vcpus[0], machine.Frame(kXencommOp, XencommOp::kRegister, header[0].value, 1));
    ASSERT_GT(handle_, 0);
  }

  // A time, at an offset into the region.
  std::int64_t WriteAt(std::uint64_t offset) {
    HypercallFrame frame = machine.Frame(__HYPERVISOR_vcpu_op | kRegionCall,
                                         VCPUOP_get_runstate_info, 0, kBase + offset);
    frame.region = static_cast<std::uint64_t>(handle_);
    return machine.hypervisor.Call(*vcpus[0], frame);
  }

 private:
  std::int64_t handle_ = 0;
};

TEST_F(LogDirtyRegionTest, WhatIsWrittenThroughARegionIsMarkedWhileItIsLogged) {
  ASSERT_EQ(WriteAt(kPageSize), 0);
  ASSERT_EQ(Enable(), 0);
  EXPECT_EQ(Clean(), Pages{});
  ASSERT_EQ(WriteAt(kPageSize + 64), 0);
  EXPECT_EQ(Clean(), Pages{9});
  // In two pages that are no neighbours, the further one in a leaf of the p2m.
  ASSERT_EQ(WriteAt(3 * kPageSize - 8), 0);
  EXPECT_EQ(Clean(), (Pages{7, kFar}));
  EXPECT_EQ(WriteAt(4 * kPageSize - 8), -kEFAULT);
  EXPECT_EQ(WriteAt(64), -kEFAULT);
  ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
  ASSERT_EQ(WriteAt(kPageSize), 0);
  ASSERT_EQ(Enable(), 0);
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyRegionTest, ACallThatBeganBeforeTheLogIsNotMissed) {
  machine.meanwhile = [&] { ASSERT_EQ(Enable(), 0); };
  ASSERT_EQ(WriteAt(kPageSize), 0);
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyRegionTest, ACleanWhileACallIsUnderWayThatBeganBeforeIsNotTheLast) {
  machine.meanwhile = [&] {
    ASSERT_EQ(Enable(), 0);
    EXPECT_EQ(Clean(), AllPages());
    EXPECT_EQ(Clean(), AllPages());
  };
  ASSERT_EQ(WriteAt(kPageSize), 0);
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyRegionTest, ALogThatBeginsAnewInMidCallMissesNothing) {
  ASSERT_EQ(Enable(), 0);
  machine.meanwhile = [&] {
    ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
    ASSERT_EQ(Enable(), 0);
    EXPECT_EQ(Clean(), AllPages());
  };
  ASSERT_EQ(WriteAt(kPageSize), 0);
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
}

// Which granules a pointer may name is decided by where it was found, logged or not.
TEST_F(LogDirtyRegionTest, AGranuleForArgumentsIsOneForArgumentsWhileItIsLogged) {
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpus[0]);
  const PhysicalAddress header[] = {{std::uint64_t{6} << kPageShift}};
  const auto table = RegionTable<LockedMemory>::Build(
      memory, *RegionLayout::Make({kBase}, 3 << kPageShift, kPageShift), kNativeOrder, header);
  ASSERT_TRUE(table.ok() && table->Back(1, {20 << kPageShift}).ok());
  const auto op = [&](XencommOp which, auto... arguments) {
    return machine.hypervisor.Call(*vcpus[0], machine.Frame(kXencommOp, which, arguments...));
  };
  const std::int64_t handle = op(XencommOp::kRegister, header[0].value, 1);
  ASSERT_GT(handle, 0);
  ASSERT_TRUE(table->Back(2, {21 << kPageShift}).ok());
  ASSERT_EQ(op(XencommOp::kExtend, handle, 2, 1, GranuleUse::kArgumentsOnly), 0);

  constexpr std::uint64_t kForAll = kBase + kPageSize, kForArguments = kBase + 2 * kPageSize;
  const auto call = [&](std::uint64_t index, auto... arguments) {
    HypercallFrame frame = machine.Frame(index | kRegionCall, arguments...);
    frame.region = static_cast<std::uint64_t>(handle);
    return machine.hypervisor.Call(*vcpus[0], frame);
  };
  auto* const entries = reinterpret_cast<multicall_entry_t*>(
      memory.Map({20 << kPageShift}, kPageSize, Access::kWrite).start());
  for (const bool is_logged : {false, true}) {
    ASSERT_EQ(is_logged ? Enable() : 0, 0);
    EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, kForArguments), 0);
    for (unsigned i = 0; i < 2; ++i) {
      entries[i] = {};
      entries[i].op = __HYPERVISOR_vcpu_op;
      entries[i].args[0] = VCPUOP_get_runstate_info;
      entries[i].args[2] = i == 0 ? kForAll + 1024 : kForArguments;
    }
    EXPECT_EQ(call(__HYPERVISOR_multicall, kForAll, 2), 0);
    EXPECT_EQ(entries[0].result, 0u);
    EXPECT_EQ(static_cast<std::int64_t>(entries[1].result), -kEFAULT);
  }
  EXPECT_EQ(Clean(), (Pages{20, 21}));
}

// Seen by a call that has looked at what is held of a page just before the region was unregistered:
// where the page moves, it is written there; when it is given up, nothing else is written.
TEST_F(LogDirtyRegionTest, APageThatIsLetGoInMidCallIsNotTakenForAnother) {
  const FrameTable& frames = Books::TableOf(machine.hypervisor);
  const std::uint64_t mfn = machine.hypervisor.FrameOf(kGuest, 20);
  const HeldPage pages[] = {{}, {frames.Bytes(mfn), Access::kWrite, GranuleUse::kAnyPointer}};
  const RegionLayout layout = *RegionLayout::Make({kBase}, 2 << kPageShift, kPageShift);
  const RegisteredRegion region(layout, pages, FoundIn::kRegister);
  DomainMemory memory = machine.hypervisor.MemoryOf(*vcpus[0]);
  LoggedRegion space(region, frames, memory);
  const auto map = [&] {
    return space.Map({kBase}, kPageSize + 8, kPageSize, Access::kWrite, nullptr);
  };

  ASSERT_EQ(Enable(), 0);
  EXPECT_EQ(map().start(), frames.Bytes(mfn) + 8);
  EXPECT_EQ(map().length(), kPageSize - 8);
  EXPECT_EQ(Clean(), Pages{20});
  Move(20, 30);
  static_cast<void>(Clean());
  EXPECT_EQ(map().start(), frames.Bytes(mfn) + 8);
  EXPECT_EQ(Clean(), Pages{30});

  machine.meanwhile = [&] {
    xen_pfn_t frame = 30;
    xen_memory_reservation one = TestMachine::Reservation(kGuest, &frame, 1);
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &one), 1);
    // Since the frame waits for this call, its row has a number that happens to be a page's.
    const std::uint64_t number = frames.Of(mfn).gfn;
    EXPECT_TRUE(number < kGuestPages && number != 30) << number;
    EXPECT_FALSE(map().ok());
  };
  ASSERT_EQ(Write(9), 0);
}

TEST_F(LogDirtyTest, ALegThatWritesMoreThanCanBeNotedMakesEverythingDirty) {
  constexpr unsigned kEntries = 200;
  ASSERT_EQ(Enable(), 0);
  // Written into the guest's own pages: a list of calls, each of which writes a page that is not
  // next to another one's.
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*vcpus[0]);
  std::vector<multicall_entry_t> entries(kEntries);
  for (unsigned i = 0; i < kEntries; ++i) {
    entries[i].op = __HYPERVISOR_vcpu_op;
    entries[i].args[0] = VCPUOP_get_runstate_info;
    entries[i].args[2] = std::uint64_t{100 + 2 * i} << kPageShift;
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(entries.data());
  const std::uint64_t size = kEntries * sizeof(multicall_entry_t);
  for (std::uint64_t at = 0; at < size; at += kPageSize) {
    std::memcpy(memory.Map({at}, kPageSize, Access::kWrite).start(), bytes + at,
                std::min(size - at, kPageSize));
  }
  const HypercallFrame list = machine.Frame(__HYPERVISOR_multicall, 0, kEntries);
  EXPECT_EQ(machine.hypervisor.Call(*vcpus[0], list), 0);
  EXPECT_EQ(Clean(), AllPages());
  EXPECT_EQ(Clean(), Pages{});
}

TEST_F(LogDirtyTest, ADomainThatHasNoVcpusYetIsNotLogged) {
  constexpr std::uint16_t kNew = 9;
  xen_domctl_t create = TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, kNew, create), 0);
  xen_domctl_t op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kNew, op), -kEINVAL);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kNew), 0);
}

TEST_F(LogDirtyTest, APageThatIsPutThereIsDirty) {
  ASSERT_EQ(Enable(), 0);
  // Its new place has another content now.
  Move(20, 700);
  EXPECT_EQ(Clean(), Pages{700});
}

TEST_F(LogDirtyTest, TheLogEndsWithAllItsPagesAndBeginsAnew) {
  ASSERT_EQ(Write(5), 0);
  const std::uint64_t overhead = Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(Enable(), 0);
    EXPECT_EQ(Enable(), -kEINVAL);
    EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK), Pages{});
    ASSERT_EQ(Write(9), 0);
    ASSERT_EQ(Write(kFar), 0);
    EXPECT_EQ(Read(XEN_DOMCTL_SHADOW_OP_PEEK), (Pages{9, kFar}));
    ASSERT_EQ(Shadow(XEN_DOMCTL_SHADOW_OP_OFF), 0);
    EXPECT_EQ(Clean(), Pages{});
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages, overhead);
  }
}

// Not through an instrumented memcpy: a toolstack copies pages that are written meanwhile.
__attribute__((no_sanitize("thread"))) void CopyPage(std::byte* to, const std::byte* from) {
  for (std::size_t i = 0; i < kPageSize; i += sizeof(std::uint64_t)) {
    *reinterpret_cast<std::uint64_t*>(to + i) =
        *reinterpret_cast<const volatile std::uint64_t*>(from + i);
  }
}

TEST_F(LogDirtyTest, WritersThatNeverPauseLoseNothing) {
  std::vector<std::byte> copy(kGuestPages << kPageShift);
  const auto copy_page = [&](std::uint64_t gfn) {
    CopyPage(&copy[gfn << kPageShift], machine.BytesOf(machine.hypervisor.FrameOf(kGuest, gfn)));
  };
  std::atomic<bool> done = false;
  std::atomic<unsigned> writes = 0;
  machine.has_threads = true;
  std::vector<std::thread> writers;
  for (unsigned id = 0; id < 2; ++id) {
    writers.emplace_back([&, id] {
      // Each has every other page.
      for (std::uint64_t i = 0; !done; i += 7) {
        EXPECT_EQ(Write(i % (kGuestPages / 2 - 1) * 2 + id, id), 0);
        ++writes;
      }
    });
  }
  // They are under way when the log begins.
  while (writes < 1000) std::this_thread::yield();
  ASSERT_EQ(Enable(), 0);
  for (std::uint64_t gfn = 0; gfn < kGuestPages - 1; ++gfn) copy_page(gfn);
  for (int round = 0; round < 200; ++round) {
    if (round % 3 == 0) {
      xen_domctl_t op = Request(XEN_DOMCTL_SHADOW_OP_CLEAN, reinterpret_cast<void*>(8), 640);
      EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), -kEFAULT);
    }
    for (const std::uint64_t gfn : Read(XEN_DOMCTL_SHADOW_OP_CLEAN, 640)) copy_page(gfn);
  }
  done = true;
  for (std::thread& writer : writers) writer.join();
  for (const std::uint64_t gfn : Read(XEN_DOMCTL_SHADOW_OP_CLEAN, 640)) copy_page(gfn);
  for (std::uint64_t gfn = 0; gfn < kGuestPages - 1; ++gfn) {
    EXPECT_EQ(std::memcmp(&copy[gfn << kPageShift],
                          machine.BytesOf(machine.hypervisor.FrameOf(kGuest, gfn)), kPageSize),
              0)
        << gfn;
  }
}

// A domain without room for a single mark.
TEST(LogDirtyRoomTest, WithoutRoomForMarksEverythingIsDirty) {
  constexpr std::uint64_t kPages = 8;
  std::uint64_t room = 4096;
  for (const bool measured : {false, true}) {
    TestMachine machine({.pages = 64, .max_overhead_pages = room});
    ASSERT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kGuest, .pages = kPages, .vcpus = 1, .space = SpaceKind::kRaw}),
              0);
    Vcpu* vcpu = machine.hypervisor.ClaimVcpu(kGuest, 0);
    PhysicalSpace space(machine.hypervisor.MemoryOf(*vcpu));
    machine.hypervisor.SetRawSpace(*vcpu, space);
    xen_domctl_t op = {};
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
    room = Books::StatisticsOf(machine.hypervisor, kGuest).overhead_pages;
    ASSERT_EQ(
        machine.hypervisor.Call(*vcpu, machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info,
                                                     0, std::uint64_t{3} << kPageShift)),
        0);
    std::uint8_t bits = 0;
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
    op.u.shadow_op.pages = kPages;
    op.u.shadow_op.dirty_bitmap.p = &bits;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
    EXPECT_EQ(bits, measured ? 0xff : 8);
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kGuest, op), 0);
    EXPECT_EQ(bits, 0);
    machine.hypervisor.ReleaseVcpu(*vcpu);
  }
}

// Some of its vcpus were made, and then there was no more room.
TEST(LogDirtyRoomTest, ADomainMayLackSomeOfItsVcpus) {
  constexpr std::uint16_t kNew = 9;
  constexpr std::uint16_t kTaker = 77;
  constexpr unsigned kVcpus = 128;
  TestMachine machine({.pool_bytes = std::uint64_t{8} << 20, .pages = 64});
  xen_domctl_t op = TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, kVcpus);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, kNew, op), 0);
  ASSERT_EQ(machine.CreateDomain(kTaker, 1 << 20), kTaker);
  std::vector<xen_pfn_t> frames(Books::StatisticsOf(machine.hypervisor).free_pages);
  xen_memory_reservation all = TestMachine::Reservation(kTaker, frames.data(), frames.size());
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &all),
            static_cast<std::int64_t>(frames.size()));
  xen_memory_reservation some = TestMachine::Reservation(kTaker, frames.data(), 2);
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &some), 2);
  xen_domctl_t make = {};
  make.u.max_vcpus.max = kVcpus;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, kNew, make), -kENOMEM);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kTaker), 0);
  op = {};
  op.u.getvcpuinfo.vcpu = 0;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kNew, op), 0);
  op.u.getvcpuinfo.vcpu = kVcpus - 1;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kNew, op), -kESRCH);

  op = {};
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kNew, op), 0);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_shadow_op, kNew, op), 0);
  EXPECT_EQ(op.u.shadow_op.stats.dirty_count, 0u);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_max_vcpus, kNew, make), 0);
}

}  // namespace
}  // namespace xencomm::hypervisor
