// The second front of a machine's devices, for programs that make system calls by themselves:
// static ones, and those of languages that need no C library.
//
// The kernel tells a supervisor of system calls that may concern a device, or lead into the
// machine's files, and waits until it has answered them, or said that they go on (filter.h). That
// takes no rights, and they can be gained by nobody below it any more. It is no border: what goes
// on is looked at by the kernel anew.
#ifndef HCALL_DEVICES_SUPERVISED_SUPERVISOR_H_
#define HCALL_DEVICES_SUPERVISED_SUPERVISOR_H_

#include <sys/types.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "hcall/transport/setting.h"

namespace xencomm::devices {

// Runs `execute` in a process that is supervised with all that it starts, and answers how it ended,
// as a shell says it. Its supervisor is a process of its own, which stays until the last of them
// has ended. `files` is the folder of the machine's files.
absl::StatusOr<int> RunSupervised(const JoinedSetting& machine, const std::string& files,
                                  const std::function<int()>& execute);

// From here on this process is killed when `parent` is, its parent's id before it was started.
void EndWithParent(pid_t parent);

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_SUPERVISOR_H_
