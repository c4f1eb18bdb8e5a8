#include "hcall/sharing/vhost_user/virtqueue.h"

#include <bit>
#include <vector>

#include "xencomm/byte_order.h"
#include "xencomm/copy.h"
#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

constexpr ByteOrder kOrder = ByteOrder::kLittle;

constexpr std::size_t kDescriptorBytes = 16;
constexpr std::uint16_t kHasNext = 1;
constexpr std::uint16_t kIsWritable = 2;
constexpr std::uint16_t kIsIndirect = 4;

// In either ring: flags, the index, the entries.
constexpr std::size_t kIndexAt = 2;
constexpr std::size_t kEntriesAt = 4;
constexpr std::uint16_t kNoSignals = 1;  // the driver's flag
constexpr std::uint16_t kNoKicks = 1;    // ours

std::uint16_t Load16(const std::byte* at) { return LoadSharedField<std::uint16_t>(at, kOrder); }

// What tells the other side that something is ready, or asks it: everything that was written before
// is seen with it, and nothing that is read afterwards was read earlier. Both sides store one such
// word and load the other's; that neither misses the other's store takes the order of all four.
std::uint16_t LoadOrdered(const std::byte* at) {
  return InOrder(__atomic_load_n(reinterpret_cast<const std::uint16_t*>(at), __ATOMIC_SEQ_CST),
                 kOrder);
}
void StoreOrdered(std::byte* at, std::uint16_t value) {
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(at), InOrder(value, kOrder), __ATOMIC_SEQ_CST);
}

absl::Status Broken(const std::string& sentence) { return absl::OutOfRangeError(sentence); }

// A part of a ring, as one run, aligned as its fields want it.
absl::StatusOr<std::byte*> MapPart(GuestMemory::Accessor& ring, PhysicalAddress address,
                                   std::uint64_t bytes, Access access, std::uint64_t alignment) {
  const Mapping mapping = ring.Map(address, bytes, access);
  if (!mapping.ok()) {
    return absl::InvalidArgumentError(Sentence("ring part of %u bytes at %#x: %s", bytes,
                                               address.value, Describe(mapping.fault().fault)));
  }
  if (mapping.length() < bytes ||
      !IsAligned(reinterpret_cast<std::uintptr_t>(mapping.start()), alignment)) {
    return absl::InvalidArgumentError(
        Sentence("ring part of %u bytes at %#x: expected it in one region, aligned to %u", bytes,
                 address.value, alignment));
  }
  return mapping.start();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Virtqueue>> Virtqueue::Map(const GuestMemory& memory,
                                                          const Place& place, std::uint16_t next,
                                                          std::uint64_t features) {
  if (!std::has_single_bit(place.size) || place.size > kMostEntries) {
    return absl::InvalidArgumentError(
        Sentence("ring of %u entries: expected a power of two up to %u", place.size, kMostEntries));
  }
  auto queue = std::unique_ptr<Virtqueue>(
      new Virtqueue(memory, memory.BeginAccess(), place, next, features));
  const auto descriptors = MapPart(queue->ring_, place.descriptors, DescriptorBytes(place.size),
                                   Access::kRead, kDescriptorBytes);
  if (!descriptors.ok()) return descriptors.status();
  const auto available =
      MapPart(queue->ring_, place.available, AvailableBytes(place.size), Access::kRead, 2);
  if (!available.ok()) return available.status();
  const auto used = MapPart(queue->ring_, place.used, UsedBytes(place.size), Access::kWrite, 4);
  if (!used.ok()) return used.status();
  queue->descriptors_ = *descriptors;
  queue->available_ = *available;
  queue->used_ = *used;
  queue->used_index_ = Load16(*used + kIndexAt);
  queue->told_index_ = queue->used_index_;
  return queue;
}

Virtqueue::Descriptor Virtqueue::Read(const std::byte* at) {
  return {{LoadSharedField<std::uint64_t>(at, kOrder)},
          LoadSharedField<std::uint32_t>(at + 8, kOrder),
          Load16(at + 12),
          Load16(at + 14)};
}

absl::StatusOr<bool> Virtqueue::Next(Chain* chain) {
  const std::uint16_t available = LoadOrdered(available_ + kIndexAt);
  if (!HasMore(available)) return false;
  if (static_cast<std::uint16_t>(available - next_) > size_) {
    return Broken(
        Sentence("available index %u after %u: expected at most %u more", available, next_, size_));
  }
  chain->head = Load16(available_ + kEntriesAt + 2 * (next_ % size_));
  chain->readable.Clear();
  chain->writable.Clear();
  const absl::Status followed = Follow(descriptors_, size_, chain->head, chain);
  if (!followed.ok()) return followed;
  ++next_;
  return true;
}

absl::Status Virtqueue::Follow(const std::byte* table, std::uint32_t count, std::uint16_t first,
                               Chain* chain) {
  const bool is_indirect = table != descriptors_;
  std::uint16_t index = first;
  for (std::uint32_t followed = 0;; ++followed) {
    // One that comes back to where it was is longer than its table.
    if (followed == count) {
      return Broken(Sentence("descriptor chain of more than %u: expected an end", count));
    }
    if (index >= count) {
      return Broken(Sentence("descriptor %u of %u: expected a lower one", index, count));
    }
    const Descriptor descriptor = Read(table + kDescriptorBytes * index);
    if ((descriptor.flags & kIsIndirect) != 0) {
      if (!has_indirect_ || is_indirect || (descriptor.flags & kHasNext) != 0) {
        return Broken("an indirect descriptor: expected none here, or one at a chain's end");
      }
      return FollowIndirect(descriptor, chain);
    }
    const bool is_writable = (descriptor.flags & kIsWritable) != 0;
    if (descriptor.length == 0 || Overflows(descriptor.address.value, descriptor.length)) {
      return Broken(Sentence("descriptor of %u bytes at %#x: expected bytes before 2^64",
                             descriptor.length, descriptor.address.value));
    }
    if (!is_writable && chain->writable.count() != 0) {
      return Broken("a readable descriptor after a writable one: expected these first");
    }
    (is_writable ? chain->writable : chain->readable).Add(descriptor.address, descriptor.length);
    if ((descriptor.flags & kHasNext) == 0) return absl::OkStatus();
    index = descriptor.next;
  }
}

absl::Status Virtqueue::FollowIndirect(const Descriptor& descriptor, Chain* chain) {
  const std::uint32_t count = descriptor.length / kDescriptorBytes;
  if (descriptor.length % kDescriptorBytes != 0 || count == 0 || count > kMostEntries) {
    return Broken(Sentence("indirect table of %u bytes: expected 1 to %u descriptors of 16",
                           descriptor.length, kMostEntries));
  }
  // Copied out whole: it may lie in several runs, and is read once by that.
  std::vector<std::uint64_t> table(descriptor.length / sizeof(std::uint64_t));
  Buffers where;
  where.Add(descriptor.address, descriptor.length);
  BufferAccess access(memory_, where);
  const CopyResult copied = CopyFrom(access.space(), {0}, 0, table.data(), descriptor.length);
  if (!copied.ok()) {
    return Broken(Sentence("indirect table at %#x: %s", descriptor.address.value + copied.bytes,
                           Describe(copied.fault.fault)));
  }
  return Follow(reinterpret_cast<const std::byte*>(table.data()), count, 0, chain);
}

void Virtqueue::Complete(std::uint16_t head, std::uint32_t written) {
  std::byte* const entry = used_ + kEntriesAt + 8 * (used_index_ % size_);
  StoreSharedField<std::uint32_t>(entry, head, kOrder);
  StoreSharedField<std::uint32_t>(entry + 4, written, kOrder);
  ++used_index_;
  StoreOrdered(used_ + kIndexAt, used_index_);
}

bool Virtqueue::ShouldSignal() {
  const std::uint16_t told = told_index_;
  told_index_ = used_index_;
  const auto completed = static_cast<std::uint16_t>(used_index_ - told);
  if (completed == 0) return false;
  if (!has_event_index_) return (LoadOrdered(available_) & kNoSignals) == 0;
  // The one that it waits for is among these.
  const std::uint16_t event = LoadOrdered(available_ + kEntriesAt + 2 * size_);
  return static_cast<std::uint16_t>(used_index_ - event - 1) < completed;
}

void Virtqueue::SuppressKicks() {
  if (!has_event_index_) StoreOrdered(used_, kNoKicks);
}

bool Virtqueue::AskForKicks() {
  if (has_event_index_) {
    StoreOrdered(used_ + kEntriesAt + 8 * size_, next_);
  } else {
    StoreOrdered(used_, 0);
  }
  return HasMore(LoadOrdered(available_ + kIndexAt));
}

}  // namespace xencomm::vhost_user
