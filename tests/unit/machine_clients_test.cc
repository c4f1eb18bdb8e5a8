// Clients that are processes of their own, and end at any instant: the machine outlives them, and
// nothing that they made it hold is left.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <random>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/embedded/embedded_foreign_memory.h"
#include "tests/unit/machine_of_clients.h"

namespace xencomm::machine {
namespace {

constexpr std::int64_t kVersionAnswer = 4 << 16 | 17;

// The child's exit code; 128 and more: it was killed.
int Wait(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// All that a client can make the machine hold, again and again.
[[noreturn]] void LiveOn(const std::string& path, unsigned seed) {
  std::mt19937 random(seed);
  for (;;) {
    auto connection = Connection::Open(
        {.path = path, .space = random() % 2 == 0 ? SpaceOption::kRegion : SpaceOption::kWalk4});
    if (!connection.ok()) _exit(3);
    auto client = Client::Over(std::make_unique<MachineTransport>(*connection));
    if (!client.ok()) _exit(4);
    for (unsigned i = 0; i < random() % 40; ++i) {
      auto bytes = (*client)->arena().NewArray<char>(1 + random() % 300'000, Contents::kCleared);
      if (!bytes.ok()) break;
      (*client)->Call(__HYPERVISOR_xen_version, XENVER_capabilities, bytes->get());
      const std::uint64_t frames[] = {3000 + random() % 1000, 3000 + random() % 1000, 1};
      std::uint64_t mfns[3];
      int errors[3];
      (*connection)->Hold(0, frames, Access::kWrite, mfns, errors);
      if (random() % 2 == 0) (*connection)->Release(std::span(mfns).first(1));
    }
  }
}

// Under a sanitizer each takes several times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr unsigned kKills = 300;
#else
constexpr unsigned kKills = 3000;
#endif

TEST(MachineClientsTest, KilledAtAnyMomentTheyLeaveNothing) {
  MachineOfClients machine;
  std::mt19937 random(1);
  for (unsigned i = 0; i < kKills; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) LiveOn(machine.path(), i);
    // Most at its start, where most is made.
    usleep(static_cast<useconds_t>(random() % (i % 4 == 0 ? 12'000 : 2'500)));
    kill(child, SIGKILL);
    ASSERT_EQ(Wait(child), 128 + SIGKILL);
    if (i % 50 == 49) machine.ExpectNothingHeld();
  }
  EXPECT_EQ(machine.Open()->Call(__HYPERVISOR_xen_version, XENVER_version), kVersionAnswer);
}

TEST(MachineClientsTest, SeveralAtATimeAreKilled) {
  MachineOfClients machine;
  std::mt19937 random(2);
  for (unsigned round = 0; round < 12; ++round) {
    std::vector<pid_t> children;
    for (unsigned i = 0; i < 6; ++i) {
      children.push_back(fork());
      if (children.back() == 0) LiveOn(machine.path(), round * 6 + i);
    }
    for (const pid_t child : children) {
      usleep(static_cast<useconds_t>(random() % 6'000));
      kill(child, SIGKILL);
    }
    for (const pid_t child : children) ASSERT_EQ(Wait(child), 128 + SIGKILL);
  }
  machine.ExpectNothingHeld();
}

TEST(MachineClientsTest, AForkedChildIsAClientOfItsOwn) {
  MachineOfClients machine;
  const auto client = machine.Open();
  const auto bytes = *client->arena().NewArray<char>(kPage);
  const pid_t child = fork();
  if (child == 0) {
    if (client->Call(__HYPERVISOR_xen_version, XENVER_version) != -ESTALE) _exit(1);
    const auto own = Client::Open("machine:" + machine.path());
    if (!own.ok()) _exit(2);
    _exit((*own)->Call(__HYPERVISOR_xen_version, XENVER_version) == kVersionAnswer ? 0 : 3);
  }
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(client->Call(__HYPERVISOR_xen_version, XENVER_version), kVersionAnswer);
}

// It has the parent's socket, and no more.
TEST(MachineClientsTest, AChildThatLivesOnKeepsNoClientAlive) {
  MachineOfClients machine;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto own = machine.Open();
    const auto bytes = own->arena().NewArray<char>(kPage);
    if (!bytes.ok()) _exit(1);
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      close(ends[1]);
      char byte;
      _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    _exit(0);
  }
  ASSERT_EQ(Wait(child), 0);
  machine.ExpectNothingHeld();
  close(ends[0]);
  close(ends[1]);
}

TEST(MachineClientsTest, ClientsOfOneProcessAreOneWhenOpenedAlike) {
  MachineOfClients machine;
  const auto one = Client::Open("machine:" + machine.path());
  const auto same = Client::Open("machine:" + machine.path());
  const auto other = Client::Open("machine:" + machine.path() + ",space=walk4");
  ASSERT_TRUE(one.ok() && same.ok() && other.ok());
  EXPECT_EQ(*one, *same);
  EXPECT_NE(*one, *other);
  EXPECT_EQ((*one)->Restrict(), 0);
  const auto after = Client::Open("machine:" + machine.path());
  ASSERT_TRUE(after.ok());
  EXPECT_EQ((*after)->Call(__HYPERVISOR_xen_version, XENVER_version), kVersionAnswer);
}

}  // namespace
}  // namespace xencomm::machine
