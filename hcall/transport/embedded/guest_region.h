// A process's region as the guest kernel keeps it: the table, the page tables of the same range,
// and the frames behind both.
//
// The kernel's part of a region, by the rules of xencomm/region_table.h. Page tables stand beside
// the table so that one range of bytes can be reached in both spaces.
#ifndef HCALL_TRANSPORT_EMBEDDED_GUEST_REGION_H_
#define HCALL_TRANSPORT_EMBEDDED_GUEST_REGION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arch/x86_64/page_tables.h"
#include "arch/x86_64/page_walk.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"
#include "xencomm/transport.h"

namespace xencomm::embedded {

class GuestRegion {
 public:
  struct Options {
    bool registered = true;  // or else stateless
    unsigned levels = 4;     // of the page tables, 4 or 5
  };

  // A region that is not backed yet but for its table. `kernel` is borrowed.
  static absl::StatusOr<std::unique_ptr<GuestRegion>> Create(GuestKernel& kernel,
                                                             const RegionLayout& layout,
                                                             Options options);

  GuestRegion(const GuestRegion&) = delete;
  GuestRegion& operator=(const GuestRegion&) = delete;
  // Unregisters it and takes its frames back. No call may be under way that names it.
  ~GuestRegion();

  const RegionLayout& layout() const { return table_.layout(); }

  // Frames of the table, in the order of its granules: the process may map them for reading.
  std::span<const PhysicalAddress> table_frames() const { return table_frames_; }

  // Backs the granules from `first` on with `runs`, which belong to the region from now on, also
  // when it fails: then the region is spoilt, and every later call answers the same.
  absl::Status Back(std::uint64_t first, std::span<const FrameRun> runs);

  // What goes into a call's register.
  RegionHandle handle() const { return handle_; }

  // For walks of the process's page tables.
  x86_64::PagingState paging() const;

  // Where a byte of the payload lies.
  Result<PhysicalAddress> PhysicalOf(VirtualAddress pointer) const;

  // How a pointer into the payload is translated, for people.
  Trace TraceOf(VirtualAddress pointer, TracedSpace space) const;

 private:
  // The kernel's frames for tables, each noted as the region's.
  struct TableFrames {
    GuestKernel& kernel;
    std::vector<FrameRun>& owned;
    Result<PhysicalAddress> Allocate();
  };
  // In one place for the region's life, since the page tables hold on to `source`. Takes the frames
  // back at the end.
  struct Parts {
    explicit Parts(GuestKernel& guest_kernel);
    Parts(const Parts&) = delete;
    Parts& operator=(const Parts&) = delete;
    ~Parts();

    GuestKernel& kernel;
    std::vector<FrameRun> frames;
    TableFrames source;
  };
  using Table = RegionTable<hypervisor::LockedMemory>;
  using Tables = x86_64::PageTables<hypervisor::LockedMemory, TableFrames>;

  // The second argument of XencommOp::kRegister.
  static constexpr std::uint64_t kForReadingAndWriting = 1;

  GuestRegion(std::unique_ptr<Parts> parts, std::vector<PhysicalAddress> table_frames,
              const Table& table, const Tables& page_tables);

  GuestKernel& kernel() const { return parts_->kernel; }
  absl::Status Publish(Options options);
  absl::Status TryBack(std::uint64_t first, std::span<const FrameRun> runs);

  const std::unique_ptr<Parts> parts_;
  const std::vector<PhysicalAddress> table_frames_;
  const Table table_;
  const Tables page_tables_;
  RegionHandle handle_;
  absl::Status state_;  // why it is spoilt
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_GUEST_REGION_H_
