// Several vcpus at once: what one takes away while another uses it. Run under the thread sanitizer
// too: a frame that were handed out again too early would be a race there.

#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

constexpr int kRounds = 200;
constexpr std::uint16_t kVictim = 5;
constexpr std::uint32_t kHvm = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;

// A toolstack thread: a vcpu of domain 0 with raw pointers of its own.
class Caller {
 public:
  Caller(TestMachine& machine, unsigned vcpu)
      : machine_(machine), vcpu_(vcpu == 0 ? machine.vcpu : machine.hypervisor.ClaimVcpu(0, vcpu)) {
    machine.hypervisor.SetRawSpace(*vcpu_, machine.direct);  // the vcpu outlives its caller
  }

  template <class... Arguments>
  std::int64_t Call(std::uint64_t index, Arguments... arguments) {
    return machine_.hypervisor.Call(*vcpu_, machine_.Frame(index, arguments...));
  }
  std::int64_t Domctl(std::uint32_t cmd, xen_domctl_t op) {
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = kVictim;
    return Call(__HYPERVISOR_domctl, &op);
  }
  std::int64_t Domctl(std::uint32_t cmd) { return Domctl(cmd, xen_domctl_t{}); }

 private:
  TestMachine& machine_;
  Vcpu* vcpu_;
};

TEST(HypervisorConcurrencyTest, ADomainIsDestroyedWhileOthersFillIt) {
  TestMachine machine({.pages = 64, .vcpus = 4, .preempt_interval = 16});
  ASSERT_EQ(machine.build_result, 0);
  machine.has_threads = true;
  ASSERT_EQ(machine.CreateDomain(kVictim, 10), kVictim);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  std::atomic<bool> done = false;

  Caller owner(machine, 0);
  std::thread creator([&] {
    for (int round = 0; round < kRounds; ++round) {
      owner.Domctl(XEN_DOMCTL_createdomain,
                   TestMachine::CreateRequest(round % 2 == 0 ? kHvm : 0u, 2));
      xen_domctl_t op = {};
      op.u.max_vcpus.max = 2;
      owner.Domctl(XEN_DOMCTL_max_vcpus, op);
      op = {};
      op.u.max_mem.max_memkb = 4096;
      owner.Domctl(XEN_DOMCTL_max_mem, op);
      std::this_thread::yield();
      owner.Domctl(XEN_DOMCTL_destroydomain);
    }
    done = true;
  });
  std::vector<std::thread> others;
  for (unsigned id = 1; id < 3; ++id) {
    others.emplace_back([&, id] {
      Caller caller(machine, id);
      while (!done) {
        std::vector<xen_pfn_t> frames(40);
        std::iota(frames.begin(), frames.end(), id * 100);
        xen_memory_reservation reservation =
            TestMachine::Reservation(kVictim, frames.data(), frames.size());
        caller.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
        evtchn_alloc_unbound offer = {.dom = kVictim, .remote_dom = 0, .port = 0};
        caller.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer);
        xen_pfn_t grants[3];
        gnttab_setup_table setup = {};
        setup.dom = kVictim;
        setup.nr_frames = 3;
        setup.frame_list.p = grants;
        caller.Call(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1);
        xen_hvm_param param = {};
        param.domid = kVictim;
        param.index = HVM_PARAM_STORE_PFN;
        param.value = 3;
        caller.Call(__HYPERVISOR_hvm_op, HVMOP_set_param, &param);
        std::vector<xen_domctl_getdomaininfo_t> infos(4);
        xen_sysctl_t list = {};
        list.cmd = XEN_SYSCTL_getdomaininfolist;
        list.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
        list.u.getdomaininfolist.max_domains = 4;
        list.u.getdomaininfolist.buffer.p = infos.data();
        EXPECT_EQ(caller.Call(__HYPERVISOR_sysctl, &list), 0);
        caller.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation);
      }
    });
  }
  others.emplace_back([&] {
    while (!done) {
      std::uint64_t mfn;
      if (machine.HoldFrame(kVictim, 110, Access::kWrite, &mfn) == 0) {
        *machine.BytesOf(mfn) = std::byte{1};
        machine.ReleaseFrame(mfn);
      }
      std::this_thread::yield();
    }
  });
  creator.join();
  for (std::thread& thread : others) thread.join();
  const Statistics now = Books::StatisticsOf(machine.hypervisor);
  EXPECT_EQ(now.domains, 1u);
  EXPECT_EQ(now.held_frames, 0u);
  EXPECT_EQ(now.free_pages, free_before);
}

// Each of the callers changes all that one domain has, at the same time as the others. What one op
// replaces, another may be reading; whoever comes last decides, and nothing is lost.
TEST(HypervisorConcurrencyTest, OpsOfOneDomainCross) {
  constexpr unsigned kCallers = 3;
  TestMachine machine({.pages = 64, .vcpus = 4, .preempt_interval = 16});
  ASSERT_EQ(machine.build_result, 0);
  machine.has_threads = true;
  // The leaf of the table of domains stays once it is there.
  ASSERT_EQ(machine.CreateDomain(kVictim, 10), kVictim);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  ASSERT_EQ(machine.CreateDomain(kVictim, 1000, kHvm, 2), kVictim);

  std::vector<std::thread> threads;
  for (unsigned id = 0; id < kCallers; ++id) {
    threads.emplace_back([&machine, id] {
      Caller caller(machine, id);
      for (unsigned round = 0; round < unsigned{kRounds}; ++round) {
        const unsigned turn = round + id;
        xen_domctl_t op = {};
        vcpu_guest_context_t context = {};
        context.user_regs.rip = turn;
        context.flags = turn % 2 == 0 ? VGCF_online : 0;
        op.u.vcpucontext.ctxt.p = &context;
        EXPECT_EQ(caller.Domctl(XEN_DOMCTL_setvcpucontext, op), 0);

        std::vector<std::uint8_t> state(8192);
        op = {};
        op.u.hvmcontext.size = static_cast<std::uint32_t>(state.size());
        op.u.hvmcontext.buffer.p = state.data();
        EXPECT_EQ(caller.Domctl(XEN_DOMCTL_gethvmcontext, op), 0);
        EXPECT_EQ(LoadField<std::uint16_t>(&state[0], kNativeOrder), 1);  // the header

        xen_vmemrange range = {.start = 0, .end = turn + 1, .flags = 0, .nid = 0};
        std::uint32_t distance = 10, to_vnode[2] = {}, to_pnode = 0;
        op = {};
        op.u.vnuma.nr_vnodes = 1;
        op.u.vnuma.nr_vcpus = 2;
        op.u.vnuma.nr_vmemranges = 1;
        op.u.vnuma.vmemrange.p = &range;
        op.u.vnuma.vdistance.p = &distance;
        op.u.vnuma.vcpu_to_vnode.p = to_vnode;
        op.u.vnuma.vnode_to_pnode.p = &to_pnode;
        EXPECT_EQ(caller.Domctl(XEN_DOMCTL_setvnumainfo, op), 0);

        op = {};
        op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION;
        op.u.shadow_op.mb = 1 + turn % 3;
        EXPECT_EQ(caller.Domctl(XEN_DOMCTL_shadow_op, op), 0);
        op.u.shadow_op.op =
            turn % 2 == 0 ? XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY : XEN_DOMCTL_SHADOW_OP_OFF;
        caller.Domctl(XEN_DOMCTL_shadow_op, op);

        xen_pfn_t frames[2] = {turn % 7, 100 + id};
        xen_memory_reservation reservation = TestMachine::Reservation(kVictim, frames, 2);
        caller.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
        xen_add_to_physmap add = {
            .domid = kVictim, .size = 0, .space = XENMAPSPACE_gmfn, .idx = turn % 7, .gpfn = 200};
        caller.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add);
        std::uint8_t bits[32];
        op = {};
        op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
        op.u.shadow_op.pages = 256;
        op.u.shadow_op.dirty_bitmap.p = bits;
        EXPECT_EQ(caller.Domctl(XEN_DOMCTL_shadow_op, op), 0);
        caller.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 1u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
}

// Trees that share their tables are pinned and unpinned, their pages given up, and their types
// asked for, all at once.
TEST(HypervisorConcurrencyTest, PageTablesOfOneDomainAreSharedByTrees) {
  constexpr unsigned kCallers = 3;
  constexpr std::uint64_t kTable = 0x67;
  TestMachine machine({.pages = 64, .vcpus = 4, .preempt_interval = 100});
  ASSERT_EQ(machine.build_result, 0);
  machine.has_threads = true;
  ASSERT_EQ(machine.CreateDomain(kVictim, 10), kVictim);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  ASSERT_EQ(machine.CreateDomain(kVictim, 100), kVictim);
  // A root for each caller, then the tables that all of them lead to, and what those map.
  std::vector<xen_pfn_t> frames(16);
  xen_memory_reservation all = TestMachine::Reservation(kVictim, frames.data(), frames.size());
  ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &all), 16);
  const auto set = [&](unsigned table, unsigned index, unsigned page) {
    const std::uint64_t entry = frames[page] << 12 | kTable;
    std::memcpy(machine.BytesOf(frames[table]) + index * sizeof(entry), &entry, sizeof(entry));
  };
  for (unsigned i = 0; i < kCallers; ++i) set(i, 0, kCallers);
  for (unsigned i = 0; i < 2; ++i) set(kCallers + i, 0, kCallers + i + 1);
  for (unsigned i = 8; i < 16; ++i) set(kCallers + 2, i * 32, i);

  std::vector<std::thread> threads;
  for (unsigned id = 0; id < kCallers; ++id) {
    threads.emplace_back([&, id] {
      Caller caller(machine, id);
      for (int round = 0; round < kRounds / 4; ++round) {
        mmuext_op op = {};
        op.cmd = MMUEXT_PIN_L4_TABLE;
        op.arg1.mfn = frames[id];
        EXPECT_EQ(caller.Call(__HYPERVISOR_mmuext_op, &op, 1, 0, kVictim), 0);
        std::vector<std::uint64_t> types(frames.begin(), frames.end());
        xen_domctl_t ask = {};
        ask.u.getpageframeinfo3.num = types.size();
        ask.u.getpageframeinfo3.array.p = types.data();
        EXPECT_EQ(caller.Domctl(XEN_DOMCTL_getpageframeinfo3, ask), 0);
        EXPECT_EQ(types[id], XEN_DOMCTL_PFINFO_L4TAB | XEN_DOMCTL_PFINFO_LPINTAB);
        EXPECT_EQ(types[kCallers + 2], XEN_DOMCTL_PFINFO_L1TAB);
        if (round == 10) {
          xen_memory_reservation one = TestMachine::Reservation(kVictim, &frames[8 + id], 1);
          EXPECT_EQ(caller.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &one), 1);
          // Nobody could validate the table without it.
          return;
        }
        op.cmd = MMUEXT_UNPIN_TABLE;
        EXPECT_EQ(caller.Call(__HYPERVISOR_mmuext_op, &op, 1, 0, kVictim), 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  machine.ExpectBooksAddUp();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
}

// The page that one vcpu's calls write is ballooned out and in again by another one.
TEST(HypervisorConcurrencyTest, AFrameIsReusedOnlyAfterTheCallsThatUseIt) {
  TestMachine machine(
      {.pool_bytes = std::uint64_t{8} << 20, .pages = 512, .space = SpaceKind::kXcom});
  ASSERT_EQ(machine.build_result, 0);
  machine.has_threads = true;
  constexpr std::uint64_t kTarget = 100;
  std::atomic<bool> done = false;
  std::atomic<unsigned> calls = 0;
  Vcpu* writer_vcpu = machine.hypervisor.ClaimVcpu(0, 1);
  std::thread writer([&] {
    const VirtualAddress text = InlineAddress({kTarget << 12});
    while (!done) {
      const std::int64_t answer = machine.hypervisor.Call(
          *writer_vcpu, machine.Frame(__HYPERVISOR_xen_version, XENVER_capabilities, text.value));
      EXPECT_TRUE(answer == 0 || answer == -kEFAULT) << answer;
      ++calls;
    }
  });

  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  xen_pfn_t frame = kTarget;
  std::memcpy(memory.Map({8 << 12}, 8, Access::kWrite).start(), &frame, sizeof(frame));
  xen_memory_reservation reservation = {};
  set_xen_guest_handle(reservation.extent_start,
                       reinterpret_cast<xen_pfn_t*>(InlineAddress({8 << 12}).value));
  reservation.nr_extents = 1;
  reservation.domid = DOMID_SELF;
  std::memcpy(memory.Map({9 << 12}, sizeof(reservation), Access::kWrite).start(), &reservation,
              sizeof(reservation));
  const VirtualAddress argument = InlineAddress({9 << 12});
  for (int round = 0; round < 20 * kRounds; ++round) {
    // A frame waits for the writer's call; the pool is not to run out while that thread is paused.
    const unsigned before = calls;
    while (round % 256 == 255 && calls - before < 2) std::this_thread::yield();
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, argument.value), 1);
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, argument.value), 1);
  }
  done = true;
  writer.join();
  machine.hypervisor.ReleaseVcpu(*writer_vcpu);
}

// A machine builds and reads tables outside calls while calls make the p2m's top grow, and its
// frames are had by others.
TEST(HypervisorConcurrencyTest, TablesAreBuiltWhileTheP2mGrows) {
  for (int round = 0; round < 20; ++round) {
    TestMachine machine({.pool_bytes = std::uint64_t{16} << 20, .pages = 512});
    ASSERT_EQ(machine.build_result, 0);
    machine.has_threads = true;
    std::atomic<bool> done = false;
    std::thread kernel([&] {
      LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
      const auto layout = RegionLayout::Make({0x10000000}, 300 << 12, 12);
      const PhysicalAddress header = {16 << 12};
      while (!done) {
        const auto table =
            RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, std::span(&header, 1));
        ASSERT_TRUE(table.ok());
        for (std::uint64_t i = 1; i < 300; ++i) ASSERT_TRUE(table->Back(i, {(20 + i) << 12}).ok());
      }
    });
    std::uint64_t from = 500;
    for (unsigned bits = 18; bits < 27; ++bits) {
      xen_add_to_physmap add = {
          .domid = 0, .size = 0, .space = XENMAPSPACE_gmfn, .idx = from, .gpfn = 0};
      add.gpfn = from = std::uint64_t{1} << bits;
      EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
      // Whoever comes next gets, and clears, what the old top was in.
      ASSERT_EQ(machine.CreateDomain(kVictim, 10, kHvm), kVictim);
      ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
    }
    done = true;
    kernel.join();
  }
}

// A region is used by one vcpu while another one unregisters and registers it.
TEST(HypervisorConcurrencyTest, ARegionIsUnregisteredWhileItIsUsed) {
  TestMachine machine({.pages = 512, .space = SpaceKind::kRegion});
  ASSERT_EQ(machine.build_result, 0);
  machine.has_threads = true;
  constexpr std::uint64_t kBase = 0x10000000;
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  const auto layout = RegionLayout::Make({kBase}, 8 << 12, 12);
  const PhysicalAddress header = {16 << 12};
  const auto table =
      RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, std::span(&header, 1));
  ASSERT_TRUE(table.ok());
  for (std::uint64_t i = 1; i < 8; ++i) ASSERT_TRUE(table->Back(i, {(100 - i) << 12}).ok());

  std::atomic<std::uint64_t> handle = 0;
  std::atomic<bool> done = false;
  Vcpu* user_vcpu = machine.hypervisor.ClaimVcpu(0, 1);
  std::thread user([&] {
    while (!done) {
      HypercallFrame frame =
          machine.Frame(__HYPERVISOR_xen_version, XENVER_capabilities, kBase + 8192 - 100);
      frame.region = handle;
      const std::int64_t answer = machine.hypervisor.Call(*user_vcpu, frame);
      EXPECT_TRUE(answer == 0 || answer == -kEFAULT) << answer;
    }
  });
  for (int round = 0; round < 10 * kRounds; ++round) {
    const std::int64_t registered = machine.Call(kXencommOp, XencommOp::kRegister, header.value, 1);
    ASSERT_GT(registered, 0);
    handle = static_cast<std::uint64_t>(registered);
    if (round % 8 == 0) std::this_thread::yield();
    EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle.load()), 0);
  }
  done = true;
  user.join();
  machine.hypervisor.ReleaseVcpu(*user_vcpu);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 0u);
}

// Vcpus of one guest register, extend, use and end its regions at random, leave legs for others to
// finish or for nobody, and move bases meanwhile; its pages come and go; and now and then it is
// destroyed. The books are right at the end.
class RegionStress {
 public:
  static constexpr unsigned kVcpus = 3;
  static constexpr std::uint64_t kPages = 256;
  static constexpr std::uint64_t kRegionBase = 0x10000000;
  static constexpr std::uint64_t kFirstPayload = 64;  // frame

  RegionStress(TestMachine& machine, std::uint64_t seed) : machine_(machine) {
    EXPECT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kVictim, .pages = kPages, .vcpus = kVcpus, .space = SpaceKind::kRegion}),
              0);
    for (unsigned i = 0; i < kVcpus; ++i) vcpus_[i] = machine.hypervisor.ClaimVcpu(kVictim, i);
    DomainMemory memory = machine.hypervisor.MemoryOf(*vcpus_[0]);
    std::minstd_rand random(static_cast<unsigned>(seed + 1));
    for (unsigned i = 0; i < std::size(kShapes); ++i) {
      const Shape& shape = kShapes[i];
      const PhysicalAddress header = Header(i);
      const RegionLayout layout =
          *RegionLayout::Make({kRegionBase}, shape.granules << shape.shift, shape.shift);
      const auto table =
          RegionTable<DomainMemory>::Build(memory, layout, kNativeOrder, std::span(&header, 1));
      EXPECT_TRUE(table.ok());
      for (std::uint64_t granule = 1; granule < shape.granules; ++granule) {
        if (random() % 4 != 0) MoveBase(i, granule, random);
      }
    }
  }
  ~RegionStress() {
    for (Vcpu* vcpu : vcpus_) machine_.hypervisor.ReleaseVcpu(*vcpu);
  }

  void Run(unsigned vcpu, std::uint64_t seed, unsigned steps, bool moves_bases) {
    std::minstd_rand random(static_cast<unsigned>(seed * kVcpus + vcpu + 1));
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    for (unsigned step = 0; step < steps; ++step) {
      const unsigned which = static_cast<unsigned>(below(std::size(kShapes)));
      const Shape& shape = kShapes[which];
      const std::uint64_t handle = handles_[below(kHandles)];
      const std::uint64_t granule = below(shape.granules);
      HypercallFrame frame;
      switch (below(8)) {
        case 0:
        case 1:
          frame = Frame(XencommOp::kRegister, Header(which).value, below(2));
          break;
        case 2:
          // One that somebody left; or one that nobody did.
          frame = Frame(XencommOp::kRegister, Header(which).value, 1, handle);
          break;
        case 3:
        case 4:
          frame = Frame(XencommOp::kExtend, handle, granule, below(shape.granules), below(2));
          break;
        case 5:
          frame = Frame(XencommOp::kUnregister, handle);
          break;
        case 6:
          // Reads only: what vcpus write into one page is a race of the guest's own.
          frame = machine_.Frame(__HYPERVISOR_sched_op, SCHEDOP_shutdown_code,
                                 kRegionBase + (granule << shape.shift) + below(5000));
          frame.region = handle;
          break;
        case 7:
          if (moves_bases && granule != 0) MoveBase(which, granule, random);
          break;
      }
      if (frame.index == 0) continue;
      std::int64_t answer;
      do {
        answer = machine_.hypervisor.Hypercall(*vcpus_[vcpu], frame);
      } while (frame.continued && below(200) != 0);
      if (answer == -kESRCH) return;
      const bool registers = frame.index == kXencommOp && frame.arguments[0] == 0;
      if (!registers || frame.arguments[3] == 0) continue;
      const std::uint64_t old = handles_[below(kHandles)].exchange(frame.arguments[3]);
      machine_.hypervisor.Call(*vcpus_[vcpu], Frame(XencommOp::kUnregister, old));
      all_[vcpu].push_back(frame.arguments[3]);
    }
  }

  // Whatever is left: as a kernel that knows all its handles would.
  void EndAll() {
    for (const std::vector<std::uint64_t>& handles : all_) {
      for (const std::uint64_t handle : handles) {
        for (unsigned which = 0; which < std::size(kShapes); ++which) {
          machine_.hypervisor.Call(*vcpus_[0],
                                   Frame(XencommOp::kRegister, Header(which).value, 1, handle));
        }
        machine_.hypervisor.Call(*vcpus_[0], Frame(XencommOp::kUnregister, handle));
      }
    }
  }

 private:
  struct Shape {
    std::uint64_t granules;
    unsigned shift;
  };
  static constexpr Shape kShapes[] = {{1, 12}, {40, 12}, {10, 14}, {5, 16}};
  static constexpr unsigned kHandles = 8;

  // To one that names memory or none, or now and then the table's own.
  void MoveBase(unsigned which, std::uint64_t granule, std::minstd_rand& random) {
    const auto kind = random() % 32;
    std::uint64_t base = kNotBackedBase;
    if (kind == 0) base = Header(which).value;
    if (kind > 8) {
      base = AlignDown(kFirstPayload + random() % kPages, kShapes[which].shift - 12) << 12;
    }
    DomainMemory memory = machine_.hypervisor.MemoryOf(*vcpus_[0]);
    StoreSharedField(memory.Map(Header(which) + BaseOffset(granule), 8, Access::kWrite).start(),
                     base, kNativeOrder);
  }
  static std::uint64_t AlignDown(std::uint64_t frame, unsigned order) {
    return frame >> order << order;
  }
  static PhysicalAddress Header(unsigned which) {
    constexpr std::uint64_t kPlaces[] = {32, 33, 36, 48};
    return {kPlaces[which] << 12};
  }
  template <class... Arguments>
  HypercallFrame Frame(XencommOp op, Arguments... arguments) {
    return machine_.Frame(kXencommOp, op, arguments...);
  }

  TestMachine& machine_;
  Vcpu* vcpus_[kVcpus];
  std::atomic<std::uint64_t> handles_[kHandles] = {};  // that all use
  std::vector<std::uint64_t> all_[kVcpus];
};

TEST(HypervisorConcurrencyTest, BooksOfRegionsAreRightWhateverCrosses) {
  TestMachine machine({.pool_bytes = std::uint64_t{16} << 20,
                       .pages = 64,
                       .preempt_interval = 4,
                       .max_overhead_pages = 60});
  ASSERT_EQ(machine.build_result, 0);
  machine.has_threads = true;
  ASSERT_EQ(machine.CreateDomain(kVictim, 10), kVictim);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  for (std::uint64_t round = 0; round < 48; ++round) {
    const bool is_killed = round % 2 == 0;
    // A domain that ends has no memory to write to; and the sanitizer does not know that guests do.
#ifdef __SANITIZE_THREAD__
    const bool moves_bases = false;
#else
    const bool moves_bases = !is_killed;
#endif
    {
      RegionStress stress(machine, round);
      std::vector<std::thread> threads;
      for (unsigned vcpu = 0; vcpu < RegionStress::kVcpus; ++vcpu) {
        threads.emplace_back(
            [&, vcpu] { stress.Run(vcpu, round, is_killed ? ~0u : 2000, moves_bases); });
      }
      for (unsigned i = 0; i < 300; ++i) {
        xen_pfn_t frame = RegionStress::kFirstPayload + i % 100;
        xen_memory_reservation one = TestMachine::Reservation(kVictim, &frame, 1);
        // Where one cannot be given up, or given back for now, another one can.
        machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &one);
        machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &one);
      }
      if (is_killed) {
        EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kVictim), 0);
      }
      for (std::thread& thread : threads) thread.join();
      if (!is_killed) stress.EndAll();
      machine.ExpectBooksAddUp();
      const Statistics now = Books::StatisticsOf(machine.hypervisor);
      EXPECT_EQ(now.regions, 0u);
      EXPECT_EQ(now.pinned_frames, 0u);
      machine.Domctl(XEN_DOMCTL_destroydomain, kVictim);
    }
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 1u);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before) << round;
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
