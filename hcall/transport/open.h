// Transports by their settings.
#ifndef HCALL_TRANSPORT_OPEN_H_
#define HCALL_TRANSPORT_OPEN_H_

#include <memory>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "hcall/transport/setting.h"
#include "xencomm/transport.h"

namespace xencomm {

// What a setting, as xencomm_open takes it, names. An empty one stands for that of the environment,
// or the default.
struct PrivcmdSetting {};
struct XencommDeviceSetting {};
using TransportSetting =
    std::variant<PrivcmdSetting, XencommDeviceSetting, EmbeddedSetting, JoinedSetting>;
absl::StatusOr<TransportSetting> ParseTransport(const std::string& setting);

// The default: the setting for the Xen that this machine runs on. By regions where Linux has the
// device for them (XencommDevice::IsThere), else by privcmd.
std::string SettingForXen();

// By a setting as xencomm_open takes it, never empty.
absl::StatusOr<std::unique_ptr<Transport>> OpenTransport(const std::string& setting);

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_OPEN_H_
