// A machine's process, as the command starts one.
#ifndef HCALL_TOOLS_MACHINE_PROCESS_H_
#define HCALL_TOOLS_MACHINE_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/setting.h"

namespace xencomm::tools {

// Where a machine listens when nothing else is said; the folder is made, for this user alone.
// kPermissionDenied when it is somebody else's.
absl::StatusOr<std::string> DefaultSocket();

// SIGTERM and SIGINT, to be read in place of what they do.
FileDescriptor StopSignals();

// One in the background, with a folder of its own. Both go when their owner does; the process also
// when that of the owner is killed.
class MachineProcess {
 public:
  // Ready to be joined.
  static absl::StatusOr<std::unique_ptr<MachineProcess>> Start(const MachineSetting& setting);

  MachineProcess(const MachineProcess&) = delete;
  MachineProcess& operator=(const MachineProcess&) = delete;
  ~MachineProcess();

  std::string socket() const { return folder_ + "/machine"; }

 private:
  explicit MachineProcess(std::string folder) : folder_(std::move(folder)) {}

  // In the child: serves until it is told to stop. What went wrong before it is ready is said to
  // `ready`.
  int Serve(const MachineSetting& setting, int ready, pid_t parent);

  const std::string folder_;
  pid_t process_ = -1;
};

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_MACHINE_PROCESS_H_
