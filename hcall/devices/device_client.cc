#include "hcall/devices/device_client.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hcall/machine/event_calls.h"

namespace xencomm::devices {
namespace {

int ErrnoOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    default:
      return ENODEV;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<machine::Connection>> DeviceClient::Connected() {
  if (connection_ != nullptr) return connection_;
  auto opened = OpenConnection();
  if (!opened.ok()) {
    // Once: a program may try again and again.
    if (!std::exchange(has_complained_, true)) {
      std::fprintf(stderr, "xencomm: %s\n", std::string(opened.status().message()).c_str());
    }
    return opened.status();
  }
  connection_ = *std::move(opened);
  return connection_;
}

absl::StatusOr<std::uint64_t> DeviceClient::Attached(int fd, std::uint64_t id) {
  const MutexLock lock(mutex_);
  const auto connection = Connected();
  if (!connection.ok()) return connection.status();
  if (attached_.contains(id)) return id;
  const absl::StatusOr<std::uint64_t> attached = (*connection)->Attach(fd);
  if (attached.ok()) attached_.insert(*attached);
  return attached;
}

template <class Device>
absl::StatusOr<Device*> DeviceClient::Made(std::unique_ptr<Device>& device) {
  const auto connection = Connected();
  if (!connection.ok()) return connection.status();
  // Devices share them.
  if (mappings_ == nullptr) {
    const auto mappings = OpenMappings(**connection);
    if (!mappings.ok()) return mappings.status();
    mappings_ = *mappings;
  }
  if (device == nullptr) {
    auto made = Device::Create(*connection, *mappings_, program_);
    if (!made.ok()) return made.status();
    device = *std::move(made);
  }
  return device.get();
}

absl::StatusOr<PrivcmdDevice*> DeviceClient::Privcmd() {
  const MutexLock lock(mutex_);
  return Made(privcmd_);
}

absl::StatusOr<GntdevDevice*> DeviceClient::Gntdev() {
  const MutexLock lock(mutex_);
  return Made(gntdev_);
}

absl::StatusOr<GntallocDevice*> DeviceClient::Gntalloc() {
  const MutexLock lock(mutex_);
  return Made(gntalloc_);
}

absl::StatusOr<PageDevice*> DeviceClient::DeviceOfPages(xencomm_device device) {
  if (device == XENCOMM_GNTDEV) return Gntdev();
  return Gntalloc();
}

std::int64_t DeviceClient::Open(xencomm_device device, int flags) {
  const MutexLock lock(mutex_);
  const auto connection = Connected();
  if (!connection.ok()) return -ErrnoOf(connection.status());
  absl::StatusOr<machine::Connection::File> file =
      (*connection)->OpenDevice(device, flags & O_ACCMODE);
  if (!file.ok()) return -ErrnoOf(file.status());
  attached_.insert(file->id);
  // As it came: by the lowest number that was free.
  const int fd = file->fd.Release();
  if ((flags & O_CLOEXEC) == 0) fcntl(fd, F_SETFD, 0);
  if ((flags & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

// An ioctl's argument is as long as its number says.
std::int64_t DeviceClient::EventIoctl(machine::Connection& connection, int fd, std::uint64_t file,
                                      unsigned long request, std::uint64_t argument) {
  std::byte bytes[8];
  const std::size_t size = _IOC_SIZE(request);
  if (size > sizeof(bytes)) return -ENOSYS;  // none of this device's has so long an argument
  const bool is_there = program_.Read(argument, bytes, size);
  const auto ask = [&] {
    return connection.Event(file, static_cast<std::uint32_t>(request),
                            std::span(bytes).first(is_there ? size : 0));
  };
  const std::int64_t answer = ask();
  if (answer != 0 || request != machine::kEventReset) return answer;
  // Events that were on their way are forgotten, too; their ports are enabled by a second one.
  char lost[256];
  while (recv(fd, lost, sizeof(lost), MSG_DONTWAIT) > 0) {
  }
  return ask();
}

std::int64_t DeviceClient::Ioctl(int fd, const DeviceFile& file, unsigned long request,
                                 std::uint64_t argument) {
  if (file.device == XENCOMM_HYPERCALL || file.device == XENCOMM_XENBUS) return -ENOTTY;
  const absl::StatusOr<std::uint64_t> attached = Attached(fd, file.id);
  if (!attached.ok()) return -ErrnoOf(attached.status());
  if (file.device == XENCOMM_EVTCHN) {
    const auto connection = Connection();
    if (!connection.ok()) return -ErrnoOf(connection.status());
    return EventIoctl(**connection, fd, *attached, request, argument);
  }
  if (file.device == XENCOMM_GNTDEV) {
    const absl::StatusOr<GntdevDevice*> gntdev = Gntdev();
    if (!gntdev.ok()) return -ErrnoOf(gntdev.status());
    return (*gntdev)->Ioctl(*attached, request, argument);
  }
  if (file.device == XENCOMM_GNTALLOC) {
    const absl::StatusOr<GntallocDevice*> gntalloc = Gntalloc();
    if (!gntalloc.ok()) return -ErrnoOf(gntalloc.status());
    return (*gntalloc)->Ioctl(*attached, request, argument);
  }
  const absl::StatusOr<PrivcmdDevice*> privcmd = Privcmd();
  if (!privcmd.ok()) return -ErrnoOf(privcmd.status());
  return (*privcmd)->Ioctl(*attached, request, argument);
}

std::int64_t DeviceClient::Map(int fd, const DeviceFile& file, std::uint64_t address,
                               std::size_t length, int protection, int flags, off_t offset) {
  if (length == 0 || offset % 4096 != 0) return -EINVAL;
  if (file.device == XENCOMM_GNTDEV || file.device == XENCOMM_GNTALLOC) {
    const absl::StatusOr<std::uint64_t> attached = Attached(fd, file.id);
    if (!attached.ok()) return -ErrnoOf(attached.status());
    const absl::StatusOr<PageDevice*> pages = DeviceOfPages(file.device);
    if (!pages.ok()) return -ErrnoOf(pages.status());
    return (*pages)->Map(*attached, address, length, protection, flags,
                         static_cast<std::uint64_t>(offset));
  }
  const bool is_of_buffers = file.device == XENCOMM_HYPERCALL;
  if (!is_of_buffers && file.device != XENCOMM_PRIVCMD) return -ENODEV;
  if (is_of_buffers && (flags & MAP_TYPE) == MAP_PRIVATE) return -EINVAL;
  // To Linux, what can never be written is not shared.
  if (is_of_buffers && file.access_mode == O_RDONLY) {
    return (protection & PROT_WRITE) != 0 ? -EACCES : -EINVAL;
  }
  const absl::StatusOr<PrivcmdDevice*> privcmd = Privcmd();
  if (!privcmd.ok()) return -ErrnoOf(privcmd.status());
  if (is_of_buffers) return (*privcmd)->MapBuffers(address, length, protection, flags);
  return (*privcmd)->MapRoom(address, length, protection, flags);
}

int DeviceClient::MayChange(std::uint64_t address, std::size_t length, std::size_t new_length) {
  PrivcmdDevice* const privcmd = KnownPrivcmd();
  return privcmd == nullptr ? 0 : privcmd->MayChange(address, length, new_length);
}

void DeviceClient::Unmapped(std::uint64_t address, std::size_t length) {
  PrivcmdDevice* const privcmd = KnownPrivcmd();
  if (privcmd != nullptr) privcmd->Unmapped(address, length);
  for (PageDevice* const pages :
       {static_cast<PageDevice*>(KnownGntdev()), static_cast<PageDevice*>(KnownGntalloc())}) {
    if (pages != nullptr) pages->Unmapped(address, length);
  }
}

}  // namespace xencomm::devices
