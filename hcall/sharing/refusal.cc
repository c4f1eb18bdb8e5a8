#include "hcall/sharing/refusal.h"

#include <cerrno>
#include <cstring>

#include "xencomm/sentence.h"

namespace xencomm {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return absl::StatusCode::kPermissionDenied;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EBUSY:
      return absl::StatusCode::kAborted;
    case ENOENT:
    case ESRCH:
      return absl::StatusCode::kNotFound;
    case EINVAL:
    case E2BIG:
      return absl::StatusCode::kInvalidArgument;
    case ENOMEM:
    case ENOSPC:
      return absl::StatusCode::kResourceExhausted;
    case ENODEV:
    case ENXIO:
      return absl::StatusCode::kUnavailable;
    case ENOTTY:
    case EOPNOTSUPP:
      return absl::StatusCode::kUnimplemented;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status RefusalOf(int error, const std::string& what) {
  const char* const name = strerrorname_np(-error);
  return absl::Status(CodeOf(-error), Sentence("%s: %s (%s)", what, strerrordesc_np(-error),
                                               name == nullptr ? "no errno" : name));
}

absl::Status InheritedError(const char* what) {
  return absl::FailedPreconditionError(
      Sentence("%s is the parent process's: a child opens one of its own", what));
}

}  // namespace xencomm
