// RegionBacking: the payload of an Arena as a region of the embedded machine's domain 0.
//
// The bytes that the process sees at the region's addresses are the frames that the kernel bound to
// it: scattered in the machine, contiguous here. The table is mapped in front of them, read-only.
#ifndef HCALL_TRANSPORT_EMBEDDED_REGION_BACKING_H_
#define HCALL_TRANSPORT_EMBEDDED_REGION_BACKING_H_

#include <atomic>
#include <optional>
#include <vector>

#include "hcall/transport/embedded/direct_space.h"
#include "hcall/transport/embedded/guest_process.h"
#include "hcall/transport/region_range.h"
#include "xencomm/backing.h"

namespace xencomm::embedded {

class RegionBacking final : public Backing {
 public:
  // `process`, the program's own, is borrowed, and has no other region.
  explicit RegionBacking(GuestProcess& process) : process_(process), machine_(process.machine()) {}

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override;
  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override;
  void Release() override;

 private:
  absl::Status MapTable();
  // When it fails a part may be mapped.
  absl::Status MapRuns(std::byte* at, const std::vector<FrameRun>& runs);

  GuestProcess& process_;
  EmbeddedMachine& machine_;
  std::optional<RegionRange> range_;
  std::atomic<std::uint64_t> backed_ = 0;  // bytes, from the region's start; only grows
  std::optional<DirectSpace> direct_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_REGION_BACKING_H_
