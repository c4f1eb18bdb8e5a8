// A request of one of Xen's devices, made again without the device: what Linux would ask of the
// hypervisor for it.
#ifndef HCALL_TRACE_REQUEST_REPLAY_H_
#define HCALL_TRACE_REQUEST_REPLAY_H_

#include <cstdint>
#include <optional>

#include "hcall/trace/captured_call.h"
#include "hcall/transport/foreign_memory.h"
#include "xencomm/client.h"

namespace xencomm::trace {

// The answer, and what it has written in `call.after`; none of a request that is about the
// process itself: its mappings of grants, what it was left of a device. Frames are mapped, and let
// go of at once. `memory` may be null: then there are none.
std::optional<std::int64_t> MakeRequest(CapturedCall& call, Client& client, ForeignMemory* memory);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_REQUEST_REPLAY_H_
