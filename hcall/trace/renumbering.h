// A recorded call in the numbers of another machine.
#ifndef HCALL_TRACE_RENUMBERING_H_
#define HCALL_TRACE_RENUMBERING_H_

#include <string>
#include <vector>

#include "hcall/trace/captured_call.h"
#include "hcall/trace/counterparts.h"
#include "hcall/trace/described_call.h"

namespace xencomm::trace {

// Puts the counterparts of what a call names in its place. Of each described call the answer says
// what it names that nothing is known of; "": all is.
std::vector<std::string> Renumber(CapturedCall& call, const std::vector<DescribedCall>& described,
                                  const Counterparts& counterparts, const Reading& reading);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_RENUMBERING_H_
