// Backing: where the memory of an Arena comes from.
//
// A backing reserves one range of virtual addresses, puts memory behind parts of it as the Arena
// grows, and gives all of it back at the end. Memory that it has put somewhere stays there: a
// hypercall may use its address at any time.
//
// Implementations: LockedBacking (anonymous, locked); in hcall/transport, memory of Linux's
// hypercall device, and regions: of the embedded machine, of a machine, of real Xen.
#ifndef XENCOMM_BACKING_H_
#define XENCOMM_BACKING_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xencomm/byte_order.h"

namespace xencomm {

class Backing {
 public:
  // One region: [base, base + payload_offset) is the table's, the rest, `payload_size` bytes, is
  // the Arena's. Both numbers are multiples of the page size; without a table the offset is 0.
  struct Reservation {
    std::byte* base = nullptr;
    std::uint64_t payload_offset = 0;
    std::uint64_t payload_size = 0;
    ByteOrder order = kNativeOrder;  // of the domain that reads what is put there
  };

  Backing() = default;
  Backing(const Backing&) = delete;
  Backing& operator=(const Backing&) = delete;
  virtual ~Backing() = default;

  // Reserves a range with at least `payload_size` bytes of payload. Called once. kResourceExhausted
  // when there is no such range.
  virtual absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) = 0;

  // Puts zeroed memory behind `length` bytes of payload from `offset` on, both multiples of the
  // page size. Called in rising order, without gaps, one call at a time. On failure nothing has
  // changed: kResourceExhausted when memory, or the right to lock it, has run out.
  virtual absl::Status Populate(std::uint64_t offset, std::uint64_t length) = 0;

  // Gives everything back. Called once, by the process that reserved: after fork the range of a
  // child holds nothing of ours, and may hold something of somebody else's.
  virtual void Release() = 0;
};

}  // namespace xencomm

#endif  // XENCOMM_BACKING_H_
