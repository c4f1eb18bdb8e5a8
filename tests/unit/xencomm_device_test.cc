// On real Xen by regions: what is asked of /dev/xen/xencomm, and when it is chosen. The device is a
// file, whose mappings are where the device's are; what the module makes of them, suite region tells.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/foreign_memory.h"
#include "hcall/transport/open.h"
#include "hcall/transport/privcmd_calls.h"
#include "hcall/transport/xencomm_device.h"
#include "tests/unit/fake_privcmd.h"
#include "tests/unit/process_mapping.h"
#include "xencomm/client.h"
#include "xencomm/hypercall.h"
#include "xencomm/xencomm.h"

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

// As privcmd's, for programs that know that one.
static_assert(kPrivcmdHypercall == XENCOMM_IOC_HYPERCALL);
static_assert(sizeof(PrivcmdHypercall) == sizeof(xencomm_hypercall));
static_assert(offsetof(PrivcmdHypercall, arg) == offsetof(xencomm_hypercall, arg));

constexpr std::uint64_t kPage = 4096;
constexpr char kPrivcmd[] = "/dev/xen/privcmd";
constexpr char kXencomm[] = XENCOMM_DEVICE;

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

std::uint64_t At(const void* address) { return std::bit_cast<std::uint64_t>(address); }

class XencommDeviceTest : public ::testing::Test {
 protected:
  XencommDeviceTest() {
    unsetenv("XENCOMM_TRANSPORT");
    fake_.has_xencomm = true;
    fake_.control = [this](unsigned long request, void* argument) {
      if (request != XENCOMM_IOC_RESERVE) return ENOTTY;
      reserved_.push_back(*static_cast<const xencomm_reserve*>(argument));
      return reserve_error_;
    };
  }

  int fd() { return fake_.opened[kXencomm].fd; }

  FakePrivcmd fake_;
  std::vector<xencomm_reserve> reserved_;
  int reserve_error_ = 0;
};

TEST_F(XencommDeviceTest, OpeningSaysWhatIsInTheWay) {
  const struct {
    int error;
    absl::StatusCode code;
    const char* words;
  } cases[] = {
      {EACCES, absl::StatusCode::kPermissionDenied, "expected to run as root"},
      {EPERM, absl::StatusCode::kPermissionDenied, "expected to run as root"},
      {ENOENT, absl::StatusCode::kUnavailable, "No such file or directory"},
      {ENODEV, absl::StatusCode::kUnavailable, "No such device"},
      {ENOMEM, absl::StatusCode::kUnavailable, "Cannot allocate memory"},
  };
  for (const auto& [error, code, words] : cases) {
    fake_.open_errors[kXencomm] = {error};
    const absl::Status status = OpenTransport("xencomm-device").status();
    EXPECT_EQ(status.code(), code) << error;
    EXPECT_THAT(std::string(status.message()), AllOf(StartsWith(kXencomm), HasSubstr(words),
                                                     HasSubstr("XENCOMM_TRANSPORT=privcmd")));
  }
}

TEST_F(XencommDeviceTest, OpensForReadingAndWritingAndNoOtherProgram) {
  {
    const auto transport = *OpenTransport("xencomm-device");
    EXPECT_EQ(fake_.opened[kXencomm].flags, O_RDWR | O_CLOEXEC);
    EXPECT_EQ(transport->fd(), fd());
    EXPECT_TRUE(transport->knows_regions());
    EXPECT_TRUE(transport->never_faults());
    EXPECT_FALSE(fake_.opened.contains(kPrivcmd)) << "pointers are raw there";
  }
  EXPECT_FALSE(IsOpen(fd()));
}

// Frames of other domains are mapped by privcmd in any case.
TEST_F(XencommDeviceTest, ForeignMemoryIsPrivcmds) {
  const auto memory = OpenForeignMemory("xencomm-device");
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_TRUE(IsFakeDevice(fake_.opened[kPrivcmd].fd));
  EXPECT_FALSE(fake_.opened.contains(kXencomm));
}

TEST_F(XencommDeviceTest, IsTheDefaultWhereItIsThere) {
  EXPECT_EQ(SettingForXen(), "xencomm-device");
  EXPECT_FALSE(IsOpen(fd()));
  const auto client = *Client::Open();
  EXPECT_EQ(client->transport().fd(), fd());
  EXPECT_FALSE(fake_.opened.contains(kPrivcmd));
  EXPECT_EQ(*Client::Open("xencomm-device"), client) << "two settings for one";
  EXPECT_TRUE(std::holds_alternative<XencommDeviceSetting>(*ParseTransport("")));

  setenv("XENCOMM_TRANSPORT", "privcmd", 1);
  EXPECT_TRUE(std::holds_alternative<PrivcmdSetting>(*ParseTransport("")));
  unsetenv("XENCOMM_TRANSPORT");
}

// No node, or one without its module.
TEST_F(XencommDeviceTest, WithoutItPrivcmdIsTheDefault) {
  for (const int error : {ENOENT, ENODEV, ENXIO}) {
    fake_.open_errors[kXencomm] = {error, error};
    EXPECT_EQ(SettingForXen(), "privcmd");
    const auto client = Client::Open();
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ((*client)->transport().fd(), fake_.opened[kPrivcmd].fd);
  }
}

TEST_F(XencommDeviceTest, OneThatMayNotBeOpenedIsToldOf) {
  for (const int error : {EACCES, EPERM, EMFILE}) {
    fake_.open_errors[kXencomm] = {error, error};
    const absl::Status status = Client::Open().status();
    EXPECT_THAT(std::string(status.message()), StartsWith(kXencomm)) << error;
    EXPECT_FALSE(fake_.opened.contains(kPrivcmd));
  }
}

TEST_F(XencommDeviceTest, AHypercallIsPassedOnAsItIs) {
  const auto transport = *OpenTransport("xencomm-device");
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
               {0x1'2345'6789, 0, 0x1'2345'6789},  // more than an int
               {-1, EFAULT, -EFAULT},
               {-1, EPERM, -EPERM}};
  for (const auto& each : cases) {
    answer = each.answer;
    error = each.error;
    EXPECT_EQ(transport->Call(35, {11, 12, 13, 14, 15}), each.expected);
    EXPECT_EQ(seen.op, 35u) << "bit and handle are the module's to add";
    EXPECT_THAT(seen.arg, ElementsAre(11, 12, 13, 14, 15));
  }
}

TEST_F(XencommDeviceTest, TheArenaIsTheRegionBehindItsTable) {
  auto client = *Client::Open("xencomm-device");
  Arena& arena = client->arena();
  ASSERT_EQ(reserved_.size(), 1u);
  EXPECT_EQ(reserved_[0].virtual_base, At(arena.region().data()));
  EXPECT_EQ(reserved_[0].length, arena.region().size());
  EXPECT_EQ(arena.payload().size(), 256u << 20);
  EXPECT_EQ(reserved_[0].length % kPage, 0u);
  // A header of 32 bytes and a base of 8 for each page.
  const std::uint64_t table = 32 + reserved_[0].length / kPage * 8;
  std::byte* const payload = arena.payload().data();
  EXPECT_EQ(At(payload) - reserved_[0].virtual_base, (table + kPage - 1) / kPage * kPage);

  auto* const small = static_cast<char*>(*arena.Allocate(kPage));
  auto* const large = static_cast<char*>(*arena.Allocate(8 << 20));
  for (char* const memory : {small, large}) {
    EXPECT_EQ(MappingAt(memory).access, "rw-s");
    // Where it lies in the region is where it lies on the device.
    memory[1] = 'a';
    char there[3] = {};
    const auto offset = static_cast<off_t>(At(memory) - reserved_[0].virtual_base);
    EXPECT_EQ(pread(fd(), there, sizeof(there), offset), 3);
    EXPECT_THAT(there, ElementsAre('\0', 'a', '\0'));
  }
  EXPECT_TRUE(IsReserved(arena.region().data())) << "of the table there is nothing here";
  EXPECT_TRUE(IsReserved(payload - 1));
  EXPECT_TRUE(IsReserved(payload + arena.payload().size() - 1));

  client.reset();
  EXPECT_FALSE(IsMapped(payload - 1));
  EXPECT_FALSE(IsMapped(small));
  EXPECT_FALSE(IsMapped(large));
}

TEST_F(XencommDeviceTest, ARegionThatIsRefusedLeavesNothingReserved) {
  const struct {
    int error;
    absl::StatusCode code;
  } cases[] = {{ENOMEM, absl::StatusCode::kResourceExhausted},
               {EBUSY, absl::StatusCode::kFailedPrecondition},
               {EPERM, absl::StatusCode::kPermissionDenied},
               {EINVAL, absl::StatusCode::kInvalidArgument}};
  for (const auto& [error, code] : cases) {
    reserved_.clear();
    reserve_error_ = error;
    const absl::Status status = Client::Open("xencomm-device").status();
    EXPECT_EQ(status.code(), code);
    ASSERT_EQ(reserved_.size(), 1u);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("/dev/xen/xencomm makes no region of " +
                                std::to_string(reserved_[0].length) + " bytes"),
                      HasSubstr(strerrordesc_np(error))));
    EXPECT_FALSE(IsMapped(std::bit_cast<void*>(std::uintptr_t{reserved_[0].virtual_base})));
    EXPECT_FALSE(IsOpen(fd()));
  }
}

// A file that knows no regions answers so by itself.
TEST_F(XencommDeviceTest, AnotherDeviceInItsPlaceIsRefused) {
  const auto transport = *OpenTransport("xencomm-device");
  const FileDescriptor other(memfd_create("other", MFD_CLOEXEC));
  ASSERT_EQ(dup3(other.get(), fd(), O_CLOEXEC), fd());
  const auto backing = *transport->MakeBacking();
  EXPECT_THAT(std::string(backing->Reserve(16 * kPage).status().message()),
              HasSubstr("Inappropriate ioctl for device"));
  EXPECT_EQ(transport->Call(1, {}), -ENOTTY);
}

TEST_F(XencommDeviceTest, MemoryThatCannotBeHadLeavesTheRangeReserved) {
  const auto transport = *OpenTransport("xencomm-device");
  const auto backing = *transport->MakeBacking();
  const Backing::Reservation reservation = *backing->Reserve(16 * kPage);
  EXPECT_EQ(reservation.payload_offset, kPage);
  EXPECT_EQ(reservation.payload_size, 16 * kPage);
  std::byte* const payload = reservation.base + reservation.payload_offset;

  // By a file that may only be read, nothing is mapped for writing.
  const FileDescriptor device(fcntl(fd(), F_DUPFD_CLOEXEC, 0));
  const std::string path = "/proc/self/fd/" + std::to_string(fd());
  const FileDescriptor readable(openat(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(dup3(readable.get(), fd(), O_CLOEXEC), fd());
  const absl::Status status = backing->Populate(0, 2 * kPage);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("8192 bytes of /dev/xen/xencomm cannot be mapped"));
  for (int page = -1; page < 16; ++page) EXPECT_TRUE(IsReserved(payload + page * 4096)) << page;

  ASSERT_EQ(dup3(device.get(), fd(), O_CLOEXEC), fd());
  EXPECT_TRUE(backing->Populate(0, 2 * kPage).ok());
  EXPECT_TRUE(backing->Populate(2 * kPage, kPage).ok());
  EXPECT_TRUE(IsReserved(payload - 1));
  for (int page = 0; page < 3; ++page) EXPECT_EQ(MappingAt(payload + page * 4096).access, "rw-s");
  EXPECT_TRUE(IsReserved(payload + 3 * kPage));
  backing->Release();
  for (int page = -1; page < 16; ++page) EXPECT_FALSE(IsMapped(payload + page * 4096)) << page;
}

TEST_F(XencommDeviceTest, ARestrictionTakesTheDeviceAwayAndLeavesTheMemory) {
  const auto client = *Client::Open("xencomm-device");
  auto* const memory = static_cast<char*>(*client->arena().Allocate(kPage));
  EXPECT_EQ(client->Restrict(), 0);
  EXPECT_TRUE(IsOpen(fd()));
  EXPECT_FALSE(IsFakeDevice(fd()));
  EXPECT_EQ(client->Call(1), -ENOTTY);
  EXPECT_EQ(client->transport().Call(1, {}), -ENOTTY);
  memory[0] = 'a';
  EXPECT_EQ(MappingAt(memory).access, "rw-s");
}

TEST_F(XencommDeviceTest, AChildCallsByAClientOfItsOwn) {
  const auto client = *Client::Open("xencomm-device");
  fake_.call = [](const privcmd_hypercall_t&) { return 0L; };
  EXPECT_EQ(client->Call(1), 0);
  const int inherited = fd();
  const pid_t child = fork();
  if (child == 0) {
    if (client->Call(1) != -ESTALE) _exit(1);
    const auto own = Client::Open("xencomm-device");
    if (!own.ok() || *own == client) _exit(2);
    if (fd() == inherited || (*own)->transport().fd() != fd()) _exit(3);
    _exit((*own)->Call(1) == 0 ? 0 : 4);
  }
  int ended = -1;
  EXPECT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_EQ(ended, 0) << WEXITSTATUS(ended);
}

TEST_F(XencommDeviceTest, ShowsNoTranslation) {
  xencomm_context* const x = xencomm_open("xencomm-device");
  ASSERT_NE(x, nullptr) << xencomm_error();
  void* const memory = xencomm_alloc(x, 8);
  xencomm_translation translation = {};
  for (const xencomm_space space : {XENCOMM_SPACE_REGION, XENCOMM_SPACE_WALK}) {
    errno = 0;
    EXPECT_EQ(xencomm_translate(x, memory, space, &translation), -1);
    EXPECT_EQ(errno, ENOTSUP);
    EXPECT_THAT(xencomm_error(), HasSubstr("the region's table is the kernel's alone"));
  }
  EXPECT_EQ(xencomm_close(x), 0);
}

}  // namespace
}  // namespace xencomm
