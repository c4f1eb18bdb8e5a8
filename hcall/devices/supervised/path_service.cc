#include "hcall/devices/supervised/path_service.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hcall/devices/device_client.h"
#include "hcall/devices/places.h"
#include "hcall/devices/supervised/other_program.h"
#include "hcall/devices/supervised/process_facts.h"

namespace xencomm::devices {
namespace {

using Kind = Parameter::Kind;
using Special = PathCall::Special;

// What the kernel takes at most of what an argument says the size of: XATTR_SIZE_MAX.
constexpr std::size_t kMostSized = 64 << 10;

pid_t ThreadOf(const seccomp_notif& call) { return static_cast<pid_t>(call.pid); }

std::int64_t Number(const void* address) { return std::bit_cast<std::int64_t>(address); }

// As the preloaded front shows them: Linux gives its miscellaneous devices numbers as they come.
constexpr unsigned kMiscMajor = 10;
constexpr unsigned kHighestMinor = 127;
unsigned MinorOf(xencomm_device device) { return kHighestMinor - static_cast<unsigned>(device); }

void ShowNode(xencomm_device device, struct stat* status) {
  status->st_mode = S_IFCHR | (status->st_mode & 07777);
  status->st_rdev = makedev(kMiscMajor, MinorOf(device));
  status->st_size = 0;
  status->st_blocks = 0;
}

void ShowNode(xencomm_device device, struct statx* status) {
  status->stx_mode = static_cast<std::uint16_t>(S_IFCHR | (status->stx_mode & 07777));
  status->stx_rdev_major = kMiscMajor;
  status->stx_rdev_minor = MinorOf(device);
  status->stx_size = 0;
  status->stx_blocks = 0;
}

}  // namespace

std::optional<PathService::Place> PathService::PlaceOf(const seccomp_notif& call, int folder,
                                                       std::uint64_t address) const {
  const std::optional<std::string> path = ReadText(ThreadOf(call), address, PATH_MAX);
  if (!path || path->empty()) return std::nullopt;
  std::string base;
  if ((*path)[0] != '/') {
    base = FolderOf(ThreadOf(call), folder);
    if (base.empty()) return std::nullopt;
    if (base == "/") base.clear();
  }
  // Whose thread it was, when the call was told.
  if (ioctl(listener_, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) != 0) return std::nullopt;
  const std::string named = base + ((*path)[0] == '/' ? "" : "/") + *path;
  const char* const outside = xencomm_outside_of(files_.c_str(), base.c_str(), base.size());
  const std::string start = outside != nullptr ? outside : base;
  std::vector<char> room(files_.size() + start.size() + path->size() + 3);
  char* const absolute = room.data() + files_.size();
  start.copy(absolute, start.size());
  const xencomm_place place = xencomm_place_in(files_.c_str(), absolute, start.size(),
                                               path->c_str(), path->size(), outside != nullptr);
  const bool is_served = place.path != path->c_str();
  return Place{is_served ? place.path : named, is_served, place.device, place.is_node};
}

PathService::Served PathService::Serve(const seccomp_notif& call) const {
  switch (call.data.nr) {
    case SYS_fstat:
      return Status(call, static_cast<int>(call.data.args[0]), call.data.args[1], false);
    case SYS_getcwd:
      return CurrentFolder(call);
    case SYS_connect:
    case SYS_bind:
      return Name(call);
    default:
      break;
  }
  const PathCall* const row = FindPathCall(call.data.nr);
  return row == nullptr ? Served{} : Make(call, *row);
}

PathService::Served PathService::Make(const seccomp_notif& call, const PathCall& row) const {
  const pid_t thread = ThreadOf(call);
  std::array<std::int64_t, 6> arguments;
  std::deque<std::string> texts;               // paths and more
  std::deque<std::vector<std::byte>> buffers;  // by argument, in order
  struct Output {
    std::uint64_t address;
    std::vector<std::byte>* bytes;
  };
  std::optional<Output> output;
  bool is_sized = false;
  bool is_served = false;
  Place last;
  int folder = AT_FDCWD;
  FileDescriptor file;
  // First only what decides whether it is ours.
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Parameter& parameter = row.parameters[i];
    const std::uint64_t given = call.data.args[i];
    arguments[i] = static_cast<std::int64_t>(given);
    if (parameter.kind == Kind::kFolder) {
      folder = static_cast<int>(given);
      arguments[i] = AT_FDCWD;
    }
    if (parameter.kind != Kind::kPath && parameter.kind != Kind::kTarget) continue;
    const std::optional<Place> place = PlaceOf(call, folder, given);
    // An empty one is about the descriptor itself.
    if (!place) {
      const bool is_statx = row.special == Special::kStatx;
      char first = 'x';
      if ((row.special != Special::kStatus && !is_statx) || folder == AT_FDCWD ||
          !ReadMemory(thread, given, &first, 1) || first != '\0') {
        return {};
      }
      return Status(call, folder, call.data.args[is_statx ? 4 : 2], is_statx);
    }
    if (parameter.kind == Kind::kTarget) {
      // A relative one is what it is.
      const std::optional<std::string> text = ReadText(thread, given, PATH_MAX);
      const bool leads = text && (*text)[0] == '/' && place->is_served;
      texts.push_back(leads ? place->path : text.value_or(""));
      is_served = is_served || leads;
    } else {
      is_served = is_served || place->is_served;
      last = *place;
      texts.push_back(place->path);
    }
    arguments[i] = Number(texts.back().c_str());
  }
  if (!is_served) return {};
  if (row.special == Special::kOpens || row.special == Special::kOpensByHow ||
      row.special == Special::kCreates) {
    return Open(call, row, last);
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Parameter& parameter = row.parameters[i];
    const std::uint64_t given = call.data.args[i];
    std::size_t bytes = parameter.bytes;
    switch (parameter.kind) {
      case Kind::kMode:
        arguments[i] = static_cast<std::int64_t>(given & ~std::uint64_t{UmaskOf(thread)});
        break;
      case Kind::kText: {
        const std::optional<std::string> text = ReadText(thread, given, PATH_MAX);
        if (!text) return {.is_served = true, .result = -EFAULT};
        texts.push_back(*text);
        arguments[i] = Number(texts.back().c_str());
        break;
      }
      case Kind::kInSized:
      case Kind::kOutSized:
        bytes = std::min<std::uint64_t>(call.data.args[i + 1], kMostSized);
        if (static_cast<std::int64_t>(call.data.args[i + 1]) < 0) bytes = 0;
        [[fallthrough]];
      case Kind::kIn:
      case Kind::kOut: {
        const bool is_in = parameter.kind == Kind::kIn || parameter.kind == Kind::kInSized;
        if (given == 0 || bytes == 0) break;
        std::vector<std::byte>& buffer = buffers.emplace_back(bytes);
        if (is_in && !ReadMemory(thread, given, buffer.data(), bytes)) {
          return {.is_served = true, .result = -EFAULT};
        }
        arguments[i] = Number(buffer.data());
        if (!is_in) {
          output = {given, &buffer};
          is_sized = parameter.kind == Kind::kOutSized;
          if (is_sized) arguments[i + 1] = static_cast<std::int64_t>(bytes);
        }
        break;
      }
      case Kind::kFile:
        return {.is_served = true, .result = [&]() -> std::int64_t {
                  const FileDescriptor own = descriptors_.Of(call, static_cast<int>(given));
                  if (!own.is_open()) return -EBADF;
                  const long result = syscall(row.number, own.get(), arguments[1], arguments[2]);
                  return result < 0 ? -errno : result;
                }()};
      default:
        break;
    }
    if (is_sized && row.parameters[i].kind == Kind::kOutSized) ++i;
  }
  const long result = syscall(row.number, arguments[0], arguments[1], arguments[2], arguments[3],
                              arguments[4], arguments[5]);
  if (result < 0) return {.is_served = true, .result = -errno};
  Served served = {.is_served = true, .result = result};
  if (!output) return served;
  std::vector<std::byte>& bytes = *output->bytes;
  if (is_sized) bytes.resize(std::min(bytes.size(), static_cast<std::size_t>(result)));
  if (last.is_node && row.special == Special::kStatus) {
    ShowNode(last.device, reinterpret_cast<struct stat*>(bytes.data()));
  } else if (last.is_node && row.special == Special::kStatx) {
    ShowNode(last.device, reinterpret_cast<struct statx*>(bytes.data()));
  } else if (row.special == Special::kLink) {
    // As it is seen from outside.
    const std::string link(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const char* const outside = xencomm_outside_of(files_.c_str(), link.c_str(), link.size());
    if (outside != nullptr) {
      bytes.erase(bytes.begin(), bytes.begin() + (outside - link.c_str()));
      served.result = static_cast<std::int64_t>(bytes.size());
    }
  }
  if (!WriteMemory(thread, output->address, bytes.data(), bytes.size())) served.result = -EFAULT;
  return served;
}

PathService::Served PathService::Open(const seccomp_notif& call, const PathCall& row,
                                      const Place& place) const {
  const std::size_t path = row.parameters[0].kind == Kind::kFolder ? 1 : 0;
  const __u64* const a = call.data.args;
  open_how how = {};
  if (row.special == Special::kOpensByHow) {
    // Where the folder is the root of all, or the limit.
    if (a[3] < sizeof(how) || !ReadMemory(ThreadOf(call), a[2], &how, sizeof(how)) ||
        (how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0) {
      return {};
    }
  } else if (row.special == Special::kCreates) {
    how = {.flags = O_CREAT | O_WRONLY | O_TRUNC, .mode = a[1], .resolve = 0};
  } else {
    how = {.flags = static_cast<std::uint32_t>(a[path + 1]), .mode = a[path + 2], .resolve = 0};
  }
  if (place.device != XENCOMM_NO_DEVICE && (how.flags & O_PATH) == 0) {
    return {.is_served = true, .result = 0, .opens = true, .place = place, .flags = how.flags};
  }
  // Of what is opened for its path alone the kernel gives nobody a copy.
  const int flags = static_cast<int>(how.flags & ~std::uint64_t{O_PATH});
  mode_t mode = static_cast<mode_t>(how.mode);
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) mode &= ~UmaskOf(ThreadOf(call));
  // Nobody waits here for the other end of a pipe.
  struct stat about;
  const bool is_pipe = stat(place.path.c_str(), &about) == 0 && S_ISFIFO(about.st_mode);
  const int waits = is_pipe ? O_NONBLOCK : 0;
  FileDescriptor fd(open(place.path.c_str(), flags | waits | O_CLOEXEC | O_NOCTTY, mode));
  if (!fd.is_open()) return {.is_served = true, .result = -errno};
  if (is_pipe && (flags & O_NONBLOCK) == 0) fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK);
  Give(call, std::move(fd), flags);
  return {.is_served = true, .is_answered = true};
}

void PathService::Give(const seccomp_notif& call, FileDescriptor fd, int flags) const {
  seccomp_notif_addfd add = {.id = call.id,
                             .flags = SECCOMP_ADDFD_FLAG_SEND,
                             .srcfd = static_cast<std::uint32_t>(fd.get()),
                             .newfd = 0,
                             .newfd_flags = static_cast<std::uint32_t>(flags & O_CLOEXEC)};
  if (ioctl(listener_, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0) return;
  seccomp_notif_resp refused = {.id = call.id, .val = 0, .error = -errno, .flags = 0};
  ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &refused);
}

// A descriptor of a device has the status of its node.
PathService::Served PathService::Status(const seccomp_notif& call, int fd, std::uint64_t address,
                                        bool is_statx) const {
  const FileDescriptor own = descriptors_.SocketOf(call, fd);
  const DeviceFile file = xencomm_device_file_of(own.get());
  const char* const node = xencomm_node(file.device);
  if (node == nullptr) return {};
  const std::string path = files_ + node;
  struct stat status = {};
  struct statx more = {};
  const auto mask = static_cast<unsigned>(call.data.args[3]);
  const int result =
      is_statx ? statx(AT_FDCWD, path.c_str(), 0, mask, &more) : stat(path.c_str(), &status);
  if (result != 0) return {.is_served = true, .result = -errno};
  ShowNode(file.device, &status);
  ShowNode(file.device, &more);
  const bool is_written = is_statx ? WriteMemory(ThreadOf(call), address, &more, sizeof(more))
                                   : WriteMemory(ThreadOf(call), address, &status, sizeof(status));
  return {.is_served = true, .result = is_written ? 0 : -EFAULT};
}

PathService::Served PathService::CurrentFolder(const seccomp_notif& call) const {
  const std::string folder = FolderOf(ThreadOf(call), AT_FDCWD);
  const char* const outside = xencomm_outside_of(files_.c_str(), folder.c_str(), folder.size());
  if (outside == nullptr) return {};
  const std::size_t bytes = std::strlen(outside) + 1;
  if (call.data.args[1] < bytes) return {.is_served = true, .result = -ERANGE};
  const bool is_written = WriteMemory(ThreadOf(call), call.data.args[0], outside, bytes);
  return {.is_served = true, .result = is_written ? static_cast<std::int64_t>(bytes) : -EFAULT};
}

PathService::Served PathService::Name(const seccomp_notif& call) const {
  sockaddr_un address = {};
  constexpr std::size_t kStart = offsetof(sockaddr_un, sun_path);
  const std::uint64_t length = call.data.args[2];
  if (length <= kStart || length > sizeof(address) ||
      !ReadMemory(ThreadOf(call), call.data.args[1], &address, length) ||
      address.sun_family != AF_UNIX || address.sun_path[0] == '\0') {
    return {};
  }
  const std::optional<Place> place = PlaceOf(call, AT_FDCWD, call.data.args[1] + kStart);
  if (!place || !place->is_served) return {};
  const FileDescriptor own = descriptors_.Of(call, static_cast<int>(call.data.args[0]));
  // One that is longer than an address can be goes by its folder's descriptor.
  const std::size_t name = place->path.rfind('/') + 1;
  const FileDescriptor folder(
      open(place->path.substr(0, name).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own.is_open() || !folder.is_open()) return {.is_served = true, .result = -errno};
  const std::string path =
      place->path.size() < sizeof(address.sun_path)
          ? place->path
          : absl::StrCat("/proc/self/fd/", folder.get(), "/", place->path.substr(name));
  if (path.size() >= sizeof(address.sun_path)) {
    return {.is_served = true, .result = -ENAMETOOLONG};
  }
  address = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const auto* const where = reinterpret_cast<const sockaddr*>(&address);
  const int result = call.data.nr == SYS_bind ? bind(own.get(), where, sizeof(address))
                                              : connect(own.get(), where, sizeof(address));
  return {.is_served = true, .result = result == 0 ? 0 : -errno};
}

}  // namespace xencomm::devices
