// What a device refused, as a status with one sentence.
#ifndef HCALL_SHARING_REFUSAL_H_
#define HCALL_SHARING_REFUSAL_H_

#include <string>

#include "absl/status/status.h"

namespace xencomm {

// "WHAT: why (ERRNO)". `error` is a negative errno. The code is one that the C interface tells as
// that errno, or as near as it has one.
absl::Status RefusalOf(int error, const std::string& what);

// Of who has it from a parent process.
absl::Status InheritedError(const char* what);

}  // namespace xencomm

#endif  // HCALL_SHARING_REFUSAL_H_
