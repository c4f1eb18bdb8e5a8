#include "xencomm/locked_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "xencomm/arena.h"

namespace xencomm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Of the mapping in which `address` lies.
std::uint64_t LockedKilobytes(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    unsigned long kilobytes = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      const auto at = reinterpret_cast<std::uintptr_t>(address);
      inside = begin <= at && at < end;
    } else if (inside && std::sscanf(line.c_str(), "Locked: %lu kB", &kilobytes) == 1) {
      return kilobytes;
    }
  }
  return 0;
}

TEST(LockedMemory, IsLockedPopulatedAndZero) {
  auto arena = *Arena::Create(std::make_unique<LockedMemory>(LockedMemory::Locking::kRequired));
  auto* const memory = static_cast<unsigned char*>(*arena->Allocate(100000));
  EXPECT_EQ(memory[0], 0);
  EXPECT_EQ(memory[99999], 0);
  EXPECT_GE(LockedKilobytes(memory) * 1024, 100000u);
  unsigned char present[25];
  ASSERT_EQ(mincore(memory, 100000, present), 0);
  for (const unsigned char page : present) EXPECT_EQ(page & 1, 1);
}

TEST(LockedMemory, IsNotInAForkedChild) {
  const auto arena =
      *Arena::Create(std::make_unique<LockedMemory>(LockedMemory::Locking::kRequired));
  void* const memory = *arena->Allocate(4096);
  const pid_t child = fork();
  if (child == 0) {
    unsigned char present = 0;
    _exit(mincore(memory, 4096, &present) == -1 && errno == ENOMEM ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// In a child that is neither root nor allowed more than `limit` bytes of locked memory.
template <class Body>
int ExitCodeWithLimit(rlim_t limit, Body body) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit locked = {limit, limit};
    if (setrlimit(RLIMIT_MEMLOCK, &locked) != 0) _exit(90);
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(91);
    _exit(body());
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 92;
  return WEXITSTATUS(status);
}

TEST(LockedMemory, WhereLockingIsRequiredTheLimitIsNamed) {
  EXPECT_EQ(ExitCodeWithLimit(256 << 10,
                              [] {
                                auto arena = *Arena::Create(std::make_unique<LockedMemory>(
                                    LockedMemory::Locking::kRequired));
                                if (!arena->Allocate(128 << 10).ok()) return 1;
                                const absl::Status status = arena->Allocate(512 << 10).status();
                                if (status.code() != absl::StatusCode::kResourceExhausted) return 2;
                                const std::string message(status.message());
                                if (message.find("RLIMIT_MEMLOCK") == std::string::npos) return 3;
                                if (message.find("262144") == std::string::npos) return 4;
                                // What still fits is given.
                                return arena->Allocate(64 << 10).ok() ? 0 : 5;
                              }),
            0);
}

TEST(LockedMemory, WhereLockingIsPreferredItWarnsOnceAndGoesOn) {
  EXPECT_EQ(
      ExitCodeWithLimit(0,
                        [] {
                          std::vector<std::string> warnings;
                          auto arena = *Arena::Create(std::make_unique<LockedMemory>(
                              LockedMemory::Locking::kPreferred,
                              [&](const std::string& sentence) { warnings.push_back(sentence); }));
                          const auto one = arena->Allocate(64 << 10);
                          const auto two = arena->Allocate(1 << 20);
                          if (!one.ok() || !two.ok()) return 1;
                          std::memset(*two, 1, 1 << 20);
                          if (warnings.size() != 1) return 2;
                          if (warnings[0].find("going on") == std::string::npos) return 3;
                          return 0;
                        }),
      0);
}

TEST(LockedMemory, NoAddressSpaceIsNamed) {
  LockedMemory memory(LockedMemory::Locking::kRequired);
  const auto reservation = memory.Reserve(std::uint64_t{1} << 60);
  EXPECT_EQ(reservation.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(reservation.status().message()),
              AllOf(HasSubstr("address space"), HasSubstr("RLIMIT_AS")));
}

}  // namespace
}  // namespace xencomm
