#include "hcall/machine/devices.h"

#include <utility>

namespace xencomm::machine {

absl::StatusOr<std::unique_ptr<Devices>> Devices::Create(embedded::EmbeddedMachine&) {
  absl::StatusOr<std::unique_ptr<DeviceFiles>> files = DeviceFiles::Create();
  if (!files.ok()) return files.status();
  return std::unique_ptr<Devices>(new Devices(*std::move(files)));
}

absl::StatusOr<Devices::Opened> Devices::Open(xencomm_device device, int access_mode) {
  absl::StatusOr<DeviceFiles::Opened> opened = files_->Open(device, access_mode);
  if (!opened.ok()) return opened.status();
  return Opened{opened->id, std::move(opened->clients)};
}

}  // namespace xencomm::machine
