// A call under valgrind's memcheck, which sees no hypervisor: it is told, by the op table, what the
// call reads and what it has written.
//
//   answer = Watched(op, arguments, [&] { return Make(op, arguments); });
//
// What the call reads is to be defined, or memcheck complains where the program makes the call.
// What it has written is defined from then on; where it was refused, only what is not as it was. Of
// a call that the table cannot follow nothing is said. Without memcheck the call is made, no more.
#ifndef HCALL_TRANSPORT_WATCHED_CALL_H_
#define HCALL_TRANSPORT_WATCHED_CALL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hcall/transport/collect.h"
#include "xencomm/memcheck.h"

namespace xencomm::schema {

class WatchedCall {
 public:
  // Its buffers are in the process's own memory, and what a call points at need not be there.
  WatchedCall(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments);
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

  void Returned(std::int64_t answer) const;

 private:
  struct Before {
    CollectedBuffer buffer;
    std::vector<std::byte> bytes;
  };

  Call call_;
  std::vector<Before> buffers_;
};

template <class Make>
std::int64_t Watched(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments, Make make) {
  if (!memcheck::kIsWatching) [[likely]]
    return make();
  const WatchedCall watched(op, arguments);
  const std::int64_t answer = make();
  watched.Returned(answer);
  return answer;
}

}  // namespace xencomm::schema

#endif  // HCALL_TRANSPORT_WATCHED_CALL_H_
