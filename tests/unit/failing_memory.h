// Memory that runs out when a test says so: operator new of the whole program, its libraries
// included. For one file of a program.
#ifndef TESTS_UNIT_FAILING_MEMORY_H_
#define TESTS_UNIT_FAILING_MEMORY_H_

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace xencomm {

// How many more allocations of this thread succeed; negative: all.
inline thread_local long allocations_left = -1;
inline thread_local bool ran_out = false;

// Around what must succeed before and after what is tried, which keeps its errno.
class Unlimited {
 public:
  Unlimited() : left_(std::exchange(allocations_left, -1)) {}
  Unlimited(const Unlimited&) = delete;
  Unlimited& operator=(const Unlimited&) = delete;
  ~Unlimited() {
    allocations_left = left_;
    errno = errno_;
  }

 private:
  const long left_;
  const int errno_ = errno;
};

inline void* AllocateOrRunOut(std::size_t size) {
  if (allocations_left == 0) {
    ran_out = true;
    return nullptr;
  }
  if (allocations_left > 0) --allocations_left;
  return std::malloc(size == 0 ? 1 : size);
}

}  // namespace xencomm

[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* const memory = xencomm::AllocateOrRunOut(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return xencomm::AllocateOrRunOut(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

#endif  // TESTS_UNIT_FAILING_MEMORY_H_
