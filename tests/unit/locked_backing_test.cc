#include "xencomm/locked_backing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/process_mapping.h"
#include "xencomm/arena.h"

namespace xencomm {
namespace {

// What Linux refuses: errnos, or 0; and how often it was asked to lock. Where it refuses it has
// done a part of it already, as it may have: the first page.
int mlock_error = 0;
int mprotect_error = 0;
int madvise_error = 0;
int refused_advice = -1;
int mlocks = 0;
void* advised = nullptr;

int Refuse(int error) {
  errno = error;
  return -1;
}

}  // namespace
}  // namespace xencomm

extern "C" {

int mlock2(const void* start, std::size_t bytes, unsigned flags) noexcept {
  ++xencomm::mlocks;
  const bool refused = xencomm::mlock_error != 0;
  const long result = syscall(SYS_mlock2, start, refused ? 4096 : bytes, flags);
  if (!refused) return static_cast<int>(result);
  *static_cast<volatile char*>(const_cast<void*>(start)) = 0x5a;
  return xencomm::Refuse(xencomm::mlock_error);
}

// The address sanitizer has one that does nothing.
int munlock(const void* start, std::size_t bytes) noexcept {
  return static_cast<int>(syscall(SYS_munlock, start, bytes));
}

int mprotect(void* start, std::size_t bytes, int protection) noexcept {
  if (xencomm::mprotect_error != 0) return xencomm::Refuse(xencomm::mprotect_error);
  return static_cast<int>(syscall(SYS_mprotect, start, bytes, protection));
}

int madvise(void* start, std::size_t bytes, int advice) noexcept {
  if (advice != xencomm::refused_advice) {
    return static_cast<int>(syscall(SYS_madvise, start, bytes, advice));
  }
  xencomm::advised = start;
  if (advice == MADV_POPULATE_WRITE) *static_cast<volatile char*>(start) = 0x5a;
  return xencomm::Refuse(xencomm::madvise_error);
}

}  // extern "C"

namespace xencomm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsMapped;
using testing::MappingAt;

constexpr std::uint64_t kPage = 4096;

TEST(LockedBacking, IsLockedPopulatedAndZero) {
  auto arena = *Arena::Create(std::make_unique<LockedBacking>(LockedBacking::Locking::kRequired));
  auto* const memory = static_cast<unsigned char*>(*arena->Allocate(100000));
  EXPECT_EQ(memory[0], 0);
  EXPECT_EQ(memory[99999], 0);
  EXPECT_GE(MappingAt(memory).locked_kilobytes * 1024, 100000u);
  unsigned char present[25];
  ASSERT_EQ(mincore(memory, 100000, present), 0);
  for (const unsigned char page : present) EXPECT_EQ(page & 1, 1);
}

TEST(LockedBacking, IsNotInAForkedChild) {
  const auto arena =
      *Arena::Create(std::make_unique<LockedBacking>(LockedBacking::Locking::kRequired));
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

TEST(LockedBacking, WhereLockingIsRequiredTheLimitIsNamed) {
  EXPECT_EQ(ExitCodeWithLimit(256 << 10,
                              [] {
                                auto arena = *Arena::Create(std::make_unique<LockedBacking>(
                                    LockedBacking::Locking::kRequired));
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

TEST(LockedBacking, WhereLockingIsPreferredItWarnsOnceAndGoesOn) {
  EXPECT_EQ(
      ExitCodeWithLimit(0,
                        [] {
                          std::vector<std::string> warnings;
                          auto arena = *Arena::Create(std::make_unique<LockedBacking>(
                              LockedBacking::Locking::kPreferred,
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

// Linux as a test has it.
class LockedBackingRefused : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kOffset = 2 * kPage;
  static constexpr std::uint64_t kLength = 3 * kPage;

  LockedBackingRefused() { mlocks = 0; }
  ~LockedBackingRefused() override { Allow(); }

  void Allow() {
    mlock_error = mprotect_error = madvise_error = 0;
    refused_advice = -1;
  }
  std::byte* Reserve(LockedBacking& memory) {
    const Backing::Reservation reservation = *memory.Reserve(8 * kPage);
    EXPECT_EQ(reservation.payload_offset, 0u);
    EXPECT_EQ(reservation.payload_size, 8 * kPage);
    return reservation.base;
  }
  // Of a range of 8 pages those are memory that Populate was asked for, cleared; or none.
  void ExpectPopulated(std::byte* base, bool populated, bool locked = false) {
    for (std::uint64_t at = 0; at < 8 * kPage; at += kPage) {
      const bool here = populated && at >= kOffset && at < kOffset + kLength;
      const auto mapping = MappingAt(base + at);
      EXPECT_EQ(mapping.is_reserved(), !here) << at;
      EXPECT_EQ(mapping.Has(" lo "), here && locked) << at;
      EXPECT_TRUE(mapping.Has(" dc ")) << at;
      if (!here) continue;
      EXPECT_EQ(mapping.access, "rw-p");
      unsigned char present = 0;
      EXPECT_EQ(mincore(base + at, kPage, &present), 0);
      EXPECT_EQ(present & 1, 1) << at;
      EXPECT_EQ(base[at], std::byte{0}) << at;
      EXPECT_EQ(base[at + kPage - 1], std::byte{0}) << at;
    }
  }
};

TEST_F(LockedBackingRefused, WhereItIsRequiredNothingStaysBehind) {
  LockedBacking memory(LockedBacking::Locking::kRequired);
  std::byte* const base = Reserve(memory);
  ExpectPopulated(base, false);
  for (int i = 0; i < 2; ++i) {
    mlock_error = ENOMEM;
    const absl::Status status = memory.Populate(kOffset, kLength);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("12288 bytes cannot be locked"), HasSubstr("RLIMIT_MEMLOCK")));
    ExpectPopulated(base, false);
  }
  Allow();
  EXPECT_TRUE(memory.Populate(kOffset, kLength).ok());
  EXPECT_EQ(mlocks, 3) << "is asked for each time";
  ExpectPopulated(base, true, true);
  memory.Release();
  EXPECT_FALSE(IsMapped(base));
  EXPECT_FALSE(IsMapped(base + kOffset));
  EXPECT_FALSE(IsMapped(base + 8 * kPage - 1));
}

TEST_F(LockedBackingRefused, WhereItIsPreferredItIsGivenUpForGood) {
  for (const bool warned : {true, false}) {
    std::vector<std::string> warnings;
    const auto warn = [&](const std::string& sentence) { warnings.push_back(sentence); };
    LockedBacking memory(LockedBacking::Locking::kPreferred,
                         warned ? std::function<void(const std::string&)>(warn) : nullptr);
    std::byte* const base = Reserve(memory);
    mlocks = 0;
    mlock_error = ENOMEM;
    EXPECT_TRUE(memory.Populate(kOffset, kPage).ok());
    mlock_error = 0;
    EXPECT_TRUE(memory.Populate(kOffset + kPage, kLength - kPage).ok());
    EXPECT_EQ(mlocks, 1);
    base[kOffset] = {};  // what was there when the lock failed
    ExpectPopulated(base, true);
    if (warned) {
      EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr("4096 bytes cannot be locked"),
                                              HasSubstr("; going on with unlocked memory"))));
    } else {
      EXPECT_THAT(warnings, IsEmpty());
    }
    memory.Release();
  }
}

TEST_F(LockedBackingRefused, MemoryThatCannotBeHadIsNamedAndTheRangeStays) {
  LockedBacking memory(LockedBacking::Locking::kPreferred);
  std::byte* const base = Reserve(memory);
  const auto expect_none = [&] {
    const absl::Status status = memory.Populate(kOffset, kLength);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(status.message(), "12288 bytes of memory cannot be had");
    ExpectPopulated(base, false);
    Allow();
  };
  mprotect_error = ENOMEM;
  expect_none();
  EXPECT_EQ(mlocks, 0);
  mlock_error = ENOMEM;
  refused_advice = MADV_POPULATE_WRITE;
  madvise_error = EFAULT;
  expect_none();
  EXPECT_TRUE(memory.Populate(kOffset, kLength).ok());
  ExpectPopulated(base, true);
  memory.Release();
}

TEST_F(LockedBackingRefused, WhatAChildWouldHaveIsNoMemory) {
  LockedBacking memory(LockedBacking::Locking::kRequired);
  refused_advice = MADV_DONTFORK;
  madvise_error = EPERM;
  const absl::Status status = memory.Reserve(8 * kPage).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot be kept out of forked children"));
  EXPECT_FALSE(IsMapped(advised));
}

TEST(LockedBacking, NoAddressSpaceIsNamed) {
  LockedBacking memory(LockedBacking::Locking::kRequired);
  const auto reservation = memory.Reserve(std::uint64_t{1} << 60);
  EXPECT_EQ(reservation.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(reservation.status().message()),
              AllOf(HasSubstr("address space"), HasSubstr("RLIMIT_AS")));
}

}  // namespace
}  // namespace xencomm
