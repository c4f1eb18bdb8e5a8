// A recorded call, made again on another machine, and what is answered otherwise there.
//
// What a machine has numbered by itself (domains, frames, event channels, ...) is called there as
// it was when the call that made it was made again. What belongs to the machine alone is not
// compared; rows say what does (schema::Local).
#ifndef HCALL_TRACE_REPLAY_H_
#define HCALL_TRACE_REPLAY_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hcall/trace/captured_call.h"
#include "hcall/trace/comparison.h"
#include "hcall/trace/counterparts.h"
#include "hcall/trace/described_call.h"
#include "hcall/transport/foreign_memory.h"
#include "xencomm/client.h"

namespace xencomm::trace {

class Replay {
 public:
  // `client` and `memory` are borrowed; without `memory` no frames are mapped. `reading` as it was
  // recorded. `counterparts`: what is known before.
  Replay(Client& client, ForeignMemory* memory, const Reading& reading,
         Counterparts counterparts = {})
      : client_(client),
        memory_(memory),
        reading_(reading),
        counterparts_(std::move(counterparts)) {}

  struct Outcome {
    std::string not_made;  // why not; "": it was
    // Of a list of calls each, both alike in number and order; of a call that was not made none.
    std::vector<DescribedCall> recorded;
    std::vector<DescribedCall> answered;
    std::vector<std::vector<Difference>> differences;  // of each
  };
  Outcome Make(const CapturedCall& recorded);

 private:
  // Where one of the buffers of a call is.
  struct Extent {
    std::uint64_t address, bytes;
  };
  // Why a call cannot be made again; "": all that it reads was recorded.
  std::string FindBuffers(const schema::Call& call, const CapturedCall& captured,
                          std::vector<Extent>& buffers) const;
  // Sets the answer and what was written; why it was not made, or "".
  std::string MakeHypercall(CapturedCall& again, const std::vector<Extent>& buffers);

  Client& client_;
  ForeignMemory* const memory_;
  const Reading reading_;
  Counterparts counterparts_;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_REPLAY_H_
