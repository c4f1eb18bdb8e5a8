#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/sharing.h"
#include "hcall/sharing/vhost_user/block_device.h"
#include "hcall/sharing/vhost_user/granted_pages.h"
#include "hcall/sharing/vhost_user/session.h"
#include "tests/unit/vhost_user_driver.h"
#include "xencomm/mapper.h"

extern "C" {
#include <xengnttab.h>
}

namespace xencomm::bench {
namespace {

using vhost_user::Driver;
using vhost_user::MemoryRegion;
using vhost_user::Request;

constexpr unsigned kTurns = 960;
constexpr std::uint16_t kRingSize = 8;
// Of the guest: the ring's three parts, and then these.
constexpr std::uint64_t kHeaderAt = 3 * kPageBytes, kStatusAt = 4 * kPageBytes,
                        kDataAt = 5 * kPageBytes;
constexpr std::size_t kGuestPages = 6;
constexpr std::uint64_t kImageBytes = 16 << 20;

// Known by its path, while it is there.
class Image {
 public:
  Image() : fd_(mkostemp(path_, O_CLOEXEC)) {
    const std::vector<char> bytes(kImageBytes, 'i');
    Check(fd_ >= 0 && write(fd_, bytes.data(), kImageBytes) == static_cast<ssize_t>(kImageBytes),
          "there is no room for a disk");
  }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() {
    unlink(path_);
    close(fd_);
  }

  int fd() const { return fd_; }
  const char* path() const { return path_; }
  // Another page of it each time.
  std::uint64_t NextPage() { return next_++ % (kImageBytes / kPageBytes); }

 private:
  char path_[32] = "/tmp/xencomm-bench-XXXXXX";
  const int fd_;
  std::uint64_t next_ = 0;
};

// A back-end, and the front-end and driver of its guest.
class Disk {
 public:
  // Borrows the guest's memory, which is named by `regions`; an address in it is `base` and the
  // offset, and of rings `user` and the offset.
  Disk(const Image& image, std::byte* guest, const std::vector<MemoryRegion>& regions,
       std::uint64_t base, std::uint64_t user)
      : device_(*vhost_user::BlockDevice::Open(image.path(), false)),
        mapper_(*OpenForeignMemory(""), *vhost_user::OpenGrantMapper(""), std::nullopt),
        driver_(
            {guest, kGuestPages * kPageBytes}, [base](std::uint64_t at) { return base + at; },
            kRingSize) {
    std::memset(guest, 0, kGuestPages * kPageBytes);
    int ends[2];
    Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "there is no socket pair");
    front_end_ = std::make_unique<vhost_user::MessageSocket>(FileDescriptor(ends[1]));
    session_ = std::make_unique<vhost_user::Session>(
        FileDescriptor(ends[0]), *device_, &mapper_, [](const std::string& sentence) {
          std::fprintf(stderr, "bench: the back-end says: %s\n", sentence.c_str());
        });
    // Without answers until there are some.
    Tell(Request::kSetOwner, {});
    Tell(Request::kSetProtocolFeatures,
         vhost_user::WriteU64(vhost_user::kReplyAck | vhost_user::kXenMmap));
    constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32;
    Do(Request::kSetFeatures, vhost_user::WriteU64(vhost_user::kProtocolFeatures | kVersion1 |
                                                   std::uint64_t{1} << VIRTIO_BLK_F_FLUSH));
    Do(Request::kSetMemTable, vhost_user::WriteRegions(regions, MemoryRegion::Form::kXen),
       std::vector<int>(regions.size(), kick_.get()));
    Do(Request::kSetVringNum, vhost_user::VringState{0, kRingSize}.Write());
    Do(Request::kSetVringAddr,
       vhost_user::VringAddress{.descriptors = user + Driver::kDescriptorsAt,
                                .used = user + Driver::kUsedAt,
                                .available = user + Driver::kAvailableAt}
           .Write());
    Do(Request::kSetVringCall, vhost_user::VringFile{0, true}.Write(), {call_.get()});
    Do(Request::kSetVringKick, vhost_user::VringFile{0, true}.Write(), {kick_.get()});
    Do(Request::kSetVringEnable, vhost_user::VringState{0, 1}.Write());
  }

  // One request of a page, from its header to its status.
  bool Make(std::uint32_t type, std::uint64_t page) {
    driver_.Store<std::uint32_t>(kHeaderAt, type);
    driver_.Store<std::uint64_t>(kHeaderAt + 8, page * (kPageBytes / 512));
    *driver_.At(kStatusAt) = std::byte{0xff};
    const Driver::Buffer buffers[] = {
        {kHeaderAt, 16}, {kDataAt, kPageBytes, type == VIRTIO_BLK_T_IN}, {kStatusAt, 1, true}};
    driver_.DescribeChain(0, 0, buffers);
    driver_.Offer(0);
    std::uint64_t count = 1;
    return write(kick_.get(), &count, sizeof(count)) == sizeof(count) &&
           session_->Turn(-1, 0).ok() &&
           read(call_.get(), &count, sizeof(count)) == sizeof(count) &&
           driver_.TakeUsed().has_value() && *driver_.At(kStatusAt) == std::byte{VIRTIO_BLK_S_OK};
  }

 private:
  void Tell(Request request, const std::vector<std::byte>& payload,
            const std::vector<int>& files = {}, std::uint32_t flags = 0) {
    Check(front_end_->Send(request, vhost_user::Header::kVersion | flags, payload, files).ok() &&
              session_->Turn(-1, 0).ok(),
          "the back-end hears nothing");
  }
  void Do(Request request, const std::vector<std::byte>& payload,
          const std::vector<int>& files = {}) {
    Tell(request, payload, files, vhost_user::Header::kNeedReply);
    std::byte reply[vhost_user::Header::kBytes + sizeof(std::uint64_t)];
    Check(recv(front_end_->fd(), reply, sizeof(reply), MSG_DONTWAIT) == sizeof(reply) &&
              vhost_user::ReadU64(std::span(reply).subspan(vhost_user::Header::kBytes)) == 0u,
          "the back-end refuses");
  }

  const std::unique_ptr<vhost_user::BlockDevice> device_;
  vhost_user::XenPageMapper mapper_;
  Driver driver_;
  const FileDescriptor kick_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
      call_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::unique_ptr<vhost_user::MessageSocket> front_end_;
  std::unique_ptr<vhost_user::Session> session_;
};

void MeasureRequests(const std::string& memory, Image& image, Disk& disk) {
  std::vector<char> page(kPageBytes, 'p');
  const auto at = [&] { return static_cast<off_t>(image.NextPage() * kPageBytes); };
  Measure("read 4 KiB of a disk, by " + memory + "/plain", kTurns,
          [&] { return pread(image.fd(), page.data(), kPageBytes, at()) == kPageBytes; });
  Measure("read 4 KiB of a disk, by " + memory + "/ours", kTurns,
          [&] { return disk.Make(VIRTIO_BLK_T_IN, image.NextPage()); });
  Measure("write 4 KiB of a disk, by " + memory + "/plain", kTurns,
          [&] { return pwrite(image.fd(), page.data(), kPageBytes, at()) == kPageBytes; });
  Measure("write 4 KiB of a disk, by " + memory + "/ours", kTurns,
          [&] { return disk.Make(VIRTIO_BLK_T_OUT, image.NextPage()); });
}

void MeasureByFrames(xc_interface* xch, Image& image) {
  constexpr std::uint64_t kUser = 0x5000'0000;
  const Domain domain(xch, Domain::Kind::kPvh, kGuestPages);
  const auto id = static_cast<std::uint16_t>(domain.id());
  const auto mapper = Mapper::Open();
  Check(mapper.ok(), "foreign memory cannot be opened");
  const auto guest = (*mapper)->MapFrames(id, domain.frames(), Access::kWrite);
  Check(guest.ok(), "a guest's memory cannot be mapped");
  Disk disk(image, guest->data(),
            {{.guest_address = 0,
              .size = kGuestPages * kPageBytes,
              .user_address = kUser,
              .flags = MemoryRegion::kForeign,
              .domain = id}},
            0, kUser);
  MeasureRequests("foreign frames", image, disk);
}

// What this domain grants itself. The ring's parts are mapped once, all else at each access.
void MeasureByGrants(Image& image) {
  xengntshr_handle* const share = xengntshr_open(nullptr, 0);
  std::uint32_t refs[kGuestPages];
  void* const guest = xengntshr_share_pages(share, 0, kGuestPages, refs, /*writable=*/1);
  Check(guest != nullptr, "no pages can be granted");
  for (std::uint32_t i = 0; i < kGuestPages; ++i) {
    Check(refs[i] == refs[0] + i, "references do not follow one another");
  }
  const std::uint64_t base = MemoryRegion::kGrantAddress | refs[0] * kPageBytes;
  std::vector<MemoryRegion> regions;
  for (const std::uint64_t page : {0, 1, 2, 3}) {
    regions.push_back({.guest_address = base + page * kPageBytes,
                       .size = page == 3 ? (kGuestPages - 3) * kPageBytes : kPageBytes,
                       .flags = MemoryRegion::kGrants | (page == 3 ? MemoryRegion::kNoAdvance : 0),
                       .domain = 0});
  }
  {
    Disk disk(image, static_cast<std::byte*>(guest), regions, base, base);
    MeasureRequests("grants", image, disk);
  }
  xengntshr_unshare(share, guest, kGuestPages);
  xengntshr_close(share);
}

}  // namespace

void MeasureDisk(xc_interface* xch) {
  Image image;
  MeasureByFrames(xch, image);
  MeasureByGrants(image);
}

}  // namespace xencomm::bench
