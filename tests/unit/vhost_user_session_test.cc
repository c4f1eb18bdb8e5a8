// What a back-end and a front-end say to one another, and what is left when one of them stops.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>

#include "tests/unit/vhost_user_disk.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kProtocol = FrontEnd::kXenProtocol;

class SessionTest : public DiskTest {
 protected:
  // A request that ends the connection.
  void ExpectEnds(const char* sentence) {
    Turn();
    EXPECT_EQ(session_, nullptr);
    EXPECT_THAT(std::string(status_.message()), HasSubstr(sentence));
    EXPECT_EQ(front_end_->Receive(Request::kGetFeatures), std::nullopt);
    EXPECT_EQ(pages_.mapped_pages(), 0);
  }
};

TEST_F(SessionTest, OffersWhatItAndItsDeviceCan) {
  EXPECT_EQ(front_end_->AskU64(Request::kGetFeatures),
            device_->features() | 1ull << 28 | 1ull << 29 | 1ull << 30 | 1ull << 32);
  EXPECT_EQ(front_end_->AskU64(Request::kGetProtocolFeatures),
            1ull << 0 | 1ull << 3 | 1ull << 9 | 1ull << 15 | 1ull << 17);
  EXPECT_EQ(front_end_->AskU64(Request::kGetQueueNum), 16u);
  EXPECT_EQ(front_end_->AskU64(Request::kGetMaxMemSlots), 256u);
}

TEST_F(SessionTest, RegionsOfXensAreOfferedOnlyWhereTheyCanBeMapped) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  session_ = std::make_unique<Session>(FileDescriptor(ends[0]), *device_, nullptr,
                                       [](const std::string&) {});
  front_end_ = std::make_unique<FrontEnd>(FileDescriptor(ends[1]), [this] { Turn(); });
  EXPECT_EQ(front_end_->AskU64(Request::kGetProtocolFeatures) & kXenMmap, 0u);
  front_end_->Send(Request::kSetProtocolFeatures, WriteU64(kXenMmap));
  ExpectEnds("protocol features 0x20000");
}

TEST_F(SessionTest, NothingIsAcceptedThatWasNotOffered) {
  front_end_->Negotiate(kProtocol, kFeatures);
  EXPECT_EQ(front_end_->Do(Request::kSetFeatures, WriteU64(1ull << 26)), EINVAL);
  EXPECT_EQ(front_end_->Do(Request::kSetProtocolFeatures, WriteU64(kProtocol | 1 << 1)), EINVAL);
  EXPECT_EQ(front_end_->Do(Request::kSetProtocolFeatures, WriteU64(kProtocol)), 0);
}

TEST_F(SessionTest, AnswersAreGivenToWhoAcceptedThemAndAsks) {
  front_end_->Send(Request::kSetOwner, {}, {}, Header::kVersion | Header::kNeedReply);
  Turn();
  EXPECT_FALSE(front_end_->has_answer()) << "it was not accepted";
  front_end_->Send(Request::kSetProtocolFeatures, WriteU64(kReplyAck));
  Turn();
  EXPECT_FALSE(front_end_->has_answer()) << "it was not asked";
  EXPECT_EQ(front_end_->Do(Request::kSetOwner, {}), 0);
  // One that has an answer of its own has no other.
  front_end_->Send(Request::kGetQueueNum, {}, {}, Header::kVersion | Header::kNeedReply);
  Turn();
  EXPECT_EQ(ReadU64(*front_end_->Receive(Request::kGetQueueNum)), 16u);
  EXPECT_FALSE(front_end_->has_answer());
}

TEST_F(SessionTest, UnknownRequestsAreAnsweredOrEndTheConnection) {
  front_end_->Negotiate(kProtocol, kFeatures);
  // Logs, RARP, IOTLB, the message that was proposed for Xen, and one that nobody knows.
  for (const std::uint32_t request : {0u, 6u, 19u, 22u, 31u, 41u, 1000u, 0xffffffffu}) {
    EXPECT_EQ(front_end_->Do(Request{request}, WriteU64(0)), EOPNOTSUPP) << request;
  }
  EXPECT_THAT(told_, Contains(HasSubstr("request 41: expected")));
  front_end_->Send(Request{41}, WriteU64(0));
  ExpectEnds("request 41");
}

TEST_F(SessionTest, WhatFailsWithoutAnAnswerEndsTheConnection) {
  front_end_->Negotiate(kProtocol, kFeatures);
  front_end_->Send(Request::kSetVringNum, VringState{0, 3}.Write());
  ExpectEnds("ring 0 of 3 entries");
}

TEST_F(SessionTest, WhatIsNoMessageEndsTheConnection) {
  for (const std::uint32_t flags : {0u, 2u, 5u}) {
    Connect();
    front_end_->Send(Request::kGetFeatures, {}, {}, flags);
    ExpectEnds("expected a request of version 1");
  }
}

TEST_F(SessionTest, PayloadsAndDescriptorsAreThoseOfTheRequest) {
  Start(Sharing::kForeign);
  const int file = pages_.fd();
  const std::vector<int> none, one = {file}, two = {file, file};
  const struct {
    Request request;
    std::vector<std::byte> good;
    std::vector<int> files;
  } cases[] = {
      {Request::kSetOwner, {}, {}},
      {Request::kResetOwner, {}, {}},
      {Request::kSetFeatures, WriteU64(kFeatures), {}},
      {Request::kSetProtocolFeatures, WriteU64(kProtocol), {}},
      {Request::kSetVringNum, VringState{1, 4}.Write(), {}},
      {Request::kSetVringBase, VringState{1, 4}.Write(), {}},
      {Request::kSetVringEnable, VringState{1, 0}.Write(), {}},
      {Request::kSetVringAddr, guest_->ring(0).Write(), {}},
      {Request::kSetMemTable, WriteRegions(guest_->regions(), guest_->form()), one},
      {Request::kAddMemReg,
       WriteRegion({.guest_address = 1ull << 40, .size = 1}, MemoryRegion::Form::kXen), one},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(static_cast<std::uint32_t>(each.request));
    EXPECT_EQ(front_end_->Do(each.request, each.good, each.files), 0);
    std::vector<std::byte> wrong = each.good;
    wrong.push_back({});
    EXPECT_EQ(front_end_->Do(each.request, wrong, each.files), EINVAL);
    if (!each.good.empty()) {
      wrong.resize(each.good.size() - 1);
      EXPECT_EQ(front_end_->Do(each.request, wrong, each.files), EINVAL);
    }
    const std::vector<int>& other = each.files.empty() ? one : two;
    EXPECT_EQ(front_end_->Do(each.request, each.good, other), EINVAL);
    if (!each.files.empty()) {
      EXPECT_EQ(front_end_->Do(each.request, each.good, none), EINVAL);
    }
  }
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 512), kOk) << "the ring is as it was";
  for (const Request request : {Request::kGetFeatures, Request::kGetProtocolFeatures,
                                Request::kGetQueueNum, Request::kGetVringBase}) {
    Connect();
    front_end_->Send(request, std::vector<std::byte>(9));
    ExpectEnds("with 9 bytes and 0 descriptors");
  }
}

TEST_F(SessionTest, TheConfigurationIsReadInParts) {
  front_end_->Negotiate(kProtocol, kFeatures);
  const auto config = device_->config();
  const auto get = [&](std::uint32_t offset, std::uint32_t size) {
    return *front_end_->Ask(Request::kGetConfig, ConfigRange{offset, size, 0}.Write());
  };
  const auto all = get(0, 256);
  ASSERT_EQ(all.size(), 12u + 256);
  EXPECT_TRUE(std::equal(config.begin(), config.end(), all.begin() + 12));
  for (std::size_t i = config.size(); i < 256; ++i) EXPECT_EQ(all[12 + i], std::byte{0}) << i;
  const auto part = get(20, 4);
  EXPECT_TRUE(std::equal(part.begin() + 12, part.end(), config.begin() + 20));
  EXPECT_EQ(part[0], std::byte{20});
  EXPECT_THAT(get(200, 57), IsEmpty()) << "is an error";
  EXPECT_EQ(front_end_->Do(Request::kSetConfig, ConfigRange{0, 8, 0}.Write()), EACCES);
  Connect();
  EXPECT_THAT(get(0, 8), IsEmpty()) << "it was not accepted";
}

TEST_F(SessionTest, RegionsThatCannotBeChangeNothing) {
  Start(Sharing::kMixed);
  const long kept = pages_.mapped_pages();
  const std::size_t files = OpenFiles();
  const auto table = [&](auto change) {
    std::vector<MemoryRegion> regions = guest_->regions();
    change(regions);
    const std::vector<int> all(regions.size(), pages_.fd());
    return front_end_->Do(Request::kSetMemTable, WriteRegions(regions, guest_->form()), all);
  };
  EXPECT_EQ(table([](auto& regions) { regions[2].flags = 3; }), EINVAL);
  EXPECT_EQ(table([](auto& regions) { regions[2].size = 0; }), EINVAL);
  EXPECT_EQ(table([](auto& regions) { regions[3].mmap_offset = 4096; }), EINVAL);
  EXPECT_EQ(table([](auto& regions) { regions[3].domain = 0x7ff2; }), EINVAL);
  EXPECT_EQ(table([](auto& regions) { regions.push_back(regions[3]); }), EEXIST);
  EXPECT_EQ(table([](auto& regions) { regions[1].size += 1; }), EINVAL);
  EXPECT_NE(table([](auto& regions) { regions[3].domain = 8; }), 0);
  pages_.FailAfter(2);
  EXPECT_NE(table([](auto&) {}), 0);
  pages_.FailAfter(-1);
  EXPECT_EQ(pages_.mapped_pages(), kept);
  EXPECT_EQ(OpenFiles(), files);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 5 * kPage), kOk);
  EXPECT_EQ(table([](auto&) {}), 0);
  EXPECT_EQ(pages_.mapped_pages(), kept);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 5 * kPage), kOk) << "in the new ones";
}

TEST_F(SessionTest, RegionsComeAndGoOneByOne) {
  guest_.emplace(pages_, Sharing::kGrants, kRingSize);
  driver_.emplace(guest_->MakeDriver());
  front_end_->Negotiate(kProtocol, kFeatures);
  const auto say = [&](Request request, const MemoryRegion& region, std::size_t files) {
    return front_end_->Do(request, WriteRegion(region, guest_->form()),
                          std::vector<int>(files, pages_.fd()));
  };
  for (const MemoryRegion& region : guest_->regions()) {
    EXPECT_EQ(say(Request::kAddMemReg, region, 1), 0);
  }
  EXPECT_EQ(say(Request::kAddMemReg, guest_->regions()[0], 1), EEXIST);
  ASSERT_EQ(front_end_->StartRing(*guest_), 0);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 512), kOk);
  const std::size_t files = OpenFiles();
  EXPECT_EQ(say(Request::kRemMemReg, guest_->regions()[3], 0), 0);
  EXPECT_EQ(say(Request::kRemMemReg, guest_->regions()[3], 0), ENOENT);
  // Where its requests are, is nothing now.
  Offer(VIRTIO_BLK_T_IN, 0, BuffersOf(true, 512, 512));
  front_end_->Kick();
  EXPECT_TRUE(front_end_->HadError());
  EXPECT_EQ(say(Request::kAddMemReg, guest_->regions()[3], 1), 0);
  EXPECT_EQ(say(Request::kRemMemReg, guest_->regions()[3], 1), 0) << "a descriptor may come";
  EXPECT_EQ(say(Request::kRemMemReg, guest_->regions()[0], 2), EINVAL);
  EXPECT_EQ(OpenFiles(), files);
}

TEST_F(SessionTest, ARingWhoseRegionGoesIsBrokenUntilItIsStarted) {
  Start(Sharing::kGrants);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 512), kOk);
  const MemoryRegion used = guest_->regions()[2];
  EXPECT_EQ(front_end_->Do(Request::kRemMemReg, WriteRegion(used, guest_->form())), 0);
  EXPECT_EQ(pages_.mapped_pages(), 2);
  EXPECT_TRUE(front_end_->HadError());
  EXPECT_THAT(told_, ElementsAre(HasSubstr("ring 0 is broken: ring part of 518 bytes")));
  Offer(VIRTIO_BLK_T_IN, 0, BuffersOf(true, 512, 512));
  front_end_->Kick();
  EXPECT_FALSE(driver_->TakeUsed().has_value());
  EXPECT_EQ(front_end_->Do(Request::kAddMemReg, WriteRegion(used, guest_->form()),
                           std::vector<int>{pages_.fd()}),
            0);
  const auto next = front_end_->StopRing();
  EXPECT_EQ(next, 1u);
  ASSERT_EQ(front_end_->StartRing(*guest_, 0, static_cast<std::uint16_t>(*next)), 0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kOk) << "what was offered meanwhile";
}

TEST_F(SessionTest, ARingThatIsStoppedSaysWhereAndGoesOnThere) {
  Start(Sharing::kForeign);
  driver_->BeginAt(0xffff);
  EXPECT_EQ(front_end_->StopRing(), 0u);
  ASSERT_EQ(front_end_->StartRing(*guest_, 0, 0xffff), 0);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk);
  EXPECT_EQ(front_end_->StopRing(), 1u);
  Offer(VIRTIO_BLK_T_FLUSH, 0, BuffersOf(false, 0, 1));
  front_end_->Kick();
  EXPECT_FALSE(driver_->TakeUsed().has_value()) << "it is stopped";
  ASSERT_EQ(front_end_->StartRing(*guest_, 0, 1), 0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kOk);
}

TEST_F(SessionTest, ARingIsServedWhenItIsEnabled) {
  Start(Sharing::kForeign);
  const auto enable = [&](std::uint32_t value) {
    return front_end_->Do(Request::kSetVringEnable, VringState{0, value}.Write());
  };
  EXPECT_EQ(enable(0), 0);
  Offer(VIRTIO_BLK_T_FLUSH, 0, BuffersOf(false, 0, 1));
  front_end_->Kick();
  EXPECT_FALSE(driver_->TakeUsed().has_value());
  EXPECT_EQ(enable(2), EINVAL);
  EXPECT_EQ(enable(1), 0);
  EXPECT_EQ(Result(), kOk) << "without another kick";
  // A front-end that does not know of it has them enabled.
  Connect();
  guest_.emplace(pages_, Sharing::kForeign, kRingSize);
  driver_.emplace(guest_->MakeDriver());
  std::memset(pages_.bytes().data(), 0, 3 * kPage);
  front_end_->Negotiate(kProtocol, kFeatures & ~kProtocolFeatures);
  ASSERT_EQ(front_end_->Share(*guest_), 0);
  ASSERT_EQ(front_end_->StartRing(*guest_), 0);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk);
}

TEST_F(SessionTest, ARunningRingIsNotChanged) {
  Start(Sharing::kForeign);
  EXPECT_EQ(front_end_->Do(Request::kSetVringNum, VringState{0, 8}.Write()), 0) << "not yet";
  EXPECT_EQ(front_end_->Do(Request::kSetVringNum, VringState{0, kRingSize}.Write()), 0);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk);
  EXPECT_EQ(front_end_->Do(Request::kSetVringNum, VringState{0, 8}.Write()), EBUSY);
  EXPECT_EQ(front_end_->Do(Request::kSetVringBase, VringState{0, 0}.Write()), EBUSY);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk);
}

TEST_F(SessionTest, RingsThatCannotBeAreRefused) {
  Start(Sharing::kForeign);
  const auto number = [&](std::uint32_t index, std::uint32_t size) {
    return front_end_->Do(Request::kSetVringNum, VringState{index, size}.Write());
  };
  for (const std::uint32_t size : {0u, 3u, 65u, 2048u, 0x80000000u, 0x10040u}) {
    EXPECT_EQ(number(1, size), EINVAL) << size;
  }
  EXPECT_EQ(number(15, 1024), 0);
  EXPECT_EQ(number(16, 8), EINVAL);
  EXPECT_EQ(number(0xffffffff, 8), EINVAL);
  EXPECT_EQ(front_end_->Do(Request::kSetVringBase, VringState{1, 0x10000}.Write()), EINVAL);
  const auto address = [&](auto change) {
    VringAddress ring = guest_->ring(0);
    change(ring);
    return front_end_->Do(Request::kSetVringAddr, ring.Write());
  };
  EXPECT_EQ(address([](auto& ring) { ring.index = 16; }), EINVAL);
  EXPECT_EQ(address([](auto& ring) { ring.index = 2; }), EBUSY) << "its size is not known";
  EXPECT_EQ(address([](auto& ring) { ring.flags = 1; }), EINVAL) << "logs";
  EXPECT_EQ(address([](auto& ring) { ring.used = 0x1234'0000'0000; }), EINVAL);
  EXPECT_EQ(address([](auto& ring) { ring.descriptors += 8; }), EINVAL);
  EXPECT_EQ(address([](auto& ring) { ring.available = ~0ull - 1; }), EINVAL);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk) << "where it was";
  EXPECT_EQ(front_end_->Share(*guest_), 0);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk) << "and when it is mapped anew";
}

TEST_F(SessionTest, ARingsFilesAreEventfds) {
  Start(Sharing::kForeign);
  const std::size_t files = OpenFiles();
  const auto set = [&](Request request, VringFile about, const std::vector<int>& given) {
    return front_end_->Do(request, about.Write(), given);
  };
  const int file = pages_.fd();
  for (const Request request :
       {Request::kSetVringKick, Request::kSetVringCall, Request::kSetVringErr}) {
    EXPECT_EQ(set(request, {1, true}, {file}), EINVAL);
    EXPECT_EQ(set(request, {1, true}, {}), EINVAL);
    EXPECT_EQ(set(request, {1, false}, {file}), EINVAL);
    EXPECT_EQ(set(request, {16, true}, {file}), EINVAL);
  }
  EXPECT_EQ(set(Request::kSetVringKick, {1, false}, {}), EOPNOTSUPP) << "it does not poll";
  EXPECT_EQ(set(Request::kSetVringErr, {1, false}, {}), 0);
  EXPECT_EQ(OpenFiles(), files);
  EXPECT_EQ(set(Request::kSetVringCall, {0, false}, {}), 0);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk);
  EXPECT_FALSE(front_end_->WasCalled());
}

TEST_F(SessionTest, ARingThatIsKickedBeforeItIsThereIsBroken) {
  front_end_->Negotiate(kProtocol, kFeatures);
  guest_.emplace(pages_, Sharing::kForeign, kRingSize);
  EXPECT_EQ(front_end_->StartRing(*guest_), EINVAL) << "without memory";
  const FileDescriptor kick(eventfd(1, EFD_CLOEXEC));
  EXPECT_EQ(front_end_->Do(Request::kSetVringKick, VringFile{3, true}.Write(),
                           std::vector<int>{kick.get()}),
            0);
  EXPECT_EQ(front_end_->Do(Request::kSetVringEnable, VringState{3, 1}.Write()), 0);
  Turn();
  EXPECT_THAT(told_, Contains(HasSubstr("ring 3 is broken")));
}

TEST_F(SessionTest, AHostileRingBreaksAndTheOthersGoOn) {
  Start(Sharing::kForeign);
  SharedGuest& guest = *guest_;
  // The second ring lies as the first does: each is its own reader.
  FrontEnd second(FileDescriptor(dup(front_end_->fd())), [this] { Turn(); });
  ASSERT_EQ(second.StartRing(guest, 1), 0);
  // Of three requests the second is wrong: the first is done, and told of.
  PutHeader(VIRTIO_BLK_T_FLUSH, 0);
  driver_->DescribeChain(0, 0, BuffersOf(false, 0, 1));
  driver_->Offer(0);
  driver_->Offer(kRingSize);
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kOk);
  EXPECT_EQ(Result(), std::nullopt);
  EXPECT_TRUE(front_end_->HadError());
  EXPECT_TRUE(front_end_->WasCalled());
  front_end_->Kick();
  EXPECT_FALSE(front_end_->HadError()) << "it is not looked at again";
  EXPECT_EQ(front_end_->StopRing(), 1u);

  driver_->BeginAt(0);
  driver_->Offer(0);
  second.Kick();
  EXPECT_EQ(Result(), kOk);
  EXPECT_FALSE(second.HadError());
}

TEST_F(SessionTest, AFileThatIsMadeShorterEndsTheConnectionAlone) {
  const FileDescriptor file(memfd_create("shorter", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 16 * kPage), 0);
  Start(Sharing::kForeign);
  const MemoryRegion region = {.guest_address = 1ull << 40, .size = 16 * kPage};
  ASSERT_EQ(front_end_->Do(Request::kAddMemReg, WriteRegion(region, guest_->form()),
                           std::vector<int>{file.get()}),
            0);
  // Data there: the kernel tells of it, and the request fails.
  PutHeader(VIRTIO_BLK_T_IN, 0);
  auto buffers = BuffersOf(true, 512, 512);
  driver_->DescribeChain(0, 0, buffers);
  driver_->Describe(0, 1, region.guest_address, 512, Driver::kNext | Driver::kWrite, 2);
  ASSERT_EQ(ftruncate(file.get(), 0), 0);
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kIoError);
  // A header there: this process does.
  driver_->Describe(0, 0, region.guest_address, 16, Driver::kNext, 1);
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_THAT(std::string(status_.message()), HasSubstr("shorter"));
  EXPECT_EQ(pages_.mapped_pages(), 0);
  EXPECT_EQ(MappingsOf("memfd:shorter"), 0u);
  Connect();
  Start(Sharing::kPlain);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 512), kOk);
}

// What is offered again while it is served, as a guest's other vcpus do.
class EndlessDevice final : public Device {
 public:
  std::uint64_t features() const override { return 0; }
  std::uint16_t queues() const override { return 1; }
  std::vector<std::byte> config() const override { return {}; }
  void Accept(std::uint64_t) override {}
  std::optional<std::uint32_t> Serve(std::uint16_t, const Chain&, const GuestMemory&) override {
    ++served;
    usleep(microseconds);
    offer();
    return 0;
  }
  int served = 0;
  unsigned microseconds = 0;  // that each takes
  std::function<void()> offer;
};

TEST_F(SessionTest, AGuestThatIsNeverDoneDoesNotKeepItsFrontEndWaiting) {
  EndlessDevice device;
  device.offer = [&] { driver_->Offer(0); };
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  session_ = std::make_unique<Session>(FileDescriptor(ends[0]), device, &pages_,
                                       [](const std::string&) {});
  front_end_ = std::make_unique<FrontEnd>(FileDescriptor(ends[1]), [this] { Turn(); });
  Start(Sharing::kForeign, kProtocolFeatures);
  driver_->DescribeChain(0, 0, BuffersOf(false, 0, 1));
  driver_->Offer(0);
  const FileDescriptor never(eventfd(0, EFD_CLOEXEC));
  front_end_->Kick();
  const int before = device.served;
  EXPECT_GT(before, 0);
  // It does not wait, either: there is more, of which no kick tells.
  EXPECT_TRUE(session_->Turn(never.get(), -1).ok());
  EXPECT_GT(device.served, before);
  EXPECT_LE(device.served - before, kRingSize);
  // Nor with requests that take long.
  device.microseconds = 30'000;
  const int quick = device.served;
  EXPECT_TRUE(session_->Turn(never.get(), -1).ok());
  EXPECT_LE(device.served - quick, 3);
  device.microseconds = 0;
  EXPECT_EQ(front_end_->AskU64(Request::kGetQueueNum), 1u);
  EXPECT_TRUE(front_end_->StopRing().has_value());
}

TEST_F(SessionTest, ItStopsWhenItIsToldSo) {
  const FileDescriptor stop(eventfd(1, EFD_CLOEXEC));
  EXPECT_TRUE(absl::IsAborted(session_->Turn(stop.get(), -1)));
}

// All that a front-end says, in a row, and then nothing: before and in the middle of each message.
class VanishingTest : public SessionTest, public testing::WithParamInterface<Sharing> {};

INSTANTIATE_TEST_SUITE_P(, VanishingTest, testing::ValuesIn(kAllSharings),
                         [](const auto& tested) { return NameOf(tested.param); });

TEST_P(VanishingTest, NothingIsLeftOfAFrontEndThatVanishesAtAnyMessage) {
  Disconnect();
  guest_.emplace(pages_, GetParam(), kRingSize);
  driver_.emplace(guest_->MakeDriver());
  const FileDescriptor event(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::vector<int> one = {event.get()};
  const struct {
    Request request;
    std::vector<std::byte> payload;
    std::vector<int> files = {};
  } messages[] = {
      {Request::kGetFeatures, {}},
      {Request::kSetOwner, {}},
      {Request::kGetProtocolFeatures, {}},
      {Request::kSetProtocolFeatures,
       WriteU64(GetParam() == Sharing::kPlain ? kProtocol & ~kXenMmap : kProtocol)},
      {Request::kSetFeatures, WriteU64(kFeatures)},
      {Request::kGetConfig, ConfigRange{0, 60, 0}.Write()},
      {Request::kSetMemTable, WriteRegions(guest_->regions(), guest_->form()), guest_->files()},
      {Request::kSetVringNum, VringState{0, kRingSize}.Write()},
      {Request::kSetVringBase, VringState{0, 0}.Write()},
      {Request::kSetVringAddr, guest_->ring(0).Write()},
      {Request::kSetVringErr, VringFile{0, true}.Write(), one},
      {Request::kSetVringCall, VringFile{0, true}.Write(), one},
      {Request::kSetVringKick, VringFile{0, true}.Write(), one},
      {Request::kSetVringEnable, VringState{0, 1}.Write()},
      {Request::kSetMemTable, WriteRegions(guest_->regions(), guest_->form()), guest_->files()},
      {Request::kRemMemReg, WriteRegion(guest_->regions()[0], guest_->form())},
      {Request::kGetVringBase, VringState{0, 0}.Write()},
  };
  const std::size_t files = OpenFiles();
  for (std::size_t last = 0; last <= std::size(messages); ++last) {
    for (const std::size_t cut : {0u, 1u, 11u, 12u}) {
      SCOPED_TRACE(testing::Message() << "after " << last << " and " << cut << " bytes");
      std::memset(pages_.bytes().data(), 0, 3 * kPage);
      driver_->BeginAt(0);
      Offer(VIRTIO_BLK_T_IN, 0, BuffersOf(true, 5 * kPage, kPage));
      Connect();
      for (std::size_t i = 0; i < last; ++i) {
        front_end_->Send(messages[i].request, messages[i].payload, messages[i].files);
        Turn();
        ASSERT_NE(session_, nullptr) << i << " " << status_;
      }
      if (cut > 0 && last < std::size(messages)) {
        std::byte header[Header::kBytes];
        Header{messages[last].request, Header::kVersion,
               static_cast<std::uint32_t>(messages[last].payload.size())}
            .Write(header);
        ASSERT_EQ(send(front_end_->fd(), header, cut, 0), static_cast<ssize_t>(cut));
        Turn();
      }
      front_end_.reset();
      Turn();
      // A message without a payload is whole by then: it is done, or refused.
      EXPECT_FALSE(status_.ok());
      if (cut < sizeof(Header)) {
        EXPECT_TRUE(absl::IsCancelled(status_)) << status_;
      }
      session_.reset();
      EXPECT_EQ(pages_.mapped_pages(), 0);
      EXPECT_EQ(OpenFiles(), files);
    }
  }
}

}  // namespace
}  // namespace xencomm::vhost_user
