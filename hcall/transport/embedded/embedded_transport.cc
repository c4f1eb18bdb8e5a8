#include "hcall/transport/embedded/embedded_transport.h"

#include <bit>

#include "xencomm/sentence.h"

namespace xencomm::embedded {

absl::StatusOr<TracedPointer> EmbeddedTransport::TraceOf(const void* pointer, TracedSpace space) {
  const VirtualAddress address = {std::bit_cast<std::uintptr_t>(pointer)};
  TracedPointer traced = {.trace = region().TraceOf(address, space)};
  const Segment& end = traced.trace.end;
  if (!end.ok()) {
    return absl::OutOfRangeError(Sentence("%#x: %s", address.value, Describe(end.fault().fault)));
  }
  if (space == TracedSpace::kRegion) traced.region = region().layout().virtual_base();
  traced.machine = machine_->kernel().MachineOf(end.start());
  return traced;
}

}  // namespace xencomm::embedded
