// A guest's driver of one split virtqueue, for tests: it writes its memory, and what it likes into
// it.
//
// The memory is its own view; where a byte of it is for the device, `address` says. The ring's
// parts are in the first three pages.
#ifndef TESTS_UNIT_VHOST_USER_DRIVER_H_
#define TESTS_UNIT_VHOST_USER_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "xencomm/byte_order.h"

namespace xencomm::vhost_user {

class Driver {
 public:
  static constexpr std::uint64_t kPage = 4096;
  static constexpr std::uint64_t kDescriptorsAt = 0, kAvailableAt = kPage, kUsedAt = 2 * kPage;

  static constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

  struct Buffer {
    std::uint64_t at;  // in its memory
    std::uint32_t length;
    bool is_writable = false;
  };
  struct Used {
    std::uint32_t head, written;
  };

  Driver(std::span<std::byte> memory, std::function<std::uint64_t(std::uint64_t)> address,
         std::uint16_t size)
      : memory_(memory), address_(std::move(address)), size_(size) {}

  std::uint16_t size() const { return size_; }
  std::uint64_t AddressOf(std::uint64_t at) const { return address_(at); }
  std::byte* At(std::uint64_t at) const { return memory_.data() + at; }
  template <class T>
  void Store(std::uint64_t at, T value) const {
    StoreSharedField<T>(At(at), value, ByteOrder::kLittle);
  }
  template <class T>
  T Load(std::uint64_t at) const {
    return LoadSharedField<T>(At(at), ByteOrder::kLittle);
  }

  // Descriptor `index` of a table at `table`.
  void Describe(std::uint64_t table, std::uint16_t index, std::uint64_t address,
                std::uint32_t length, std::uint16_t flags = 0, std::uint16_t next = 0) const {
    const std::uint64_t at = table + 16 * std::uint64_t{index};
    Store<std::uint64_t>(at, address);
    Store<std::uint32_t>(at + 8, length);
    Store<std::uint16_t>(at + 12, flags);
    Store<std::uint16_t>(at + 14, next);
  }
  // A chain of these, from descriptor `first` on.
  void DescribeChain(std::uint64_t table, std::uint16_t first, std::span<const Buffer> buffers) {
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const auto index = static_cast<std::uint16_t>(first + i);
      const bool has_next = i + 1 < buffers.size();
      Describe(table, index, AddressOf(buffers[i].at), buffers[i].length,
               static_cast<std::uint16_t>((has_next ? kNext : 0) |
                                          (buffers[i].is_writable ? kWrite : 0)),
               static_cast<std::uint16_t>(index + 1));
    }
  }

  // The head becomes available; the index says so a moment later.
  void Offer(std::uint16_t head) {
    Store<std::uint16_t>(kAvailableAt + 4 + 2 * (available_ % size_), head);
    SetAvailable(static_cast<std::uint16_t>(available_ + 1));
  }
  void SetAvailable(std::uint16_t index) {
    available_ = index;
    __atomic_store_n(reinterpret_cast<std::uint16_t*>(At(kAvailableAt + 2)), index,
                     __ATOMIC_SEQ_CST);
  }
  void SetNoSignals(bool none) { Store<std::uint16_t>(kAvailableAt, none ? 1 : 0); }
  void SetUsedEvent(std::uint16_t index) {
    Store<std::uint16_t>(kAvailableAt + 4 + 2 * std::uint64_t{size_}, index);
  }
  std::uint16_t AvailableEvent() const {
    return Load<std::uint16_t>(kUsedAt + 4 + 8 * std::uint64_t{size_});
  }
  std::uint16_t UsedFlags() const { return Load<std::uint16_t>(kUsedAt); }
  std::uint16_t UsedIndex() const {
    return __atomic_load_n(reinterpret_cast<std::uint16_t*>(At(kUsedAt + 2)), __ATOMIC_SEQ_CST);
  }
  std::optional<Used> TakeUsed() {
    if (UsedIndex() == used_) return std::nullopt;
    const std::uint64_t at =
        kUsedAt + 4 + 8 * std::uint64_t{static_cast<std::uint16_t>(used_++ % size_)};
    return Used{Load<std::uint32_t>(at), Load<std::uint32_t>(at + 4)};
  }
  // As if it had been used for long.
  void BeginAt(std::uint16_t index) {
    SetAvailable(index);
    used_ = index;
    Store<std::uint16_t>(kUsedAt + 2, index);
  }

 private:
  const std::span<std::byte> memory_;
  const std::function<std::uint64_t(std::uint64_t)> address_;
  const std::uint16_t size_;
  std::uint16_t available_ = 0, used_ = 0;
};

}  // namespace xencomm::vhost_user

#endif  // TESTS_UNIT_VHOST_USER_DRIVER_H_
