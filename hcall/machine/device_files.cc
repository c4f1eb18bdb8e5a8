#include "hcall/machine/device_files.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::machine {
namespace {

constexpr const char* kNames[] = {"privcmd", "hypercall", "evtchn", "xenbus", "gntdev", "gntalloc"};

std::uint64_t CookieOf(int socket) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &length);
  return cookie;
}

struct Ends {
  FileDescriptor clients;
  FileDescriptor machines;
};

bool CarriesBytes(xencomm_device device) {
  return device == XENCOMM_EVTCHN || device == XENCOMM_XENBUS;
}

// Connected to one another by this abstract name.
absl::StatusOr<Ends> Connect(xencomm_device device, const std::string& name) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // Behind a byte 0; its length is the address's.
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* const where = reinterpret_cast<const sockaddr*>(&address);
  constexpr int kStream = SOCK_STREAM | SOCK_CLOEXEC;
  FileDescriptor listening(socket(AF_UNIX, kStream, 0));
  FileDescriptor connecting(socket(AF_UNIX, kStream, 0));
  if (!listening.is_open() || !connecting.is_open() || bind(listening.get(), where, length) != 0 ||
      listen(listening.get(), 1) != 0 || connect(connecting.get(), where, length) != 0) {
    return absl::ErrnoToStatus(errno, "a device's file");
  }
  // Nobody accepts: when the listening end goes, so does the connection.
  if (!CarriesBytes(device)) return Ends{std::move(listening), std::move(connecting)};
  // Somebody else may have been quicker than this process itself: that is not the file.
  FileDescriptor accepted(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (!accepted.is_open() ||
      getsockopt(accepted.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      peer.pid != getpid()) {
    return absl::UnavailableError("a device's file was taken by another process");
  }
  return Ends{std::move(connecting), std::move(accepted)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceFiles>> DeviceFiles::Create() {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.is_open()) return absl::ErrnoToStatus(errno, "the devices' files");
  return std::unique_ptr<DeviceFiles>(new DeviceFiles(std::move(epoll)));
}

absl::StatusOr<DeviceFiles::Opened> DeviceFiles::Open(xencomm_device device, int access_mode,
                                                      std::shared_ptr<DomainDevices> domain) {
  const MutexLock lock(mutex_);
  if (files_.size() >= kMostFiles) {
    return absl::ResourceExhaustedError("the machine has as many devices open as it keeps");
  }
  const std::uint64_t id = ++last_id_;
  // The process is in it so that no other machine has that name.
  absl::StatusOr<Ends> ends = Connect(
      device,
      absl::StrCat(XENCOMM_DEVICE_NAMES, kNames[device], "/", id, "/", access_mode, "/", getpid()));
  if (!ends.ok()) return ends.status();
  FileDescriptor own(fcntl(ends->machines.get(), F_DUPFD_CLOEXEC, 0));
  epoll_event watched = {.events = EPOLLRDHUP, .data = {.u64 = id}};
  if (!own.is_open() || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, own.get(), &watched) != 0) {
    return absl::ErrnoToStatus(errno, "a device's file");
  }
  const std::uint64_t cookie = CookieOf(ends->clients.get());
  files_.try_emplace(id, File{device, std::move(own), cookie, std::nullopt, std::move(domain)});
  by_cookie_[cookie] = id;
  return Opened{id, std::move(ends->clients), std::move(ends->machines)};
}

void DeviceFiles::Serve(const Closed& closed) {
  epoll_event ended[64];
  const int count = epoll_wait(epoll_.get(), ended, std::size(ended), 0);
  for (int i = 0; i < count; ++i) {
    std::optional<File> gone;
    {
      const MutexLock lock(mutex_);
      const auto file = files_.find(ended[i].data.u64);
      if (file == files_.end()) continue;
      // Whoever serves it has a copy of the end: that it is closed here does not end the watch.
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, file->second.end.get(), nullptr);
      by_cookie_.erase(file->second.cookie);
      gone.emplace(std::move(file->second));
      files_.erase(file);
    }
    closed(ended[i].data.u64, gone->device, gone->domain);
  }
}

std::optional<std::uint64_t> DeviceFiles::Identify(int fd) const {
  const MutexLock lock(mutex_);
  const auto file = by_cookie_.find(CookieOf(fd));
  return file == by_cookie_.end() ? std::nullopt : std::optional(file->second);
}

std::shared_ptr<DomainDevices> DeviceFiles::DomainOf(std::uint64_t id,
                                                     xencomm_device device) const {
  const MutexLock lock(mutex_);
  const auto file = files_.find(id);
  if (file == files_.end() || file->second.device != device) return nullptr;
  return file->second.domain;
}

bool DeviceFiles::IsOpen(std::uint64_t id) const {
  const MutexLock lock(mutex_);
  return files_.contains(id);
}

int DeviceFiles::MayCall(std::uint64_t id, std::uint64_t index,
                         std::uint64_t first_argument) const {
  const MutexLock lock(mutex_);
  const auto file = files_.find(id);
  if (file == files_.end() || file->second.device != XENCOMM_PRIVCMD) return -EBADF;
  if (!file->second.only) return 0;
  return index == __HYPERVISOR_dm_op && first_argument == *file->second.only ? 0 : -EPERM;
}

int DeviceFiles::MayReach(std::uint64_t id, std::uint16_t domain) const {
  const MutexLock lock(mutex_);
  const auto file = files_.find(id);
  if (file == files_.end() || file->second.device != XENCOMM_PRIVCMD) return -EBADF;
  return !file->second.only || *file->second.only == domain ? 0 : -EPERM;
}

int DeviceFiles::Restrict(std::uint64_t id, std::uint16_t domain) {
  const MutexLock lock(mutex_);
  const auto file = files_.find(id);
  if (file == files_.end() || file->second.device != XENCOMM_PRIVCMD) return -EBADF;
  if (file->second.only && *file->second.only != domain) return -EINVAL;
  if (domain != DOMID_INVALID) file->second.only = domain;
  return 0;
}

}  // namespace xencomm::machine
