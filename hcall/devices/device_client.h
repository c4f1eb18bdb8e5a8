// A process on its machine, as it uses devices: what their system calls do.
#ifndef HCALL_DEVICES_DEVICE_CLIENT_H_
#define HCALL_DEVICES_DEVICE_CLIENT_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>

#include "absl/status/statusor.h"
#include "hcall/devices/device_file.h"
#include "hcall/devices/gntalloc_device.h"
#include "hcall/devices/gntdev_device.h"
#include "hcall/devices/privcmd_device.h"
#include "hcall/devices/program.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/machine/connection.h"
#include "xencomm/mutex.h"

namespace xencomm::devices {

using DeviceFile = xencomm_device_file;

// Functions answer as the system call does in the kernel: a negative errno, or a result.
// Descriptors are this process's.
class DeviceClient {
 public:
  DeviceClient(const DeviceClient&) = delete;
  DeviceClient& operator=(const DeviceClient&) = delete;

  // O_CLOEXEC and O_NONBLOCK count.
  std::int64_t Open(xencomm_device device, int flags);
  std::int64_t Ioctl(int fd, const DeviceFile& file, unsigned long request, std::uint64_t argument);
  std::int64_t Map(int fd, const DeviceFile& file, std::uint64_t address, std::size_t length,
                   int protection, int flags, off_t offset);
  // 0, or the errno with which munmap (a new length of 0) or mremap is refused.
  int MayChange(std::uint64_t address, std::size_t length, std::size_t new_length);
  void Unmapped(std::uint64_t address, std::size_t length);

 protected:
  // `program` is borrowed.
  explicit DeviceClient(Program& program) : program_(program) {}
  ~DeviceClient() = default;

 private:
  // Both are asked for once, when they are needed first; the mappings stay.
  virtual absl::StatusOr<std::shared_ptr<machine::Connection>> OpenConnection() = 0;
  virtual absl::StatusOr<embedded::ForeignMappings*> OpenMappings(
      machine::Connection& connection) = 0;

  absl::StatusOr<std::shared_ptr<machine::Connection>> Connected()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<machine::Connection>> Connection() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return Connected();
  }
  // The file by which something is asked, attached.
  absl::StatusOr<std::uint64_t> Attached(int fd, std::uint64_t id) ABSL_LOCKS_EXCLUDED(mutex_);
  // A device, made when it is needed first.
  template <class Device>
  absl::StatusOr<Device*> Made(std::unique_ptr<Device>& device)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<PrivcmdDevice*> Privcmd() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<GntdevDevice*> Gntdev() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<GntallocDevice*> Gntalloc() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<PageDevice*> DeviceOfPages(xencomm_device device);
  // If there is one.
  GntdevDevice* KnownGntdev() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return gntdev_.get();
  }
  GntallocDevice* KnownGntalloc() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return gntalloc_.get();
  }
  PrivcmdDevice* KnownPrivcmd() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return privcmd_.get();
  }
  std::int64_t EventIoctl(machine::Connection& connection, int fd, std::uint64_t file,
                          unsigned long request, std::uint64_t argument);

  Program& program_;
  Mutex mutex_;
  std::shared_ptr<machine::Connection> connection_ ABSL_GUARDED_BY(mutex_);
  std::set<std::uint64_t> attached_ ABSL_GUARDED_BY(mutex_);
  embedded::ForeignMappings* mappings_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::unique_ptr<PrivcmdDevice> privcmd_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<GntdevDevice> gntdev_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<GntallocDevice> gntalloc_ ABSL_GUARDED_BY(mutex_);
  bool has_complained_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_DEVICE_CLIENT_H_
