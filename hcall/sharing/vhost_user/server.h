// A back-end at a socket: one front-end after the other.
#ifndef HCALL_SHARING_VHOST_USER_SERVER_H_
#define HCALL_SHARING_VHOST_USER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/session.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::vhost_user {

class Server {
 public:
  // A socket at `path`, for this user alone. One that a back-end left behind is replaced;
  // kAlreadyExists: somebody answers there.
  static absl::StatusOr<std::unique_ptr<Server>> Listen(const std::string& path);

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Nothing is left of the socket.
  ~Server();

  // Serves until there is something to be read at `stop`. What a front-end does, however wrong,
  // ends its own connection at most. The rest is Session's.
  absl::Status Run(int stop, Device& device, PageMapper* mapper, const Session::Teller& teller);

 private:
  Server(std::string path, FileDescriptor socket)
      : path_(std::move(path)), socket_(std::move(socket)) {}

  const std::string path_;
  const FileDescriptor socket_;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_SERVER_H_
