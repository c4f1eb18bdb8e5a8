// The machine's side of Linux's devices: the kernel that clients' files are open in.
#ifndef HCALL_MACHINE_DEVICES_H_
#define HCALL_MACHINE_DEVICES_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "hcall/machine/device_files.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::machine {

class Devices {
 public:
  // `machine` is borrowed.
  static absl::StatusOr<std::unique_ptr<Devices>> Create(embedded::EmbeddedMachine& machine);

  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  // Can be read when there is something for Serve to do. By one thread.
  int fd() const { return files_->fd(); }
  void Serve() { files_->Serve(); }

  struct Opened {
    std::uint64_t id;
    FileDescriptor clients;
  };
  absl::StatusOr<Opened> Open(xencomm_device device, int access_mode);
  // An ioctl of a file of /dev/xen/evtchn (EventFiles::Ioctl).
  std::int64_t Event(std::uint64_t, std::uint32_t, std::span<const std::byte>) { return -ENOTTY; }
  DeviceFiles& files() { return *files_; }

 private:
  explicit Devices(std::unique_ptr<DeviceFiles> files) : files_(std::move(files)) {}

  const std::unique_ptr<DeviceFiles> files_;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_DEVICES_H_
