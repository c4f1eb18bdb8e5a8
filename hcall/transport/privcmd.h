// The transport to the Xen that this machine runs on: /dev/xen/privcmd.
//
// Today's privcmd passes neither a region handle nor the bit that asks for one, so pointers are raw
// there. Linux checks none of them; Xen walks this process's page tables. The memory they point
// into must stay where it is: /dev/xen/hypercall gives such memory, or else it is locked.
#ifndef HCALL_TRANSPORT_PRIVCMD_H_
#define HCALL_TRANSPORT_PRIVCMD_H_

#include <memory>
#include <utility>

#include "hcall/transport/file_descriptor.h"
#include "xencomm/transport.h"

namespace xencomm {

class Privcmd final : public Transport {
 public:
  // kUnavailable when this machine runs on no Xen, or shows no privcmd; kPermissionDenied.
  static absl::StatusOr<std::unique_ptr<Privcmd>> Open();

  absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() override;
  std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) override;
  absl::StatusOr<TracedPointer> TraceOf(const void* pointer, TracedSpace space) override;
  int fd() const override { return privcmd_.get(); }
  int Restrict() override;
  bool knows_regions() override;
  bool never_faults() const override { return hypercall_device_.is_open(); }

 private:
  Privcmd(FileDescriptor privcmd, FileDescriptor hypercall_device)
      : privcmd_(std::move(privcmd)), hypercall_device_(std::move(hypercall_device)) {}

  FileDescriptor privcmd_;
  FileDescriptor hypercall_device_;  // none: the kernel has none (before Linux 4.20)
};

// A file descriptor of /dev/xen/privcmd, closed on exec. As Privcmd::Open.
absl::StatusOr<int> OpenPrivcmdDevice();

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_PRIVCMD_H_
