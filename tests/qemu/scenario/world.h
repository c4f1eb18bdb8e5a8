// The world that the scenario runs in: memory that hypercalls may touch, and a way to make them.
// Each machine, and the process, supply one for each space.

#ifndef TESTS_QEMU_SCENARIO_WORLD_H_
#define TESTS_QEMU_SCENARIO_WORLD_H_

#include <stdint.h>
#include <string.h>

#include <type_traits>

namespace qemu {

class World {
 public:
  // Of what the hypervisor has not written.
  static constexpr uint8_t kUntouched = 0xa5;

  // Takes buffers from [memory, memory + bytes), whose pages are scattered in physical memory.
  World(void* memory, uint64_t bytes, uint64_t page_bytes)
      : begin_(reinterpret_cast<uint64_t>(memory)),
        end_(begin_ + bytes),
        next_(begin_),
        page_bytes_(page_bytes) {}

  // `count` elements, filled with kUntouched. With `straddle`, a page ends that many bytes into
  // them. A scenario that asks for more memory than there is ends here.
  template <class T>
  T* New(uint64_t count = 1, uint64_t straddle = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    constexpr uint64_t kAlignment = 64;
    uint64_t start = (next_ + kAlignment - 1) & ~(kAlignment - 1);
    if (straddle != 0) {
      start = ((next_ + straddle + page_bytes_ - 1) & ~(page_bytes_ - 1)) - straddle;
    }
    if (start > end_ || count * sizeof(T) > end_ - start || start % alignof(T) != 0) {
      __builtin_trap();
    }
    next_ = start + count * sizeof(T);
    memset(reinterpret_cast<void*>(start), kUntouched, count * sizeof(T));
    return reinterpret_cast<T*>(start);
  }

  // All buffers.
  void FreeAll() { next_ = begin_; }

  // What a guest handle to `bytes` bytes at `buffer` holds. Good for one call.
  virtual uint64_t Handle(const void* buffer, uint64_t bytes) = 0;

  virtual int64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2 = 0, uint64_t a3 = 0) = 0;

  // The guest-physical address behind a byte of a buffer.
  virtual uint64_t Physical(const void* byte) = 0;

 protected:
  ~World() = default;

 private:
  uint64_t begin_;
  uint64_t end_;
  uint64_t next_;
  uint64_t page_bytes_;
};

}  // namespace qemu

#endif  // TESTS_QEMU_SCENARIO_WORLD_H_
