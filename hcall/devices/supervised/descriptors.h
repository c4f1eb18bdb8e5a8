// Descriptors of supervised programs, copied into this process.
#ifndef HCALL_DEVICES_SUPERVISED_DESCRIPTORS_H_
#define HCALL_DEVICES_SUPERVISED_DESCRIPTORS_H_

#include <linux/seccomp.h>
#include <sys/types.h>

#include <map>
#include <utility>

#include "hcall/devices/supervised/other_program.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::devices {

class Descriptors {
 public:
  // `listener` is borrowed; `ended` as OtherProgram's.
  Descriptors(int listener, OtherProgram::Ended ended)
      : listener_(listener), ended_(std::move(ended)) {}

  // A copy of what the thread that makes this call has at `fd`. One that is not open: it has none
  // there; or pidfd_getfd is forbidden, as in containers, and so the thread has sent it here by a
  // call in between and makes its own once more, of which there will be another notification. An
  // answer to this one is nobody's then, and does no harm.
  FileDescriptor Of(const seccomp_notif& call, int fd);
  // The same, but nothing is copied that is no socket, as all devices are.
  FileDescriptor SocketOf(const seccomp_notif& call, int fd);

  // Whether some were sent whose call has not come once more.
  bool HasSent() const { return !sent_.empty(); }
  // Those of threads that have ended go.
  void Sweep();

 private:
  struct Sent {
    int fd = -1;  // its number
    FileDescriptor copy;
  };

  const int listener_;
  const OtherProgram::Ended ended_;
  std::map<pid_t, Sent> sent_;  // by their threads
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_DESCRIPTORS_H_
