// Trace: a translation, step by step.
//
// What translates is what can tell how: a translation takes a callable that is told of each entry
// it reads. Nobody derives the steps a second time.
#ifndef XENCOMM_TRACE_H_
#define XENCOMM_TRACE_H_

#include <cstdint>

#include "xencomm/address.h"
#include "xencomm/memory.h"

namespace xencomm {

// An entry of a guest's table that was read on the way.
struct Step {
  const char* table = "";   // what kind of table it stands in: "base", "PML4", ...
  std::uint8_t level = 0;   // of a page table; 0: of another table
  std::uint64_t index = 0;  // in its table; of a base, the granule's number
  PhysicalAddress address;  // of the entry
  std::uint64_t entry = 0;  // as it was read
};

struct Trace {
  static constexpr unsigned kMaxSteps = 8;

  Step steps[kMaxSteps];
  unsigned count = 0;
  Segment end = Fault::kNone;  // from the pointer to the end of its page or granule

  void operator()(const Step& step) { steps[count++] = step; }
};

// Of a translation that nobody looks at.
struct Untraced {
  void operator()(const Step&) const {}
};
inline constexpr Untraced kUntraced;

}  // namespace xencomm

#endif  // XENCOMM_TRACE_H_
