// What /proc and pidfds tell of a thread of another process.
#ifndef HCALL_DEVICES_SUPERVISED_PROCESS_FACTS_H_
#define HCALL_DEVICES_SUPERVISED_PROCESS_FACTS_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "hcall/transport/file_descriptor.h"

namespace xencomm::devices {

// Nothing when it is gone.
std::optional<pid_t> ProcessOf(pid_t thread);
// Whether this process may look at its memory, and so trace it.
bool MayLookAt(pid_t process);
// A copy of its descriptor; one that is not open, and errno, when it has none or that is forbidden.
FileDescriptor DescriptorOf(pid_t thread, int fd);
bool IsSocket(pid_t thread, int fd);
// Of its folder (AT_FDCWD) or one that it has open; "" when that is none, or cannot be seen.
std::string FolderOf(pid_t thread, int fd);
mode_t UmaskOf(pid_t thread);

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_PROCESS_FACTS_H_
