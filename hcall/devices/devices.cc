// Xen's kernel devices for a program on a machine: what the front loads when the first is used.

#include "hcall/devices/devices.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "hcall/devices/privcmd_device.h"
#include "hcall/machine/event_calls.h"
#include "hcall/transport/machine/connection.h"
#include "xencomm/export.h"
#include "xencomm/mutex.h"
#include "xencomm/process_slot.h"

namespace xencomm::devices {
namespace {

// A device's file, as its name says (device_names.h).
struct File {
  std::uint64_t id = 0;
  int access_mode = 0;
};

bool FileOf(int fd, File* file) {
  sockaddr_un address = {};
  socklen_t length = sizeof(address);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  if (getpeername(fd, name, &length) != 0) {
    // An end that listens is at the name itself.
    length = sizeof(address);
    if (errno != ENOTCONN || getsockname(fd, name, &length) != 0) return false;
  }
  const std::size_t start = offsetof(sockaddr_un, sun_path) + 1;
  if (address.sun_family != AF_UNIX || length <= start) return false;
  // "xencomm/DEVICE/NUMBER/MODE/..."
  const std::vector<std::string> parts =
      absl::StrSplit(std::string(address.sun_path + 1, length - start), '/');
  if (parts.size() < 4) return false;
  const auto number = [](const std::string& text, auto* value) {
    return std::from_chars(text.data(), text.data() + text.size(), *value).ec == std::errc();
  };
  return number(parts[2], &file->id) && number(parts[3], &file->access_mode);
}

// Descriptors that stay open behind the program's back: of the connection, and of the memory.
std::array<std::atomic<int>, 2> own_descriptors = {-1, -1};

// This process on its machine.
class Process {
 public:
  absl::StatusOr<std::shared_ptr<machine::Connection>> Connection() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return Connected();
  }

  // The file by which something is asked, attached. What the descriptor is of was asked before.
  absl::StatusOr<std::uint64_t> Attached(int fd, std::uint64_t id) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    const auto connection = Connected();
    if (!connection.ok()) return connection.status();
    if (attached_.contains(id)) return id;
    const absl::StatusOr<std::uint64_t> attached = (*connection)->Attach(fd);
    if (attached.ok()) attached_.insert(*attached);
    return attached;
  }
  void NoteOpened(std::uint64_t id) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    attached_.insert(id);
  }

  absl::StatusOr<PrivcmdDevice*> Privcmd() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    const auto connection = Connected();
    if (!connection.ok()) return connection.status();
    if (privcmd_ == nullptr) {
      const auto mappings = machine::Connection::MappingsOfThisProcess(*Setting());
      if (!mappings.ok()) return mappings.status();
      own_descriptors[1].store((*(*connection)->Memory())->fd());
      auto device = PrivcmdDevice::Create(*connection, **mappings);
      if (!device.ok()) return device.status();
      privcmd_ = *std::move(device);
    }
    return privcmd_.get();
  }
  // If there is one.
  PrivcmdDevice* KnownPrivcmd() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return privcmd_.get();
  }

 private:
  // What the environment says.
  static absl::StatusOr<JoinedSetting> Setting() {
    const char* const setting = std::getenv(XENCOMM_MACHINE_VARIABLE);
    return ParseJoinedSetting(setting == nullptr ? "" : setting);
  }
  static absl::StatusOr<std::shared_ptr<machine::Connection>> OpenConnection() {
    const absl::StatusOr<JoinedSetting> setting = Setting();
    if (!setting.ok()) return setting.status();
    return machine::Connection::OfMappings(*setting);
  }
  absl::StatusOr<std::shared_ptr<machine::Connection>> Connected()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
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
    own_descriptors[0].store(connection_->fd());
    return connection_;
  }

  Mutex mutex_;
  std::shared_ptr<machine::Connection> connection_ ABSL_GUARDED_BY(mutex_);
  std::set<std::uint64_t> attached_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<PrivcmdDevice> privcmd_ ABSL_GUARDED_BY(mutex_);
  bool has_complained_ ABSL_GUARDED_BY(mutex_) = false;
};

// A forked child is a client of its own.
Process& ThisProcess() {
  static ProcessSlot<Process> slot;
  return slot.OfThisProcess();
}

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

int Open(xencomm_device device, int flags) {
  Process& process = ThisProcess();
  const auto connection = process.Connection();
  if (!connection.ok()) return -ErrnoOf(connection.status());
  absl::StatusOr<machine::Connection::File> file =
      (*connection)->OpenDevice(device, flags & O_ACCMODE);
  if (!file.ok()) return -ErrnoOf(file.status());
  process.NoteOpened(file->id);
  // As it came: by the lowest number that was free.
  const int fd = file->fd.Release();
  if ((flags & O_CLOEXEC) == 0) fcntl(fd, F_SETFD, 0);
  if ((flags & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

// An ioctl's argument is as long as its number says.
std::int64_t EventIoctl(machine::Connection& connection, int fd, std::uint64_t file,
                        unsigned long request, const void* argument) {
  std::byte bytes[8];
  const std::size_t size = _IOC_SIZE(request);
  if (size > sizeof(bytes)) return -ENOSYS;  // none of this device's has so long an argument
  const bool is_there = CanTouch(reinterpret_cast<std::uintptr_t>(argument), size, Access::kRead);
  if (is_there && size != 0) std::memcpy(bytes, argument, size);
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

std::int64_t Ioctl(int fd, xencomm_device device, unsigned long request, void* argument) {
  File file;
  if (!FileOf(fd, &file)) return -EBADF;
  Process& process = ThisProcess();
  if (device != XENCOMM_PRIVCMD && device != XENCOMM_EVTCHN) return -ENOTTY;
  const absl::StatusOr<std::uint64_t> attached = process.Attached(fd, file.id);
  if (!attached.ok()) return -ErrnoOf(attached.status());
  if (device == XENCOMM_EVTCHN) {
    const auto connection = process.Connection();
    if (!connection.ok()) return -ErrnoOf(connection.status());
    return EventIoctl(**connection, fd, *attached, request, argument);
  }
  const absl::StatusOr<PrivcmdDevice*> privcmd = process.Privcmd();
  if (!privcmd.ok()) return -ErrnoOf(privcmd.status());
  return (*privcmd)->Ioctl(*attached, request, argument);
}

std::int64_t Map(int fd, xencomm_device device, void* address, std::size_t length, int protection,
                 int flags, off_t offset) {
  File file;
  if (!FileOf(fd, &file)) return -EBADF;
  if (length == 0 || offset % 4096 != 0) return -EINVAL;
  const bool is_of_buffers = device == XENCOMM_HYPERCALL;
  if (!is_of_buffers && device != XENCOMM_PRIVCMD) return -ENODEV;
  if (is_of_buffers && (flags & MAP_TYPE) == MAP_PRIVATE) return -EINVAL;
  // To Linux, what can never be written is not shared.
  if (is_of_buffers && file.access_mode == O_RDONLY) {
    return (protection & PROT_WRITE) != 0 ? -EACCES : -EINVAL;
  }
  const absl::StatusOr<PrivcmdDevice*> privcmd = ThisProcess().Privcmd();
  if (!privcmd.ok()) return -ErrnoOf(privcmd.status());
  if (is_of_buffers) return (*privcmd)->MapBuffers(address, length, protection, flags);
  return (*privcmd)->MapRoom(address, length, protection, flags);
}

// What comes out of C++ comes out of C as errno.
template <class Function>
std::int64_t Guarded(const Function& function) {
  std::int64_t result;
  try {
    result = function();
  } catch (const std::bad_alloc&) {
    result = -ENOMEM;
  }
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}

constexpr struct xencomm_devices kDevices = {
    .open =
        [](xencomm_device device, int flags) {
          return static_cast<int>(Guarded([&] { return std::int64_t{Open(device, flags)}; }));
        },
    .ioctl = [](int fd, xencomm_device device, unsigned long request, void* argument) -> long {
      return Guarded([&] { return Ioctl(fd, device, request, argument); });
    },
    .mmap =
        [](int fd, xencomm_device device, void* address, std::size_t length, int protection,
           int flags, off_t offset) {
          return reinterpret_cast<void*>(
              Guarded([&] { return Map(fd, device, address, length, protection, flags, offset); }));
        },
    .may_change =
        [](void* address, std::size_t length, std::size_t new_length) {
          int error = 0;
          Guarded([&] {
            if (PrivcmdDevice* privcmd = ThisProcess().KnownPrivcmd()) {
              error = privcmd->MayChange(address, length, new_length);
            }
            return std::int64_t{0};
          });
          return error;
        },
    .unmapped =
        [](void* address, std::size_t length) {
          Guarded([&] {
            const int error = errno;
            if (PrivcmdDevice* privcmd = ThisProcess().KnownPrivcmd()) {
              privcmd->Unmapped(address, length);
            }
            errno = error;
            return std::int64_t{0};
          });
        },
    .own_from =
        [](int from) {
          int lowest = -1;
          for (const std::atomic<int>& each : own_descriptors) {
            const int own = each.load();
            if (own >= from && (lowest < 0 || own < lowest)) lowest = own;
          }
          return lowest;
        },
};

}  // namespace
}  // namespace xencomm::devices

XENCOMM_API const struct xencomm_devices* xencomm_find_devices() {
  return &xencomm::devices::kDevices;
}
