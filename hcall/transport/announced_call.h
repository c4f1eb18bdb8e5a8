// A hypercall that this process's own hypervisor makes, or a machine's, announced to a tracer.
#ifndef HCALL_TRANSPORT_ANNOUNCED_CALL_H_
#define HCALL_TRANSPORT_ANNOUNCED_CALL_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "hcall/transport/announce.h"
#include "hcall/transport/privcmd_calls.h"

namespace xencomm {

// `make(continuations)` makes it, and says how often it was continued.
template <class Make>
std::int64_t Announced(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments, Make make) {
  std::uint32_t continuations = 0;
  if (xencomm_announces == 0) [[likely]]
    return make(&continuations);
  PrivcmdHypercall call = {.op = op, .arg = {}};
  std::ranges::copy(arguments, call.arg);
  xencomm_announce(kPrivcmdHypercall, &call);
  const std::int64_t answer = make(&continuations);
  xencomm_announce_end(answer, continuations);
  return answer;
}

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_ANNOUNCED_CALL_H_
