#include "hcall/devices/program.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <cstring>

namespace xencomm::devices {
namespace {

constexpr std::uint64_t kPageSize = 4096;
// Of addresses that a program can have.
constexpr std::uint64_t kEnd = std::uint64_t{1} << 56;

}  // namespace

bool OwnProgram::CanTouch(std::uint64_t address, std::uint64_t bytes, Access access) {
  if (bytes == 0) return true;
  if (address >= kEnd || bytes > kEnd - address) return false;
  const std::uint64_t start = address / kPageSize * kPageSize;
  // Faults the pages in as an access would (Linux 5.14), and says when that cannot be. What a
  // device maps it refuses to look at, and is there all the same.
  const int advice = access == Access::kWrite ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  int result;
  do {
    result = madvise(std::bit_cast<void*>(start), address + bytes - start, advice);
  } while (result != 0 && (errno == EINTR || errno == EAGAIN));
  return result == 0;
}

bool OwnProgram::Read(std::uint64_t address, void* to, std::uint64_t bytes) {
  if (!CanTouch(address, bytes, Access::kRead)) return false;
  if (bytes != 0) std::memcpy(to, std::bit_cast<const void*>(address), bytes);
  return true;
}

bool OwnProgram::Write(std::uint64_t address, const void* from, std::uint64_t bytes) {
  if (!CanTouch(address, bytes, Access::kWrite)) return false;
  if (bytes != 0) std::memcpy(std::bit_cast<void*>(address), from, bytes);
  return true;
}

Mapping OwnProgram::View(std::uint64_t address, std::uint64_t length, Access access, Pieces&) {
  if (!CanTouch(address, length, access)) return Fault::kNotPresent;
  // An address of the program's own.
  return {std::bit_cast<std::byte*>(address), length};
}

}  // namespace xencomm::devices
