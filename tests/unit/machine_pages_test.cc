// Pages that two domains share on a machine, one of which is a process that is killed at any
// instant: the other is told of it, and when it has let go, too, no frame is held.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/machine/protocol.h"
#include "tests/unit/machine_of_clients.h"

namespace xencomm::machine {
namespace {

constexpr std::uint32_t kBindInterdomain = 0x84501;
constexpr std::uint32_t kBindUnboundPort = 0x44502;
constexpr std::uint32_t kClearByte = 1;
constexpr std::uint32_t kSendEvent = 2;
constexpr std::uint64_t kByte = 77;  // of the page, that is cleared
constexpr std::uint64_t kAnywhere = ~std::uint64_t{0};
constexpr std::uint64_t kNewSmallDomain = kNewDomain | std::uint64_t{2} << 20;

// A process of a domain, with a file of each device.
struct Side {
  std::shared_ptr<Connection> connection;
  std::optional<Connection::File> events, grants, shares;
  std::uint16_t domain() const { return connection->domain(); }
};

bool OpenSide(const std::string& path, std::uint64_t domain, Side* side) {
  auto connection = Connection::Open({.path = path, .domain = domain});
  if (!connection.ok()) return false;
  side->connection = *connection;
  const std::pair<xencomm_device, std::optional<Connection::File>*> devices[] = {
      {XENCOMM_EVTCHN, &side->events},
      {XENCOMM_GNTDEV, &side->grants},
      {XENCOMM_GNTALLOC, &side->shares}};
  for (const auto& [device, file] : devices) {
    auto opened = side->connection->OpenDevice(device, O_RDWR);
    if (!opened.ok()) return false;
    file->emplace(*std::move(opened));
  }
  return true;
}

// The port, or a negative errno.
std::int64_t BindUnbound(const Side& side, std::uint32_t domain) {
  return side.connection->Event(side.events->id, kBindUnboundPort,
                                std::as_bytes(std::span(&domain, 1)));
}
std::int64_t Bind(const Side& side, std::uint32_t domain, std::uint32_t port) {
  const std::uint32_t remote[] = {domain, port};
  return side.connection->Event(side.events->id, kBindInterdomain,
                                std::as_bytes(std::span(remote)));
}
// What came, if anything did in time: port 0 is none.
std::uint32_t NextEvent(const Side& side, int milliseconds) {
  pollfd one = {.fd = side.events->fd.get(), .events = POLLIN, .revents = 0};
  std::uint32_t port = 0;
  if (poll(&one, 1, milliseconds) != 1) return 0;
  if (read(one.fd, &port, sizeof(port)) != sizeof(port)) return 0;
  return write(one.fd, &port, sizeof(port)) == sizeof(port) ? port : 0;
}

// A page that another domain grants, until it is let go.
struct Mapped {
  std::uint64_t page = 0, mfn = 0;
  std::uint32_t tag = 0;
};
bool MapGrant(const Side& side, std::uint16_t domain, std::uint32_t ref, Mapped* mapped) {
  const GrantRef grant = {.domid = domain, .ref = ref};
  const std::int64_t page = side.connection->AddGrants(side.grants->id, std::span(&grant, 1));
  if (page < 0) return false;
  mapped->page = static_cast<std::uint64_t>(page);
  return side.connection->MapPages(side.grants->id, mapped->page, Access::kWrite,
                                   std::span(&mapped->mfn, 1), &mapped->tag) == 0;
}
void LetGo(const Side& side, const Mapped& mapped) {
  const std::uint64_t word = embedded::HeldFrame(mapped.mfn, mapped.tag).word();
  side.connection->Release(std::span(&word, 1));
  EXPECT_EQ(side.connection->RemoveGrants(side.grants->id, mapped.page, 1), 0);
}

// What both say to one another, by pipes: numbers.
struct Talk {
  int in = -1, out = -1;
  void Say(std::uint32_t number) const {
    if (write(out, &number, sizeof(number)) != sizeof(number)) _exit(9);
  }
  // False: the other has ended.
  bool Hear(std::uint32_t* number) const {
    return read(in, number, sizeof(*number)) == sizeof(*number);
  }
};

// Does all that can be done with pages, until it is killed.
[[noreturn]] void GoOn(const Side& side, std::uint32_t port, unsigned seed) {
  std::mt19937 random(seed);
  for (;;) {
    std::vector<std::uint32_t> refs(1 + random() % 5);
    const std::int64_t page =
        side.connection->Share(side.shares->id, kAnywhere, side.domain(), true, refs);
    if (page == -ENOSPC || page == -ENOMEM) pause();  // it has all that it may have
    if (page < 0) _exit(10);
    const auto first = static_cast<std::uint64_t>(page);
    side.connection->SetNotice(side.shares->id, first << 12, kClearByte | kSendEvent, port);
    side.connection->ShareAlso(side.shares->id, first, 0, true, refs);
    Mapped own;
    MapGrant(side, side.domain(), refs[0], &own);
    if (random() % 2 == 0) side.connection->Unshare(side.shares->id, first, refs.size());
    if (random() % 3 == 0) {
      const std::uint64_t word = embedded::HeldFrame(own.mfn, own.tag).word();
      side.connection->Release(std::span(&word, 1));
    }
  }
}

// Maps what domain 0 grants to it, or grants to domain 0 what that maps; with a notice. Talks by
// its input and output.
[[noreturn]] void LiveInADomain(const std::string& path, bool grants, unsigned seed) {
  const Talk talk = {.in = STDIN_FILENO, .out = STDOUT_FILENO};
  Side side;
  if (!OpenSide(path, kNewSmallDomain, &side)) _exit(3);
  talk.Say(side.domain());
  std::uint32_t ref, remote;
  if (!talk.Hear(&ref) || !talk.Hear(&remote)) _exit(4);
  const std::int64_t port = Bind(side, 0, remote);
  if (port <= 0) _exit(5);
  const auto own_port = static_cast<std::uint32_t>(port);
  if (grants) {
    const std::int64_t page =
        side.connection->Share(side.shares->id, kAnywhere, 0, true, std::span(&ref, 1));
    if (page < 0) _exit(6);
    const std::uint64_t byte = (static_cast<std::uint64_t>(page) << 12) + kByte;
    if (side.connection->SetNotice(side.shares->id, byte, kClearByte | kSendEvent, own_port) != 0) {
      _exit(7);
    }
    talk.Say(ref);
  } else {
    Mapped mapped;
    if (!MapGrant(side, 0, ref, &mapped)) _exit(6);
    const std::uint64_t byte = (mapped.page << 12) + kByte;
    if (side.connection->SetNotice(side.grants->id, byte, kClearByte | kSendEvent, own_port) != 0) {
      _exit(7);
    }
    talk.Say(0);
  }
  GoOn(side, own_port, seed);
}

// A process that does that. Between fork and exec nothing is allocated: the machine's threads are
// in this process, too, and may be about it.
pid_t StartInADomain(const std::string& path, Talk talk, bool grants, unsigned seed) {
  const std::string seed_word = std::to_string(seed);
  const char* const what = grants ? "grants" : "maps";
  const pid_t child = fork();
  if (child != 0) return child;
  if (dup2(talk.in, STDIN_FILENO) >= 0 && dup2(talk.out, STDOUT_FILENO) >= 0) {
    execl("/proc/self/exe", "in a domain", path.c_str(), what, seed_word.c_str(), nullptr);
  }
  _exit(8);
}

// Under a sanitizer each takes several times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr unsigned kKills = 30;
#else
constexpr unsigned kKills = 200;
#endif

class MachinePagesTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(OpenSide(machine_.path(), 0, &side_));
    // Its kernel's table is there from the first grant on.
    std::uint32_t ref;
    ASSERT_EQ(side_.connection->Share(side_.shares->id, kAnywhere, 0, true, std::span(&ref, 1)), 0);
    ASSERT_EQ(side_.connection->Unshare(side_.shares->id, 0, 1), 0);
    before_ = machine_.statistics();
    free_before_ = machine_.frames().free();
  }
  std::byte* At(std::uint64_t mfn) { return machine_.machine().ram().data() + (mfn << 12); }

  // The pages that are free once no domain but 0 is left.
  std::uint64_t FreeWithoutOthers() {
    hypervisor::Statistics now = machine_.statistics();
    for (int i = 0; i < 5000 && now.domains != before_.domains; ++i) {
      usleep(1000);
      now = machine_.statistics();
    }
    EXPECT_EQ(now.domains, before_.domains);
    return now.free_pages;
  }

  void ExpectAsBefore() {
    hypervisor::Statistics now;
    for (int i = 0; i < 5000; ++i) {
      now = machine_.statistics();
      if (now.held_frames == before_.held_frames && now.domains == before_.domains &&
          now.free_pages == before_.free_pages && machine_.frames().free() == free_before_) {
        return;
      }
      usleep(1000);
    }
    EXPECT_EQ(now.held_frames, before_.held_frames);
    EXPECT_EQ(now.domains, before_.domains);
    EXPECT_EQ(now.free_pages, before_.free_pages);
    EXPECT_EQ(machine_.frames().free(), free_before_);
  }

  MachineOfClients machine_;
  Side side_;
  hypervisor::Statistics before_;
  std::uint64_t free_before_ = 0;
};

// Whether it is the child that grants.
class KilledChildTest : public MachinePagesTest, public testing::WithParamInterface<bool> {};

TEST_P(KilledChildTest, WhoIsLeftIsToldAndNothingIsHeld) {
  const bool child_grants = GetParam();
  std::mt19937 random(child_grants);
  unsigned told = 0;
  for (unsigned i = 0; i < kKills; ++i) {
    int down[2], up[2];
    ASSERT_TRUE(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0);
    const pid_t child = StartInADomain(machine_.path(), {down[0], up[1]}, child_grants, i);
    ASSERT_GE(child, 0);
    close(down[0]);
    close(up[1]);
    const Talk talk = {up[0], down[1]};
    // Some before they have said anything.
    if (i % 8 == 7) {
      usleep(static_cast<useconds_t>(random() % 20000));
      kill(child, SIGKILL);
    }
    std::uint32_t domain = 0, ref = 0;
    std::int64_t port = 0, page = -1;
    Mapped mapped;
    bool is_ready = talk.Hear(&domain);
    if (is_ready) {
      port = BindUnbound(side_, domain);
      ASSERT_GT(port, 0);
      if (!child_grants) {
        page =
            side_.connection->Share(side_.shares->id, kAnywhere, static_cast<std::uint16_t>(domain),
                                    true, std::span(&ref, 1));
        ASSERT_GE(page, 0);
        ASSERT_EQ(
            side_.connection->MapPages(side_.shares->id, static_cast<std::uint64_t>(page),
                                       Access::kWrite, std::span(&mapped.mfn, 1), &mapped.tag),
            0);
        std::memset(At(mapped.mfn), 1, kPage);
      }
      std::signal(SIGPIPE, SIG_IGN);
      const std::uint32_t numbers[] = {ref, static_cast<std::uint32_t>(port)};
      is_ready = write(talk.out, numbers, sizeof(numbers)) == sizeof(numbers) && talk.Hear(&ref);
    }
    if (is_ready && child_grants) {
      is_ready = MapGrant(side_, static_cast<std::uint16_t>(domain), ref, &mapped);
      if (is_ready) std::memset(At(mapped.mfn), 1, kPage);
    }
    if (is_ready) {
      EXPECT_EQ(std::to_integer<int>(At(mapped.mfn)[kByte]), 1);
      usleep(static_cast<useconds_t>(random() % 3000));
    }
    kill(child, SIGKILL);
    if (is_ready) {
      // The binding, and others of its notices, may have been told of before.
      bool is_cleared = false;
      while (!is_cleared && NextEvent(side_, 10'000) != 0) {
        is_cleared = At(mapped.mfn)[kByte] == std::byte{0};
      }
      EXPECT_TRUE(is_cleared) << i;
      // All else of it is whole.
      EXPECT_EQ(std::to_integer<int>(At(mapped.mfn)[kByte + 1]), 1);
      ++told;
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    if (mapped.tag != 0 && child_grants) LetGo(side_, mapped);
    if (mapped.tag != 0 && !child_grants) {
      const std::uint64_t word = embedded::HeldFrame(mapped.mfn, mapped.tag).word();
      side_.connection->Release(std::span(&word, 1));
    }
    if (page >= 0) {
      EXPECT_EQ(side_.connection->Unshare(side_.shares->id, static_cast<std::uint64_t>(page), 1),
                0);
    }
    if (port > 0) {
      const auto number = static_cast<std::uint32_t>(port);
      EXPECT_EQ(
          side_.connection->Event(side_.events->id, 0x44503, std::as_bytes(std::span(&number, 1))),
          0);
    }
    close(up[0]);
    close(down[1]);
    // What domain 0 has grown by is its own from then on.
    if (i == 4) before_.free_pages = FreeWithoutOthers();
    if (i % 10 == 9) ExpectAsBefore();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(told, kKills / 2);
  // What the other has kept until now goes when it is looked for.
  std::uint32_t ref;
  const std::int64_t last =
      side_.connection->Share(side_.shares->id, kAnywhere, 0, true, std::span(&ref, 1));
  ASSERT_GE(last, 0);
  EXPECT_EQ(side_.connection->Unshare(side_.shares->id, static_cast<std::uint64_t>(last), 1), 0);
  ExpectAsBefore();
}

INSTANTIATE_TEST_SUITE_P(TheChild, KilledChildTest, testing::Bool(),
                         [](const auto& which) { return which.param ? "Grants" : "Maps"; });

// A page that the other domain maps is nobody else's before it has let go.
TEST_F(MachinePagesTest, APageThatAnotherMapsIsNotGivenAway) {
  Side other;
  ASSERT_TRUE(OpenSide(machine_.path(), kNewSmallDomain, &other));
  std::uint32_t ref;
  const std::int64_t page = side_.connection->Share(side_.shares->id, kAnywhere, other.domain(),
                                                    true, std::span(&ref, 1));
  ASSERT_GE(page, 0);
  Mapped mapped;
  ASSERT_TRUE(MapGrant(other, 0, ref, &mapped));
  std::memset(At(mapped.mfn), 7, kPage);
  EXPECT_EQ(side_.connection->RevokeShare(side_.shares->id, ref), -EBUSY);
  ASSERT_EQ(side_.connection->Unshare(side_.shares->id, static_cast<std::uint64_t>(page), 1), 0);
  EXPECT_EQ(machine_.frames().free(), free_before_ - 1);
  for (int i = 0; i < 3; ++i) {
    std::vector<std::uint32_t> refs(300);
    const std::int64_t first = side_.connection->Share(side_.shares->id, kAnywhere, 0, true, refs);
    ASSERT_GE(first, 0);
    for (const std::uint32_t each : refs) EXPECT_NE(each, ref);
    ASSERT_EQ(side_.connection->Unshare(side_.shares->id, static_cast<std::uint64_t>(first), 300),
              0);
  }
  EXPECT_EQ(std::to_integer<int>(At(mapped.mfn)[9]), 7);
  LetGo(other, mapped);
  const std::int64_t next =
      side_.connection->Share(side_.shares->id, kAnywhere, 0, true, std::span(&ref, 1));
  ASSERT_GE(next, 0);
  EXPECT_EQ(side_.connection->Unshare(side_.shares->id, static_cast<std::uint64_t>(next), 1), 0);
  EXPECT_EQ(machine_.frames().free(), free_before_);
}

}  // namespace
}  // namespace xencomm::machine

int main(int count, char** words) {
  if (count == 4 && words[1][0] == '/') {
    xencomm::machine::LiveInADomain(words[1], words[2] == std::string_view("grants"),
                                    static_cast<unsigned>(std::stoul(words[3])));
  }
  testing::InitGoogleTest(&count, words);
  return RUN_ALL_TESTS();
}
