// A back-end at a socket, in a thread of its own: front-ends that come, misbehave and go.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <cstdlib>
#include <thread>

#include "hcall/sharing/vhost_user/server.h"
#include "tests/unit/vhost_user_disk.h"
#include "xencomm/mutex.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class VhostUserServerTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kPage = FakePages::kPage;

  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    auto server = Server::Listen(path());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    thread_ = std::thread([this] {
      EXPECT_TRUE(server_
                      ->Run(stop_.get(), *device_, &pages_,
                            [this](const std::string& sentence) {
                              MutexLock lock(mutex_);
                              told_.push_back(sentence);
                            })
                      .ok());
    });
  }
  void TearDown() override {
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof(one)), 8);
    thread_.join();
    server_.reset();
    EXPECT_EQ(pages_.mapped_pages(), 0);
    EXPECT_EQ(rmdir(folder_.c_str()), 0) << "nothing is left in it";
  }

  std::string path() const { return folder_ + "/socket"; }
  FileDescriptor Connect() {
    FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  std::vector<std::string> told() {
    MutexLock lock(mutex_);
    return told_;
  }
  // All of a front-end's life: the status of a request to read.
  int ReadOnce(Sharing sharing) {
    FrontEnd front_end(Connect(), [] {});
    const SharedGuest guest(pages_, sharing, 16);
    Driver driver = guest.MakeDriver();
    std::memset(pages_.bytes().data(), 0, 8 * kPage);
    front_end.Negotiate(
        sharing == Sharing::kPlain ? FrontEnd::kXenProtocol & ~kXenMmap : FrontEnd::kXenProtocol,
        kProtocolFeatures | Virtqueue::kEventIndex);
    EXPECT_EQ(front_end.Share(guest), 0);
    EXPECT_EQ(front_end.StartRing(guest), 0);
    const Driver::Buffer buffers[] = {
        {3 * kPage, 16}, {5 * kPage, 2048, true}, {4 * kPage, 1, true}};
    int status = -1;
    for (std::uint16_t i = 0; i < 20; ++i) {
      *driver.At(4 * kPage) = std::byte{0xee};
      driver.Store<std::uint64_t>(3 * kPage + 8, i);
      driver.DescribeChain(0, 0, buffers);
      driver.SetUsedEvent(i);
      driver.Offer(0);
      front_end.Kick();
      EXPECT_TRUE(front_end.WaitForCall());
      EXPECT_TRUE(driver.TakeUsed().has_value());
      status = std::to_integer<int>(*driver.At(4 * kPage));
      EXPECT_EQ(std::vector(driver.At(5 * kPage), driver.At(5 * kPage + 2048)),
                image_.Read(512 * std::size_t{i}, 2048));
    }
    return status;
  }

  std::string folder_ = "/tmp/xencomm-vhost-XXXXXX";
  FakePages pages_{64};
  Image image_;
  std::unique_ptr<BlockDevice> device_ = *BlockDevice::Open(image_.path(), false);
  std::unique_ptr<Server> server_;
  const FileDescriptor stop_{eventfd(0, EFD_CLOEXEC)};
  Mutex mutex_;
  std::vector<std::string> told_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

TEST_F(VhostUserServerTest, FrontEndsAreServedOneAfterTheOther) {
  for (const Sharing sharing : kAllSharings) {
    EXPECT_EQ(ReadOnce(sharing), VIRTIO_BLK_S_OK) << NameOf(sharing);
  }
  EXPECT_THAT(told(), testing::IsEmpty());
}

TEST_F(VhostUserServerTest, WhatOneFrontEndSaysIsNotTheNextOnes) {
  const std::byte garbage[100] = {std::byte{0xff}};
  for (const std::size_t bytes : {0u, 1u, 12u, 100u}) {
    const FileDescriptor fd = Connect();
    ASSERT_EQ(write(fd.get(), garbage, bytes), static_cast<ssize_t>(bytes));
  }
  EXPECT_EQ(ReadOnce(Sharing::kGrants), VIRTIO_BLK_S_OK);
  EXPECT_THAT(told(), Contains(HasSubstr("expected a request of version 1")));
}

TEST_F(VhostUserServerTest, OneThatWaitsIsServedWhenTheOtherIsGone) {
  auto first = std::make_unique<FrontEnd>(Connect(), [] {});
  EXPECT_EQ(first->AskU64(Request::kGetQueueNum), 16u);
  FrontEnd second(Connect(), [] {});
  second.Send(Request::kGetQueueNum, {});
  EXPECT_FALSE(second.has_answer());
  first.reset();
  EXPECT_EQ(ReadU64(*second.Receive(Request::kGetQueueNum)), 16u);
}

TEST_F(VhostUserServerTest, ItEndsWhileAFrontEndIsThere) {
  FrontEnd front_end(Connect(), [] {});
  EXPECT_EQ(front_end.AskU64(Request::kGetQueueNum), 16u);
  // By TearDown.
}

TEST_F(VhostUserServerTest, TheSocketIsOneBackEndsAndOfOneUser) {
  struct stat about;
  ASSERT_EQ(stat(path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  EXPECT_TRUE(absl::IsAlreadyExists(Server::Listen(path()).status()));
  EXPECT_EQ(ReadOnce(Sharing::kForeign), VIRTIO_BLK_S_OK) << "which has not harmed it";
}

TEST(VhostUserListenTest, ASocketThatWasLeftIsReplacedAndNothingElse) {
  char folder[] = "/tmp/xencomm-vhost-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/socket";
  {
    const FileDescriptor left(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_TRUE(Server::Listen(path).ok());
  const FileDescriptor file(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  EXPECT_FALSE(Server::Listen(path).ok());
  EXPECT_EQ(unlink(path.c_str()), 0) << "it is still there";
  EXPECT_FALSE(Server::Listen(path + "/no").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Server::Listen(std::string(108, 'x')).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Server::Listen("").status()));
  EXPECT_EQ(rmdir(folder), 0);
}

}  // namespace
}  // namespace xencomm::vhost_user
