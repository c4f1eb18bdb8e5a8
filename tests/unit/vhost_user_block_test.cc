// A block device behind a virtqueue, over memory of all kinds.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/vhost_user_disk.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class BlockTest : public DiskTest, public testing::WithParamInterface<Sharing> {
 protected:
  void SetUp() override {
    DiskTest::SetUp();
    Start(GetParam());
  }
};

INSTANTIATE_TEST_SUITE_P(, BlockTest, testing::ValuesIn(kAllSharings),
                         [](const auto& tested) { return NameOf(tested.param); });

TEST_P(BlockTest, ReadsWhatTheImageHas) {
  for (const auto& [sector, bytes, piece] :
       {std::tuple(0u, 512u, 512u), std::tuple(7u, 4096u, 4096u), std::tuple(5999u, 512u, 100u),
        std::tuple(100u, 64u * 512, 4096u), std::tuple(3u, 40u * 1024, 1024u)}) {
    SCOPED_TRACE(sector);
    FillData(bytes + 1, 1);
    const std::byte behind = *driver_->At(kDataAt + bytes);
    EXPECT_EQ(Make(VIRTIO_BLK_T_IN, sector, bytes, piece), kOk);
    EXPECT_EQ(written_, bytes + 1);
    EXPECT_EQ(Data(bytes), image_.Read(sector * 512, bytes));
    EXPECT_EQ(*driver_->At(kDataAt + bytes), behind);
    EXPECT_TRUE(front_end_->WasCalled());
  }
}

TEST_P(BlockTest, WritesIntoTheImage) {
  const auto before = image_.Read(0, 8 * 512);
  FillData(4096, 9);
  EXPECT_EQ(Make(VIRTIO_BLK_T_OUT, 8, 4096, 1000), kOk);
  EXPECT_EQ(written_, 1u) << "the status";
  EXPECT_EQ(image_.Read(8 * 512, 4096), Data(4096));
  EXPECT_EQ(image_.Read(0, 8 * 512), before);
  EXPECT_EQ(image_.Read(16 * 512, 1)[0], Image::At(16 * 512));
}

// Longer than what is mapped at a time, and than what a system call takes.
TEST_P(BlockTest, LongRequestsGoInWindows) {
  constexpr std::uint64_t kBytes = 2 * BlockDevice::kWindow + 5 * 512;
  constexpr std::uint64_t kPiece = 64 * 1024 + 1;
  pages_.ForgetPeak();
  FillData(kBytes, 5);
  // Of mixed memory a piece lies in one kind.
  const bool is_mixed = GetParam() == Sharing::kMixed;
  EXPECT_EQ(Make(VIRTIO_BLK_T_OUT, 11, is_mixed ? 50 * kPage : kBytes, is_mixed ? kPage : kPiece),
            kOk);
  const std::uint64_t bytes = is_mixed ? 50 * kPage : kBytes;
  EXPECT_EQ(image_.Read(11 * 512, bytes), Data(bytes));
  FillData(bytes, 6);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 11, bytes, is_mixed ? kPage : kPiece), kOk);
  EXPECT_EQ(Data(bytes), image_.Read(11 * 512, bytes));
  EXPECT_LE(pages_.peak_pages() - guest_->kept_pages(),
            static_cast<long>(BlockDevice::kWindow / kPage + 20));
}

TEST_P(BlockTest, TheFramingIsTheDrivers) {
  // A header in bytes, data and status in one buffer; all by an indirect table.
  FillData(1024, 3);
  PutHeader(VIRTIO_BLK_T_IN, 4);
  std::vector<Driver::Buffer> buffers;
  for (std::uint32_t i = 0; i < 16; ++i) buffers.push_back({kHeaderAt + i, 1});
  buffers.push_back({kDataAt, 512 + 1, true});
  const std::uint64_t table = 60 * kPage;
  driver_->DescribeChain(table, 0, buffers);
  driver_->Describe(0, 3, driver_->AddressOf(table), 17 * 16, Driver::kIndirect);
  driver_->Offer(3);
  front_end_->Kick();
  EXPECT_EQ(driver_->TakeUsed()->written, 513u);
  EXPECT_EQ(Data(512), image_.Read(4 * 512, 512));
  EXPECT_EQ(*driver_->At(kDataAt + 512), std::byte{kOk});
}

TEST_P(BlockTest, ManyRequestsAtOnceAreAllDone) {
  PutHeader(VIRTIO_BLK_T_FLUSH, 0);
  const Driver::Buffer flush[] = {{kHeaderAt, 16}, {kStatusAt, 1, true}};
  driver_->DescribeChain(0, 0, flush);
  for (int i = 0; i < kRingSize; ++i) driver_->Offer(0);
  front_end_->Kick();
  // In as many turns as a slow disk takes.
  for (int i = 0; i < 100 && driver_->UsedIndex() != kRingSize; ++i) Turn();
  int done = 0;
  while (driver_->TakeUsed().has_value()) ++done;
  EXPECT_EQ(done, kRingSize);
}

TEST_P(BlockTest, AReferenceThatIsRevokedFailsItsRequestAlone) {
  if (GetParam() != Sharing::kGrants && GetParam() != Sharing::kMixed) return;
  // Of mixed memory, page 8 is reached by its grant.
  for (const std::uint32_t type : {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT}) {
    const auto before = image_.Read(0, 16 * 512);
    pages_.Revoke(SharedGuest::kFirstReference + 8);
    EXPECT_EQ(Make(type, 0, 5 * kPage), kIoError);
    EXPECT_EQ(image_.Read(0, 16 * 512), before) << "not the part before it, either";
    pages_.Give(SharedGuest::kFirstReference + 8, {.frame = 8});
    EXPECT_EQ(Make(type, 0, 5 * kPage), kOk);
  }
  // Lent for reading: a disk may be written from it.
  pages_.Give(SharedGuest::kFirstReference + 8, {.frame = 8, .is_writable = false});
  EXPECT_EQ(Make(VIRTIO_BLK_T_OUT, 0, 5 * kPage), kOk);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 5 * kPage), kIoError);
  EXPECT_FALSE(front_end_->HadError());
}

TEST_P(BlockTest, MemoryThatIsNowhereFailsItsRequestAlone) {
  for (const std::uint32_t type : {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT}) {
    PutHeader(type, 0);
    driver_->DescribeChain(0, 0, BuffersOf(type == VIRTIO_BLK_T_IN, 1024, 512));
    driver_->Describe(
        0, 2, 0x5555'0000'0000, 512,
        static_cast<std::uint16_t>(Driver::kNext | (type == VIRTIO_BLK_T_IN ? Driver::kWrite : 0)),
        3);
    driver_->Offer(0);
    front_end_->Kick();
    EXPECT_EQ(Result(), kIoError);
  }
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 512), kOk);
}

TEST_P(BlockTest, AStatusThatIsNowhereBreaksTheRing) {
  PutHeader(VIRTIO_BLK_T_FLUSH, 0);
  driver_->Describe(0, 0, driver_->AddressOf(kHeaderAt), 16, Driver::kNext, 1);
  driver_->Describe(0, 1, 0x5555'0000'0000, 1, Driver::kWrite);
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), std::nullopt);
  EXPECT_TRUE(front_end_->HadError());
  EXPECT_THAT(told_, ElementsAre(HasSubstr("ring 0 is broken")));
  // Which is all: the session goes on.
  EXPECT_EQ(front_end_->AskU64(Request::kGetQueueNum), BlockDevice::kQueues);
}

TEST_P(BlockTest, AnswersWhatItIs) {
  EXPECT_EQ(Make(VIRTIO_BLK_T_GET_ID, 0, 20, 20), kOk);
  EXPECT_EQ(written_, 21u);
  const auto id = Data(20);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(id.data()), 20), image_.path().substr(5, 20));
  EXPECT_EQ(Make(VIRTIO_BLK_T_GET_ID, 0, 19, 19), kIoError);
  EXPECT_EQ(Make(VIRTIO_BLK_T_GET_ID, 0, 21, 21), kIoError);
}

class RequestTest : public DiskTest {
 protected:
  void SetUp() override {
    DiskTest::SetUp();
    Start(Sharing::kForeign);
  }
};

TEST_F(RequestTest, WhatIsNotInTheImageIsAnError) {
  const struct {
    std::uint64_t sector, bytes;
    int status;
  } cases[] = {{5999, 512, kOk},
               {5999, 1024, kIoError},
               {6000, 512, kIoError},
               {6000, 0, kOk},
               {6001, 0, kIoError},
               {~std::uint64_t{0}, 512, kIoError},
               {~std::uint64_t{0}, 0, kIoError},
               {std::uint64_t{1} << 55, 512, kIoError},  // its bytes pass 2^64
               {0, 511, kIoError},
               {0, 513, kIoError}};
  for (const auto& each : cases) {
    for (const std::uint32_t type : {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT}) {
      FillData(each.bytes, 8);
      EXPECT_EQ(Make(type, each.sector, each.bytes), each.status)
          << type << " " << each.sector << " " << each.bytes;
    }
  }
  struct stat about;
  ASSERT_EQ(stat(image_.path().c_str(), &about), 0);
  EXPECT_EQ(about.st_size, 6000 * 512) << "it does not grow";
}

TEST_F(RequestTest, AnImageThatBecameShorterIsAnError) {
  ASSERT_EQ(truncate(image_.path().c_str(), 100 * 512 + 5), 0);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 99, 512), kOk);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 99, 1024), kIoError);
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 200, 512), kIoError);
}

TEST_F(RequestTest, WhatItDoesNotKnowIsUnsupported) {
  for (const std::uint32_t type : {2u, 3u, 5u, 9u, 14u, 0x80000000u, 0xffffffffu}) {
    EXPECT_EQ(Make(type, 0, 512), kUnsupported) << type;
    EXPECT_EQ(written_, 1u);
  }
}

TEST_F(RequestTest, ARequestWithoutAWholeHeaderIsAnError) {
  PutHeader(VIRTIO_BLK_T_FLUSH, 0);
  const Driver::Buffer cut[] = {{kHeaderAt, 15}, {kStatusAt, 1, true}};
  driver_->DescribeChain(0, 0, cut);
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kIoError);
  driver_->DescribeChain(0, 0, std::span(cut).last(1));
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kIoError);
  EXPECT_FALSE(front_end_->HadError());
  // Without any place for an answer.
  driver_->DescribeChain(0, 0, std::span(cut).first(1));
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), std::nullopt);
  EXPECT_TRUE(front_end_->HadError());
}

TEST_F(RequestTest, FourGigabytesAreNotTransferredInOneRequest) {
  PutHeader(VIRTIO_BLK_T_IN, 0);
  driver_->Describe(0, 0, driver_->AddressOf(kHeaderAt), 16, Driver::kNext, 1);
  driver_->Describe(0, 1, driver_->AddressOf(kDataAt), 0xfffffe00, Driver::kNext | Driver::kWrite,
                    2);
  driver_->Describe(0, 2, driver_->AddressOf(kStatusAt), 1, Driver::kWrite);
  driver_->Offer(0);
  front_end_->Kick();
  EXPECT_EQ(Result(), kIoError);
}

TEST_F(RequestTest, SectorsAreErased) {
  const auto erase = [&](std::uint32_t type, std::uint64_t sector, std::uint32_t sectors,
                         std::uint32_t flags) {
    driver_->Store<std::uint64_t>(kDataAt, sector);
    driver_->Store<std::uint32_t>(kDataAt + 8, sectors);
    driver_->Store<std::uint32_t>(kDataAt + 12, flags);
    return Make(type, 0, 16);
  };
  EXPECT_EQ(erase(VIRTIO_BLK_T_DISCARD, 10, 2, 0), kOk);
  EXPECT_EQ(erase(VIRTIO_BLK_T_WRITE_ZEROES, 20, 2, 1), kOk);
  for (const std::size_t sector : {10u, 20u}) {
    EXPECT_EQ(image_.Read(sector * 512, 1024), std::vector<std::byte>(1024)) << sector;
    EXPECT_EQ(image_.Read(sector * 512 - 1, 1)[0], Image::At(sector * 512 - 1));
    EXPECT_EQ(image_.Read(sector * 512 + 1024, 1)[0], Image::At(sector * 512 + 1024));
  }
  // Where the file system can.
  const bool is_zeroed = erase(VIRTIO_BLK_T_WRITE_ZEROES, 30, 2, 0) == kOk;
  EXPECT_EQ(image_.Read(30 * 512, 1024) == std::vector<std::byte>(1024), is_zeroed);
  EXPECT_EQ(std::to_integer<int>(*driver_->At(kStatusAt)), is_zeroed ? kOk : kUnsupported);

  for (const std::uint32_t type : {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES}) {
    EXPECT_EQ(erase(type, 5999, 2, 0), kIoError);
    EXPECT_EQ(erase(type, ~std::uint64_t{0}, 2, 0), kIoError);
    EXPECT_EQ(erase(type, 0, 0xffffffff, 0), kIoError);
    EXPECT_EQ(erase(type, 0, 0, 0), kOk) << "nothing";
    EXPECT_EQ(erase(type, 0, 1, 2), kUnsupported);
    EXPECT_EQ(Make(type, 0, 15), kIoError);
    EXPECT_EQ(Make(type, 0, 0), kIoError);
    EXPECT_EQ(Make(type, 0, 17 * 16), kIoError) << "more than it says";
  }
  EXPECT_EQ(erase(VIRTIO_BLK_T_DISCARD, 0, 1, 1), kUnsupported);
  EXPECT_EQ(image_.Read(0, 512)[1], Image::At(1));
}

TEST_F(RequestTest, AReadOnlyDiskIsNotWritten) {
  Connect(/*is_read_only=*/true);
  EXPECT_NE(front_end_->AskU64(Request::kGetFeatures) & 1 << VIRTIO_BLK_F_RO, 0u);
  Start(Sharing::kForeign);
  FillData(512, 1);
  for (const std::uint32_t type :
       {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES}) {
    EXPECT_EQ(Make(type, 0, type == VIRTIO_BLK_T_OUT ? 512 : 16), kIoError) << type;
  }
  EXPECT_EQ(Make(VIRTIO_BLK_T_IN, 0, 512), kOk);
  EXPECT_EQ(Make(VIRTIO_BLK_T_FLUSH, 0, 0), kOk);
  EXPECT_EQ(image_.Read(0, 512), Data(512));
}

TEST(BlockDeviceTest, ItsConfigurationSaysWhatItHas) {
  const Image image(5 * 512 + 100);
  const auto device = BlockDevice::Open(image.path(), false);
  ASSERT_TRUE(device.ok());
  virtio_blk_config config;
  const std::vector<std::byte> bytes = (*device)->config();
  ASSERT_EQ(bytes.size(), sizeof(config));
  std::memcpy(&config, bytes.data(), sizeof(config));
  EXPECT_EQ(config.capacity, 5u) << "whole sectors";
  EXPECT_EQ(config.blk_size, 512u);
  EXPECT_EQ(config.seg_max, 126u);
  EXPECT_EQ(config.num_queues, 16u);
  EXPECT_EQ((*device)->features() & 1 << VIRTIO_BLK_F_RO, 0u);
}

TEST(BlockDeviceTest, WhatCannotBeADiskIsRefusedInASentence) {
  const Image small(511);
  for (const auto& [path, sentence] :
       {std::pair(small.path(), "has 511 bytes"), std::pair(std::string("/no/such"), "/no/such"),
        std::pair(std::string("/tmp"), "/tmp"), std::pair(std::string("/dev/null"), "a file")}) {
    const absl::Status refused = BlockDevice::Open(path, false).status();
    EXPECT_FALSE(refused.ok());
    EXPECT_THAT(std::string(refused.message()), HasSubstr(sentence));
  }
}

}  // namespace
}  // namespace xencomm::vhost_user
