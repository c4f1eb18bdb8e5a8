// A call in the historical ABI: each pointer replaced by the guest-physical address of a descriptor
// ('XCOM') of what it points at, or by an inline address, for as long as the object lives.
//
// The caller's structures are changed in place, as kernels did; the destructor puts every pointer
// back, whatever happened in between. Registers are replaced in a copy: call().
#ifndef HCALL_TRANSPORT_EMBEDDED_DESCRIBED_CALL_H_
#define HCALL_TRANSPORT_EMBEDDED_DESCRIBED_CALL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hcall/transport/collect.h"
#include "xencomm/address.h"

namespace xencomm::schema {

// What only the kernel knows of its memory.
class PhysicalMemory {
 public:
  virtual ~PhysicalMemory() = default;
  // Guest-physical address of a byte of the process; false: none.
  virtual bool Find(const std::byte* address, PhysicalAddress* physical) = 0;
  // Guest-physically contiguous memory for a descriptor, 8-byte aligned, for as long as the call
  // lives; nullptr: none left.
  virtual std::byte* Allocate(std::uint64_t bytes) = 0;
};

class DescribedCall {
 public:
  enum class Outcome : std::uint8_t {
    kDescribed,
    kNotWalked,  // or a pointer to be replaced is another buffer's data
    kNotBacked,  // a page of a buffer has no guest-physical address
    kNoMemory,   // for a descriptor
  };
  // Whether a buffer that is contiguous in guest-physical memory is named by an inline address. All
  // else takes a descriptor.
  enum class Inline : std::uint8_t { kNever, kWherePossible };

  DescribedCall(const Call& call, ByteOrder order, PhysicalMemory& memory, std::uint32_t vcpus = 1,
                Inline inline_addresses = Inline::kNever, Releases releases = kAllReleases);
  ~DescribedCall();

  DescribedCall(const DescribedCall&) = delete;
  DescribedCall& operator=(const DescribedCall&) = delete;

  Outcome outcome() const { return outcome_; }
  // What to make, when described.
  const Call& call() const { return call_; }

 private:
  struct Replaced {
    std::byte* pointer;
    std::uint64_t bits;
  };

  Outcome Describe(const CollectedBuffer& buffer, PhysicalMemory& memory, Inline inline_addresses);
  void PutBack();

  Call call_;
  ByteOrder order_;
  Outcome outcome_ = Outcome::kDescribed;
  std::vector<Replaced> replaced_;
};

}  // namespace xencomm::schema

#endif  // HCALL_TRANSPORT_EMBEDDED_DESCRIBED_CALL_H_
