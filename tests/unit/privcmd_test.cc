// On real Xen: what is asked of Linux's privcmd, and what becomes of its answers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <xen/version.h>

#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/foreign_memory.h"
#include "hcall/transport/hypercall_device.h"
#include "hcall/transport/open.h"
#include "tests/unit/fake_privcmd.h"
#include "tests/unit/process_mapping.h"
#include "xencomm/client.h"
#include "xencomm/hypercall.h"

namespace xencomm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FakePrivcmd;
using ::testing::HasSubstr;
using testing::IsFakeDevice;
using testing::IsMapped;
using testing::IsReserved;
using testing::MappingAt;
using ::testing::StartsWith;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMostPages = UINT32_MAX;
constexpr char kPrivcmd[] = "/dev/xen/privcmd";
constexpr char kHypercall[] = "/dev/xen/hypercall";

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

bool IsNull(int fd) {
  struct stat about = {};
  return fstat(fd, &about) == 0 && S_ISCHR(about.st_mode) && about.st_rdev == makedev(1, 3);
}

void* Anonymous(std::size_t pages) {
  return mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// Every device is opened alike, and says alike why it cannot be.
TEST(PrivcmdOpen, SaysWhatIsInTheWay) {
  const struct {
    const char* path;
    int error;
    absl::StatusCode code;
    const char* words;
  } cases[] = {
      {kPrivcmd, EACCES, absl::StatusCode::kPermissionDenied, "expected to run as root"},
      {kPrivcmd, EPERM, absl::StatusCode::kPermissionDenied, "expected to run as root"},
      {kPrivcmd, ENOENT, absl::StatusCode::kUnavailable, "No such file or directory"},
      {kPrivcmd, ENXIO, absl::StatusCode::kUnavailable, "No such device or address"},
      {kHypercall, EACCES, absl::StatusCode::kPermissionDenied, "expected to run as root"},
      {kHypercall, EPERM, absl::StatusCode::kPermissionDenied, "expected to run as root"},
      {kHypercall, ENXIO, absl::StatusCode::kUnavailable, "No such device or address"},
  };
  for (const auto& each : cases) {
    FakePrivcmd fake;
    fake.open_errors[each.path] = {each.error, each.error};
    const absl::Status status = OpenTransport("privcmd").status();
    EXPECT_EQ(status.code(), each.code) << each.path << " " << each.error;
    EXPECT_THAT(std::string(status.message()), AllOf(StartsWith(each.path), HasSubstr(each.words)));
    if (each.path == kHypercall) {
      EXPECT_FALSE(IsOpen(fake.opened[kPrivcmd].fd)) << "is left open";
      continue;
    }
    EXPECT_EQ(OpenForeignMemory("privcmd").status(), status);
  }
}

TEST(PrivcmdOpen, OpensForReadingAndWritingAndNoOtherProgram) {
  FakePrivcmd fake;
  {
    const auto transport = *OpenTransport("privcmd");
    EXPECT_EQ(fake.opened[kPrivcmd].flags, O_RDWR | O_CLOEXEC);
    EXPECT_EQ(fake.opened[kHypercall].flags, O_RDWR | O_CLOEXEC);
    EXPECT_EQ(transport->fd(), fake.opened[kPrivcmd].fd);
    EXPECT_TRUE(transport->never_faults());
  }
  EXPECT_FALSE(IsOpen(fake.opened[kPrivcmd].fd));
  EXPECT_FALSE(IsOpen(fake.opened[kHypercall].fd));
}

class PrivcmdTest : public ::testing::Test {
 protected:
  FakePrivcmd fake_;
};

TEST_F(PrivcmdTest, AHypercallIsPassedOnAsItIs) {
  const auto transport = *OpenTransport("privcmd");
  privcmd_hypercall_t seen = {};
  long answer = 0;
  int error = 0;
  fake_.call = [&](const privcmd_hypercall_t& call) {
    seen = call;
    errno = error;
    return answer;
  };
  const struct {
    long answer;
    int error;
    std::int64_t expected;
  } cases[] = {{0, 0, 0},
               {1, 0, 1},
               {0x1'2345'6789, 0, 0x1'2345'6789},  // more than an int
               {-1, EFAULT, -EFAULT},
               {-1, ENOSYS, -ENOSYS}};
  for (const auto& each : cases) {
    answer = each.answer;
    error = each.error;
    EXPECT_EQ(transport->Call(35, {11, 12, 13, 14, 15}), each.expected);
    EXPECT_EQ(seen.op, 35u);
    EXPECT_THAT(seen.arg, ElementsAre(11, 12, 13, 14, 15));
  }
}

TEST_F(PrivcmdTest, RegionsAreAskedForByACallThatOptsIn) {
  const auto transport = *OpenTransport("privcmd");
  long answer = 0;
  fake_.call = [&](const privcmd_hypercall_t& call) {
    EXPECT_EQ(call.op, __HYPERVISOR_xen_version | kRegionCall);
    EXPECT_EQ(call.arg[0], static_cast<std::uint64_t>(XENVER_version));
    errno = ENOSYS;
    return answer;
  };
  for (const long known : {0L, 4L << 16 | 17}) {
    answer = known;
    EXPECT_TRUE(transport->knows_regions());
  }
  answer = -1;
  EXPECT_FALSE(transport->knows_regions());
}

TEST_F(PrivcmdTest, ShowsNoTranslation) {
  xencomm_context* const x = xencomm_open("privcmd");
  ASSERT_NE(x, nullptr) << xencomm_error();
  void* const memory = xencomm_alloc(x, 8);
  xencomm_translation translation = {};
  for (const xencomm_space space : {XENCOMM_SPACE_REGION, XENCOMM_SPACE_WALK}) {
    errno = 0;
    EXPECT_EQ(xencomm_translate(x, memory, space, &translation), -1);
    EXPECT_EQ(errno, ENOTSUP);
    EXPECT_THAT(xencomm_error(), HasSubstr("page tables of this process are out of its reach"));
  }
  EXPECT_EQ(xencomm_close(x), 0);
}

// What Linux answers to an arena's first wish, as the C interface tells of it: by kinds.
TEST_F(PrivcmdTest, RefusalsOfLinuxBecomeErrnosOfAFew) {
  const struct {
    int linux_error;
    int error;
  } cases[] = {{ENOMEM, ENOMEM},  {EBADF, ESTALE},  {EPERM, EACCES},  {EAGAIN, ENODEV},
               {ENOSYS, ENOTSUP}, {ERANGE, EFAULT}, {EINVAL, EINVAL}, {ENOENT, EINVAL},
               {EIO, EIO},        {EEXIST, EEXIST}, {ECANCELED, EIO}};
  for (const auto& [linux_error, error] : cases) {
    fake_.open_errors[kHypercall] = {ENOENT};
    fake_.madvise_error = linux_error;
    errno = 0;
    EXPECT_EQ(xencomm_open("privcmd"), nullptr);
    EXPECT_EQ(errno, error) << linux_error;
    EXPECT_THAT(xencomm_error(), HasSubstr("cannot be kept out of forked children"));
    EXPECT_FALSE(IsOpen(fake_.opened[kPrivcmd].fd));
  }
}

TEST_F(PrivcmdTest, MemoryIsTheDevices) {
  auto client = *Client::Open("privcmd");
  auto* const first = static_cast<char*>(*client->arena().Allocate(kPage));
  auto* const second = static_cast<char*>(*client->arena().Allocate(1 << 20));
  for (const char* const memory : {first, second}) {
    const auto mapping = MappingAt(memory);
    EXPECT_EQ(mapping.access, "rw-s");
    EXPECT_EQ(mapping.file, "/dev/zero");
    EXPECT_TRUE(mapping.Has(" dc ")) << "a child would have it, too";
  }
  // Each part of the range is memory of its own.
  first[0] = 'a';
  EXPECT_EQ(second[0], 0);
  std::byte* const end = client->arena().payload().data() + client->arena().payload().size();
  EXPECT_TRUE(IsReserved(end - 1));
  client.reset();
  EXPECT_FALSE(IsMapped(first));
  EXPECT_FALSE(IsMapped(end - 1));
}

TEST_F(PrivcmdTest, WithoutTheDeviceMemoryIsLocked) {
  fake_.open_errors[kHypercall] = {ENOENT};
  const auto client = *Client::Open("privcmd");
  EXPECT_FALSE(client->transport().never_faults());
  void* const memory = *client->arena().Allocate(kPage);
  EXPECT_EQ(MappingAt(memory).access, "rw-p");
  EXPECT_TRUE(MappingAt(memory).Has(" lo "));
}

TEST_F(PrivcmdTest, MemoryThatCannotBeHadLeavesTheRangeReserved) {
  const FileDescriptor zero(openat(AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC));
  const FileDescriptor none;
  for (const bool mappable : {true, false}) {
    HypercallDevice device(mappable ? zero.get() : none.get());
    const Backing::Reservation reservation = *device.Reserve(16 * kPage);
    EXPECT_EQ(reservation.payload_size, 16 * kPage);
    EXPECT_EQ(reservation.payload_offset, 0u);
    std::byte* const part = reservation.base + 4 * kPage;
    fake_.madvise_error = mappable ? EINVAL : 0;
    const absl::Status status = device.Populate(4 * kPage, 2 * kPage);
    fake_.madvise_error = 0;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("8192 bytes of /dev/xen/hypercall"),
                      HasSubstr(mappable ? "Invalid argument" : "Bad file descriptor")));
    for (int page = -4; page < 12; ++page) EXPECT_TRUE(IsReserved(part + page * 4096)) << page;
    if (mappable) {
      EXPECT_TRUE(device.Populate(4 * kPage, 2 * kPage).ok());
      EXPECT_TRUE(IsReserved(part - 1));
      EXPECT_EQ(MappingAt(part).access, "rw-s");
      EXPECT_EQ(MappingAt(part + 2 * kPage - 1).access, "rw-s");
      EXPECT_TRUE(IsReserved(part + 2 * kPage));
    }
    device.Release();
    for (int page = -4; page < 12; ++page) EXPECT_FALSE(IsMapped(part + page * 4096));
  }
}

TEST_F(PrivcmdTest, NoAddressSpaceIsNamed) {
  HypercallDevice device(-1);
  const absl::Status status = device.Reserve(std::uint64_t{1} << 60).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("1152921504606846976 bytes"), HasSubstr("RLIMIT_AS")));
}

TEST_F(PrivcmdTest, ARestrictionTakesBothDevicesAway) {
  const struct {
    std::vector<int> null_errors;  // first of the device of memory, then of the one of calls
    int result;
  } cases[] = {
      {{0, 0}, 0}, {{EMFILE, 0}, -EMFILE}, {{0, ENFILE}, -ENFILE}, {{EMFILE, ENFILE}, -EMFILE}};
  for (const auto& [null_errors, result] : cases) {
    const auto transport = *OpenTransport("privcmd");
    fake_.open_errors["/dev/null"] = null_errors;
    EXPECT_EQ(transport->Restrict(), result);
    EXPECT_EQ(IsNull(fake_.opened[kHypercall].fd), null_errors[0] == 0);
    EXPECT_EQ(IsNull(fake_.opened[kPrivcmd].fd), null_errors[1] == 0);
    if (null_errors[1] == 0) {
      EXPECT_EQ(transport->Call(1, {}), -ENOTTY);
    }
  }
  fake_.open_errors[kHypercall] = {ENOENT};
  const auto transport = *OpenTransport("privcmd");
  EXPECT_EQ(transport->Restrict(), 0);
  EXPECT_TRUE(IsNull(fake_.opened[kPrivcmd].fd));
}

TEST(FileDescriptor, BecomesNullAndKeepsItsNumber) {
  FakePrivcmd fake;
  fake.open_errors["/dev/null"] = {};  // seen, and opened as ever
  int number = -1;
  {
    FileDescriptor fd(dup(STDIN_FILENO));
    number = fd.get();
    EXPECT_EQ(fd.BecomeNull(), 0);
    EXPECT_EQ(fd.get(), number);
    EXPECT_TRUE(IsNull(number));
    EXPECT_EQ(fcntl(number, F_GETFD), FD_CLOEXEC);
    EXPECT_FALSE(IsOpen(fake.opened["/dev/null"].fd));
    FileDescriptor moved(std::move(fd));
    EXPECT_FALSE(fd.is_open());
    EXPECT_EQ(fd.get(), -1);
    EXPECT_EQ(moved.get(), number);
  }
  EXPECT_FALSE(IsOpen(number));

  // Nothing becomes nothing; a number that none can have is an error.
  FileDescriptor none;
  EXPECT_EQ(none.get(), -1);
  EXPECT_EQ(none.BecomeNull(), 0);
  EXPECT_FALSE(none.is_open());
  FileDescriptor beyond(INT_MAX);
  EXPECT_EQ(beyond.BecomeNull(), -EBADF);
  EXPECT_FALSE(IsOpen(fake.opened["/dev/null"].fd));
}

// The lowest number is one, too.
TEST(FileDescriptor, MayBeNumberZero) {
  const int kept = dup(STDIN_FILENO);
  {
    const FileDescriptor other(openat(AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC));
    ASSERT_EQ(dup2(other.get(), STDIN_FILENO), STDIN_FILENO);
    FileDescriptor zero(STDIN_FILENO);
    EXPECT_TRUE(zero.is_open());
    EXPECT_FALSE(IsNull(STDIN_FILENO));
    EXPECT_EQ(zero.BecomeNull(), 0);
    EXPECT_TRUE(IsNull(STDIN_FILENO));
  }
  EXPECT_FALSE(IsOpen(STDIN_FILENO));
  FakePrivcmd fake;
  EXPECT_EQ((*OpenTransport("privcmd"))->fd(), STDIN_FILENO);
  EXPECT_FALSE(IsOpen(STDIN_FILENO));
  EXPECT_TRUE(OpenForeignMemory("privcmd").ok());
  EXPECT_FALSE(IsOpen(STDIN_FILENO));
  EXPECT_EQ(dup2(kept, STDIN_FILENO), STDIN_FILENO);
  close(kept);
}

// What privcmd is asked to map, and its answers by frame: 0 or an errno, which it gives for each in
// its turn; the last one stays.
class PrivcmdForeignMemoryTest : public PrivcmdTest {
 protected:
  struct Batch {
    std::uint64_t place;
    unsigned domain;
    std::vector<std::uint64_t> frames;
    const int* errors;
  };

  void SetUp() override {
    fake_.control = [this](unsigned long request, void* argument) {
      switch (request) {
        case IOCTL_PRIVCMD_MMAPBATCH_V2:
          return MapBatch(*static_cast<const privcmd_mmapbatch_v2_t*>(argument));
        case IOCTL_PRIVCMD_MMAP_RESOURCE:
          resource_ = *static_cast<const privcmd_mmap_resource_t*>(argument);
          static_cast<privcmd_mmap_resource_t*>(argument)->num = resource_frames_;
          return control_error_;
        case IOCTL_PRIVCMD_RESTRICT:
          restricted_ = *static_cast<const domid_t*>(argument);
          return control_error_;
      }
      return ENOTTY;
    };
    memory_ = *OpenForeignMemory("privcmd");
  }

  int MapBatch(const privcmd_mmapbatch_v2_t& call) {
    batches_.push_back({call.addr, call.dom, {}, call.err});
    if (control_error_ >= 0) {
      batches_.back().frames = {call.num};
      return control_error_;
    }
    int result = 0;
    batches_.back().frames.assign(call.arr, call.arr + call.num);
    for (unsigned i = 0; i < call.num; ++i) {
      std::vector<int>& answers = answers_[call.arr[i]];
      const int error = answers.empty() ? 0 : answers.front();
      if (answers.size() > 1) answers.erase(answers.begin());
      call.err[i] = -error;
      // Linux tells of errors by frame, of frames that are paged out also as a whole, and of what
      // it cannot do as a whole alone.
      if (error == ENOENT) result = ENOENT;
      if (error == EFAULT) return EFAULT;
    }
    return result;
  }

  int Map(ForeignMemory::Placement& placement, std::span<const std::uint64_t> frames) {
    // What lies behind those of the frames is not looked at.
    errors_.assign(frames.size() + 1, -ENOENT);
    const int result = memory_->Map(5, placement, frames, std::span(errors_).first(frames.size()));
    EXPECT_EQ(errors_.back(), -ENOENT);
    errors_.pop_back();
    return result;
  }

  std::map<std::uint64_t, std::vector<int>> answers_;
  std::vector<Batch> batches_;
  std::vector<int> errors_;
  privcmd_mmap_resource_t resource_ = {};
  std::uint64_t resource_frames_ = 0;
  domid_t restricted_ = 0;
  int control_error_ = -1;  // of other calls than those by frames, and then of all; -1: none
  std::unique_ptr<ForeignMemory> memory_;
};

TEST_F(PrivcmdForeignMemoryTest, MapsFramesWhereAndAsItIsTold) {
  const std::uint64_t frames[] = {0x100, 0x7'0000'0000, 0x55};
  void* const place = Anonymous(3);
  const struct {
    ForeignMemory::Placement placement;
    const char* access;
  } cases[] = {{{nullptr, PROT_READ, 0}, "r--s"},
               {{nullptr, PROT_READ | PROT_WRITE, 0}, "rw-s"},
               {{place, PROT_READ | PROT_WRITE, MAP_FIXED}, "rw-s"}};
  for (const auto& each : cases) {
    batches_.clear();
    ForeignMemory::Placement placement = each.placement;
    ASSERT_EQ(Map(placement, frames), 0);
    auto* const mapped = static_cast<char*>(placement.address);
    if (each.placement.address != nullptr) {
      EXPECT_EQ(mapped, place);
    }
    EXPECT_THAT(errors_, ElementsAre(0, 0, 0));
    ASSERT_EQ(batches_.size(), 1u);
    EXPECT_EQ(batches_[0].place, std::bit_cast<std::uint64_t>(mapped));
    EXPECT_EQ(batches_[0].domain, 5u);
    EXPECT_THAT(batches_[0].frames, ElementsAre(0x100, 0x7'0000'0000, 0x55));
    EXPECT_EQ(batches_[0].errors, errors_.data());
    EXPECT_EQ(MappingAt(mapped).access, each.access);
    EXPECT_EQ(MappingAt(mapped + 3 * kPage - 1).access, each.access);
    EXPECT_EQ(memory_->Unmap(mapped, 1), 0);
    EXPECT_FALSE(IsMapped(mapped));
    EXPECT_EQ(MappingAt(mapped + kPage).access, each.access);
    EXPECT_EQ(memory_->Unmap(mapped + kPage, 2), 0);
    EXPECT_FALSE(IsMapped(mapped + 3 * kPage - 1));
  }
  EXPECT_TRUE(fake_.pauses.empty());
}

// Each is asked for again until it is there, and no other.
TEST_F(PrivcmdForeignMemoryTest, FramesThatArePagedOutAreWaitedFor) {
  answers_[100] = {ENOENT, 0};
  answers_[101] = {ENOENT, ENOENT, ENOENT, 0};
  answers_[102] = {EINVAL};
  answers_[103] = {ENOENT, EINVAL};
  const std::uint64_t frames[] = {100, 101, 102, 103, 104};
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  ASSERT_EQ(Map(placement, frames), 0);
  EXPECT_THAT(errors_, ElementsAre(0, 0, -EINVAL, -EINVAL, 0));
  const auto start = std::bit_cast<std::uint64_t>(placement.address);
  const std::size_t asked_again[] = {0, 1, 1, 1, 3};
  ASSERT_EQ(batches_.size(), 1 + std::size(asked_again));
  for (std::size_t i = 1; i < batches_.size(); ++i) {
    const std::size_t at = asked_again[i - 1];
    EXPECT_EQ(batches_[i].place, start + at * kPage);
    EXPECT_EQ(batches_[i].domain, 5u);
    EXPECT_THAT(batches_[i].frames, ElementsAre(frames[at]));
    EXPECT_EQ(batches_[i].errors, &errors_[at]);
  }
  ASSERT_EQ(fake_.pauses.size(), 5u) << "one before each";
  for (const timespec& pause : fake_.pauses) {
    EXPECT_EQ(pause.tv_sec, 0);
    EXPECT_EQ(pause.tv_nsec, 100'000);
  }
  EXPECT_EQ(memory_->Unmap(placement.address, 5), 0);
}

TEST_F(PrivcmdForeignMemoryTest, WhatFailsAsAWholeLeavesNothingMapped) {
  // At once, and when a frame is asked for again.
  for (const std::vector<int>& answers : {std::vector<int>{EFAULT}, {ENOENT, EFAULT}}) {
    answers_[101] = answers;
    const std::uint64_t frames[] = {100, 101};
    auto* const place = static_cast<char*>(Anonymous(3));
    ForeignMemory::Placement placement = {place, PROT_READ, MAP_FIXED};
    EXPECT_EQ(Map(placement, frames), -EFAULT);
    EXPECT_FALSE(IsMapped(place));
    EXPECT_FALSE(IsMapped(place + 2 * kPage - 1));
    EXPECT_EQ(MappingAt(place + 2 * kPage).access, "rw-p") << "is not the mapping's";
    munmap(place + 2 * kPage, kPage);
  }
}

TEST_F(PrivcmdForeignMemoryTest, WhereNothingCanBeMappedNothingIsAskedFor) {
  const std::uint64_t frames[] = {100};
  void* const taken = Anonymous(1);
  ForeignMemory::Placement placement = {taken, PROT_READ, MAP_FIXED_NOREPLACE};
  EXPECT_EQ(Map(placement, frames), -EEXIST);
  EXPECT_EQ(Map(placement, {}), -EINVAL);
  EXPECT_EQ(memory_->MapResource({.domain = 5, .count = 1}, placement), -EEXIST);
  EXPECT_TRUE(batches_.empty());
  EXPECT_EQ(resource_.dom, 0u);
  EXPECT_EQ(placement.address, taken);
  munmap(taken, kPage);
}

// Privcmd counts in 32 bits.
TEST_F(PrivcmdForeignMemoryTest, MapsAsManyPagesAsPrivcmdCounts) {
  const auto frames = [this](std::uint64_t count) {
    return std::span<const std::uint64_t>(reinterpret_cast<const std::uint64_t*>(this), count);
  };
  ForeignMemory::Placement placement = {nullptr, PROT_NONE, MAP_NORESERVE};
  control_error_ = 0;  // nothing is looked at
  EXPECT_EQ(memory_->Map(5, placement, frames(kMostPages + 1), {}), -ENOMEM);
  EXPECT_EQ(memory_->MapResource({.count = kMostPages + 1}, placement), -ENOMEM);
  EXPECT_TRUE(batches_.empty());

  ASSERT_EQ(memory_->Map(5, placement, frames(kMostPages), {}), 0);
  EXPECT_THAT(batches_[0].frames, ElementsAre(kMostPages));
  EXPECT_EQ(memory_->Unmap(placement.address, kMostPages + 1), -EINVAL);
  EXPECT_EQ(memory_->UnmapResource(placement.address, kMostPages + 1), -EINVAL);
  EXPECT_EQ(MappingAt(placement.address).access, "---s");
  EXPECT_EQ(memory_->Unmap(placement.address, kMostPages), 0);
  EXPECT_FALSE(IsMapped(placement.address));
  placement.address = nullptr;
  ASSERT_EQ(memory_->MapResource({.count = kMostPages}, placement), 0);
  EXPECT_EQ(memory_->UnmapResource(placement.address, kMostPages), 0);
  EXPECT_EQ(memory_->Unmap(static_cast<char*>(placement.address) + 1, 1), -EINVAL);
}

TEST_F(PrivcmdForeignMemoryTest, MapsPartOfAResource) {
  const ForeignMemory::Resource resource = {
      .domain = 5, .type = 1, .id = 2, .first = 0x8000'0003, .count = 4};
  ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
  control_error_ = 0;
  ASSERT_EQ(memory_->MapResource(resource, placement), 0);
  auto* const mapped = static_cast<char*>(placement.address);
  EXPECT_EQ(resource_.dom, 5u);
  EXPECT_EQ(resource_.type, 1u);
  EXPECT_EQ(resource_.id, 2u);
  EXPECT_EQ(resource_.idx, 0x8000'0003u);
  EXPECT_EQ(resource_.num, 4u);
  EXPECT_EQ(resource_.addr, std::bit_cast<std::uint64_t>(mapped));
  EXPECT_EQ(MappingAt(mapped).access, "rw-s");
  EXPECT_EQ(MappingAt(mapped + 4 * kPage - 1).access, "rw-s");
  EXPECT_EQ(memory_->UnmapResource(mapped, 4), 0);
  EXPECT_FALSE(IsMapped(mapped));
  EXPECT_FALSE(IsMapped(mapped + 4 * kPage - 1));
}

TEST_F(PrivcmdForeignMemoryTest, AsksHowMuchOfAResourceThereIs) {
  control_error_ = 0;
  resource_frames_ = 3;
  std::size_t size = 7;
  EXPECT_EQ(memory_->ResourceSize({.domain = 5, .type = 1, .id = 2, .first = 9, .count = 9}, &size),
            0);
  EXPECT_EQ(size, 3 * kPage);
  EXPECT_EQ(resource_.dom, 5u);
  EXPECT_EQ(resource_.type, 1u);
  EXPECT_EQ(resource_.id, 2u);
  EXPECT_EQ(resource_.idx, 0u);
  EXPECT_EQ(resource_.num, 0u);
  EXPECT_EQ(resource_.addr, 0u);
}

// One that does not know of resources at all is told apart, but not one that knows no restriction.
TEST_F(PrivcmdForeignMemoryTest, RefusalsAreErrnos) {
  for (const auto& [error, answer] : {std::pair(ENOTTY, -EOPNOTSUPP), {ESRCH, -ESRCH}}) {
    control_error_ = error;
    auto* const place = static_cast<char*>(Anonymous(3));
    ForeignMemory::Placement placement = {place, PROT_READ, MAP_FIXED};
    EXPECT_EQ(memory_->MapResource({.count = 2}, placement), answer);
    EXPECT_FALSE(IsMapped(place));
    EXPECT_FALSE(IsMapped(place + 2 * kPage - 1));
    EXPECT_EQ(MappingAt(place + 2 * kPage).access, "rw-p");
    munmap(place + 2 * kPage, kPage);

    std::size_t size = 7;
    EXPECT_EQ(memory_->ResourceSize({}, &size), answer);
    EXPECT_EQ(size, 7u);
    EXPECT_EQ(memory_->Restrict(6), -error);
    EXPECT_EQ(restricted_, 6u);
  }
  control_error_ = 0;
  EXPECT_EQ(memory_->Restrict(6), 0);
}

TEST_F(PrivcmdForeignMemoryTest, ClosesItsDescriptor) {
  const int fd = fake_.opened[kPrivcmd].fd;
  EXPECT_EQ(fake_.opened[kPrivcmd].flags, O_RDWR | O_CLOEXEC);
  EXPECT_TRUE(IsFakeDevice(fd));
  memory_.reset();
  EXPECT_FALSE(IsOpen(fd));
}

}  // namespace
}  // namespace xencomm
