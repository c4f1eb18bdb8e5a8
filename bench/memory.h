// Machine memory for benchmarks: a memfd, so that its frames can be mapped once more.
#ifndef BENCH_MEMORY_H_
#define BENCH_MEMORY_H_

#include <cstddef>
#include <cstdint>

namespace xencomm::bench {

// All of it is mapped and populated; machine address 0 is at bytes().
class MachineMemory {
 public:
  explicit MachineMemory(std::uint64_t pages);
  ~MachineMemory();
  MachineMemory(const MachineMemory&) = delete;
  MachineMemory& operator=(const MachineMemory&) = delete;

  int file() const { return file_; }
  std::byte* bytes() const { return bytes_; }
  std::uint64_t pages() const { return pages_; }

 private:
  std::uint64_t pages_;
  int file_;
  std::byte* bytes_;
};

}  // namespace xencomm::bench

#endif  // BENCH_MEMORY_H_
