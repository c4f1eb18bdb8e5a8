// Messages over a stream socket, as they come: in pieces, with descriptors beside them.
//
// Neither side can make the other wait in the middle of a message: what has come of one is kept
// until the rest comes, and what cannot be sent at once ends the connection.
#ifndef HCALL_SHARING_VHOST_USER_MESSAGE_SOCKET_H_
#define HCALL_SHARING_VHOST_USER_MESSAGE_SOCKET_H_

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/wire.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::vhost_user {

class MessageSocket {
 public:
  explicit MessageSocket(FileDescriptor socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }

  // A message, when it is there as a whole; nothing: wait until more can be read. kCancelled: the
  // other side has gone; kInvalidArgument: what came is no message of this protocol.
  absl::StatusOr<std::optional<Message>> Receive();

  // `files` are borrowed. kUnavailable: the other side does not read what it is sent.
  absl::Status Send(Request request, std::uint32_t flags, std::span<const std::byte> payload,
                    std::span<const int> files = {});

 private:
  // Reads into `room` as much as is there, and descriptors: how many bytes, 0 for none now.
  absl::StatusOr<std::size_t> Read(std::span<std::byte> room);

  const FileDescriptor socket_;
  std::byte header_[Header::kBytes];
  std::size_t got_ = 0;  // of header and payload
  Message message_;      // whose payload has its size as soon as there is a header
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_MESSAGE_SOCKET_H_
