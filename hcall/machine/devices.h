// The machine's side of Linux's devices: the kernel that clients' files are open in.
#ifndef HCALL_MACHINE_DEVICES_H_
#define HCALL_MACHINE_DEVICES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "hcall/machine/device_files.h"
#include "hcall/machine/event_device.h"
#include "hcall/machine/grant_files.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::machine {

// Who serves /dev/xen/xenbus.
class XenbusHandler {
 public:
  // The machine's end of a file that a client has opened. By any thread.
  virtual absl::Status OpenXenbus(FileDescriptor socket) = 0;

 protected:
  ~XenbusHandler() = default;
};

class Devices {
 public:
  // `machine` is borrowed, and calls of it end before this does.
  static absl::StatusOr<std::unique_ptr<Devices>> Create(embedded::EmbeddedMachine& machine);

  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  // Can be read when there is something for Serve to do. By one thread.
  int fd() const { return epoll_.get(); }
  void Serve();

  struct Opened {
    std::uint64_t id;
    FileDescriptor clients;
  };
  // `access_mode` as DeviceFiles::Open.
  absl::StatusOr<Opened> Open(xencomm_device device, int access_mode);
  // Borrowed, until the devices end. Without one, that device cannot be opened.
  void SetXenbusHandler(XenbusHandler* handler) { xenbus_ = handler; }
  // As EventFiles::SetKernelPort.
  void SetKernelPort(std::uint32_t port, KernelPort* handler) {
    events_->SetKernelPort(port, handler);
  }
  GrantFiles& grants() { return grants_; }
  DeviceFiles& files() { return *files_; }

  // An ioctl of a file of /dev/xen/evtchn: EventFiles::Ioctl. -ENOTTY for another device's.
  std::int64_t Event(std::uint64_t id, std::uint32_t number, std::span<const std::byte> argument) {
    return events_->Ioctl(id, number, argument);
  }

 private:
  Devices(embedded::EmbeddedMachine& machine, FileDescriptor epoll,
          std::unique_ptr<DeviceFiles> files, std::unique_ptr<EventFiles> events)
      : epoll_(std::move(epoll)),
        files_(std::move(files)),
        events_(std::move(events)),
        grants_(machine.hypervisor(), *files_) {}

  const FileDescriptor epoll_;  // of those below
  const std::unique_ptr<DeviceFiles> files_;
  const std::unique_ptr<EventFiles> events_;
  GrantFiles grants_;
  XenbusHandler* xenbus_ = nullptr;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_DEVICES_H_
