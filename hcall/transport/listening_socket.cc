#include "hcall/transport/listening_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "xencomm/sentence.h"

namespace xencomm {

absl::StatusOr<FileDescriptor> ListenAt(const std::string& path, int type, const char* who) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(Sentence("--socket=%s: expected a path of at most %u bytes",
                                               path, sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);

  const FileDescriptor asking(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (connect(asking.get(), name, sizeof(address)) == 0) {
    return absl::AlreadyExistsError(Sentence("%s at %s already", who, path));
  }
  // Any file refuses; only a socket can be one that was left.
  struct stat about;
  if (errno == ECONNREFUSED && lstat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode)) {
    unlink(path.c_str());
  }

  FileDescriptor listening(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening.is_open() || bind(listening.get(), name, sizeof(address)) != 0) {
    return absl::UnavailableError(
        Sentence("no socket can be made at %s: %s", path, strerrordesc_np(errno)));
  }
  // Its mode is what is left of 0777, and the umask is the process's: the file is made narrower,
  // before anybody can connect.
  chmod(path.c_str(), S_IRUSR | S_IWUSR);
  if (listen(listening.get(), SOMAXCONN) != 0) {
    const int error = errno;
    unlink(path.c_str());
    return absl::UnavailableError(
        Sentence("no socket can listen at %s: %s", path, strerrordesc_np(error)));
  }
  return listening;
}

}  // namespace xencomm
