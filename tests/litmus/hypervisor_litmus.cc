// The hypervisor, one or two calls on each of two vcpus: what one call makes, replaces or takes
// away while another one looks. Every execution begins with the machine that Keep has seen.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "tests/litmus/explore.h"
#include "tests/unit/hypervisor_machine.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

using litmus::Explore;
using litmus::IsWrittenBefore;
using litmus::Moment;
using litmus::Require;

constexpr std::uint16_t kGuest = 6;
constexpr std::uint64_t kGuestPages = 64;

class HypervisorLitmus : public testing::Test {
 protected:
  explicit HypervisorLitmus(const TestMachineOptions& options = {.pool_bytes = kPoolBytes,
                                                                 .pages = 8})
      : machine(options),
        pool_(machine.BytesOf(options.pool_begin >> kPageShift), options.pool_bytes) {
    EXPECT_EQ(machine.build_result, 0);
    toolstack[0] = machine.vcpu;
    toolstack[1] = machine.hypervisor.ClaimVcpu(0, 1);
    machine.hypervisor.SetRawSpace(*toolstack[1], machine.direct);
  }

  // A guest that its vcpus make calls for, by inline addresses or in regions.
  void BuildGuest(SpaceKind space) {
    ASSERT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kGuest, .pages = kGuestPages, .vcpus = 2, .space = space}),
              0);
    for (unsigned i = 0; i < 2; ++i) guest[i] = machine.hypervisor.ClaimVcpu(kGuest, i);
  }
  LockedMemory GuestMemory() { return machine.hypervisor.LockedMemoryOf(*guest[0]); }
  template <class T>
  void PutIntoGuest(std::uint64_t gfn, const T& value) {
    std::memcpy(GuestMemory().Map({gfn << kPageShift}, sizeof(T), Access::kWrite).start(), &value,
                sizeof(T));
  }

  // The machine as every execution begins.
  void Keep() { kept_.assign(pool_.begin(), pool_.end()); }
  void Run(std::vector<std::function<void()>> threads, unsigned surprises = 2,
           std::function<void()> end = nullptr,
           litmus::Orders orders = litmus::Orders::kAlsoWeaker) {
    const auto begin = [this] { std::ranges::copy(kept_, pool_.begin()); };
    Explore({begin, std::move(threads), std::move(end)}, surprises, orders);
    // An execution that failed has stopped somewhere.
    begin();
  }

  template <class... Arguments>
  std::int64_t Call(Vcpu* vcpu, std::uint64_t index, Arguments... arguments) {
    return machine.hypervisor.Call(*vcpu, machine.Frame(index, arguments...));
  }
  std::int64_t Domctl(Vcpu* vcpu, std::uint32_t cmd, std::uint16_t domain, xen_domctl_t op = {}) {
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    return Call(vcpu, __HYPERVISOR_domctl, &op);
  }
  // A call that writes to `gfn` of its guest's memory.
  std::int64_t WriteTo(Vcpu* vcpu, std::uint64_t gfn) {
    return Call(vcpu, __HYPERVISOR_xen_version, XENVER_extraversion,
                InlineAddress({gfn << kPageShift}).value);
  }
  // A leg of a call of the guest's on the frame that PrepareBalloon has named.
  std::int64_t Balloon(Vcpu* vcpu, unsigned op) {
    HypercallFrame frame = machine.Frame(__HYPERVISOR_memory_op, op,
                                         InlineAddress({kReservation << kPageShift}).value);
    const std::int64_t answer = machine.hypervisor.Hypercall(*vcpu, frame);
    return frame.continued ? -EAGAIN : answer;
  }
  void PrepareBalloon(std::uint64_t gfn) {
    xen_memory_reservation reservation = {};
    set_xen_guest_handle(
        reservation.extent_start,
        reinterpret_cast<xen_pfn_t*>(InlineAddress({kExtents << kPageShift}).value));
    reservation.nr_extents = 1;
    reservation.domid = DOMID_SELF;
    PutIntoGuest(kReservation, reservation);
    PutIntoGuest(kExtents, xen_pfn_t{gfn});
  }
  // The guest may have as much as there is.
  void AllowMemory() {
    xen_domctl_t op = {};
    op.u.max_mem.max_memkb = 1 << 20;
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kGuest, op), 0);
  }
  // No page of the pool is free.
  void UseUpMemory() {
    AllowMemory();
    for (xen_pfn_t frame = kGuestPages;; ++frame) {
      xen_memory_reservation one = TestMachine::Reservation(kGuest, &frame, 1);
      if (machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &one) != 1) break;
    }
    ASSERT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, 0u);
  }

  static constexpr std::uint64_t kPoolBytes = std::uint64_t{1} << 20;
  static constexpr std::uint64_t kReservation = 8;  // gfns of a guest's
  static constexpr std::uint64_t kExtents = 9;

  TestMachine machine;
  Vcpu* toolstack[2];
  Vcpu* guest[2] = {};

 private:
  const std::span<std::byte> pool_;
  std::vector<std::byte> kept_;
};

// ---- Memory

class MemoryLitmus : public HypervisorLitmus {
 protected:
  // Two pages, which are not of a run that was cleared before.
  std::int64_t Populate(Vcpu* vcpu, std::uint16_t domain, xen_pfn_t& frame) {
    xen_memory_reservation one = TestMachine::Reservation(domain, &frame, 1, 1);
    return Call(vcpu, __HYPERVISOR_memory_op, XENMEM_populate_physmap, &one);
  }
};

TEST_F(MemoryLitmus, AFrameIsSeenOnlyWhenItIsCleared) {
  BuildGuest(SpaceKind::kXcom);
  AllowMemory();
  Keep();
  // In a leaf of the p2m that is there, in a new one, and in one of a larger top.
  for (const xen_pfn_t frame : {xen_pfn_t{70}, xen_pfn_t{600}, xen_pfn_t{1} << 18}) {
    Run({[&] {
           xen_pfn_t number = frame;
           Require(Populate(toolstack[0], kGuest, number) == 1, "populated");
         },
         [&] { WriteTo(guest[0], frame); }});
  }
}

// A guest whose p2m has a table of low entries that is about to double.
class LowEntriesLitmus : public HypervisorLitmus {
 protected:
  static constexpr std::uint64_t kPages = P2m::kLeafEntries;
  static constexpr std::uint64_t kBase = 0x10000000;
  static constexpr PhysicalAddress kHeader = {16 << kPageShift};

  LowEntriesLitmus() : HypervisorLitmus({.pool_bytes = 3 * kPoolBytes, .pages = 8}) {
    EXPECT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kGuest, .pages = kPages, .vcpus = 2, .space = SpaceKind::kRegion}),
              0);
    for (unsigned i = 0; i < 2; ++i) guest[i] = machine.hypervisor.ClaimVcpu(kGuest, i);
    AllowMemory();
    LockedMemory memory = GuestMemory();
    const auto layout = RegionLayout::Make({kBase}, 2 << kPageShift, kPageShift);
    const auto table =
        RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, std::span(&kHeader, 1));
    EXPECT_TRUE(table->Back(1, {kPages << kPageShift}).ok());
    Keep();
  }
};

TEST_F(LowEntriesLitmus, TheyAreLookedAtWhileTheirTableGrows) {
  Run({[&] {
         HypercallFrame frame =
             machine.Frame(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + kPageSize);
         frame.region = kHeader.value;
         machine.hypervisor.Call(*guest[0], frame);
       },
       [&] {
         xen_pfn_t frame = kPages;
         xen_memory_reservation one = TestMachine::Reservation(kGuest, &frame, 1);
         Require(Call(toolstack[0], __HYPERVISOR_memory_op, XENMEM_populate_physmap, &one) == 1,
                 "populated");
       }},
      2);
}

TEST_F(MemoryLitmus, AFrameIsReusedOnlyAfterTheCallsThatUseIt) {
  BuildGuest(SpaceKind::kXcom);
  UseUpMemory();
  PrepareBalloon(20);
  Keep();
  Run({[&] { WriteTo(guest[0], 20); },
       [&] {
         Require(Balloon(guest[1], XENMEM_decrease_reservation) == 1, "given up");
         Balloon(guest[1], XENMEM_populate_physmap);
       }},
      2, nullptr, litmus::Orders::kAsTheyAre);
}

// What a PV domain owns is its p2m, so a frame's owner is what its calls look at.
TEST_F(MemoryLitmus, APvDomainsFrameIsSeenOnlyWhenItIsCleared) {
  ASSERT_EQ(machine.CreateDomain(kGuest, 4), kGuest);
  guest[0] = machine.hypervisor.ClaimVcpu(kGuest, 0);
  DomainMemory memory = machine.hypervisor.MemoryOf(*guest[0]);
  SpaceOver space(XcomTranslation<DomainMemory>(memory, kNativeOrder), memory);
  machine.hypervisor.SetRawSpace(*guest[0], space);
  Keep();

  const auto populate = [&] {
    xen_pfn_t frame = 1;
    Populate(toolstack[0], kGuest, frame);
    return frame;
  };
  const auto set_up_grants = [&] {
    xen_pfn_t frame = 0;
    gnttab_setup_table setup = {};
    setup.dom = kGuest;
    setup.nr_frames = 1;
    setup.frame_list.p = &frame;
    Call(toolstack[0], __HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1);
    return frame;
  };
  for (const std::function<xen_pfn_t()>& get :
       {std::function(populate), std::function(set_up_grants)}) {
    // The same frame every time.
    const xen_pfn_t frame = get();
    ASSERT_EQ(WriteTo(guest[0], frame), 0);
    Run({get, [&] { WriteTo(guest[0], frame); }});
  }
}

TEST_F(MemoryLitmus, AMapIsReplacedWhileItIsRead) {
  Keep();
  Run({[&] {
         e820_entry entry = {.addr = 0, .size = 1 << 20, .type = 1};
         xen_foreign_memory_map map = {};
         map.domid = 0;
         map.map.nr_entries = 1;
         map.map.buffer.p = &entry;
         Require(Call(toolstack[0], __HYPERVISOR_memory_op, XENMEM_set_memory_map, &map) == 0,
                 "set");
       },
       [&] {
         e820_entry entry;
         xen_memory_map map = {};
         map.nr_entries = 1;
         map.buffer.p = &entry;
         Call(toolstack[1], __HYPERVISOR_memory_op, XENMEM_memory_map, &map);
       }});
}

TEST_F(MemoryLitmus, ATopologyIsReplacedWhileItIsRead) {
  BuildGuest(SpaceKind::kXcom);
  Keep();
  Run({[&] {
         xen_vmemrange range = {.start = 0, .end = 1, .flags = 0, .nid = 0};
         std::uint32_t distance = 10, to_vnode[2] = {}, to_pnode = 0;
         xen_domctl_t op = {};
         op.u.vnuma.nr_vnodes = 1;
         op.u.vnuma.nr_vcpus = 2;
         op.u.vnuma.nr_vmemranges = 1;
         op.u.vnuma.vmemrange.p = &range;
         op.u.vnuma.vdistance.p = &distance;
         op.u.vnuma.vcpu_to_vnode.p = to_vnode;
         op.u.vnuma.vnode_to_pnode.p = &to_pnode;
         Require(Domctl(toolstack[0], XEN_DOMCTL_setvnumainfo, kGuest, op) == 0, "set");
       },
       [&] {
         xen_vnuma_topology_info info = {};
         info.domid = kGuest;
         Call(toolstack[1], __HYPERVISOR_memory_op, XENMEM_get_vnumainfo, &info);
       }});
}

// ---- Events

// A port of the guest's that domain 0 sends to, and the page that the guest is told by.
class EventLitmus : public HypervisorLitmus {
 protected:
  EventLitmus() {
    BuildGuest(SpaceKind::kXcom);
    xen_add_to_physmap add = {
        .domid = kGuest, .size = 0, .space = XENMAPSPACE_shared_info, .idx = 0, .gpfn = 100};
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
    info = reinterpret_cast<shared_info_t*>(
        machine.BytesOf(machine.hypervisor.FrameOf(kGuest, add.gpfn)));
    evtchn_alloc_unbound offer = {.dom = kGuest, .remote_dom = 0, .port = 0};
    EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer), 0);
    evtchn_bind_interdomain bind = {
        .remote_dom = kGuest, .remote_port = offer.port, .local_port = 0};
    EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &bind), 0);
    local_port = bind.local_port;
    bit = 1ul << offer.port;
    // As a guest's kernel has it that has looked at everything.
    info->evtchn_pending[0] = 0;
    info->vcpu_info[0].evtchn_pending_sel = 0;
    info->vcpu_info[0].evtchn_upcall_pending = 0;
  }

  void Send() {
    evtchn_send send = {.port = local_port};
    Require(Call(toolstack[0], __HYPERVISOR_event_channel_op, EVTCHNOP_send, &send) == 0, "sent");
  }
  unsigned long Pending(std::memory_order order) {
    return std::atomic_ref(info->evtchn_pending[0]).load(order) & bit;
  }

  shared_info_t* info;
  evtchn_port_t local_port;
  unsigned long bit;
};

TEST_F(EventLitmus, WhoSeesAnEventSeesWhatWasBeforeIt) {
  Keep();
  int message;
  Run({[&] {
         message = 1;
         Send();
       },
       [&] {
         if (Pending(std::memory_order_acquire) != 0) Require(message == 1, "the message");
       }});
}

TEST_F(EventLitmus, WhoIsCalledFindsTheEvent) {
  Keep();
  Run({[&] { Send(); },
       [&] {
         vcpu_info_t& vcpu = info->vcpu_info[0];
         const std::atomic_ref upcall(vcpu.evtchn_upcall_pending);
         if (upcall.load(std::memory_order_acquire) == 0) return;
         const std::atomic_ref selector(vcpu.evtchn_pending_sel);
         Require(selector.load(std::memory_order_relaxed) == 1, "the selector");
         Require(Pending(std::memory_order_relaxed) != 0, "the event");
       }});
}

// A guest that unmasks its port and then looks is notified of an event, or sees it.
TEST_F(EventLitmus, NoneIsLostWhenItsMaskGoes) {
  info->evtchn_mask[0] = bit;
  Keep();
  bool is_seen;
  Run({[&] { Send(); },
       [&] {
         std::atomic_ref(info->evtchn_mask[0]).fetch_and(~bit, std::memory_order_seq_cst);
         is_seen = Pending(std::memory_order_seq_cst) != 0;
       }},
      2, [&] { Require(is_seen || info->vcpu_info[0].evtchn_upcall_pending != 0, "the event"); });
}

// The same in the FIFO ABI, in which the guest has a second port, too.
class EventFifoLitmus : public EventLitmus {
 protected:
  EventFifoLitmus() {
    evtchn_init_control control = {};
    control.control_gfn = kControl;
    EXPECT_EQ(GuestOp(EVTCHNOP_init_control, control), 0);
    EXPECT_EQ(GuestOp(EVTCHNOP_expand_array, evtchn_expand_array{.array_gfn = kArray}), 0);
    EXPECT_EQ(GuestOp(EVTCHNOP_bind_ipi, evtchn_bind_ipi{.vcpu = 0, .port = 0}), 0);
    info->vcpu_info[0].evtchn_upcall_pending = 0;
    words = reinterpret_cast<std::uint32_t*>(
        machine.BytesOf(machine.hypervisor.FrameOf(kGuest, kArray)));
    block = reinterpret_cast<evtchn_fifo_control_block_t*>(
        machine.BytesOf(machine.hypervisor.FrameOf(kGuest, kControl)));
  }

  template <class T>
  std::int64_t GuestOp(std::uint64_t op, const T& argument) {
    PutIntoGuest(kExtents, argument);
    return Call(guest[0], __HYPERVISOR_event_channel_op, op,
                InlineAddress({kExtents << kPageShift}).value);
  }
  std::uint32_t Word(std::uint32_t of, std::memory_order order) {
    return std::atomic_ref(words[of]).load(order);
  }
  static bool IsQueued(std::uint32_t word) { return word >> 29 == 5; }  // PENDING and LINKED

  static constexpr std::uint64_t kControl = 10, kArray = 11;
  static constexpr std::uint32_t kPort = 1, kSecond = 2;  // the first is domain 0's to send to
  std::uint32_t* words;
  evtchn_fifo_control_block_t* block;
};

TEST_F(EventFifoLitmus, WhoIsCalledFindsTheQueueAndItsHead) {
  Keep();
  Run({[&] { Send(); },
       [&] {
         const std::atomic_ref upcall(info->vcpu_info[0].evtchn_upcall_pending);
         if (upcall.load(std::memory_order_acquire) == 0) return;
         Require(std::atomic_ref(block->ready).load(std::memory_order_relaxed) == 1u << 7, "ready");
         Require(std::atomic_ref(block->head[7]).load(std::memory_order_relaxed) == kPort, "head");
         Require(IsQueued(Word(kPort, std::memory_order_relaxed)), "the event");
       }});
}

TEST_F(EventFifoLitmus, WhoFollowsALinkFindsTheEvent) {
  EXPECT_EQ(GuestOp(EVTCHNOP_send, evtchn_send{.port = kSecond}), 0);
  Keep();
  Run({[&] { Send(); },
       [&] {
         const std::uint32_t link = Word(kSecond, std::memory_order_acquire) & ((1u << 17) - 1);
         if (link == 0) return;
         Require(link == kPort, "the link");
         Require(IsQueued(Word(kPort, std::memory_order_relaxed)), "the event");
       }});
}

// A guest that takes the tail off its queue finds what comes behind it there, or is told of a head.
TEST_F(EventFifoLitmus, NoneIsLostBehindATailThatIsTakenOff) {
  EXPECT_EQ(GuestOp(EVTCHNOP_send, evtchn_send{.port = kSecond}), 0);
  block->ready = 0;
  info->vcpu_info[0].evtchn_upcall_pending = 0;
  Keep();
  bool is_found;
  Run({[&] { Send(); },
       [&] {
         const std::atomic_ref word(words[kSecond]);
         std::uint32_t seen = word.load(std::memory_order_relaxed);
         while (!word.compare_exchange_strong(seen, 0)) {
         }
         is_found = (seen & ((1u << 17) - 1)) == kPort;
       }},
      2, [&] {
        Require(is_found == (info->vcpu_info[0].evtchn_upcall_pending == 0), "the event");
        Require(is_found == (block->head[7] != kPort), "the head");
      });
}

// ---- Regions

class RegionLitmus : public HypervisorLitmus {
 protected:
  RegionLitmus() {
    BuildGuest(SpaceKind::kRegion);
    memory.emplace(GuestMemory());
    const auto layout = RegionLayout::Make({kBase}, 8 << kPageShift, kPageShift);
    table.emplace(
        *RegionTable<LockedMemory>::Build(*memory, *layout, kNativeOrder, std::span(&header, 1)));
    for (std::uint64_t i = 1; i < kUnbacked; ++i) Back(i);
  }
  void Back(std::uint64_t granule) {
    EXPECT_TRUE(table->Back(granule, {FrameBehind(granule) << kPageShift}).ok());
  }
  static std::uint64_t FrameBehind(std::uint64_t granule) { return 40 - granule; }

  std::int64_t Register(Vcpu* vcpu) {
    return Call(vcpu, kXencommOp, XencommOp::kRegister, header.value, 1);
  }
  std::int64_t UseRegion(Vcpu* vcpu, std::int64_t handle, std::uint64_t granule) {
    HypercallFrame frame = machine.Frame(__HYPERVISOR_xen_version, XENVER_extraversion,
                                         kBase + (granule << kPageShift));
    frame.region = static_cast<std::uint64_t>(handle);
    return machine.hypervisor.Call(*vcpu, frame);
  }

  static constexpr std::uint64_t kBase = 0x10000000;
  static constexpr std::uint64_t kUnbacked = 5;  // granule
  static constexpr PhysicalAddress header = {16 << kPageShift};
  std::optional<LockedMemory> memory;
  std::optional<RegionTable<LockedMemory>> table;
};

TEST_F(RegionLitmus, OneIsUsedWhileItIsRegistered) {
  Keep();
  const std::int64_t handle = Register(guest[0]);  // the same every time
  ASSERT_GT(handle, 0);
  Run({[&] { Require(Register(guest[0]) == handle, "the same"); },
       [&] { UseRegion(guest[1], handle, 2); }});
}

// Whoever's call finds a granule taken up sees what was put there before.
TEST_F(RegionLitmus, OneIsUsedWhileItIsExtended) {
  const std::int64_t handle = Register(guest[0]);
  Back(kUnbacked);
  Keep();
  std::byte* const bytes =
      machine.BytesOf(machine.hypervisor.FrameOf(kGuest, FrameBehind(kUnbacked)));
  Run({[&] {
         bytes[0] = std::byte{1};
         Require(Call(guest[0], kXencommOp, XencommOp::kExtend, handle, kUnbacked, 1, 0) == 0,
                 "extended");
       },
       [&] { UseRegion(guest[1], handle, kUnbacked); }});
}

// And what the page held before it came to the domain is gone, also when it came in mid-call.
TEST_F(RegionLitmus, OneIsExtendedByAPageThatHasJustCome) {
  const std::int64_t handle = Register(guest[0]);
  constexpr std::uint64_t kCome = 100;
  ASSERT_TRUE(table->Back(kUnbacked, {kCome << kPageShift}).ok());
  AllowMemory();
  Keep();
  Run({[&] { Call(guest[0], kXencommOp, XencommOp::kExtend, handle, kUnbacked, 1, 0); },
       [&] {
         // Two pages, which are not of a run that was cleared before.
         xen_pfn_t frame = kCome;
         xen_memory_reservation one = TestMachine::Reservation(kGuest, &frame, 1, 1);
         Require(Call(toolstack[0], __HYPERVISOR_memory_op, XENMEM_populate_physmap, &one) == 1,
                 "populated");
       },
       [&] { UseRegion(guest[1], handle, kUnbacked); }},
      1);
}

TEST_F(RegionLitmus, OneIsUnregisteredWhileItIsUsed) {
  const std::int64_t handle = Register(guest[0]);
  UseUpMemory();
  Keep();
  Run({[&] { UseRegion(guest[0], handle, 2); },
       [&] {
         Require(Call(guest[1], kXencommOp, XencommOp::kUnregister, handle) == 0, "unregistered");
         // What it was kept in is used again.
         HypercallFrame frame = machine.Frame(kXencommOp, XencommOp::kRegister, header.value, 1);
         machine.hypervisor.Hypercall(*guest[1], frame);
       }},
      2, nullptr, litmus::Orders::kAsTheyAre);
}

// ---- The log of what calls write

class LogDirtyLitmus : public HypervisorLitmus {
 protected:
  // Legs are short.
  LogDirtyLitmus()
      : HypervisorLitmus({.pool_bytes = kPoolBytes, .pages = 8, .preempt_interval = 4}) {
    BuildGuest(SpaceKind::kXcom);
    bytes = machine.BytesOf(machine.hypervisor.FrameOf(kGuest, kPage));
  }
  std::int64_t Shadow(Vcpu* vcpu, unsigned what, std::uint64_t* bits = nullptr) {
    xen_domctl_t op = {};
    op.u.shadow_op.op = what;
    op.u.shadow_op.pages = bits == nullptr ? 0 : 64;
    op.u.shadow_op.dirty_bitmap.p = reinterpret_cast<std::uint8_t*>(bits);
    return Domctl(vcpu, XEN_DOMCTL_shadow_op, kGuest, op);
  }
  void Enable(Vcpu* vcpu) {
    Require(Shadow(vcpu, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY) == 0, "enabled");
  }
  // Whether the page is told as written.
  bool Tells(Vcpu* vcpu, unsigned op) {
    std::uint64_t bits = 0;
    Require(Shadow(vcpu, op, &bits) == 0, "read");
    return (bits >> kPage & 1) != 0;
  }
  bool IsStillMarked() { return Tells(toolstack[0], XEN_DOMCTL_SHADOW_OP_PEEK); }
  // A CLEAN while a call writes: what it tells is what a copy finds, or it is told again.
  void CleanWhileACallWrites() {
    Keep();
    bool is_told;
    Moment told;
    Run({[&] { WriteTo(guest[0], kPage); },
         [&] {
           is_told = Tells(toolstack[0], XEN_DOMCTL_SHADOW_OP_CLEAN);
           told = litmus::Now();
         }},
        2, [&] {
          Require(IsStillMarked() || (is_told && IsWrittenBefore(told, bytes, 1)), "all is told");
        });
  }

  static constexpr std::uint64_t kPage = 20;  // that calls write
  std::byte* bytes;
};

TEST_F(LogDirtyLitmus, NothingIsLostByAClean) {
  Enable(toolstack[0]);
  CleanWhileACallWrites();
}

TEST_F(LogDirtyLitmus, NothingIsLostByACleanOfAPageThatIsMarked) {
  Enable(toolstack[0]);
  WriteTo(guest[0], kPage);
  CleanWhileACallWrites();
}

TEST_F(LogDirtyLitmus, NothingIsLostWithoutRoomForMarks) {
  Enable(toolstack[0]);
  UseUpMemory();
  CleanWhileACallWrites();
}

TEST_F(LogDirtyLitmus, NothingIsLostWhenItBegins) {
  Keep();
  Moment begun;
  Run({[&] { WriteTo(guest[0], kPage); },
       [&] {
         Enable(toolstack[0]);
         begun = litmus::Now();
       }},
      2, [&] { Require(IsStillMarked() || IsWrittenBefore(begun, bytes, 1), "all is told"); });
}

TEST_F(LogDirtyLitmus, CallsMarkAtTheSameTime) {
  Enable(toolstack[0]);
  Keep();
  Run({[&] { WriteTo(guest[0], kPage); }, [&] { WriteTo(guest[1], kPage + 1); }}, 2,
      [&] { Require(IsStillMarked(), "marked"); });
}

TEST_F(LogDirtyLitmus, ItEndsWhileACallMarks) {
  Enable(toolstack[0]);
  WriteTo(guest[0], kPage);
  UseUpMemory();
  PrepareBalloon(kGuestPages + 200);
  Keep();
  Run({[&] { WriteTo(guest[0], kPage); },
       [&] {
         // A leg is enough for the only block, and then there is a page for somebody else.
         xen_domctl_t op = {};
         op.cmd = XEN_DOMCTL_shadow_op;
         op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
         op.domain = kGuest;
         op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
         HypercallFrame frame = machine.Frame(__HYPERVISOR_domctl, &op);
         machine.hypervisor.Hypercall(*toolstack[0], frame);
         Balloon(guest[1], XENMEM_populate_physmap);
       }},
      2, nullptr, litmus::Orders::kAsTheyAre);
}

// ---- Grants

// A guest whose page domain 0 copies from, or to, and that takes it back meanwhile, as Linux does.
// Then it writes the page, and may grant another one by the same entry.
class GrantLitmus : public HypervisorLitmus {
 protected:
  void GrantFirst(std::uint32_t version) {
    PutIntoGuest(kReservation, gnttab_set_version{.version = version});
    ASSERT_EQ(Call(guest[0], __HYPERVISOR_grant_table_op, GNTTABOP_set_version,
                   InlineAddress({kReservation << kPageShift}).value, 1),
              0);
    std::byte* const table = Frame(XENMEM_resource_grant_table_id_shared);
    if (version == 1) {
      head_ = table + kRef * sizeof(grant_entry_v1_t);
      status_ = nullptr;
    } else {
      head_ = table + kRef * sizeof(grant_entry_v2_t);
      status_ = Frame(XENMEM_resource_grant_table_id_status) + kRef * sizeof(grant_status_t);
    }
    Grant(kFirst);
    page_ = machine.BytesOf(machine.hypervisor.FrameOf(kGuest, kFirst));
  }
  std::byte* Frame(std::uint32_t part) {
    std::uint64_t mfn = kNoFrame;
    EXPECT_EQ(machine.hypervisor.HoldResourceFrame(
                  kGuest, {.type = XENMEM_resource_grant_table, .id = part}, 0, &mfn),
              0);
    machine.hypervisor.ReleaseFrame(mfn);
    return machine.BytesOf(mfn);
  }

  void Copy(bool writes) {
    gnttab_copy op = {};
    op.len = 8;
    op.source.domid = writes ? DOMID_SELF : kGuest;
    op.dest.domid = writes ? kGuest : DOMID_SELF;
    if (writes) {
      op.flags = GNTCOPY_dest_gref;
      op.source.u.gmfn = 3;
      op.dest.u.ref = kRef;
    } else {
      op.flags = GNTCOPY_source_gref;
      op.source.u.ref = kRef;
      op.dest.u.gmfn = 3;
    }
    Require(Call(toolstack[0], __HYPERVISOR_grant_table_op, GNTTABOP_copy, &op, 1) == 0, "called");
  }
  // Whether nobody has it in use any more.
  bool TakeBack() {
    if (status_ == nullptr) return GrantEntry(head_, nullptr, kNativeOrder).Revoke();
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(head_), 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(reinterpret_cast<std::uint16_t*>(status_), __ATOMIC_SEQ_CST) == 0;
  }
  void Grant(std::uint64_t page) {
    GrantEntry(head_, status_, kNativeOrder).Store(GTF_permit_access, 0, page);
  }

  static constexpr std::uint32_t kRef = 9;
  static constexpr std::uint64_t kFirst = 20, kSecond = 21;  // pages
  std::byte* head_ = nullptr;
  std::byte* status_ = nullptr;
  std::byte* page_ = nullptr;
};

TEST_F(GrantLitmus, WhatIsTakenBackIsNobodyElses) {
  BuildGuest(SpaceKind::kXcom);
  for (const std::uint32_t version : {1, 2}) {
    for (const bool writes : {false, true}) {
      for (const bool grants_another : {false, true}) {
        GrantFirst(version);
        Keep();
        Run({[&] { Copy(writes); },
             [&] {
               if (!TakeBack()) return;
               *page_ = std::byte{1};
               if (grants_another) Grant(kSecond);
             }},
            2);
      }
    }
  }
}

// ---- Domains

class DomainLitmus : public HypervisorLitmus {
 protected:
  // An HVM domain's paging pool alone has 256 pages.
  DomainLitmus() : HypervisorLitmus({.pool_bytes = 2 * kPoolBytes, .pages = 8}) {}

  std::int64_t Create(Vcpu* vcpu, std::uint16_t id, std::uint32_t flags = 0) {
    return Domctl(vcpu, XEN_DOMCTL_createdomain, id, TestMachine::CreateRequest(flags));
  }
  std::int64_t Offer(Vcpu* vcpu, std::uint16_t id) {
    evtchn_alloc_unbound offer = {.dom = id, .remote_dom = 0, .port = 0};
    return Call(vcpu, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer);
  }

  static constexpr std::uint16_t kNew = 5;
  static constexpr std::uint16_t kFar = 600;  // in a leaf of its own
  static constexpr std::uint32_t kHvm = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
};

TEST_F(DomainLitmus, OneIsFoundWhileItIsMade) {
  for (const std::uint16_t id : {kNew, kFar}) {
    Keep();
    Run({[&] { Create(toolstack[0], id); }, [&] { Offer(toolstack[1], id); }}, 1);
    // As the next one after an id that nobody has.
    Run({[&] { Create(toolstack[0], id); },
         [&] { Domctl(toolstack[1], XEN_DOMCTL_getdomaininfo, id - 1); }},
        1);
  }
}

TEST_F(DomainLitmus, ItsSharedInfoIsMappedWhileItIsMade) {
  Keep();
  Run({[&] { Create(toolstack[0], kNew, kHvm); },
       [&] {
         xen_add_to_physmap add = {
             .domid = kNew, .size = 0, .space = XENMAPSPACE_shared_info, .idx = 0, .gpfn = 3};
         Call(toolstack[1], __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add);
       }},
      0, nullptr, litmus::Orders::kAsTheyAre);
}

TEST_F(DomainLitmus, OneEndsWhileItIsUsed) {
  ASSERT_EQ(machine.CreateDomain(kNew, 4, kHvm), kNew);
  Keep();
  Run({[&] { Offer(toolstack[0], kNew); },
       [&] {
         Domctl(toolstack[1], XEN_DOMCTL_destroydomain, kNew);
         Create(toolstack[1], kFar);
       }},
      1, nullptr, litmus::Orders::kAsTheyAre);
}

}  // namespace
}  // namespace xencomm::hypervisor
