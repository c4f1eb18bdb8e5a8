// A file descriptor that is closed with its owner, and can be made one of /dev/null.
#ifndef HCALL_TRANSPORT_FILE_DESCRIPTOR_H_
#define HCALL_TRANSPORT_FILE_DESCRIPTOR_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace xencomm {

class FileDescriptor {
 public:
  // `fd` is taken over; -1 is none.
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }

  // The same file by a high number, if there is room: out of the way of programs that count on the
  // lowest ones, as those do that close their standard input and open another.
  static FileDescriptor Aside(FileDescriptor fd) {
    constexpr int kAside = 900;
    const int aside = fcntl(fd.get(), F_DUPFD_CLOEXEC, kAside);
    return aside < 0 ? std::move(fd) : FileDescriptor(aside);
  }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

  // It is the caller's to close, or somebody else's already.
  int Release() { return std::exchange(fd_, -1); }

  // It keeps its number and becomes one of /dev/null, as xentoolcore_restrict_all has it: nobody
  // who knows the number reaches the device by it. Memory that was mapped from it stays. 0 or a
  // negative errno.
  int BecomeNull() {
    if (fd_ < 0) return 0;
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0) return -errno;
    const int result = dup3(null, fd_, O_CLOEXEC) < 0 ? -errno : 0;
    close(null);
    return result;
  }

 private:
  int fd_;
};

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_FILE_DESCRIPTOR_H_
