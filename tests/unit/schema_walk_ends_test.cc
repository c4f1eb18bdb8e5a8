// How a walk ends early: hostile counts and pointers, what is unknown, what cannot be read.
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"
#include "tests/unit/schema_walk.h"

namespace xencomm::schema {
namespace {

TEST_F(Walk, RefusesTextThatIsNull) {
  xen_platform_op op = {};
  op.cmd = XENPF_efi_runtime_call;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.efi_runtime_call.function = XEN_EFI_get_variable;
  Buffers(__HYPERVISOR_platform_op, {guest_.New(op)});
  EXPECT_EQ(finding_.problem, Problem::kNull);
  EXPECT_STREQ(WordsOf(*finding_.part).path, "u.get_variable.name");
}

TEST_F(Walk, RefusesTextWithoutAnEnd) {
  const std::vector<std::uint16_t> letters(70000, 'x');
  xen_platform_op op = {};
  op.cmd = XENPF_efi_runtime_call;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.efi_runtime_call.function = XEN_EFI_get_variable;
  Set(op.u.efi_runtime_call.u.get_variable.name, guest_.New(letters.data(), letters.size()));
  Buffers(__HYPERVISOR_platform_op, {guest_.New(op)});
  EXPECT_EQ(finding_.problem, Problem::kEndless);
  EXPECT_STREQ(schema::WordsOf(*finding_.part).path, "u.get_variable.name");
}

TEST_F(Walk, LooksAtNoMoreThan65536ElementsForTheEnd) {
  std::vector<std::uint16_t> letters(65537, 'x');
  letters.back() = 0;
  const std::uint64_t name = guest_.New(letters.data(), letters.size());
  for (const auto& [skipped, count] : {std::pair(0u, 0u), {1u, 65536u}}) {
    xen_platform_op op = {};
    op.cmd = XENPF_efi_runtime_call;
    op.interface_version = XENPF_INTERFACE_VERSION;
    op.u.efi_runtime_call.function = XEN_EFI_get_variable;
    Set(op.u.efi_runtime_call.u.get_variable.name, name + skipped * sizeof(letters[0]));
    const std::vector<Seen> seen = Buffers(__HYPERVISOR_platform_op, {guest_.New(op)});
    EXPECT_EQ(finding_.problem, count == 0 ? Problem::kEndless : Problem::kNone);
    EXPECT_EQ(seen.size() == 2 ? seen[1].count : 0, count);
  }
}

TEST_F(Walk, RefusesAMulticallInAMulticall) {
  multicall_entry entry = {__HYPERVISOR_multicall, 0, {}};
  Buffers(__HYPERVISOR_multicall, {guest_.New(entry), 1});
  EXPECT_EQ(finding_.problem, Problem::kNested);
  EXPECT_EQ(finding_.entry, 0u);
}

TEST_F(Walk, RefusesADmOpsNullsByName) {
  Buffers(__HYPERVISOR_dm_op, {1, 1, 0});
  EXPECT_EQ(finding_.problem, Problem::kNull);
  EXPECT_STREQ(WordsOf(*finding_.part).path, "bufs");

  xen_dm_op op = {};
  op.op = XEN_DMOP_track_dirty_vram;
  std::array<xen_dm_op_buf, 2> buffers = {};
  buffers[0].size = sizeof(op);
  Buffers(__HYPERVISOR_dm_op, {1, 2, guest_.New(buffers.data(), 2)});
  EXPECT_EQ(finding_.problem, Problem::kNull);
  EXPECT_STREQ(WordsOf(*finding_.part).path, "h");

  Set(buffers[0].h, guest_.New(op));
  buffers[1].size = 8;
  Buffers(__HYPERVISOR_dm_op, {1, 2, guest_.New(buffers.data(), 2)});
  EXPECT_EQ(finding_.problem, Problem::kNull);
  EXPECT_STREQ(WordsOf(*finding_.part).path, "dirty_bitmap");
}

// Four bytes are the op's number, and nothing of an op that is known fits them.
TEST_F(Walk, ReadsADmOpsNumberWhenThereIsNoMore) {
  xen_dm_op_buf buffer = {};
  Set(buffer.h, guest_.New(std::uint32_t{999}));
  buffer.size = sizeof(std::uint32_t);
  Buffers(__HYPERVISOR_dm_op, {1, 1, guest_.New(buffer)});
  EXPECT_EQ(finding_.problem, Problem::kUnknownOp);
  EXPECT_EQ(finding_.number, 999u);
}

TEST_F(Walk, RefusesADmOpThatIsCutOff) {
  xen_dm_op op = {};
  op.op = XEN_DMOP_track_dirty_vram;
  std::array<xen_dm_op_buf, 2> buffers = {};
  Set(buffers[0].h, guest_.New(op));
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{3},
        offsetof(xen_dm_op, u) + sizeof(xen_dm_op_track_dirty_vram) - 1}) {
    buffers[0].size = size;
    Buffers(__HYPERVISOR_dm_op, {1, 2, guest_.New(buffers.data(), 2)});
    EXPECT_EQ(finding_.problem, Problem::kTooFew) << size;
  }
}

TEST_F(Walk, TellsNullsApart) {
  Buffers(__HYPERVISOR_sysctl, {0});
  EXPECT_EQ(finding_.problem, Problem::kNull);
  EXPECT_STREQ(schema::WordsOf(*finding_.part).path, "u_sysctl");
  // Allowed: asks for the count.
  const std::uint64_t topology =
      Sysctl(XEN_SYSCTL_cputopoinfo, [&](auto& u) { u.cputopoinfo.num_cpus = 9; });
  EXPECT_EQ(Buffers(__HYPERVISOR_sysctl, {topology}).size(), 1u);
  EXPECT_TRUE(finding_.ok());
  // Not allowed.
  const std::uint64_t list =
      Sysctl(XEN_SYSCTL_getdomaininfolist, [&](auto& u) { u.getdomaininfolist.max_domains = 9; });
  Buffers(__HYPERVISOR_sysctl, {list});
  EXPECT_EQ(finding_.problem, Problem::kNull);
  EXPECT_STREQ(schema::WordsOf(*finding_.op).name, "getdomaininfolist");
  EXPECT_STREQ(schema::WordsOf(*finding_.part).path, "buffer");
}

TEST_F(Walk, NamesWhatItDoesNotKnow) {
  Buffers(63, {});
  EXPECT_EQ(finding_.problem, Problem::kUnknownHypercall);
  EXPECT_EQ(finding_.number, 63u);

  Buffers(__HYPERVISOR_memory_op, {30, 0});
  EXPECT_EQ(finding_.problem, Problem::kUnknownOp);
  EXPECT_EQ(finding_.number, 30u);

  Buffers(__HYPERVISOR_sysctl, {Sysctl(999, [](auto&) {})});
  EXPECT_EQ(finding_.problem, Problem::kUnknownOp);
  EXPECT_EQ(finding_.number, 999u);

  xen_sysctl old = {};
  old.cmd = XEN_SYSCTL_physinfo;
  old.interface_version = 0x12;
  Buffers(__HYPERVISOR_sysctl, {guest_.New(old)});
  EXPECT_EQ(finding_.problem, Problem::kUnknownVersion);
  EXPECT_EQ(finding_.number, 0x12u);

  Buffers(__HYPERVISOR_sysctl,
          {Sysctl(XEN_SYSCTL_cpupool_op, [](auto& u) { u.cpupool_op.op = 77; })});
  EXPECT_EQ(finding_.problem, Problem::kUnknownVariant);
  EXPECT_EQ(finding_.number, 77u);
  EXPECT_STREQ(schema::WordsOf(*finding_.part).path, "op");
}

TEST_F(Walk, RefusesCountsThatPassTheLastAddress) {
  const struct {
    std::uint64_t extents;
    std::uint64_t address;
  } kCases[] = {
      {~std::uint64_t{0}, Guest::kBase},             // the product
      {std::uint64_t{1} << 61, Guest::kBase},        // exactly 2^64
      {(std::uint64_t{1} << 61) - 1, Guest::kBase},  // the end
      {2, ~std::uint64_t{0} - 7},                    // one element fits, two do not
      {1, ~std::uint64_t{0} - 6},                    // one byte too far
  };
  for (const auto& [extents, address] : kCases) {
    xen_memory_reservation reservation = {};
    reservation.nr_extents = extents;
    Set(reservation.extent_start, address);
    Buffers(__HYPERVISOR_memory_op, {XENMEM_populate_physmap, guest_.New(reservation)});
    EXPECT_EQ(finding_.problem, Problem::kOverflow) << extents << " at " << address;
    EXPECT_STREQ(schema::WordsOf(*finding_.part).path, "extent_start");
  }
}

TEST_F(Walk, TakesABufferThatEndsWithTheLastByte) {
  xen_memory_reservation reservation = {};
  reservation.nr_extents = 1;
  Set(reservation.extent_start, ~std::uint64_t{0} - 7);
  EXPECT_EQ(
      Buffers(__HYPERVISOR_memory_op, {XENMEM_populate_physmap, guest_.New(reservation)}).size(),
      2u);
  EXPECT_TRUE(finding_.ok());
}

TEST_F(Walk, SaysWhereItCouldNotRead) {
  Buffers(__HYPERVISOR_sysctl, {guest_.end() - 8});
  EXPECT_EQ(finding_.problem, Problem::kUnreadable);
  EXPECT_EQ(finding_.fault.fault, Fault::kNotPresent);
  EXPECT_EQ(finding_.address.value, guest_.end());

  xen_kexec_load load = {};
  load.nr_segments = 2;
  Set(load.segments.h, guest_.end() - sizeof(xen_kexec_segment));
  Buffers(__HYPERVISOR_kexec_op, {KEXEC_CMD_kexec_load, guest_.New(load)});
  EXPECT_EQ(finding_.problem, Problem::kUnreadable);
  EXPECT_EQ(finding_.index, 1u);
}

// Random calls of every op: the walk ends, and nothing is read outside the guest's memory.
TEST_F(Walk, SurvivesRandomArguments) {
  std::uint64_t state = 1;
  auto random = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 16;
  };
  std::vector<std::uint64_t> words(4096);
  unsigned ok = 0;
  for (unsigned round = 0; round < 200; ++round) {
    for (std::uint64_t& word : words) {
      switch (random() % 4) {
        case 0:
          word = Guest::kBase + random() % 0x10000;
          break;
        case 1:
          word = random() % 64;
          break;
        case 2:
          word = random() % 64 | std::uint64_t{XEN_SYSCTL_INTERFACE_VERSION} << 32;
          break;
        default:
          word = random() << 40 | random();
      }
    }
    Guest guest;
    guest.New(words.data(), words.size());
    for (const Hypercall& hypercall : Hypercalls()) {
      for (const Op& op : hypercall.ops()) {
        Call call = {.hypercall = hypercall.number};
        for (std::uint64_t& each : call.registers) each = Guest::kBase + random() % 0x8000;
        if (hypercall.op_place == OpPlace::kRegister) call.registers[0] = op.number;
        std::uint64_t bytes = 0;
        auto note = [&](const Buffer& buffer) {
          bytes += buffer.bytes;
          return true;
        };
        ok += ForEachBuffer(call, {guest, round % 2 == 0 ? kNativeOrder : Opposite(kNativeOrder)},
                            note)
                  .ok();
      }
    }
  }
  EXPECT_GT(ok, 0u);
}

}  // namespace
}  // namespace xencomm::schema
