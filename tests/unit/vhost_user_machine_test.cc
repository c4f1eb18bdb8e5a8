// The block back-end as a process of domain 0: another domain's disk, by foreign memory of a
// machine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/foreign_memory.h"
#include "tests/unit/machine_of_clients.h"
#include "tests/unit/vhost_user_disk.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::HasSubstr;

constexpr std::uint16_t kGuest = 9;
constexpr std::size_t kPages = 64;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kDataAt = 5 * kPage, kHeaderAt = 3 * kPage, kStatusAt = 4 * kPage;

class VhostUserMachineTest : public testing::Test {
 protected:
  void SetUp() override {
    auto& hypervisor = machine_.machine().hypervisor();
    ASSERT_EQ(hypervisor.BuildDomain({.id = kGuest, .pages = kPages, .vcpus = 1}), 0);
    guest_pages_ = Mapper();
    ASSERT_EQ(guest_pages_->MapFrames(kGuest, 0, kPages, Access::kWrite, &guest_), 0);
    held_ = held();
    mapper_ = Mapper();
  }
  void TearDown() override {
    session_.reset();
    EXPECT_EQ(held(), held_) << "but for what the test has mapped";
  }

  std::unique_ptr<XenPageMapper> Mapper(XenPageMapper::GrantMapper grants = nullptr) {
    auto frames = OpenForeignMemory("machine:" + machine_.path());
    EXPECT_TRUE(frames.ok()) << frames.status();
    return std::make_unique<XenPageMapper>(*std::move(frames), std::move(grants), kGuest);
  }
  std::uint64_t held() {
    return hypervisor::Books::StatisticsOf(machine_.machine().hypervisor()).held_frames;
  }
  static MemoryRegion Frames(std::uint16_t domain, std::uint64_t first, std::uint64_t count) {
    return {.guest_address = first * kPage,
            .size = count * kPage,
            .user_address = 0x5000'0000,
            .flags = MemoryRegion::kForeign,
            .domain = domain};
  }
  int Share(const std::vector<MemoryRegion>& regions) {
    return front_end_->Do(Request::kSetMemTable, WriteRegions(regions, MemoryRegion::Form::kXen),
                          std::vector<int>(regions.size(), null_.get()));
  }
  void Connect() {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    session_ = std::make_unique<Session>(FileDescriptor(ends[0]), *device_, mapper_.get(),
                                         [this](const std::string& told) { told_ = told; });
    front_end_ = std::make_unique<FrontEnd>(FileDescriptor(ends[1]), [this] {
      for (int i = 0; i < 4; ++i) EXPECT_TRUE(session_->Turn(-1, 0).ok());
    });
    front_end_->Negotiate(FrontEnd::kXenProtocol, kProtocolFeatures);
  }

  machine::MachineOfClients machine_;
  Image image_;
  std::unique_ptr<BlockDevice> device_ = *BlockDevice::Open(image_.path(), false);
  std::unique_ptr<XenPageMapper> guest_pages_, mapper_;
  std::unique_ptr<MappedPages> guest_;
  std::uint64_t held_ = 0;
  const FileDescriptor null_{open("/dev/null", O_RDWR | O_CLOEXEC)};
  std::string told_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FrontEnd> front_end_;
};

// What SharedGuest says of the ring: it lies in the first pages, at the front-end's addresses.
VringAddress RingAt(std::uint64_t user) {
  return {.descriptors = user + Driver::kDescriptorsAt,
          .used = user + Driver::kUsedAt,
          .available = user + Driver::kAvailableAt};
}

TEST_F(VhostUserMachineTest, ServesADomainsDiskByItsFrames) {
  Connect();
  ASSERT_EQ(Share({Frames(kGuest, 0, kPages)}), 0);
  EXPECT_EQ(held(), held_ + kPages);
  Driver driver(
      {guest_->start(), kPages * kPage}, [](std::uint64_t at) { return at; }, 8);
  const FileDescriptor kick(eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(front_end_->Do(Request::kSetVringNum, VringState{0, 8}.Write()), 0);
  EXPECT_EQ(front_end_->Do(Request::kSetVringAddr, RingAt(0x5000'0000).Write()), 0);
  EXPECT_EQ(front_end_->Do(Request::kSetVringKick, VringFile{0, true}.Write(),
                           std::vector<int>{kick.get()}),
            0);
  EXPECT_EQ(front_end_->Do(Request::kSetVringEnable, VringState{0, 1}.Write()), 0);

  const auto read = [&](std::uint64_t sector) {
    driver.Store<std::uint32_t>(kHeaderAt, VIRTIO_BLK_T_IN);
    driver.Store<std::uint64_t>(kHeaderAt + 8, sector);
    *driver.At(kStatusAt) = std::byte{0xee};
    const Driver::Buffer buffers[] = {
        {kHeaderAt, 16}, {kDataAt, 16 * 1024, true}, {kStatusAt, 1, true}};
    driver.DescribeChain(0, 0, buffers);
    driver.Offer(0);
    const std::uint64_t one = 1;
    EXPECT_EQ(write(kick.get(), &one, 8), 8);
    EXPECT_TRUE(session_->Turn(-1, 0).ok());
    EXPECT_EQ(driver.TakeUsed()->written, 16u * 1024 + 1);
    EXPECT_EQ(*driver.At(kStatusAt), std::byte{VIRTIO_BLK_S_OK});
    EXPECT_EQ(std::vector(driver.At(kDataAt), driver.At(kDataAt + 16 * 1024)),
              image_.Read(sector * 512, 16 * 1024));
  };
  read(5);
  // Its domain dies: what is mapped stays until the back-end lets it go.
  const std::shared_ptr<Client> client = machine_.Open();
  const auto op = *client->arena().New<xen_domctl>(Contents::kCleared);
  op->cmd = XEN_DOMCTL_destroydomain;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op->domain = kGuest;
  EXPECT_EQ(client->Call(__HYPERVISOR_domctl, op.get()), 0);
  read(77);
  EXPECT_NE(Share({Frames(kGuest, 0, 1)}), 0) << "there is no such domain";
  read(7);
}

TEST_F(VhostUserMachineTest, FramesThatThereAreNotLeaveNoneMapped) {
  Connect();
  EXPECT_EQ(Share({Frames(kGuest, kPages - 1, 2)}), EINVAL);
  EXPECT_EQ(held(), held_);
  EXPECT_NE(Share({Frames(0, 0, 1)}), 0) << "it is another domain's";
  EXPECT_THAT(told_, HasSubstr("of domain 0"));
  EXPECT_NE(Share({Frames(10, 0, 1)}), 0);
  // 2^40 of them: their numbers alone would be 8 TiB.
  EXPECT_NE(Share({Frames(kGuest, 0, std::uint64_t{1} << 39)}), 0);
  EXPECT_EQ(held(), held_);
}

TEST_F(VhostUserMachineTest, GrantsAreTheirMappers) {
  MemoryRegion grants = Frames(kGuest, 0, 2);
  grants.guest_address = MemoryRegion::kGrantAddress | 5 * kPage;
  grants.flags = MemoryRegion::kGrants;
  Connect();
  EXPECT_NE(Share({grants}), 0) << "there is none";
  std::vector<std::uint32_t> asked;
  mapper_ = Mapper([&](std::uint16_t domain, std::uint32_t first, std::size_t count, Access access,
                       std::unique_ptr<MappedPages>* pages) {
    asked.push_back(first);
    // As many frames stand for what is granted.
    return guest_pages_->MapFrames(domain, first, count, access, pages);
  });
  Connect();
  EXPECT_EQ(Share({grants}), 0);
  EXPECT_THAT(asked, testing::ElementsAre(5u));
  EXPECT_EQ(held(), held_ + 2);
  grants.domain = 0;
  EXPECT_NE(Share({grants}), 0);
  EXPECT_EQ(asked.size(), 1u) << "nobody else's";
}

}  // namespace
}  // namespace xencomm::vhost_user
