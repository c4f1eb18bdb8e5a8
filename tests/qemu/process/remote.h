// The kernel of another process, of the other byte order perhaps: its calls as messages over two
// streams. Numbers travel as eight bytes, the highest first.

#ifndef TESTS_QEMU_PROCESS_REMOTE_H_
#define TESTS_QEMU_PROCESS_REMOTE_H_

#include <cstdint>

#include "tests/qemu/process/kernel.h"

namespace qemu {

// Serves one user program that writes its requests to this process's input and reads the answers
// from its output, until its input ends.
void Serve(Kernel& kernel);

// The user program's side.
class RemoteKernel {
 public:
  std::uint64_t FileOffset(std::uint64_t offset);
  std::uint64_t GuestPhysical(std::uint64_t offset);
  std::uint64_t payload_offset();
  std::uint64_t Handle(std::uint64_t address, std::uint64_t bytes);
  std::int64_t Hypercall(std::uint64_t index, std::uint64_t a1, std::uint64_t a2, std::uint64_t a3);
};

}  // namespace qemu

#endif  // TESTS_QEMU_PROCESS_REMOTE_H_
