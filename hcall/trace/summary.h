// How often each call was made, how long that took, and how often it failed: what -c prints.
#ifndef HCALL_TRACE_SUMMARY_H_
#define HCALL_TRACE_SUMMARY_H_

#include <cstdint>
#include <map>
#include <string>

#include "hcall/trace/described_call.h"

namespace xencomm::trace {

class Summary {
 public:
  // `duration` in nanoseconds.
  void Add(const DescribedCall& call, std::uint64_t duration);

  // As strace's: what took longest first.
  std::string Table() const;
  // A line of JSON for each call, in the same order.
  std::string Json() const;

 private:
  struct Row {
    std::uint64_t duration = 0, calls = 0, errors = 0;
  };

  std::map<std::string, Row> rows_;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_SUMMARY_H_
