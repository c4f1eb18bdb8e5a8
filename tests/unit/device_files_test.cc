// Devices' files between a machine and its clients: what names one, who may name it, when it ends.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "tests/unit/machine_of_clients.h"

namespace xencomm::machine {
namespace {

using ::testing::StartsWith;

std::string NameOf(int fd) {
  sockaddr_un address = {};
  socklen_t length = sizeof(address);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  if (getpeername(fd, name, &length) != 0) {
    length = sizeof(address);
    if (errno != ENOTCONN || getsockname(fd, name, &length) != 0) return "";
  }
  const std::size_t start = offsetof(sockaddr_un, sun_path);
  return length <= start ? "" : std::string(address.sun_path, length - start);
}

class DeviceFilesTest : public testing::Test {
 protected:
  DeviceFiles::Opened Open(xencomm_device device, int mode = O_RDWR) {
    auto opened = files_->Open(device, mode, nullptr);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }
  void Serve() {
    files_->Serve(
        [this](std::uint64_t file, xencomm_device, const auto&) { closed_.push_back(file); });
  }
  bool HasWork() {
    pollfd file = {.fd = files_->fd(), .events = POLLIN, .revents = 0};
    return poll(&file, 1, 0) == 1;
  }

  std::unique_ptr<DeviceFiles> files_ = *DeviceFiles::Create();
  std::vector<std::uint64_t> closed_;  // as was told
};

TEST_F(DeviceFilesTest, AreNamedByDeviceAndNumber) {
  const DeviceFiles::Opened privcmd = Open(XENCOMM_PRIVCMD);
  const DeviceFiles::Opened evtchn = Open(XENCOMM_EVTCHN, O_RDONLY);
  const std::string first = NameOf(privcmd.clients.get());
  EXPECT_THAT(first, StartsWith(std::string(1, '\0') + "xencomm/privcmd/" +
                                std::to_string(privcmd.id) + "/2/"));
  EXPECT_THAT(NameOf(evtchn.clients.get()), StartsWith(std::string(1, '\0') + "xencomm/evtchn/" +
                                                       std::to_string(evtchn.id) + "/0/"));
  EXPECT_NE(privcmd.id, evtchn.id);
  // What is written at one end comes out at the other.
  EXPECT_EQ(write(evtchn.clients.get(), "abc", 3), 3);
  char bytes[4] = {};
  EXPECT_EQ(read(evtchn.machines.get(), bytes, 4), 3);
  EXPECT_EQ(read(evtchn.machines.get(), bytes, 4), -1) << "nobody waits for a client";
  // Where there is nothing to be read or written.
  EXPECT_EQ(read(privcmd.clients.get(), bytes, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(write(privcmd.clients.get(), bytes, 4), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(DeviceFilesTest, AreClosedWhenNobodyHasThemAnyLonger) {
  DeviceFiles::Opened opened = Open(XENCOMM_PRIVCMD);
  const DeviceFiles::Opened other = Open(XENCOMM_PRIVCMD);
  auto first = std::make_optional<FileDescriptor>(std::move(opened.clients));
  auto copy = std::make_optional<FileDescriptor>(dup(first->get()));
  EXPECT_EQ(files_->Identify(first->get()), opened.id);
  EXPECT_EQ(files_->Identify(copy->get()), opened.id);
  first.reset();
  EXPECT_FALSE(HasWork());
  EXPECT_TRUE(files_->IsOpen(opened.id));
  copy.reset();
  EXPECT_TRUE(HasWork());
  Serve();
  EXPECT_FALSE(files_->IsOpen(opened.id));
  EXPECT_TRUE(files_->IsOpen(other.id));
  EXPECT_FALSE(HasWork()) << "though whoever served it has its end still";
  EXPECT_NE(Open(XENCOMM_PRIVCMD).id, opened.id);
}

TEST_F(DeviceFilesTest, NothingElseIsTakenForOne) {
  const DeviceFiles::Opened opened = Open(XENCOMM_EVTCHN);
  EXPECT_EQ(files_->Identify(opened.machines.get()), std::nullopt) << "the other end";
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const FileDescriptor one(pair[0]), two(pair[1]);
  EXPECT_EQ(files_->Identify(pair[0]), std::nullopt);
  const FileDescriptor null(open("/dev/null", O_RDONLY));
  EXPECT_EQ(files_->Identify(null.get()), std::nullopt);
  EXPECT_EQ(files_->Identify(-1), std::nullopt);
  // One that has the same name is another socket.
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = NameOf(opened.clients.get());
  name.copy(address.sun_path, sizeof(address.sun_path));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const FileDescriptor forged(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(bind(forged.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(forged.get(), 1), 0);
  const FileDescriptor lying(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(connect(lying.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(NameOf(lying.get()), name);
  EXPECT_EQ(files_->Identify(lying.get()), std::nullopt);
}

TEST_F(DeviceFilesTest, ARestrictedOneReachesOneDomain) {
  const DeviceFiles::Opened opened = Open(XENCOMM_PRIVCMD);
  const std::uint64_t id = opened.id;
  EXPECT_EQ(files_->MayReach(id, 5), 0);
  EXPECT_EQ(files_->MayCall(id, __HYPERVISOR_domctl, 0), 0);
  EXPECT_EQ(files_->Restrict(id, DOMID_INVALID), 0);
  EXPECT_EQ(files_->MayReach(id, 5), 0) << "that was no restriction";
  EXPECT_EQ(files_->Restrict(id, 5), 0);
  EXPECT_EQ(files_->Restrict(id, 5), 0);
  for (const std::uint16_t other : std::initializer_list<std::uint16_t>{6, 0, DOMID_INVALID}) {
    EXPECT_EQ(files_->Restrict(id, other), -EINVAL) << other;
    EXPECT_EQ(files_->MayReach(id, other), -EPERM) << other;
    EXPECT_EQ(files_->MayCall(id, __HYPERVISOR_dm_op, other), -EPERM) << other;
  }
  EXPECT_EQ(files_->MayReach(id, 5), 0);
  EXPECT_EQ(files_->MayCall(id, __HYPERVISOR_dm_op, 5), 0);
  EXPECT_EQ(files_->MayCall(id, __HYPERVISOR_dm_op, 5 | 1 << 16), -EPERM);
  EXPECT_EQ(files_->MayCall(id, __HYPERVISOR_domctl, 5), -EPERM);

  const DeviceFiles::Opened evtchn = Open(XENCOMM_EVTCHN);
  EXPECT_EQ(files_->MayCall(evtchn.id, __HYPERVISOR_domctl, 0), -EBADF);
  EXPECT_EQ(files_->MayReach(evtchn.id, 0), -EBADF);
  EXPECT_EQ(files_->Restrict(evtchn.id, 5), -EBADF);
  EXPECT_EQ(files_->MayCall(9999, __HYPERVISOR_domctl, 0), -EBADF);
}

class DevicesOfClientsTest : public testing::Test {
 protected:
  static std::int64_t Version(Connection& connection, std::uint64_t file) {
    return connection.Call({.file = file, .index = __HYPERVISOR_xen_version});
  }

  MachineOfClients machine_;
  std::shared_ptr<Connection> one_ = machine_.Connect();
  std::shared_ptr<Connection> other_ = machine_.Connect();
};

TEST_F(DevicesOfClientsTest, WhoNamesAFileHasShownIt) {
  const auto file = one_->OpenDevice(XENCOMM_PRIVCMD, O_RDWR);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Version(*one_, file->id), 4 << 16 | 17);
  EXPECT_EQ(Version(*other_, file->id), -EBADF);
  EXPECT_FALSE(other_->Reaches(file->id, 0).ok());
  EXPECT_FALSE(other_->RestrictFile(file->id, 3).ok());
  std::uint64_t mfn;
  int error;
  const std::uint64_t gfn = 3000;
  EXPECT_NE(other_->HoldBy(file->id, 0, {&gfn, 1}, Access::kRead, {&mfn, 1}, {&error, 1}), 0);

  const auto attached = other_->Attach(file->fd.get());
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(*attached, file->id);
  EXPECT_EQ(Version(*other_, file->id), 4 << 16 | 17);
  EXPECT_EQ(Version(*one_, file->id + 1), -EBADF);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const FileDescriptor first(pair[0]), second(pair[1]);
  EXPECT_FALSE(other_->Attach(pair[0]).ok());
}

TEST_F(DevicesOfClientsTest, ARestrictionIsTheFilesWhoeverHasIt) {
  const auto file = one_->OpenDevice(XENCOMM_PRIVCMD, O_RDWR);
  const auto free = one_->OpenDevice(XENCOMM_PRIVCMD, O_RDWR);
  ASSERT_TRUE(file.ok() && free.ok());
  ASSERT_TRUE(other_->Attach(file->fd.get()).ok());
  EXPECT_EQ(*one_->RestrictFile(file->id, 3), 0);
  EXPECT_EQ(*other_->RestrictFile(file->id, 4), EINVAL);
  for (Connection* each : {one_.get(), other_.get()}) {
    EXPECT_EQ(Version(*each, file->id), kRefusedByFile);
    EXPECT_EQ(*each->Reaches(file->id, 0), EPERM);
    EXPECT_EQ(*each->Reaches(file->id, 3), 0);
    std::uint64_t mfn;
    int error;
    const std::uint64_t gfn = 3000;
    EXPECT_NE(each->HoldBy(file->id, 0, {&gfn, 1}, Access::kRead, {&mfn, 1}, {&error, 1}), 0);
  }
  EXPECT_EQ(Version(*one_, free->id), 4 << 16 | 17);
  EXPECT_EQ(machine_.statistics().held_frames, 0u);
}

// Xen's hypercalls, and none of this library's own.
TEST_F(DevicesOfClientsTest, AFileMakesNoCallsOfAKernel) {
  const auto file = one_->OpenDevice(XENCOMM_PRIVCMD, O_RDWR);
  ASSERT_TRUE(file.ok());
  for (const std::uint64_t index :
       {kXencommOp, kRegionCall | __HYPERVISOR_xen_version, kRegionCall | kXencommOp}) {
    EXPECT_EQ(one_->Call({.file = file->id, .index = index}), -ENOSYS) << index;
  }
}

TEST_F(DevicesOfClientsTest, OneClientNamesSoManyFilesAndNoMore) {
  std::vector<Connection::File> files;
  absl::Status status;
  while (status.ok() && files.size() <= ClientSession::kMostFiles) {
    auto file = one_->OpenDevice(XENCOMM_PRIVCMD, O_RDWR);
    status = file.status();
    if (status.ok()) files.push_back(*std::move(file));
  }
  // Or as many as this process may have descriptors.
  EXPECT_LE(files.size(), ClientSession::kMostFiles);
  const std::uint64_t last = files.back().id;
  files.clear();
  for (int i = 0; i < 1000 && Version(*one_, last) != -EBADF; ++i) usleep(1000);
  EXPECT_EQ(Version(*one_, last), -EBADF);
  EXPECT_TRUE(one_->OpenDevice(XENCOMM_PRIVCMD, O_RDWR).ok());
}

}  // namespace
}  // namespace xencomm::machine
