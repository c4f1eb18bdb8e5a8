#include "hcall/transport/xencomm_device.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "hcall/linux/xencomm_device.h"
#include "hcall/transport/region_range.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

FileDescriptor OpenDevice() { return FileDescriptor(open(XENCOMM_DEVICE, O_RDWR | O_CLOEXEC)); }

absl::Status CannotOpen(int error) {
  if (error == EACCES || error == EPERM) {
    return absl::PermissionDeniedError(
        Sentence("%s cannot be opened: expected to run as root, or with XENCOMM_TRANSPORT=privcmd, "
                 "which knows no regions",
                 XENCOMM_DEVICE));
  }
  return absl::UnavailableError(
      Sentence("%s cannot be opened (%s): expected a Linux on Xen with the module xencomm, or "
               "XENCOMM_TRANSPORT=privcmd",
               XENCOMM_DEVICE, strerrordesc_np(error)));
}

class DeviceBacking final : public Backing {
 public:
  // `fd` is borrowed.
  explicit DeviceBacking(int fd) : fd_(fd) {}

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override {
    absl::StatusOr<RegionRange> range = RegionRange::Reserve(payload_size);
    if (!range.ok()) return range.status();
    const xencomm_reserve place = {.virtual_base = range->layout().virtual_base().value,
                                   .length = range->layout().length()};
    if (ioctl(fd_, XENCOMM_IOC_RESERVE, &place) != 0) {
      const int error = errno;
      range->Release();
      return absl::ErrnoToStatus(
          error, Sentence("%s makes no region of %u bytes", XENCOMM_DEVICE, place.length));
    }
    range_ = *std::move(range);
    return range_->reservation();
  }

  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override {
    // The pages are there at once, and no child gets them. A failed mmap with MAP_FIXED may have
    // taken away what was there, so the reservation is put back.
    void* const mapped =
        mmap(range_->payload() + offset, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             fd_, static_cast<off_t>(range_->layout().payload_offset() + offset));
    if (mapped != MAP_FAILED) return absl::OkStatus();
    const int error = errno;
    range_->Empty(offset, length);
    return absl::ErrnoToStatus(error,
                               Sentence("%u bytes of %s cannot be mapped", length, XENCOMM_DEVICE));
  }

  // The region itself ends with the file.
  void Release() override { range_->Release(); }

 private:
  const int fd_;
  std::optional<RegionRange> range_;
};

}  // namespace

bool XencommDevice::IsThere() {
  if (OpenDevice().is_open()) return true;
  return errno != ENOENT && errno != ENODEV && errno != ENXIO;
}

absl::StatusOr<std::unique_ptr<XencommDevice>> XencommDevice::Open() {
  FileDescriptor device = OpenDevice();
  if (!device.is_open()) return CannotOpen(errno);
  return std::unique_ptr<XencommDevice>(new XencommDevice(std::move(device)));
}

absl::StatusOr<std::unique_ptr<Backing>> XencommDevice::MakeBacking() {
  return std::make_unique<DeviceBacking>(device_.get());
}

std::int64_t XencommDevice::Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) {
  xencomm_hypercall call = {.op = op, .arg = {}};
  for (unsigned i = 0; i < arguments.size(); ++i) call.arg[i] = arguments[i];
  // Not through ioctl's int, as Privcmd.
  const long answer = syscall(SYS_ioctl, device_.get(), XENCOMM_IOC_HYPERCALL, &call);
  return answer == -1 ? -errno : answer;
}

absl::StatusOr<TracedPointer> XencommDevice::TraceOf(const void*, TracedSpace) {
  return absl::UnimplementedError(
      "on real Xen the region's table is the kernel's alone, and the page tables of this process "
      "are out of its reach");
}

}  // namespace xencomm
