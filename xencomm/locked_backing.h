// LockedBacking: anonymous memory that a hypercall may touch by its address in this process.
//
// Locked, so that the hypervisor finds the pages present; kept out of forked children, so that
// copy-on-write never moves a page from under a call; populated at once, so that the first use does
// not fault. What it cannot do is hold a page in place while the kernel migrates it: where the
// kernel offers memory made for hypercalls (/dev/xen/hypercall), that is better.
#ifndef XENCOMM_LOCKED_BACKING_H_
#define XENCOMM_LOCKED_BACKING_H_

#include <functional>
#include <string>

#include "xencomm/backing.h"

namespace xencomm {

class LockedBacking final : public Backing {
 public:
  enum class Locking {
    kRequired,   // Populate fails with kResourceExhausted when memory cannot be locked
    kPreferred,  // `warn` gets one sentence, once, and unlocked memory is given
  };

  explicit LockedBacking(Locking locking,
                         std::function<void(const std::string& sentence)> warn = nullptr);

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override;
  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override;
  void Release() override;

 private:
  absl::Status Lock(std::byte* start, std::uint64_t length);

  const Locking locking_;
  const std::function<void(const std::string& sentence)> warn_;
  bool lockable_ = true;
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace xencomm

#endif  // XENCOMM_LOCKED_BACKING_H_
