// A kernel in lockdown over the hypervisor: what it audited is what is called, whatever the program
// does with its memory meanwhile, from whichever vcpu; and no list of a program's makes the
// kernel's calls.

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/schema/audited_call.h"
#include "tests/unit/hypervisor_guest_kernel.h"
#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

using schema::AllowedOp;
using schema::AllowedOps;
using schema::AuditedCall;
using schema::AuditScratch;

constexpr std::uint64_t kGranules = 24;
constexpr std::uint64_t kPages = 1024;
constexpr std::uint64_t kScratch = kGranules - 2;  // granules for arguments only, one for each vcpu
constexpr std::uint64_t kVcpus = 2;

constexpr AllowedOp kAllowed[] = {
    {__HYPERVISOR_xen_version, XENVER_extraversion},
    {__HYPERVISOR_xen_version, XENVER_commandline},
    {__HYPERVISOR_xen_version, XENVER_build_id},
    {__HYPERVISOR_memory_op, XENMEM_current_reservation},
    {__HYPERVISOR_memory_op, XENMEM_machphys_mfn_list},
    {__HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist},
    {__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area},
    {__HYPERVISOR_multicall, 0},
};

// The program's memory.
constexpr std::uint64_t Address(std::uint64_t granule, std::uint64_t offset = 0) {
  return kBase + (granule << 12) + offset;
}

// A list of two calls: one that writes a list of frames to where a structure of the program's says,
// and one whose answer is known.
constexpr std::uint64_t kList = 1;
constexpr std::uint64_t kFrames = 2;  // the structure
constexpr std::uint64_t kTarget = 3;  // where it means to write
constexpr std::uint64_t kDomain = 4;
constexpr std::uint64_t kOwnFrames = 5;  // another such structure, of the second vcpu

class HypervisorLockdownTest : public testing::Test {
 public:
  HypervisorLockdownTest() : kernel(machine, kNativeOrder, kGranules) {
    kernel.Unback(kScratch);
    EXPECT_GT(kernel.Register(1), 0);
    for (std::uint64_t i = kScratch; i < kGranules; ++i) kernel.Back(i);
    EXPECT_EQ(kernel.Extend(kScratch, kVcpus, GranuleUse::kArgumentsOnly), 0);
    second = machine.hypervisor.ClaimVcpu(0, 1);
  }

  template <class T>
  void Put(std::uint64_t address, const T& value) {
    kernel.Write(address - kBase, &value, sizeof(value));
  }
  template <class T>
  T Get(std::uint64_t address) {
    T value;
    kernel.Read(address - kBase, &value, sizeof(value));
    return value;
  }

  HypercallFrame InRegion(std::uint64_t index, std::vector<std::uint64_t> arguments) {
    HypercallFrame frame;
    frame.index = index;
    std::copy(arguments.begin(), arguments.end(), frame.arguments);
    frame.region = kernel.handle();
    return frame;
  }
  // As a kernel without any restriction passes it on.
  std::int64_t Make(Vcpu& vcpu, std::uint64_t index, std::vector<std::uint64_t> arguments) {
    return machine.hypervisor.Call(vcpu, InRegion(index, std::move(arguments)));
  }

  // A call by the kernel in lockdown on a vcpu. `meanwhile` is what the program does between the
  // audit and the call.
  template <class Meanwhile>
  std::int64_t Audited(unsigned vcpu, std::uint64_t index, std::vector<std::uint64_t> arguments,
                       Meanwhile meanwhile) {
    LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
    SpaceOver space(kernel.table().AsStateless(), memory);
    schema::Call call = {.hypercall = index};
    std::copy(arguments.begin(), arguments.end(), call.registers.begin());
    const AuditScratch scratch = {{Address(kScratch + vcpu)},
                                  {kernel.At((kScratch + vcpu) << 12), kPageSize}};
    const schema::Caller caller = {space};
    AuditedCall audited(call, caller,
                        {.region = kernel.layout(),
                         .allowed = kAllowed,
                         .arguments_only = {{Address(kScratch)}, kVcpus * kPageSize}},
                        scratch);
    findings[vcpu] = audited.finding();
    if (!audited.ok()) return -kEPERM;
    meanwhile();
    const auto& registers = audited.call().registers;
    const std::int64_t answer = Make(vcpu == 0 ? *machine.vcpu : *second, index,
                                     {registers.begin(), registers.begin() + 5});
    EXPECT_TRUE(audited.CopyBack().ok());
    return answer;
  }
  std::int64_t Audited(std::uint64_t index, std::vector<std::uint64_t> arguments) {
    return Audited(0, index, std::move(arguments), [] {});
  }

  void PutList(std::uint64_t at = Address(kList)) {
    xen_machphys_mfn_list frames = {};
    frames.max_extents = 1;
    set_xen_guest_handle(frames.extent_start, reinterpret_cast<xen_pfn_t*>(Address(kTarget)));
    Put(Address(kFrames), frames);
    Put(Address(kDomain), xen_memory_domain{.domid = DOMID_SELF});
    multicall_entry_t entries[2] = {};
    entries[0] = {__HYPERVISOR_memory_op, 0, {XENMEM_machphys_mfn_list, Address(kFrames)}};
    entries[1] = {__HYPERVISOR_memory_op, 0, {XENMEM_current_reservation, Address(kDomain)}};
    Put(at, entries);
  }
  // At once, as another vcpu's store.
  template <class T>
  void Store(std::uint64_t address, T value) {
    __atomic_store_n(reinterpret_cast<T*>(kernel.At(address - kBase)), value, __ATOMIC_RELAXED);
  }
  void AimFramesAt(std::uint64_t address) {
    Store(Address(kFrames, offsetof(xen_machphys_mfn_list, extent_start)), address);
  }
  std::uint64_t Result(unsigned entry) {
    return Get<multicall_entry_t>(Address(kList, entry * sizeof(multicall_entry_t))).result;
  }

  TestMachine machine{{.pages = kPages, .space = SpaceKind::kRegion}};
  GuestKernel kernel;
  Vcpu* second = nullptr;
  schema::Finding findings[kVcpus];
};

constexpr std::uint64_t kFault = static_cast<std::uint64_t>(-kEFAULT);

TEST_F(HypervisorLockdownTest, APointerInMemoryDoesNotReachTheCopies) {
  PutList();
  ASSERT_EQ(Audited(__HYPERVISOR_multicall, {Address(kList), 2}), 0);
  EXPECT_EQ(Result(1), kPages);
  // Over the second entry of the list's copy, after the audit.
  const std::uint64_t over = Address(kScratch) + sizeof(multicall_entry_t);
  for (const std::uint64_t target :
       {over, over - 4, Address(kScratch) - 4, Address(kScratch + 1), Address(kGranules) - 8}) {
    PutList();
    EXPECT_EQ(Audited(0, __HYPERVISOR_multicall, {Address(kList), 2}, [&] { AimFramesAt(target); }),
              0);
    EXPECT_EQ(Result(0), kFault) << target;
    EXPECT_EQ(Result(1), kPages) << target;
    // Seen in time, it is refused by name.
    if (target != Address(kScratch) - 4) {
      AimFramesAt(target);
      EXPECT_EQ(Audited(__HYPERVISOR_multicall, {Address(kList), 2}), -kEPERM);
      EXPECT_EQ(findings[0].problem, schema::Problem::kArgumentsOnly);
      EXPECT_EQ(findings[0].entry, 0u);
    }
  }
}

TEST_F(HypervisorLockdownTest, ARegisterOfAnEntryIsMemory) {
  // As a kernel passes a list on that it does not audit.
  multicall_entry_t entry = {__HYPERVISOR_xen_version, 0, {XENVER_extraversion, Address(kScratch)}};
  Put(Address(kList), entry);
  EXPECT_EQ(Make(*machine.vcpu, __HYPERVISOR_multicall, {Address(kList), 1}), 0);
  EXPECT_EQ(Result(0), kFault);
  EXPECT_EQ(Audited(__HYPERVISOR_multicall, {Address(kList), 1}), -kEPERM);
  EXPECT_EQ(findings[0].problem, schema::Problem::kArgumentsOnly);
}

TEST_F(HypervisorLockdownTest, ARegisterThatTheProgramFillsDoesNotLeadThere) {
  for (const std::uint64_t pointer :
       {Address(kScratch), Address(kScratch) - 8, Address(kScratch + 1), Address(kGranules) - 8}) {
    EXPECT_EQ(Audited(__HYPERVISOR_xen_version, {XENVER_extraversion, pointer}), -kEPERM);
    // It may run out of the region, too.
    EXPECT_NE(findings[0].problem, schema::Problem::kNone);
  }
  EXPECT_EQ(Audited(__HYPERVISOR_xen_version, {XENVER_extraversion, Address(kScratch) - 16}), 0);
  // Nor is a copy made of one.
  EXPECT_EQ(Audited(1, __HYPERVISOR_multicall, {Address(kScratch), 1}, [] {}), -kEPERM);
  EXPECT_EQ(findings[1].problem, schema::Problem::kArgumentsOnly);
}

TEST_F(HypervisorLockdownTest, AnAreaThatIsKeptDoesNotReachTheCopies) {
  Put(Address(kList), vcpu_register_runstate_memory_area{.addr = {.p = Address(kTarget)}});
  const std::vector<std::uint64_t> arguments = {VCPUOP_register_runstate_memory_area, 0,
                                                Address(kList)};
  EXPECT_EQ(Audited(__HYPERVISOR_vcpu_op, arguments), 0);
  EXPECT_EQ(Audited(0, __HYPERVISOR_vcpu_op, arguments,
                    [&] { Put(Address(kList), std::uint64_t{Address(kScratch)}); }),
            -kEFAULT);
}

TEST_F(HypervisorLockdownTest, OutputsOfAStructureGoIntoItsCopyAndBack) {
  xen_sysctl_t op = {};
  op.cmd = XEN_SYSCTL_getdomaininfolist;
  op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  op.u.getdomaininfolist.max_domains = 1;
  set_xen_guest_handle(op.u.getdomaininfolist.buffer,
                       reinterpret_cast<xen_domctl_getdomaininfo_t*>(Address(kTarget)));
  Put(Address(kList), op);
  // Another op, when it is too late.
  EXPECT_EQ(Audited(0, __HYPERVISOR_sysctl, {Address(kList)},
                    [&] { Put(Address(kList), std::uint32_t{XEN_SYSCTL_readconsole}); }),
            0);
  const auto answer = Get<xen_sysctl_t>(Address(kList));
  EXPECT_EQ(answer.cmd, std::uint32_t{XEN_SYSCTL_readconsole});
  EXPECT_EQ(answer.u.getdomaininfolist.num_domains, 1u);
  EXPECT_EQ(Get<xen_domctl_getdomaininfo_t>(Address(kTarget)).tot_pages, kPages);
}

TEST_F(HypervisorLockdownTest, ACountThatGrowsStopsAtTheCopies) {
  PutList();
  const auto grow = [&] {
    Put(Address(kFrames), std::uint32_t{1000});
    AimFramesAt(Address(kScratch) - 8);
  };
  EXPECT_EQ(Audited(0, __HYPERVISOR_multicall, {Address(kList), 2}, grow), 0);
  EXPECT_EQ(Result(1), kPages);
}

TEST_F(HypervisorLockdownTest, ALengthInMemoryDoesNotLeadARegisterIntoTheCopies) {
  // Where the copies begin, or another vcpu's does.
  const std::uint64_t last = Address(kScratch) - 8;
  const std::vector<std::byte> before(kernel.At(kScratch << 12), kernel.At(kScratch << 12) + 64);
  for (const std::uint32_t length : {0u, 4u}) {
    Put(last, length);
    EXPECT_EQ(Audited(0, __HYPERVISOR_xen_version, {XENVER_build_id, last},
                      [&] { Put(last, std::uint32_t{64}); }),
              -kEFAULT);
  }
  EXPECT_EQ(std::memcmp(before.data(), kernel.At(kScratch << 12), before.size()), 0);
  Put(Address(kList), std::uint32_t{64});
  EXPECT_EQ(Audited(__HYPERVISOR_xen_version, {XENVER_build_id, Address(kList)}), 20);
  EXPECT_EQ(Get<char>(Address(kList, 4)), 'x');
}

// What a program does to its memory from a second vcpu while the first one's calls are audited and
// made. Each is undone by the next step, so that both states are met everywhere.
struct Meddling {
  const char* name;
  void (*step)(HypervisorLockdownTest& test, bool harm);
};

class HypervisorMeddlingTest : public HypervisorLockdownTest,
                               public testing::WithParamInterface<Meddling> {};

INSTANTIATE_TEST_SUITE_P(
    , HypervisorMeddlingTest,
    testing::Values(
        Meddling{"NestedPointer",
                 [](HypervisorLockdownTest& test, bool harm) {
                   test.AimFramesAt(harm ? Address(kScratch) + sizeof(multicall_entry_t)
                                         : Address(kTarget));
                 }},
        Meddling{"Count",
                 [](HypervisorLockdownTest& test, bool harm) {
                   test.AimFramesAt(Address(kScratch) - 8);
                   test.Store(Address(kFrames), std::uint32_t{harm ? 100u : 1u});
                 }},
        Meddling{"TheListsOps",
                 [](HypervisorLockdownTest& test, bool harm) {
                   test.Store(Address(kList, sizeof(multicall_entry_t)),
                              harm ? kXencommOp : std::uint64_t{__HYPERVISOR_memory_op});
                 }},
        Meddling{"TheListsSubOps",
                 [](HypervisorLockdownTest& test, bool harm) {
                   test.Store(Address(kList, sizeof(multicall_entry_t) +
                                                 offsetof(multicall_entry_t, args)),
                              std::uint64_t{harm ? unsigned{XENMEM_decrease_reservation}
                                                 : unsigned{XENMEM_current_reservation}});
                 }},
        Meddling{"TheListsPointers",
                 [](HypervisorLockdownTest& test, bool harm) {
                   test.Store(
                       Address(kList, offsetof(multicall_entry_t, args) + 8),
                       harm ? Address(kScratch) + sizeof(multicall_entry_t) : Address(kFrames));
                 }},
        Meddling{"CallsOfItsOwn",
                 [](HypervisorLockdownTest& test, bool harm) {
                   const std::uint64_t copy = Address(kScratch) + sizeof(multicall_entry_t);
                   if (harm) {
                     test.Audited(1, __HYPERVISOR_xen_version, {XENVER_extraversion, copy}, [] {});
                     return;
                   }
                   test.Audited(1, __HYPERVISOR_memory_op,
                                {XENMEM_machphys_mfn_list, Address(kOwnFrames)},
                                [&] { test.Store(Address(kOwnFrames, 8), copy); });
                   test.Store(Address(kOwnFrames, 8), Address(kTarget));
                 }}),
    [](const auto& each) { return each.param.name; });

TEST_P(HypervisorMeddlingTest, WhatWasAuditedIsWhatIsCalled) {
  PutList();
  const auto own_frames = Get<xen_machphys_mfn_list>(Address(kFrames));
  Put(Address(kOwnFrames), own_frames);
  const unsigned regions = Books::StatisticsOf(machine.hypervisor).regions;
  std::atomic<bool> done = false;
  std::thread program([&] {
    for (bool harm = true; !done.load(std::memory_order_relaxed); harm = !harm) {
      GetParam().step(*this, harm);
    }
  });
  unsigned made = 0;
  const auto* copy = reinterpret_cast<const multicall_entry_t*>(kernel.At(kScratch << 12));
  // A program that a busy machine leaves where it does harm lets no call pass meanwhile.
  for (int round = 0; round < (made == 0 ? 2000000 : 20000); ++round) {
    if (Audited(__HYPERVISOR_multicall, {Address(kList), 2}) != 0) continue;
    ++made;
    ASSERT_EQ(copy[1].op, std::uint64_t{__HYPERVISOR_memory_op});
    ASSERT_EQ(copy[1].args[0], std::uint64_t{XENMEM_current_reservation});
    ASSERT_EQ(copy[1].args[1], Address(kDomain));
    ASSERT_EQ(Result(1), kPages);
  }
  done = true;
  program.join();
  EXPECT_GT(made, 0u);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, regions);
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor, 0).pages, kPages);
}

TEST_F(HypervisorLockdownTest, NoListMakesTheKernelsCalls) {
  const std::uint64_t regions = Books::StatisticsOf(machine.hypervisor).regions;
  const auto op = [](XencommOp each) { return static_cast<std::uint64_t>(each); };
  for (const std::uint64_t disguise : {std::uint64_t{0}, kRegionCall, std::uint64_t{1} << 32}) {
    const std::uint64_t index = kXencommOp | disguise;
    const multicall_entry_t entries[] = {
        {index, 0, {op(XencommOp::kUnregister), kernel.handle()}},
        {index, 0, {op(XencommOp::kRegister), kernel.header().value, 1}},
        {index, 0, {op(XencommOp::kExtend), kernel.handle(), kScratch, 1, 0}},
    };
    Put(Address(kList), entries);
    EXPECT_EQ(Make(*machine.vcpu, __HYPERVISOR_multicall, {Address(kList), 3}), 0);
    for (unsigned i = 0; i < 3; ++i) {
      EXPECT_EQ(Result(i), static_cast<std::uint64_t>(-kEPERM)) << i;
    }
    EXPECT_EQ(Audited(__HYPERVISOR_multicall, {Address(kList), 3}), -kEPERM);
    EXPECT_EQ(Audited(index, {op(XencommOp::kUnregister), kernel.handle()}), -kEPERM);
  }
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, regions);
}

TEST(HypervisorListTest, ADomainOfTheOtherOrderMakesNoKernelsCallsByAList) {
  TestMachine machine({.space = SpaceKind::kRegion, .order = ByteOrder::kBig});
  GuestKernel kernel(machine, ByteOrder::kBig, 8);
  ASSERT_GT(kernel.Register(1), 0);
  const std::uint64_t calls[] = {kXencommOp, kXencommOp | kRegionCall,
                                 kXencommOp | std::uint64_t{1} << 63};
  std::byte entries[sizeof(multicall_entry_t) * std::size(calls)] = {};
  for (std::size_t i = 0; i < std::size(calls); ++i) {
    std::byte* const entry = &entries[i * sizeof(multicall_entry_t)];
    StoreField(entry + offsetof(multicall_entry_t, op), calls[i], ByteOrder::kBig);
    StoreField(entry + offsetof(multicall_entry_t, args),
               static_cast<std::uint64_t>(XencommOp::kUnregister), ByteOrder::kBig);
    StoreField(entry + offsetof(multicall_entry_t, args) + 8, kernel.handle(), ByteOrder::kBig);
  }
  kernel.Write(1 << 12, entries, sizeof(entries));
  EXPECT_EQ(kernel.Call(__HYPERVISOR_multicall, kBase + (1 << 12), std::size(calls)), 0);
  kernel.Read(1 << 12, entries, sizeof(entries));
  for (std::size_t i = 0; i < std::size(calls); ++i) {
    const std::byte* const result =
        &entries[i * sizeof(multicall_entry_t)] + offsetof(multicall_entry_t, result);
    EXPECT_EQ(static_cast<std::int64_t>(LoadField<std::uint64_t>(result, ByteOrder::kBig)), -kEPERM)
        << i;
  }
  EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).regions, 1u);
}

}  // namespace
}  // namespace xencomm::hypervisor
