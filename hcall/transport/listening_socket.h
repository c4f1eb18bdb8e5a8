// A socket of this user's, at a path, where others ask for a service.
#ifndef HCALL_TRANSPORT_LISTENING_SOCKET_H_
#define HCALL_TRANSPORT_LISTENING_SOCKET_H_

#include <string>

#include "absl/status/statusor.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm {

// Of a type of socket(2), without waiting; nobody but this user connects. What an earlier one left
// there is replaced. `who` listens ("a machine runs"): kAlreadyExists, somebody does already;
// kInvalidArgument: no path of a socket; kUnavailable.
absl::StatusOr<FileDescriptor> ListenAt(const std::string& path, int type, const char* who);

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_LISTENING_SOCKET_H_
