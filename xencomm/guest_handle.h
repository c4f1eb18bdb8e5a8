// GuestHandle<T>: a typed, bounded guest pointer (XEN_GUEST_HANDLE in Xen's headers).
//
// All that a hypercall's handler sees of guest memory. Direction is in the type: GuestHandle<const
// T> can only be read, GuestHandle<T> also written. Indices and counts are in elements, never in
// bytes. A handle never changes the guest's pointer or anything behind it but the elements that it
// is told to write. Elements are kept in the domain's byte order and handed out in the processor's.
#ifndef XENCOMM_GUEST_HANDLE_H_
#define XENCOMM_GUEST_HANDLE_H_

#include <cstdint>
#include <span>
#include <type_traits>

#include "xencomm/byte_order.h"
#include "xencomm/copy.h"
#include "xencomm/space.h"

namespace xencomm {

// What may cross the border at all: plain bytes.
template <class T>
concept GuestType = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;

// A value whose padding is known to be zero because its storage was cleared first. A structure with
// padding leaves the hypervisor only in this wrapping; without it, stale bytes of the stack would
// leave with it.
template <GuestType T>
class Cleared {
 public:
  Cleared() { __builtin_memset(&value_, 0, sizeof(T)); }

  T& operator*() { return value_; }
  const T& operator*() const { return value_; }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }

 private:
  T value_;
};

template <class T>
class GuestHandle {
  using Value = std::remove_const_t<T>;
  static_assert(GuestType<Value>);
  static constexpr bool kWritable = !std::is_const_v<T>;
  static constexpr bool kNoPadding = std::has_unique_object_representations_v<Value>;

 public:
  // `count` elements at `pointer`, which is taken as the guest gave it. `count` elements must be
  // less than 2^64 bytes: use Make for a count that a guest gave. `space` is borrowed.
  constexpr GuestHandle(Space& space, VirtualAddress pointer, std::uint64_t count,
                        ByteOrder order = kNativeOrder)
      : space_(&space), pointer_(pointer), count_(count), order_(order) {}

  static constexpr Result<GuestHandle> Make(Space& space, VirtualAddress pointer,
                                            std::uint64_t count, ByteOrder order = kNativeOrder) {
    std::uint64_t bytes;
    if (__builtin_mul_overflow(count, sizeof(T), &bytes)) return Fault::kOverflow;
    return GuestHandle(space, pointer, count, order);
  }

  // Reading is part of what a writable handle can do.
  constexpr operator GuestHandle<const Value>() const {
    return {*space_, pointer_, count_, order_};
  }

  constexpr bool is_null() const { return pointer_.value == 0; }
  constexpr std::uint64_t count() const { return count_; }
  constexpr VirtualAddress address() const { return pointer_; }
  constexpr ByteOrder order() const { return order_; }

  // One element.
  CopyResult Read(std::uint64_t index, Value& value) const {
    if (index >= count_) [[unlikely]]
      return OutOfRange(index);
    const std::uint64_t offset = index * sizeof(T);
    const Mapping run = space_->MapWhole(pointer_, offset, sizeof(T), Access::kRead);
    if (!run.ok()) [[unlikely]]
      return ReadSlowly(*space_, pointer_, offset, value, order_);
    __builtin_memcpy(&value, run.start(), sizeof(T));
    ForgetGuestMemory();
    if (order_ != kNativeOrder) SwapBytes(value);
    return {.bytes = sizeof(T)};
  }

  // values.size() elements, from `first` on.
  CopyResult Read(std::uint64_t first, std::span<Value> values) const {
    if (!Contains(0, count_, first, values.size())) return OutOfRange(first);
    const CopyResult result =
        CopyFrom(*space_, pointer_, first * sizeof(T), values.data(), values.size_bytes());
    if (order_ != kNativeOrder) {
      for (Value& value : values.first(result.bytes / sizeof(T))) SwapBytes(value);
    }
    return result;
  }

  CopyResult Write(std::uint64_t index, const Value& value) const requires(kWritable&& kNoPadding) {
    return WriteBytes(index, value);
  }

  CopyResult Write(std::uint64_t index, const Cleared<Value>& value) const requires(kWritable) {
    return WriteBytes(index, *value);
  }

  CopyResult Write(std::uint64_t first, std::span<const Value> values) const
      requires(kWritable&& kNoPadding) {
    if (!Contains(0, count_, first, values.size())) return OutOfRange(first);
    if (order_ == kNativeOrder) {
      return CopyTo(*space_, pointer_, first * sizeof(T), values.data(), values.size_bytes());
    }
    CopyResult total;
    for (std::uint64_t i = 0; i < values.size(); ++i) {
      const CopyResult one = WriteBytes(first + i, values[i]);
      total.bytes += one.bytes;
      if (!one.ok()) return {.bytes = total.bytes, .fault = one.fault, .address = one.address};
    }
    return total;
  }

  // Zeroes `count` elements from `first` on.
  CopyResult Clear(std::uint64_t first, std::uint64_t count) const requires(kWritable) {
    if (!Contains(0, count_, first, count)) return OutOfRange(first);
    return xencomm::Clear(*space_, pointer_, first * sizeof(T), count * sizeof(T));
  }

  // Whether all elements can be read (or written, when the handle is writable), without doing so.
  CopyResult Probe() const {
    return xencomm::Probe(*space_, pointer_, 0, count_ * sizeof(T),
                          kWritable ? Access::kWrite : Access::kRead);
  }

 private:
  // An element that straddles runs, or a fault to be named. They take what they need, so that a
  // handle need not be in memory for them.
  [[gnu::noinline]] static CopyResult ReadSlowly(Space& space, VirtualAddress pointer,
                                                 std::uint64_t offset, Value& value,
                                                 ByteOrder order) {
    const CopyResult result = CopyFrom(space, pointer, offset, &value, sizeof(T));
    if (result.ok() && order != kNativeOrder) SwapBytes(value);
    return result;
  }
  [[gnu::noinline]] static CopyResult WriteSlowly(Space& space, VirtualAddress pointer,
                                                  std::uint64_t offset, const Value& value) {
    return CopyTo(space, pointer, offset, &value, sizeof(T));
  }

  CopyResult WriteBytes(std::uint64_t index, const Value& value) const {
    if (index >= count_) [[unlikely]]
      return OutOfRange(index);
    const std::uint64_t offset = index * sizeof(T);
    if (order_ != kNativeOrder) [[unlikely]]
      return WriteSwapped(*space_, pointer_, offset, value);
    const Mapping run = space_->MapWhole(pointer_, offset, sizeof(T), Access::kWrite);
    if (!run.ok()) [[unlikely]]
      return WriteSlowly(*space_, pointer_, offset, value);
    __builtin_memcpy(run.start(), &value, sizeof(T));
    return {.bytes = sizeof(T)};
  }

  [[gnu::noinline]] static CopyResult WriteSwapped(Space& space, VirtualAddress pointer,
                                                   std::uint64_t offset, const Value& value) {
    // Copied as bytes, so that cleared padding stays cleared.
    Value swapped;
    __builtin_memcpy(&swapped, &value, sizeof(T));
    SwapBytes(swapped);
    return CopyTo(space, pointer, offset, &swapped, sizeof(T));
  }

  constexpr CopyResult OutOfRange(std::uint64_t index) const {
    return {.fault = Fault::kOutOfRange, .address = pointer_ + index * sizeof(T)};
  }

  Space* space_;
  VirtualAddress pointer_;
  std::uint64_t count_;
  ByteOrder order_;
};

}  // namespace xencomm

#endif  // XENCOMM_GUEST_HANDLE_H_
