// An eventfd of a front-end's: how it kicks a ring, and how it is told.
#ifndef HCALL_SHARING_VHOST_USER_EVENT_FILE_H_
#define HCALL_SHARING_VHOST_USER_EVENT_FILE_H_

#include <utility>

#include "absl/status/statusor.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::vhost_user {

class EventFile {
 public:
  // kInvalidArgument when it is anything else: of what there is, only an eventfd neither raises a
  // signal nor takes what is written for data. It is made non-blocking, for its other holders, too.
  static absl::StatusOr<EventFile> Of(FileDescriptor fd);

  int fd() const { return fd_.get(); }

  // Whether it was signalled since.
  bool Take() const;
  void Signal() const;

 private:
  explicit EventFile(FileDescriptor fd) : fd_(std::move(fd)) {}

  FileDescriptor fd_;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_EVENT_FILE_H_
