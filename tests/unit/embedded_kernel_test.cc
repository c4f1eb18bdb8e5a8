// The embedded machine's guest kernel: what it has when it is up, the regions that it makes, what
// it takes for them, and what is left of that when something cannot be had.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/embedded/descriptor_memory.h"
#include "hcall/transport/embedded/embedded_transport.h"
#include "hcall/transport/embedded/region_backing.h"
#include "tests/unit/embedded_machine.h"
#include "tests/unit/hypervisor_books.h"
#include "tests/unit/process_mapping.h"
#include "xencomm/arena.h"

namespace xencomm::embedded {
namespace {

// How many more mappings this thread makes before one is refused; negative: all.
thread_local long mappings_left = -1;

}  // namespace
}  // namespace xencomm::embedded

extern "C" void* mmap(void* place, std::size_t bytes, int protection, int flags, int fd,
                      off_t offset) noexcept {
  if (xencomm::embedded::mappings_left >= 0 && xencomm::embedded::mappings_left-- == 0) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(syscall(SYS_mmap, place, bytes, protection, flags, fd, offset));
}

namespace xencomm::embedded {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::IsReserved;
using testing::MappingAt;

constexpr std::uint64_t kMegabyte = 1 << 20;

// Of machines' memory in this process.
std::size_t CountMappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("xencomm-machine") != line.npos) ++count;
  }
  return count;
}

TEST(EmbeddedMachine, SettingsThatMakeNoMachineAreRefusedAndLeaveNothing) {
  const struct {
    MachineSetting setting;
    absl::StatusCode code;
    const char* words;
  } cases[] = {
      {{.memory_bytes = kPage}, absl::StatusCode::kResourceExhausted, "does not start"},
      {{.memory_bytes = 64 * kMegabyte, .dom0_bytes = 64 * kMegabyte},
       absl::StatusCode::kResourceExhausted,
       "domain 0 cannot be built"},
      {{.memory_bytes = 64 * kMegabyte, .dom0_bytes = 16 * kMegabyte, .vcpus = 0},
       absl::StatusCode::kInvalidArgument,
       "domain 0 cannot be built"},
      // One block, and nothing begins at address 0.
      {{.memory_bytes = 64 * kMegabyte, .dom0_bytes = kBlockFrames * kPage},
       absl::StatusCode::kResourceExhausted,
       "no frame to boot with"},
      {{.memory_bytes = std::uint64_t{1} << 62},
       absl::StatusCode::kResourceExhausted,
       "4398046511104M of memory for the embedded machine cannot be had"},
  };
  for (const auto& [setting, code, words] : cases) {
    const absl::Status status = EmbeddedMachine::Create(setting).status();
    EXPECT_EQ(status.code(), code) << words << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_EQ(CountMappings(), 0u) << words;
  }
}

// Each block once, and none below the first, whatever was taken and given back before.
void ExpectAllFrames(Frames& frames) {
  std::set<std::uint64_t> seen;
  const auto take = [&](FrameRun run) {
    for (std::uint64_t i = 0; i < run.count; ++i) EXPECT_TRUE(seen.insert(run.gfn + i).second);
  };
  std::vector<FrameRun> runs;
  while (const auto block = frames.TakeBlock()) runs.push_back(*block);
  while (const auto one = frames.TakeOne()) runs.push_back(*one);
  for (const FrameRun run : runs) {
    EXPECT_TRUE(run.count == 1 || run.gfn % kBlockFrames == 0) << run.gfn;
    take(run);
  }
  EXPECT_EQ(seen.size(), frames.total() - kBlockFrames);
  EXPECT_EQ(*seen.begin(), kBlockFrames);
  EXPECT_EQ(*seen.rbegin(), frames.total() - 1);
  for (const FrameRun run : runs) frames.GiveBack(run);
}

// Somebody else has the kernel's frames, but for some single ones.
class Hoard {
 public:
  Hoard(Frames& frames, std::uint64_t left) : frames_(frames) {
    while (const auto one = frames_.TakeOne()) taken_.push_back(*one);
    for (; left != 0; --left) GiveBack();
  }
  Hoard(const Hoard&) = delete;
  Hoard& operator=(const Hoard&) = delete;
  ~Hoard() {
    while (!taken_.empty()) GiveBack();
  }

 private:
  void GiveBack() {
    frames_.GiveBack(taken_.back());
    taken_.pop_back();
  }

  Frames& frames_;
  std::vector<FrameRun> taken_;
};

class EveryKernel : public ::testing::TestWithParam<SpaceOption> {
 protected:
  static constexpr std::uint64_t kPayload = 4 * kMegabyte;

  // A region, small, and its way to the hypervisor.
  struct Process {
    explicit Process(EveryKernel& test) : transport(test.machine_, GetParam()) {}

    EmbeddedTransport transport;
    std::unique_ptr<Arena> arena;
  };
  absl::StatusOr<std::unique_ptr<Process>> Open(std::uint64_t payload = kPayload) {
    auto process = std::make_unique<Process>(*this);
    absl::StatusOr<std::unique_ptr<Backing>> backing = process->transport.MakeBacking();
    if (!backing.ok()) return backing.status();
    absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Create(*std::move(backing), payload);
    if (!arena.ok()) return arena.status();
    process->arena = *std::move(arena);
    return process;
  }
  // Of a version's name, at `text`.
  static std::int64_t Extraversion(Process& process, const void* text) {
    return process.transport.Call(
        __HYPERVISOR_xen_version,
        {XENVER_extraversion, std::bit_cast<std::uint64_t>(text), 0, 0, 0});
  }

  void ExpectNothingLeft() {
    const hypervisor::Statistics statistics =
        hypervisor::Books::StatisticsOf(machine_->hypervisor());
    EXPECT_EQ(statistics.regions, 0u);
    EXPECT_EQ(statistics.pinned_frames, 0u);
    EXPECT_EQ(CountMappings(), 1u) << "the machine's own";
  }

  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine(64 << 20, IsHistorical(GetParam()));
  Frames& frames_ = machine_->kernel().frames();
};

INSTANTIATE_TEST_SUITE_P(, EveryKernel,
                         ::testing::Values(SpaceOption::kDirect, SpaceOption::kWalk4,
                                           SpaceOption::kWalk5, SpaceOption::kRegion,
                                           SpaceOption::kStateless, SpaceOption::kXcom,
                                           SpaceOption::kInline),
                         SpaceName);

TEST_P(EveryKernel, HasTheEventPortsOfOneThatIsUp) {
  const auto process = *Open();
  const auto status = *process->arena->New<evtchn_status>();
  const auto ask = [&](std::uint32_t port) {
    std::memset(status.get(), 0, sizeof(*status));
    status->dom = DOMID_SELF;
    status->port = port;
    return process->transport.Call(
        __HYPERVISOR_event_channel_op,
        {EVTCHNOP_status, std::bit_cast<std::uint64_t>(status.get()), 0, 0, 0});
  };
  const struct {
    std::uint32_t status;
    std::uint32_t virq;
  } ports[] = {{EVTCHNSTAT_closed, 0},
               {EVTCHNSTAT_virq, VIRQ_TIMER},
               {EVTCHNSTAT_ipi, 0},
               {EVTCHNSTAT_ipi, 0},
               {EVTCHNSTAT_ipi, 0},
               {EVTCHNSTAT_ipi, 0},
               {EVTCHNSTAT_virq, VIRQ_CONSOLE},
               {EVTCHNSTAT_virq, VIRQ_PCPU_STATE},
               {EVTCHNSTAT_closed, 0}};
  for (std::uint32_t port = 0; port < std::size(ports); ++port) {
    ASSERT_EQ(ask(port), 0) << port;
    EXPECT_EQ(status->status, ports[port].status) << port;
    EXPECT_EQ(status->vcpu, 0u) << port;
    if (status->status == EVTCHNSTAT_virq) {
      EXPECT_EQ(status->u.virq, ports[port].virq) << port;
    }
  }
}

TEST_P(EveryKernel, MakesItsOwnCallsOnAnyVcpu) {
  const VcpuPool::Lease first(machine_->vcpus()), second(machine_->vcpus());
  evtchn_status status = {};
  status.dom = DOMID_SELF;
  status.port = 1;
  EXPECT_EQ(machine_->kernel().EventCall(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, static_cast<std::uint32_t>(EVTCHNSTAT_virq));
  EXPECT_EQ(status.u.virq, static_cast<std::uint32_t>(VIRQ_TIMER));
  status.port = 0xffffffff;
  EXPECT_EQ(machine_->kernel().EventCall(EVTCHNOP_status, status), -EINVAL);
}

TEST_P(EveryKernel, RegistersARegionWhereCallsNameARegisteredOne) {
  const bool registered = GetParam() == SpaceOption::kRegion;
  {
    const auto process = *Open();
    EXPECT_EQ(process->transport.region().handle().is_registered(), registered);
    EXPECT_EQ(hypervisor::Books::StatisticsOf(machine_->hypervisor()).regions,
              registered ? 1u : 0u);
    EXPECT_EQ(process->transport.region().paging().cr4 != 0, GetParam() == SpaceOption::kWalk5);
  }
  ExpectNothingLeft();
}

// The table is beside it, however many granules that takes.
TEST_P(EveryKernel, PayloadsAreAsLongAsAsked) {
  const auto process = *Open();
  for (const std::uint64_t pages : {1, 2, 506, 507, 508, 509, 1018, 1019, 1020, 65536, 262144}) {
    GuestProcess asking(*machine_, GetParam());
    RegionBacking backing(asking);
    const auto reservation = backing.Reserve(pages * kPage);
    ASSERT_TRUE(reservation.ok()) << pages << ": " << reservation.status();
    EXPECT_EQ(reservation->payload_size, pages * kPage);
    const std::uint64_t bases = pages + reservation->payload_offset / kPage;
    EXPECT_EQ(reservation->payload_offset, (32 + bases * 8 + kPage - 1) / kPage * kPage) << pages;
    EXPECT_EQ(asking.region().layout().length(), bases * kPage);
    EXPECT_EQ(asking.region().table_frames().size(), reservation->payload_offset / kPage);
    backing.Release();
  }
  GuestProcess other(*machine_, GetParam());
  const auto none = RegionBacking(other).Reserve(kPage + 1);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("a region of 4097 bytes"));
}

TEST_P(EveryKernel, ARegionAfterAnotherIsNotTakenForIt) {
  GuestProcess process(*machine_, GetParam()), other(*machine_, GetParam());
  RegionBacking others(other);
  for (const bool is_first : {true, false}) {
    RegionBacking backing(process);
    const Backing::Reservation reservation = *backing.Reserve(kPayload);
    ASSERT_TRUE(backing.Populate(0, kPage).ok());
    std::byte* const payload = reservation.base + reservation.payload_offset;
    const std::uint64_t arguments[5] = {XENVER_extraversion, std::bit_cast<std::uint64_t>(payload)};
    std::uint32_t continuations = 7;
    EXPECT_EQ(process.Call(__HYPERVISOR_xen_version, arguments, &continuations), 0);
    EXPECT_EQ(continuations, 0u);
    EXPECT_EQ(*payload, std::byte{'.'});
    backing.Release();
    // In the place of the first.
    if (is_first) {
      ASSERT_TRUE(others.Reserve(kPayload).ok());
    }
  }
  others.Release();
  ExpectNothingLeft();
}

// Single frames and blocks, to the page.
TEST_P(EveryKernel, BacksAsMuchAsAskedAndNoMore) {
  GuestProcess process(*machine_, GetParam());
  RegionBacking backing(process);
  const Backing::Reservation reservation = *backing.Reserve(kPayload);
  std::byte* const payload = reservation.base + reservation.payload_offset;
  std::uint64_t populated = 0;
  for (const std::uint64_t pages : {1, 500, 15, 17, 1, 16, 33, 15, 160}) {
    ASSERT_TRUE(backing.Populate(populated, pages * kPage).ok()) << populated;
    for (const std::uint64_t page : {std::uint64_t{0}, pages - 1}) {
      std::byte* const at = payload + populated + page * kPage;
      EXPECT_EQ(MappingAt(at).access, "rw-s");
      EXPECT_TRUE(MappingAt(at).Has(" dc ")) << "a child would have it, too";
      unsigned char present = 0;
      EXPECT_EQ(mincore(at, kPage, &present), 0);
      EXPECT_EQ(present & 1, 1) << "the first use would fault";
      EXPECT_EQ(*at, std::byte{0});
    }
    populated += pages * kPage;
    EXPECT_TRUE(IsReserved(payload + populated)) << populated;
    const std::uint64_t end = std::bit_cast<std::uint64_t>(payload) + populated;
    EXPECT_TRUE(process.region().PhysicalOf({end - 1}).ok());
    EXPECT_EQ(process.region().PhysicalOf({end}).fault().fault, Fault::kNotBacked);
  }
  // What is lacking is named.
  {
    const Hoard hoard(frames_, 3);
    EXPECT_EQ(backing.Populate(populated, 5 * kPage).message(),
              "20480 bytes for the region: of domain 0's 64M only 12288 bytes are free "
              "(option dom0)");
    EXPECT_EQ(frames_.free(), 3u);
    const Hoard rest(frames_, 0);
    EXPECT_EQ(Open().status().message(), "domain 0's 64M of memory are in use (option dom0)");
  }
  backing.Release();
}

TEST_P(EveryKernel, TracesEachByteOfThePayloadAndNoOther) {
  const auto process = *Open();
  const GuestRegion& region = process->transport.region();
  std::byte* const payload = process->arena->payload().data();
  std::byte* const memory = static_cast<std::byte*>(*process->arena->Allocate(3 * kPage));
  unsigned walk_steps = 0;
  for (const std::uint64_t into : {std::uint64_t{0}, kPage - 1, kPage, 3 * kPage - 1}) {
    const std::byte* const pointer = memory + into;
    const Result<PhysicalAddress> physical =
        region.PhysicalOf({std::bit_cast<std::uintptr_t>(pointer)});
    ASSERT_TRUE(physical.ok());
    const auto by_region = process->transport.TraceOf(pointer, TracedSpace::kRegion);
    const auto walk = process->transport.TraceOf(pointer, TracedSpace::kWalk);
    ASSERT_TRUE(by_region.ok() && walk.ok());
    for (const TracedPointer& traced : {*by_region, *walk}) {
      EXPECT_EQ(traced.trace.end.start(), *physical);
      EXPECT_EQ(traced.trace.end.length(), kPage - into % kPage);
      EXPECT_EQ(traced.machine, machine_->kernel().MachineOf(*physical));
    }
    EXPECT_EQ(by_region->region, region.layout().virtual_base());
    EXPECT_EQ(walk->region.value, 0u);
    walk_steps = walk->trace.count;
    // Each base as it stands in the table, which lies in front of the payload.
    ASSERT_EQ(by_region->trace.count, 1u);
    const auto granule =
        static_cast<std::uint64_t>(pointer - process->arena->region().data()) / kPage;
    const Step& step = by_region->trace.steps[0];
    EXPECT_STREQ(step.table, "base");
    EXPECT_EQ(step.level, 0u);
    EXPECT_EQ(step.index, granule);
    std::uint64_t base;
    std::memcpy(&base, process->arena->region().data() + 32 + 8 * granule, sizeof(base));
    EXPECT_EQ(step.entry, base);
    EXPECT_EQ(step.address.value, region.table_frames()[0].value + 32 + 8 * granule);
  }
  EXPECT_EQ(walk_steps, GetParam() == SpaceOption::kWalk5 ? 5u : 4u);

  const std::pair<const std::byte*, Fault> bad[] = {
      {payload - 1, Fault::kInTable},
      {process->arena->region().data(), Fault::kInTable},
      {process->arena->region().data() - 1, Fault::kOutOfRange},
      {payload + kPayload, Fault::kOutOfRange},
      {payload + process->arena->populated(), Fault::kNotBacked},
      {payload + kPayload - 1, Fault::kNotBacked},
  };
  for (const auto& [pointer, fault] : bad) {
    const VirtualAddress address = {std::bit_cast<std::uintptr_t>(pointer)};
    EXPECT_EQ(region.PhysicalOf(address).fault().fault, fault) << pointer;
    const absl::Status status = process->transport.TraceOf(pointer, TracedSpace::kRegion).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(status.message()), HasSubstr(Describe(fault)));
    // A process may read its table: to a walk it is a page like others.
    EXPECT_EQ(process->transport.TraceOf(pointer, TracedSpace::kWalk).ok(),
              fault == Fault::kInTable);
  }
}

// The table is a page that the process may read, and in a region no place at all.
TEST_P(EveryKernel, PointersMeanWhatTheOptionSays) {
  const auto process = *Open();
  const bool is_walk = GetParam() == SpaceOption::kWalk4 || GetParam() == SpaceOption::kWalk5;
  const auto write = [&](const void* text) {
    return process->transport.Call(__HYPERVISOR_console_io,
                                   {CONSOLEIO_write, 8, std::bit_cast<std::uint64_t>(text), 0, 0});
  };
  EXPECT_EQ(write(process->arena->region().data()), is_walk ? 0 : -EFAULT);
  EXPECT_EQ(write(*process->arena->Allocate(8, Contents::kCleared)), 0);
}

TEST_P(EveryKernel, FramesThatRunOutLeaveNothingBehind) {
  bool done = false;
  for (std::uint64_t left = 0; !done; ++left) {
    ASSERT_LT(left, 100u);
    const Hoard hoard(frames_, left);
    ASSERT_EQ(frames_.free(), left);
    auto process = Open();
    const absl::StatusOr<void*> memory =
        process.ok() ? (*process)->arena->Allocate(5 * kPage) : process.status();
    done = memory.ok();
    if (!done) {
      EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_THAT(std::string(memory.status().message()), HasSubstr("(option dom0)"));
    }
    if (process.ok()) {
      // What could be had can be used; descriptors take a block.
      if (done) {
        EXPECT_EQ(Extraversion(**process, static_cast<char*>(*memory) + kPage - 8),
                  IsHistorical(GetParam()) ? -ENOMEM : 0);
      }
      process->reset();
    }
    EXPECT_EQ(frames_.free(), left);
    ExpectNothingLeft();
    if (left == 0) {
      EXPECT_FALSE(done);
    }
  }
  ExpectAllFrames(frames_);
}

TEST_P(EveryKernel, MappingsThatRunOutLeaveNothingBehind) {
  const std::uint64_t before = frames_.free();
  bool refused = true;
  for (long step = 0; refused; ++step) {
    mappings_left = step;
    try {
      auto process = Open();
      const absl::StatusOr<void*> memory =
          process.ok() ? (*process)->arena->Allocate(5 * kPage) : process.status();
      if (memory.ok()) {
        std::memset(*memory, 0x5a, 5 * kPage);
        EXPECT_THAT(Extraversion(**process, *memory), AnyOf(0, -ENOMEM)) << step;
      } else {
        EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
      }
      refused = mappings_left < 0;
      // All that was promised is there, and what was refused can be asked for again.
      mappings_left = -1;
      if (process.ok()) {
        const std::span<std::byte> region = (*process)->arena->region();
        for (std::byte* at = region.data(); at < (*process)->arena->payload().data(); at += kPage) {
          EXPECT_EQ(MappingAt(at).access, "r--s") << step;
          EXPECT_TRUE(MappingAt(at).Has(" dc ")) << step;
        }
        if (!memory.ok()) {
          EXPECT_TRUE(IsReserved((*process)->arena->payload().data())) << step;
        }
        const absl::StatusOr<void*> again = (*process)->arena->Allocate(20 * kPage);
        ASSERT_TRUE(again.ok()) << step << ": " << again.status();
        std::memset(*again, 0x5a, 20 * kPage);
        EXPECT_EQ(Extraversion(**process, *again), 0) << step;
      }
    } catch (const std::bad_alloc&) {
    }
    mappings_left = -1;
    EXPECT_EQ(frames_.free(), before) << step;
    ExpectNothingLeft();
  }
  ExpectAllFrames(frames_);
}

// One that has gone from under its process, as if the hypervisor had no memory for more of it.
TEST(EmbeddedKernel, ARegionThatCannotBeExtendedIsSpoilt) {
  const auto machine = SmallMachine();
  const std::uint64_t before = machine->kernel().frames().free();
  GuestProcess process(*machine, SpaceOption::kRegion);
  RegionBacking backing(process);
  const Backing::Reservation reservation = *backing.Reserve(kMegabyte);
  ASSERT_TRUE(backing.Populate(0, kPage).ok());
  machine->kernel().Call(XencommOp::kUnregister, process.region().handle().value());
  const absl::Status status = backing.Populate(kPage, kPage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the region cannot be extended"));
  EXPECT_EQ(backing.Populate(2 * kPage, kPage), status);
  EXPECT_TRUE(IsReserved(reservation.base + reservation.payload_offset + kPage));
  EXPECT_TRUE(IsReserved(reservation.base + reservation.payload_offset + 2 * kPage));
  backing.Release();
  EXPECT_EQ(machine->kernel().frames().free(), before);
  ExpectAllFrames(machine->kernel().frames());
}

// With a hypervisor that has hardly any memory of its own.
TEST(EmbeddedKernel, ARegionThatCannotBeRegisteredIsNone) {
  std::shared_ptr<EmbeddedMachine> machine;
  std::uint64_t dom0 = 64 * kMegabyte;
  for (; machine == nullptr; dom0 -= kBlockFrames * kPage) {
    auto made = EmbeddedMachine::Create(
        {.memory_bytes = 64 * kMegabyte, .dom0_bytes = dom0, .cpus = 2, .vcpus = 4});
    if (made.ok()) machine = *std::move(made);
    ASSERT_GT(dom0, 32 * kMegabyte);
  }
  const std::uint64_t before = machine->kernel().frames().free();
  {
    GuestProcess process(*machine, SpaceOption::kRegion);
    RegionBacking backing(process);
    const absl::Status status = backing.Reserve(std::uint64_t{1} << 30).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("the region cannot be registered"));
  }
  EXPECT_EQ(machine->kernel().frames().free(), before);
  EXPECT_EQ(hypervisor::Books::StatisticsOf(machine->hypervisor()).regions, 0u);
  ExpectAllFrames(machine->kernel().frames());
  GuestProcess process(*machine, SpaceOption::kStateless);
  RegionBacking backing(process);
  EXPECT_TRUE(backing.Reserve(kMegabyte).ok());
  backing.Release();
}

// What describes calls takes and gives back.
class DescribedKernel : public EveryKernel {
 protected:
  static constexpr std::uint64_t kLarge = 44 * kMegabyte;

  // One whose descriptor alone takes more than a block.
  static std::int64_t LargeCall(Process& process, xen_sysctl& op, char* buffer) {
    op = {};
    op.cmd = XEN_SYSCTL_readconsole;
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    op.u.readconsole.buffer.p = buffer;
    op.u.readconsole.count = kLarge;
    return process.transport.Call(__HYPERVISOR_sysctl,
                                  {std::bit_cast<std::uint64_t>(&op), 0, 0, 0, 0});
  }
};

INSTANTIATE_TEST_SUITE_P(, DescribedKernel,
                         ::testing::Values(SpaceOption::kXcom, SpaceOption::kInline), SpaceName);

TEST_P(DescribedKernel, NamesWhatIsContiguousAsTheOptionSays) {
  const auto process = *Open();
  const void* const text = *process->arena->Allocate(16);
  const std::uint64_t before = frames_.free();
  EXPECT_EQ(Extraversion(*process, text), 0);
  EXPECT_EQ(before - frames_.free(), GetParam() == SpaceOption::kInline ? 0 : kBlockFrames);
}

TEST_P(DescribedKernel, KeepsABlockForTheNextCallAndNoMore) {
  {
    const auto process = *Open(2 * kLarge);
    const auto op = *process->arena->New<xen_sysctl>();
    const auto buffer = *process->arena->NewArray<char>(kLarge);
    // Over the end of a page: no form names that but a descriptor.
    const char* const text = &buffer[kPage - 8];
    const std::uint64_t before = frames_.free();
    EXPECT_EQ(Extraversion(*process, text), 0);
    EXPECT_EQ(frames_.free(), before - kBlockFrames);
    const std::size_t mappings = CountMappings();
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(LargeCall(*process, *op, buffer.get()), 0);
      EXPECT_EQ(op->u.readconsole.buffer.p, buffer.get());
      EXPECT_EQ(frames_.free(), before - kBlockFrames);
      EXPECT_EQ(CountMappings(), mappings);
    }
    // It is used again from its start: else this many calls would need others.
    const Hoard hoard(frames_, 0);
    for (int i = 0; i < 5000; ++i) ASSERT_EQ(Extraversion(*process, text), 0) << i;
    EXPECT_EQ(LargeCall(*process, *op, buffer.get()), -ENOMEM);
    EXPECT_EQ(Extraversion(*process, text), 0);
  }
  ExpectNothingLeft();
  ExpectAllFrames(frames_);
}

TEST_P(DescribedKernel, DescriptorsLieInFramesThatAreFound) {
  constexpr std::uint64_t kBlock = kBlockFrames * kPage;
  const auto process = *Open();
  {
    DescriptorMemory memory(machine_->kernel(), machine_->ram(), process->transport.region());
    const std::uint64_t before = frames_.free();
    // Without a mapping for each of its pages a window is none.
    for (long step = 0; step <= static_cast<long>(kBlockFrames); ++step) {
      mappings_left = step;
      EXPECT_EQ(memory.Allocate(1), nullptr) << step;
      mappings_left = -1;
      EXPECT_EQ(frames_.free(), before) << step;
    }
    std::byte* const first = memory.Allocate(1);
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(memory.Allocate(9), first + 8);
    EXPECT_EQ(memory.Allocate(kBlock - 24), first + 24) << "fills it";
    std::byte* const second = memory.Allocate(2 * kBlock);
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(frames_.free(), before - 3 * kBlockFrames);
    for (const auto& [window, bytes] : {std::pair(first, kBlock), {second, 2 * kBlock}}) {
      PhysicalAddress physical = {};
      for (std::uint64_t at = 0; at < bytes; at += kPage) {
        ASSERT_TRUE(memory.Find(window + at + 5, &physical)) << at;
        window[at + 5] = std::byte{0x5a};
        std::byte& there = machine_->ram().data()[machine_->kernel().MachineOf(physical).value];
        EXPECT_EQ(there, std::byte{0x5a}) << at;
        window[at + 5] = std::byte{0};
        EXPECT_EQ(there, std::byte{0}) << at;
      }
      EXPECT_TRUE(memory.Find(window + bytes - 1, &physical));
    }
    PhysicalAddress physical = {};
    const std::byte local = {};
    EXPECT_FALSE(memory.Find(&local, &physical));
    memory.Reset();
    EXPECT_EQ(frames_.free(), before - kBlockFrames);
    EXPECT_FALSE(memory.Find(second, &physical));
    EXPECT_EQ(memory.Allocate(kBlock), first);
  }
}

TEST_P(DescribedKernel, WhatCannotBeDescribedIsRefusedByItsKind) {
  const auto process = *Open();
  const auto sysctl = [](std::uint32_t cmd, std::uint32_t version = XEN_SYSCTL_INTERFACE_VERSION) {
    xen_sysctl op = {};
    op.cmd = cmd;
    op.interface_version = version;
    return op;
  };
  xen_sysctl variant = sysctl(XEN_SYSCTL_cpupool_op);
  variant.u.cpupool_op.op = 77;
  const auto argument = *process->arena->New<xen_sysctl>();
  const auto entries = *process->arena->NewArray<multicall_entry_t>(2, Contents::kCleared);
  entries[0] = {__HYPERVISOR_multicall, 0, {std::bit_cast<std::uint64_t>(entries.get()), 1}};
  const auto buffers = *process->arena->NewArray<xen_dm_op_buf>(3, Contents::kCleared);
  const auto bitmap = *process->arena->New<physdev_set_iobitmap>(Contents::kCleared);
  bitmap->nr_ports = 65537;
  const auto letters = *process->arena->NewArray<std::uint16_t>(70000);
  for (std::uint16_t& letter : letters) letter = 'x';
  const auto platform = *process->arena->New<xen_platform_op>(Contents::kCleared);
  platform->cmd = XENPF_efi_runtime_call;
  platform->interface_version = XENPF_INTERFACE_VERSION;
  platform->u.efi_runtime_call.function = XEN_EFI_get_variable;
  platform->u.efi_runtime_call.u.get_variable.name.p = letters.get();
  const auto at = [](const auto& owned) { return std::bit_cast<std::uint64_t>(owned.get()); };
  const struct {
    const char* what;
    std::uint64_t hypercall;
    std::array<std::uint64_t, 5> arguments;
    std::optional<xen_sysctl> sysctl;
    int error;
  } cases[] = {
      {"no hypercall", 9999, {}, std::nullopt, ENOSYS},
      {"no op", __HYPERVISOR_memory_op, {0x3f, at(argument)}, std::nullopt, ENOSYS},
      {"no sysctl", __HYPERVISOR_sysctl, {at(argument)}, sysctl(999), ENOSYS},
      {"another version",
       __HYPERVISOR_sysctl,
       {at(argument)},
       sysctl(XEN_SYSCTL_physinfo, 1),
       EACCES},
      {"no variant", __HYPERVISOR_sysctl, {at(argument)}, variant, EINVAL},
      {"a list in a list", __HYPERVISOR_multicall, {at(entries), 1}, std::nullopt, EINVAL},
      {"too few buffers", __HYPERVISOR_dm_op, {1, 0, at(buffers)}, std::nullopt, EINVAL},
      {"too many ports",
       __HYPERVISOR_physdev_op,
       {PHYSDEVOP_set_iobitmap, at(bitmap)},
       std::nullopt,
       EINVAL},
      {"no end", __HYPERVISOR_platform_op, {at(platform)}, std::nullopt, EINVAL},
      {"no memory", __HYPERVISOR_sysctl, {0x1000}, std::nullopt, EFAULT},
  };
  for (const auto& [what, hypercall, arguments, op, error] : cases) {
    *argument = op.value_or(xen_sysctl{});
    EXPECT_EQ(process->transport.Call(hypercall, arguments), -error) << what;
  }
}

}  // namespace
}  // namespace xencomm::embedded
