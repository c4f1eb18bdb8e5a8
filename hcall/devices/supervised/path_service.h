// System calls of a supervised program that take paths, where these lead into the machine's files:
// the supervisor makes them in its place (path_calls.h).
#ifndef HCALL_DEVICES_SUPERVISED_PATH_SERVICE_H_
#define HCALL_DEVICES_SUPERVISED_PATH_SERVICE_H_

#include <linux/seccomp.h>

#include <cstdint>
#include <optional>
#include <string>

#include "hcall/devices/supervised/descriptors.h"
#include "hcall/devices/supervised/path_calls.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/device_names.h"

namespace xencomm::devices {

class PathService {
 public:
  // `files` is the folder of the machine's files; `listener` and `descriptors` are borrowed. This
  // process's own umask is to be 0: a program's counts.
  PathService(std::string files, int listener, Descriptors& descriptors)
      : files_(std::move(files)), listener_(listener), descriptors_(descriptors) {}

  struct Place {
    std::string path;  // absolute
    bool is_served = false;
    xencomm_device device = XENCOMM_NO_DEVICE;
    bool is_node = false;
  };
  // Where the path at `address` leads, from `folder`; nothing when it cannot be read or is empty.
  std::optional<Place> PlaceOf(const seccomp_notif& call, int folder, std::uint64_t address) const;

  struct Served {
    bool is_served = false;  // or else the kernel goes on with it
    std::int64_t result = 0;
    // A device is to be opened there, with these flags; or the call has been answered.
    bool opens = false;
    Place place = {};
    std::uint64_t flags = 0;
    bool is_answered = false;
  };
  Served Serve(const seccomp_notif& call) const;

  // Answers with a descriptor, as open() gives it.
  void Give(const seccomp_notif& call, FileDescriptor fd, int flags) const;

 private:
  Served Open(const seccomp_notif& call, const PathCall& row, const Place& place) const;
  Served Make(const seccomp_notif& call, const PathCall& row) const;
  Served Status(const seccomp_notif& call, int fd, std::uint64_t address, bool is_statx) const;
  Served CurrentFolder(const seccomp_notif& call) const;
  // connect and bind.
  Served Name(const seccomp_notif& call) const;

  const std::string files_;
  const int listener_;
  Descriptors& descriptors_;
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_PATH_SERVICE_H_
