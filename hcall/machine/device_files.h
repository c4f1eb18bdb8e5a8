// Files of the machine's devices that clients have open.
//
// A file is a connection of stream sockets: a client has one end, in as many processes as it likes,
// and this is the other. Its address says which device it is and which file (device_names.h);
// that it is really one of these, who has it shows by handing it over. When no process has it any
// longer, the file is closed.
#ifndef HCALL_MACHINE_DEVICE_FILES_H_
#define HCALL_MACHINE_DEVICE_FILES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/device_names.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

class DomainDevices;

class DeviceFiles {
 public:
  // Of all clients together.
  static constexpr std::size_t kMostFiles = 4096;

  static absl::StatusOr<std::unique_ptr<DeviceFiles>> Create();

  // Can be read when there is something for Serve to do: files to be closed. It calls
  // `closed(file, device, domain)` for each that nobody has any longer. By one thread at a time.
  int fd() const { return epoll_.get(); }
  using Closed =
      std::function<void(std::uint64_t, xencomm_device, const std::shared_ptr<DomainDevices>&)>;
  void Serve(const Closed& closed) ABSL_LOCKS_EXCLUDED(mutex_);

  // A file's two ends, the machine's for whoever serves what is said by it.
  struct Opened {
    std::uint64_t id;
    FileDescriptor clients;
    FileDescriptor machines;
  };
  // `access_mode` is open's: O_RDONLY, O_WRONLY or O_RDWR. Of the domain's devices, which the file
  // keeps.
  absl::StatusOr<Opened> Open(xencomm_device device, int access_mode,
                              std::shared_ptr<DomainDevices> domain) ABSL_LOCKS_EXCLUDED(mutex_);

  // Which file a client's end is of; none: it is no such end.
  std::optional<std::uint64_t> Identify(int fd) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Whose device it is: null, if it is not one of that device.
  std::shared_ptr<DomainDevices> DomainOf(std::uint64_t id, xencomm_device device) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsOpen(std::uint64_t id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // What may be done through it: 0, or a negative errno as Linux's privcmd answers. -EBADF: there
  // is no such file. A restricted one makes no hypercalls but dm_op, and reaches one domain.
  int MayCall(std::uint64_t id, std::uint64_t index, std::uint64_t first_argument) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  int MayReach(std::uint64_t id, std::uint16_t domain) const ABSL_LOCKS_EXCLUDED(mutex_);
  // -EINVAL when it is restricted to another domain already.
  int Restrict(std::uint64_t id, std::uint16_t domain) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct File {
    xencomm_device device;
    FileDescriptor end;    // the machine's, to see that nobody has the other one
    std::uint64_t cookie;  // of the client's end: the kernel never gives it to another socket
    std::optional<std::uint16_t> only;
    std::shared_ptr<DomainDevices> domain;
  };

  explicit DeviceFiles(FileDescriptor epoll) : epoll_(std::move(epoll)) {}

  const FileDescriptor epoll_;
  mutable Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, File> files_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::uint64_t, std::uint64_t> by_cookie_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_DEVICE_FILES_H_
