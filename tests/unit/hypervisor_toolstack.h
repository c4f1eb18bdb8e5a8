// Two domains that a toolstack has made and filled, a PV and an HVM one. At the end they are
// destroyed, and every frame must be back.

#ifndef TESTS_UNIT_HYPERVISOR_TOOLSTACK_H_
#define TESTS_UNIT_HYPERVISOR_TOOLSTACK_H_

#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {

inline constexpr std::uint16_t kPv = 3;
inline constexpr std::uint16_t kHvm = 4;
inline constexpr std::uint16_t kMissing = 99;

class ToolstackTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    // The leaf of the table of domains stays once it is there.
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    ASSERT_EQ(machine.CreateDomain(kPv, 200, 0, 2), kPv);
    ASSERT_EQ(machine.CreateDomain(kHvm, 200, XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 2), kHvm);
    pv_frames.resize(64);
    std::iota(pv_frames.begin(), pv_frames.end(), 0);
    ASSERT_EQ(Populate(kPv, pv_frames), 64);
    std::vector<xen_pfn_t> frames(64);
    std::iota(frames.begin(), frames.end(), 0);
    ASSERT_EQ(Populate(kHvm, frames), 64);
  }
  void TearDown() override {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kPv), 0);
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kHvm), 0);
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.domains, 1u);
    EXPECT_EQ(now.held_frames, 0u);
    // What domain 0 keeps of its own: its ports and its grant table.
    const std::uint64_t kept =
        Books::StatisticsOf(machine.hypervisor, 0).overhead_pages - domain0_overhead;
    EXPECT_EQ(now.free_pages + kept, free_before);
  }

  std::int64_t Populate(std::uint16_t domain, std::vector<xen_pfn_t>& frames) {
    xen_memory_reservation reservation =
        TestMachine::Reservation(domain, frames.data(), frames.size());
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &reservation);
  }
  template <class T>
  std::int64_t MemoryOp(unsigned op, T& argument) {
    return machine.Call(__HYPERVISOR_memory_op, op, &argument);
  }
  template <class T>
  std::int64_t EventOp(unsigned op, T& argument) {
    return machine.Call(__HYPERVISOR_event_channel_op, op, &argument);
  }
  template <class T>
  std::int64_t GrantOp(unsigned op, T& argument, unsigned count = 1) {
    return machine.Call(__HYPERVISOR_grant_table_op, op, &argument, count);
  }
  std::int64_t Pages(std::uint16_t domain) {
    xen_memory_domain request = {.domid = domain};
    return MemoryOp(XENMEM_current_reservation, request);
  }
  // One byte of a domain's page, as a toolstack that maps it writes it.
  void Touch(std::uint16_t domain, std::uint64_t frame, std::byte value) {
    std::uint64_t mfn;
    ASSERT_EQ(machine.HoldFrame(domain, frame, Access::kWrite, &mfn), 0);
    *machine.BytesOf(mfn) = value;
    machine.ReleaseFrame(mfn);
  }

  TestMachine machine;
  std::uint64_t free_before = 0;
  std::uint64_t domain0_overhead = Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
  std::vector<xen_pfn_t> pv_frames;
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_TOOLSTACK_H_
