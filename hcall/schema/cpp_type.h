// From a row of the layout to the C++ type it describes, and back.
//
// The specialisations are generated (generated/xen_types.h), with a SwapBytes for every structure.
// Here are the primary templates, the scalars, and two helpers of the generated code.
#ifndef HCALL_SCHEMA_CPP_TYPE_H_
#define HCALL_SCHEMA_CPP_TYPE_H_

#include <cstddef>
#include <cstdint>

#include "hcall/schema/type.h"
#include "xencomm/byte_order.h"

namespace xencomm::schema {

template <const Type& kType>
struct CppTypeOf;

// void in a header means bytes: a handle over it counts them.
template <>
struct CppTypeOf<layout::nothing> {
  using Type = std::byte;
};
template <>
struct CppTypeOf<layout::character> {
  using Type = char;
};
template <>
struct CppTypeOf<layout::u8> {
  using Type = std::uint8_t;
};
template <>
struct CppTypeOf<layout::u16> {
  using Type = std::uint16_t;
};
template <>
struct CppTypeOf<layout::u32> {
  using Type = std::uint32_t;
};
template <>
struct CppTypeOf<layout::u64> {
  using Type = std::uint64_t;
};
template <>
struct CppTypeOf<layout::s8> {
  using Type = std::int8_t;
};
template <>
struct CppTypeOf<layout::s16> {
  using Type = std::int16_t;
};
template <>
struct CppTypeOf<layout::s32> {
  using Type = std::int32_t;
};
template <>
struct CppTypeOf<layout::s64> {
  using Type = std::int64_t;
};

template <const Type& kType>
using CppType = typename CppTypeOf<kType>::Type;

template <class T>
struct LayoutOf;

// A handle is one pointer wide, whatever it points at.
template <class Handle>
void SwapPointer(Handle& handle) {
  static_assert(sizeof(handle.p) == sizeof(std::uint64_t));
  std::uint64_t bits;
  __builtin_memcpy(&bits, &handle, sizeof(bits));
  SwapBytes(bits);
  __builtin_memcpy(&handle, &bits, sizeof(bits));
}

// `kSize` bytes at `offset`: the storage of neighbouring bit-fields, which has no name, or a member
// of a packed structure, which no reference may be bound to.
template <std::size_t kSize>
void SwapStorage(void* record, std::size_t offset) {
  std::byte* storage = static_cast<std::byte*>(record) + offset;
  for (std::size_t i = 0; i < kSize / 2; ++i) {
    const std::byte low = storage[i];
    storage[i] = storage[kSize - 1 - i];
    storage[kSize - 1 - i] = low;
  }
}

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_CPP_TYPE_H_
