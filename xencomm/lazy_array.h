// An array of zeroed elements that costs memory only where it is touched.
//
// The Arena keeps its metadata in such arrays, one element for each block that the region could
// ever be cut into, apart from the memory that hypercalls write to.
#ifndef XENCOMM_LAZY_ARRAY_H_
#define XENCOMM_LAZY_ARRAY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "xencomm/language.h"

namespace xencomm {

// `T` is valid when all its bytes are zero, and is never constructed nor destroyed.
template <class T>
requires std::is_trivially_destructible_v<T>
class LazyArray {
 public:
  explicit LazyArray(std::size_t count) : bytes_(count * sizeof(T)) {
    void* const map = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    elements_ = static_cast<T*>(map);
  }
  LazyArray(const LazyArray&) = delete;
  LazyArray& operator=(const LazyArray&) = delete;
  ~LazyArray() { munmap(elements_, bytes_); }

  T& operator[](std::size_t index) { return elements_[index]; }
  const T& operator[](std::size_t index) const { return elements_[index]; }

 private:
  std::size_t bytes_;
  T* elements_;
};

}  // namespace xencomm

#endif  // XENCOMM_LAZY_ARRAY_H_
