#include "hcall/transport/embedded/embedded_foreign_memory.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include "hcall/hypervisor/base/machine.h"

namespace xencomm::embedded {
namespace {

// Between memory of ours and what the program said to be an array, as a kernel does it: one that is
// shorter than it says is an error. False: not all could be reached.
bool CopyFromProgram(void* ours, const void* theirs, std::size_t bytes) {
  const iovec local = {ours, bytes};
  const iovec remote = {const_cast<void*>(theirs), bytes};
  const ssize_t done = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
  // Where the call is not allowed, the array is believed.
  if (done < 0 && errno != EFAULT) std::memcpy(ours, theirs, bytes);
  return done < 0 ? errno != EFAULT : static_cast<std::size_t>(done) == bytes;
}
bool CopyToProgram(void* theirs, const void* ours, std::size_t bytes) {
  const iovec local = {const_cast<void*>(ours), bytes};
  const iovec remote = {theirs, bytes};
  const ssize_t done = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
  if (done < 0 && errno != EFAULT) std::memcpy(theirs, ours, bytes);
  return done < 0 ? errno != EFAULT : static_cast<std::size_t>(done) == bytes;
}

// What frames and errors are copied by at a time.
constexpr std::size_t kPiece = 1024;

bool CopyIn(std::span<const std::uint64_t> theirs, std::vector<std::uint64_t>& frames) {
  while (frames.size() < theirs.size()) {
    const std::size_t done = frames.size();
    const std::size_t piece = std::min(kPiece, theirs.size() - done);
    frames.resize(done + piece);
    if (!CopyFromProgram(&frames[done], theirs.data() + done, piece * sizeof(frames[0]))) {
      return false;
    }
  }
  return true;
}

bool Clear(std::span<int> theirs) {
  const int zeroes[kPiece] = {};
  for (std::size_t done = 0; done < theirs.size(); done += kPiece) {
    const std::size_t piece = std::min(kPiece, theirs.size() - done);
    if (!CopyToProgram(theirs.data() + done, zeroes, piece * sizeof(zeroes[0]))) return false;
  }
  return true;
}

}  // namespace

int EmbeddedForeignMemory::Map(std::uint32_t domain, Placement& placement,
                               std::span<const std::uint64_t> frames, std::span<int> errors) {
  if (domain > std::numeric_limits<std::uint16_t>::max()) return -EINVAL;
  const std::int32_t only = only_.load();
  if (only != kAnyDomain && only != static_cast<std::int32_t>(domain)) return -EPERM;
  std::vector<std::uint64_t> own_frames;
  if (!CopyIn(frames, own_frames) || !Clear(errors)) return -EFAULT;
  return mappings_->Map(static_cast<std::uint16_t>(domain), placement, own_frames, errors);
}

int EmbeddedForeignMemory::Unmap(void* address, std::size_t pages) {
  return mappings_->Unmap(address, pages);
}

int EmbeddedForeignMemory::MapResource(const Resource& resource, Placement& placement) {
  const int error = MayAskFor(resource);
  if (error != 0) return error;
  return mappings_->MapResource(resource, placement);
}

int EmbeddedForeignMemory::UnmapResource(void* address, std::size_t pages) {
  return Unmap(address, pages);
}

int EmbeddedForeignMemory::ResourceSize(const Resource& resource, std::size_t* size) {
  const int error = MayAskFor(resource);
  if (error != 0) return error;
  const std::int64_t frames = mappings_->CountResource(resource);
  if (frames < 0) return static_cast<int>(frames);
  *size = static_cast<std::size_t>(frames) << hypervisor::kPageShift;
  return 0;
}

int EmbeddedForeignMemory::MayAskFor(const Resource& resource) const {
  const std::int32_t only = only_.load();
  return only == kAnyDomain || only == resource.domain ? 0 : -EPERM;
}

int EmbeddedForeignMemory::Restrict(std::uint16_t domain) {
  std::int32_t any = kAnyDomain;
  if (only_.compare_exchange_strong(any, domain) || any == domain) return 0;
  return -EINVAL;
}

}  // namespace xencomm::embedded
