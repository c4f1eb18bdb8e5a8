#include "xencomm/client.h"

#include <cerrno>
#include <map>

#include "xencomm/mutex.h"
#include "xencomm/process_slot.h"

namespace xencomm {
namespace {

// The clients of a process by their settings.
struct Clients {
  Mutex mutex;
  std::map<std::string, std::weak_ptr<Client>> by_setting ABSL_GUARDED_BY(mutex);
};

Clients& ClientsOfThisProcess() {
  static ProcessSlot<Clients> clients;
  return clients.OfThisProcess();
}

}  // namespace

absl::StatusOr<std::shared_ptr<Client>> Client::Open(const std::string& transport) {
  const std::string setting = transport.empty() ? DefaultTransport() : transport;
  Clients& clients = ClientsOfThisProcess();
  const MutexLock lock(clients.mutex);
  std::weak_ptr<Client>& known = clients.by_setting[setting];
  if (std::shared_ptr<Client> client = known.lock()) return client;

  absl::StatusOr<std::unique_ptr<Transport>> opened = OpenTransport(setting);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<std::shared_ptr<Client>> client = Over(*std::move(opened));
  if (client.ok()) known = *client;
  return client;
}

absl::StatusOr<std::shared_ptr<Client>> Client::Over(std::unique_ptr<Transport> transport) {
  absl::StatusOr<std::unique_ptr<Backing>> backing = transport->MakeBacking();
  if (!backing.ok()) return backing.status();
  absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Create(*std::move(backing));
  if (!arena.ok()) return arena.status();
  return std::shared_ptr<Client>(new Client(std::move(transport), *std::move(arena)));
}

std::int64_t Client::CallWith(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) {
  if (restricted_.load(std::memory_order_relaxed)) [[unlikely]]
    return -ENOTTY;
  if (!arena_->in_same_process()) return -ESTALE;
  return transport_->Call(op, arguments);
}

int Client::Restrict() {
  Clients& clients = ClientsOfThisProcess();
  {
    const MutexLock lock(clients.mutex);
    std::erase_if(clients.by_setting,
                  [this](const auto& known) { return known.second.lock().get() == this; });
  }
  restricted_.store(true, std::memory_order_relaxed);
  arena_->GrowNoMore();
  return transport_->Restrict();
}

}  // namespace xencomm
