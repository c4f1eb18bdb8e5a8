#include "bench/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace xencomm::bench {

MachineMemory::MachineMemory(std::uint64_t pages)
    : pages_(pages), file_(memfd_create("bench", MFD_CLOEXEC)) {
  const std::uint64_t length = pages << 12;
  void* mapped = MAP_FAILED;
  if (file_ >= 0 && ftruncate(file_, static_cast<off_t>(length)) == 0) {
    mapped = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file_, 0);
  }
  if (mapped == MAP_FAILED) {
    std::perror("bench: memory for a guest");
    std::exit(1);
  }
  bytes_ = static_cast<std::byte*>(mapped);
}

MachineMemory::~MachineMemory() {
  munmap(bytes_, pages_ << 12);
  close(file_);
}

}  // namespace xencomm::bench
