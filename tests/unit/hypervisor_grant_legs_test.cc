// Grants over time: lists that stop and go on, searches, and domains that end with many mappings.

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_grants.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kRead = GNTMAP_host_map | GNTMAP_readonly;
constexpr std::uint32_t kWrite = GNTMAP_host_map;
constexpr std::uint64_t kGoesOn = 0x80000000;

// Calls that stop after each piece.
class GrantLegsTest : public GrantsTest {
 protected:
  GrantLegsTest()
      : GrantsTest({.pool_bytes = std::uint64_t{8} << 20, .pages = 32, .preempt_interval = 1}) {}

  HypercallFrame CallOf(unsigned op, const void* list, std::uint64_t count) {
    return machine.Frame(__HYPERVISOR_grant_table_op, op, list, count);
  }
  std::int64_t Leg(std::uint16_t by, HypercallFrame& frame) {
    return machine.hypervisor.Hypercall(*vcpus.at(by), frame);
  }
  HypercallFrame DestroyCall(std::uint16_t id, xen_domctl_t& op) {
    op = {};
    op.cmd = XEN_DOMCTL_destroydomain;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = id;
    return machine.Frame(__HYPERVISOR_domctl, &op);
  }
  // Mappings of a granter's pages by another domain, two of each.
  void MapMany(std::uint16_t by, std::uint16_t granter, std::uint32_t count, std::uint64_t gfn,
               std::uint32_t first = kRef) {
    std::vector<gnttab_map_grant_ref> maps;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t ref = first + i / 2;
      Grant(granter, ref, by, i / 2 % kDomainPages);
      maps.push_back(MapOp(granter, ref, gfn + i, i % 2 == 0 ? kRead : kWrite));
    }
    ASSERT_EQ(Op(by, GNTTABOP_map_grant_ref, maps.data(), maps.size()), 0);
    for (const gnttab_map_grant_ref& map : maps) ASSERT_EQ(map.status, GNTST_okay);
  }
  int ShownOfMany(std::uint16_t granter, std::uint32_t count) {
    int shown = 0;
    for (std::uint32_t i = 0; i < count / 2; ++i) {
      shown += static_cast<int>(Shown(granter, kRef + i) != 0);
    }
    return shown;
  }
};

// The list, what comes after a leg of it, and that nothing else moves.
template <class T>
void ExpectStopsAfterEach(std::vector<T>& list, std::function<std::int64_t()> leg,
                          const HypercallFrame& frame) {
  const HypercallFrame before = frame;
  for (std::size_t done = 1; done <= list.size(); ++done) {
    EXPECT_EQ(leg(), 0);
    EXPECT_EQ(frame.continued, done != list.size()) << done;
    for (std::size_t i = 0; i < list.size(); ++i) {
      EXPECT_EQ(list[i].status, i < done ? GNTST_okay : 7) << i << " of " << done;
    }
    EXPECT_EQ(frame.arguments[0], before.arguments[0]);
    EXPECT_EQ(frame.arguments[1], before.arguments[1]);
    if (!frame.continued) continue;
    EXPECT_EQ(frame.arguments[2], std::uint64_t{done} << 32 | kGoesOn | list.size());
  }
}

TEST_F(GrantLegsTest, AListGoesOnWhereItStopped) {
  std::vector<gnttab_map_grant_ref> maps;
  std::vector<gnttab_unmap_grant_ref> unmaps;
  std::vector<gnttab_copy> copies;
  std::vector<gnttab_swap_grant_ref> swaps;
  for (std::uint32_t i = 0; i < 4; ++i) {
    Grant(kGranter, kRef + i, kMapper, i);
    maps.push_back(MapOp(kGranter, kRef + i, kWindow + i));
    copies.push_back(CopyOp(Granted(kGranter, kRef + i), Own(i), 100));
    swaps.push_back({.ref_a = 100 + i, .ref_b = 200 + i, .status = 7});
  }
  const auto expect = [&](unsigned op, auto& list) {
    HypercallFrame frame = CallOf(op, list.data(), list.size());
    ExpectStopsAfterEach(
        list, [&] { return Leg(kMapper, frame); }, frame);
  };
  expect(GNTTABOP_map_grant_ref, maps);
  for (const auto& map : maps) {
    unmaps.push_back(UnmapOp(map.handle, map.host_addr >> kPageShift));
  }
  expect(GNTTABOP_copy, copies);
  expect(GNTTABOP_swap_grant_ref, swaps);
  expect(GNTTABOP_unmap_grant_ref, unmaps);
  EXPECT_EQ(ShownOfMany(kGranter, 8), 0);
}

// The register that says how far a call came is a guest's to write.
TEST_F(GrantLegsTest, AForgedCountMeansNothingMoreThanItSays) {
  Grant(kGranter, kRef, kMapper, 7);
  const struct {
    std::uint64_t count;
    std::int64_t answer;
    std::uint32_t begin, end;  // which are done, when it is answered so
  } kCases[] = {
      {0, 0, 0, 0},
      {2, 0, 0, 2},
      {std::uint64_t{1} << 32 | 2, 0, 0, 2},  // beyond an int nobody looks, as in Xen
      {std::uint64_t{0xffffffff} << 32, 0, 0, 0},
      {kGoesOn, -kEINVAL, 0, 0},
      {kGoesOn | 3, -kEINVAL, 0, 0},
      {0xffffffff, -kEINVAL, 0, 0},
      {std::uint64_t{3} << 32 | kGoesOn | 3, -kEINVAL, 0, 0},
      {std::uint64_t{4} << 32 | kGoesOn | 3, -kEINVAL, 0, 0},
      {std::uint64_t{1} << 32 | kGoesOn, -kEINVAL, 0, 0},
      {~std::uint64_t{0}, -kEINVAL, 0, 0},
      {std::uint64_t{0x80000000} << 32 | kGoesOn | 3, -kEINVAL, 0, 0},
      {std::uint64_t{1} << 32 | kGoesOn | 3, 0, 1, 3},
      {std::uint64_t{2} << 32 | kGoesOn | 3, 0, 2, 3},
  };
  for (const auto& each : kCases) {
    std::vector<gnttab_copy> copies(3, CopyOp(Granted(kGranter, kRef), Own(3), 8));
    EXPECT_EQ(Op(kMapper, GNTTABOP_copy, copies.data(), each.count), each.answer) << each.count;
    for (std::uint32_t i = 0; i < 3; ++i) {
      EXPECT_EQ(copies[i].status, i >= each.begin && i < each.end ? GNTST_okay : 7)
          << each.count << ": " << i;
    }
    // A command has no progress, but of a search.
    EXPECT_EQ(Op(kMapper, 0x1000 | GNTTABOP_copy, copies.data(), each.count), -kEINVAL);
  }
  // As far as there is a list.
  gnttab_copy one = CopyOp(Granted(kGranter, kRef), Own(3), 8);
  EXPECT_EQ(machine.hypervisor.Call(*vcpus[kMapper],
                                    CallOf(GNTTABOP_copy, reinterpret_cast<void*>(8), 1)),
            -kEFAULT);
  one.status = 7;
  EXPECT_EQ(Op(kMapper, 13, &one), -kENOSYS);
  EXPECT_EQ(one.status, 7);
}

TEST_F(GrantLegsTest, AListOfCallsHoldsThem) {
  Grant(kGranter, kRef, kMapper, 7);
  std::vector<gnttab_map_grant_ref> maps;
  std::vector<gnttab_copy> copies(3, CopyOp(Granted(kGranter, kRef), Own(3), 8));
  std::vector<gnttab_unmap_grant_ref> unmaps;
  for (std::uint32_t i = 0; i < 3; ++i) {
    maps.push_back(MapOp(kGranter, kRef, kWindow + i));
    unmaps.push_back(UnmapOp(i, kWindow + i));
  }
  const auto entry = [](unsigned op, auto& list) {
    multicall_entry_t call = {};
    call.op = __HYPERVISOR_grant_table_op;
    call.args[0] = op;
    call.args[1] = reinterpret_cast<std::uint64_t>(list.data());
    call.args[2] = list.size();
    call.result = 77;
    return call;
  };
  std::vector<multicall_entry_t> calls = {entry(GNTTABOP_map_grant_ref, maps),
                                          entry(GNTTABOP_copy, copies),
                                          entry(GNTTABOP_unmap_grant_ref, unmaps)};
  ASSERT_EQ(machine.hypervisor.Call(
                *vcpus[kMapper], machine.Frame(__HYPERVISOR_multicall, calls.data(), calls.size())),
            0);
  for (const multicall_entry_t& call : calls) EXPECT_EQ(call.result, 0u);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(maps[i].status, GNTST_okay);
    EXPECT_EQ(maps[i].handle, i);
    EXPECT_EQ(copies[i].status, GNTST_okay);
    EXPECT_EQ(unmaps[i].status, GNTST_okay);
  }
  EXPECT_EQ(Shown(kGranter, kRef), 0);
}

// A domain ends with handles over several frames, step by step: what it maps goes out of its
// physmap, then the page is let go.
TEST_F(GrantLegsTest, MappingsEndWithTheirDomainStepByStep) {
  constexpr std::uint32_t kCount = 300;
  MapMany(kMapper, kGranter, kCount, kWindow);
  MapMany(kMapper, kPv, 40, kWindow + kCount);
  // Nobody but the mappings keeps it.
  const std::uint64_t given_up = MfnOf(kGranter, 3);
  ASSERT_EQ(Decrease(kGranter, 3), 1);
  xen_domctl_t op;
  HypercallFrame frame = DestroyCall(kMapper, op);
  int shown = ShownOfMany(kGranter, kCount);
  EXPECT_EQ(shown, static_cast<int>(kCount) / 2);
  unsigned legs = 0, steps = 0;
  do {
    ASSERT_EQ(Leg(0, frame), 0);
    ++legs;
    if (legs % 16 == 0) machine.ExpectBooksAddUp(false);
    const int now = ShownOfMany(kGranter, kCount);
    EXPECT_LE(now, shown);
    if (now != shown) ++steps;
    shown = now;
    if (Books::OwnerOf(machine.hypervisor, given_up).use == FrameUse::kNone) {
      for (std::uint64_t gfn = kWindow; gfn < kWindow + kCount; ++gfn) {
        ASSERT_NE(machine.hypervisor.FrameOf(kMapper, gfn), given_up) << legs;
      }
    }
  } while (frame.continued);
  EXPECT_EQ(shown, 0);
  EXPECT_EQ(steps, kCount / 2);
  EXPECT_EQ(ShownOfMany(kPv, 40), 0);
  Release(kMapper);
  EXPECT_FALSE(Exists(kMapper));
  EXPECT_EQ(PagesOf(kGranter), kDomainPages - 1);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).held_frames, 0u);
}

// Whoever ends first, or both at a time.
TEST_F(GrantLegsTest, BothSidesEndInAnyOrder) {
  constexpr std::uint16_t kOne = 10, kTwo = 11;
  for (const int how : {0, 1, 2, 3}) {
    Build(kOne);
    Build(kTwo);
    MapMany(kTwo, kOne, 20, kWindow);
    MapMany(kOne, kTwo, 20, kWindow);
    MapMany(kOne, kOne, 20, kWindow + 100, 100);  // a domain's own grants, too
    xen_domctl_t ops[2];
    HypercallFrame frames[2] = {DestroyCall(kOne, ops[0]), DestroyCall(kTwo, ops[1])};
    bool goes_on[2] = {true, true};
    for (unsigned turn = 0; goes_on[0] || goes_on[1]; ++turn) {
      unsigned next =
          how < 2 ? static_cast<unsigned>(how) : (turn / static_cast<unsigned>(how - 1)) % 2;
      if (!goes_on[next]) next = 1 - next;
      ASSERT_EQ(Leg(0, frames[next]), 0) << how;
      goes_on[next] = frames[next].continued;
      if (turn % 8 == 0) machine.ExpectBooksAddUp(false);
    }
    machine.ExpectBooksAddUp();
    Release(how % 2 == 0 ? kOne : kTwo);
    Release(how % 2 == 0 ? kTwo : kOne);
    EXPECT_FALSE(Exists(kOne)) << how;
    EXPECT_FALSE(Exists(kTwo)) << how;
  }
}

TEST_F(GrantLegsTest, ADomainMapsWhatItGrantsItself) {
  Grant(kMapper, kRef, kMapper, 7);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kMapper, kRef, kWindow, kWrite, &handle), 0);
  EXPECT_EQ(Shown(kMapper, kRef), kInUse);
  ASSERT_EQ(Decrease(kMapper, 7), 1);
  EXPECT_EQ(Decrease(kMapper, kWindow), 0);
  EXPECT_EQ(PagesOf(kMapper), kDomainPages);
  EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_okay);
  EXPECT_EQ(PagesOf(kMapper), kDomainPages - 1);
  // At its own place it makes way for itself.
  Grant(kMapper, kRef, kMapper, 8);
  ASSERT_EQ(Map(kMapper, kMapper, kRef, 8, kRead, &handle), 0);
  machine.ExpectBooksAddUp();
  EXPECT_EQ(Unmap(kMapper, handle, 8), GNTST_okay);
  ASSERT_EQ(Map(kMapper, kMapper, kRef, 9), GNTST_bad_page);
  Grant(kMapper, kRef, kMapper, 10);
  ASSERT_EQ(Map(kMapper, kMapper, kRef, 9), GNTST_okay);
}

// Searches

TEST_F(GrantLegsTest, ACacheIsFlushedForWhatACallerHasInUse) {
  constexpr std::uint32_t kLast = 64 * 512 - 1;
  Grant(kGranter, kLast, kMapper, 7);
  const auto flush = [&](std::uint16_t by, std::uint64_t mfn, std::uint32_t command = 0,
                         std::uint32_t op = GNTTAB_CACHE_CLEAN, std::uint16_t length = 8) {
    gnttab_cache_flush request = {};
    request.a.dev_bus_addr = mfn << kPageShift;
    request.length = length;
    request.op = op;
    return Op(by, command | GNTTABOP_cache_flush, &request);
  };
  const std::uint64_t mfn = MfnOf(kGranter, 7);
  EXPECT_EQ(flush(kGranter, mfn), 0);
  EXPECT_EQ(flush(kMapper, mfn), -kEINVAL);
  std::uint32_t handle;
  ASSERT_EQ(Map(kMapper, kGranter, kLast, kWindow, kRead, &handle), 0);
  EXPECT_EQ(flush(kMapper, mfn), 0);
  EXPECT_EQ(flush(kMapper, mfn, 0, GNTTAB_CACHE_INVAL), 0);
  EXPECT_EQ(flush(kMapper, mfn, 0, GNTTAB_CACHE_INVAL | GNTTAB_CACHE_CLEAN), 0);
  EXPECT_EQ(flush(kMapper, MfnOf(kGranter, 8)), -kEINVAL);
  EXPECT_EQ(flush(kThird, mfn), -kEINVAL);
  EXPECT_EQ(flush(0, mfn), -kEINVAL);
  // As far as it came, as the command says; a guest may have written it.
  EXPECT_EQ(flush(kMapper, mfn, 7 * 0x1000), 0);
  EXPECT_EQ(flush(kMapper, mfn, 8 * 0x1000), -kEINVAL);
  EXPECT_EQ(flush(kMapper, mfn, 0xfffff000), -kEINVAL);
  EXPECT_EQ(flush(kMapper, mfn, 0x1000, GNTTAB_CACHE_CLEAN, 0), -kEILSEQ);
  EXPECT_EQ(flush(kMapper, mfn, 0, GNTTAB_CACHE_CLEAN, 0), 0);
  EXPECT_EQ(flush(kMapper, mfn, 0x1000, 0), -kEILSEQ);
  // Leg by leg.
  gnttab_cache_flush two[2] = {};
  for (gnttab_cache_flush& each : two) {
    each.a.dev_bus_addr = mfn << kPageShift;
    each.length = 8;
    each.op = GNTTAB_CACHE_CLEAN;
  }
  HypercallFrame frame = CallOf(GNTTABOP_cache_flush, two, 2);
  unsigned legs = 0;
  do {
    ASSERT_EQ(Leg(kMapper, frame), 0);
    ++legs;
  } while (frame.continued);
  EXPECT_EQ(legs, 2u * 8);
  EXPECT_EQ(Unmap(kMapper, handle, kWindow), GNTST_okay);
  EXPECT_EQ(flush(kMapper, mfn), -kEINVAL);
}

}  // namespace
}  // namespace xencomm::hypervisor
