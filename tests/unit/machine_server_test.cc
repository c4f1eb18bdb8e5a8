// A machine and its clients in one process: what clients get, and what none can do to the others.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/embedded/embedded_foreign_memory.h"
#include "hcall/transport/machine/message.h"
#include "tests/unit/machine_of_clients.h"
#include "xencomm/guest_handle.h"

namespace xencomm::machine {
namespace {

using embedded::HeldFrame;

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kVersionAnswer = 4 << 16 | 17;

std::int64_t Version(Client& client) {
  return client.Call(__HYPERVISOR_xen_version, XENVER_version);
}
std::string Sentence(const absl::Status& status) { return std::string(status.message()); }

// A domain that is made by one client and known to all.
std::int64_t CreateDomain(Client& client, std::uint16_t id) {
  const auto op = *client.arena().New<xen_domctl>(Contents::kCleared);
  op->cmd = XEN_DOMCTL_createdomain;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op->domain = id;
  op->u.createdomain.max_vcpus = 1;
  op->u.createdomain.max_evtchn_port = -1;
  op->u.createdomain.max_grant_frames = 32;
  op->u.createdomain.grant_opts = 1;
  return client.Call(__HYPERVISOR_domctl, op.get());
}
std::int64_t DomctlOf(Client& client, std::uint32_t cmd, std::uint16_t id,
                      std::uint64_t max_pages = 0) {
  const auto op = *client.arena().New<xen_domctl>(Contents::kCleared);
  op->cmd = cmd;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op->domain = id;
  if (cmd == XEN_DOMCTL_max_mem) op->u.max_mem.max_memkb = max_pages * 4;
  if (cmd == XEN_DOMCTL_max_vcpus) op->u.max_vcpus.max = 1;
  return client.Call(__HYPERVISOR_domctl, op.get());
}

// The frames of its memory.
std::vector<std::uint64_t> CreateWithMemory(Client& client, std::uint16_t id, std::uint64_t pages) {
  EXPECT_EQ(CreateDomain(client, id), 0);
  EXPECT_EQ(DomctlOf(client, XEN_DOMCTL_max_mem, id, pages), 0);
  const auto extents = *client.arena().NewArray<xen_pfn_t>(pages);
  for (std::uint64_t i = 0; i < pages; ++i) extents[i] = i;
  const auto reservation = *client.arena().New<xen_memory_reservation>(Contents::kCleared);
  reservation->nr_extents = pages;
  reservation->domid = id;
  SetHandle(reservation->extent_start, extents);
  EXPECT_EQ(client.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation.get()),
            static_cast<std::int64_t>(pages));
  return {extents.get(), extents.get() + pages};
}

class MachineServerTest : public testing::Test {
 protected:
  // A client that says what it likes.
  FileDescriptor Raw() {
    FileDescriptor fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, machine_.path().c_str());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  // The errno of the reply; -1 when there was none.
  static int Ask(int socket, Kind kind, const std::vector<std::uint64_t>& words,
                 Message* reply = nullptr) {
    Message own;
    if (reply == nullptr) reply = &own;
    if (Send(socket, static_cast<std::uint64_t>(kind), words) != 0) return -1;
    if (Receive(socket, reply) != 0) return -1;
    return static_cast<int>(reply->kind);
  }
  FileDescriptor Greeted() {
    FileDescriptor fd = Raw();
    EXPECT_EQ(Ask(fd.get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, 0}), 0);
    return fd;
  }

  static constexpr auto kRegionSpace = static_cast<std::uint64_t>(SpaceOption::kRegion);

  MachineOfClients machine_;
};

TEST_F(MachineServerTest, AnswersInEverySpace) {
  for (const SpaceOption space :
       {SpaceOption::kRegion, SpaceOption::kStateless, SpaceOption::kWalk4, SpaceOption::kWalk5}) {
    const auto client = machine_.Open(space);
    EXPECT_EQ(Version(*client), kVersionAnswer);
    auto text = *client->arena().NewArray<char>(3 * kPage, Contents::kCleared);
    char* const at = &text[kPage - 500];  // over two pages
    ASSERT_EQ(client->Call(__HYPERVISOR_xen_version, XENVER_capabilities, at), 0);
    EXPECT_THAT(std::string(at), HasSubstr("xen-3.0-x86_64"));
    // An address of this process that is not in the region is nothing to the machine.
    char own[1024] = {};
    EXPECT_EQ(client->Call(__HYPERVISOR_xen_version, XENVER_capabilities, &own[0]), -EFAULT);
    EXPECT_EQ(own[0], '\0');
  }
  machine_.ExpectNothingHeld();
}

TEST_F(MachineServerTest, IsOneForAllItsClients) {
  const auto one = machine_.Open();
  const auto other = machine_.Open(SpaceOption::kWalk4);
  ASSERT_EQ(CreateDomain(*one, 7), 0);
  EXPECT_EQ(CreateDomain(*other, 7), -EEXIST);
  EXPECT_EQ(DomctlOf(*other, XEN_DOMCTL_destroydomain, 7), 0);
  EXPECT_EQ(DomctlOf(*one, XEN_DOMCTL_destroydomain, 7), -ESRCH);
}

TEST_F(MachineServerTest, SaysOnceWhoAskedForWhatIsNotImplemented) {
  const auto client = machine_.Open();
  testing::internal::CaptureStderr();
  for (int time = 0; time < 2; ++time) {
    EXPECT_EQ(DomctlOf(*client, XEN_DOMCTL_set_target, 0), -ENOSYS);
    EXPECT_EQ(DomctlOf(*machine_.Open(), XEN_DOMCTL_debug_op, 0), -ENOSYS);
    // These are Xen's answers.
    EXPECT_EQ(DomctlOf(*client, 9999, 0), -ENOSYS);
    EXPECT_EQ(DomctlOf(*client, XEN_DOMCTL_psr_alloc, 0), -ENODEV);
    EXPECT_EQ(client->Call(__HYPERVISOR_xsm_op, 0), -ENOSYS);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(
      said,
      "xencomm machine: machine_server_ asked for domctl.set_target, which is not implemented\n"
      "xencomm machine: machine_server_ asked for domctl.debug_op, which is not implemented\n");
}

TEST_F(MachineServerTest, ServesMoreThreadsThanAClientHasLanes) {
  const auto client = machine_.Open();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kLanes + 8; ++i) {
    threads.emplace_back([&client] {
      auto text = *client->arena().NewArray<char>(1024, Contents::kCleared);
      for (int calls = 0; calls < 100; ++calls) {
        ASSERT_EQ(client->Call(__HYPERVISOR_xen_version, XENVER_extraversion, text.get()), 0);
        ASSERT_EQ(text[0], '.');
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(MachineServerTest, APayloadGrowsAndIsClear) {
  const auto client = machine_.Open();
  std::vector<OwnedArray<char>> kept;
  // More than one message can tell of.
  for (const std::uint64_t bytes : {kPage, 3 * kMostPopulated / 2}) {
    kept.push_back(*client->arena().NewArray<char>(bytes));
    for (std::uint64_t i = 0; i < bytes; i += kPage) ASSERT_EQ(kept.back()[i], 0) << i;
    std::memset(kept.back().get(), 0x5a, bytes);
  }
  // A quarter of domain 0's memory is all that a client gets.
  const auto much = client->arena().NewArray<char>(std::uint64_t{16} << 20);
  EXPECT_EQ(much.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Sentence(much.status()), HasSubstr("a quarter of domain 0's memory"));
  EXPECT_EQ(Version(*client), kVersionAnswer);
  kept.push_back(*client->arena().NewArray<char>(kPage));
}

TEST_F(MachineServerTest, TracesPointersOfTheRegion) {
  const auto client = machine_.Open();
  const auto word = *client->arena().New<std::uint64_t>();
  const auto region = client->transport().TraceOf(word.get(), TracedSpace::kRegion);
  ASSERT_TRUE(region.ok()) << region.status();
  const auto walk = client->transport().TraceOf(word.get(), TracedSpace::kWalk);
  ASSERT_TRUE(walk.ok()) << walk.status();
  EXPECT_EQ(region->machine.value, walk->machine.value);
  EXPECT_STREQ(region->trace.steps[0].table, "base");
  ASSERT_EQ(walk->trace.count, 4u);
  EXPECT_STREQ(walk->trace.steps[3].table, "PT");
  int own;
  EXPECT_EQ(client->transport().TraceOf(&own, TracedSpace::kRegion).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(MachineServerTest, ARestrictedClientCallsNoMore) {
  const auto client = machine_.Open();
  const auto other = machine_.Open();
  auto connection = machine_.Connect();
  ASSERT_TRUE(connection->Restrict().ok());
  EXPECT_EQ(connection->Call({.index = __HYPERVISOR_xen_version}), -EPERM);
  EXPECT_EQ(client->Restrict(), 0);
  EXPECT_EQ(Version(*client), -ENOTTY);
  EXPECT_EQ(Version(*other), kVersionAnswer);
}

TEST_F(MachineServerTest, MapsFramesAndLetsThemGo) {
  const auto client = machine_.Open();
  constexpr std::uint64_t kFrames = 5000;  // more than one message asks for
  std::vector<std::uint64_t> frames = CreateWithMemory(*client, 5, kFrames);
  ASSERT_EQ(frames.size(), kFrames);

  const auto mappings = Connection::MappingsOfThisProcess({.path = machine_.path()});
  ASSERT_TRUE(mappings.ok()) << mappings.status();
  embedded::EmbeddedForeignMemory memory(
      std::shared_ptr<embedded::ForeignMappings>(std::shared_ptr<void>(), *mappings));
  frames[17] = std::uint64_t{1} << 40;
  std::vector<int> errors(kFrames);
  ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
  ASSERT_EQ(memory.Map(5, placement, frames, errors), 0);
  for (std::uint64_t i = 0; i < kFrames; ++i) ASSERT_EQ(errors[i] != 0, i == 17) << i;
  EXPECT_EQ(machine_.statistics().held_frames, kFrames - 1);
  auto* const bytes = static_cast<char*>(placement.address);
  bytes[4000 * kPage] = 'x';

  ForeignMemory::Placement again = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory.Map(5, again, std::span(frames).subspan(4000, 1), errors), 0);
  EXPECT_EQ(*static_cast<char*>(again.address), 'x');
  EXPECT_EQ(memory.Unmap(again.address, 1), 0);
  // A mapping that somebody else ended is found before the next call, whoever makes it.
  ASSERT_EQ(munmap(bytes, kFrames * kPage), 0);
  EXPECT_EQ(Version(*client), kVersionAnswer);
  EXPECT_EQ(machine_.statistics().held_frames, 0u);
  EXPECT_EQ(DomctlOf(*client, XEN_DOMCTL_destroydomain, 5), 0);
}

TEST_F(MachineServerTest, ShowsNobodyWhatIsTheHypervisorsOwn) {
  const auto client = machine_.Open();
  const auto written = *client->arena().NewArray<char>(kPage);
  written[0] = 'x';
  const FileDescriptor fd = Greeted();
  Message reply;
  ASSERT_EQ(Ask(fd.get(), Kind::kMemory, {}, &reply), 0);
  ASSERT_TRUE(reply.fd.has_value());
  const std::uint64_t size = reply.words.at(0);
  struct stat about = {};
  ASSERT_EQ(fstat(reply.fd->get(), &about), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(about.st_size), size);
  // Nobody makes it shorter or longer.
  EXPECT_EQ(ftruncate(reply.fd->get(), 4096), -1);
  EXPECT_EQ(ftruncate(reply.fd->get(), static_cast<off_t>(2 * size)), -1);
  // Where the hypervisor has its tables, the file has nothing.
  const off_t first = lseek(reply.fd->get(), 0, SEEK_DATA);
  EXPECT_GE(first, static_cast<off_t>(size / 8));
  // Nor are pages of domain 0's kernel to be had as a domain's.
  const std::uint64_t kernels = machine_.machine().kernel().own_frames().total();
  ASSERT_EQ(Ask(fd.get(), Kind::kHold, {0, 0, 0, 1, kernels - 1, kernels}, &reply), 0);
  EXPECT_EQ(reply.words.at(1), static_cast<std::uint64_t>(EPERM));
  EXPECT_EQ(reply.words.at(3), static_cast<std::uint64_t>(EPERM));
  EXPECT_EQ(reply.words.at(5), 0u);
}

TEST_F(MachineServerTest, AnotherDomainsProcessReachesNobodysFrames) {
  const FileDescriptor fd = Raw();
  Message reply;
  ASSERT_EQ(Ask(fd.get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, kNewDomain | 2 << 20},
                &reply),
            0);
  const std::uint64_t domain = reply.words.at(1);
  const std::uint64_t gfn = machine_.machine().kernel().own_frames().total() + 16;
  for (const std::uint64_t whose : {std::uint64_t{0}, domain}) {
    ASSERT_EQ(Ask(fd.get(), Kind::kHold, {0, whose, 0, gfn, gfn + 1}, &reply), 0);
    EXPECT_THAT(reply.words, ElementsAre(hypervisor::kNoFrame, EPERM, hypervisor::kNoFrame, EPERM));
    const std::vector<std::uint64_t> resource = {0, whose, XENMEM_resource_grant_table, 0, 0, 1};
    ASSERT_EQ(Ask(fd.get(), Kind::kHoldResource, resource, &reply), 0);
    EXPECT_EQ(reply.words.at(0), static_cast<std::uint64_t>(EPERM));
    ASSERT_EQ(
        Ask(fd.get(), Kind::kCountResource, {0, whose, XENMEM_resource_grant_table, 0}, &reply), 0);
    EXPECT_EQ(static_cast<std::int64_t>(reply.words.at(0)), -EPERM);
  }
  EXPECT_EQ(machine_.statistics().held_frames, 0u);
}

// The last one's devices are still being ended when the next one comes.
TEST_F(MachineServerTest, ADomainsProcessesComeOneAfterAnother) {
  const auto client = machine_.Open();
  CreateWithMemory(*client, 5, 512);
  ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_max_vcpus, 5), 0);
  for (int i = 0; i < 200; ++i) {
    const FileDescriptor fd = Raw();
    ASSERT_EQ(Ask(fd.get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, 5}), 0) << i;
  }
  ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_destroydomain, 5), 0);
  EXPECT_GT(Ask(Raw().get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, 5}), 0);
}

// This process would be killed, were it still one of the domain's.
TEST_F(MachineServerTest, WhoLeftADomainOutlivesIt) {
  const auto client = machine_.Open();
  for (std::uint16_t domain = 5; domain < 25; ++domain) {
    CreateWithMemory(*client, domain, 512);
    ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_max_vcpus, domain), 0);
    std::vector<FileDescriptor> processes;
    for (int each = 0; each < 32; ++each) {
      processes.push_back(Raw());
      ASSERT_EQ(
          Ask(processes.back().get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, domain}),
          0);
    }
    processes.clear();
    ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_destroydomain, domain), 0);
  }
}

// A process of the domain is killed, not the one that it says it supervises, and did not start; nor
// one of another domain. Both of these are this one.
TEST_F(MachineServerTest, ADomainsEndIsThatOfNobodyElsesProcess) {
  const auto client = machine_.Open();
  CreateWithMemory(*client, 5, 512);
  ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_max_vcpus, 5), 0);
  const FileDescriptor fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, machine_.path().c_str());
  const FileDescriptor other = Raw();
  ASSERT_EQ(
      Ask(other.get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, kNewDomain | 2 << 20}), 0);
  const std::uint64_t greeting[] = {kMagic, kVersion, kRegionSpace,
                                    static_cast<std::uint64_t>(getpid()), 5};
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Nothing is allocated: the machine's threads may be about it.
    std::uint64_t refusal = 1;
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        Send(fd.get(), static_cast<std::uint64_t>(Kind::kHello), greeting) != 0 ||
        recv(fd.get(), &refusal, sizeof(refusal), 0) != sizeof(refusal) || refusal != 0) {
      _exit(1);
    }
    raise(SIGSTOP);
    _exit(2);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_destroydomain, 5), 0);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
}

// Its devices are there for as long as somebody has a file of one open.
TEST_F(MachineServerTest, NobodyJoinsADomainThatEnds) {
  const auto client = machine_.Open();
  CreateWithMemory(*client, 5, 512);
  ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_max_vcpus, 5), 0);
  const std::vector<std::uint64_t> greeting = {kMagic, kVersion, kRegionSpace, 0, 5};
  Message opened;
  {
    const FileDescriptor fd = Raw();
    ASSERT_EQ(Ask(fd.get(), Kind::kHello, greeting), 0);
    ASSERT_EQ(Ask(fd.get(), Kind::kOpen, {XENCOMM_GNTDEV, O_RDWR}, &opened), 0);
    ASSERT_TRUE(opened.fd.has_value());
    // This process is one of the domain's until the machine has done with it.
    shutdown(fd.get(), SHUT_WR);
    Message none;
    ASSERT_NE(Receive(fd.get(), &none), 0);
  }
  ASSERT_EQ(DomctlOf(*client, XEN_DOMCTL_destroydomain, 5), 0);
  Message refusal;
  EXPECT_EQ(Ask(Raw().get(), Kind::kHello, greeting, &refusal), EPROTO);
  EXPECT_THAT(std::string(SentenceOf(refusal)), HasSubstr("it is ending"));
}

TEST_F(MachineServerTest, RefusesWhatNoClientSays) {
  struct Case {
    const char* what;
    Kind kind;
    std::vector<std::uint64_t> words;
    int error;
  };
  const std::uint64_t page = 0x7000'0000'0000;
  const std::vector<Case> cases = {
      {"a second greeting", Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, 0}, EINVAL},
      {"no kind", Kind{0}, {}, EINVAL},
      {"an unknown kind", Kind{99}, {1, 2, 3}, EINVAL},
      {"no lane", Kind::kLane, {}, EINVAL},
      {"a lane beyond the last", Kind::kLane, {kLanes}, EINVAL},
      {"a lane far beyond", Kind::kLane, {~std::uint64_t{0}}, EINVAL},
      {"a region of nothing", Kind::kReserve, {page, 0}, EINVAL},
      {"a region of part of a page", Kind::kReserve, {page, 4097}, EINVAL},
      {"a region that begins in a page", Kind::kReserve, {page + 8, 1 << 20}, EINVAL},
      {"a region that wraps", Kind::kReserve, {~std::uint64_t{0} - 4095, 1 << 20}, EINVAL},
      {"a region too long", Kind::kReserve, {page, ClientSession::kMostRegion + kPage}, EINVAL},
      {"half a region", Kind::kReserve, {page}, EINVAL},
      {"memory for no region", Kind::kPopulate, {0, kPage}, EINVAL},
      {"a trace in no region", Kind::kTrace, {page, 0}, EINVAL},
      {"frames of nobody", Kind::kHold, {0, 0}, EINVAL},
      {"frames of a domain beyond 16 bits", Kind::kHold, {0, 0x10000, 0, 1}, EINVAL},
      {"frames for something", Kind::kHold, {0, 0, 2, 1}, EINVAL},
      {"more frames than a reply tells of", Kind::kHold, std::vector<std::uint64_t>(2052), EINVAL},
      {"a frame that is not held", Kind::kRelease, {HeldFrame(1, 0).word()}, EINVAL},
      {"a page that is not mapped", Kind::kRelease, {HeldFrame(1, 7).word()}, EINVAL},
      {"pages of no file", Kind::kMapPages, {0, 0, 0, 1}, EINVAL},
      {"no pages", Kind::kMapPages, {1, 0, 0, 0}, EINVAL},
      {"more pages than a reply tells of", Kind::kMapPages, {1, 0, 0, kMostWords}, EINVAL},
      {"a notice for no file", Kind::kSetNotice, {1, 0, 0, 0}, EINVAL},
      {"grants for no file", Kind::kAddGrants, {1, 0}, EINVAL},
      {"a copy by no file", Kind::kCopyGrant, {1, 1, 0, 0, 0, 0, 0}, EINVAL},
      {"half a copy", Kind::kCopyGrant, {1, 1, 0}, EINVAL},
      {"pages to be granted by no file", Kind::kShare, {1, 0, 0, 0, 1}, EINVAL},
      {"pages taken back by no file", Kind::kUnshare, {1, 0, 1}, EINVAL},
      {"pages granted once more by no file", Kind::kShareAlso, {1, 0, 0, 0, 1}, EINVAL},
      {"a list of no file's grants", Kind::kListShares, {1, 0}, EINVAL},
      {"a grant of no file", Kind::kRevokeShare, {1, 8}, EINVAL},
  };
  const FileDescriptor fd = Greeted();
  for (const Case& tested : cases) {
    Message reply;
    EXPECT_EQ(Ask(fd.get(), tested.kind, tested.words, &reply), tested.error) << tested.what;
    EXPECT_THAT(std::string(SentenceOf(reply)), Not(testing::IsEmpty())) << tested.what;
  }
  ASSERT_EQ(Ask(fd.get(), Kind::kReserve, {page, 1 << 20}), 0);
  EXPECT_EQ(Ask(fd.get(), Kind::kReserve, {page, 1 << 20}), EBUSY);
  const std::vector<std::vector<std::uint64_t>> populations = {{},
                                                               {0},
                                                               {0, 0},
                                                               {kPage, kPage},
                                                               {0, kPage + 1},
                                                               {0, 1 << 20},
                                                               {0, kMostPopulated + kPage},
                                                               {~std::uint64_t{0} - 4095, kPage}};
  for (const auto& words : populations) EXPECT_EQ(Ask(fd.get(), Kind::kPopulate, words), EINVAL);
  EXPECT_EQ(Ask(fd.get(), Kind::kPopulate, {0, kPage}), 0);
  EXPECT_EQ(Ask(fd.get(), Kind::kPopulate, {0, kPage}), EINVAL);
  EXPECT_EQ(Ask(fd.get(), Kind::kPopulate, {kPage, kPage}), 0);
  EXPECT_EQ(Ask(fd.get(), Kind::kTrace, {page, 2}), EINVAL);
}

// Its page tables find no frame; what it was given for its payload is its own all the same.
TEST_F(MachineServerTest, ARegionThatCannotGrowTakesNoMoreThanAClientsPart) {
  const std::uint64_t base = 0x7000'0000'0000;
  const FileDescriptor fd = Greeted();
  ASSERT_EQ(Ask(fd.get(), Kind::kReserve, {base, std::uint64_t{64} << 20}), 0);
  std::vector<FileDescriptor> others;
  for (std::uint64_t bytes = ClientSession::kMostRegion; bytes >= kPage;) {
    others.push_back(Greeted());
    if (Ask(others.back().get(), Kind::kReserve, {base, bytes}) != 0) bytes /= 2;
  }
  const std::uint64_t free = machine_.frames().free();
  const std::uint64_t piece = std::uint64_t{1} << 20;
  std::uint64_t grown = 0;
  while (Ask(fd.get(), Kind::kPopulate, {grown, piece}) == 0) grown += piece;
  ASSERT_LT(grown, machine_.frames().total() / 4 * kPage - piece) << "it can grow";
  for (std::uint64_t i = 0; i < 64; ++i) {
    EXPECT_NE(Ask(fd.get(), Kind::kPopulate, {grown, piece}), 0);
    EXPECT_NE(Ask(fd.get(), Kind::kPopulate, {grown + i * piece, piece}), 0);
  }
  EXPECT_LE(free - machine_.frames().free(), machine_.frames().total() / 4);
}

TEST_F(MachineServerTest, WhoIsNoClientIsTurnedAway) {
  const std::vector<std::vector<std::uint64_t>> greetings = {
      {},
      {kMagic},
      {kMagic + 1, kVersion, kRegionSpace, 0, 0},
      {kMagic, kVersion + 1, kRegionSpace, 0, 0},
      {kMagic, kVersion, kRegionSpace, 0},
      {kMagic, kVersion, static_cast<std::uint64_t>(SpaceOption::kDirect), 0, 0},
      {kMagic, kVersion, static_cast<std::uint64_t>(SpaceOption::kXcom), 0, 0},
      {kMagic, kVersion, 1000, 0, 0},
      {kMagic, kVersion, kRegionSpace, 0, 99},
      {kMagic, kVersion, kRegionSpace, 0, 0x10000},
      {kMagic, kVersion, kRegionSpace, 0, kNewDomain},
      {kMagic, kVersion, kRegionSpace, 0, ~std::uint64_t{0}}};
  for (const auto& words : greetings) {
    const FileDescriptor fd = Raw();
    EXPECT_GT(Ask(fd.get(), Kind::kHello, words), 0);
    EXPECT_EQ(Ask(fd.get(), Kind::kMemory, {}), -1) << "nothing is said after it";
  }
  const FileDescriptor fd = Raw();
  EXPECT_EQ(Ask(fd.get(), Kind::kMemory, {}), EINVAL);
  EXPECT_EQ(Ask(fd.get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, 0}), -1);
  const FileDescriptor odd = Raw();
  EXPECT_EQ(send(odd.get(), "abc", 3, 0), 3);
  Message reply;
  EXPECT_NE(Receive(odd.get(), &reply), 0);
  EXPECT_EQ(Version(*machine_.Open()), kVersionAnswer);
}

TEST_F(MachineServerTest, OneClientMapsSoManyPagesAndNoMore) {
  ASSERT_EQ(CreateDomain(*machine_.Open(), 5), 0);
  const FileDescriptor fd = Greeted();
  const std::uint64_t gfn = machine_.machine().kernel().own_frames().total() + 16;
  std::vector<std::uint64_t> words(2048 + 3, gfn);
  words[0] = words[1] = words[2] = 0;
  for (std::uint64_t i = 0; i < ClientSession::kMostHeld / 2048; ++i) {
    ASSERT_EQ(Ask(fd.get(), Kind::kHold, words), 0) << i;
  }
  Message reply;
  EXPECT_EQ(Ask(fd.get(), Kind::kHold, {0, 0, 0, gfn}, &reply), ENOMEM);
  EXPECT_THAT(std::string(SentenceOf(reply)), HasSubstr("maps at most"));
  const std::vector<std::uint64_t> resource = {0, 5, XENMEM_resource_grant_table, 0, 0, 32};
  EXPECT_EQ(Ask(fd.get(), Kind::kHoldResource, resource), ENOMEM);
  EXPECT_EQ(machine_.statistics().held_frames, ClientSession::kMostHeld);

  const FileDescriptor other = Greeted();
  for (std::uint64_t i = 0; i < ClientSession::kMostHeld / 32; ++i) {
    ASSERT_EQ(Ask(other.get(), Kind::kHoldResource, resource, &reply), 0) << i;
    ASSERT_EQ(reply.words[0], 0u);
  }
  EXPECT_EQ(Ask(other.get(), Kind::kHoldResource, resource), ENOMEM);
  EXPECT_EQ(Ask(other.get(), Kind::kHold, {0, 0, 0, gfn}), ENOMEM);
}

TEST_F(MachineServerTest, OneClientAddsSoManyGrantsAndNoMore) {
  const FileDescriptor greedy = Greeted();
  Message opened;
  ASSERT_EQ(Ask(greedy.get(), Kind::kOpen, {XENCOMM_GNTDEV, O_RDWR}, &opened), 0);
  const std::uint64_t file = opened.words[0];
  // Each is entry 0 of domain 0; nothing is mapped.
  const auto add = [](int client, std::uint64_t of, std::size_t count) {
    std::vector<std::uint64_t> words(count + 1);
    words[0] = of;
    Message reply;
    EXPECT_EQ(Ask(client, Kind::kAddGrants, words, &reply), 0);
    return static_cast<std::int64_t>(reply.words[0]);
  };
  constexpr std::size_t kAtOnce = 1024;
  for (std::size_t i = 0; i < GrantFiles::kMostOfClient; i += kAtOnce) {
    ASSERT_EQ(add(greedy.get(), file, kAtOnce), static_cast<std::int64_t>(i));
  }
  EXPECT_EQ(add(greedy.get(), file, 1), -ENOMEM);
  // Others are not hindered, and what is removed makes room, as does a file's end.
  const FileDescriptor other = Greeted();
  Message others;
  ASSERT_EQ(Ask(other.get(), Kind::kOpen, {XENCOMM_GNTDEV, O_RDWR}, &others), 0);
  EXPECT_EQ(add(other.get(), others.words[0], 1), 0);
  // A gap is used where a page is to spare, as by Linux.
  ASSERT_EQ(Ask(greedy.get(), Kind::kRemoveGrants, {file, 0, kAtOnce}), 0);
  EXPECT_EQ(add(greedy.get(), file, kAtOnce - 1), 0);
  EXPECT_EQ(add(greedy.get(), file, 1), static_cast<std::int64_t>(GrantFiles::kMostOfClient));
  EXPECT_EQ(add(greedy.get(), file, 1), -ENOMEM);
  opened.fd.reset();
  Message again;
  ASSERT_EQ(Ask(greedy.get(), Kind::kOpen, {XENCOMM_GNTDEV, O_RDWR}, &again), 0);
  std::int64_t page = -ENOMEM;
  for (int i = 0; i < 2000 && page == -ENOMEM; ++i) {  // it hears of the end in its own time
    page = add(greedy.get(), again.words[0], 1);
    if (page == -ENOMEM) usleep(1000);
  }
  EXPECT_EQ(page, 0);
}

TEST_F(MachineServerTest, AConnectionWhoseNumberIsAnotherFilesIsGone) {
  auto connection = *Connection::Open({.path = machine_.path()});
  EXPECT_EQ(connection->Call({.index = __HYPERVISOR_xen_version}), kVersionAnswer);
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
  const int number = connection->fd();
  ASSERT_EQ(dup2(ends[0], number), number);
  EXPECT_EQ(connection->Restrict().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(connection->Call({.index = __HYPERVISOR_xen_version}), -EIO);
  connection.reset();
  // Nothing was written to that file, nor was it closed.
  char byte;
  EXPECT_EQ(read(ends[1], &byte, 1), -1);
  EXPECT_EQ(close(number), 0);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(MachineServerTest, AFrameIsLetGoAsOftenAsItIsHeld) {
  FileDescriptor fd = Greeted();
  Message held;
  const std::uint64_t gfn = machine_.machine().kernel().own_frames().total() + 16;
  for (int i = 0; i < 2; ++i) ASSERT_EQ(Ask(fd.get(), Kind::kHold, {0, 0, 0, gfn}, &held), 0);
  const std::uint64_t mfn = held.words[0];
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(Ask(fd.get(), Kind::kRelease, {HeldFrame(mfn, 0).word()}), 0);
  EXPECT_EQ(Ask(fd.get(), Kind::kRelease, {HeldFrame(mfn, 0).word()}), EINVAL);
  { const FileDescriptor ended(std::move(fd)); }
  machine_.ExpectNothingHeld();
}

TEST_F(MachineServerTest, ARestrictedFileReachesNoOtherDomainsResources) {
  ASSERT_EQ(CreateDomain(*machine_.Open(), 5), 0);
  const FileDescriptor fd = Greeted();
  Message opened;
  ASSERT_EQ(Ask(fd.get(), Kind::kOpen, {XENCOMM_PRIVCMD, O_RDWR}, &opened), 0);
  const std::uint64_t file = opened.words[0];
  const auto ask = [&](Kind kind, bool maps) {
    std::vector<std::uint64_t> words = {file, 5, XENMEM_resource_grant_table, 0};
    if (maps) words.insert(words.end(), {0, 1});
    Message reply;
    const int error = Ask(fd.get(), kind, words, &reply);
    return error != 0 ? error : static_cast<int>(reply.words[0]);
  };
  EXPECT_EQ(ask(Kind::kHoldResource, true), 0);
  EXPECT_EQ(ask(Kind::kCountResource, false), 32);
  ASSERT_EQ(Ask(fd.get(), Kind::kRestrictFile, {file, 6}), 0);
  EXPECT_EQ(ask(Kind::kHoldResource, true), EINVAL);
  EXPECT_EQ(ask(Kind::kCountResource, false), EINVAL);
}

TEST_F(MachineServerTest, AnotherUserIsToldWhoseMachineItIs) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const std::string folder = std::filesystem::path(machine_.path()).parent_path();
  ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(chmod(machine_.path().c_str(), 0666), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setuid(65534) != 0) _exit(2);
    const FileDescriptor fd = Raw();
    Message reply;
    const bool refused =
        Receive(fd.get(), &reply) == 0 && reply.kind == EACCES &&
        SentenceOf(reply).find("user 65534 may not use it") != SentenceOf(reply).npos;
    _exit(refused ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Words at random in the lanes, and messages at random, beside a client that means well.
TEST_F(MachineServerTest, WhatOneClientScribblesNoOtherSees) {
  const auto good = machine_.Open();
  std::mt19937_64 random(1);
  for (int round = 0; round < 40; ++round) {
    const FileDescriptor fd = Raw();
    Message hello;
    ASSERT_EQ(Ask(fd.get(), Kind::kHello, {kMagic, kVersion, kRegionSpace, 0, 0}, &hello), 0);
    constexpr std::size_t kBytes = kLanes * sizeof(Lane);
    void* const lanes =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, hello.fd->get(), 0);
    ASSERT_NE(lanes, MAP_FAILED);
    ASSERT_EQ(ftruncate(hello.fd->get(), 0), -1);
    ASSERT_EQ(Ask(fd.get(), Kind::kLane, {random() % kLanes}), 0);
    auto* const words = static_cast<std::uint32_t*>(lanes);
    for (int i = 0; i < 300; ++i) {
      const std::uint64_t value = random();
      __atomic_store_n(&words[random() % (kBytes / 4)],
                       static_cast<std::uint32_t>(value % 3 == 0 ? value : value % 64),
                       __ATOMIC_RELAXED);
      if (i % 10 != 0) continue;
      std::vector<std::uint64_t> message(random() % 5);
      for (std::uint64_t& word : message) word = random() % 2 == 0 ? random() : random() % 9;
      const auto kind = static_cast<Kind>(random() % 12);
      if (kind == Kind::kRestrict) continue;
      EXPECT_NE(Ask(fd.get(), kind, message), -1);
    }
    munmap(lanes, kBytes);
    EXPECT_EQ(Version(*good), kVersionAnswer);
  }
  EXPECT_EQ(Version(*good), kVersionAnswer);
}

TEST_F(MachineServerTest, WhoNeverReadsHindersNobody) {
  const FileDescriptor fd = Greeted();
  ASSERT_EQ(fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
  std::vector<std::uint64_t> words(2050);
  int sent = 0;
  while (Send(fd.get(), static_cast<std::uint64_t>(Kind::kHold), words) == 0 && sent < 100'000) {
    ++sent;
  }
  EXPECT_LT(sent, 100'000);
  EXPECT_EQ(Version(*machine_.Open()), kVersionAnswer);
}

TEST_F(MachineServerTest, AClientNoticesTheMachinesEnd) {
  const auto client = machine_.Open();
  EXPECT_EQ(Version(*client), kVersionAnswer);
  machine_.End();
  EXPECT_EQ(Version(*client), -EIO);
  EXPECT_EQ(Version(*client), -EIO);
  const auto more = client->arena().NewArray<char>(std::uint64_t{1} << 22);
  EXPECT_THAT(Sentence(more.status()), HasSubstr("the machine's process has ended"));
  const auto none = Connection::Open({.path = machine_.path()});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Sentence(none.status()), HasSubstr("no machine answers at"));
}

TEST_F(MachineServerTest, ASocketIsOneMachinesAndItsUsers) {
  struct stat about = {};
  ASSERT_EQ(lstat(machine_.path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  const MachineSetting small = {.memory_bytes = 64 << 20, .dom0_bytes = 16 << 20};
  const auto second = Server::Start(small, machine_.path());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Sentence(second.status()), HasSubstr("a machine runs at"));
  EXPECT_EQ(Version(*machine_.Open()), kVersionAnswer);

  // One that nobody listens at is taken over.
  const std::string left = machine_.path() + ".left";
  {
    const FileDescriptor fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, left.c_str());
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_TRUE(Server::Start(small, left).ok());
  EXPECT_NE(access(left.c_str(), F_OK), 0);

  // What is no machine's stays as it is: a file where the socket is to be, a folder beside it.
  std::ofstream(left) << "kept";
  EXPECT_FALSE(Server::Start(small, left).ok());
  EXPECT_EQ(std::filesystem::file_size(left), 4u);
  std::filesystem::remove(left);
  const std::filesystem::path folder = Server::FilesOf(left);
  std::filesystem::create_directories(folder / "theirs");
  const auto beside = Server::Start(small, left);
  EXPECT_THAT(Sentence(beside.status()), HasSubstr("cannot be made: File exists"));
  EXPECT_TRUE(std::filesystem::exists(folder / "theirs"));
  std::filesystem::remove_all(folder);
  // A machine that was killed left its own.
  std::filesystem::create_directories(folder / "proc/xen");
  std::ofstream(folder / "proc/xen/capabilities") << "control_d\n";
  EXPECT_TRUE(Server::Start(small, left).ok());
  EXPECT_FALSE(std::filesystem::exists(folder));

  for (const std::string& path : {std::string(), std::string(200, 'a')}) {
    EXPECT_EQ(Server::Start(small, path).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Connection::Open({.path = path}).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const auto nowhere = Server::Start(small, "/nowhere/at/all");
  EXPECT_THAT(Sentence(nowhere.status()), HasSubstr("no socket can be made at /nowhere/at/all"));
}

TEST(JoinedSettingTest, NamesAPathAndASpace) {
  const auto plain = ParseJoinedSetting("/run/m,x");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->path, "/run/m,x");
  EXPECT_EQ(plain->space, SpaceOption::kRegion);
  const auto walk = ParseJoinedSetting("/run/m,x,space=walk5");
  ASSERT_TRUE(walk.ok());
  EXPECT_EQ(walk->path, "/run/m,x");
  EXPECT_EQ(walk->space, SpaceOption::kWalk5);
  for (const char* wrong : {"", ",space=walk4", "/m,space=", "/m,space=all", "/m,space=direct",
                            "/m,space=xcom", "/m,space=inline"}) {
    EXPECT_EQ(ParseJoinedSetting(wrong).status().code(), absl::StatusCode::kInvalidArgument)
        << wrong;
  }
}

}  // namespace
}  // namespace xencomm::machine
