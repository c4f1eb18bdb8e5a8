// GuestWord: a word of a page that a guest writes, too, at any moment and in its own byte order.
//
// Each access is one atomic operation. What a guest does in between, it does to itself: whoever
// uses a word here is right whatever it holds.
#ifndef HCALL_HYPERVISOR_DOMAIN_GUEST_WORD_H_
#define HCALL_HYPERVISOR_DOMAIN_GUEST_WORD_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "xencomm/byte_order.h"

namespace xencomm::hypervisor {

template <std::unsigned_integral T>
class GuestWord {
 public:
  static constexpr std::uint32_t kBits = sizeof(T) * 8;

  // `place` is aligned to a word.
  GuestWord(std::byte* place, ByteOrder order)
      : word_(reinterpret_cast<T*>(place)), order_(order) {}
  // Word `index` of an array of them.
  GuestWord(std::byte* array, std::size_t index, ByteOrder order)
      : GuestWord(array + index * sizeof(T), order) {}

  // In one order with a guest that unmasks a port and then looks whether it is pending.
  bool Has(std::uint32_t bit) const {
    return (__atomic_load_n(word_, __ATOMIC_SEQ_CST) & Mask(bit)) != 0;
  }
  // Both answer whether it was set.
  bool Set(std::uint32_t bit) const {
    return (__atomic_fetch_or(word_, Mask(bit), __ATOMIC_SEQ_CST) & Mask(bit)) != 0;
  }
  bool Clear(std::uint32_t bit) const {
    return (__atomic_fetch_and(word_, static_cast<T>(~Mask(bit)), __ATOMIC_RELAXED) & Mask(bit)) !=
           0;
  }

  // The whole of it.
  T Load() const { return InOrder(__atomic_load_n(word_, __ATOMIC_RELAXED), order_); }
  void Store(T value) const { __atomic_store_n(word_, InOrder(value, order_), __ATOMIC_RELAXED); }
  // Writes `value` if the word is `expected` still, which else becomes what it is. Whoever sees it
  // sees what was written before.
  bool Exchange(T& expected, T value) const {
    T seen = InOrder(expected, order_);
    const bool is_done = __atomic_compare_exchange_n(word_, &seen, InOrder(value, order_), false,
                                                     __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    expected = InOrder(seen, order_);
    return is_done;
  }

 private:
  T Mask(std::uint32_t bit) const { return InOrder(static_cast<T>(T{1} << bit), order_); }

  T* word_;
  ByteOrder order_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_GUEST_WORD_H_
