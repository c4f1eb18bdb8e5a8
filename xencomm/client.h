// Client: a program's side of hypercalls. A transport and the Arena whose memory its calls may
// touch.
//
//   auto client = xencomm::Client::Open();
//   auto op = (*client)->arena().New<xen_domctl>(Contents::kCleared);
//   auto list = (*client)->arena().NewArray<std::uint64_t>(1024);
//   SetHandle((*op)->u.getpageframeinfo3.array, *list);
//   std::int64_t answer = (*client)->Call(__HYPERVISOR_domctl, op->get());
#ifndef XENCOMM_CLIENT_H_
#define XENCOMM_CLIENT_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "xencomm/arena.h"
#include "xencomm/export.h"
#include "xencomm/transport.h"

namespace xencomm {

class XENCOMM_API Client {
 public:
  // As xencomm_open: clients of one process that are opened alike are one, which goes when the last
  // owner does, or is restricted. An empty setting means the environment's, or the default. It
  // comes with the transports (hcall/transport).
  static absl::StatusOr<std::shared_ptr<Client>> Open(const std::string& transport = "");

  // A client of its own over `transport`.
  static absl::StatusOr<std::shared_ptr<Client>> Over(std::unique_ptr<Transport> transport);

  Arena& arena() { return *arena_; }
  Transport& transport() { return *transport_; }

  // A hypercall with up to five arguments, integers or pointers into the Arena: the hypervisor's
  // answer, or a negative errno; -ESTALE in a forked child.
  template <class... Arguments>
  requires(sizeof...(Arguments) <= 5) std::int64_t Call(std::uint64_t op, Arguments... arguments) {
    return CallWith(op, {Register(arguments)...});
  }
  std::int64_t CallWith(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments);

  // From now on nobody calls by this client, whoever shares it: -ENOTTY, as a device that was taken
  // away answers. Its memory stays, and grows no more. Who opens one later gets another. 0 or a
  // negative errno; restricted it is all the same.
  int Restrict();
  bool is_restricted() const { return restricted_.load(std::memory_order_relaxed); }

 private:
  Client(std::unique_ptr<Transport> transport, std::unique_ptr<Arena> arena)
      : transport_(std::move(transport)), arena_(std::move(arena)) {}

  template <class T>
  static std::uint64_t Register(T argument) {
    if constexpr (std::is_pointer_v<T>) {
      return std::bit_cast<std::uint64_t>(argument);
    } else {
      static_assert(std::is_integral_v<T>, "an argument is an integer or a pointer");
      return static_cast<std::uint64_t>(argument);
    }
  }

  const std::unique_ptr<Transport> transport_;  // outlives the Arena's backing
  const std::unique_ptr<Arena> arena_;
  std::atomic<bool> restricted_ = false;
};

}  // namespace xencomm

#endif  // XENCOMM_CLIENT_H_
