#include "hcall/machine/devices.h"

#include <sys/epoll.h>

#include <cerrno>

namespace xencomm::machine {

absl::StatusOr<std::unique_ptr<Devices>> Devices::Create(embedded::EmbeddedMachine& machine) {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  absl::StatusOr<std::unique_ptr<DeviceFiles>> files = DeviceFiles::Create();
  if (!files.ok()) return files.status();
  absl::StatusOr<std::unique_ptr<EventFiles>> events = EventFiles::Create(machine);
  if (!events.ok()) return events.status();
  for (const int fd : {(*files)->fd(), (*events)->fd()}) {
    epoll_event watched = {.events = EPOLLIN, .data = {.fd = fd}};
    if (!epoll.is_open() || epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &watched) != 0) {
      return absl::ErrnoToStatus(errno, "the machine's devices");
    }
  }
  return std::unique_ptr<Devices>(
      new Devices(machine, std::move(epoll), *std::move(files), *std::move(events)));
}

void Devices::Serve() {
  files_->Serve();
  events_->Serve();
}

absl::StatusOr<Devices::Opened> Devices::Open(xencomm_device device, int access_mode) {
  absl::StatusOr<DeviceFiles::Opened> opened = files_->Open(device, access_mode);
  if (!opened.ok()) return opened.status();
  if (device == XENCOMM_EVTCHN) {
    const absl::Status known = events_->Open(opened->id, std::move(opened->machines));
    if (!known.ok()) return known;
  }
  if (device == XENCOMM_XENBUS) {
    if (xenbus_ == nullptr) return absl::UnavailableError("the machine has no store");
    const absl::Status known = xenbus_->OpenXenbus(std::move(opened->machines));
    if (!known.ok()) return known;
  }
  return Opened{opened->id, std::move(opened->clients)};
}

}  // namespace xencomm::machine
