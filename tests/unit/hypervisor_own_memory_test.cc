// A machine that gives domains' memory to others keeps the hypervisor's own pages apart from it.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;
constexpr std::uint64_t kOwnBytes = 4 * kMebibyte;
constexpr std::uint64_t kPoolBytes = 32 * kMebibyte;
constexpr std::uint64_t kKernelPages = 40;
constexpr std::uint16_t kGuest = 5;

class HypervisorOwnMemoryTest : public testing::Test {
 protected:
  HypervisorOwnMemoryTest() {
    EXPECT_EQ(machine.build_result, 0);
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  }

  bool IsOwn(std::uint64_t mfn) const {
    return mfn << kPageShift < TestMachineOptions().pool_begin + kOwnBytes;
  }
  // Answers how many pages of `use` there are, having looked where each lies.
  std::uint64_t ExpectAll(FrameUse use, bool are_own) {
    std::uint64_t count = 0;
    std::uint64_t mfn = TestMachineOptions().pool_begin >> kPageShift;
    for (const FrameRow& row : Books::Frames(machine.hypervisor)) {
      // What is set aside for a domain's paging is taken from where its memory is.
      const bool is_set_aside =
          row.claimed != nullptr && row.claimed == std::string("a paging pool");
      if (row.owner.use == use && !is_set_aside) {
        const bool is_kernels = row.owner.domain == 0 && row.gfn < kKernelPages;
        EXPECT_EQ(IsOwn(mfn), is_kernels || are_own) << mfn;
        ++count;
      }
      ++mfn;
    }
    return count;
  }
  std::int64_t Populate(std::uint16_t domain, std::uint64_t count, unsigned order) {
    std::vector<xen_pfn_t> extents(count);
    for (std::uint64_t i = 0; i < count; ++i) extents[i] = i << order;
    xen_memory_reservation reservation =
        TestMachine::Reservation(domain, extents.data(), extents.size());
    reservation.extent_order = order;
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
  }

  TestMachine machine{
      {.pool_bytes = kPoolBytes, .own_bytes = kOwnBytes, .own_pages = kKernelPages}};
  std::uint64_t free_before = 0;
};

TEST_F(HypervisorOwnMemoryTest, HoldsAllThatNoDomainMayMap) {
  ASSERT_EQ(machine.CreateDomain(kGuest, 2000, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 8), kGuest);
  ASSERT_EQ(Populate(kGuest, 700, 0), 700);
  evtchn_alloc_unbound unbound = {.dom = kGuest, .remote_dom = 0, .port = 0};
  EXPECT_EQ(machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &unbound), 0);
  gnttab_query_size size = {.dom = kGuest, .nr_frames = 0, .max_nr_frames = 0, .status = 0};
  EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, &size, 1), 0);

  EXPECT_GT(ExpectAll(FrameUse::kOverhead, true), 5u);
  EXPECT_GT(ExpectAll(FrameUse::kShared, false), 2u);
  EXPECT_EQ(ExpectAll(FrameUse::kMemory, false), 700 + TestMachineOptions().pages);

  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
  EXPECT_LE(free_before - Books::StatisticsOf(machine.hypervisor).free_pages, 2u);
}

TEST_F(HypervisorOwnMemoryTest, HoldsWhatADomainsKernelShowsNobody) {
  for (std::uint64_t gfn = 0; gfn < TestMachineOptions().pages; ++gfn) {
    EXPECT_EQ(IsOwn(machine.hypervisor.FrameOf(0, gfn)), gfn < kKernelPages) << gfn;
  }
  // Such a page, too, can be given up, and comes back to where it is from.
  const std::uint64_t mfn = machine.hypervisor.FrameOf(0, 3);
  xen_pfn_t gfn = 3;
  xen_memory_reservation reservation = TestMachine::Reservation(DOMID_SELF, &gfn, 1);
  EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation), 1);
  EXPECT_EQ(Books::OwnerOf(machine.hypervisor, mfn), FrameOwner{});
}

TEST_F(HypervisorOwnMemoryTest, IsNotGivenToDomainsWhenTheirsEnds) {
  ASSERT_EQ(machine.CreateDomain(kGuest, 1 << 20), kGuest);
  const std::uint64_t room = (kPoolBytes - kOwnBytes) >> kPageShift;
  const std::int64_t got = Populate(kGuest, 1 << 14, 0);
  EXPECT_LT(got, static_cast<std::int64_t>(room));
  EXPECT_GT(got, static_cast<std::int64_t>(room - 300));
  ExpectAll(FrameUse::kMemory, false);
  // The hypervisor's own is left, but a domain wants a page that it may map, too.
  EXPECT_GT(Books::StatisticsOf(machine.hypervisor).free_pages, 500u);
  EXPECT_EQ(machine.CreateDomain(kGuest + 1, 10), -kENOMEM);
}

TEST_F(HypervisorOwnMemoryTest, EndsWithoutTakingDomainsMemory) {
  std::uint16_t id = kGuest;
  std::int64_t answer;
  while ((answer = machine.CreateDomain(id, 10)) == id && id < 2000) ++id;
  EXPECT_EQ(answer, -kENOMEM);
  EXPECT_GT(Books::StatisticsOf(machine.hypervisor).free_pages, 5000u);
  ExpectAll(FrameUse::kOverhead, true);
  ExpectAll(FrameUse::kShared, false);
}

TEST(HypervisorOwnMemory, LiesInThePoolAndHasRoom) {
  class : public Machine {
  } nowhere;
  constexpr std::uint64_t kBegin = kMebibyte;
  const auto init = [&](std::uint64_t own_end) {
    Hypervisor hypervisor;
    return hypervisor.Init(
        {.pool_begin = kBegin, .pool_end = kBegin + kPoolBytes, .own_end = own_end}, nowhere);
  };
  EXPECT_EQ(init(kBegin + kPoolBytes + kPageSize), -kEINVAL);
  EXPECT_EQ(init(kBegin - kPageSize), -kEINVAL);
  EXPECT_EQ(init(kBegin + kOwnBytes + 8), -kEINVAL);
  EXPECT_EQ(init(kBegin + kPageSize), -kENOMEM);
}

}  // namespace
}  // namespace xencomm::hypervisor
