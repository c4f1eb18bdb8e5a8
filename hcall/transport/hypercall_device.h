// HypercallDevice: memory that Linux gives for hypercalls (/dev/xen/hypercall, since 4.20).
//
// Kernel memory, mapped into the process: it is never moved, and needs no lock. The device gives
// whole mappings of its own, so each part of the range is mapped over the reservation.
#ifndef HCALL_TRANSPORT_HYPERCALL_DEVICE_H_
#define HCALL_TRANSPORT_HYPERCALL_DEVICE_H_

#include "xencomm/backing.h"

namespace xencomm {

class HypercallDevice final : public Backing {
 public:
  // `fd` is borrowed.
  explicit HypercallDevice(int fd) : fd_(fd) {}

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override;
  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override;
  void Release() override;

 private:
  const int fd_;
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_HYPERCALL_DEVICE_H_
