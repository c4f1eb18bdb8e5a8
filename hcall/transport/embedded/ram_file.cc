#include "hcall/transport/embedded/ram_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "xencomm/sentence.h"

namespace xencomm::embedded {

absl::StatusOr<std::unique_ptr<RamFile>> RamFile::Create(std::uint64_t size, std::uint64_t own) {
  FileDescriptor fd(memfd_create("xencomm-machine", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.is_open()) return absl::ErrnoToStatus(errno, "memory for the embedded machine");
  constexpr int kSize = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  void* map = MAP_FAILED;
  if (ftruncate(fd.get(), static_cast<off_t>(size)) == 0 &&
      fcntl(fd.get(), F_ADD_SEALS, kSize) == 0) {
    map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  }
  if (map != MAP_FAILED && own != 0 &&
      mmap(map, own, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
    munmap(map, size);
    map = MAP_FAILED;
  }
  if (map == MAP_FAILED) {
    return absl::ResourceExhaustedError(Sentence(
        "%uM of memory for the embedded machine cannot be had (option memory)", size >> 20));
  }
  // A child would share the machine, and believe that it has one of its own.
  madvise(map, size, MADV_DONTFORK);
  return std::unique_ptr<RamFile>(
      new RamFile(std::move(fd), static_cast<std::byte*>(map), size, own));
}

std::unique_ptr<RamFile> RamFile::OfAnother(FileDescriptor fd, std::uint64_t size) {
  return std::unique_ptr<RamFile>(new RamFile(std::move(fd), nullptr, size, 0));
}

RamFile::~RamFile() {
  if (data_ != nullptr) munmap(data_, size_);
}

absl::Status RamFile::MapAt(std::byte* at, MachineAddress machine, std::uint64_t length,
                            int protection) {
  void* const map = mmap(at, length, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd(),
                         static_cast<off_t>(machine.value));
  if (map != MAP_FAILED) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      Sentence("%u bytes of machine memory cannot be mapped: %s (see vm.max_map_count)", length,
               strerrordesc_np(errno)));
}

bool RamFile::Discard(MachineAddress machine, std::uint64_t length) {
  if (machine.value < own_) return madvise(data_ + machine.value, length, MADV_DONTNEED) == 0;
  return fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(machine.value), static_cast<off_t>(length)) == 0;
}

}  // namespace xencomm::embedded
