// The block back-end as a process of domain 0: another domain's disk, by foreign memory of a
// machine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <map>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "hcall/sharing/vhost_user/granted_pages.h"
#include "hcall/transport/foreign_memory.h"
#include "tests/unit/machine_of_clients.h"
#include "tests/unit/vhost_user_disk.h"
#include "xencomm/grant_share.h"
#include "xencomm/mapper.h"

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

// The front-end is a process of another domain: what it shares, it grants by gntalloc. Domain 0
// may also map it as the domain's frames.
class AnotherDomainsDisk : public testing::TestWithParam<Sharing> {
 protected:
  static constexpr std::size_t kPages = 8;  // descriptors, available, used, header, status, data
  static constexpr std::uint64_t kDataPages = 3;
  static constexpr std::uint64_t kUser = 0x7f00'0000'0000;
  static constexpr std::uint64_t kMark = 0x1234'5678'9abc'def0;

  void SetUp() override {
    auto made = machine::Connection::Open(
        {.path = machine_.path(), .domain = machine::kNewDomain | std::uint64_t{32} << 20});
    ASSERT_TRUE(made.ok()) << made.status();
    domain_ = *std::move(made);
    // The domain's grant table stays held once it has lent a page.
    EXPECT_TRUE(GrantShare::Open(setting(true))->Allocate(0, 1, Access::kRead).ok());
    held_ = held();
  }
  std::string setting(bool is_guests = false) const {
    return "machine:" + machine_.path() +
           (is_guests ? ",domain=" + std::to_string(domain_->domain()) : std::string());
  }
  std::uint64_t held() { return machine_.statistics().held_frames; }

  // Which frames of the domain are the pages that `start` leads to.
  std::vector<std::uint64_t> FramesOf(std::byte* start) const {
    for (std::size_t i = 0; i < kPages; ++i) {
      const std::uint64_t mark = kMark + i;
      std::memcpy(start + i * kPage, &mark, sizeof(mark));
    }
    std::vector<std::uint64_t> all(32 << 8), found(kPages, ~std::uint64_t{0});
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    std::vector<int> errors(all.size());
    const auto mapper = Mapper::Open(setting());
    const auto mapped = (*mapper)->MapFrames(domain_->domain(), all, Access::kRead, errors);
    if (!mapped.ok()) return {};
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (errors[i] != 0) continue;
      std::uint64_t mark;
      std::memcpy(&mark, mapped->data() + i * kPage, sizeof(mark));
      if (mark - kMark < kPages) found[mark - kMark] = i;
    }
    std::memset(start, 0, kPages * kPage);
    return found;
  }

  // The front-end's whole life: how many of its expectations were wrong.
  int FrontEndProcess(FileDescriptor socket) const {
    auto share = GrantShare::Open(setting(true));
    if (!share.ok()) return 100;
    const auto lent = share->Allocate(0, kPages, Access::kWrite);
    if (!lent.ok()) return 101;
    std::byte* const start = *share->Map(lent->page, kPages, Access::kWrite);
    for (std::size_t i = 1; i < kPages; ++i) {
      if (lent->refs[i] != lent->refs[0] + i) return 102;  // a region has references in a row
    }
    const std::vector<std::uint64_t> frames = FramesOf(start);
    if (frames.empty()) return 103;

    const auto is_frame = [](std::size_t page) {
      return GetParam() == Sharing::kForeign ||
             (GetParam() == Sharing::kMixed && page > 3 && page % 2 == 0);
    };
    const auto by_grant = [&](std::uint64_t at) {
      return MemoryRegion::kGrantAddress | (lent->refs[0] * kPage + at);
    };
    std::vector<MemoryRegion> regions;
    const auto grants = [&](std::size_t page, std::size_t count, std::uint32_t flags) {
      regions.push_back({.guest_address = by_grant(page * kPage),
                         .size = count * kPage,
                         .flags = MemoryRegion::kGrants | flags,
                         .domain = domain_->domain()});
    };
    for (std::size_t i = 0; i < kPages; ++i) {
      if (is_frame(i)) {
        regions.push_back({.guest_address = frames[i] * kPage,
                           .size = kPage,
                           .user_address = kUser + i * kPage,
                           .flags = MemoryRegion::kForeign,
                           .domain = domain_->domain()});
      } else if (i < 3) {
        grants(i, 1, 0);
      }
    }
    if (GetParam() != Sharing::kForeign) grants(3, kPages - 3, MemoryRegion::kNoAdvance);

    FrontEnd front_end(std::move(socket), [] {});
    front_end.Negotiate(FrontEnd::kXenProtocol, kProtocolFeatures);
    const FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
    EXPECT_EQ(front_end.Do(Request::kSetMemTable, WriteRegions(regions, MemoryRegion::Form::kXen),
                           std::vector<int>(regions.size(), null.get())),
              0);
    const FileDescriptor kick(eventfd(0, EFD_CLOEXEC)), call(eventfd(0, EFD_CLOEXEC));
    const std::uint64_t ring = GetParam() == Sharing::kForeign ? kUser : by_grant(0);
    EXPECT_EQ(front_end.Do(Request::kSetVringNum, VringState{0, 8}.Write()), 0);
    EXPECT_EQ(front_end.Do(Request::kSetVringAddr, RingAt(ring).Write()), 0);
    EXPECT_EQ(front_end.Do(Request::kSetVringCall, VringFile{0, true}.Write(),
                           std::vector<int>{call.get()}),
              0);
    EXPECT_EQ(front_end.Do(Request::kSetVringKick, VringFile{0, true}.Write(),
                           std::vector<int>{kick.get()}),
              0);
    EXPECT_EQ(front_end.Do(Request::kSetVringEnable, VringState{0, 1}.Write()), 0);

    Driver driver(
        {start, kPages * kPage},
        [&](std::uint64_t at) {
          return is_frame(at / kPage) ? frames[at / kPage] * kPage + at % kPage : by_grant(at);
        },
        8);
    const auto make = [&](std::uint32_t type, std::uint64_t sector) {
      driver.Store<std::uint32_t>(kHeaderAt, type);
      driver.Store<std::uint64_t>(kHeaderAt + 8, sector);
      *driver.At(kStatusAt) = std::byte{0xee};
      std::vector<Driver::Buffer> buffers = {{kHeaderAt, 16}};
      for (std::uint64_t i = 0; i < kDataPages; ++i) {
        buffers.push_back({kDataAt + i * kPage, kPage, type == VIRTIO_BLK_T_IN});
      }
      buffers.push_back({kStatusAt, 1, true});
      driver.DescribeChain(0, 0, buffers);
      driver.Offer(0);
      std::uint64_t count = 1;
      EXPECT_EQ(write(kick.get(), &count, 8), 8);
      pollfd about = {.fd = call.get(), .events = POLLIN, .revents = 0};
      EXPECT_EQ(poll(&about, 1, 10'000), 1);
      EXPECT_EQ(read(call.get(), &count, 8), 8);
      EXPECT_TRUE(driver.TakeUsed().has_value());
      return std::to_integer<int>(*driver.At(kStatusAt));
    };
    constexpr std::size_t kBytes = kDataPages * kPage;
    EXPECT_EQ(make(VIRTIO_BLK_T_IN, 7), VIRTIO_BLK_S_OK);
    for (std::size_t i = 0; i < kBytes; ++i) {
      if (*driver.At(kDataAt + i) != Image::At(7 * 512 + i)) return 104;
    }
    for (std::size_t i = 0; i < kBytes; ++i) *driver.At(kDataAt + i) = std::byte{0x5a};
    EXPECT_EQ(make(VIRTIO_BLK_T_OUT, 100), VIRTIO_BLK_S_OK);
    EXPECT_EQ(make(VIRTIO_BLK_T_IN, 99), VIRTIO_BLK_S_OK);
    EXPECT_EQ(*driver.At(kDataAt + 511), Image::At(99 * 512 + 511));
    EXPECT_EQ(*driver.At(kDataAt + 512), std::byte{0x5a});
    if (GetParam() == Sharing::kGrants) {
      // A page whose grant is taken back fails its request alone.
      EXPECT_TRUE(share->Revoke(lent->refs[6]).ok());
      EXPECT_EQ(make(VIRTIO_BLK_T_IN, 7), VIRTIO_BLK_S_IOERR);
      EXPECT_FALSE(share->Revoke(lent->refs[0]).ok()) << "the ring is mapped";
    }
    return testing::Test::HasFailure() ? 105 : 0;
  }

  machine::MachineOfClients machine_;
  std::shared_ptr<machine::Connection> domain_;
  std::uint64_t held_ = 0;
  Image image_;
};

INSTANTIATE_TEST_SUITE_P(, AnotherDomainsDisk,
                         testing::Values(Sharing::kForeign, Sharing::kGrants, Sharing::kMixed),
                         [](const auto& tested) { return NameOf(tested.param); });

TEST_P(AnotherDomainsDisk, IsServedToItsProcess) {
  auto frames = OpenForeignMemory(setting());
  ASSERT_TRUE(frames.ok()) << frames.status();
  auto grants = OpenGrantMapper(setting());
  ASSERT_TRUE(grants.ok()) << grants.status();
  XenPageMapper mapper(*std::move(frames), *std::move(grants), domain_->domain());
  const auto device = *BlockDevice::Open(image_.path(), false);
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const int result = FrontEndProcess(FileDescriptor(ends[1]));
    std::fflush(nullptr);
    _exit(result);
  }
  close(ends[1]);
  std::vector<std::string> told;
  {
    Session session(FileDescriptor(ends[0]), *device, &mapper,
                    [&](const std::string& sentence) { told.push_back(sentence); });
    // Until the front-end has gone.
    while (session.Turn(-1, 100).ok()) {
    }
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
  EXPECT_THAT(told, testing::IsEmpty());
  EXPECT_EQ(image_.Read(100 * 512, 3 * kPage), std::vector<std::byte>(3 * kPage, std::byte{0x5a}));
  for (int i = 0; i < 2000 && held() != held_; ++i) usleep(1000);
  EXPECT_EQ(held(), held_) << "nothing stays mapped";
}

TEST_P(AnotherDomainsDisk, AGrantThatMayNotBeWrittenSaysSo) {
  auto share = *GrantShare::Open(setting(true));
  const auto pages = *share.Allocate(0, 3, Access::kRead);
  const auto grants = *OpenGrantMapper(setting());
  std::unique_ptr<MappedPages> mapped;
  EXPECT_EQ(grants(domain_->domain(), pages.refs[0], 3, Access::kWrite, &mapped), -EACCES);
  EXPECT_EQ(mapped, nullptr);
  EXPECT_EQ(grants(domain_->domain(), pages.refs[0], 3, Access::kRead, &mapped), 0);
  std::unique_ptr<MappedPages> none;
  EXPECT_EQ(grants(domain_->domain(), 9000, 1, Access::kRead, &none), -EINVAL);
  EXPECT_EQ(grants(domain_->domain(), 0xffffffff, 2, Access::kRead, &none), -EINVAL);
  EXPECT_EQ(none, nullptr);
}

}  // namespace
}  // namespace xencomm::vhost_user
