// Pointers of a domain that are not the process's: registered and stateless regions, descriptors,
// inline addresses, in either byte order; and what registering promises.

#include <cstring>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/schema/op.h"
#include "hcall/schema/swap.h"
#include "tests/unit/hypervisor_guest_kernel.h"
#include "tests/unit/hypervisor_machine.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {
namespace {

struct SpaceCase {
  const char* name;
  bool registered;
  ByteOrder order;
};

class HypervisorRegionTest : public testing::TestWithParam<SpaceCase> {
 protected:
  HypervisorRegionTest()
      : machine({.pages = 1024, .space = SpaceKind::kRegion, .order = GetParam().order}),
        kernel(machine, GetParam().order, 40) {
    if (GetParam().registered) {
      EXPECT_GT(kernel.Register(1), 0);
    } else {
      kernel.UseStateless();
    }
  }

  template <class T>
  T InGuestOrder(T value) const {
    return InOrder(value, GetParam().order);
  }

  TestMachine machine;
  GuestKernel kernel;
};

INSTANTIATE_TEST_SUITE_P(Spaces, HypervisorRegionTest,
                         testing::Values(SpaceCase{"RegisteredLittle", true, ByteOrder::kLittle},
                                         SpaceCase{"RegisteredBig", true, ByteOrder::kBig},
                                         SpaceCase{"StatelessLittle", false, ByteOrder::kLittle},
                                         SpaceCase{"StatelessBig", false, ByteOrder::kBig}),
                         [](const auto& each) { return each.param.name; });

TEST_P(HypervisorRegionTest, AnswersASysctlWhoseBufferStraddlesGranules) {
  // Both the structure and its buffer cross from one scattered granule into the next.
  const std::uint64_t op_at = 5 * 4096 - 24;
  const std::uint64_t list_at = 9 * 4096 - 40;
  xen_sysctl_t op = {};
  op.cmd = XEN_SYSCTL_getdomaininfolist;
  op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  op.u.getdomaininfolist.max_domains = 4;
  set_xen_guest_handle(op.u.getdomaininfolist.buffer,
                       reinterpret_cast<xen_domctl_getdomaininfo_t*>(kBase + list_at));
  const schema::Op* row = schema::Find(__HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist);
  ASSERT_NE(row, nullptr);
  if (GetParam().order != kNativeOrder) schema::Swap(row->argument(), &op, kNativeOrder);
  kernel.Write(op_at, &op, sizeof(op));

  EXPECT_EQ(kernel.Call(__HYPERVISOR_sysctl, kBase + op_at), 0);

  xen_sysctl_t answer;
  kernel.Read(op_at, &answer, sizeof(answer));
  if (GetParam().order != kNativeOrder)
    schema::Swap(row->argument(), &answer, Opposite(kNativeOrder));
  EXPECT_EQ(answer.u.getdomaininfolist.num_domains, 1u);
  EXPECT_EQ(reinterpret_cast<std::uint64_t>(answer.u.getdomaininfolist.buffer.p), kBase + list_at);
  xen_domctl_getdomaininfo_t info;
  kernel.Read(list_at, &info, sizeof(info));
  EXPECT_EQ(InGuestOrder(info.domain), 0);
  EXPECT_EQ(InGuestOrder(info.tot_pages), 1024u);
  EXPECT_EQ(InGuestOrder(info.nr_online_vcpus), 2u);
}

TEST_P(HypervisorRegionTest, RefusesWhatIsNotInTheRegion) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"null", 0},
      {"before the region", kBase - 1024},
      {"the table", kBase + 64},
      {"past the end", kBase + (40 << 12)},
      {"running out of the end", kBase + (40 << 12) - 8},
      {"near 2^64", ~std::uint64_t{0} - 8},
  };
  for (const auto& [what, pointer] : cases) {
    EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_capabilities, pointer), -kEFAULT)
        << what;
  }
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_capabilities, kBase + 4096), 0);
  // Nothing is needed where there are no pointers.
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_capabilities, kBase + 4096), -kEFAULT);
}

class HypervisorRegistryTest : public testing::Test {
 protected:
  TestMachine machine{{.pages = 1024, .space = SpaceKind::kRegion}};
};

TEST_F(HypervisorRegistryTest, AnIdIsGoodUntilItIsUnregistered) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  ASSERT_GT(kernel.Register(1), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 1u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 15u);
  const std::uint64_t old = kernel.handle();
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + 4096), 0);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, old), 0);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, old), -kENOENT);
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + 4096), -kEFAULT);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  ASSERT_GT(kernel.Register(1), 0);
  EXPECT_NE(kernel.handle(), old);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, kernel.handle()), 0);
  // The registry itself stays with the domain.
  EXPECT_GE(Books::StatisticsOf(machine.hypervisor).free_pages + 4, free_before);
}

TEST_F(HypervisorRegistryTest, HostileHandlesFindNothing) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  ASSERT_GT(kernel.Register(1), 0);
  for (const std::uint64_t handle :
       {kernel.handle() + 2, kernel.handle() | std::uint64_t{1} << 40, ~std::uint64_t{0},
        std::uint64_t{1}, kernel.header().value + 8, kernel.header().value + 4096}) {
    HypercallFrame frame =
        machine.Frame(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + 4096);
    frame.region = handle;
    EXPECT_EQ(machine.hypervisor.Call(*machine.vcpu, frame), -kEFAULT) << handle;
    EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, handle), -kENOENT) << handle;
  }
  EXPECT_EQ(machine.Call(kXencommOp, 9, std::uint64_t{0}), -kENOSYS);
}

TEST_F(HypervisorRegistryTest, WhatTheGuestWritesIntoTheTableLaterChangesNothing) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  ASSERT_GT(kernel.Register(1), 0);
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  std::memset(memory.Map(kernel.header(), 4096, Access::kWrite).start(), 0, 4096);
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + 4096), 0);
}

TEST_F(HypervisorRegistryTest, RefusesRegionsThatAreNot) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  // The registry and its first slots stay with the domain once they are there.
  ASSERT_GT(kernel.Register(1), 0);
  ASSERT_EQ(kernel.Unregister(), 0);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kRegister, kernel.header().value, 2), -kEINVAL);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kRegister, kernel.header().value + 4096, 0),
            -kEINVAL);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kRegister, std::uint64_t{1} << 50, 0), -kEINVAL);
  // A base outside the domain's frames, and two that are none.
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  std::byte* bases = memory.Map(kernel.header() + 32, 8 * 16, Access::kWrite).start();
  for (const std::uint64_t base :
       {std::uint64_t{1} << 40, std::uint64_t{0x40008}, kNotBackedBase - 1}) {
    StoreField<std::uint64_t>(bases + 8 * 5, base, kNativeOrder);
    EXPECT_EQ(kernel.Register(0), -kEFAULT);
  }
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
}

TEST_F(HypervisorRegistryTest, ARegionForReadingIsNotWritten) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  ASSERT_GT(kernel.Register(0), 0);
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, kBase + 4096), -kEFAULT);
  xen_memory_domain self = {.domid = DOMID_SELF};
  kernel.Write(4096, &self, sizeof(self));
  EXPECT_EQ(kernel.Call(__HYPERVISOR_memory_op, XENMEM_current_reservation, kBase + 4096), 1024);
}

TEST_F(HypervisorRegistryTest, OneForWritingHasNoPageThatIsForReading) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  Books::MakeReadOnly(machine.hypervisor, 0, kernel.GranulePlace(15).value >> 12);
  EXPECT_EQ(kernel.Register(1), -kEFAULT);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  EXPECT_GT(kernel.Register(0), 0);
}

// Though one page could be the base of every granule.
TEST_F(HypervisorRegistryTest, OneHasNoMorePagesThanItsDomain) {
  for (const std::uint64_t pages : {1024u, 1025u}) {
    const std::uint64_t granules = pages + 3;  // with those of the table
    GuestKernel kernel(machine, kNativeOrder, granules);
    ASSERT_EQ(kernel.layout().table_granules(), 3u);
    for (std::uint64_t i = 3; i < granules; ++i) {
      const PhysicalAddress word = kernel.header() + BaseOffset(i);
      StoreField(kernel.memory().Map(word, 8, Access::kWrite).start(), std::uint64_t{5} << 12,
                 kNativeOrder);
    }
    const std::int64_t handle = kernel.Register(1);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, handle > 0 ? 1u : 0u);
    if (pages == 1024) {
      EXPECT_GT(handle, 0);
      EXPECT_EQ(kernel.Unregister(), 0);
    } else {
      EXPECT_EQ(handle, -kEBUSY);
    }
  }
}

TEST_F(HypervisorRegistryTest, PinnedFramesCannotBeGivenUp) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  ASSERT_GT(kernel.Register(1), 0);
  xen_pfn_t frames[2] = {kernel.GranulePlace(3).value >> 12, 900};
  kernel.Write(8192, frames, sizeof(frames));
  xen_memory_reservation reservation = {};
  set_xen_guest_handle(reservation.extent_start, reinterpret_cast<xen_pfn_t*>(kBase + 8192));
  reservation.nr_extents = 2;
  reservation.domid = DOMID_SELF;
  kernel.Write(4096, &reservation, sizeof(reservation));
  EXPECT_EQ(kernel.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, kBase + 4096), 0);
  std::swap(frames[0], frames[1]);
  kernel.Write(8192, frames, sizeof(frames));
  EXPECT_EQ(kernel.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, kBase + 4096), 1);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).pages, 1023u);
}

TEST_F(HypervisorRegistryTest, GranulesAreBackedLater) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  // As if the last four had not been backed yet.
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  std::byte* bases = memory.Map(kernel.header() + 32, 8 * 16, Access::kWrite).start();
  std::memset(bases + 8 * 12, 0xff, 8 * 4);
  ASSERT_GT(kernel.Register(1), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 11u);
  const std::uint64_t late = kBase + 13 * 4096;
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, late), -kEFAULT);
  for (std::uint64_t i = 12; i < 16; ++i) {
    ASSERT_TRUE(kernel.table().Back(i, kernel.GranulePlace(i)).ok());
  }
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kExtend, kernel.handle(), 12, 5), -kEINVAL);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kExtend, kernel.handle(), 0, 1), -kEINVAL);
  // Not by another table than the one that was registered.
  std::byte* const header = memory.Map(kernel.header(), 32, Access::kWrite).start();
  header[0] ^= std::byte{1};
  EXPECT_EQ(kernel.Extend(12, 4), -kEINVAL);
  header[0] ^= std::byte{1};
  const auto other = RegionLayout::Make({kBase + 4096}, 16 << 12, 12);
  other->Store(header, kNativeOrder);
  EXPECT_EQ(kernel.Extend(12, 4), -kEINVAL);
  RegionLayout::Make({kBase}, 16 << 12, 12)->Store(header, kNativeOrder);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 11u);
  EXPECT_EQ(kernel.Extend(12, 4), 0);
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, late), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 15u);
}

TEST_F(HypervisorRegistryTest, RunstateAreasAreHeldUntilReplaced) {
  GuestKernel kernel(machine, kNativeOrder, 16);
  ASSERT_GT(kernel.Register(1), 0);
  const auto register_area = [&](std::uint64_t area) {
    const vcpu_register_runstate_memory_area request = {.addr = {.p = area}};
    kernel.Write(4096, &request, sizeof(request));
    return kernel.Call(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0, kBase + 4096);
  };
  // Across the end of a granule: two frames, pinned once more.
  EXPECT_EQ(register_area(kBase + 3 * 4096 - 16), 0);
  vcpu_runstate_info info;
  kernel.Read(3 * 4096 - 16, &info, sizeof(info));
  EXPECT_EQ(info.state, RUNSTATE_running);
  EXPECT_EQ(register_area(kBase + 64), -kEFAULT);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, kernel.handle()), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 2u);

  ASSERT_GT(kernel.Register(1), 0);
  EXPECT_EQ(register_area(0), 0);
  EXPECT_EQ(machine.Call(kXencommOp, XencommOp::kUnregister, kernel.handle()), 0);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).pinned_frames, 0u);
  kernel.UseStateless();
  EXPECT_EQ(register_area(kBase + 8192), -kEOPNOTSUPP);
}

TEST(HypervisorRawTest, ARawDomainOptsIntoARegionCallByCall) {
  TestMachine machine({.pages = 1024, .space = SpaceKind::kRaw});
  GuestKernel kernel(machine, kNativeOrder, 16);
  ASSERT_GT(kernel.Register(1), 0);
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version | kRegionCall, XENVER_extraversion, kBase + 4096),
            0);
  char text[16] = {};
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version | kRegionCall, XENVER_extraversion, text),
            -kEFAULT);
  EXPECT_EQ(kernel.Call(__HYPERVISOR_xen_version, XENVER_extraversion, text), 0);
}

TEST(HypervisorRawTest, OtherDomainsHaveNoSuchBit) {
  TestMachine machine({.pages = 1024, .space = SpaceKind::kRegion});
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version | kRegionCall, XENVER_version), -kENOSYS);
}

class HypervisorXcomTest : public testing::TestWithParam<ByteOrder> {};

INSTANTIATE_TEST_SUITE_P(Orders, HypervisorXcomTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& order) {
                           return order.param == ByteOrder::kLittle ? "Little" : "Big";
                         });

TEST_P(HypervisorXcomTest, DescriptorsAndInlineAddressesReachTheSameBytes) {
  TestMachine machine({.pages = 1024, .space = SpaceKind::kXcom, .order = GetParam()});
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  // Text of 1024 bytes that begins 100 bytes before the end of gfn 30 and goes on in gfn 20.
  StoreDescriptor(
      memory.Map({40 << 12}, 4096, Access::kWrite).start(), 2, GetParam(),
      [](std::uint64_t i) { return PhysicalAddress{i == 0 ? (30u << 12) + 3996u : 20u << 12}; });
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_capabilities, 40 << 12), 0);
  const std::byte* first = memory.Map({(30 << 12) + 3996}, 100, Access::kRead).start();
  EXPECT_EQ(std::memcmp(first, "xen-3.0-x86_64", 14), 0);

  const VirtualAddress direct = InlineAddress({50 << 12});
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_extraversion, direct.value), 0);
  EXPECT_EQ(std::memcmp(memory.Map({50 << 12}, 3, Access::kRead).start(), ".7", 3), 0);

  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_extraversion, 50 << 12), -kEFAULT);
  EXPECT_EQ(machine.Call(__HYPERVISOR_xen_version, XENVER_extraversion, std::uint64_t{0}),
            -kEFAULT);
}

TEST(HypervisorCallerTest, AVcpuIsClaimedOnceAndOutlivesItsDomain) {
  TestMachine machine;
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(0, 0), nullptr);
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(0, 2), nullptr);
  EXPECT_EQ(machine.hypervisor.ClaimVcpu(9, 0), nullptr);
  const std::uint64_t free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
  ASSERT_EQ(machine.hypervisor.BuildDomain({.id = 5, .pages = 64}), 0);
  EXPECT_EQ(machine.hypervisor.BuildDomain({.id = 5, .pages = 64}), -kEEXIST);
  Vcpu* other = machine.hypervisor.ClaimVcpu(5, 0);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(machine.hypervisor.Call(*other, machine.Frame(__HYPERVISOR_xen_version)), 4 << 16 | 17);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 5), 0);
  EXPECT_EQ(machine.hypervisor.Call(*other, machine.Frame(__HYPERVISOR_xen_version)), -kESRCH);
  machine.hypervisor.ReleaseVcpu(*other);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
}

}  // namespace
}  // namespace xencomm::hypervisor
