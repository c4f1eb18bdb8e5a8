#include "hcall/transport/machine/message.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "hcall/transport/machine/protocol.h"

namespace xencomm::machine {
namespace {

// Room for one descriptor beside a message.
union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

int Send(int socket, std::uint64_t kind, std::span<const std::uint64_t> words, int fd) {
  iovec parts[] = {{&kind, sizeof(kind)},
                   {const_cast<std::uint64_t*>(words.data()), words.size_bytes()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  Control control = {};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof(control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
  }
  for (;;) {
    if (sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno == EPIPE ? -ECONNRESET : -errno;
  }
}

int SendRefusal(int socket, int error, std::string_view sentence) {
  std::vector<std::uint64_t> words((sentence.size() + 7) / 8);
  std::memcpy(words.data(), sentence.data(), sentence.size());
  return Send(socket, static_cast<std::uint64_t>(error), words);
}

std::string_view SentenceOf(const Message& refusal) {
  const auto* const text = reinterpret_cast<const char*>(refusal.words.data());
  return {text, strnlen(text, refusal.words.size() * sizeof(std::uint64_t))};
}

int Receive(int socket, Message* received) {
  received->fd.reset();
  received->words.resize(kMostWords);
  iovec parts[] = {{&received->kind, sizeof(received->kind)},
                   {received->words.data(), kMostWords * sizeof(std::uint64_t)}};
  Control control = {};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = &control;
  message.msg_controllen = sizeof(control);
  ssize_t length;
  do {
    length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return -errno;
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
       each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS ||
        each->cmsg_len < CMSG_LEN(sizeof(int))) {
      continue;
    }
    int fd;
    std::memcpy(&fd, CMSG_DATA(each), sizeof(fd));
    received->fd.emplace(fd);
  }
  if (length == 0) return -ECONNRESET;
  const auto bytes = static_cast<std::size_t>(length);
  if ((message.msg_flags & MSG_TRUNC) != 0 || bytes % sizeof(std::uint64_t) != 0) return -EPROTO;
  received->words.resize(bytes / sizeof(std::uint64_t) - 1);
  return 0;
}

}  // namespace xencomm::machine
