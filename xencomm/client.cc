#include "xencomm/client.h"

#include <cerrno>

namespace xencomm {

absl::StatusOr<std::shared_ptr<Client>> Client::Over(std::unique_ptr<Transport> transport) {
  absl::StatusOr<std::unique_ptr<Backing>> backing = transport->MakeBacking();
  if (!backing.ok()) return backing.status();
  absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Create(*std::move(backing));
  if (!arena.ok()) return arena.status();
  return std::shared_ptr<Client>(new Client(std::move(transport), *std::move(arena)));
}

std::int64_t Client::CallWith(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) {
  if (is_restricted()) [[unlikely]]
    return -ENOTTY;
  if (!arena_->in_same_process()) return -ESTALE;
  return transport_->Call(op, arguments);
}

int Client::Restrict() {
  restricted_.store(true, std::memory_order_relaxed);
  arena_->GrowNoMore();
  return transport_->Restrict();
}

}  // namespace xencomm
