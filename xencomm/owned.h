// Owners of what an Arena allocated, and handles filled in by type.
#ifndef XENCOMM_OWNED_H_
#define XENCOMM_OWNED_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "xencomm/language.h"

namespace xencomm {

// Where an owner gives its memory back.
class Freer {
 public:
  virtual void FreeOwned(void* pointer) = 0;

 protected:
  ~Freer() = default;
};

class ReturnTo {
 public:
  ReturnTo() = default;
  explicit ReturnTo(Freer& freer) : freer_(&freer) {}
  void operator()(void* pointer) const { freer_->FreeOwned(pointer); }

 private:
  Freer* freer_ = nullptr;
};

// What the hypervisor reads and writes is bytes: nothing in a region has a constructor to run.
template <class T>
concept RegionType = std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> &&
    std::is_standard_layout_v<T>;

template <RegionType T>
using Owned = std::unique_ptr<T, ReturnTo>;

template <RegionType T>
class OwnedArray {
 public:
  OwnedArray() = default;
  OwnedArray(T* elements, std::size_t count, ReturnTo owner)
      : elements_(elements, owner), count_(count) {}
  OwnedArray(OwnedArray&& other) noexcept
      : elements_(std::move(other.elements_)), count_(std::exchange(other.count_, 0)) {}
  OwnedArray& operator=(OwnedArray&& other) noexcept {
    elements_ = std::move(other.elements_);
    count_ = std::exchange(other.count_, 0);
    return *this;
  }

  T* get() const { return elements_.get(); }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t index) const { return elements_.get()[index]; }
  T* begin() const { return get(); }
  T* end() const { return get() + count_; }
  std::span<T> span() const { return {get(), count_}; }

 private:
  std::unique_ptr<T, ReturnTo> elements_;
  std::size_t count_ = 0;
};

// A guest handle of Xen's headers (XEN_GUEST_HANDLE, XEN_GUEST_HANDLE_64) that may point at a T:
// the same type, or more const, or void.
template <class Handle, class T>
concept HandleTo = requires(Handle handle, T* pointer) {
  handle.p = pointer;
  requires sizeof(Handle) == sizeof(T*);
};

// Points `handle` at the bytes of `pointer`. A wrong element type does not compile.
template <class T, HandleTo<T> Handle>
void SetHandle(Handle& handle, T* pointer) {
  handle.p = pointer;
}
template <class T, HandleTo<T> Handle>
void SetHandle(Handle& handle, const Owned<T>& object) {
  handle.p = object.get();
}
template <class T, HandleTo<T> Handle>
void SetHandle(Handle& handle, const OwnedArray<T>& array) {
  handle.p = array.get();
}

}  // namespace xencomm

#endif  // XENCOMM_OWNED_H_
