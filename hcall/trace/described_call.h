// A captured call in the terms of the op table: by name, field by field.
#ifndef HCALL_TRACE_DESCRIBED_CALL_H_
#define HCALL_TRACE_DESCRIBED_CALL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hcall/schema/op.h"
#include "hcall/trace/captured_call.h"
#include "hcall/trace/typed_value.h"
#include "hcall/trace/value.h"

namespace xencomm::trace {

struct DescribedCall {
  std::string group;  // "domctl", "privcmd"
  std::string op;     // "createdomain", "mmapbatch_v2"; "" where the group is but one call
  bool is_hypercall = false;
  std::vector<Field> arguments;
  std::optional<std::int64_t> result;               // -errno, or what the op answers
  schema::Local result_local = schema::Local::kNo;  // when it is not negative
  bool result_is_made = false;
  // Of a call in a list: which one, of how many.
  std::uint64_t entry = schema::kNoIndex;
  std::uint64_t entries = 0;
  std::uint64_t continuations = 0;
  std::string note;                    // why it is not shown whole
  std::vector<std::uint16_t> domains;  // that it names

  std::string name() const { return op.empty() ? group : group + "." + op; }
  bool failed() const { return result && *result < 0; }
};

// Whose numbers those of a call are, where they are a domain's own: of the first that it names, or
// the caller's.
std::uint16_t DomainOf(const DescribedCall& call);

// A call; of a list of calls each, unless the list as such failed, or has none.
std::vector<DescribedCall> Describe(const CapturedCall& call, const Reading& reading,
                                    const Amounts& amounts);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_DESCRIBED_CALL_H_
