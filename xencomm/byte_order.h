// Byte order: a property of a domain, set when it is created.
//
// A format's fields are in the domain's order. They are read and written here field by field, never
// through a cast of a struct. `SwapBytes` is an overload set: integers here, Xen's public
// structures in the generated part of the op table.
#ifndef XENCOMM_BYTE_ORDER_H_
#define XENCOMM_BYTE_ORDER_H_

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "xencomm/language.h"

namespace xencomm {

enum class ByteOrder : std::uint8_t { kLittle, kBig };

inline constexpr ByteOrder kNativeOrder =
    std::endian::native == std::endian::little ? ByteOrder::kLittle : ByteOrder::kBig;

constexpr ByteOrder Opposite(ByteOrder order) {
  return order == ByteOrder::kLittle ? ByteOrder::kBig : ByteOrder::kLittle;
}

template <class T>
requires std::integral<T> || std::is_enum_v<T>
constexpr void SwapBytes(T& value) {
  if constexpr (sizeof(T) == 2) {
    value = static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
  } else if constexpr (sizeof(T) == 4) {
    value = static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  } else if constexpr (sizeof(T) == 8) {
    value = static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
  } else {
    static_assert(sizeof(T) == 1);
  }
}

// Bytes have no order.
constexpr void SwapBytes(std::byte&) {}

// Between `order` and the order of the processor; the same in both directions.
template <std::unsigned_integral T>
constexpr T InOrder(T value, ByteOrder order) {
  if (order != kNativeOrder) SwapBytes(value);
  return value;
}

// A field at any address, aligned or not, of memory that nobody else writes. By the built-in copy:
// with -ffreestanding, std::memcpy of eight bytes is a call.
template <std::unsigned_integral T>
T LoadField(const void* from, ByteOrder order) {
  T value;
  __builtin_memcpy(&value, from, sizeof(T));
  return InOrder(value, order);
}

template <std::unsigned_integral T>
void StoreField(void* to, T value, ByteOrder order) {
  value = InOrder(value, order);
  __builtin_memcpy(to, &value, sizeof(T));
}

// A field of shared memory, aligned. The access is atomic because another vcpu may use the field
// meanwhile: it happens once, whole, and the compiler cannot repeat or split it.
template <std::unsigned_integral T>
T LoadSharedField(const void* from, ByteOrder order) {
  return InOrder(__atomic_load_n(static_cast<const T*>(from), __ATOMIC_RELAXED), order);
}

template <std::unsigned_integral T>
void StoreSharedField(void* to, T value, ByteOrder order) {
  __atomic_store_n(static_cast<T*>(to), InOrder(value, order), __ATOMIC_RELAXED);
}

}  // namespace xencomm

#endif  // XENCOMM_BYTE_ORDER_H_
