#include "hcall/sharing/vhost_user/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "xencomm/sentence.h"

namespace xencomm::vhost_user {

absl::StatusOr<EventFile> EventFile::Of(FileDescriptor fd) {
  char target[32];
  const ssize_t length =
      readlink(Sentence("/proc/self/fd/%d", fd.get()).c_str(), target, sizeof(target));
  const int flags = fcntl(fd.get(), F_GETFL);
  if (length < 0 || flags < 0 ||
      std::string_view(target, static_cast<std::size_t>(length)) != "anon_inode:[eventfd]" ||
      fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return absl::InvalidArgumentError("a ring's descriptor: expected an eventfd");
  }
  return EventFile(std::move(fd));
}

bool EventFile::Take() const {
  std::uint64_t count;
  return read(fd_.get(), &count, sizeof(count)) == sizeof(count);
}

void EventFile::Signal() const {
  const std::uint64_t one = 1;
  // When it is full, it says already what is to be said.
  [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof(one));
}

}  // namespace xencomm::vhost_user
