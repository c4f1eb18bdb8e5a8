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
using TransportSetting = std::variant<PrivcmdSetting, EmbeddedSetting, JoinedSetting>;
absl::StatusOr<TransportSetting> ParseTransport(const std::string& setting);

// By a setting as xencomm_open takes it, never empty.
absl::StatusOr<std::unique_ptr<Transport>> OpenTransport(const std::string& setting);

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_OPEN_H_
