// Transports by their settings.
#ifndef HCALL_TRANSPORT_OPEN_H_
#define HCALL_TRANSPORT_OPEN_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "xencomm/transport.h"

namespace xencomm {

// By a setting as xencomm_open takes it, never empty.
absl::StatusOr<std::unique_ptr<Transport>> OpenTransport(const std::string& setting);

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_OPEN_H_
