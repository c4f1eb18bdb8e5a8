// A file of a front-end's, mapped, that may become shorter whenever the front-end likes.
//
// Touching what a file no longer has raises SIGBUS, which would end the back-end. The size is
// looked at when it is mapped, but what is checked then need not hold later, and no seal can be
// asked of front-ends. So the signal is handled: the whole of that mapping becomes zeros of this
// process's own, the access that was interrupted goes on over them, and the mapping says that it is
// torn. Nothing else has to be guarded: loads and stores, copies, and the kernel's (which answers
// EFAULT instead).
#ifndef HCALL_SHARING_VHOST_USER_SHARED_FILE_H_
#define HCALL_SHARING_VHOST_USER_SHARED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace xencomm::vhost_user {

class SharedFile {
 public:
  // At one time, in a process.
  static constexpr std::size_t kMost = 1024;

  // `size` bytes from `offset` on, which do not pass 2^64, to be read and written. `fd` is
  // borrowed. From the first one on this process handles SIGBUS; one that is not of such a mapping
  // goes to who handled it before.
  static absl::StatusOr<std::unique_ptr<SharedFile>> Map(int fd, std::uint64_t offset,
                                                         std::uint64_t size);

  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  ~SharedFile();

  // Where the byte at `offset` is.
  std::byte* start() const { return start_; }

  // The file became shorter and it was noticed: what is there now is nobody else's.
  bool is_torn() const;

 private:
  SharedFile(void* mapped, std::size_t length, std::byte* start, std::size_t slot)
      : mapped_(mapped), length_(length), start_(start), slot_(slot) {}

  void* const mapped_;
  const std::size_t length_;
  std::byte* const start_;
  const std::size_t slot_;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_SHARED_FILE_H_
