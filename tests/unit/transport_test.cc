// The embedded transport: one machine, every space, one result.

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

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/embedded/embedded_transport.h"
#include "tests/unit/embedded_machine.h"
#include "tests/unit/hypervisor_books.h"
#include "xencomm/client.h"

namespace xencomm::embedded {
namespace {

using ::testing::HasSubstr;

constexpr SpaceOption kSpaces[] = {
    SpaceOption::kDirect,    SpaceOption::kWalk4, SpaceOption::kWalk5, SpaceOption::kRegion,
    SpaceOption::kStateless, SpaceOption::kXcom,  SpaceOption::kInline};

class EverySpace : public testing::TestWithParam<SpaceOption> {
 protected:
  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine(64 << 20, IsHistorical(GetParam()));
  std::shared_ptr<Client> client_ = ClientOf(machine_, GetParam());
};

INSTANTIATE_TEST_SUITE_P(, EverySpace, testing::ValuesIn(kSpaces), SpaceName);

TEST_P(EverySpace, ArgumentsAreReadAndWrittenInPlace) {
  auto version = *client_->arena().New<xen_extraversion_t>();
  std::memset(version.get(), '?', sizeof(*version));
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
  EXPECT_NE(std::memchr(version.get(), 0, sizeof(*version)), nullptr);
}

TEST_P(EverySpace, NestedPointersStayAsTheyAre) {
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

TEST_P(EverySpace, PointersThatAreNotThePayloadFault) {
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

TEST_P(EverySpace, PointersOfAnotherProcessFault) {
  const auto other = ClientOf(machine_, GetParam());
  const auto theirs = *other->arena().New<xen_extraversion_t>();
  std::memset(theirs.get(), '?', sizeof(*theirs));
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_extraversion, theirs.get()), -EFAULT);
  EXPECT_EQ((*theirs)[0], '?');
}

TEST_P(EverySpace, NoProcessMakesTheKernelsCalls) {
  // The victim: another process of the same domain, with a region of its own.
  auto transport = std::make_unique<EmbeddedTransport>(machine_, SpaceOption::kRegion);
  EmbeddedTransport& theirs = *transport;
  const bool has_victim = !IsHistorical(GetParam());
  const auto victim = has_victim ? *Client::Over(std::move(transport)) : nullptr;
  const std::uint64_t handle = has_victim ? theirs.region().handle().value() : 3;
  const auto unregister = static_cast<std::uint64_t>(XencommOp::kUnregister);
  const unsigned regions = hypervisor::Books::StatisticsOf(machine_->hypervisor()).regions;

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
  EXPECT_EQ(hypervisor::Books::StatisticsOf(machine_->hypervisor()).regions, regions);
  if (!has_victim) return;
  const auto version = *victim->arena().New<xen_extraversion_t>();
  EXPECT_EQ(victim->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
}

TEST_P(EverySpace, ABufferOverManyScatteredPagesIsOne) {
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

TEST_P(EverySpace, BothTranslationsLeadToTheSameByte) {
  auto bytes = *client_->arena().NewArray<std::uint64_t>((4 << 20) / 8);
  for (std::size_t i = 0; i < bytes.size(); i += 511) {
    bytes[i] = i;
    const Place region = PlaceOf(*client_, &bytes[i], TracedSpace::kRegion);
    const Place walk = PlaceOf(*client_, &bytes[i], TracedSpace::kWalk);
    EXPECT_EQ(region.guest_physical, walk.guest_physical);
    EXPECT_EQ(region.machine, walk.machine);
    EXPECT_EQ(walk.steps, GetParam() == SpaceOption::kWalk5 ? 5u : 4u);
    std::uint64_t value = 0;
    std::memcpy(&value, machine_->ram().data() + region.machine, sizeof(value));
    EXPECT_EQ(value, i);
  }
}

TEST_P(EverySpace, FramesAreScattered) {
  auto bytes = *client_->arena().NewArray<char>(64 * kPage);
  int neighbours = 0;
  for (std::size_t page = 1; page < 64; ++page) {
    const auto before = PlaceOf(*client_, &bytes[(page - 1) * kPage], TracedSpace::kRegion);
    const auto here = PlaceOf(*client_, &bytes[page * kPage], TracedSpace::kRegion);
    if (here.machine == before.machine + kPage) ++neighbours;
  }
  EXPECT_LT(neighbours, 8);
}

TEST_P(EverySpace, ThreadsThatOutnumberTheVcpusTakeTurns) {
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
TEST_P(EverySpace, ArenasGrowAndTranslateWhileThePhysmapGrows) {
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    const auto other = ClientOf(machine_, GetParam());
    for (std::uint64_t size = 1; !done; size = size % 64 + 1) {
      auto bytes = *other->arena().NewArray<char>(size * kPage);
      EXPECT_EQ(PlaceOf(*other, &bytes[0], TracedSpace::kRegion).guest_physical,
                PlaceOf(*other, &bytes[0], TracedSpace::kWalk).guest_physical);
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

TEST_P(EverySpace, AllIsGivenBackAtTheEnd) {
  const std::uint64_t free_before = [&] {
    client_.reset();
    return machine_->kernel().frames().free();
  }();
  EXPECT_EQ(free_before, machine_->kernel().frames().total() - kBlockFrames);
  EXPECT_EQ(hypervisor::Books::StatisticsOf(machine_->hypervisor()).regions, 0u);
  EXPECT_EQ(hypervisor::Books::StatisticsOf(machine_->hypervisor()).pinned_frames, 0u);

  client_ = ClientOf(machine_, GetParam());
  auto bytes = *client_->arena().NewArray<char>(4 << 20);
  std::memset(bytes.get(), 0x5a, bytes.size());
  const auto place = PlaceOf(*client_, bytes.get(), TracedSpace::kRegion);
  EXPECT_LT(machine_->kernel().frames().free(), free_before);
  bytes = {};
  client_.reset();
  EXPECT_EQ(machine_->kernel().frames().free(), free_before);
  EXPECT_EQ(machine_->ram().data()[place.machine], std::byte{0}) << "left for the next process";
}

std::size_t CountMappings() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
}

TEST(EmbeddedTransport, LargeRegionsTakeFewMappings) {
  const auto machine = SmallMachine(std::uint64_t{256} << 20);
  const auto client = ClientOf(machine, SpaceOption::kRegion);
  const std::size_t before = CountMappings();
  auto bytes = *client->arena().NewArray<std::uint64_t>((std::size_t{128} << 20) / 8);
  // 512 single frames at most, and blocks of 64 KiB.
  EXPECT_LT(CountMappings() - before, 512u + 2048 + 64);
  for (std::size_t i = 0; i < bytes.size(); i += 512) bytes[i] = i;
  const auto last = PlaceOf(*client, &bytes[bytes.size() - 512], TracedSpace::kRegion);
  EXPECT_EQ(last.steps, 2u);
  std::uint64_t value = 0;
  std::memcpy(&value, machine->ram().data() + last.machine, sizeof(value));
  EXPECT_EQ(value, bytes.size() - 512);
}

TEST(EmbeddedTransport, DomainZeroWithoutMemoryIsNamedAndTheRestGoesOn) {
  const auto machine = SmallMachine(16 << 20);
  const auto client = ClientOf(machine, SpaceOption::kRegion);
  const auto some = client->arena().NewArray<char>(4 << 20);
  ASSERT_TRUE(some.ok()) << some.status();
  const absl::Status full = client->arena().Allocate(32 << 20).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("option dom0"));
  EXPECT_TRUE(client->arena().Allocate(1 << 20).ok());
}

TEST(EmbeddedTransport, TheTableIsReadOnlyForTheProcess) {
  const auto machine = SmallMachine();
  const auto client = ClientOf(machine, SpaceOption::kRegion);
  std::byte* const table = client->arena().region().data();
  EXPECT_EQ(LoadField<std::uint32_t>(table, kNativeOrder), kRegionMagic);
  EXPECT_DEATH(*static_cast<volatile std::byte*>(table) = std::byte{0}, "");
}

TEST(EmbeddedTransport, AForkedChildHasNeitherTheMemoryNorTheMachine) {
  auto machine = SmallMachine();
  auto client = ClientOf(machine, SpaceOption::kRegion);
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
    const auto fresh = ClientOf(SmallMachine(), SpaceOption::kRegion);
    const auto own = *fresh->arena().New<xen_extraversion_t>();
    if (fresh->Call(__HYPERVISOR_xen_version, XENVER_extraversion, own.get()) != 0) _exit(3);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(client->Call(__HYPERVISOR_xen_version, XENVER_extraversion, version.get()), 0);
}

TEST(Setting, Options) {
  const struct {
    const char* options;
    SpaceOption space;
    std::uint64_t memory_megabytes;
  } good[] = {
      {"", SpaceOption::kRegion, 8192},
      {"space=walk5", SpaceOption::kWalk5, 8192},
      {"memory=512M,dom0=64M,space=direct,cpus=64,vcpus=1,console=on", SpaceOption::kDirect, 512},
      {"memory=2097152K", SpaceOption::kRegion, 2048},
      {"memory=64M,dom0=16M,cpus=1", SpaceOption::kRegion, 64},
      {"memory=64G,dom0=16G,vcpus=64", SpaceOption::kRegion, 65536},
  };
  for (const auto& [options, space, megabytes] : good) {
    const auto setting = ParseEmbeddedSetting(options);
    ASSERT_TRUE(setting.ok()) << options << ": " << setting.status();
    EXPECT_EQ(setting->space, space);
    EXPECT_EQ(setting->machine.memory_bytes >> 20, megabytes);
  }

  const struct {
    const char* options;
    const char* named;
  } bad[] = {
      {"space=raw", "space=raw: expected direct, walk4, walk5, region, stateless, xcom, inline"},
      {"size=1",
       "'size=1' is no option of the embedded hypervisor: expected OPTION=VALUE with one of space, "
       "release, memory, dom0, cpus, vcpus, max-domains, console"},
      {"space", "expected OPTION=VALUE"},
      {",", "'' is no option"},
      {"memory=1", "memory=1: expected 64M to 64G"},
      {"memory=99999999999999999999G", "expected 64M to 64G"},
      {"memory=18446744073709551615M", "expected 64M to 64G"},
      {"memory=64MB", "expected 64M to 64G"},
      {"memory=-64M", "expected 64M to 64G"},
      {"memory=", "expected 64M to 64G"},
      {"memory=67108865", "expected 64M to 64G"},
      {"memory=67108863", "expected 64M to 64G"},
      {"memory=68719476737", "expected 64M to 64G"},
      {"dom0=16777215", "expected 16M to 16G"},
      {"dom0=17179869185", "expected 16M to 16G"},
      {"dom0=1024M,memory=1G", "three quarters"},
      {"cpus=0", "cpus=0: expected 1 to 64"},
      {"cpus=65", "expected 1 to 64"},
      {"vcpus=4x", "expected 1 to 64"},
      {"max-domains=0", "max-domains=0: expected 1 to 32751"},
      {"max-domains=32752", "expected 1 to 32751"},
      {"console=yes", "console=yes: expected on, off"},
  };
  for (const auto& [options, named] : bad) {
    const auto setting = ParseEmbeddedSetting(options);
    ASSERT_EQ(setting.status().code(), absl::StatusCode::kInvalidArgument) << options;
    EXPECT_THAT(std::string(setting.status().message()), HasSubstr(named)) << options;
  }
}

TEST(Frames, EachIsGivenOnceAndNoneBelowTheFirstBlock) {
  Frames frames(0, 1024);
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
