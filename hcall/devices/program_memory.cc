#include "hcall/devices/program_memory.h"

#include <sys/mman.h>

#include <cerrno>

namespace xencomm::devices {
namespace {

constexpr std::uint64_t kPageSize = 4096;
// Of addresses that a program can have.
constexpr std::uint64_t kEnd = std::uint64_t{1} << 56;

}  // namespace

bool CanTouch(std::uint64_t address, std::uint64_t bytes, Access access) {
  if (bytes == 0) return true;
  if (address >= kEnd || bytes > kEnd - address) return false;
  const std::uint64_t start = address / kPageSize * kPageSize;
  // Faults the pages in as an access would (Linux 5.14), and says when that cannot be. What a
  // device maps it refuses to look at, and is there all the same.
  const int advice = access == Access::kWrite ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  int result;
  do {
    result = madvise(reinterpret_cast<void*>(start), address + bytes - start, advice);
  } while (result != 0 && (errno == EINTR || errno == EAGAIN));
  return result == 0;
}

}  // namespace xencomm::devices
