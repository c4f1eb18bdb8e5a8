// Which calls are shown: what -e says.
#ifndef HCALL_TRACE_FILTER_H_
#define HCALL_TRACE_FILTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hcall/trace/described_call.h"

namespace xencomm::trace {

// Names are of groups and of what is in them: "domctl", "memory_op.populate_physmap", "gntdev",
// "privcmd.mmapbatch_v2", and "hypercall" for all of them. A call is shown when it has one of the
// names, if there are any, and all that is said besides: "failed", "dom=3".
class Filter {
 public:
  // An expression: words with commas between them, all of which a "!" in front negates.
  // kInvalidArgument with a sentence, and the nearest name.
  absl::Status Add(const std::string& expression);

  bool Shows(const DescribedCall& call) const;

 private:
  struct Expression {
    bool is_not = false;
    std::vector<std::string> names;
    std::vector<std::uint16_t> domains;
    bool failed = false;
  };
  std::vector<Expression> expressions_;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_FILTER_H_
