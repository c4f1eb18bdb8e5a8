// The hypercalls by their numbers.
#ifndef HCALL_HYPERVISOR_CALLS_HYPERCALL_TABLE_H_
#define HCALL_HYPERVISOR_CALLS_HYPERCALL_TABLE_H_

#include <cstdint>

#include "hcall/hypervisor/calls/op_table.h"

namespace xencomm::hypervisor {

class Call;

// Of any hypercall, by the frame's index; -ENOSYS for an unknown one.
std::int64_t RunHandler(Call& call);

// Whether there is a handler for an op, and what it is answered when there is none. By the tables
// that calls are dispatched by.
OpAnswer Ask(std::uint64_t hypercall, std::uint64_t op);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_HYPERCALL_TABLE_H_
