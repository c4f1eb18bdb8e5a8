// Every buffer that a call points at, to any depth.
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/schema/op.h"
#include "hcall/schema/swap.h"
#include "hcall/schema/words.h"
#include "tests/unit/schema_walk.h"

namespace xencomm::schema {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ByteOrder kOther = Opposite(kNativeOrder);

constexpr Direction kIn = Direction::kIn;
constexpr Direction kOut = Direction::kOut;
constexpr Direction kInOut = Direction::kInOut;

TEST_F(Walk, FindsTheArgumentAndItsBuffer) {
  const std::uint64_t buffer = guest_.Room(4 * sizeof(xen_domctl_getdomaininfo));
  const std::uint64_t sysctl = Sysctl(XEN_SYSCTL_getdomaininfolist, [&](auto& u) {
    u.getdomaininfolist.max_domains = 4;
    Set(u.getdomaininfolist.buffer, buffer);
  });
  EXPECT_THAT(Buffers(__HYPERVISOR_sysctl, {sysctl}),
              ElementsAre(Seen{"u_sysctl", 1, sizeof(xen_sysctl), kInOut},
                          Seen{"buffer", 4, 4 * sizeof(xen_domctl_getdomaininfo), kOut}));
  EXPECT_TRUE(finding_.ok());
}

TEST_F(Walk, FindsTheSameInTheOtherOrder) {
  xen_sysctl sysctl = {};
  sysctl.cmd = XEN_SYSCTL_readconsole;
  sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  sysctl.u.readconsole.count = 77;
  Set(sysctl.u.readconsole.buffer, guest_.Room(77));
  Swap(Find("sysctl", "readconsole")->argument(), &sysctl, kNativeOrder);
  EXPECT_THAT(
      Buffers(__HYPERVISOR_sysctl, {guest_.New(sysctl)}, kOther),
      ElementsAre(Seen{"u_sysctl", 1, sizeof(xen_sysctl), kInOut}, Seen{"buffer", 77, 77, kOut}));
}

TEST_F(Walk, CountsBitmapsOnlyWhenTheirFlagIsSet) {
  const std::uint64_t bitmap = guest_.Room(9);
  for (const auto& [flags, paths] : {std::pair(0u, std::vector<std::string>{}),
                                     {XEN_VCPUAFFINITY_HARD, {"cpumap_hard.bitmap"}},
                                     {XEN_VCPUAFFINITY_SOFT, {"cpumap_soft.bitmap"}},
                                     {XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT,
                                      {"cpumap_hard.bitmap", "cpumap_soft.bitmap"}}}) {
    const std::uint64_t domctl = Domctl(XEN_DOMCTL_getvcpuaffinity, [&, f = flags](auto& u) {
      u.vcpuaffinity.flags = f;
      u.vcpuaffinity.cpumap_hard.nr_bits = 65;
      Set(u.vcpuaffinity.cpumap_hard.bitmap, bitmap);
      u.vcpuaffinity.cpumap_soft = u.vcpuaffinity.cpumap_hard;
    });
    std::vector<std::string> found;
    for (const Seen& seen : Buffers(__HYPERVISOR_domctl, {domctl})) {
      if (seen.path == "u_domctl") continue;
      found.push_back(seen.path);
      EXPECT_EQ(seen.bytes, 9u);
    }
    EXPECT_EQ(found, paths) << "flags " << flags;
  }
}

TEST_F(Walk, FollowsTheSecondLevel) {
  std::array<xen_processor_csd, 3> dependencies = {};
  std::array<xen_processor_cx, 2> states = {};
  states[1].dpcnt = 3;
  Set(states[1].dp, guest_.New(dependencies.data(), 3));
  xen_platform_op op = {};
  op.cmd = XENPF_set_processor_pminfo;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.set_pminfo.type = XEN_PM_CX;
  op.u.set_pminfo.u.power.count = 2;
  Set(op.u.set_pminfo.u.power.states, guest_.New(states.data(), 2));
  EXPECT_THAT(Buffers(__HYPERVISOR_platform_op, {guest_.New(op)}),
              ElementsAre(Seen{"u_xenpf_op", 1, sizeof(xen_platform_op), kIn},
                          Seen{"u.power.states", 2, 2 * sizeof(xen_processor_cx), kIn},
                          Seen{"dp", 3, 3 * sizeof(xen_processor_csd), kIn}));
}

// Any number but 0 writes the domain: its memory is read then.
TEST_F(Walk, TakesTheDirectionFromTheOp) {
  for (const auto& [gwr, direction] : {std::pair(0, kOut), {1, kIn}, {2, kIn}}) {
    const std::uint64_t domctl = Domctl(XEN_DOMCTL_gdbsx_guestmemio, [&, w = gwr](auto& u) {
      u.gdbsx_guest_memio.gwr = static_cast<std::uint8_t>(w);
      u.gdbsx_guest_memio.len = 5;
      u.gdbsx_guest_memio.uva = Guest::kBase;
    });
    EXPECT_THAT(
        Buffers(__HYPERVISOR_domctl, {domctl}),
        ElementsAre(Seen{"u_domctl", 1, sizeof(xen_domctl), kInOut}, Seen{"uva", 5, 5, direction}))
        << gwr;
    EXPECT_TRUE(finding_.ok());
  }
}

// Performance states come with XEN_PX_PSS only; without it the pointer is not looked at.
TEST_F(Walk, LooksAtStatesOnlyWhenTheirFlagIsSet) {
  xen_platform_op op = {};
  op.cmd = XENPF_set_processor_pminfo;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.set_pminfo.type = XEN_PM_PX;
  op.u.set_pminfo.u.perf.flags = XEN_PX_PCT | XEN_PX_PPC;
  op.u.set_pminfo.u.perf.state_count = 2;
  const Seen argument = {"u_xenpf_op", 1, sizeof(xen_platform_op), kIn};
  EXPECT_THAT(Buffers(__HYPERVISOR_platform_op, {guest_.New(op)}), ElementsAre(argument));
  EXPECT_TRUE(finding_.ok());
  op.u.set_pminfo.u.perf.flags |= XEN_PX_PSS;
  Set(op.u.set_pminfo.u.perf.states, guest_.Room(2 * sizeof(xen_processor_px)));
  EXPECT_THAT(Buffers(__HYPERVISOR_platform_op, {guest_.New(op)}),
              ElementsAre(argument, Seen{"u.perf.states", 2, 2 * sizeof(xen_processor_px), kIn}));
}

// Directions that are easily got wrong, as Xen 4.17's source has them.
TEST(Rows, HaveTheDirectionsOfTheHypervisor) {
  const struct {
    const char* hypercall;
    const char* op;
    const char* path;
    Direction direction;
  } kRows[] = {
      {"memory_op", "increase_reservation", "extent_start", kOut},
      {"memory_op", "decrease_reservation", "extent_start", kIn},
      {"memory_op", "populate_physmap", "extent_start", kInOut},
      {"memory_op", "exchange", "in.extent_start", kIn},
      {"memory_op", "exchange", "in.mem_flags", Direction::kIgnored},
      {"memory_op", "exchange", "out.extent_start", kInOut},
      {"domctl", "soft_reset", "cmd", kInOut},
      {"domctl", "pausedomain", "cmd", kIn},
      {"physdev_op", "map_pirq", "type", kInOut},
      {"physdev_op", "map_pirq", "index", kIn},
      {"hvm_op", "altp2m", "u.suppress_ve_multi.last_gfn", kInOut},
  };
  for (const auto& row : kRows) {
    bool is_found = false;
    for (const Part& part : Find(row.hypercall, row.op)->argument().parts()) {
      if (std::string(schema::WordsOf(part).path) != row.path) continue;
      is_found = true;
      EXPECT_EQ(part.direction(), row.direction) << row.op << " " << row.path;
    }
    EXPECT_TRUE(is_found) << row.op << " " << row.path;
  }
}

TEST_F(Walk, ReadsACountThatStandsInTheBuffer) {
  const std::array<std::uint32_t, 3> pdc = {1, 1, 0xff};
  xen_platform_op op = {};
  op.cmd = XENPF_set_processor_pminfo;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.set_pminfo.type = XEN_PM_PDC;
  Set(op.u.set_pminfo.u.pdc, guest_.New(pdc.data(), pdc.size()));
  EXPECT_THAT(Buffers(__HYPERVISOR_platform_op, {guest_.New(op)}),
              ElementsAre(Seen{"u_xenpf_op", 1, sizeof(xen_platform_op), kIn},
                          Seen{"u.pdc", 3, 12, kInOut}));
}

TEST_F(Walk, CountsTextToItsEnd) {
  const char16_t name[] = u"BootOrder";
  xen_platform_op op = {};
  op.cmd = XENPF_efi_runtime_call;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.efi_runtime_call.function = XEN_EFI_get_variable;
  Set(op.u.efi_runtime_call.u.get_variable.name, guest_.New(name, std::size(name)));
  EXPECT_THAT(Buffers(__HYPERVISOR_platform_op, {guest_.New(op)}),
              ElementsAre(Seen{"u_xenpf_op", 1, sizeof(xen_platform_op), kInOut},
                          Seen{"u.get_variable.name", 10, 20, kIn}));
}

TEST_F(Walk, CountsATrapTableToItsZero) {
  std::array<trap_info, 3> traps = {};
  traps[0].address = 1;
  traps[1].address = 2;
  EXPECT_THAT(Buffers(__HYPERVISOR_set_trap_table, {guest_.New(traps.data(), 3)}),
              ElementsAre(Seen{"traps", 3, 3 * sizeof(trap_info), kIn}));
  EXPECT_THAT(Buffers(__HYPERVISOR_set_trap_table, {0}), IsEmpty());
  EXPECT_TRUE(finding_.ok());
}

TEST_F(Walk, FindsTheEndOfTheStructureItself) {
  struct {
    std::uint32_t len = 20;
    unsigned char buf[20] = {};
  } build_id;
  EXPECT_THAT(Buffers(__HYPERVISOR_xen_version, {XENVER_build_id, guest_.New(build_id)}),
              ElementsAre(Seen{"arg", 1, 4, kIn}, Seen{"buf", 20, 20, kOut}));
}

// Xen masks two bits off, the kind of flush; UVMF_ALL is what an address of 4 means.
TEST_F(Walk, MasksFlagsOutOfAnAddress) {
  const std::uint64_t mask = guest_.Room(24);
  for (const std::uint64_t hypercall :
       {__HYPERVISOR_update_va_mapping, __HYPERVISOR_update_va_mapping_otherdomain}) {
    EXPECT_THAT(Buffers(hypercall, {0, 0, mask | UVMF_INVLPG}),
                ElementsAre(Seen{"flags", 16, 16, kIn}));  // 70 vcpus, in words of 64
    for (const std::uint64_t address : {mask, mask + 4, mask + 8, std::uint64_t{8}}) {
      std::vector<std::uint64_t> seen;
      auto note = [&](const Buffer& buffer) {
        seen.push_back(buffer.address.value);
        return true;
      };
      ForEachBuffer(MakeCall(hypercall, {0, 0, address | UVMF_TLB_FLUSH}), {guest_}, note);
      EXPECT_THAT(seen, ElementsAre(address));
    }
    for (const std::uint64_t flags : {UVMF_NONE, UVMF_LOCAL, UVMF_ALL}) {
      EXPECT_THAT(Buffers(hypercall, {0, 0, flags | UVMF_TLB_FLUSH}), IsEmpty());
      EXPECT_TRUE(finding_.ok());
    }
  }
}

// How many bits of the register with the op Xen looks at: as many as its handler's parameter has,
// and of those what its own mask leaves.
TEST(Rows, FindAnOpByTheBitsThatTheHypervisorLooksAt) {
  const struct {
    std::uint64_t hypercall;
    std::uint64_t op;
    std::uint64_t bits;
  } kOps[] = {
      {__HYPERVISOR_hvm_op, HVMOP_get_param, ~std::uint64_t{0}},
      {__HYPERVISOR_kexec_op, KEXEC_CMD_kexec_status, ~std::uint64_t{0}},
      {__HYPERVISOR_memory_op, XENMEM_current_reservation, 0x3f},
      {__HYPERVISOR_grant_table_op, GNTTABOP_query_size, 0xfff},
      {__HYPERVISOR_xen_version, XENVER_version, 0xffffffff},
      {__HYPERVISOR_event_channel_op, EVTCHNOP_send, 0xffffffff},
      {__HYPERVISOR_physdev_op, PHYSDEVOP_eoi, 0xffffffff},
      {__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0xffffffff},
      {__HYPERVISOR_sched_op, SCHEDOP_yield, 0xffffffff},
      {__HYPERVISOR_console_io, CONSOLEIO_read, 0xffffffff},
      {__HYPERVISOR_callback_op, CALLBACKOP_register, 0xffffffff},
      {__HYPERVISOR_nmi_op, XENNMI_register_callback, 0xffffffff},
      {__HYPERVISOR_xenpmu_op, XENPMU_flush, 0xffffffff},
      {__HYPERVISOR_xenoprof_op, XENOPROF_start, 0xffffffff},
      {__HYPERVISOR_argo_op, XEN_ARGO_OP_notify, 0xffffffff},
      {__HYPERVISOR_hypfs_op, XEN_HYPFS_OP_read, 0xffffffff},
  };
  for (const auto& [hypercall, number, bits] : kOps) {
    const Op* const op = Find(hypercall, number);
    ASSERT_NE(op, nullptr) << hypercall;
    for (unsigned bit = 0; bit < 64; ++bit) {
      const std::uint64_t other = number ^ std::uint64_t{1} << bit;
      const bool is_same = Find(hypercall, other) == op;
      EXPECT_EQ(is_same, (bits >> bit & 1) == 0)
          << schema::WordsOf(op->hypercall()).name << ", bit " << bit;
    }
  }
}

// The upper half of an int's register is no part of a count.
TEST_F(Walk, CountsByTheBitsThatTheHypervisorLooksAt) {
  constexpr std::uint64_t kAbove = std::uint64_t{3} << 32;
  constexpr std::uint64_t kGoesOn = std::uint64_t{1} << 31;  // MMU_UPDATE_PREEMPTED
  const std::uint64_t room = guest_.Room(64);
  EXPECT_THAT(Buffers(__HYPERVISOR_console_io, {CONSOLEIO_write, kAbove | 5, room}),
              ElementsAre(Seen{"buffer", 5, 5, kIn}));
  EXPECT_THAT(Buffers(__HYPERVISOR_grant_table_op, {GNTTABOP_get_version, room, kAbove}),
              ElementsAre(Seen{"uop", 1, sizeof(gnttab_get_version), kInOut}));
  EXPECT_THAT(Buffers(__HYPERVISOR_mmu_update, {room, kAbove | kGoesOn | 2, room + 32}),
              ElementsAre(Seen{"ureqs", 2, 32, kIn}, Seen{"pdone", 1, 4, kInOut}));
  EXPECT_THAT(Buffers(__HYPERVISOR_multicall, {room, kAbove}), IsEmpty());
  EXPECT_TRUE(finding_.ok());

  xen_dm_op op = {};
  op.op = XEN_DMOP_nr_vcpus;
  xen_dm_op_buf buffer = {};
  Set(buffer.h, guest_.New(op));
  buffer.size = sizeof(op);
  EXPECT_EQ(Buffers(__HYPERVISOR_dm_op, {1, kAbove | 1, guest_.New(buffer)}).size(), 2u);
  EXPECT_TRUE(finding_.ok());
}

// EDD's length is read and written back whatever it is.
TEST_F(Walk, CountsTheLengthThatStandsInTheBufferItself) {
  for (const auto& [length, bytes] : {std::pair(0, 2), {1, 2}, {2, 2}, {3, 3}, {30, 30}}) {
    xen_platform_op op = {};
    op.cmd = XENPF_firmware_info;
    op.interface_version = XENPF_INTERFACE_VERSION;
    op.u.firmware_info.type = XEN_FW_DISK_INFO;
    Set(op.u.firmware_info.u.disk_info.edd_params, guest_.New(static_cast<std::uint16_t>(length)));
    const auto wanted = static_cast<std::uint64_t>(bytes);
    EXPECT_THAT(Buffers(__HYPERVISOR_platform_op, {guest_.New(op)}),
                ElementsAre(Seen{"u_xenpf_op", 1, sizeof(xen_platform_op), kInOut},
                            Seen{"u.disk_info.edd_params", wanted, wanted, kInOut}))
        << length;
  }
}

// Of these ops Xen does not look at the count.
TEST_F(Walk, CountsOneGrantTableVersionWhateverTheCount) {
  for (const std::uint64_t op : {GNTTABOP_set_version, GNTTABOP_get_version}) {
    for (const std::uint64_t count : {0, 1, 7}) {
      const std::uint64_t version = guest_.Room(8);
      EXPECT_EQ(Buffers(__HYPERVISOR_grant_table_op, {op, version, count}).size(), 1u) << count;
    }
  }
}

TEST_F(Walk, CountsFromTheFirstToTheLast) {
  for (const auto& [first, last, count] : {std::array{7u, 9u, 3u}, {7u, 7u, 1u}, {7u, 6u, 0u}}) {
    const std::uint64_t sysctl =
        Sysctl(XEN_SYSCTL_page_offline_op, [&, f = first, l = last](auto& u) {
          u.page_offline.cmd = sysctl_query_page_offline;
          u.page_offline.start = f;
          u.page_offline.end = l;
          Set(u.page_offline.status, guest_.Room(12));
        });
    const std::vector<Seen> seen = Buffers(__HYPERVISOR_sysctl, {sysctl});
    EXPECT_EQ(seen.size() == 2 ? seen[1].count : 0, count);
    EXPECT_TRUE(finding_.ok());
  }
}

// A port's bit is read with the byte after it.
TEST_F(Walk, CountsOneByteBeyondAPortBitmap) {
  for (const auto& [ports, bytes] : {std::pair(0u, 0u), {1, 2}, {8, 2}, {9, 3}, {65536, 8193}}) {
    physdev_set_iobitmap bitmap = {};
    bitmap.nr_ports = ports;
    Set(bitmap.bitmap, guest_.Room(8193));
    std::uint64_t seen = 0;
    for (const Seen& each :
         Buffers(__HYPERVISOR_physdev_op, {PHYSDEVOP_set_iobitmap, guest_.New(bitmap)})) {
      if (each.path == "bitmap") seen = each.bytes;
    }
    EXPECT_EQ(seen, bytes) << ports;
    EXPECT_TRUE(finding_.ok()) << ports;
  }
  physdev_set_iobitmap bitmap = {};
  bitmap.nr_ports = 65537;
  Set(bitmap.bitmap, guest_.Room(8194));
  Buffers(__HYPERVISOR_physdev_op, {PHYSDEVOP_set_iobitmap, guest_.New(bitmap)});
  EXPECT_EQ(finding_.problem, Problem::kTooMany);
}

TEST_F(Walk, LooksAtNoProcessorsOfABroadcast) {
  for (const bool broadcast : {false, true}) {
    xen_mc mc = {};
    mc.cmd = XEN_MC_inject_v2;
    mc.interface_version = XEN_MCA_INTERFACE_VERSION;
    mc.u.mc_inject_v2.flags = broadcast ? XEN_MC_INJECT_CPU_BROADCAST : 0;
    mc.u.mc_inject_v2.cpumap.nr_bits = 9;
    Set(mc.u.mc_inject_v2.cpumap.bitmap, Guest::kBase);
    EXPECT_EQ(Buffers(__HYPERVISOR_mca, {guest_.New(mc)}).size(), broadcast ? 1u : 2u);
    EXPECT_TRUE(finding_.ok());
  }
}

TEST_F(Walk, FollowsEachEntryOfAMulticall) {
  xen_memory_reservation reservation = {};
  reservation.nr_extents = 8;
  Set(reservation.extent_start, guest_.Room(64));
  std::array<multicall_entry, 2> entries = {};
  entries[0] = {
      __HYPERVISOR_memory_op, 0, {XENMEM_populate_physmap | 3 << 6, guest_.New(reservation)}};
  entries[1] = {__HYPERVISOR_vm_assist, 0, {}};
  EXPECT_THAT(Buffers(__HYPERVISOR_multicall, {guest_.New(entries.data(), 2), 2}),
              ElementsAre(Seen{"call_list", 2, 2 * sizeof(multicall_entry), kInOut},
                          Seen{"arg", 1, sizeof(xen_memory_reservation), kIn},
                          Seen{"extent_start", 8, 64, kInOut}));
}

TEST_F(Walk, FollowsADmOpsBuffers) {
  xen_dm_op op = {};
  op.op = XEN_DMOP_track_dirty_vram;
  op.u.track_dirty_vram.nr = 100;
  std::array<xen_dm_op_buf, 3> buffers = {};
  Set(buffers[0].h, guest_.New(op));
  buffers[0].size = sizeof(op);
  Set(buffers[1].h, guest_.Room(13));
  buffers[1].size = 13;
  const std::uint64_t list = guest_.New(buffers.data(), 3);
  EXPECT_THAT(Buffers(__HYPERVISOR_dm_op, {1, 2, list}),
              ElementsAre(Seen{"bufs", 2, 32, kIn}, Seen{"h", 1, sizeof(op), kIn},
                          Seen{"dirty_bitmap", 13, 13, kOut}));
  EXPECT_TRUE(finding_.ok());

  // XSA-506: an op that needs a second buffer, and gets one.
  for (const auto& [count, problem] : {std::pair(0u, Problem::kTooFew),
                                       {1u, Problem::kTooFew},
                                       {2u, Problem::kNone},
                                       {3u, Problem::kTooMany},
                                       {~0u, Problem::kTooMany}}) {
    Buffers(__HYPERVISOR_dm_op, {1, count, list});
    EXPECT_EQ(finding_.problem, problem) << count;
  }
}

TEST_F(Walk, CountsADmOpsElementsByTheirSize) {
  xen_dm_op op = {};
  op.op = XEN_DMOP_modified_memory;
  std::array<xen_dm_op_buf, 2> buffers = {};
  Set(buffers[0].h, guest_.New(op));
  buffers[0].size = sizeof(op);
  Set(buffers[1].h, guest_.Room(40));
  buffers[1].size = 2 * sizeof(xen_dm_op_modified_memory_extent) + 3;
  EXPECT_EQ(Buffers(__HYPERVISOR_dm_op, {1, 2, guest_.New(buffers.data(), 2)}).back().count, 2u);
}

TEST_F(Walk, LooksAtNoPointerOfNoElements) {
  const std::uint64_t sysctl = Sysctl(XEN_SYSCTL_getdomaininfolist, [&](auto& u) {
    Set(u.getdomaininfolist.buffer, 0xdead0000dead0000);
  });
  EXPECT_EQ(Buffers(__HYPERVISOR_sysctl, {sysctl}).size(), 1u);
  EXPECT_TRUE(finding_.ok());
}

}  // namespace
}  // namespace xencomm::schema
