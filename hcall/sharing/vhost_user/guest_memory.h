// A guest's memory as its front-end describes it: regions, each of its own kind, as one Memory.
//
//   guest address ── region ── plain:            the front-end's file, mapped and kept
//                            ├ foreign, grants:  the domain's pages, mapped and kept
//                            └ no-advance:       mapped at each access, for as long as that lasts
//
// Rules:
// 1. What cannot be mapped is a fault, at whatever moment a guest revokes it.
// 2. An access is made through an Accessor and ends with it: until then nothing that Map answered
//    is unmapped, whatever regions go meanwhile; then all is unmapped that was mapped for it.
// 3. A change of the regions that fails has changed nothing.
#ifndef HCALL_SHARING_VHOST_USER_GUEST_MEMORY_H_
#define HCALL_SHARING_VHOST_USER_GUEST_MEMORY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/memory_region.h"
#include "hcall/sharing/vhost_user/pages.h"
#include "hcall/sharing/vhost_user/shared_file.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/memory.h"
#include "xencomm/mutex.h"

namespace xencomm::vhost_user {

class GuestMemory {
 public:
  static constexpr std::size_t kMostRegions = 256;

  class Accessor;

  // `mapper` is borrowed and outlives all accessors; null: regions are plain.
  explicit GuestMemory(PageMapper* mapper) : mapper_(mapper) {}

  // Changes come from one thread, accesses from any.

  // Only these, from now on. `files` has one for each region, in the same order.
  // kInvalidArgument: a region that cannot be; kAlreadyExists: two that overlap, by guest addresses
  // or, where both are plain, by the front-end's; others: what mapping it came to.
  absl::Status Replace(std::span<const MemoryRegion> regions, std::span<const FileDescriptor> files)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // This one, too. kResourceExhausted: there are kMostRegions.
  absl::Status Add(const MemoryRegion& region, const FileDescriptor& file)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The one of the same guest address, size and user address; kNotFound.
  absl::Status Remove(const MemoryRegion& region) ABSL_LOCKS_EXCLUDED(mutex_);
  void Clear() ABSL_LOCKS_EXCLUDED(mutex_);

  // To the regions as they are now.
  Accessor BeginAccess() const ABSL_LOCKS_EXCLUDED(mutex_);

  // What a front-end's own address of `length` bytes is for the guest. Regions of other domains'
  // pages need not be mapped in the front-end; it then names what is in them by guest addresses,
  // which are looked for when no region has it as the front-end's.
  std::optional<PhysicalAddress> OfUser(std::uint64_t address, std::uint64_t length) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // A front-end has made a file shorter than a region of it.
  bool is_torn() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Region;
  using Regions = std::vector<std::shared_ptr<const Region>>;  // by ascending guest address

  absl::StatusOr<std::shared_ptr<const Region>> Map(const MemoryRegion& region,
                                                    const FileDescriptor& file) const;
  std::shared_ptr<const Regions> regions() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Set(Regions regions) ABSL_LOCKS_EXCLUDED(mutex_);

  PageMapper* const mapper_;
  mutable Mutex mutex_;
  std::shared_ptr<const Regions> regions_ ABSL_GUARDED_BY(mutex_) = std::make_shared<Regions>();
};

// A Memory. Of one thread.
class GuestMemory::Accessor {
 public:
  // Pages that one mapping and one access may have: a guest's lengths are what it likes.
  static constexpr std::uint64_t kMostRun = 256;
  static constexpr std::uint64_t kMostPages = 1024;

  Accessor(Accessor&&) = default;
  Accessor& operator=(Accessor&&) = delete;

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access);

 private:
  friend class GuestMemory;
  Accessor(std::shared_ptr<const Regions> regions, PageMapper* mapper)
      : regions_(std::move(regions)), mapper_(mapper) {}

  std::shared_ptr<const Regions> regions_;
  PageMapper* mapper_;
  std::vector<std::unique_ptr<MappedPages>> mapped_;
  std::uint64_t pages_ = 0;
};

static_assert(Memory<GuestMemory::Accessor>);

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_GUEST_MEMORY_H_
