#include "hcall/sharing/vhost_user/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "xencomm/sentence.h"

namespace xencomm::vhost_user {

absl::StatusOr<std::unique_ptr<Server>> Server::Listen(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(Sentence("--socket=%s: expected a path of at most %u bytes",
                                               path, sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);

  const FileDescriptor asking(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(asking.get(), name, sizeof(address)) == 0) {
    return absl::AlreadyExistsError(Sentence("a back-end serves at %s already", path));
  }
  // Any file refuses; only a socket can be one that a back-end left.
  struct stat about;
  if (errno == ECONNREFUSED && lstat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode)) {
    unlink(path.c_str());
  }

  FileDescriptor listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening.is_open()) return absl::ErrnoToStatus(errno, "a socket for the back-end");
  if (bind(listening.get(), name, sizeof(address)) != 0) {
    return absl::UnavailableError(
        Sentence("no socket can be made at %s: %s", path, strerrordesc_np(errno)));
  }
  // Before anybody can connect.
  chmod(path.c_str(), S_IRUSR | S_IWUSR);
  if (listen(listening.get(), SOMAXCONN) != 0) {
    unlink(path.c_str());
    return absl::ErrnoToStatus(errno, "the back-end's socket");
  }
  return std::unique_ptr<Server>(new Server(path, std::move(listening)));
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
