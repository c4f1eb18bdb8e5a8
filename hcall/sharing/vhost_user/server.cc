#include "hcall/sharing/vhost_user/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <utility>

#include "hcall/transport/listening_socket.h"

namespace xencomm::vhost_user {

absl::StatusOr<std::unique_ptr<Server>> Server::Listen(const std::string& path) {
  absl::StatusOr<FileDescriptor> listening = ListenAt(path, SOCK_STREAM, "a back-end serves");
  if (!listening.ok()) return listening.status();
  return std::unique_ptr<Server>(new Server(path, *std::move(listening)));
}

Server::~Server() { unlink(path_.c_str()); }

absl::Status Server::Run(int stop, Device& device, PageMapper* mapper,
                         const Session::Teller& teller) {
  pollfd files[] = {{.fd = stop, .events = POLLIN, .revents = 0},
                    {.fd = socket_.get(), .events = POLLIN, .revents = 0}};
  for (;;) {
    if (poll(files, std::size(files), -1) < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "waiting for front-ends");
    }
    if (files[0].revents != 0) return absl::OkStatus();
    FileDescriptor client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.is_open()) {
      // Without descriptors it would be asked for at once again.
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) usleep(10'000);
      continue;
    }
    Session session(std::move(client), device, mapper, teller);
    absl::Status turned = absl::OkStatus();
    while (turned.ok()) turned = session.Turn(stop, -1);
    if (absl::IsAborted(turned)) return absl::OkStatus();
    if (!absl::IsCancelled(turned)) teller(std::string(turned.message()));
  }
}

}  // namespace xencomm::vhost_user
