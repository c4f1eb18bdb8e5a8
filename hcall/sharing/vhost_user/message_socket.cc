#include "hcall/sharing/vhost_user/message_socket.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(kMostDescriptors * sizeof(int))];
};

}  // namespace

absl::StatusOr<std::size_t> MessageSocket::Read(std::span<std::byte> room) {
  iovec part = {room.data(), room.size()};
  Control control;
  msghdr about = {};
  about.msg_iov = &part;
  about.msg_iovlen = 1;
  about.msg_control = &control;
  about.msg_controllen = sizeof(control);
  ssize_t length;
  do {
    length = recvmsg(socket_.get(), &about, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (length < 0 && errno == EINTR);
  if (length < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    return absl::CancelledError(Sentence("the front-end has gone: %s", strerrordesc_np(errno)));
  }
  // Each is this process's from now on, whatever becomes of the message.
  for (cmsghdr* each = CMSG_FIRSTHDR(&about); each != nullptr; each = CMSG_NXTHDR(&about, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof(fd), sizeof(fd));
      message_.files.emplace_back(fd);
    }
  }
  if ((about.msg_flags & MSG_CTRUNC) != 0 || message_.files.size() > kMostDescriptors) {
    return absl::InvalidArgumentError(
        Sentence("a message with more than %u descriptors: expected no more", kMostDescriptors));
  }
  if (length == 0) {
    return absl::CancelledError(got_ == 0 ? "the front-end has gone"
                                          : "the front-end has gone in the middle of a message");
  }
  return static_cast<std::size_t>(length);
}

absl::StatusOr<std::optional<Message>> MessageSocket::Receive() {
  while (got_ < sizeof(header_)) {
    const auto bytes = Read(std::span(header_).subspan(got_));
    if (!bytes.ok()) return bytes.status();
    if (*bytes == 0) return std::optional<Message>();
    got_ += *bytes;
    if (got_ < sizeof(header_)) continue;
    const Header header = Header::Read(header_);
    if ((header.flags & Header::kVersionMask) != Header::kVersion ||
        (header.flags & Header::kReply) != 0 || header.size > kMostPayload) {
      return absl::InvalidArgumentError(Sentence(
          "message %u of %u bytes with flags %#x: expected a request of version 1 and of "
          "at most %u bytes",
          static_cast<std::uint32_t>(header.request), header.size, header.flags, kMostPayload));
    }
    message_.request = header.request;
    message_.flags = header.flags;
    message_.payload.resize(header.size);
  }
  while (got_ < sizeof(header_) + message_.payload.size()) {
    const auto bytes = Read(std::span(message_.payload).subspan(got_ - sizeof(header_)));
    if (!bytes.ok()) return bytes.status();
    if (*bytes == 0) return std::optional<Message>();
    got_ += *bytes;
  }
  got_ = 0;
  return std::optional(std::exchange(message_, {}));
}

absl::Status MessageSocket::Send(Request request, std::uint32_t flags,
                                 std::span<const std::byte> payload, std::span<const int> files) {
  std::byte header[Header::kBytes];
  Header{request, flags, static_cast<std::uint32_t>(payload.size())}.Write(header);
  iovec parts[] = {{header, sizeof(header)},
                   {const_cast<std::byte*>(payload.data()), payload.size()}};
  msghdr about = {};
  about.msg_iov = parts;
  about.msg_iovlen = 2;
  Control control = {};
  if (!files.empty()) {
    about.msg_control = &control;
    about.msg_controllen = CMSG_SPACE(files.size_bytes());
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(files.size_bytes());
    std::memcpy(CMSG_DATA(&control.header), files.data(), files.size_bytes());
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket_.get(), &about, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
    return absl::CancelledError("the front-end has gone");
  }
  if (sent != static_cast<ssize_t>(sizeof(header) + payload.size())) {
    return absl::UnavailableError("the front-end does not read what it is answered");
  }
  return absl::OkStatus();
}

}  // namespace xencomm::vhost_user
