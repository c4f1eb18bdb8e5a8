// A program that ends in the middle of its calls: its machine ends with it, and nobody else's is
// touched. Each program is a child of this one.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/setting.h"
#include "tests/unit/hypervisor_books.h"
#include "xencomm/client.h"

namespace xencomm {
namespace {

// Fills a domain and empties it again, without an end. Tells through `started` when it has begun.
[[noreturn]] void CallForEver(const char* setting, int started) {
  const auto client = *Client::Open(setting);
  Arena& arena = client->arena();
  const auto create = *arena.New<xen_domctl>(Contents::kCleared);
  create->cmd = XEN_DOMCTL_createdomain;
  create->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  create->u.createdomain.max_vcpus = 1;
  create->u.createdomain.max_grant_frames = 1;
  create->u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
  if (client->Call(__HYPERVISOR_domctl, create.get()) != 0) std::_Exit(3);
  const auto limit = *arena.New<xen_domctl>(Contents::kCleared);
  limit->cmd = XEN_DOMCTL_max_mem;
  limit->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  limit->domain = create->domain;
  limit->u.max_mem.max_memkb = 1 << 20;
  if (client->Call(__HYPERVISOR_domctl, limit.get()) != 0) std::_Exit(4);

  constexpr std::uint64_t kExtents = 20000;
  const auto extents = *arena.NewArray<xen_pfn_t>(kExtents);
  const auto reservation = *arena.New<xen_memory_reservation>(Contents::kCleared);
  reservation->domid = create->domain;
  reservation->nr_extents = kExtents;
  SetHandle(reservation->extent_start, extents);
  for (bool first = true;; first = false) {
    for (std::uint64_t i = 0; i < kExtents; ++i) extents[i] = i;
    if (client->Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation.get()) !=
        kExtents) {
      std::_Exit(5);
    }
    if (first && write(started, "", 1) != 1) std::_Exit(6);
    client->Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, reservation.get());
  }
}

// The status with which a child ended that ran `end` while two of its threads call.
template <class End>
int StatusOfChild(const char* setting, End end) {
  int started[2];
  EXPECT_EQ(pipe(started), 0);
  const pid_t child = fork();
  if (child == 0) {
    // In the child nothing is left of this test but its code: the machine opened here is its own.
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] { CallForEver(setting, started[1]); });
    }
    char byte;
    for (int i = 0; i < 2; ++i) {
      if (read(started[0], &byte, 1) != 1) std::_Exit(7);
    }
    end();
    for (std::thread& thread : threads) thread.join();
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  close(started[0]);
  close(started[1]);
  return status;
}

class ProcessEnd : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(, ProcessEnd,
                         testing::Values("embedded:memory=2G,space=region",
                                         "embedded:memory=2G,space=walk4",
                                         "embedded:memory=2G,space=inline"),
                         [](const auto& parameter) {
                           const std::string setting = parameter.param;
                           return setting.substr(setting.rfind('=') + 1);
                         });

TEST_P(ProcessEnd, KilledInMidCallItLeavesOthersAlone) {
  const auto machine = *embedded::EmbeddedMachine::Create(
      ParseEmbeddedSetting(SplitSetting(GetParam()).options)->machine);
  const hypervisor::Statistics before = hypervisor::Books::StatisticsOf(machine->hypervisor());
  const int status = StatusOfChild(GetParam(), [] { kill(getpid(), SIGKILL); });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  const hypervisor::Statistics after = hypervisor::Books::StatisticsOf(machine->hypervisor());
  EXPECT_EQ(after.free_pages, before.free_pages);
  EXPECT_EQ(after.domains, before.domains);
}

TEST_P(ProcessEnd, ExitWhileOthersCallIsClean) {
  // The destructors of the whole process run beside calls that never end.
  const int status = StatusOfChild(GetParam(), [] { std::exit(0); });
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0) << status;
}

}  // namespace
}  // namespace xencomm
