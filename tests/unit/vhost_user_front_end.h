// A vhost-user front-end for tests: it speaks to a back-end, names a guest's memory to it, and has
// a driver for one ring of it.
#ifndef TESTS_UNIT_VHOST_USER_FRONT_END_H_
#define TESTS_UNIT_VHOST_USER_FRONT_END_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hcall/sharing/vhost_user/message_socket.h"
#include "hcall/sharing/vhost_user/wire.h"
#include "tests/unit/fake_pages.h"
#include "tests/unit/vhost_user_driver.h"

namespace xencomm::vhost_user {

// By what the guest's memory is reached.
enum class Sharing : std::uint8_t { kPlain, kForeign, kGrants, kMixed };
inline constexpr Sharing kAllSharings[] = {Sharing::kPlain, Sharing::kForeign, Sharing::kGrants,
                                           Sharing::kMixed};
inline const char* NameOf(Sharing sharing) {
  constexpr const char* kNames[] = {"Plain", "Foreign", "Grants", "Mixed"};
  return kNames[static_cast<std::size_t>(sharing)];
}

// A domain's memory, and the regions that name it: the ring's parts in the first three pages.
class SharedGuest {
 public:
  static constexpr std::uint64_t kPage = FakePages::kPage;
  static constexpr std::uint32_t kFirstReference = 1000;
  static constexpr std::uint64_t kUser = 0x7f00'0000'0000;
  static constexpr std::uint64_t kPlainAt = 0x1'0000'0000;

  SharedGuest(FakePages& pages, Sharing sharing, std::uint16_t ring_size)
      : pages_(pages), sharing_(sharing), ring_size_(ring_size) {
    const std::uint64_t frames = pages.bytes().size() / kPage;
    for (std::uint32_t i = 0; i < frames; ++i) {
      pages.Give(kFirstReference + i, {.frame = i});
    }
    const auto grants = [](std::uint64_t at, std::uint64_t size, std::uint32_t flags) {
      return MemoryRegion{.guest_address = GrantAddress(at),
                          .size = size,
                          .flags = flags,
                          .domain = FakePages::kDomain};
    };
    const MemoryRegion plain = {
        .guest_address = kPlainAt, .size = pages.bytes().size(), .user_address = kUser};
    const MemoryRegion foreign = {.guest_address = 0,
                                  .size = pages.bytes().size(),
                                  .user_address = 2 * kUser,
                                  .flags = MemoryRegion::kForeign,
                                  .domain = FakePages::kDomain};
    const MemoryRegion parts[] = {
        grants(Driver::kDescriptorsAt, 16 * std::uint64_t{ring_size}, MemoryRegion::kGrants),
        grants(Driver::kAvailableAt, 6 + 2 * std::uint64_t{ring_size}, MemoryRegion::kGrants),
        grants(Driver::kUsedAt, 6 + 8 * std::uint64_t{ring_size}, MemoryRegion::kGrants)};
    const MemoryRegion data = grants(3 * kPage, pages.bytes().size() - 3 * kPage,
                                     MemoryRegion::kGrants | MemoryRegion::kNoAdvance);
    switch (sharing) {
      case Sharing::kPlain:
        regions_ = {plain};
        break;
      case Sharing::kForeign:
        regions_ = {foreign};
        break;
      case Sharing::kGrants:
        regions_ = {parts[0], parts[1], parts[2], data};
        break;
      case Sharing::kMixed:
        regions_ = {data, plain, parts[0], foreign, parts[1], parts[2]};
        break;
    }
  }

  static std::uint64_t GrantAddress(std::uint64_t at) {
    return MemoryRegion::kGrantAddress | (kFirstReference * kPage + at);
  }

  MemoryRegion::Form form() const {
    return sharing_ == Sharing::kPlain ? MemoryRegion::Form::kPlain : MemoryRegion::Form::kXen;
  }
  const std::vector<MemoryRegion>& regions() const { return regions_; }
  // Of Xen's kinds, one that is of no use to anybody.
  std::vector<int> files() const {
    std::vector<int> files;
    for (const MemoryRegion& region : regions_) {
      files.push_back(region.kind() == MemoryRegion::Kind::kPlain ? pages_.fd() : null_.get());
    }
    return files;
  }
  // For the device: mixed, each page by another way.
  std::uint64_t AddressOf(std::uint64_t at) const {
    const std::uint64_t way =
        sharing_ == Sharing::kMixed ? at / kPage % 3 : static_cast<std::uint64_t>(sharing_);
    return way == 0 ? kPlainAt + at : way == 1 ? at : GrantAddress(at);
  }
  // Of the ring, as a front-end says it.
  VringAddress ring(std::uint32_t index) const {
    const auto address = [this](std::uint64_t at) {
      return sharing_ == Sharing::kPlain     ? kUser + at
             : sharing_ == Sharing::kForeign ? 2 * kUser + at
                                             : GrantAddress(at);
    };
    return {.index = index,
            .descriptors = address(Driver::kDescriptorsAt),
            .used = address(Driver::kUsedAt),
            .available = address(Driver::kAvailableAt)};
  }
  // What a back-end keeps mapped of it: pages, while the ring runs.
  long kept_pages() const {
    const auto all = static_cast<long>(pages_.bytes().size() / kPage);
    constexpr long kKept[] = {0, 1, 0, 1};
    return kKept[static_cast<int>(sharing_)] * all +
           (sharing_ == Sharing::kGrants || sharing_ == Sharing::kMixed ? 3 : 0);
  }
  Driver MakeDriver() const {
    return Driver(
        pages_.bytes(), [this](std::uint64_t at) { return AddressOf(at); }, ring_size_);
  }
  std::uint16_t ring_size() const { return ring_size_; }

 private:
  FakePages& pages_;
  const Sharing sharing_;
  const std::uint16_t ring_size_;
  const FileDescriptor null_{open("/dev/null", O_RDWR | O_CLOEXEC)};
  std::vector<MemoryRegion> regions_;
};

class FrontEnd {
 public:
  static constexpr std::uint64_t kXenProtocol =
      kMq | kReplyAck | kConfig | kConfigureMemSlots | kXenMmap;

  // `turn` lets the back-end do what it can; where it has a thread of its own, nothing.
  FrontEnd(FileDescriptor socket, std::function<void()> turn)
      : socket_(std::move(socket)), turn_(std::move(turn)) {
    const timeval patience = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }

  int fd() const { return socket_.get(); }
  // Without being read by anybody yet.
  void Send(Request request, std::span<const std::byte> payload, std::span<const int> files = {},
            std::uint32_t flags = Header::kVersion) {
    // Its own socket is somebody else's to send by.
    MessageSocket sender(FileDescriptor(dup(socket_.get())));
    (void)sender.Send(request, flags, payload, files);
  }
  // The payload of the reply; nothing when there is none.
  std::optional<std::vector<std::byte>> Receive(Request request) {
    std::byte bytes[Header::kBytes];
    if (recv(fd(), bytes, sizeof(bytes), MSG_WAITALL) != sizeof(bytes)) return std::nullopt;
    const Header header = Header::Read(bytes);
    EXPECT_EQ(header.request, request);
    EXPECT_EQ(header.flags, Header::kVersion | Header::kReply);
    std::vector<std::byte> payload(header.size);
    if (!payload.empty() && recv(fd(), payload.data(), payload.size(), MSG_WAITALL) !=
                                static_cast<ssize_t>(payload.size())) {
      return std::nullopt;
    }
    return payload;
  }
  std::optional<std::vector<std::byte>> Ask(Request request,
                                            std::span<const std::byte> payload = {}) {
    Send(request, payload);
    turn_();
    return Receive(request);
  }
  std::uint64_t AskU64(Request request) { return *ReadU64(*Ask(request)); }
  // 0 or an errno; -1 when there was no answer.
  int Do(Request request, std::span<const std::byte> payload, std::span<const int> files = {}) {
    Send(request, payload, files, Header::kVersion | Header::kNeedReply);
    turn_();
    const auto reply = Receive(request);
    if (!reply.has_value()) return -1;
    const auto word = ReadU64(*reply);
    EXPECT_TRUE(word.has_value());
    return word.has_value() ? static_cast<int>(*word) : -1;
  }
  bool has_answer() const {
    pollfd about = {.fd = fd(), .events = POLLIN, .revents = 0};
    return poll(&about, 1, 0) == 1;
  }

  void Negotiate(std::uint64_t protocol_features, std::uint64_t features) {
    Send(Request::kSetOwner, {});
    turn_();
    Send(Request::kSetProtocolFeatures, WriteU64(protocol_features));
    turn_();
    EXPECT_EQ(Do(Request::kSetFeatures, WriteU64(features)), 0);
  }
  int Share(const SharedGuest& guest) {
    return Do(Request::kSetMemTable, WriteRegions(guest.regions(), guest.form()), guest.files());
  }
  // The first answer that is not 0.
  int StartRing(const SharedGuest& guest, std::uint32_t index = 0, std::uint16_t next = 0) {
    const auto file = [index] { return VringFile{static_cast<std::uint8_t>(index), true}.Write(); };
    const std::pair<Request, std::vector<std::byte>> steps[] = {
        {Request::kSetVringNum, VringState{index, guest.ring_size()}.Write()},
        {Request::kSetVringBase, VringState{index, next}.Write()},
        {Request::kSetVringAddr, guest.ring(index).Write()},
        {Request::kSetVringErr, file()},
        {Request::kSetVringCall, file()},
        {Request::kSetVringKick, file()},
        {Request::kSetVringEnable, VringState{index, 1}.Write()}};
    for (const auto& [request, payload] : steps) {
      const int given = request == Request::kSetVringErr    ? error_.get()
                        : request == Request::kSetVringCall ? call_.get()
                        : request == Request::kSetVringKick ? kick_.get()
                                                            : -1;
      const int result =
          Do(request, payload, given < 0 ? std::span<const int>() : std::span(&given, 1));
      if (result != 0) return result;
    }
    return 0;
  }
  std::optional<std::uint32_t> StopRing(std::uint32_t index = 0) {
    const auto reply = Ask(Request::kGetVringBase, VringState{index, 0}.Write());
    return reply.has_value() && reply->size() == 8 ? std::optional(VringState::Read(*reply)->number)
                                                   : std::nullopt;
  }

  void Kick() {
    const std::uint64_t one = 1;
    ASSERT_EQ(write(kick_.get(), &one, sizeof(one)), 8);
    turn_();
  }
  // Whether they were signalled since.
  bool WasCalled() { return Take(call_); }
  bool HadError() { return Take(error_); }
  bool WaitForCall() {
    pollfd about = {.fd = call_.get(), .events = POLLIN, .revents = 0};
    return poll(&about, 1, 10'000) == 1 && WasCalled();
  }

 private:
  static bool Take(const FileDescriptor& file) {
    std::uint64_t count;
    return read(file.get(), &count, sizeof(count)) == sizeof(count);
  }
  static int Event() { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

  const FileDescriptor socket_;
  const std::function<void()> turn_;
  const FileDescriptor kick_{Event()}, call_{Event()}, error_{Event()};
};

}  // namespace xencomm::vhost_user

#endif  // TESTS_UNIT_VHOST_USER_FRONT_END_H_
