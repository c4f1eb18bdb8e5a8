// The embedded transport: one machine, every way of reaching a call's arguments, one result.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "hcall/schema/xen.h"
#include "hcall/transport/embedded/embedded_foreign_memory.h"
#include "hcall/transport/embedded/embedded_transport.h"
#include "tests/unit/failing_memory.h"
#include "xencomm/client.h"

namespace xencomm::embedded {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;
constexpr Reach kReaches[] = {Reach::kDirect,    Reach::kWalk4, Reach::kWalk5, Reach::kRegion,
                              Reach::kStateless, Reach::kXcom,  Reach::kInline};

std::shared_ptr<EmbeddedMachine> SmallMachine(std::uint64_t dom0_bytes = 64 << 20,
                                              bool xcom = false) {
  return *EmbeddedMachine::Create({.memory_bytes = std::uint64_t{512} << 20,
                                   .dom0_bytes = dom0_bytes,
                                   .cpus = 2,
                                   .vcpus = 4,
                                   .xcom = xcom});
}

std::shared_ptr<Client> ClientOf(const std::shared_ptr<EmbeddedMachine>& machine, Reach reach) {
  return *Client::Over(std::make_unique<EmbeddedTransport>(machine, reach));
}

xencomm_translation Translated(Client& client, const void* pointer, xencomm_way way) {
  xencomm_translation translation = {};
  const absl::Status status = client.transport().Translate(pointer, way, translation);
  EXPECT_TRUE(status.ok()) << status;
  return translation;
}

class EveryReach : public testing::TestWithParam<Reach> {
 protected:
  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine(64 << 20, IsHistorical(GetParam()));
  std::shared_ptr<Client> client_ = ClientOf(machine_, GetParam());
};

INSTANTIATE_TEST_SUITE_P(, EveryReach, testing::ValuesIn(kReaches),
                         [](const auto& reach) { return std::string(ReachName(reach.param)); });

TEST_P(EveryReach, ArgumentsAreReadAndWrittenInPlace) {
  auto version = *client_->arena().New<xen_extraversion_t>();
  std::memset(version.get(), '?', sizeof(*version));
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
  EXPECT_NE(std::memchr(version.get(), 0, sizeof(*version)), nullptr);
}

TEST_P(EveryReach, NestedPointersStayAsTheyAre) {
  auto list = *client_->arena().NewArray<xen_domctl_getdomaininfo_t>(4, Contents::kCleared);
  auto op = *client_->arena().New<xen_sysctl>(Contents::kCleared);
  op->cmd = XEN_SYSCTL_getdomaininfolist;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  op->u.getdomaininfolist.max_domains = 4;
  SetHandle(op->u.getdomaininfolist.buffer, list);
  ASSERT_EQ(client_->Call(__HYPERVISOR_sysctl, op.get()), 0);
  EXPECT_EQ(op->u.getdomaininfolist.num_domains, 1u);
  EXPECT_EQ(op->u.getdomaininfolist.buffer.p, list.get());
  EXPECT_EQ(list[0].tot_pages, (64u << 20) / kPage);
}

TEST_P(EveryReach, PointersThatAreNotThePayloadFault) {
  const auto version = *client_->arena().New<xen_extraversion_t>();
  std::byte* const region = client_->arena().region().data();
  std::byte* const payload = client_->arena().payload().data();
  int local[16] = {};
  const std::vector<std::byte> table(region, payload);
  const std::byte* const bad[] = {
      region,                                       // the table's header
      payload - 1,                                  // its last byte
      payload - 8,                                  // ... and what straddles its end
      payload + client_->arena().populated(),       // not backed
      payload + client_->arena().payload().size(),  // behind the region
      region - 1,
      reinterpret_cast<const std::byte*>(local),
      reinterpret_cast<const std::byte*>(~std::uintptr_t{0} - 3),
  };
  for (const std::byte* const pointer : bad) {
    EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, pointer), -EFAULT)
        << static_cast<const void*>(pointer);
  }
  EXPECT_TRUE(std::equal(table.begin(), table.end(), region)) << "an output became a base";
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
}

TEST_P(EveryReach, PointersOfAnotherProcessFault) {
  const auto other = ClientOf(machine_, GetParam());
  const auto theirs = *other->arena().New<xen_extraversion_t>();
  std::memset(theirs.get(), '?', sizeof(*theirs));
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, theirs.get()), -EFAULT);
  EXPECT_EQ((*theirs)[0], '?');
}

TEST_P(EveryReach, NoProcessMakesTheKernelsCalls) {
  // The victim: another process of the same domain, with a region of its own.
  auto transport = std::make_unique<EmbeddedTransport>(machine_, Reach::kRegion);
  EmbeddedTransport& theirs = *transport;
  const bool has_victim = !IsHistorical(GetParam());
  const auto victim = has_victim ? *Client::Over(std::move(transport)) : nullptr;
  const std::uint64_t handle = has_victim ? theirs.region().handle().value() : 3;
  const auto unregister = static_cast<std::uint64_t>(XencommOp::kUnregister);
  const unsigned regions = machine_->hypervisor().statistics().regions;

  for (const std::uint64_t index : {kXencommOp, kXencommOp | kRegionCall}) {
    EXPECT_EQ(client_->Call(index, unregister, handle), -EPERM);
    auto entries = *client_->arena().NewArray<multicall_entry_t>(2, Contents::kCleared);
    entries[0] = {index, 0, {unregister, handle}};
    entries[1] = {__HYPERVISOR_xen_version, 0, {XENVER_version}};
    const std::int64_t answer = client_->Call(__HYPERVISOR_multicall, entries.get(), 2);
    if (IsHistorical(GetParam())) {
      // Its kernel describes no list with a call in it that it does not know.
      EXPECT_EQ(answer, -ENOSYS);
    } else {
      EXPECT_EQ(answer, 0);
      EXPECT_EQ(entries[0].result, static_cast<std::uint64_t>(-EPERM));
      EXPECT_EQ(entries[1].result, 4u << 16 | 17u);
    }
  }
  EXPECT_EQ(machine_->hypervisor().statistics().regions, regions);
  if (!has_victim) return;
  const auto version = *victim->arena().New<xen_extraversion_t>();
  EXPECT_EQ(victim->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
}

TEST_P(EveryReach, ABufferOverManyScatteredPagesIsOne) {
  // More granules than one table granule has bases, so that a stateless table is read twice.
  constexpr std::size_t kBytes = std::size_t{5} << 20;
  auto console = *client_->arena().NewArray<char>(kBytes, Contents::kCleared);
  std::memset(console.get(), '?', kBytes);
  auto op = *client_->arena().New<xen_sysctl>(Contents::kCleared);
  op->cmd = XEN_SYSCTL_getdomaininfolist;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  op->u.getdomaininfolist.max_domains = 1;
  // A structure that straddles two frames that do not follow each other, and the last of all.
  for (const std::size_t at :
       {kPage - 40, 700 * kPage - 8, kBytes - sizeof(xen_domctl_getdomaininfo_t)}) {
    auto* const info = reinterpret_cast<xen_domctl_getdomaininfo_t*>(console.get() + at);
    op->u.getdomaininfolist.buffer.p = info;
    ASSERT_EQ(client_->Call(__HYPERVISOR_sysctl, op.get()), 0);
    xen_domctl_getdomaininfo_t copy;
    std::memcpy(&copy, info, sizeof(copy));
    EXPECT_EQ(copy.tot_pages, (64u << 20) / kPage);
    EXPECT_EQ(console[at - 1], '?');
  }
  // One byte further and it runs out of the region.
  op->u.getdomaininfolist.buffer.p = reinterpret_cast<xen_domctl_getdomaininfo_t*>(
      client_->arena().payload().data() + client_->arena().payload().size() - 8);
  EXPECT_EQ(client_->Call(__HYPERVISOR_sysctl, op.get()), -EFAULT);
}

TEST_P(EveryReach, BothTranslationsLeadToTheSameByte) {
  auto bytes = *client_->arena().NewArray<std::uint64_t>((4 << 20) / 8);
  for (std::size_t i = 0; i < bytes.size(); i += 511) {
    bytes[i] = i;
    const xencomm_translation region = Translated(*client_, &bytes[i], XENCOMM_BY_REGION);
    const xencomm_translation walk = Translated(*client_, &bytes[i], XENCOMM_BY_WALK);
    EXPECT_EQ(region.pointer, std::bit_cast<std::uint64_t>(&bytes[i]));
    EXPECT_EQ(region.region, std::bit_cast<std::uint64_t>(client_->arena().region().data()));
    EXPECT_EQ(region.guest_physical, walk.guest_physical);
    EXPECT_EQ(region.machine, walk.machine);
    EXPECT_EQ(walk.steps, GetParam() == Reach::kWalk5 ? 5u : 4u);
    std::uint64_t value = 0;
    std::memcpy(&value, machine_->memory().data() + region.machine, sizeof(value));
    EXPECT_EQ(value, i);
  }
}

TEST_P(EveryReach, FramesAreScattered) {
  auto bytes = *client_->arena().NewArray<char>(64 * kPage);
  int neighbours = 0;
  for (std::size_t page = 1; page < 64; ++page) {
    const auto before = Translated(*client_, &bytes[(page - 1) * kPage], XENCOMM_BY_REGION);
    const auto here = Translated(*client_, &bytes[page * kPage], XENCOMM_BY_REGION);
    if (here.machine == before.machine + kPage) ++neighbours;
  }
  EXPECT_LT(neighbours, 8);
}

TEST_P(EveryReach, ThreadsThatOutnumberTheVcpusTakeTurns) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 12; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        const auto version = *client_->arena().New<xen_extraversion_t>(Contents::kCleared);
        const std::int64_t answer =
            client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get());
        if (answer != 0 || (*version)[0] != '.') ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// Growing and translating look things up in domain 0's physmap outside any call, and the physmap's
// top is replaced meanwhile.
TEST_P(EveryReach, ArenasGrowAndTranslateWhileThePhysmapGrows) {
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    const auto other = ClientOf(machine_, GetParam());
    for (std::uint64_t size = 1; !done; size = size % 64 + 1) {
      auto bytes = *other->arena().NewArray<char>(size * kPage);
      EXPECT_EQ(Translated(*other, &bytes[0], XENCOMM_BY_REGION).guest_physical,
                Translated(*other, &bytes[0], XENCOMM_BY_WALK).guest_physical);
    }
  });
  threads.emplace_back([&] {
    while (!done) ClientOf(machine_, GetParam())->arena().NewArray<char>(kPage).value();
  });
  // A frame that the kernel keeps for this goes ever higher.
  const std::optional<FrameRun> frame = machine_->kernel().frames().TakeOne();
  ASSERT_TRUE(frame);
  std::uint64_t from = frame->gfn;
  const auto move = [&](std::uint64_t to) {
    auto request = *client_->arena().New<xen_add_to_physmap>(Contents::kCleared);
    request->domid = DOMID_SELF;
    request->space = XENMAPSPACE_gmfn;
    request->idx = from;
    request->gpfn = to;
    EXPECT_EQ(client_->Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, request.get()), 0);
    from = to;
  };
  for (unsigned bits = 18; bits < 27; ++bits) move(std::uint64_t{1} << bits);
  move(frame->gfn);
  done = true;
  for (std::thread& thread : threads) thread.join();
  machine_->kernel().Recycle(*frame);
}

TEST_P(EveryReach, AllIsGivenBackAtTheEnd) {
  const std::uint64_t free_before = [&] {
    client_.reset();
    return machine_->kernel().frames().free();
  }();
  EXPECT_EQ(free_before, machine_->kernel().frames().total() - kBlockFrames);
  EXPECT_EQ(machine_->hypervisor().statistics().regions, 0u);
  EXPECT_EQ(machine_->hypervisor().statistics().pinned_frames, 0u);

  client_ = ClientOf(machine_, GetParam());
  auto bytes = *client_->arena().NewArray<char>(4 << 20);
  std::memset(bytes.get(), 0x5a, bytes.size());
  const auto place = Translated(*client_, bytes.get(), XENCOMM_BY_REGION);
  EXPECT_LT(machine_->kernel().frames().free(), free_before);
  bytes = {};
  client_.reset();
  EXPECT_EQ(machine_->kernel().frames().free(), free_before);
  EXPECT_EQ(machine_->memory().data()[place.machine], std::byte{0}) << "left for the next process";
}

std::size_t CountMappings() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
}

TEST(EmbeddedTransport, LargeRegionsTakeFewMappings) {
  const auto machine = SmallMachine(std::uint64_t{256} << 20);
  const auto client = ClientOf(machine, Reach::kRegion);
  const std::size_t before = CountMappings();
  auto bytes = *client->arena().NewArray<std::uint64_t>((std::size_t{128} << 20) / 8);
  // 512 single frames at most, and blocks of 64 KiB.
  EXPECT_LT(CountMappings() - before, 512u + 2048 + 64);
  for (std::size_t i = 0; i < bytes.size(); i += 512) bytes[i] = i;
  const auto last = Translated(*client, &bytes[bytes.size() - 512], XENCOMM_BY_REGION);
  EXPECT_EQ(last.steps, 2u);
  std::uint64_t value = 0;
  std::memcpy(&value, machine->memory().data() + last.machine, sizeof(value));
  EXPECT_EQ(value, bytes.size() - 512);
}

TEST(EmbeddedTransport, DomainZeroWithoutMemoryIsNamedAndTheRestGoesOn) {
  const auto machine = SmallMachine(16 << 20);
  const auto client = ClientOf(machine, Reach::kRegion);
  const auto some = client->arena().NewArray<char>(4 << 20);
  ASSERT_TRUE(some.ok()) << some.status();
  const absl::Status full = client->arena().Allocate(32 << 20).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("option dom0"));
  EXPECT_TRUE(client->arena().Allocate(1 << 20).ok());
}

TEST(EmbeddedTransport, TheTableIsReadOnlyForTheProcess) {
  const auto machine = SmallMachine();
  const auto client = ClientOf(machine, Reach::kRegion);
  std::byte* const table = client->arena().region().data();
  EXPECT_EQ(LoadField<std::uint32_t>(table, kNativeOrder), kRegionMagic);
  EXPECT_DEATH(*static_cast<volatile std::byte*>(table) = std::byte{0}, "");
}

TEST(EmbeddedTransport, AForkedChildHasNeitherTheMemoryNorTheMachine) {
  auto machine = SmallMachine();
  auto client = ClientOf(machine, Reach::kRegion);
  auto version = *client->arena().New<xen_extraversion_t>();
  const pid_t child = fork();
  if (child == 0) {
    unsigned char present = 0;
    if (client->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()) != -ESTALE) {
      _exit(1);
    }
    if (mincore(client->arena().payload().data(), kPage, &present) == 0) _exit(2);
    version.reset();
    client.reset();
    machine.reset();
    // One of its own.
    const auto fresh = ClientOf(SmallMachine(), Reach::kRegion);
    const auto own = *fresh->arena().New<xen_extraversion_t>();
    if (fresh->Call(__HYPERVISOR_xen_version, XENVER_extraversion, own.get()) != 0) _exit(3);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(client->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
}

class ForeignMemoryTest : public testing::Test {
 protected:
  std::uint64_t GfnOf(const void* pointer) {
    return Translated(*client_, pointer, XENCOMM_BY_REGION).guest_physical / kPage;
  }
  std::uint64_t held() { return machine_->hypervisor().statistics().held_frames; }

  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine();
  std::shared_ptr<Client> client_ = ClientOf(machine_, Reach::kRegion);
  EmbeddedForeignMemory memory_{machine_};
};

TEST_F(ForeignMemoryTest, MapsTheFramesThemselves) {
  auto bytes = *client_->arena().NewArray<char>(3 * kPage);
  const std::uint64_t frames[] = {GfnOf(&bytes[2 * kPage]), GfnOf(&bytes[0])};
  int errors[2] = {7, 7};
  ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], 0);
  EXPECT_EQ(held(), 2u);
  auto* const mapped = static_cast<char*>(placement.address);
  bytes[2 * kPage + 5] = 'a';
  EXPECT_EQ(mapped[5], 'a');
  mapped[kPage + 6] = 'b';
  EXPECT_EQ(bytes[6], 'b');
  EXPECT_EQ(memory_.Unmap(mapped, 2), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, NamesTheFramesThatCannotBeMapped) {
  const auto bytes = *client_->arena().NewArray<char>(kPage);
  const std::uint64_t frames[] = {GfnOf(bytes.get()), std::uint64_t{1} << 40};
  int errors[2] = {7, 7};
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], -EINVAL);
  EXPECT_EQ(memory_.Unmap(placement.address, 2), 0);

  ASSERT_EQ(memory_.Map(99, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], -ESRCH);
  EXPECT_EQ(memory_.Map(1 << 20, placement, frames, errors), -EINVAL);
  EXPECT_EQ(memory_.Map(0, placement, {}, {}), -EINVAL);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, MappingsThatWereUnmappedByOthersAreFound) {
  const auto bytes = *client_->arena().NewArray<char>(4 * kPage);
  std::uint64_t frames[4];
  for (std::size_t i = 0; i < 4; ++i) frames[i] = GfnOf(&bytes[i * kPage]);
  int errors[4];
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, errors), 0);
  auto* const mapped = static_cast<char*>(placement.address);
  ASSERT_EQ(munmap(mapped + kPage, kPage), 0);
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 3u);
  ASSERT_EQ(munmap(mapped, 4 * kPage), 0);
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 0u);
}

// A mapping in the middle of another one that was unmapped there: each keeps its own.
TEST_F(ForeignMemoryTest, AMappingInTheHoleOfAnotherIsApart) {
  const auto bytes = *client_->arena().NewArray<char>(6 * kPage);
  std::uint64_t frames[6];
  for (std::size_t i = 0; i < 6; ++i) frames[i] = GfnOf(&bytes[i * kPage]);
  int errors[6];
  ForeignMemory::Placement outer = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, outer, frames, errors), 0);
  auto* const mapped = static_cast<char*>(outer.address);
  ASSERT_EQ(munmap(mapped + 2 * kPage, 2 * kPage), 0);

  ForeignMemory::Placement inner = {mapped + 2 * kPage, PROT_READ, MAP_FIXED};
  ASSERT_EQ(memory_.Map(0, inner, {frames, 1}, errors), 0);
  EXPECT_EQ(held(), 6u);  // four and one, and one whose mapping is gone
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 5u);
  ASSERT_EQ(munmap(mapped + 5 * kPage, kPage), 0);
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 4u);
  EXPECT_EQ(memory_.Unmap(mapped + kPage, 2), 0);
  EXPECT_EQ(held(), 2u);
  ASSERT_EQ(munmap(mapped, 6 * kPage), 0);
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, AMapThatRunsOutOfMemoryHoldsAndMapsNothing) {
  const auto bytes = *client_->arena().NewArray<char>(3 * kPage);
  const std::uint64_t frames[] = {GfnOf(&bytes[0]), std::uint64_t{1} << 40, GfnOf(&bytes[kPage])};
  ProcessMaps maps(machine_->memory().fd());
  const auto areas = [&maps] {
    ProcessMaps::Areas all;
    EXPECT_TRUE(maps.List(all));
    return all.size();
  };
  const std::size_t before = areas();
  bool mapped = false;
  for (long step = 0; !mapped; ++step) {
    int errors[3];
    ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
    allocations_left = step;
    try {
      mapped = memory_.Map(0, placement, frames, errors) == 0;
    } catch (const std::bad_alloc&) {
    }
    allocations_left = -1;
    if (mapped) {
      EXPECT_EQ(memory_.Unmap(placement.address, 3), 0);
    }
    EXPECT_EQ(held(), 0u) << "of allocation " << step;
    EXPECT_EQ(areas(), before) << "of allocation " << step;
  }
}

TEST_F(ForeignMemoryTest, RefusesWhatIsNoArrayAndNoRange) {
  const xen_pfn_t frame = 100;
  int error = 0;
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  // Longer than it is, or none at all.
  EXPECT_EQ(memory_.Map(0, placement, {&frame, std::size_t{1} << 30}, {&error, 1}), -EFAULT);
  EXPECT_EQ(memory_.Map(0, placement, {static_cast<const xen_pfn_t*>(nullptr), 1}, {&error, 1}),
            -EFAULT);
  EXPECT_EQ(memory_.Map(0, placement, {&frame, 1}, {static_cast<int*>(nullptr), 1}), -EFAULT);
  void* const page = reinterpret_cast<void*>(kPage);
  EXPECT_EQ(memory_.Unmap(page, ~std::size_t{0}), -EINVAL);
  EXPECT_EQ(memory_.Unmap(page, std::size_t{1} << 52), -EINVAL);
#ifndef __SANITIZE_THREAD__  // whose own munmap looks up the whole range first, and crashes
  EXPECT_EQ(memory_.Unmap(page, std::size_t{1} << 51), -EINVAL);
#endif
  EXPECT_EQ(memory_.Unmap(nullptr, 0), -EINVAL);
  EXPECT_EQ(held(), 0u);
}

// Both ways to know what is mapped: the kernel's query, if it has one, and text.
class ForeignMappingsEndTest : public testing::TestWithParam<ProcessMaps::Way> {
 protected:
  static constexpr std::size_t kPages = 6;

  void SetUp() override {
    std::uint64_t frames[kPages];
    for (std::size_t i = 0; i < kPages; ++i) {
      frames[i] =
          Translated(*client_, &bytes_[i * kPage], XENCOMM_BY_REGION).guest_physical / kPage;
    }
    mapped_ = Map(frames);
  }
  void TearDown() override {
    munmap(mapped_, kPages * kPage);
    EXPECT_EQ(held(), 0u);
  }

  char* Map(std::span<const std::uint64_t> frames) {
    std::vector<int> errors(frames.size());
    ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
    EXPECT_EQ(mappings_.Map(0, placement, frames, errors), 0);
    return static_cast<char*>(placement.address);
  }
  char* Page(std::size_t i) { return mapped_ + i * kPage; }
  // After what a call does first.
  std::uint64_t held() {
    mappings_.Sweep();
    return machine_->hypervisor().statistics().held_frames;
  }
  static void* Anonymous(void* place, std::size_t pages) {
    return mmap(place, pages * kPage, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | (place != nullptr ? MAP_FIXED : 0), -1, 0);
  }

  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine();
  std::shared_ptr<Client> client_ = ClientOf(machine_, Reach::kRegion);
  OwnedArray<char> bytes_ = *client_->arena().NewArray<char>(kPages * kPage);
  ForeignMappings mappings_{machine_->hypervisor(), machine_->memory(), GetParam()};
  char* mapped_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(, ForeignMappingsEndTest,
                         testing::Values(ProcessMaps::Way::kBest, ProcessMaps::Way::kText),
                         [](const auto& tested) {
                           return tested.param == ProcessMaps::Way::kBest ? "Best" : "Text";
                         });

TEST_P(ForeignMappingsEndTest, WhatIsReplacedAsAWholeIsLetGo) {
  ASSERT_EQ(Anonymous(mapped_, kPages), mapped_);
  EXPECT_EQ(held(), 0u);
}

TEST_P(ForeignMappingsEndTest, WhatIsReplacedInPartIsLetGoInPart) {
  ASSERT_EQ(Anonymous(Page(0), 1), Page(0));
  ASSERT_EQ(Anonymous(Page(3), 2), Page(3));
  EXPECT_EQ(held(), 3u);
  // By another file's pages.
  const int fd = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, kPage), 0);
  ASSERT_EQ(mmap(Page(1), kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), Page(1));
  close(fd);
  EXPECT_EQ(held(), 2u);
  // By other pages of the machine's memory: those of the frame behind it.
  ASSERT_TRUE(
      machine_->memory().MapAt(reinterpret_cast<std::byte*>(Page(2)), {0}, kPage, PROT_READ).ok());
  EXPECT_EQ(held(), 1u);
  // What replaced them is not what Unmap lets go of.
  EXPECT_EQ(mappings_.Unmap(mapped_, kPages), 0);
}

TEST_P(ForeignMappingsEndTest, WhatIsMovedIsHeldUntilItEndsThere) {
  void* const place = Anonymous(nullptr, 2);
  ASSERT_EQ(mremap(Page(2), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place), place);
  EXPECT_EQ(held(), kPages);
  ASSERT_EQ(Anonymous(Page(2), 2), Page(2));
  EXPECT_EQ(held(), kPages);
  bytes_[2 * kPage] = 'm';
  EXPECT_EQ(*static_cast<char*>(place), 'm');
  // At the old place there is nothing of it to end.
  EXPECT_EQ(mappings_.Unmap(mapped_, kPages), 0);
  EXPECT_EQ(held(), 2u);
  ASSERT_EQ(munmap(place, kPage), 0);
  EXPECT_EQ(held(), 1u);
  EXPECT_EQ(mappings_.Unmap(static_cast<char*>(place) + kPage, 1), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_P(ForeignMappingsEndTest, WhatIsMovedBeforeAnyCallIsNotEndedAtItsOldPlace) {
  void* const place = Anonymous(nullptr, 1);
  ASSERT_EQ(mremap(Page(5), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place), place);
  EXPECT_EQ(mappings_.Unmap(mapped_, kPages), 0);
  EXPECT_EQ(held(), 1u);
  ASSERT_EQ(munmap(place, kPage), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_P(ForeignMappingsEndTest, WhatIsMappedTwiceEndsTwice) {
  const std::uint64_t frame =
      Translated(*client_, bytes_.get(), XENCOMM_BY_REGION).guest_physical / kPage;
  char* const again = Map({{frame}});
  EXPECT_EQ(held(), kPages + 1);
  ASSERT_EQ(munmap(Page(0), kPage), 0);
  EXPECT_EQ(held(), kPages);
  ASSERT_EQ(munmap(again, kPage), 0);
  EXPECT_EQ(held(), kPages - 1);
}

// As daemons do: they close what they did not open, and the numbers are given out again.
TEST_P(ForeignMappingsEndTest, WhatIsMappedStaysWhenTheProgramTakesTheDescriptor) {
  EXPECT_EQ(held(), kPages);
  int maps = -1;
  for (int fd = 3; fd < 256; ++fd) {
    char target[64] = {};
    if (readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof(target) - 1) > 0 &&
        std::string_view(target).ends_with("/maps")) {
      maps = fd;
    }
  }
  ASSERT_GE(maps, 0);
  const int other = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(dup2(other, maps), maps);
  close(other);
  EXPECT_EQ(held(), kPages);
  ASSERT_EQ(munmap(Page(1), kPage), 0);
  EXPECT_EQ(held(), kPages - 1);
  // It is the program's to close now.
  EXPECT_EQ(close(maps), 0);
  EXPECT_EQ(held(), kPages - 1);
}

TEST_P(ForeignMappingsEndTest, WhatIsSplitByItsProtectionStays) {
  ASSERT_EQ(mprotect(Page(1), kPage, PROT_READ), 0);
  ASSERT_EQ(mprotect(Page(4), kPage, PROT_NONE), 0);
  EXPECT_EQ(held(), kPages);
  ASSERT_EQ(munmap(Page(4), kPage), 0);
  EXPECT_EQ(held(), kPages - 1);
}

TEST_P(ForeignMappingsEndTest, FramesThatFollowOneAnotherEndOneByOne) {
  // In the machine too, so that Linux has one mapping for all four.
  const std::uint64_t frames[] = {256, 257, 258, 259};
  char* const run = Map(frames);
  EXPECT_EQ(held(), kPages + 4);
  ASSERT_EQ(munmap(run, kPage), 0);
  EXPECT_EQ(held(), kPages + 3);
  ASSERT_EQ(munmap(run + 2 * kPage, kPage), 0);
  EXPECT_EQ(held(), kPages + 2);
  ASSERT_EQ(munmap(run, 4 * kPage), 0);
  EXPECT_EQ(held(), kPages);
}

TEST_P(ForeignMappingsEndTest, TheSamePlaceOfAnotherFileIsAnotherMapping) {
  const std::uint64_t gfn =
      Translated(*client_, bytes_.get(), XENCOMM_BY_REGION).guest_physical / kPage;
  const auto offset = static_cast<off_t>(machine_->hypervisor().FrameOf(0, gfn) * kPage);
  const int fd = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, offset + static_cast<off_t>(kPage)), 0);
  ASSERT_EQ(mmap(Page(0), kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset), Page(0));
  close(fd);
  EXPECT_EQ(held(), kPages - 1);
}

TEST_P(ForeignMappingsEndTest, AMappingOverAnotherTakesItsPlace) {
  const std::uint64_t frame =
      Translated(*client_, bytes_.get(), XENCOMM_BY_REGION).guest_physical / kPage;
  int error = 0;
  for (int i = 0; i < 3; ++i) {
    ForeignMemory::Placement placement = {Page(0), PROT_READ, MAP_FIXED};
    ASSERT_EQ(mappings_.Map(0, placement, {&frame, 1}, {&error, 1}), 0);
    EXPECT_EQ(held(), kPages);
  }
  ForeignMemory::Placement taken = {Page(1), PROT_READ, MAP_FIXED_NOREPLACE};
  EXPECT_EQ(mappings_.Map(0, taken, {&frame, 1}, {&error, 1}), -EEXIST);
  EXPECT_EQ(held(), kPages);
}

TEST_F(ForeignMemoryTest, ARestrictedHandleMapsOneDomain) {
  const auto bytes = *client_->arena().NewArray<char>(kPage);
  const std::uint64_t frames[] = {GfnOf(bytes.get())};
  int errors[1];
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  EXPECT_EQ(memory_.Restrict(5), 0);
  EXPECT_EQ(memory_.Map(0, placement, frames, errors), -EPERM);
  EXPECT_EQ(memory_.Restrict(0), -EINVAL);
  EXPECT_EQ(memory_.Restrict(5), 0);
}

TEST(Setting, Options) {
  const struct {
    const char* options;
    Reach reach;
    std::uint64_t memory_megabytes;
  } good[] = {
      {"", Reach::kRegion, 8192},
      {"space=walk5", Reach::kWalk5, 8192},
      {"memory=512M,dom0=64M,space=direct,cpus=64,vcpus=1,console=on", Reach::kDirect, 512},
      {"memory=2097152K", Reach::kRegion, 2048},
  };
  for (const auto& [options, reach, megabytes] : good) {
    const auto setting = ParseEmbeddedSetting(options);
    ASSERT_TRUE(setting.ok()) << options << ": " << setting.status();
    EXPECT_EQ(setting->reach, reach);
    EXPECT_EQ(setting->machine.memory_bytes >> 20, megabytes);
  }

  const struct {
    const char* options;
    const char* named;
  } bad[] = {
      {"space=raw", "space=raw: expected direct, walk4, walk5, region, stateless, xcom, inline"},
      {"size=1", "'size=1' is no option"},
      {"space", "expected OPTION=VALUE"},
      {",", "'' is no option"},
      {"memory=1", "memory=1: expected 64M to 64G"},
      {"memory=99999999999999999999G", "expected 64M to 64G"},
      {"memory=18446744073709551615M", "expected 64M to 64G"},
      {"memory=64MB", "expected 64M to 64G"},
      {"memory=-64M", "expected 64M to 64G"},
      {"memory=", "expected 64M to 64G"},
      {"memory=67108865", "expected 64M to 64G"},
      {"dom0=1024M,memory=1G", "three quarters"},
      {"cpus=0", "cpus=0: expected 1 to 64"},
      {"cpus=65", "expected 1 to 64"},
      {"vcpus=4x", "expected 1 to 64"},
      {"console=yes", "console=yes: expected on, off"},
  };
  for (const auto& [options, named] : bad) {
    const auto setting = ParseEmbeddedSetting(options);
    ASSERT_EQ(setting.status().code(), absl::StatusCode::kInvalidArgument) << options;
    EXPECT_THAT(std::string(setting.status().message()), HasSubstr(named)) << options;
  }
}

TEST(Frames, EachIsGivenOnceAndNoneBelowTheFirstBlock) {
  Frames frames(1024);
  std::set<std::uint64_t> seen;
  const auto take = [&](const std::optional<FrameRun>& run) {
    for (std::uint64_t i = 0; i < run->count; ++i) {
      EXPECT_TRUE(seen.insert(run->gfn + i).second);
      EXPECT_GE(run->gfn, kBlockFrames);
    }
  };
  for (int i = 0; i < 100; ++i) take(frames.TakeOne());
  while (const auto block = frames.TakeBlock()) take(block);
  while (const auto one = frames.TakeOne()) take(one);
  EXPECT_EQ(seen.size(), 1024 - kBlockFrames);
  EXPECT_EQ(frames.free(), 0u);
  frames.GiveBack({*seen.begin(), 1});
  EXPECT_EQ(frames.TakeOne()->gfn, *seen.begin());
  EXPECT_FALSE(frames.TakeBlocks(2));
  frames.GiveBack({5 * kBlockFrames, kBlockFrames});
  frames.GiveBack({9 * kBlockFrames, kBlockFrames});
  EXPECT_FALSE(frames.TakeBlocks(2));
  frames.GiveBack({8 * kBlockFrames, kBlockFrames});
  EXPECT_EQ(frames.TakeBlocks(2)->gfn, 8 * kBlockFrames);
  EXPECT_EQ(frames.free(), kBlockFrames);
}

}  // namespace
}  // namespace xencomm::embedded
