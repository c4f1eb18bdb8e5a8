// A described call as a line: for people, as strace has it, or for programs, as JSON.
#ifndef HCALL_TRACE_CALL_TEXT_H_
#define HCALL_TRACE_CALL_TEXT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "hcall/trace/described_call.h"

namespace xencomm::trace {

// A domain's name; "" of one that has none, or is not known.
using DomainNames = std::function<std::string(std::uint16_t)>;

// "domctl.getdomaininfo({domain=0, flags=XEN_DOMINF_running, …}) = 0"; without a line's end.
// What is written there of the program's is quoted: no control character, no colour of its own.
std::string CallText(const DescribedCall& call, const DomainNames& names, bool has_colours);

// {"call": "domctl.getdomaininfo", "arguments": {…}, "result": 0, …}, in one line. A number of a
// constant's name is {"value": 1, "name": "…"}, one that the call has changed {"before": …,
// "after": …}, a pointer that leads to nothing known {"pointer": 140…}; of what is cut, "more" says
// how many elements or bytes are not there.
std::string CallJson(const CapturedCall& captured, const DescribedCall& call,
                     const DomainNames& names);

// Parts of the line.
std::string ValueText(const Value& value, const DomainNames& names = {});
std::string ResultText(const DescribedCall& call);

// {"event": "exited with 0", …} of a process, in one line.
std::string EventJson(std::uint64_t time, std::int32_t process, const std::string& program,
                      const std::string& event);

// "EPERM"; "errno 4095" of one without a name.
std::string ErrnoName(std::int64_t error);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_CALL_TEXT_H_
