// A vhost-user back-end between a front-end and a guest of the fuzzer's: what either says or
// writes, the process goes on, and in the end nothing is mapped and no descriptor is left.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "hcall/sharing/vhost_user/block_device.h"
#include "hcall/sharing/vhost_user/session.h"
#include "tests/fuzz/guest.h"
#include "tests/unit/fake_pages.h"
#include "tests/unit/open_files.h"

namespace xencomm::vhost_user {
namespace {

constexpr std::uint64_t kPage = FakePages::kPage;
constexpr std::size_t kFrames = 32;
constexpr std::uint32_t kReference = 16;
constexpr std::uint64_t kUser = 0x7000'0000;
constexpr std::uint64_t kGrant = MemoryRegion::kGrantAddress;
constexpr std::uint16_t kRingSize = 8;
constexpr std::size_t kImageBytes = 64 * 512;

// What stays from one input to the next.
struct World {
  World() {
    path = "/tmp/xencomm-fuzz-" + std::to_string(getpid());
    const FileDescriptor file(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    FUZZ_CHECK(ftruncate(file.get(), kImageBytes) == 0);
    device = *BlockDevice::Open(path, /*is_read_only=*/false);
    unlink(path.c_str());
  }
  std::string path;
  FakePages pages{kFrames};
  std::unique_ptr<BlockDevice> device;
  const FileDescriptor event{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  const FileDescriptor null{open("/dev/null", O_RDWR | O_CLOEXEC)};
};

class Input {
 public:
  Input(World& world, FuzzedDataProvider& data) : world_(world), data_(data) {
    int ends[2];
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    front_end_.emplace(ends[0]);
    session_.emplace(FileDescriptor(ends[1]), *world.device,
                     data.ConsumeBool() ? &world.pages : nullptr,
                     [](const std::string& sentence) { FUZZ_CHECK(!sentence.empty()); });
    // Another file, to be made shorter.
    file_.emplace(memfd_create("region", MFD_CLOEXEC));
    FUZZ_CHECK(ftruncate(file_->get(), kFrames * kPage) == 0);
    std::memset(world.pages.bytes().data(), 0, world.pages.bytes().size());
    for (std::uint32_t i = 0; i < kFrames; ++i) {
      world.pages.Give(kReference + i, {.frame = i, .is_writable = i % 7 != 6});
    }
    std::uint64_t kicks;
    (void)!read(world.event.get(), &kicks, sizeof(kicks));
  }

  void Run() {
    // Mostly a running ring to begin with, else hardly an input would come to one.
    if (data_.ConsumeIntegralInRange(0, 7) != 0) StartRing();
    while (data_.remaining_bytes() > 0 && session_.has_value()) {
      switch (data_.ConsumeIntegralInRange(0, 9)) {
        case 0:
        case 1:
          SendRequest();
          break;
        case 2: {
          const std::string bytes = data_.ConsumeRandomLengthString(60);
          (void)!send(front_end_->get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
          break;
        }
        case 3:
          if (data_.ConsumeIntegralInRange(0, 7) != 0) break;
          FUZZ_CHECK(ftruncate(file_->get(),
                               static_cast<off_t>(data_.ConsumeIntegralInRange<std::uint64_t>(
                                   0, kFrames * kPage))) == 0);
          break;
        case 4:
          ChangeGrant();
          break;
        case 5:
          OfferChain();
          Kick();
          break;
        case 6:
          Kick();
          break;
        default:
          WriteGuest();
          break;
      }
      Turn();
    }
  }

 private:
  void Turn() {
    for (int i = 0; i < 3 && session_.has_value(); ++i) {
      if (!session_->Turn(-1, 0).ok()) session_.reset();
    }
    std::byte answers[4096];
    while (recv(front_end_->get(), answers, sizeof(answers), MSG_DONTWAIT) > 0) {
    }
  }

  void Send(Request request, const std::vector<std::byte>& payload,
            const std::vector<int>& files = {}, std::uint32_t flags = Header::kVersion) {
    MessageSocket sender(FileDescriptor(dup(front_end_->get())));
    (void)sender.Send(request, flags, payload, files);
    Turn();
  }

  MemoryRegion RegionOf() {
    // Anything, or something that can be.
    if (data_.ConsumeIntegralInRange(0, 5) == 0) {
      return {.guest_address = data_.ConsumeIntegral<std::uint64_t>(),
              .size = data_.ConsumeIntegral<std::uint64_t>(),
              .user_address = data_.ConsumeIntegral<std::uint64_t>(),
              .mmap_offset = data_.ConsumeIntegral<std::uint64_t>(),
              .flags = data_.ConsumeIntegral<std::uint32_t>(),
              .domain = data_.ConsumeIntegral<std::uint32_t>()};
    }
    MemoryRegion region = {
        .guest_address = data_.ConsumeIntegralInRange<std::uint64_t>(0, kFrames * kPage),
        .size = data_.ConsumeIntegralInRange<std::uint64_t>(1, kFrames * kPage),
        .user_address = kUser,
        .flags = data_.PickValueInArray<std::uint32_t>({0, 1, 2, 10, 0x102}),
        .domain = FakePages::kDomain};
    if (region.flags >= 2) region.guest_address |= kGrant;
    region.user_address += region.guest_address & ~kGrant;
    return region;
  }

  std::vector<int> FilesOf(std::size_t most) {
    std::vector<int> files(data_.ConsumeIntegralInRange<std::size_t>(0, most));
    for (int& file : files) {
      file = data_.PickValueInArray({file_->get(), world_.event.get(), world_.null.get()});
    }
    return files;
  }

  void SendRequest() {
    const auto request = Request{data_.ConsumeIntegralInRange<std::uint32_t>(0, 42)};
    std::vector<std::byte> payload;
    std::vector<int> files;
    const auto index = data_.ConsumeIntegralInRange<std::uint32_t>(0, 1);
    const auto form = is_xen_ ? MemoryRegion::Form::kXen : MemoryRegion::Form::kPlain;
    switch (request) {
      case Request::kSetMemTable: {
        std::vector<MemoryRegion> regions(data_.ConsumeIntegralInRange<std::size_t>(0, 5));
        for (MemoryRegion& region : regions) region = RegionOf();
        payload = WriteRegions(regions, form);
        files.assign(regions.size(), file_->get());
        break;
      }
      case Request::kAddMemReg:
      case Request::kRemMemReg:
        payload = WriteRegion(RegionOf(), form);
        if (request == Request::kAddMemReg) files = {file_->get()};
        break;
      case Request::kSetVringNum:
      case Request::kSetVringBase:
      case Request::kGetVringBase:
      case Request::kSetVringEnable:
        payload = VringState{index, data_.ConsumeIntegralInRange<std::uint32_t>(0, 17)}.Write();
        break;
      case Request::kSetVringAddr: {
        VringAddress address = {.index = index};
        for (std::uint64_t* part : {&address.descriptors, &address.used, &address.available}) {
          *part = data_.PickValueInArray({kUser, std::uint64_t{0}, kGrant | kReference * kPage}) +
                  data_.ConsumeIntegralInRange<std::uint64_t>(0, 4 * kPage);
        }
        payload = address.Write();
        break;
      }
      case Request::kSetVringKick:
      case Request::kSetVringCall:
      case Request::kSetVringErr:
        payload = VringFile{static_cast<std::uint8_t>(index), data_.ConsumeBool()}.Write();
        files = FilesOf(1);
        break;
      case Request::kSetProtocolFeatures:
        is_xen_ = data_.ConsumeBool();
        payload =
            WriteU64(kMq | kReplyAck | kConfig | kConfigureMemSlots | (is_xen_ ? kXenMmap : 0));
        break;
      case Request::kSetFeatures:
        payload = WriteU64(data_.PickValueInArray<std::uint64_t>(
            {0, kProtocolFeatures, kProtocolFeatures | Virtqueue::kEventIndex,
             Virtqueue::kIndirect | 1 << 9}));
        break;
      case Request::kGetConfig:
        payload = ConfigRange{data_.ConsumeIntegralInRange<std::uint32_t>(0, 300),
                              data_.ConsumeIntegralInRange<std::uint32_t>(0, 300), 0}
                      .Write();
        break;
      default:
        break;
    }
    if (data_.ConsumeIntegralInRange(0, 15) == 0) {
      const std::string other = data_.ConsumeRandomLengthString(100);
      payload.resize(other.size());
      std::memcpy(payload.data(), other.data(), other.size());
      files = FilesOf(kMostDescriptors);
    }
    // Mostly with an answer: what fails without one is the end.
    Send(request, payload, files,
         Header::kVersion | (data_.ConsumeIntegralInRange(0, 15) != 0 ? Header::kNeedReply : 0));
  }

  void StartRing() {
    const bool is_foreign = data_.ConsumeBool();
    is_xen_ = true;
    Send(Request::kSetProtocolFeatures, WriteU64(kReplyAck | kXenMmap | kConfigureMemSlots));
    Send(Request::kSetFeatures, WriteU64(kProtocolFeatures | Virtqueue::kIndirect |
                                         (data_.ConsumeBool() ? Virtqueue::kEventIndex : 0)));
    std::vector<MemoryRegion> regions = {{.guest_address = 0,
                                          .size = kFrames * kPage,
                                          .user_address = kUser,
                                          .flags = is_foreign ? MemoryRegion::kForeign : 0,
                                          .domain = FakePages::kDomain},
                                         {.guest_address = kGrant | kReference * kPage,
                                          .size = kFrames * kPage,
                                          .flags = 10,
                                          .domain = FakePages::kDomain}};
    const int plain = data_.ConsumeIntegralInRange(0, 3) == 0 ? file_->get() : world_.pages.fd();
    Send(Request::kSetMemTable, WriteRegions(regions, MemoryRegion::Form::kXen),
         {plain, world_.null.get()});
    Send(Request::kSetVringNum, VringState{0, kRingSize}.Write());
    Send(Request::kSetVringAddr,
         VringAddress{.descriptors = kUser, .used = kUser + 2 * kPage, .available = kUser + kPage}
             .Write());
    Send(Request::kSetVringKick, VringFile{0, true}.Write(), {world_.event.get()});
    Send(Request::kSetVringCall, VringFile{0, true}.Write(), {world_.event.get()});
    Send(Request::kSetVringEnable, VringState{0, 1}.Write());
  }

  void Kick() {
    const std::uint64_t one = 1;
    (void)!write(world_.event.get(), &one, sizeof(one));
  }

  void ChangeGrant() {
    const auto i = data_.ConsumeIntegralInRange<std::uint32_t>(0, kFrames - 1);
    if (data_.ConsumeBool()) {
      world_.pages.Revoke(kReference + i);
    } else {
      world_.pages.Give(kReference + i, {.frame = i, .is_writable = data_.ConsumeBool()});
    }
  }

  template <class T>
  void Store(std::uint64_t at, T value) {
    StoreField(world_.pages.bytes().data() + at, value, ByteOrder::kLittle);
  }

  std::uint64_t AddressOf() {
    const auto at = data_.ConsumeIntegralInRange<std::uint64_t>(0, kFrames * kPage);
    return data_.ConsumeBool() ? at : (kGrant | kReference * kPage) + at;
  }

  // A request that is nearly right.
  void OfferChain() {
    const std::uint64_t header = 3 * kPage;
    Store<std::uint32_t>(header, data_.PickValueInArray<std::uint32_t>({0, 1, 4, 8, 11, 13, 99}));
    Store<std::uint64_t>(header + 8, data_.ConsumeIntegralInRange<std::uint64_t>(0, 70));
    const auto count = data_.ConsumeIntegralInRange<std::uint16_t>(1, 6);
    const bool is_indirect = data_.ConsumeBool();
    const std::uint64_t table = is_indirect ? 20 * kPage + 4000 : 0;
    for (std::uint16_t i = 0; i < count; ++i) {
      const bool is_last = i + 1 == count;
      const std::uint64_t at = table + 16 * std::uint64_t{i};
      Store<std::uint64_t>(at, i == 0 ? header : AddressOf());
      Store<std::uint32_t>(at + 8, i == 0    ? 16
                                   : is_last ? 1
                                             : data_.PickValueInArray<std::uint32_t>(
                                                   {16, 20, 512, 4096, 5 * 4096, 0xfffffe00}));
      Store<std::uint16_t>(
          at + 12, static_cast<std::uint16_t>((is_last ? 2 : 1) |
                                              (i != 0 && !is_last && data_.ConsumeBool() ? 2 : 0)));
      Store<std::uint16_t>(at + 14, static_cast<std::uint16_t>(i + 1));
    }
    if (is_indirect) {
      Store<std::uint64_t>(0, (kGrant | kReference * kPage) + table);
      Store<std::uint32_t>(8, 16u * count);
      Store<std::uint32_t>(12, 4);
    }
    Store<std::uint16_t>(kPage + 4 + 2 * (available_ % kRingSize), 0);
    Store<std::uint16_t>(kPage + 2, ++available_);
  }

  // Words anywhere, mostly in the ring.
  void WriteGuest() {
    const std::uint64_t most = data_.ConsumeBool() ? 16 * kRingSize : kFrames * kPage - 8;
    const std::uint64_t page = data_.ConsumeIntegralInRange<std::uint64_t>(0, 2) * kPage;
    const auto at = std::min<std::uint64_t>(
        page + data_.ConsumeIntegralInRange<std::uint64_t>(0, most), kFrames * kPage - 8);
    if (data_.ConsumeBool()) {
      Store<std::uint64_t>(at, data_.ConsumeIntegral<std::uint64_t>());
    } else {
      Store<std::uint16_t>(at, data_.ConsumeIntegral<std::uint8_t>());
    }
  }

  World& world_;
  FuzzedDataProvider& data_;
  std::optional<FileDescriptor> front_end_, file_;
  std::optional<Session> session_;
  bool is_xen_ = false;
  std::uint16_t available_ = 0;
};

}  // namespace
}  // namespace xencomm::vhost_user

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace xencomm::vhost_user;
  static World* const world = new World;
  // Between inputs the fuzzer opens what it likes.
  const std::size_t files = xencomm::OpenFiles();
  FuzzedDataProvider data(bytes, size);
  {
    Input input(*world, data);
    input.Run();
  }
  FUZZ_CHECK(world->pages.mapped_pages() == 0);
  FUZZ_CHECK(xencomm::OpenFiles() == files);
  return 0;
}
