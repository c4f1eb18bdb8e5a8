// The transport to the Xen that this machine runs on, by regions: /dev/xen/xencomm, a device of the
// Linux module in hcall/linux.
//
// The module makes the region's table, in pages that no process sees, registers it, and adds its
// handle to each call. Xen then follows pointers into the payload and no others: -EFAULT. A file
// has one region, and serves the process that opened it; a forked child's calls are answered EPERM.
#ifndef HCALL_TRANSPORT_XENCOMM_DEVICE_H_
#define HCALL_TRANSPORT_XENCOMM_DEVICE_H_

#include <memory>
#include <utility>

#include "hcall/transport/file_descriptor.h"
#include "xencomm/transport.h"

namespace xencomm {

class XencommDevice final : public Transport {
 public:
  // Whether this machine has the device, also where this process may not open it: that its pointers
  // are raw instead is nothing to be decided in silence. One that is there without its module is
  // none.
  static bool IsThere();
  // kUnavailable when it is not there; kPermissionDenied.
  static absl::StatusOr<std::unique_ptr<XencommDevice>> Open();

  absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() override;
  std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) override;
  absl::StatusOr<TracedPointer> TraceOf(const void* pointer, TracedSpace space) override;
  int fd() const override { return device_.get(); }
  int Restrict() override { return device_.BecomeNull(); }
  // The module is not there without.
  bool knows_regions() override { return true; }
  bool never_faults() const override { return true; }

 private:
  explicit XencommDevice(FileDescriptor device) : device_(std::move(device)) {}

  FileDescriptor device_;
};

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_XENCOMM_DEVICE_H_
