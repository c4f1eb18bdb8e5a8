// RegionBacking: the payload of an Arena as a region of the embedded machine's domain 0.
//
// The bytes that the process sees at the region's addresses are the frames that the kernel bound to
// it: scattered in the machine, contiguous here. The table is mapped in front of them, read-only.
#ifndef HCALL_TRANSPORT_EMBEDDED_REGION_BACKING_H_
#define HCALL_TRANSPORT_EMBEDDED_REGION_BACKING_H_

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "hcall/transport/embedded/direct_space.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/embedded/guest_region.h"
#include "xencomm/backing.h"

namespace xencomm::embedded {

class RegionBacking final : public Backing {
 public:
  // `machine` is borrowed.
  RegionBacking(EmbeddedMachine& machine, GuestRegion::Options options)
      : machine_(machine), options_(options) {}
  ~RegionBacking() override;

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override;
  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override;
  void Release() override;

  // From Reserve to Release.
  const GuestRegion& region() const { return *region_; }
  Space& direct() { return *direct_; }

 private:
  // Up to here the payload's frames are single ones, scattered; beyond, blocks: a mapping for each
  // page of a large region would be more than vm.max_map_count.
  static constexpr std::uint64_t kScatteredBytes = std::uint64_t{2} << 20;

  absl::StatusOr<std::vector<FrameRun>> TakeFrames(std::uint64_t offset, std::uint64_t length);
  absl::Status MapTable();
  // When it fails a part may be mapped.
  absl::Status MapRuns(std::byte* at, const std::vector<FrameRun>& runs);

  EmbeddedMachine& machine_;
  const GuestRegion::Options options_;
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0;  // table included
  std::unique_ptr<GuestRegion> region_;
  std::atomic<std::uint64_t> backed_ = 0;  // bytes, from the region's start; only grows
  std::optional<DirectSpace> direct_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_REGION_BACKING_H_
