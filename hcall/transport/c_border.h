// What the files of the C API share: refusals as errno and a sentence.
#ifndef HCALL_TRANSPORT_C_BORDER_H_
#define HCALL_TRANSPORT_C_BORDER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "xencomm/c_border.h"
#include "xencomm/client.h"

struct xencomm_context {
  std::shared_ptr<xencomm::Client> client;
};

namespace xencomm {

// Of this thread: xencomm_error's.
std::string& LastError();

// Both answer -1.
int Refuse(int error, std::string sentence);
int Refuse(const absl::Status& status);

// What a call that was refused answers: -1, with its errno and a sentence.
std::int64_t RefusalOf(unsigned hypercall, std::int64_t answer);

// A hypercall's answer as the C API gives it.
inline std::int64_t AnswerOf(unsigned hypercall, std::int64_t answer) {
  return answer >= 0 ? answer : RefusalOf(hypercall, answer);
}

template <class Body>
auto Guarded(Body body) -> decltype(body()) {
  // A sentence so short that it takes no memory.
  return AtBorder(body, [] { LastError() = "out of memory"; });
}

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_C_BORDER_H_
