// A call of any op, filled by the op table alone: counts small, every pointer set, the case chosen
// that has most of them. It is for looking at; nobody makes it.
#ifndef HCALL_TOOLS_EXAMPLE_CALL_H_
#define HCALL_TOOLS_EXAMPLE_CALL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "hcall/schema/op.h"
#include "hcall/schema/walk.h"
#include "xencomm/arena.h"

namespace xencomm::tools {

// What it points at is in `arena`, for as long as that lives. A buffer whose length the caller
// chooses gets `elements`, as far as its count can say so; arrays that hold pointers get few.
// kFailedPrecondition when the op has nothing in memory.
absl::StatusOr<schema::Call> ExampleCall(const schema::Op& op, std::uint64_t elements,
                                         Arena& arena);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_EXAMPLE_CALL_H_
