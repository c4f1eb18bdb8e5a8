#include "hcall/transport/embedded/ram_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "xencomm/sentence.h"

namespace xencomm::embedded {

absl::StatusOr<std::unique_ptr<RamFile>> RamFile::Create(std::uint64_t size) {
  const int fd = memfd_create("xencomm-machine", MFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "memory for the embedded machine");
  void* map = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(size)) == 0) {
    map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }
  if (map == MAP_FAILED) {
    close(fd);
    return absl::ResourceExhaustedError(Sentence(
        "%uM of memory for the embedded machine cannot be had (option memory)", size >> 20));
  }
  // A child would share the machine, and believe that it has one of its own.
  madvise(map, size, MADV_DONTFORK);
  return std::unique_ptr<RamFile>(new RamFile(fd, static_cast<std::byte*>(map), size));
}

RamFile::~RamFile() {
  munmap(data_, size_);
  close(fd_);
}

absl::Status RamFile::MapAt(std::byte* at, MachineAddress machine, std::uint64_t length,
                            int protection) {
  void* const map = mmap(at, length, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd_,
                         static_cast<off_t>(machine.value));
  if (map != MAP_FAILED) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      Sentence("%u bytes of machine memory cannot be mapped: %s (see vm.max_map_count)", length,
               strerrordesc_np(errno)));
}

bool RamFile::Discard(MachineAddress machine, std::uint64_t length) {
  return fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(machine.value), static_cast<off_t>(length)) == 0;
}

}  // namespace xencomm::embedded
