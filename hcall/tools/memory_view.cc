#include "hcall/tools/memory_view.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"

namespace xencomm::tools {
namespace {

absl::Status Unreadable(const std::string& path, int error) {
  return absl::NotFoundError(
      absl::StrFormat("'%s' cannot be read: %s", path, strerrordesc_np(error)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImageMemory>> ImageMemory::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Unreadable(path, errno);
  struct stat about = {};
  void* data = MAP_FAILED;
  int error = EINVAL;
  if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
    if (about.st_size == 0) {
      close(fd);
      return absl::FailedPreconditionError(
          absl::StrFormat("'%s' is empty: expected an image of guest-physical memory", path));
    }
    data = mmap(nullptr, static_cast<std::size_t>(about.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    error = errno;
  } else if (S_ISDIR(about.st_mode)) {
    error = EISDIR;
  }
  close(fd);
  if (data == MAP_FAILED) return Unreadable(path, error);
  return std::unique_ptr<ImageMemory>(
      new ImageMemory(static_cast<std::byte*>(data), static_cast<std::uint64_t>(about.st_size)));
}

ImageMemory::~ImageMemory() { munmap(data_, size_); }

Mapping ImageMemory::Map(PhysicalAddress physical, std::uint64_t length, Access access) {
  if (physical.value >= size_) return Fault::kNoMemory;
  if (access == Access::kWrite) return Fault::kNotWritable;
  return {data_ + physical.value, std::min(length, size_ - physical.value)};
}

}  // namespace xencomm::tools
