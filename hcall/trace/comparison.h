// What one machine has answered, and what another has: where they differ.
#ifndef HCALL_TRACE_COMPARISON_H_
#define HCALL_TRACE_COMPARISON_H_

#include <string>
#include <vector>

#include "hcall/trace/counterparts.h"
#include "hcall/trace/described_call.h"

namespace xencomm::trace {

// What was recorded and what was answered, in words; `where`: "u.max_vcpus", "result".
struct Difference {
  std::string where;
  std::string recorded;
  std::string answered;
};

// What an answer has that is not as recorded: of lists and structures field by field. Of what the
// call has numbered the counterpart is learned.
std::vector<Difference> Compare(const DescribedCall& recorded, const DescribedCall& answered,
                                Counterparts& counterparts);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_COMPARISON_H_
