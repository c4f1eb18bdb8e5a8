// A split virtqueue, from the device's side, in a guest's memory that the guest writes meanwhile.
//
//   descriptors  {u64 address, u32 length, u16 flags, u16 next}[size]       the driver's
//   available    {u16 flags, u16 index, u16 head[size], u16 used_event}     the driver's
//   used         {u16 flags, u16 index, {u32 head, u32 length}[size], u16 avail_event}   ours
//
// (Virtio 1.1, 2.6.) All are little-endian; a legacy guest's are its own order, which is the same
// where this runs. Each field is read once, and what was checked is what is used. A guest that
// breaks the rules has broken its ring: that is an error with a sentence, and nothing of the ring
// is touched afterwards.
#ifndef HCALL_SHARING_VHOST_USER_VIRTQUEUE_H_
#define HCALL_SHARING_VHOST_USER_VIRTQUEUE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/chain.h"
#include "hcall/sharing/vhost_user/guest_memory.h"

namespace xencomm::vhost_user {

class Virtqueue {
 public:
  static constexpr std::uint32_t kMostEntries = 1024;  // a power of two

  // Features of the ring, as bits of a device's.
  static constexpr std::uint64_t kIndirect = std::uint64_t{1} << 28;
  static constexpr std::uint64_t kEventIndex = std::uint64_t{1} << 29;

  struct Place {
    std::uint32_t size = 0;  // entries: a power of two, at most kMostEntries
    PhysicalAddress descriptors, available, used;
  };

  // Bytes of its parts.
  static std::uint64_t DescriptorBytes(std::uint32_t size) { return std::uint64_t{16} * size; }
  static std::uint64_t AvailableBytes(std::uint32_t size) { return 6 + std::uint64_t{2} * size; }
  static std::uint64_t UsedBytes(std::uint32_t size) { return 6 + std::uint64_t{8} * size; }

  // Mapped for as long as it is: also where a region is no-advance. `next` is the index of the
  // available head that comes next; which used one does, stands in the ring. `memory` is borrowed.
  static absl::StatusOr<std::unique_ptr<Virtqueue>> Map(const GuestMemory& memory,
                                                        const Place& place, std::uint16_t next,
                                                        std::uint64_t features);

  std::uint16_t next() const { return next_; }

  // Takes the next chain, if there is one. kOutOfRange: the ring is broken.
  absl::StatusOr<bool> Next(Chain* chain);

  // Gives a chain back, of whose writable buffers so many bytes were written.
  void Complete(std::uint16_t head, std::uint32_t written);

  // Whether the driver wants to be told of what was completed since this was asked last.
  bool ShouldSignal();

  // The driver need not kick while it is served. To be asked for kicks again before waiting for
  // one; true: something came meanwhile that no kick will tell of.
  void SuppressKicks();
  bool AskForKicks();

 private:
  struct Descriptor {
    PhysicalAddress address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
  };

  Virtqueue(const GuestMemory& memory, GuestMemory::Accessor ring, const Place& place,
            std::uint16_t next, std::uint64_t features)
      : memory_(memory),
        ring_(std::move(ring)),
        size_(place.size),
        has_indirect_((features & kIndirect) != 0),
        has_event_index_((features & kEventIndex) != 0),
        next_(next) {}

  bool HasMore(std::uint16_t available) const { return available != next_; }
  static Descriptor Read(const std::byte* at);
  // Descriptors from `first` on, of a table of `count`, into `chain`.
  absl::Status Follow(const std::byte* table, std::uint32_t count, std::uint16_t first,
                      Chain* chain);
  absl::Status FollowIndirect(const Descriptor& descriptor, Chain* chain);

  const GuestMemory& memory_;
  GuestMemory::Accessor ring_;  // has the three parts mapped
  std::byte* descriptors_ = nullptr;
  std::byte* available_ = nullptr;
  std::byte* used_ = nullptr;

  const std::uint32_t size_;
  const bool has_indirect_, has_event_index_;
  std::uint16_t next_;            // available heads taken
  std::uint16_t used_index_ = 0;  // chains given back
  std::uint16_t told_index_ = 0;  // of which the driver was asked about
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_VIRTQUEUE_H_
