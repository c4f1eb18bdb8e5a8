#include "hcall/transport/privcmd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/hypercall_device.h"
#include "hcall/transport/privcmd_calls.h"
#include "xencomm/hypercall.h"
#include "xencomm/locked_backing.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

constexpr char kPrivcmdPath[] = "/dev/xen/privcmd";
constexpr char kHypercallPath[] = "/dev/xen/hypercall";

absl::Status CannotOpen(const char* path, int error) {
  if (error == EACCES || error == EPERM) {
    return absl::PermissionDeniedError(
        Sentence("%s cannot be opened: expected to run as root", path));
  }
  return absl::UnavailableError(
      Sentence("%s cannot be opened (%s): expected to run in domain 0 of a Xen, or with "
               "XENCOMM_TRANSPORT=embedded",
               path, strerrordesc_np(error)));
}

}  // namespace

absl::StatusOr<int> OpenPrivcmdDevice() {
  const int fd = open(kPrivcmdPath, O_RDWR | O_CLOEXEC);
  if (fd >= 0) return fd;
  return CannotOpen(kPrivcmdPath, errno);
}

absl::StatusOr<std::unique_ptr<Privcmd>> Privcmd::Open() {
  const absl::StatusOr<int> fd = OpenPrivcmdDevice();
  if (!fd.ok()) return fd.status();
  FileDescriptor privcmd(*fd);
  FileDescriptor hypercall(open(kHypercallPath, O_RDWR | O_CLOEXEC));
  // As the original: one that is there and may not be opened is no reason to do without.
  if (!hypercall.is_open() && errno != ENOENT) return CannotOpen(kHypercallPath, errno);
  return std::unique_ptr<Privcmd>(new Privcmd(std::move(privcmd), std::move(hypercall)));
}

absl::StatusOr<std::unique_ptr<Backing>> Privcmd::MakeBacking() {
  if (hypercall_device_.is_open()) {
    return std::make_unique<HypercallDevice>(hypercall_device_.get());
  }
  return std::make_unique<LockedBacking>(LockedBacking::Locking::kRequired);
}

std::int64_t Privcmd::Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) {
  PrivcmdHypercall call = {.op = op, .arg = {}};
  for (unsigned i = 0; i < arguments.size(); ++i) call.arg[i] = arguments[i];
  // Not through ioctl's int: maximum_ram_page and its like answer more than 31 bits.
  const long answer = syscall(SYS_ioctl, privcmd_.get(), kPrivcmdHypercall, &call);
  return answer == -1 ? -errno : answer;
}

int Privcmd::Restrict() {
  const int device = hypercall_device_.BecomeNull();
  const int calls = privcmd_.BecomeNull();
  return device != 0 ? device : calls;
}

// Linux passes every index on.
bool Privcmd::knows_regions() {
  return Call(__HYPERVISOR_xen_version | kRegionCall, {XENVER_version}) >= 0;
}

absl::StatusOr<TracedPointer> Privcmd::TraceOf(const void*, TracedSpace) {
  return absl::UnimplementedError(
      "on real Xen the page tables of this process are out of its reach, and there is no region");
}

}  // namespace xencomm
