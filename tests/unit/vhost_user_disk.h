// A block back-end with an image, and a front-end at the other end of a socket pair, in one thread.
#ifndef TESTS_UNIT_VHOST_USER_DISK_H_
#define TESTS_UNIT_VHOST_USER_DISK_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hcall/sharing/vhost_user/block_device.h"
#include "hcall/sharing/vhost_user/session.h"
#include "tests/unit/fake_pages.h"
#include "tests/unit/open_files.h"
#include "tests/unit/vhost_user_front_end.h"

namespace xencomm::vhost_user {

// An image whose byte i is i * 7 + i / 512, in a file that goes with it.
class Image {
 public:
  static constexpr std::size_t kSectors = 6000;
  static std::byte At(std::size_t i) { return static_cast<std::byte>(i * 7 + i / 512); }

  explicit Image(std::size_t bytes = kSectors * 512) {
    char path[] = "/tmp/xencomm-image-XXXXXX";
    const FileDescriptor file(mkostemp(path, O_CLOEXEC));
    path_ = path;
    std::vector<std::byte> contents(bytes);
    for (std::size_t i = 0; i < bytes; ++i) contents[i] = At(i);
    EXPECT_EQ(write(file.get(), contents.data(), bytes), static_cast<ssize_t>(bytes));
  }
  ~Image() { unlink(path_.c_str()); }

  const std::string& path() const { return path_; }
  std::vector<std::byte> Read(std::size_t at, std::size_t bytes) const {
    std::vector<std::byte> contents(bytes);
    const FileDescriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(pread(file.get(), contents.data(), bytes, static_cast<off_t>(at)),
              static_cast<ssize_t>(bytes));
    return contents;
  }

 private:
  std::string path_;
};

class DiskTest : public testing::Test {
 protected:
  static constexpr std::size_t kFrames = 1200;
  static constexpr std::uint64_t kPage = FakePages::kPage;
  static constexpr std::uint16_t kRingSize = 64;
  // Of requests, in the guest.
  static constexpr std::uint64_t kHeaderAt = 3 * kPage, kStatusAt = 4 * kPage + 5,
                                 kDataAt = 5 * kPage;
  static constexpr std::uint8_t kNoStatus = 0xee;

  static constexpr std::uint64_t kFeatures = kProtocolFeatures | Virtqueue::kIndirect |
                                             std::uint64_t{1} << 32 |
                                             std::uint64_t{1} << VIRTIO_BLK_F_FLUSH;

  void SetUp() override { Connect(); }
  void TearDown() override {
    Disconnect();
    EXPECT_EQ(pages_.mapped_pages(), 0);
    EXPECT_EQ(MappingsOf("memfd:domain"), 1u) << "the test's own";
  }

  void Connect(bool is_read_only = false, PageMapper* mapper = nullptr) {
    Disconnect();
    device_ = *BlockDevice::Open(image_.path(), is_read_only);
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    session_ = std::make_unique<Session>(
        FileDescriptor(ends[0]), *device_, mapper == nullptr ? &pages_ : mapper,
        [this](const std::string& sentence) { told_.push_back(sentence); });
    front_end_ = std::make_unique<FrontEnd>(FileDescriptor(ends[1]), [this] { Turn(); });
    status_ = absl::OkStatus();
  }
  void Disconnect() {
    session_.reset();
    front_end_.reset();
  }
  // What there is to do, in as many turns as that takes.
  void Turn() {
    for (int i = 0; i < 4 && status_.ok(); ++i) status_ = session_->Turn(-1, 0);
    // As the server does.
    if (!status_.ok()) session_.reset();
  }
  void Start(Sharing sharing, std::uint64_t features = kFeatures) {
    guest_.emplace(pages_, sharing, kRingSize);
    driver_.emplace(guest_->MakeDriver());
    std::memset(pages_.bytes().data(), 0, 3 * kPage);
    front_end_->Negotiate(
        sharing == Sharing::kPlain ? FrontEnd::kXenProtocol & ~kXenMmap : FrontEnd::kXenProtocol,
        features);
    ASSERT_EQ(front_end_->Share(*guest_), 0);
    ASSERT_EQ(front_end_->StartRing(*guest_), 0);
    EXPECT_EQ(pages_.mapped_pages(), guest_->kept_pages());
  }

  void PutHeader(std::uint32_t type, std::uint64_t sector) {
    driver_->Store<std::uint32_t>(kHeaderAt, type);
    driver_->Store<std::uint32_t>(kHeaderAt + 4, 0);
    driver_->Store<std::uint64_t>(kHeaderAt + 8, sector);
    *driver_->At(kStatusAt) = std::byte{kNoStatus};
  }
  // Header, data, status; data in pieces of that length.
  std::vector<Driver::Buffer> BuffersOf(bool is_in, std::uint64_t bytes, std::uint64_t piece) {
    std::vector<Driver::Buffer> buffers = {{kHeaderAt, 16}};
    for (std::uint64_t at = 0; at < bytes; at += piece) {
      buffers.push_back(
          {kDataAt + at, static_cast<std::uint32_t>(std::min(piece, bytes - at)), is_in});
    }
    buffers.push_back({kStatusAt, 1, true});
    return buffers;
  }
  void Offer(std::uint32_t type, std::uint64_t sector, const std::vector<Driver::Buffer>& buffers) {
    PutHeader(type, sector);
    driver_->DescribeChain(0, 0, buffers);
    driver_->Offer(0);
  }
  // The status of a request that was made; nothing when it did not come back.
  std::optional<int> Result(std::uint32_t* written = nullptr) {
    const auto used = driver_->TakeUsed();
    if (!used.has_value()) return std::nullopt;
    if (written != nullptr) *written = used->written;
    EXPECT_EQ(pages_.mapped_pages(), guest_->kept_pages()) << "no more than between requests";
    return std::to_integer<int>(*driver_->At(kStatusAt));
  }
  std::optional<int> Make(std::uint32_t type, std::uint64_t sector, std::uint64_t bytes,
                          std::uint64_t piece = kPage) {
    const bool is_in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    Offer(type, sector, BuffersOf(is_in, bytes, piece));
    front_end_->Kick();
    return Result(&written_);
  }
  void FillData(std::uint64_t bytes, int seed) {
    for (std::uint64_t i = 0; i < bytes; ++i) {
      *driver_->At(kDataAt + i) = static_cast<std::byte>(i * 3 + static_cast<unsigned>(seed));
    }
  }
  std::vector<std::byte> Data(std::uint64_t bytes) const {
    return {driver_->At(kDataAt), driver_->At(kDataAt + bytes)};
  }

  static constexpr int kOk = VIRTIO_BLK_S_OK, kIoError = VIRTIO_BLK_S_IOERR,
                       kUnsupported = VIRTIO_BLK_S_UNSUPP;

  FakePages pages_{kFrames};
  Image image_;
  std::unique_ptr<BlockDevice> device_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FrontEnd> front_end_;
  std::optional<SharedGuest> guest_;
  std::optional<Driver> driver_;
  absl::Status status_;            // of the last turn
  std::vector<std::string> told_;  // what the session told
  std::uint32_t written_ = 0;
};

}  // namespace xencomm::vhost_user

#endif  // TESTS_UNIT_VHOST_USER_DISK_H_
