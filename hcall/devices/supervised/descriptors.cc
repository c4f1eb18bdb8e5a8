#include "hcall/devices/supervised/descriptors.h"

#include <cerrno>
#include <optional>

#include "hcall/devices/supervised/process_facts.h"

namespace xencomm::devices {

FileDescriptor Descriptors::Of(const seccomp_notif& call, int fd) {
  const auto thread = static_cast<pid_t>(call.pid);
  if (auto sent = sent_.extract(thread); !sent.empty() && sent.mapped().fd == fd) {
    return std::move(sent.mapped().copy);
  }
  FileDescriptor copy = DescriptorOf(thread, fd);
  if (copy.is_open() || (errno != EPERM && errno != ENOSYS)) return copy;
  const std::optional<pid_t> process = ProcessOf(thread);
  if (!process) return FileDescriptor();
  OtherProgram program(*process, listener_, ended_);
  program.Begin(call);
  FileDescriptor fetched = program.Fetch(fd);
  // What could not be sent is not tried again and again.
  if (program.MakeCallAgain()) sent_.try_emplace(thread, Sent{fd, std::move(fetched)});
  return FileDescriptor();
}

FileDescriptor Descriptors::SocketOf(const seccomp_notif& call, int fd) {
  if (!IsSocket(static_cast<pid_t>(call.pid), fd)) return FileDescriptor();
  return Of(call, fd);
}

void Descriptors::Sweep() {
  std::erase_if(sent_, [](const auto& each) { return !ProcessOf(each.first); });
}

}  // namespace xencomm::devices
