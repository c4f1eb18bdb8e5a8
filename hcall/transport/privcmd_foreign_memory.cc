#include "hcall/transport/privcmd_foreign_memory.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <limits>

#include "hcall/transport/privcmd.h"
#include "hcall/transport/privcmd_calls.h"

namespace xencomm {
namespace {

constexpr unsigned kPageShift = 12;
// Privcmd counts the pages of a mapping in 32 bits, and their bytes are counted in 64.
constexpr std::uint64_t kMostPages = std::numeric_limits<std::uint32_t>::max();

// A frame that Xen has paged out answers -ENOENT while it is fetched: asked for again until it is
// there, a tenth of a millisecond apart, as a fault on it would wait.
int RetryPagedOut(int fd, std::uint32_t domain, std::byte* start,
                  std::span<const std::uint64_t> frames, std::span<int> errors) {
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 100'000};
  for (std::size_t i = 0; i < frames.size(); ++i) {
    while (errors[i] == -ENOENT) {
      nanosleep(&kPause, nullptr);
      PrivcmdMapBatch one = {};
      one.num = 1;
      one.dom = static_cast<std::uint16_t>(domain);
      one.addr = std::bit_cast<std::uint64_t>(start + (i << kPageShift));
      one.arr = frames.data() + i;
      one.err = errors.data() + i;
      if (ioctl(fd, kPrivcmdMapBatch, &one) != 0 && errno != ENOENT) return -errno;
    }
  }
  return 0;
}

int MapRange(int fd, ForeignMemory::Placement& placement, std::size_t bytes) {
  void* const range =
      mmap(placement.address, bytes, placement.protection, placement.flags | MAP_SHARED, fd, 0);
  if (range == MAP_FAILED) return -errno;
  placement.address = range;
  return 0;
}

PrivcmdMapResource ResourceCall(const ForeignMemory::Resource& resource, void* address) {
  PrivcmdMapResource call = {};
  call.dom = resource.domain;
  call.type = resource.type;
  call.id = resource.id;
  call.idx = resource.first;
  call.num = resource.count;
  call.addr = std::bit_cast<std::uint64_t>(address);
  return call;
}

// A privcmd that does not know an ioctl answers ENOTTY.
int Unsupported(int error) { return error == ENOTTY ? -EOPNOTSUPP : -error; }

}  // namespace

absl::StatusOr<std::unique_ptr<ForeignMemory>> PrivcmdForeignMemory::Open() {
  const absl::StatusOr<int> fd = OpenPrivcmdDevice();
  if (!fd.ok()) return fd.status();
  return std::unique_ptr<ForeignMemory>(new PrivcmdForeignMemory(*fd));
}

PrivcmdForeignMemory::~PrivcmdForeignMemory() { close(fd_); }

int PrivcmdForeignMemory::Map(std::uint32_t domain, Placement& placement,
                              std::span<const std::uint64_t> frames, std::span<int> errors) {
  if (frames.size() > kMostPages) return -ENOMEM;
  const std::size_t bytes = frames.size() << kPageShift;
  int result = MapRange(fd_, placement, bytes);
  if (result != 0) return result;

  PrivcmdMapBatch call = {};
  call.num = static_cast<unsigned>(frames.size());
  call.dom = static_cast<std::uint16_t>(domain);
  call.addr = std::bit_cast<std::uint64_t>(placement.address);
  call.arr = frames.data();
  call.err = errors.data();
  if (ioctl(fd_, kPrivcmdMapBatch, &call) != 0) {
    result =
        errno == ENOENT
            ? RetryPagedOut(fd_, domain, static_cast<std::byte*>(placement.address), frames, errors)
            : -errno;
  }
  if (result != 0) munmap(placement.address, bytes);
  return result;
}

int PrivcmdForeignMemory::Unmap(void* address, std::size_t pages) {
  if (pages > kMostPages) return -EINVAL;
  return munmap(address, pages << kPageShift) == 0 ? 0 : -errno;
}

int PrivcmdForeignMemory::MapResource(const Resource& resource, Placement& placement) {
  if (resource.count > kMostPages) return -ENOMEM;
  const std::size_t bytes = resource.count << kPageShift;
  const int result = MapRange(fd_, placement, bytes);
  if (result != 0) return result;
  PrivcmdMapResource call = ResourceCall(resource, placement.address);
  if (ioctl(fd_, kPrivcmdMapResource, &call) == 0) return 0;
  const int error = errno;
  munmap(placement.address, bytes);
  return Unsupported(error);
}

int PrivcmdForeignMemory::UnmapResource(void* address, std::size_t pages) {
  return Unmap(address, pages);
}

int PrivcmdForeignMemory::ResourceSize(const Resource& resource, std::size_t* size) {
  // Nothing to map, nowhere: privcmd then asks how much there is.
  PrivcmdMapResource call = ResourceCall(resource, nullptr);
  call.idx = 0;
  call.num = 0;
  if (ioctl(fd_, kPrivcmdMapResource, &call) != 0) return Unsupported(errno);
  *size = call.num << kPageShift;
  return 0;
}

int PrivcmdForeignMemory::Restrict(std::uint16_t domain) {
  const std::uint16_t id = domain;
  // Of this one the original shows what privcmd answers, ENOTTY included.
  return ioctl(fd_, kPrivcmdRestrict, &id) == 0 ? 0 : -errno;
}

}  // namespace xencomm
