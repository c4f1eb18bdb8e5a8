// A call and all its buffers swapped into the other byte order, in place, and back.
//
// For a program that makes calls of a domain of the other order. What was swapped is remembered:
// after the call the numbers in it may be the hypervisor's, and would count something else.
//
// Buffers may share bytes, as one list of frame numbers that is read and written: each element is
// swapped once. Where their elements are of different kinds, or begin at different places, no order
// of the bytes is right for both: kOverlap.
#ifndef HCALL_SCHEMA_SWAPPED_CALL_H_
#define HCALL_SCHEMA_SWAPPED_CALL_H_

#include <vector>

#include "hcall/schema/collect.h"

namespace xencomm::schema {

class SwappedCall {
 public:
  // `order` is the order that the call's memory is in. Nothing is changed when there is a finding.
  SwappedCall(const Call& call, ByteOrder order, std::uint32_t vcpus = 1);
  // Swaps everything back, results included.
  ~SwappedCall();

  SwappedCall(const SwappedCall&) = delete;
  SwappedCall& operator=(const SwappedCall&) = delete;

  const Finding& finding() const { return finding_; }

 private:
  ByteOrder order_;
  Finding finding_;
  std::vector<CollectedBuffer> buffers_;  // none share bytes
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_SWAPPED_CALL_H_
